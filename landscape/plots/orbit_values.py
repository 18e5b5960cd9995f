"""From a trajectory to slices and measures along the orbits of a snapshot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from landscape.audit.orbit_audit import checked, context_of
from landscape.errors import LandscapeError
from landscape.measures.computation import Measured, measure_at
from landscape.measures.context import MeasureContext
from landscape.measures.orbit_elements import Column, led_to
from landscape.measures.presets import audit_settings, sameness
from landscape.measures.registry import measure_named, settled_settings
from landscape.objective import Objective
from landscape.plots.audit_values import choices, fewer_examples, lines_through
from landscape.symmetry import Element, Symmetries
from landscape.symmetry.elements import Basis
from landscape.trajectory import Trajectory
from landscape.values.orbit import Along, Orbit

if TYPE_CHECKING:
    from landscape.plots.orbits import OrbitOptions

# What the registry calls the symmetries of each family: of all one has to be claimed.
_CLASSES = {"rescaling": {"layer-rescaling", "batchnorm-scale"}, "basis": {"basis-change"}}


def orbits_of(
    run: Trajectory,
    objective: Objective,
    wanted: OrbitOptions,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Orbit]:
    """Move a snapshot along its rescalings, and along changes of basis where the model has some.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: How far, and what is taken.
        progress: Called with (positions done, in all).

    Returns:
        ``"rescaling"``, ``"basis"`` -> the orbit, as far as the model has them.

    Raises:
        LandscapeError: If the step does not exist, or the model has neither, naming what refuses.

    Source:
        Dinh et al. 2017, definition 5 and section 4.2.
    """
    snapshot = run[run.index_of(wanted.at)]
    objective = fewer_examples(objective, wanted, snapshot)
    context = context_of(objective, snapshot, **choices(wanted))
    families = dict(_families(context.symmetries, wanted))
    if not families:
        # Which names what refuses.
        context.symmetries.scaling(1.0)
        raise LandscapeError("this model has no rescaling symmetry")
    total = len(families) * wanted.positions
    found = {}
    for place, (name, (parameter, positions, element_at)) in enumerate(families.items()):

        def tell(done: int, first: int = place * wanted.positions) -> None:
            if progress is not None:
                progress(first + done, total)

        meta = {"problem": run.problem, "step": int(snapshot.step), "seed": run.seed}
        found[name] = _walked(objective, context, wanted, (name, parameter), positions, element_at, meta, tell)
    return found


Positions = list[float]
Elements = Callable[[float], Element]


def _families(
    symmetries: Symmetries, wanted: OrbitOptions
) -> Iterator[tuple[str, tuple[str, Positions, Elements]]]:
    half = wanted.positions // 2
    if symmetries.of_kind("rescale", "gain", "query-key", "batchnorm"):
        powers = np.arange(-half, half + 1) / half
        alphas = [float(wanted.reach**power) for power in powers]
        yield "rescaling", ("α", alphas, symmetries.scaling)
    if bases := [one for one in symmetries.of_kind("basis") if isinstance(one, Basis)]:
        conditions = [float(one) for one in np.geomspace(1.0, wanted.condition, wanted.positions)]
        turns = [_turn(one.units, wanted.seed + place) for place, one in enumerate(bases)]

        def element(condition: float) -> Element:
            values = [_of_condition(turn, condition) for turn in turns]
            return Element(tuple(zip(bases, values, strict=True)))

        yield "basis", ("condition of the bases", conditions, element)


def _turn(units: int, seed: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(units, units, generator=source, dtype=torch.float64))[0]


def _of_condition(turn: torch.Tensor, condition: float) -> torch.Tensor:
    """Q diag(s) Q^T with s from condition^-1/2 to condition^1/2: the identity where the condition is 1."""
    powers = torch.linspace(-0.5, 0.5, len(turn), dtype=torch.float64) if len(turn) > 1 else torch.tensor([0.5])
    return turn * condition ** powers.double() @ turn.T


def _walked(
    objective: Objective,
    context: MeasureContext,
    wanted: OrbitOptions,
    family: tuple[str, str],
    positions: Positions,
    element_at: Elements,
    meta: dict[str, object],
    tell: Callable[[int], None],
) -> Orbit:
    settings = settled_settings(wanted.measures, audit_settings(context, wanted.measures, None))
    x, slices = {}, dict[str, list[np.ndarray]]()
    changes, taken = [], list[dict[str, Measured]]()
    for done, position in enumerate(positions, 1):
        element = element_at(position)
        there = led_to(context, Column(f"{position:g}", "", (), element))
        changes.append(checked(context, there, f"{family[0]} {position:g}").relative)
        for normalize, line in lines_through(objective, context, there.weights, wanted.points).items():
            x[normalize] = line.x
            slices.setdefault(normalize, []).append(line.values)
        taken.append(measure_at(there, settings, tolerant=True))
        tell(done)
    rows = {normalize: np.stack(own) for normalize, own in slices.items()}
    counts = objective.examples([wanted.split])
    meta |= {"splits": [wanted.split], "examples": counts, "units": {"loss": objective.unit}}
    meta |= {"dtype": str(context.dtype).removeprefix("torch."), "direction_seed": context.seed}
    meta |= {key: own for key, own in line.meta["plane"].items() if key == "generator"}
    return Orbit(
        *family,
        np.array(positions),
        int(np.abs(np.log(positions)).argmin()),
        x,
        rows,
        rows["filter"][:, len(x["filter"]) // 2],
        np.array(changes),
        tuple(_along(name, _CLASSES[family[0]], [one[name] for one in taken]) for name in settings),
        sameness(context.dtype),
        meta,
    )


def _along(name: str, symmetries: set[str], taken: list[Measured]) -> Along:
    reasons = [
        str(one.details["reason"]) for one in taken if not math.isfinite(one.value) and "reason" in one.details
    ]
    errors = [math.nan if one.standard_error is None else one.standard_error for one in taken]
    return Along(
        name,
        measure_named(name).title,
        "" if taken[0].unit == "1" else taken[0].unit,
        np.array([one.value for one in taken]),
        np.array(errors),
        not symmetries.isdisjoint(measure_named(name).invariant),
        reasons[0] if reasons else "",
    )
