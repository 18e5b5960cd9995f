"""Functions that do the work of each kind of step."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.executor import Progress
from landscape.plots import Kind, Shown, Source, kind_named
from landscape.recipe.cache import Cache
from landscape.recipe.steps import Step, digest
from landscape.storage import atomic_path
from landscape.values.archive import read_value, save_value

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.trajectory import Trajectory

# What tells an objective from the problem that a file names.
_TOLD = ("problem", "data", "device")


@dataclass(frozen=True)
class Made:
    """Outcome of a step that was made.

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
        progress: Called with (done, in all, what is at work); (0, 0) while another process makes the same step.
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
        files = _MAKERS.get(step.kind, _value)(step, cache, progress)
        seconds = time.monotonic() - began
        cache.complete(step, list(files.values()), {"parts": files, "seconds": seconds, "resumed": resumed})
        return Made("made", seconds)


def _train(step: Step, cache: Cache, progress: Progress) -> dict[str, str]:
    from landscape import problems, training

    chosen = training.Settings.from_json(step.settings["training"])
    objective = problems.build(
        step.places["problem"],
        step.settings["options"],
        seed=chosen.seed,
        data=step.places["data"],
        device=step.places["device"],
    )
    path = cache.path(step.kind, step.key)
    _drop_unreadable(path)
    training.train(objective, path, chosen, resume=True, progress=lambda done, total, _: progress(done, total))
    return {"": ".h5"}


def _import(step: Step, cache: Cache, progress: Progress) -> dict[str, str]:
    from landscape import problems

    importer = getattr(importlib.import_module("landscape.trajectory"), "import_checkpoints", None)
    if importer is None:
        raise LandscapeError("this version of landscape cannot import checkpoints", mend="upgrade it")
    name, options = step.places["problem"], step.settings["options"]
    told = (None, "", {}) if name is None else problems.initial_model(name, options, data=step.places["data"])
    importer(
        cache.path(step.kind, step.key),
        step.places["files"],
        told[0],
        problem=step.settings["problem"] or "",
        problem_args=told[2],
        overwrite=True,
        progress=progress,
        **step.settings["arguments"],
    )
    return {"": ".h5"}


def _transform(step: Step, cache: Cache, progress: Progress) -> dict[str, str]:
    from landscape.plots.objectives import objective_of
    from landscape.transform import Transform, transform

    run = run_at(cache, *step.places["base"])
    objective = objective_of(run, settings=step.settings["options"], **{name: step.places[name] for name in _TOLD})
    arguments = dict(step.settings["arguments"])
    at = arguments.pop("at", None)
    path = cache.path(step.kind, step.key)
    transform(run, objective, Transform(**arguments), path, at=at, overwrite=True, progress=progress)
    return {"": ".h5"}


def _branch(step: Step, cache: Cache, progress: Progress) -> dict[str, str]:
    from landscape import training
    from landscape.plots.objectives import objective_of

    places, arguments = step.places, step.settings["arguments"]
    chosen = training.Settings.from_json(step.settings["training"])
    base = run_at(cache, *places["base"])
    objective = objective_of(base, settings=step.settings["options"], **{name: places[name] for name in _TOLD})
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
    return {"": ".h5"}


def _value(step: Step, cache: Cache, progress: Progress) -> dict[str, str]:
    """Compute what a panel shows of some runs, going on with what an earlier attempt left."""
    try:
        return _computed(step, cache, progress)
    except LandscapeError:
        if not cache.begun(step):
            raise
        # What another version of torch or another device began is not gone on with.
        cache.remove(step)
        return _computed(step, cache, progress)


def _computed(step: Step, cache: Cache, progress: Progress) -> dict[str, str]:
    kind, places = kind_named(step.settings["kind"]), step.places
    opened = {name: run_at(cache, *where) for name, *where in (*places["runs"], *places["bases"])}
    objectives = {id(run): places["objectives"][name] for name, run in opened.items()}

    def rebuild(run: Trajectory) -> Objective:
        from landscape.plots.objectives import objective_of

        told = objectives.get(id(run)) or next(iter(objectives.values()))
        return objective_of(run, settings=told["options"], **{name: told[name] for name in _TOLD})

    def shared(what: str, about: Mapping[str, Any]) -> Path:
        return cache.path(what, digest([what, dict(about), list(step.needs), dict(step.inputs)]))

    told = _Told(progress)
    source = Source(
        {name: opened[name] for name, *_ in places["runs"]},
        rebuild,
        bases={name: opened[name] for name, *_ in places["bases"]},
        save=cache.path(step.kind, step.key),
        progress=told,
        at_work=told.name,
        shared=shared,
    )
    # Options that decide nothing, such as the memory that may be taken, are told beside those that do.
    parts = kind.compute(source, kind.options(**places["options"]))
    if kind.stored is None:
        save_value(dict(parts), cache.path(step.kind, step.key, ".npz"))
        return {"": ".npz"}
    return {name: source.places[name].name.removeprefix(step.key) for name in parts}


class _Told:
    """Progress of a step, with what is at work of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._what = progress, ""

    def name(self, what: str, unit: str = "") -> None:
        """Take what is at work next."""
        self._what = what

    def __call__(self, done: int, total: int) -> None:
        self._progress(done, total, self._what)


def parts_of(panel: Mapping[str, Any], cache: Cache) -> dict[str, Any]:
    """Return what a panel shows of steps that are done, by name.

    Args:
        panel: What `Graph.add_panel` says of it.
        cache: Where results are kept.
    """
    kind, found = kind_named(panel["kind"]), {}
    for run, folder, key in panel["steps"]:
        own = _parts(kind, cache, folder, key)
        for name, value in own.items():
            # A run may have another name where its value was computed first.
            alone, label = len(panel["steps"]) == 1, name
            if run:
                label = run if len(own) == 1 else name if alone else f"{run}, {name}"
            found[label] = value
    return found


def _parts(kind: Kind, cache: Cache, folder: str, key: str) -> dict[str, Any]:
    if kind.stored is None:
        return dict(read_value(cache.path(folder, key, ".npz")))
    files = json.loads(cache.path(folder, key, ".json").read_text())["parts"]
    return {name: kind.stored[1](cache.path(folder, key, suffix)) for name, suffix in files.items()}


def shown_from(panel: Mapping[str, Any], cache: Cache) -> Shown:
    """A panel whose steps are done, ready to be drawn."""
    options = kind_named(panel["kind"]).options(**panel["options"])
    return Shown(parts_of(panel, cache), options, panel["title"], groups=panel["groups"])


def _picture(step: Step, cache: Cache, progress: Progress) -> dict[str, str]:
    from landscape.recipe.draw_figure import draw, page_of
    from landscape.recipe.gallery import save_numbers, save_png
    from landscape.render import save

    kinds = [kind_named(panel["kind"]) for panel in step.settings["panels"]]
    panels = [shown_from(panel, cache) for panel in step.settings["panels"]]
    figure = draw(kinds, panels, step.settings["figure"], step.settings["caption"])
    suffixes = [f".{name}" for name in step.settings["figure"]["formats"]]
    for suffix in suffixes:
        path = cache.path(step.kind, step.key, suffix)
        if suffix == ".png":
            save_png(figure, path)
        elif suffix == ".html":
            made = page_of(kinds[0], panels[0], step.settings["figure"])
            with atomic_path(path) as draft:
                draft.write_text(made.html(shared=True), encoding="utf-8")
        else:
            save(figure, path)
    save_numbers(kinds, panels, cache.path(step.kind, step.key, ".npz"))
    suffixes.append(".npz")
    if kinds[0].table is not None:
        with atomic_path(cache.path(step.kind, step.key, ".md")) as draft:
            draft.write_text(kinds[0].table(panels), encoding="utf-8")
        suffixes.append(".md")
    progress(1, 1)
    return {suffix: suffix for suffix in suffixes}


_MAKERS: Mapping[str, Callable[[Step, Cache, Progress], dict[str, str]]] = {
    "train": _train,
    "import": _import,
    "transform": _transform,
    "branch": _branch,
    "picture": _picture,
}


def run_at(cache: Cache, how: str, where: str) -> Trajectory:
    """The run of a step that is done, or of a file."""
    from landscape.trajectory import open_trajectory

    return open_trajectory(where if how == "file" else cache.path(how, where))


def _drop_unreadable(path: Path) -> None:
    """Remove a trajectory that cannot be read, as it cannot be resumed."""
    from landscape.trajectory import open_trajectory

    if path.exists():
        try:
            open_trajectory(path)
        except LandscapeError:
            path.unlink()
