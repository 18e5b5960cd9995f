"""Panels that show embeddings: how they are read, made and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import LandscapeError
from landscape.pipeline import Embed
from landscape.recipe.reader import COUNT, TEXT, TRUTH, WHOLE, Form, Reader
from landscape.recipe.source import KeyPath

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.projection.embedding import Embedding
    from landscape.recipe.making import Progress
    from landscape.trajectory import Trajectory

KIND = "mds"
FORMS: dict[str, Form] = {
    **dict.fromkeys(("dissimilarity", "method", "layers", "color"), TEXT),
    **dict.fromkeys(("dims", "seed"), WHOLE),
    **dict.fromkeys(("per_layer", "branches"), TRUTH),
    "starts": COUNT,
    "view": TEXT,
}
"""Keys of a panel of this kind that are fields of `Embed` as they are."""


def read_embed(reader: Reader, key: KeyPath, where: Any, entries: Mapping[str, Any]) -> Embed | None:
    """What is embedded; what is wrong with it is noted, every key by itself.

    Args:
        reader: The recipe.
        key: The panel.
        where: Name of a key -> its path.
        entries: Those of the panel and what all panels share.
    """
    fields = {}
    for name in (name for name in entries if name in FORMS):
        before = len(reader.faults)
        with reader.noting(where(name)):
            Embed(**{name: entries[name]})
        if len(reader.faults) == before:
            fields[name] = entries[name]
    with reader.noting(key):
        return Embed(**fields)
    return None


def embeddings_at(
    path: Path, runs: Mapping[str, Trajectory], embed: Mapping[str, Any], progress: Progress | None = None
) -> dict[str, Embedding]:
    """Embeddings from distances that are kept, or are kept from now on.

    Args:
        path: The file of the distances; one that is of other runs, such as earlier ones of the same recipe, is
            replaced.
        runs: Name -> run.
        embed: The fields of `Embed`.
        progress: Called with (done, in all).
    """
    from landscape.pipeline import embeddings_of

    try:
        return embeddings_of(runs, Embed(**embed), save=path, progress=progress)
    except LandscapeError:
        path.unlink(missing_ok=True)
        return embeddings_of(runs, Embed(**embed), save=path, progress=progress)


def draw_embeddings(panels: Sequence[Mapping[str, Any]], figure: Mapping[str, Any], caption: str | None) -> Figure:
    """The figure of a recipe of embeddings.

    Args:
        panels: Each with its ``embeddings`` by layer, ``title`` and ``embed``.
        figure: The fields of `values.Figure`.
        caption: What stands at the foot, if anything does.
    """
    from landscape.render.embeddings import Panel, embedding_maps

    parts = [
        Panel(embedding, _title(panel["title"], layer, len(panel["embeddings"])), **_look(panel["embed"]))
        for panel in panels
        for layer, embedding in panel["embeddings"].items()
    ]
    look = {name: figure[name] for name in ("columns", "width", "height", "style")}
    return embedding_maps(parts, caption=caption, **look)


def _look(embed: Mapping[str, Any]) -> dict[str, Any]:
    return {name: embed[name] for name in ("color", "view")}


def _title(title: str | None, layer: str, count: int) -> str | None:
    """The title of the panel, and the layer where it has several."""
    if count == 1:
        return title
    # The layers of a Sequential are numbers.
    name = f"layer {layer}" if layer[:1].isdigit() else layer
    return name if title is None else f"{title}, {name}"


def numbers_of_embeddings(embeddings: Mapping[str, Embedding]) -> dict[str, np.ndarray]:
    """What a picture of embeddings shows, in float32: ``"<layer>/coordinates"`` and so on."""
    found: dict[str, np.ndarray] = {}
    for layer, embedding in embeddings.items():
        shown = {
            "coordinates": embedding.coordinates,
            "run": embedding.run,
            "steps": embedding.steps,
            "stress": np.array(embedding.stress),
            "distances": embedding.distances,
            **embedding.metrics,
        }
        # A slash would part the name of the array elsewhere.
        prefix = layer.replace("/", "|")
        found |= {f"{prefix}/{name}": np.asarray(values, dtype=np.float32) for name, values in shown.items()}
    return found
