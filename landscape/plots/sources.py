"""From what a caller names to the runs of a picture: files, addresses, runs, by name or in a list."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError
from landscape.plots.addresses import run_at, short_name
from landscape.plots.source import Progress, Source, unheard

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.trajectory import Trajectory


def source_of(
    runs: Any,
    objective: Objective | None = None,
    *,
    save: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Source:
    """The source of a picture in Python.

    Args:
        runs: A trajectory, the address of one (see `addresses.run_at`), or several of them in a list or by name.
        objective: What they were trained on; None is what their files name.
        save: The file that results are kept in.
        progress: Called with (work done, work in all).
    """
    from landscape.trajectory import Trajectory

    given = [runs] if isinstance(runs, str | os.PathLike | Trajectory) else runs
    named = dict(given) if isinstance(given, Mapping) else _named(list(given))
    if not named:
        raise LandscapeError("there is no run to draw")
    opened = {name: (run, None) if isinstance(run, Trajectory) else _at(run) for name, run in named.items()}
    return sourced(
        opened,
        (lambda run: objective) if objective is not None else _rebuilt,
        save=None if save is None else Path(save),
        progress=progress or unheard,
    )


def sourced(
    opened: Mapping[str, tuple[Trajectory, str | int | None]],
    rebuild: Callable[[Trajectory], Objective],
    **how: Any,
) -> Source:
    """The source of runs with the steps that their addresses name."""
    steps = {name: step for name, (_, step) in opened.items() if step is not None}
    return Source({name: run for name, (run, _) in opened.items()}, rebuild, steps, **how)


def named(files: Sequence[str]) -> dict[str, str]:
    """A name for each address: short, with its place in the order given where two would have the same."""
    return _named(list(files))


def _at(address: str | os.PathLike[str]) -> tuple[Trajectory, str | None]:
    run, step = run_at(os.fspath(address))
    return run, None if step == "last" else step


def _named(given: list[Any]) -> dict[str, Any]:
    """A name for each: short, as long as it tells them apart."""
    names = [short_name(os.fspath(one)) if isinstance(one, str | os.PathLike) else _name_of(one) for one in given]
    if len(set(names)) < len(names):
        names = [f"{name} ({place})" for place, name in enumerate(names, 1)]
    return dict(zip(names, given, strict=True))


def _name_of(run: Trajectory) -> str:
    return Path(run.path).stem


def _rebuilt(run: Trajectory) -> Objective:
    from landscape.plots.objectives import objective_of

    return objective_of(run)


def require_one_model(runs: Mapping[str, Trajectory]) -> None:
    """Check that runs have the same tensors, so that there are directions between them."""
    (first, run), *others = runs.items()
    for name, other in others:
        shapes = [{info.name: info.shape for info in one.layout.moving()} for one in (run, other)]
        wrong = next((key for key in {**shapes[0], **shapes[1]} if shapes[0].get(key) != shapes[1].get(key)), None)
        if wrong is not None:
            got = " and ".join(f"{own.get(wrong, 'no such tensor')}" for own in shapes)
            raise LandscapeError(
                f"{first} and {name} are of different models, which have no plane in common",
                where=f"tensor '{wrong}'",
                got=got,
                mend="draw each by itself",
            )
