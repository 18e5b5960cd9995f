"""Embeddings: snapshots of runs by multidimensional scaling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.forms import Form
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, page_of_parts
from landscape.plots.source import Source
from landscape.vocabulary import DISSIMILARITIES, EMBEDDINGS, PAGE_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.values.embedding import Embedding

COLORS = ("run", "group", "loss", "step")
VIEWS = ("map", "3d")


def _view(given: Any) -> str:
    # A surface's view is a contour by default; a map is its like.
    return VIEWS[0] if given == "contour" else str(given).strip()


@dataclass(frozen=True)
class Embed(Options):
    """Options of an embedding: what is embedded, and how it is shown."""

    dissimilarity: str = option("euclidean", "How far apart snapshots are", choices=DISSIMILARITIES)
    method: str = option("classical", "classical (exact strain) or metric (least stress)", choices=EMBEDDINGS)
    dims: int = option(2, "2, or 3 for a third coordinate; with view 3d the loss is the height", low=2, high=3)
    layers: str = option("*", "Parameters that count, e.g. 'conv*,!*.bias'")
    per_layer: bool = option(False, "A map for each layer, and one for all")
    color: str = option(
        "run",
        "What colours tell; of run and group (its name before a comma) sizes tell the loss",
        choices=COLORS,
        decides=False,
        shows=True,
    )
    view: str = option(
        "map", "map, or 3d", form=Form("map or 3d", _view, "VIEW"), choices=VIEWS, decides=False, shows=True
    )
    branches: bool = option(False, "Embed the branches in the files too")
    starts: int = option(1, "Beginnings of the metric method, all but the first at random", low=1)
    seed: int = option(0, "Draws the random beginnings of the metric method", low=0)
    align: bool = option(False, "Compare after unit norms and permutations of units")
    workers: int = option(1, "So many processes share tensors and memory", low=1, decides=False)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what does not go together."""
        if self.view == "3d" and self.dims == 3:
            yield "view", "with view 3d the loss is the third axis: leave dims at 2"


def _compute(source: Source, wanted: Embed) -> Parts:
    from landscape.plots.embedding_values import embedded

    return embedded(source, wanted)


def _draw(panels: Sequence[Shown], look: Look) -> Figure:
    from landscape.render.embeddings import Panel, embedding_maps

    parts = [
        Panel(points, _title(shown, layer), _color(shown.options.color, points), shown.options.view)
        for shown in panels
        for layer, points in shown.parts.items()
    ]
    return embedding_maps(parts)


def _heeds(wanted: Embed) -> tuple[str, ...]:
    """The options of a look that mean something here: colours may tell runs, and no loss need be shown."""
    of_loss = wanted.color != "step" or wanted.view == "3d"
    return (
        *PAGE_OPTIONS,
        "columns",
        *(("cmap",) if wanted.color != "run" else ()),
        *(SCALE_OPTIONS if of_loss else ()),
    )


def _title(shown: Shown, layer: str) -> str | None:
    """The title of the panel, and the layer where it has several."""
    if len(shown.parts) == 1:
        return shown.title
    if shown.title is None and not layer[:1].isdigit():
        return layer
    # The layers of a Sequential are numbers.
    name = f"layer {layer}" if layer[:1].isdigit() else layer
    return name if shown.title is None else f"{shown.title}, {name}"


def _color(wanted: str, points: Embedding) -> str:
    """Return what colours show: the run where it should be the loss and no file has one."""
    return "run" if wanted == "loss" and len(_without_loss(points)) == len(points.names) else wanted


def _without_loss(points: Embedding) -> list[str]:
    """The runs in whose file no loss is stored."""
    losses = [values for name, values in points.metrics.items() if name.endswith("loss")]
    return [
        name
        for number, name in enumerate(points.names)
        if not any(np.isfinite(values[points.rows(number)]).any() for values in losses)
    ]


def _report(shown: Shown) -> Document:
    return {
        "kind": "mds",
        "without_loss": _without_loss(shown.first),
        "embeddings": {layer: points.to_json() for layer, points in shown.parts.items()},
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    """Describe the embeddings, in a line each."""
    first = next(iter(document["embeddings"].values()))
    runs = first["runs"]
    lines = [
        f"{first['snapshots']} snapshots of {len(runs)} run{'s' if len(runs) > 1 else ''}, "
        f"{first['method']} MDS, {first['dissimilarity']}"
    ]
    for layer, points in document["embeddings"].items():
        shares = " + ".join(f"{100 * share:.1f}" for share in points["share"])
        held = "" if points["method"] == "metric" else f", axes hold {shares} %"
        negative = f", negative eigenvalues {100 * points['negative']:.1f} %" if points["negative"] > 1e-6 else ""
        error = f" within {points['stress_error']:.0e} of the exact one" if "stress_error" in points else ""
        lines.append(f"{layer}: stress {points['stress']:.3g}{error}{held}{negative}")
    if document["without_loss"]:
        lines.append(f"no loss is stored in {', '.join(document['without_loss'])}")
    return [*lines, f"picture: {document['picture']}"]


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for layer, points in shown.parts.items():
        own = {
            "coordinates": points.coordinates,
            "run": points.run,
            "steps": points.steps,
            "stress": np.array(points.stress),
            # Each pair once.
            "distances": points.distances[np.triu_indices(len(points), 1)].astype(np.float32),
            **points.metrics,
        }
        # A slash would part the name of the array elsewhere.
        found |= {f"{layer.replace('/', '|')}/{name}": values for name, values in own.items()}
    return found


MDS = Kind(
    name="mds",
    summary="distances between snapshots, by multidimensional scaling",
    options=Embed,
    compute=_compute,
    draw=_draw,
    heeds=_heeds,
    report=_report,
    lines=_lines,
    numbers=_numbers,
    page=page_of_parts,
    step="distances",
    loss=False,
    title="Embeddings (--kind mds)",
    unit="number",
    saved="distances",
)
