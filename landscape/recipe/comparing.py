"""Panels that compare ways to train over seeds: test error and local energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.recipe.paired import interval, paired
from landscape.recipe.reader import COUNT, POSITIVE, WHOLE, Form, one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.objective import Objective
    from landscape.recipe.making import Progress
    from landscape.render.comparisons import Comparison
    from landscape.trajectory import Trajectory

FORMS: dict[str, Form] = {
    "sigma": POSITIVE,
    "largest_sigma": POSITIVE,
    "points": COUNT,
    "draws": COUNT,
    "noise_seed": WHOLE,
    "metric": one_of("error", "loss"),
    "one_d": one_of("norm", "ignore"),
}
"""Keys of a panel of this kind."""
# Pittorino et al. 2021 draw profiles of the training error to a sigma of about 0.5.
DEFAULTS: dict[str, Any] = {
    "sigma": 0.3,
    "largest_sigma": 0.5,
    "points": 10,
    "draws": 20,
    "noise_seed": 0,
    "metric": "error",
    "one_d": "norm",
}
TAKEN = ("largest_sigma", "points", "draws", "noise_seed", "one_d")


def take(
    run: Trajectory, objective: Objective, settings: Mapping[str, Any], progress: Progress
) -> dict[str, NDArray[Any]]:
    """The errors and the profile of the local energy at the end of a run.

    The noise is the same for all runs: differences are differences of the networks.
    """
    from landscape.sharpness import measure

    wanted = {
        "sigma": settings["largest_sigma"],
        **{name: settings[name] for name in ("points", "draws", "one_d")},
    }
    found = measure(
        objective,
        run[-1],
        ["local_energy"],
        seed=settings["noise_seed"],
        settings={"local_energy": wanted},
        progress=lambda name, done, total: progress(done, total),
    )["local_energy"].details
    names = ("sigmas", "error_rise", "loss_rise", "error_standard_error", "loss_standard_error")
    ends = {name: np.array(values[-1]) for name, values in run.metrics.items()}
    return {**{name: np.array(found[name]) for name in names if name in found}, **ends}


def show(title: str | None, settings: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]]) -> Comparison:
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
                rise=columns[f"{settings['metric']}_rise"] * (100 if settings["metric"] == "error" else 1),
            )
        )
    return Comparison(title, settings["metric"], settings["sigma"], int(settings["draws"]), entrants)


def draw(scenes: Sequence[Any], **look: Any) -> Figure:
    """The figure of all comparisons."""
    from landscape.render.comparisons import comparisons

    return comparisons(scenes, **look)


def numbers(scene: Comparison) -> dict[str, NDArray[Any]]:
    """The numbers of a comparison."""
    fields = ("test_error", "train_error", "sigmas", "rise")
    return {f"{one.name}/{field}": getattr(one, field) for one in scene.entrants for field in fields}


def table(scenes: Sequence[Comparison]) -> str:
    """Means over seeds and differences from the first, seed by seed, with 95 % intervals."""
    return "\n\n".join(map(_table, scenes)) + "\n"


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
