"""Panels that show branches side by side over the epochs since they parted: how they are read and made."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.pipeline import Grown
from landscape.recipe.reader import TEXT, Form, Reader
from landscape.recipe.source import KeyPath
from landscape.recipe.values import Run

if TYPE_CHECKING:
    from landscape.recipe.cache import Cache
    from landscape.recipe.making import Progress
    from landscape.recipe.steps import Step
    from landscape.surface import Surface

KIND = "branches"
FORMS: dict[str, Form] = dict.fromkeys(("show", "metric", "split", "bn"), TEXT)
"""Keys of a panel of this kind: the fields of `Grown`."""


def read_grown(
    reader: Reader, key: KeyPath, where: Any, entries: Mapping[str, Any], runs: Mapping[str, Run]
) -> Grown | None:
    """What is shown of which branches; what is wrong with it is noted, every key by itself.

    Args:
        reader: The recipe.
        key: The panel.
        where: Name of a key -> its path.
        entries: Those of the panel and what all panels share.
        runs: The runs that the panel names.
    """
    found = Grown()
    for name in (name for name in entries if name in FORMS):
        with reader.noting(where(name)):
            found = replace(found, **{name: entries[name]})
    with reader.noting(where("runs") if "runs" in entries else key):
        trunk = trunk_of(runs)
        if found.show == "branch" and trunk.name in runs:
            raise LandscapeError(f"'{trunk.name}' is the trunk, no branch", mend="leave it out")
        if found.show != "branch" and len(runs) < 2:
            raise LandscapeError("two runs have a distance", got=len(runs), mend="name another branch")
        return found
    return None


def trunk_of(runs: Mapping[str, Run]) -> Run:
    """The run that all of these branched off at one snapshot; it may be one of them.

    Raises:
        LandscapeError: If there is none.
    """
    starts = {run.base.name: run.base for run in runs.values() if run.kind == "branch" and run.base is not None}
    others = [name for name, run in runs.items() if run.kind != "branch" and name not in starts]
    steps = {run.arguments.get("at", "last") for run in runs.values() if run.kind == "branch"}
    if others or len(starts) != 1 or len(steps) != 1:
        said = f"'{others[0]}' is no branch" if others else "these are not branches of one snapshot"
        raise LandscapeError(said, mend="name runs with the same branch = { of = ..., at = ... }")
    return next(iter(starts.values()))


def pairs_of(runs: Mapping[str, Run]) -> list[tuple[Run, Run]]:
    """Each two of the runs of a panel."""
    return list(itertools.combinations(runs.values(), 2))


def make_pair(step: Step, cache: Cache, progress: Progress) -> list[str]:
    """Set two branches side by side."""
    from landscape.pipeline import objective_of, pair_over_epochs
    from landscape.surface import save_surface
    from landscape.trajectory import open_trajectory

    places = step.places
    trunk, *pair = (
        open_trajectory(found if how == "file" else cache.path(how, found)) for how, found in places["runs"]
    )
    told = {name: places[name] for name in ("problem", "data", "device")}
    objective = objective_of(pair[1], settings=places["options"], **told)
    found = pair_over_epochs(trunk, pair, objective, progress=progress, **step.settings["pair"])
    save_surface(found, cache.path(step.kind, step.key))
    return [".h5"]


def branches_at(cache: Cache, key: str, wanted: Grown) -> Surface:
    """What a panel shows of a step that is done."""
    from landscape.pipeline import seen_of
    from landscape.recipe.measuring import over_epochs
    from landscape.surface import read_surface

    if wanted.show == "branch":
        return over_epochs(cache, key, wanted.metric)
    return seen_of(read_surface(cache.path("pair", key)), wanted)
