"""Comparisons of training methods over seeds: test error and local energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.options import Options, option
from landscape.plots.paired import interval, paired
from landscape.plots.source import Progress
from landscape.plots.taken import Held, scenes
from landscape.vocabulary import ONE_D_POLICIES, PAGE_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.objective import Objective
    from landscape.render.comparisons import Comparison
    from landscape.trajectory import Trajectory


@dataclass(frozen=True)
class ComparisonOptions(Options):
    """Options of a comparison of training methods."""

    # Pittorino et al. 2021 draw profiles of the training error to a sigma of about 0.5.
    sigma: float = option(
        0.3, "The noise at which local energies are compared", above=0, decides=False, shows=True
    )
    largest_sigma: float = option(0.5, "The largest noise of the profiles", above=0)
    points: int = option(10, "Values of sigma up to it", low=1)
    draws: int = option(20, "Draws of the noise at each", low=1)
    noise_seed: int = option(0, "Draws the noise, the same for all runs", low=0)
    metric: str = option(
        "error", "What the noise makes rise", choices=("error", "loss"), decides=False, shows=True
    )
    one_d: str = option("norm", "Biases and gains: norm (noise too) or ignore", choices=ONE_D_POLICIES)


def take(
    run: Trajectory, objective: Objective, wanted: ComparisonOptions, progress: Progress
) -> dict[str, NDArray[Any]]:
    """The errors and the profile of the local energy at the end of a run.

    The noise is the same for all runs: differences are differences of the networks.
    """
    from landscape.measures import measure

    settings = {
        "sigma": wanted.largest_sigma,
        "points": wanted.points,
        "draws": wanted.draws,
        "one_d": wanted.one_d,
    }
    found = measure(
        objective,
        run[-1],
        ["local_energy"],
        seed=wanted.noise_seed,
        settings={"local_energy": settings},
        progress=lambda name, done, total: progress(done, total),
    )["local_energy"].details
    names = ("sigmas", "error_rise", "loss_rise", "error_standard_error", "loss_standard_error")
    ends = {name: np.array(values[-1]) for name, values in run.metrics.items()}
    return {**{name: np.array(found[name]) for name in names if name in found}, **ends}


def show(title: str | None, wanted: ComparisonOptions, held: Held) -> Comparison:
    """The comparison of a panel."""
    from landscape.render.comparisons import Comparison, Entrant

    entrants = []
    for name, members in held.items():
        every = [values for _, values in members.values()]
        columns = {field: np.array([values[field] for values in every]) for field in every[0]}
        error = 100 * columns["test_error"]
        entrants.append(
            Entrant(
                name=name,
                test_error=error,
                train_error=100 * columns["train_error"],
                interval=(interval(error).mean, interval(error).half),
                evaluations=float(columns["gradient_evaluations"][0]),
                sigmas=columns["sigmas"][0],
                rise=columns[f"{wanted.metric}_rise"] * (100 if wanted.metric == "error" else 1),
            )
        )
    return Comparison(title, wanted.metric, wanted.sigma, wanted.draws, entrants)


def draw(shown: Sequence[Any]) -> Figure:
    """The figure of all comparisons."""
    from landscape.render.comparisons import comparisons

    return comparisons(shown)


def numbers(scene: Comparison) -> dict[str, NDArray[Any]]:
    """The numbers of a comparison."""
    fields = ("test_error", "train_error", "sigmas", "rise")
    return {f"{one.name}/{field}": getattr(one, field) for one in scene.entrants for field in fields}


def table(shown: Sequence[Comparison]) -> str:
    """Means over seeds and differences from the first, seed by seed, with 95 % intervals."""
    return "\n\n".join(map(_table, shown)) + "\n"


def _table(scene: Comparison) -> str:
    unit = " (%)" if scene.metric == "error" else ""
    first = scene.entrants[0]
    energy = f"local energy, σ = {scene.sigma:g}{unit}"
    heads = [scene.title or "", "gradients", "test error (%)", f"less {first.name}", energy, f"less {first.name}"]
    rows = [heads, ["---"] * len(heads)]
    for one in scene.entrants:
        own = [interval(one.test_error).words(), interval(one.rise_at(scene.sigma)).words()]
        less = [
            paired(one.test_error, first.test_error).words(),
            paired(one.rise_at(scene.sigma), first.rise_at(scene.sigma)).words(),
        ]
        less = ["", ""] if one is first else less
        rows.append([one.name, f"{one.evaluations:,.0f}", own[0], less[0], own[1], less[1]])
    said = (
        f"Means over {len(first.test_error)} seeds and differences seed by seed, with Student's 95 % intervals; "
        f"local energy: rise of the training {scene.metric} under multiplicative noise, {scene.draws} draws."
    )
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", said])


COMPARISON = scenes(
    "comparison",
    "ways to train over seeds: errors and profiles of the local energy",
    ComparisonOptions,
    take,
    show,
    draw,
    numbers,
    table,
    heeds=(*PAGE_OPTIONS, *SCALE_OPTIONS),
)
