"""Pictures of many runs at once: what is taken from each run, and the scene that is made of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.options import Options
from landscape.plots.kind import Document, Kind, Parts, Shown
from landscape.plots.source import Progress, Source
from landscape.vocabulary import PAGE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.objective import Objective
    from landscape.render.look import Look
    from landscape.trajectory import Trajectory

Values = dict[str, NDArray[Any]]
Held = Mapping[str, Mapping[str, tuple[Mapping[str, Any], Values]]]


@dataclass(frozen=True)
class Taken:
    """Values taken from a run.

    Attributes:
        problem: The options of its problem.
        values: Name -> array.
    """

    problem: Mapping[str, Any]
    values: Values


def scenes(
    name: str,
    summary: str,
    options: type[Options],
    take: Callable[[Trajectory, Objective, Any, Progress], Values],
    show: Callable[[str | None, Any, Held], Any],
    draw: Callable[..., Figure],
    numbers: Callable[[Any], Values],
    table: Callable[[Sequence[Any]], str] | None = None,
    problem: str | None = None,
    heeds: tuple[str, ...] = PAGE_OPTIONS,
) -> Kind:
    """A kind of picture whose panels are scenes of many runs.

    Args:
        name: What it is asked for by.
        summary: A phrase for help.
        options: Its options.
        take: (run, objective, options, progress) -> what is taken from a run.
        show: (title, options, group -> name of a run -> (options of its problem, values)) -> the scene.
        draw: The figure of scenes, in the look in use.
        numbers: The numbers of a scene by name.
        table: The scenes in words, in Markdown; None if there is nothing to tell.
        problem: The problem that runs must have; None if any will do.
        heeds: The options of a look that mean something here.
    """

    def scene(shown: Shown) -> Any:
        held: dict[str, dict[str, tuple[Mapping[str, Any], Values]]] = {}
        for run, own in shown.parts.items():
            held.setdefault(shown.groups.get(run, run), {})[run] = (own.problem, own.values)
        return show(shown.title, shown.options, held)

    def compute(source: Source, wanted: Any) -> Parts:
        run = source.names[0]
        objective = source.objective(run)
        values = take(source.first, objective, wanted, source.progress)
        return {run: Taken(dict(objective.problem_args), values)}

    def drawn(panels: Sequence[Shown], look: Look) -> Figure:
        return draw([scene(shown) for shown in panels])

    def report(shown: Shown) -> Document:
        found = {entry: values.tolist() for entry, values in numbers(scene(shown)).items()}
        return {"kind": name, "runs": list(shown.parts), "numbers": found}

    def lines(document: Mapping[str, Any]) -> list[str]:
        return [f"{document['picture']}: {name} of {len(document['runs'])} runs"]

    def faults(wanted: Any, runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for run in runs.values():
            if run.kind != "train":
                yield "", f"a panel of this kind is of runs that are trained; got '{run.name}'"
            elif problem not in (None, run.problem):
                yield "", f"a panel of kind '{name}' is of runs of {problem}; got '{run.name}' of {run.problem}"

    return Kind(
        name=name,
        summary=summary,
        options=options,
        compute=compute,
        draw=drawn,
        report=report,
        lines=lines,
        numbers=lambda shown: numbers(scene(shown)),
        each=lambda wanted: True,
        table=None if table is None else lambda panels: table([scene(shown) for shown in panels]),
        faults=faults,
        heeds=lambda wanted: heeds,
        seeds=True,
        step="exhibit",
        title=f"{name.capitalize()} (--kind {name})",
    )
