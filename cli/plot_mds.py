"""Embeddings as `landscape plot` draws them: snapshots of runs by multidimensional scaling. No torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape import LandscapeError

from .plotting import Asked, option
from .shared import Interrupted, progress_bar, together

_option = option("Embeddings (--kind mds)")
options = together(
    [
        _option("--dissimilarity", help="euclidean, cosine-chord or one-minus-cosine. [default: euclidean]"),
        _option("--method", help="classical (exact strain) or metric (least stress). [default: classical]"),
        _option("--dims", type=int, help="2, or 3 for a third coordinate; --view 3d has the loss as height."),
        _option("--layers", metavar="GLOBS", help="Parameters that count, e.g. 'conv*,!*.bias'. [default: all]"),
        _option("--per-layer", is_flag=True, help="A map for each layer, and one for all."),
        _option("--color", help="run, loss or step. [default: run; the size then tells the loss]"),
        _option("--branches", is_flag=True, help="Draw the branches in the files too, also with --kind metrics."),
        _option("--starts", type=int, help="Beginnings of the metric method, others at random. [default: 1]"),
        _option("--align", is_flag=True, help="Compare after unit norms and permutations of units."),
        _option("--save-distances", metavar="D.h5", help="Keep the distances; resumes if D.h5 holds a part."),
    ]
)
# Fields of `Embed` that are options by the same name.
_FIELDS = ("dissimilarity", "method", "dims", "layers", "color", "starts", "seed")
_FLAGS = ("per_layer", "branches")
# What tells the objective, which only alignment asks for.
_OF_THE_OBJECTIVE = ("problem", "settings", "data", "other_data")
_OWN = (*_FIELDS, *_FLAGS, *_OF_THE_OBJECTIVE, "kind", "view", "align", "save_distances")
NAMES = (*_FIELDS[:-1], *_FLAGS, "align", "save_distances")
"""The options that no other kind of picture has."""


def plot(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """Draw an embedding of the snapshots of all files.

    Returns:
        What is to be printed: as a JSON document, and as lines.
    """
    from landscape import render
    from landscape.pipeline.embeddings import VIEWS, Embed, embeddings_of
    from landscape.render.embeddings import Panel, default_width, embedding_maps

    began = time.monotonic()
    given = asked.options
    foreign = [f"--{name.replace('_', '-')}" for name in given if name not in _OWN]
    if foreign:
        raise LandscapeError(f"{', '.join(foreign)} cannot change an embedding", mend="leave it out")
    fields = {name: given[name] for name in (*_FIELDS, *_FLAGS) if name in given}
    view = given.get("view", VIEWS[0])
    wanted = Embed(**fields, view=VIEWS[0] if view == "contour" else view)
    runs = _open(asked.files)
    representative = _aligned(asked, runs) if "align" in given else None
    save = given.get("save_distances")
    try:
        with progress_bar(f"distances of {len(runs)} runs", "number") as update:
            found = embeddings_of(runs, wanted, representative=representative, save=save, progress=update)
    except KeyboardInterrupt:
        raise Interrupted(f"the sums so far may be in {save}" if save else "nothing was kept") from None
    lossless = _without_loss(found)
    panels = [
        Panel(points, layer if len(found) > 1 else None, _color(wanted.color, points, lossless), wanted.view)
        for layer, points in found.items()
    ]
    render.save(embedding_maps(panels, width=default_width(len(panels))), asked.picture)
    document = {
        "kind": "mds",
        "picture": str(asked.picture),
        "distances": save,
        "without_loss": lossless,
        "embeddings": {layer: points.to_json() for layer, points in found.items()},
        "seconds": time.monotonic() - began,
    }
    return document, _lines(document)


def _color(wanted: str, points: Any, lossless: Sequence[str]) -> str:
    """What colours tell: the run where it should be the loss and no file has one."""
    return "run" if wanted == "loss" and len(lossless) == len(points.names) else wanted


def _open(files: Sequence[str]) -> dict[str, Any]:
    """The runs by the names of their files, as short as tells them apart."""
    from landscape.trajectory import open_trajectory

    stems = [Path(file).stem for file in files]
    alike = len(set(stems)) < len(stems)
    if len(set(files)) < len(files):
        raise LandscapeError("a file is named twice", got=", ".join(files), mend="name each once")
    return {
        str(Path(file).with_suffix("")) if alike else stem: open_trajectory(file)
        for file, stem in zip(files, stems, strict=True)
    }


def _aligned(asked: Asked, runs: Mapping[str, Any]) -> Any:
    from landscape.pipeline.embeddings import aligned, require_symmetry

    require_symmetry()
    from landscape.pipeline import objective_of

    first = next(iter(runs.values()))
    return aligned(objective_of(first, **asked.told), first[-1])


def _without_loss(found: Mapping[str, Any]) -> list[str]:
    """The runs in whose file no loss is stored."""
    import numpy as np

    points = next(iter(found.values()))
    losses = [values for name, values in points.metrics.items() if name.endswith("loss")]
    return [
        name
        for number, name in enumerate(points.names)
        if not any(np.isfinite(values[points.rows(number)]).any() for values in losses)
    ]


def _lines(document: Mapping[str, Any]) -> list[str]:
    """What is seen, in a line each."""
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
        lines.append(f"{layer}: stress {points['stress']:.3g}{held}{negative}")
    if document["without_loss"]:
        lines.append(f"no loss is stored in {', '.join(document['without_loss'])}")
    return [*lines, f"picture: {document['picture']}"]
