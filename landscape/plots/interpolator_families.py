"""Panels of networks that fit all examples: the trace of the Hessian against the population loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.forms import NUMBERS, Form
from landscape.options import Options, option
from landscape.plots.source import Progress
from landscape.plots.taken import Held, scenes
from landscape.vocabulary import PAGE_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.objective import Objective
    from landscape.papers import Student
    from landscape.problems.catalogue import MultiIndexOptions
    from landscape.render.interpolators import Interpolators
    from landscape.trajectory import Trajectory


def _shares(given: Any) -> tuple[float, ...]:
    found = tuple(NUMBERS.read(given))
    if not all(0 < share < 1 for share in found):
        raise ValueError(given)
    return found


@dataclass(frozen=True)
class InterpolatorOptions(Options):
    """Which networks that fit all examples are compared."""

    memorisers: int = option(5, "Memorisers of each kind", low=1, decides=False, shows=True)
    blends: tuple[float, ...] = option(
        (0.003, 0.01, 0.03, 0.1, 0.3),
        "Shares of the memoriser in its blends with the teacher",
        form=Form("shares between 0 and 1 with commas between them", _shares, "A,B,..."),
        decides=False,
        shows=True,
    )
    places: int = option(3, "Places of its orbit where each network is measured", low=1, decides=False, shows=True)
    spread: float = option(1.0, "How far these places are apart, in log scale", above=0, decides=False, shows=True)
    fits_below: float = option(
        1e-3, "The training loss of a network that fits", above=0, decides=False, shows=True
    )
    draw_seed: int = option(0, "Draws the places", low=0, decides=False, shows=True)


def take(
    run: Trajectory, objective: Objective, wanted: InterpolatorOptions, progress: Progress
) -> dict[str, NDArray[Any]]:
    """The weights of a trained student."""
    from landscape import problems
    from landscape.papers import student_of

    options = problems.parse_options("multi-index", objective.problem_args)
    student = student_of(run[-1], options.degree)
    return {"a": student.a, "w": student.w}


def show(title: str | None, wanted: InterpolatorOptions, held: Held) -> Interpolators:
    """The scene of a panel: networks of all families at random places of their orbits, and at the flattest."""
    from landscape.problems import parse_options
    from landscape.problems.multi_index import draw_multi_index
    from landscape.render.interpolators import Interpolators

    every = [options for members in held.values() for options, _ in members.values()]
    data = ("dim", "indices", "link", "noise", "train_size", "bias", "data_seed", "degree")
    if any(options[name] != every[0][name] for options in every for name in data):
        raise LandscapeError(
            "students of one panel must have the same examples", where=title, expected=f"equal {', '.join(data)}"
        )
    options = parse_options("multi-index", every[0])
    drawn = draw_multi_index(options)
    families = _built(wanted, options) | _trained(wanted, held, options.degree, drawn.train)
    random = np.random.default_rng(wanted.draw_seed)
    measured = {
        name: _measured(students, drawn, wanted, random) for name, students in families.items() if students
    }
    about = {name: every[0][name] for name in data}
    return Interpolators(title, about, measured)


def _built(wanted: InterpolatorOptions, options: MultiIndexOptions) -> dict[str, list[Student]]:
    """Teacher, memorisers, and what is between them."""
    from landscape.papers import blend, bump_memoriser, memoriser, random_direction, teacher
    from landscape.problems.multi_index import draw_multi_index

    drawn, knows = draw_multi_index(options), teacher(options)
    families: dict[str, list[Student]] = {
        "teacher": [knows],
        "blend": [],
        "line memoriser": [],
        "bump memoriser": [],
    }
    for number in range(wanted.memorisers):
        direction = random_direction(options.dim, drawn.directions, seed=number)
        own = [("bump memoriser", bump_memoriser(*drawn.train, direction, options.degree))]
        if options.degree == 1:
            own.append(("line memoriser", memoriser(*drawn.train, direction)))
        for name, student in own:
            families[name].append(student)
            families["blend"] += [blend(knows, student, share) for share in wanted.blends]
    return families


def _trained(
    wanted: InterpolatorOptions, held: Held, degree: int, train: tuple[Any, Any]
) -> dict[str, list[Student]]:
    """The trained students that fit the examples."""
    from landscape.papers import Student

    found: dict[str, list[Student]] = {}
    for name, members in held.items():
        for said, (_, values) in members.items():
            student = Student(values["a"], values["w"], degree)
            loss = float(((student.outputs(train[0]) - train[1]) ** 2).mean())
            if not loss <= wanted.fits_below:
                raise LandscapeError(
                    "a student does not fit its examples",
                    where=said,
                    got=f"loss {loss:.3g}",
                    expected=f"at most {wanted.fits_below:g}",
                    mend="train it longer, or raise fits_below",
                )
            # Runs of several problems are told apart behind a comma; a training method is one family.
            found.setdefault(name.split(",")[0], []).append(student)
    return found


def _measured(
    students: Sequence[Student], drawn: Any, wanted: InterpolatorOptions, random: np.random.Generator
) -> NDArray[np.float64]:
    """Per student a row: population loss, training loss, least trace, and the traces at places of its orbit."""
    from landscape.papers import compare, interpolation_trace

    found = compare({str(place): student for place, student in enumerate(students)}, drawn.train, drawn.test)
    traces = []
    for student in students:
        factors = np.exp(wanted.spread * random.normal(size=(wanted.places, len(student.a))))
        # The place that it was built or trained at is the first.
        places = [student, *(student.rescaled(c) for c in factors[1:])]
        traces.append([interpolation_trace(one, drawn.train[0]) for one in places])
    columns = [found.population_loss, found.train_loss, found.least_trace]
    return np.column_stack([*columns, np.array(traces)])


def draw(shown: Sequence[Any]) -> Figure:
    """The figure of all panels."""
    from landscape.render.interpolators import interpolators

    return interpolators(shown)


def numbers(scene: Interpolators) -> dict[str, NDArray[Any]]:
    """The numbers of a panel: by family, a row per network."""
    return dict(scene.families)


INTERPOLATORS = scenes(
    "interpolators",
    "networks that fit all examples: least trace against population loss",
    InterpolatorOptions,
    take,
    show,
    draw,
    numbers,
    problem="multi-index",
    heeds=(*PAGE_OPTIONS, *SCALE_OPTIONS),
)
