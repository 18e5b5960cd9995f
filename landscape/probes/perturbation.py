"""Noise on the weights: how the loss and the error rise with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from landscape.errors import LandscapeError
from landscape.files.cells import Cells, Save
from landscape.objective import Objective
from landscape.objective.identity import identity_of
from landscape.params import HasWeights, Tensors, Weights, norm, resolve
from landscape.probes.gauge import Gauge, about, kept_buffers
from landscape.probes.radius import DIRECTIONS, open_cells, radii
from landscape.training import Noise
from landscape.values.probes import Perturbation, Profile
from landscape.vocabulary import GENERATORS

Progress = Callable[[int, int], None]

# Of a profile: enough for a smooth curve, with 0 among them.
_SCALES = 11
# Where the search for a scale begins (Liao & Poggio 2017), and how often it doubles or halves it at most.
_FIRST, _DOUBLINGS = 0.01, 20
# Draws of the noise that one scale is judged by.
_JUDGED = 3


def profile(
    objective: Objective,
    weights: Weights,
    noise: Noise,
    *,
    draws: int = 20,
    scales: Sequence[float] | int = _SCALES,
    seed: int = 0,
    splits: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    cells: Cells | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Means at w + s n, with n noise of scale 1, for rising s.

    For a quadratic loss with Hessian H the expected rise is s^2 / 2 sum_i w_i^2 H_ii under relative and
    s^2 / 2 tr H under absolute noise. Each draw is one direction that all scales go along, and the same draws
    meet whatever weights are given (common random numbers). Buffers are not changed.

    Args:
        objective: What is measured.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        noise: Its mode, and the largest scale.
        draws: How many directions.
        scales: How many scales from 0 to that of the noise, or all of them.
        seed: Draws the noise.
        splits: On which data; None is all.
        metrics: What; None is the loss, and the error where there is one.
        cells: Draws that were measured before, and are not again.
        progress: Called with (draws done, draws in all).

    Returns:
        The profile.

    Raises:
        LandscapeError: If there are no draws, or the scales do not rise from 0.

    Source:
        Pittorino et al. 2021, local energy; Liao & Poggio 2017, perturbations of 0.01 mean |w|.
    """
    axis = _axis(noise, scales)
    if draws < 1:
        raise LandscapeError("at least one draw is needed", where="draws", got=draws)
    gauge = Gauge(objective, splits, metrics)
    state = resolve(weights)[1]
    fields = {name: np.empty((draws, len(axis))) for name in gauge.fields}
    sizes = np.empty(draws)
    held = Cells.open(cells, dict)

    def drawn(index: int) -> dict[str, Any]:
        step = noise.draw(weights, seed, index)
        measured = [gauge.at(state if scale == 0 else moved(state, step, scale)) for scale in axis.tolist()]
        return {"size": norm(step), **{name: [one[name] for one in measured] for name in gauge.fields}}

    for index in range(draws):
        found = held.of(f"{_step(weights)}/noise/{index}", partial(drawn, index))
        sizes[index] = found["size"]
        for name in fields:
            fields[name][index] = found[name]
        if progress is not None:
            progress(index + 1, draws)
    meta = {**about(objective), **kept_buffers(objective), "seed": seed, "draws": draws}
    return Profile(noise.mode, noise.unit, axis, fields, sizes, meta)


def scanned(objective: Objective, weights: Weights, mode: str, *, rise: float = 0.1, seed: int = 0) -> Noise:
    """Noise of a mode up to a scale that shows something: there the training loss has risen.

    Args:
        objective: What is measured.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        mode: The mode of the noise.
        rise: The rise of the mean training loss that is looked for.
        seed: Draws the noise.

    Returns:
        The noise; its scale is the least 0.01 2^k, k from -20 to 20, with that rise, or the nearest to it.
    """
    gauge, state = Gauge(objective, ["train"], ["loss"]), resolve(weights)[1]
    draws = [Noise(mode, 1.0).draw(weights, seed, index) for index in range(_JUDGED)]
    high = gauge.at(state)["train_loss"] + rise

    def risen(scale: float) -> bool:
        found = np.mean([gauge.at(moved(state, draw, scale))["train_loss"] for draw in draws])
        # What is not a number has left the basin.
        return not found < high

    scales = [_FIRST * 2.0**k for k in range(-_DOUBLINGS, _DOUBLINGS + 1)]
    place = _DOUBLINGS
    if risen(scales[place]):
        while place > 0 and risen(scales[place - 1]):
            place -= 1
    else:
        while place < len(scales) - 1:
            place += 1
            if risen(scales[place]):
                break
    return Noise(mode, scales[place])


def _axis(noise: Noise, scales: Sequence[float] | int) -> np.ndarray:
    axis = np.linspace(0.0, noise.scale, scales) if isinstance(scales, int) else np.asarray(scales, dtype=float)
    if len(axis) < 2 or axis[0] != 0 or not (np.diff(axis) > 0).all():
        got = ", ".join(f"{scale:g}" for scale in axis)
        raise LandscapeError("scales rise from 0", where="noise", got=got, expected="a largest scale above 0")
    return axis


def moved(state: Mapping[str, Any], step: Mapping[str, Any], scale: float) -> Tensors:
    """Weights with a multiple of a step added, each tensor in its own type."""
    return {**state, **{name: state[name] + (tensor * scale).to(state[name]) for name, tensor in step.items()}}


def perturb(
    objective: Objective,
    weights: Weights,
    noise: Noise | str = "mean-abs",
    *,
    draws: int = 20,
    scales: Sequence[float] | int = _SCALES,
    seed: int = 0,
    rise: float = 0.1,
    directions: Sequence[str] = DIRECTIONS,
    splits: Sequence[str] | None = None,
    save: Save = None,
    progress: Progress | None = None,
) -> Perturbation:
    """A basin seen from some weights: its profile under noise, and its radius along directions.

    Args:
        objective: What is measured.
        weights: A snapshot, a model, or a name -> tensor dictionary.
        noise: The mode and the largest scale, such as ``"mean-abs:0.01"``; of a mode alone the scale is `scanned`.
        draws: How many draws of the noise, and of random directions.
        scales: How many scales, or all of them; see `profile`.
        seed: Draws noise and directions.
        rise: The rise of the training loss that ends a basin; see `radii`.
        directions: Some of ``"random"``, ``"filter"``, ``"gradient"``, ``"top"``.
        splits: On which data the profile is measured; None is all.
        save: A file of finished parts to write and to resume from.
        progress: Called with (draws done, draws in all).

    Returns:
        Profile and radii.

    Raises:
        LandscapeError: If an argument is wrong, or the loss here is not finite.

    Example:
        >>> perturb(objective, run[-1], "mean-abs:0.01").radii["random"].median  # doctest: +SKIP
        2.7
    """
    if isinstance(noise, str) and ":" not in noise:
        noise = scanned(objective, weights, noise, rise=rise, seed=seed)
    chosen = Noise.parse(noise) if isinstance(noise, str) else noise
    total = 2 * draws

    def told(offset: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(offset + done, total)

    measured = splits or objective.splits
    settings = {"of": "perturb", "noise": chosen.to_json(), "scales": _axis(chosen, scales).tolist()}
    settings |= {"draws": draws, "seed": seed, "rise": rise, "directions": list(directions)}
    identity = partial(identity_of, objective, {"weights": weights}, measured, **settings)
    cells, generator = open_cells(save, identity, weights, directions)
    with cells:
        found = profile(
            *(objective, weights, chosen),
            draws=draws,
            scales=scales,
            seed=seed,
            splits=splits,
            cells=cells,
            progress=told(0),
        )
        reached = radii(
            *(objective, weights),
            rise=rise,
            directions=directions,
            draws=draws,
            seed=seed,
            cells=cells,
            prefix=f"{_step(weights)}/",
            generator=generator,
            progress=told(draws),
        )
    layout, state = resolve(weights)
    size = norm({info.name: state[info.name] for info in layout.moving()})
    said = {**about(objective), **kept_buffers(objective)}
    drawn = {} if generator == GENERATORS[0] else {"generator": generator}
    return Perturbation(found, reached, rise, size, {**said, **drawn, **_place(weights)})


def _place(weights: Weights) -> dict[str, Any]:
    """Where on its trajectory a snapshot is; empty for other weights."""
    if isinstance(weights, HasWeights) and hasattr(weights, "step"):
        return {"step": weights.step, "epoch": getattr(weights, "epoch", None)}
    return {}


def _step(weights: Weights) -> str:
    """The step of a snapshot, which tells it from others of its run."""
    return str(_place(weights).get("step", ""))
