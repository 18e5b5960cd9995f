"""Sources of a picture: runs, the objectives that rebuild their losses, and where parts are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from landscape.errors import LandscapeError

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.trajectory import Trajectory

Progress = Callable[[int, int], None]
AtWork = Callable[..., None]
Placed = TypeVar("Placed", bound=Any)


def unheard(*_: Any, **__: Any) -> None:
    """Tell nobody."""


def _no_objective(run: Trajectory) -> Objective:
    raise LandscapeError("this picture needs an objective", where=run.path, mend="pass objective=")


@dataclass(frozen=True)
class Source:
    """The runs of a picture and all that goes with them.

    Attributes:
        runs: Name -> run, in the order given.
        rebuild: The objective of a run.
        steps: Name -> the step that the address of a run names, where it names one.
        groups: Name -> what several runs have in common that differ in their seed; by default each is its own.
        bases: Name -> the run that one branched off, where it is known.
        save: The file that results are kept in as they are computed, and resumed from; None keeps nothing.
        progress: Called with (work done, work in all).
        at_work: Called with what is at work next, in a few words, and with what is counted of it where that is
            not what was counted before.
        announce: Called with the plan of an evaluation, before it starts.
        early: Called with (name of a part, its value so far) where a coarse picture comes first.
        shared: (what, all that decides it) -> the file of an intermediate result that other pictures may share.
        unfinished: A file of finished parts that is kept until all is done; None is `save`.
        in_place: The objective of a checkpoint's model, in place, instead of runs.
        places: The files that parts were asked to be kept in, by name of the part.
    """

    runs: Mapping[str, Trajectory]
    rebuild: Callable[[Trajectory], Objective] = _no_objective
    steps: Mapping[str, int | str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, Trajectory] = field(default_factory=dict)
    save: Path | None = None
    progress: Progress = unheard
    at_work: AtWork = unheard
    announce: Callable[[Any], None] = unheard
    early: Callable[[str, Any], None] = unheard
    shared: Callable[[str, Mapping[str, Any]], Path] | None = None
    unfinished: Any = None
    in_place: Objective | None = None
    places: dict[str, Path] = field(default_factory=dict)
    _objectives: dict[str, Objective] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of the runs."""
        return list(self.runs)

    @property
    def first(self) -> Trajectory:
        """The first run."""
        return next(iter(self.runs.values()))

    def only(self, what: str) -> Trajectory:
        """The only run.

        Raises:
            LandscapeError: If there are several.
        """
        if len(self.runs) > 1:
            raise LandscapeError(f"{what} is drawn of one run", got=f"{len(self.runs)} runs")
        return self.first

    def each(self) -> list[Source]:
        """The same for each run alone."""
        if self.in_place is not None:
            return [self]
        return [replace(self, runs={name: run}) for name, run in self.runs.items()]

    def placed(self, options: Placed) -> Placed:
        """Options whose snapshot is the one that the address of the first run names, unless they choose one."""
        step = next((self.steps.get(name) for name in self.names), None)
        return options if step is None or options.at != "last" else replace(options, at=step)

    def objective(self, name: str | None = None) -> Objective:
        """The objective of a run, by default of the first; rebuilt once."""
        chosen = name or self.names[0]
        if chosen not in self._objectives:
            self._objectives[chosen] = self.rebuild(self.runs[chosen])
        return self._objectives[chosen]

    def place(self, name: str = "", ending: str = "") -> Path | None:
        """The file that a part is kept in, and resumed from, if results are kept.

        Args:
            name: The name of the part.
            ending: What tells its file from those of other parts: S.h5 becomes S-step120.h5 for ``"-step120"``.
        """
        if self.save is None:
            return None
        self.places[name] = self.save.with_stem(self.save.stem + ending)
        return self.places[name]

    @property
    def parts(self) -> Any:
        """Where finished parts of a probe or an audit are kept; see `landscape.files.cells.Save`."""
        return self.save if self.unfinished is None else self.unfinished

    def place_of(self, what: str, about: Mapping[str, Any]) -> Path | None:
        """The file of an intermediate result that other pictures may share, if results are kept.

        Args:
            what: What it is.
            about: All that decides it besides the runs.
        """
        return self.place() if self.shared is None else self.shared(what, about)

    def about(self) -> str:
        """The problems of the runs, each once."""
        if self.in_place is not None:
            return self.in_place.problem
        return ", ".join(dict.fromkeys(run.problem for run in self.runs.values() if run.problem))

    def require(self, low: int, high: int | None, what: str) -> None:
        """Check how many runs there are.

        Raises:
            LandscapeError: If there are too few or too many.
        """
        count = len(self.runs)
        if count < low or (high is not None and count > high):
            raise LandscapeError(what, got=f"{count} run{'s' * (count != 1)}")


def names_of(files: Sequence[str]) -> list[str]:
    """A name for each file: its own, or its place in the order given where two have the same."""
    stems = [Path(file).stem for file in files]
    return stems if len(set(stems)) == len(stems) else [f"{stem} ({n})" for n, stem in enumerate(stems, 1)]
