"""Panels whose figure is all their own: what is taken from each run, and what is shown of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.recipe import comparing, interpolating, mixing
from landscape.recipe.reader import WHOLE, Form, Reader, list_of
from landscape.recipe.source import KeyPath
from landscape.recipe.values import Exhibited, Run
from landscape.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.objective import Objective
    from landscape.recipe.cache import Cache
    from landscape.recipe.making import Progress
    from landscape.recipe.steps import Step
    from landscape.trajectory import Trajectory

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Exhibit:
    """A kind of panel.

    Attributes:
        forms: Key -> form of its value, of the keys that it has besides ``seeds``.
        defaults: Key -> what it is where it is left out.
        taken: Keys that decide what is taken from a run; the others decide what is shown.
        take: What is taken from a run: run, objective and the keys of `taken`, and the progress to be told.
        show: The scene of a panel: title, settings, name of a run -> name with seed -> (options, values).
        draw: The figure of all scenes, which looks as the arguments say; see `rows.Look`.
        numbers: The numbers of a scene by name.
        table: The scenes in words, in Markdown; None if there is nothing to tell.
        problem: The problem that runs must have; None if any will do.
    """

    forms: Mapping[str, Form]
    defaults: Mapping[str, Any]
    taken: tuple[str, ...]
    take: Callable[[Trajectory, Objective, Mapping[str, Any], Progress], Values]
    show: Callable[[str | None, Mapping[str, Any], Mapping[str, Mapping[str, Any]]], Any]
    draw: Callable[..., Figure]
    numbers: Callable[[Any], Values]
    table: Callable[[Sequence[Any]], str] | None = None
    problem: str | None = None


EXHIBITS: dict[str, Exhibit] = {
    "comparison": Exhibit(
        comparing.FORMS,
        comparing.DEFAULTS,
        comparing.TAKEN,
        comparing.take,
        comparing.show,
        comparing.draw,
        comparing.numbers,
        comparing.table,
    ),
    "mixture": Exhibit(
        mixing.FORMS,
        mixing.DEFAULTS,
        mixing.TAKEN,
        mixing.take,
        mixing.show,
        mixing.draw,
        mixing.numbers,
        problem="gaussian-mixture",
    ),
    "interpolators": Exhibit(
        interpolating.FORMS,
        interpolating.DEFAULTS,
        interpolating.TAKEN,
        interpolating.take,
        interpolating.show,
        interpolating.draw,
        interpolating.numbers,
        problem="multi-index",
    ),
}
"""Kind of a panel -> how it is made."""
ALONE = {kind: f"panels of kind '{kind}' are" for kind in EXHIBITS}
"""Kind of a panel -> how a sentence about it begins."""

_SEEDS = list_of(WHOLE, "a list of whole numbers")


def forms_of(kind: str) -> dict[str, Form]:
    """Keys of a panel of a kind, besides those that all panels have."""
    return {"seeds": _SEEDS, **EXHIBITS[kind].forms}


def read_exhibit(
    reader: Reader, key: KeyPath, where: Any, entries: Mapping[str, Any], runs: Mapping[str, Run]
) -> Exhibited:
    """What a panel shows; what is wrong with it is noted.

    Args:
        reader: The recipe.
        key: The panel.
        where: Name of a key -> its path.
        entries: Those of the panel and what all panels share.
        runs: Name -> run.
    """
    kind = entries["kind"]
    exhibit, seeds = EXHIBITS[kind], entries.get("seeds", [])
    for seed in (seed for seed in seeds if seed < 0 or seeds.count(seed) > 1):
        reader.fault(where("seeds"), "seeds are different whole numbers from 0", got=seed)
        break
    for name, run in runs.items():
        if run.kind != "train":
            reader.fault(key, "a panel of this kind is of runs that are trained", got=f"'{name}'")
        elif exhibit.problem not in (None, run.problem):
            said = f"a panel of kind '{kind}' is of runs of {exhibit.problem}"
            reader.fault(key, said, got=f"'{name}' of {run.problem}")
    settings = {name: entries.get(name, default) for name, default in exhibit.defaults.items()}
    return Exhibited(kind, settings, {name: _members(run, seeds) for name, run in runs.items()})


def _members(run: Run, seeds: Sequence[int]) -> dict[str, Run]:
    """The run with each of the seeds; with its own if none are given."""
    if run.training is None or not seeds:
        return {run.name: run}
    return {f"{run.name}, seed {seed}": replace(run, training=replace(run.training, seed=seed)) for seed in seeds}


def taking(shown: Exhibited) -> dict[str, Any]:
    """What decides the values that are taken from a run."""
    return {"exhibit": shown.kind, **{name: shown.settings[name] for name in EXHIBITS[shown.kind].taken}}


def make_exhibit(step: Step, cache: Cache, progress: Progress) -> list[str]:
    """Take from a run what a panel shows of it."""
    from landscape.pipeline import objective_of
    from landscape.trajectory import open_trajectory

    places, settings = step.places, step.settings["taking"]
    run = open_trajectory(cache.path(*places["run"]))
    told = {name: places[name] for name in ("problem", "data", "device")}
    objective = objective_of(run, settings=places["options"], **told)
    values = EXHIBITS[settings["exhibit"]].take(run, objective, settings, progress)
    with atomic_path(cache.path(step.kind, step.key, ".npz")) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **values)  # type: ignore[arg-type]
    return [".npz"]


def scene_of(panel: Mapping[str, Any], cache: Cache) -> Any:
    """The scene of a panel whose values are taken.

    Args:
        panel: ``exhibit``, ``title``, ``settings`` and ``members``: run -> [(name, key, options of the problem)].
        cache: Where results are kept.
    """
    held = {
        group: {name: (options, _read(cache.path("exhibit", key, ".npz"))) for name, key, options in members}
        for group, members in panel["members"]
    }
    return EXHIBITS[panel["exhibit"]].show(panel["title"], panel["settings"], held)


def _read(path: Path) -> Values:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def draw_exhibits(panels: Sequence[Mapping[str, Any]], figure: Mapping[str, Any], caption: str | None) -> Figure:
    """The figure of a recipe of exhibits, which are all of one kind.

    Args:
        panels: Each with its ``exhibit`` and ``scene``.
        figure: The fields of `values.Figure`.
        caption: What stands at the foot, if anything does.
    """
    look = {name: figure[name] for name in ("width", "height", "style")}
    return EXHIBITS[panels[0]["exhibit"]].draw([panel["scene"] for panel in panels], caption=caption, **look)


def numbers_of_exhibit(panel: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """What a picture of a panel shows, in float32; nothing for panels of other kinds."""
    if "scene" not in panel:
        return {}
    found = EXHIBITS[panel["exhibit"]].numbers(panel["scene"])
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def save_words(panels: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Write the table that belongs to a picture, if there is one; whether there is.

    Args:
        panels: Each with its ``exhibit`` and ``scene``.
        path: A ``.md`` file.
    """
    table = EXHIBITS[panels[0]["exhibit"]].table if "scene" in panels[0] else None
    if table is None:
        return False
    with atomic_path(path) as draft:
        draft.write_text(table([panel["scene"] for panel in panels]), encoding="utf-8")
    return True
