"""Panels of the Gaussian mixture: how hyperplanes move, how good they are and how flat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.options import Options, option
from landscape.plots.source import Progress
from landscape.plots.taken import Held, scenes
from landscape.vocabulary import MAP_OPTIONS, PAGE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.objective import Objective
    from landscape.render.mixtures import Mixture, Path
    from landscape.trajectory import Trajectory

# Points of a side of the map, and of the curve of exact flatness: more than the eye sees.
_SIDE, _ALONG = 121, 200
# Of the largest values met: how far the map goes.
_ROOM = 1.12


@dataclass(frozen=True)
class MixtureOptions(Options):
    """Options of a picture of hyperplanes."""

    sigma: float = option(0.5, "The noise of the local energies", above=0)


def take(
    run: Trajectory, objective: Objective, wanted: MixtureOptions, progress: Progress
) -> dict[str, NDArray[Any]]:
    """Order parameters, errors and local energies of all snapshots, in closed form."""
    from landscape import problems
    from landscape.papers import hyperplane, order_parameters, training_local_energy
    from landscape.problems.mixture import draw_mixture

    options = problems.parse_options("gaussian-mixture", objective.problem_args)
    found = order_parameters(run, options, sigma=wanted.sigma)
    x, y = draw_mixture(options).train
    train = []
    for place, snapshot in enumerate(run):
        w, b = hyperplane(snapshot, options.dim)
        train.append(training_local_energy(w, b, x, y, sigma=wanted.sigma))
        progress(place + 1, len(run))
    taken = {name: getattr(found, name) for name in ("m", "q", "b", "error", "local_energy")}
    ends = {name: run.metrics[name] for name in ("train_error", "gradient_evaluations")}
    return {**taken, "train_local_energy": np.array(train), **ends}


def show(title: str | None, wanted: MixtureOptions, held: Held) -> Mixture:
    """The scene of a panel: paths, the map under them, and what is best."""
    from landscape.papers import bayes_optimal
    from landscape.render.mixtures import Mixture, Path

    every = [options for members in held.values() for options, _ in members.values()]
    shared = ("alpha", "delta", "rho")
    if any(options[name] != every[0][name] for options in every for name in shared):
        raise LandscapeError(
            "runs of one panel must have the same mixture", where=title, expected=f"equal {', '.join(shared)}"
        )
    names = [one.name for one in fields(Path) if one.name != "name"]
    paths = [
        # Runs of several losses are told apart behind a comma; an optimizer has one colour.
        Path(name.split(",")[0], **{field: values[field] for field in names})
        for name, members in held.items()
        for _, values in members.values()
    ]
    alpha, delta, rho = (float(every[0][name]) for name in shared)
    best = bayes_optimal(alpha, delta, rho)
    m, q, error = _map(paths, best.m, delta, rho)
    return Mixture(
        title=title,
        sigma=wanted.sigma,
        about={"alpha": alpha, "delta": delta, "rho": rho, "dim": float(every[0]["dim"])},
        paths=paths,
        m=m,
        q=q,
        error=error,
        best=(best.m, best.m, best.error),
        **_flatness(wanted.sigma, best.m, best.threshold, delta, rho),
    )


def _map(paths: Sequence[Path], best: float, delta: float, rho: float) -> tuple[Any, Any, Any]:
    """Population errors at the best threshold over m and q."""
    from landscape.papers import best_threshold, population_error

    top = _ROOM * max(float(max(path.m.max() for path in paths)), best)
    high = _ROOM * max(float(max(path.q.max() for path in paths)), best)
    m, q = np.linspace(0.0, top, _SIDE + 1)[1:], np.linspace(0.0, high, _SIDE + 1)[1:]
    mesh = np.meshgrid(m, q)
    threshold = best_threshold(*mesh, delta=delta, rho=rho)
    return m, q, population_error(*mesh, threshold, delta=delta, rho=rho)


def _flatness(sigma: float, best: float, threshold: float, delta: float, rho: float) -> dict[str, Any]:
    """Local energy against error for hyperplanes of all overlaps at their best threshold, and for the best."""
    from landscape.papers import best_threshold, local_energy, population_error

    # Neither depends on the norm there.
    m = np.linspace(1e-3, 1.0, _ALONG)
    b = best_threshold(m, 1.0, delta=delta, rho=rho)
    at: dict[str, Any] = {"delta": delta, "rho": rho}
    return {
        "exact_error": population_error(m, 1.0, b, **at),
        "exact_energy": local_energy(m, 1.0, b, sigma=sigma, **at),
        "best_energy": float(local_energy(best, best, threshold, sigma=sigma, **at)),
    }


def draw(shown: Sequence[Any]) -> Figure:
    """The figure of all mixtures."""
    from landscape.render.mixtures import mixtures

    return mixtures(shown)


def numbers(scene: Mixture) -> dict[str, NDArray[Any]]:
    """The numbers of a mixture; paths of one name are numbered."""
    found = {name: np.asarray(getattr(scene, name)) for name in ("m", "q", "error", "best")}
    total = Counter(path.name for path in scene.paths)
    seen: Counter[str] = Counter()
    for path in scene.paths:
        seen[path.name] += 1
        own = path.name if total[path.name] == 1 else f"{path.name}, run {seen[path.name]}"
        names = [one.name for one in fields(path) if one.name != "name"]
        found |= {f"{own}/{name}": getattr(path, name) for name in names}
    return found


MIXTURE = scenes(
    "mixture",
    "hyperplanes of a Gaussian mixture: where they move, how good and flat",
    MixtureOptions,
    take,
    show,
    draw,
    numbers,
    problem="gaussian-mixture",
    heeds=(*PAGE_OPTIONS, *MAP_OPTIONS),
)
