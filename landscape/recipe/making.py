"""How each kind of step is made: the functions that do the work."""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.pipeline import Grown
from landscape.recipe.branches import branches_at, make_pair
from landscape.recipe.cache import Cache
from landscape.recipe.exhibits import make_exhibit, save_words, scene_of
from landscape.recipe.measuring import make_measures, measure_at
from landscape.recipe.steps import Step

if TYPE_CHECKING:
    from landscape.projection.embedding import Embedding
    from landscape.surface import Surface
    from landscape.trajectory import Trajectory

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Made:
    """What became of a step.

    Attributes:
        state: ``"made"``, or ``"shared"`` where another process made it meanwhile.
        seconds: That it took.
    """

    state: str
    seconds: float


def make(step: Step, cache: Cache, progress: Progress, *, force: bool = False) -> Made:
    """Make a step if it is not made yet, going on with what an earlier attempt left.

    Args:
        step: The step; all that it needs is in the cache.
        cache: Where results are kept.
        progress: Called with (done, in all); (0, 0) while another process makes the same step.
        force: Make it although it is made.

    Returns:
        Whether it was made here.

    Raises:
        LandscapeError: If it cannot be made.
    """
    with cache.holding(step, waiting=lambda: progress(0, 0)):
        if force:
            cache.remove(step)
        elif cache.record(step) is not None:
            return Made("shared", 0.0)
        resumed = cache.begun(step)
        began = time.monotonic()
        suffixes = _MAKERS[step.kind](step, cache, progress)
        seconds = time.monotonic() - began
        cache.complete(step, suffixes, {"seconds": seconds, "resumed": resumed})
        return Made("made", seconds)


def _train(step: Step, cache: Cache, progress: Progress) -> list[str]:
    from landscape import problems, training

    chosen = training.Settings.from_json(step.settings["training"])
    objective = problems.build(
        step.places["problem"], step.settings["options"], seed=chosen.seed, data=step.places["data"]
    )
    path = cache.path(step.kind, step.key)
    _drop_unreadable(path)
    training.train(objective, path, chosen, resume=True, progress=lambda done, total, _: progress(done, total))
    return [".h5"]


def _import(step: Step, cache: Cache, progress: Progress) -> list[str]:
    from landscape import problems

    importer = getattr(importlib.import_module("landscape.trajectory"), "import_checkpoints", None)
    if importer is None:
        raise LandscapeError("this version of landscape cannot import checkpoints", mend="upgrade it")
    name, options = step.places["problem"], step.settings["options"]
    objective = None if name is None else problems.build(name, options, data=step.places["data"])
    importer(
        cache.path(step.kind, step.key),
        step.places["files"],
        None if objective is None else objective.model,
        problem=step.settings["problem"] or "",
        problem_args=objective.problem_args if objective is not None else {},
        overwrite=True,
        progress=progress,
        **step.settings["arguments"],
    )
    return [".h5"]


def _transform(step: Step, cache: Cache, progress: Progress) -> list[str]:
    from landscape.pipeline import objective_of
    from landscape.transforming import Transform, transform

    run = run_at(cache, *step.places["base"])
    objective = objective_of(
        run, problem=step.places["problem"], settings=step.settings["options"], data=step.places["data"]
    )
    arguments = dict(step.settings["arguments"])
    at = arguments.pop("at", None)
    path = cache.path(step.kind, step.key)
    transform(run, objective, Transform(**arguments), path, at=at, overwrite=True, progress=progress)
    return [".h5"]


def _branch(step: Step, cache: Cache, progress: Progress) -> list[str]:
    from landscape import training
    from landscape.pipeline import objective_of

    places, arguments = step.places, step.settings["arguments"]
    chosen = training.Settings.from_json(step.settings["training"])
    base = run_at(cache, *places["base"])
    objective = objective_of(
        base, problem=places["problem"], settings=step.settings["options"], data=places["data"], device="cpu"
    )
    snapshot = base[base.index_of(arguments.get("at", "last"))]
    start = training.Start(snapshot, base.run_id, snapshot.step)
    if "noise" in arguments:
        noise = training.Noise.parse(arguments["noise"])
        # The seed of the branch draws its noise too.
        done = {"noise": str(noise), "seed": chosen.seed}
        start = replace(start, weights=noise.perturb(snapshot, chosen.seed), perturbation=done)
    path = cache.path(step.kind, step.key)
    _drop_unreadable(path)
    training.train(
        objective,
        path,
        chosen,
        start=start,
        resume=True,
        progress=lambda done, total, _: progress(done, total),
    )
    return [".h5"]


def _slice(step: Step, cache: Cache, progress: Progress) -> list[str]:
    from landscape.pipeline import COMMON, Slice, objective_of, slice_common, slice_of, slice_through

    places = step.places
    runs = {name: run_at(cache, how, where) for name, how, where in places["runs"]}
    first = next(iter(runs.values()))
    objective = objective_of(
        first,
        problem=places["problem"],
        settings=places["options"],
        data=places["data"],
        device=places["device"],
    )
    entries = {**step.settings["slice"], "memory": places["memory"], "directions": places["directions"]}
    entries |= {axis: _axis(entries[axis]) for axis in "xy"}
    entries["points"] = tuple(entries["points"]) if isinstance(entries["points"], list) else entries["points"]
    measured = [name for name in ("loss", "error") if name in objective.metrics]
    wanted = replace(
        Slice(**{**entries, "splits": tuple(entries["splits"])}), metrics=(*measured, *step.settings["metrics"])
    )
    path = cache.path(step.kind, step.key)
    _drop_foreign(path, objective.device.type)
    if wanted.plane == COMMON:
        slice_common(runs, objective, wanted, save=path, progress=progress)
    elif "names" in step.settings:
        slice_through(runs, objective, wanted, save=path, progress=progress)
    else:
        slice_of(first, objective, wanted, save=path, progress=progress)
    return [".h5"]


def _distances(step: Step, cache: Cache, progress: Progress) -> list[str]:
    from landscape.recipe.embedding import embeddings_at

    runs = {name: run_at(cache, how, where) for name, how, where in step.places["runs"]}
    embeddings_at(cache.path(step.kind, step.key), runs, step.settings["embed"], progress)
    return [".h5"]


def embeddings_of_panel(panel: Mapping[str, Any], cache: Cache) -> dict[str, Embedding]:
    """The embeddings of a panel whose distances are done.

    Args:
        panel: What `Graph.add_embeddings` says of it, and its ``embed``.
        cache: Where results are kept.
    """
    from landscape.recipe.embedding import embeddings_at

    runs = {name: run_at(cache, how, where) for name, how, where in panel["runs"]}
    return embeddings_at(cache.path("distances", panel["distances"]), runs, panel["embed"])


def _loaded(panel: Mapping[str, Any], cache: Cache) -> dict[str, Any]:
    """A panel with its values in place of their keys."""
    if "exhibit" in panel:
        return {**panel, "scene": scene_of(panel, cache)}
    if "embed" in panel:
        return {**panel, "embeddings": embeddings_of_panel(panel, cache)}
    grown = Grown(**panel["grown"]) if "grown" in panel else None
    found = {name: surface_at(cache, key, panel["measure"], grown) for name, key in panel["surfaces"]}
    return {**panel, "surfaces": found}


def _picture(step: Step, cache: Cache, progress: Progress) -> list[str]:
    from landscape.recipe.drawing import draw
    from landscape.recipe.gallery import save_numbers, save_png
    from landscape.render import save

    panels = [_loaded(panel, cache) for panel in step.settings["panels"]]
    figure = draw(panels, step.settings["figure"], step.settings["caption"])
    suffixes = [f".{name}" for name in step.settings["figure"]["formats"]]
    for suffix in suffixes:
        path = cache.path(step.kind, step.key, suffix)
        if suffix == ".png":
            save_png(figure, path)
        else:
            save(figure, path)
    save_numbers(panels, cache.path(step.kind, step.key, ".npz"))
    words = save_words(panels, cache.path(step.kind, step.key, ".md"))
    progress(1, 1)
    return [*suffixes, ".npz", *([".md"] if words else [])]


_MAKERS: Mapping[str, Callable[[Step, Cache, Progress], list[str]]] = {
    "train": _train,
    "import": _import,
    "transform": _transform,
    "branch": _branch,
    "slice": _slice,
    "measures": make_measures,
    "distances": _distances,
    "exhibit": make_exhibit,
    "pair": make_pair,
    "picture": _picture,
}


def run_at(cache: Cache, how: str, where: str) -> Trajectory:
    """The run of a step that is done, or of a file."""
    from landscape.trajectory import open_trajectory

    return open_trajectory(where if how == "file" else cache.path(how, where))


def surface_at(cache: Cache, key: str, measure: str | None = None, grown: Grown | None = None) -> Surface:
    """The slice of a step that is done; with the name of a measure, that measure along training; or branches."""
    from landscape.surface import read_surface

    if grown is not None:
        return branches_at(cache, key, grown)
    if measure is not None:
        return measure_at(cache, key, measure)
    return read_surface(cache.path("slice", key))


def _axis(entry: Any) -> Any:
    return tuple(entry["range"]) if isinstance(entry, Mapping) else entry


def _drop_unreadable(path: Path) -> None:
    """What cannot be read cannot be gone on with."""
    from landscape.trajectory import open_trajectory

    if path.exists():
        try:
            open_trajectory(path)
        except LandscapeError:
            path.unlink()


def _drop_foreign(path: Path, device: str) -> None:
    """A part of a slice that another version of torch or another device began ends in other bits: begin anew."""
    from landscape.surface.store import read_identity, read_surface

    if path.exists():
        try:
            held = read_identity(path)
            read_surface(path)
        except LandscapeError:
            held = {}
        if held.get("torch") != importlib.metadata.version("torch") or held.get("device") != device:
            path.unlink()
