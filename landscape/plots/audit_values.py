"""From a trajectory to an audit, and to the slices that show what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from landscape.audit.comparison import Compared, compare
from landscape.audit.orbit_audit import audit, context_of
from landscape.files.cells import Save
from landscape.measures.computation import Measured
from landscape.measures.context import MeasureContext
from landscape.measures.orbit_elements import columns, led_to
from landscape.measures.presets import is_small
from landscape.objective import Objective
from landscape.params import Weights, norm
from landscape.plots.audit_options import AuditOptions
from landscape.projection import random_line
from landscape.surface import Surface, evaluate, grid
from landscape.trajectory import Trajectory
from landscape.values.audit import Audit


class Choice(Protocol):
    """The options that audits and walks along an orbit share."""

    @property
    def split(self) -> str: ...  # noqa: D102
    @property
    def subset(self) -> int | None: ...  # noqa: D102
    @property
    def parameters(self) -> str | None: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def dtype(self) -> str | None: ...  # noqa: D102


# The element that pictures show.
_SHOWN = "alpha = 10"
_POINTS, _FEWER_POINTS = 41, 21
# What slices of a large network show, they show with so many examples.
_SLICED = 256
EXAMPLES = 128
"""Of a large network so many examples are audited, unless told otherwise: whether a measure changes does not
depend on how many there are, and a Hessian product of a ResNet-20 takes 20 s of one core per thousand images."""


def audit_of(
    run: Trajectory,
    objective: Objective,
    wanted: AuditOptions,
    *,
    save: Save = None,
    progress: Callable[[str, int, int], None] | None = None,
    finished: Callable[[str, Mapping[str, Measured]], None] | None = None,
) -> Audit:
    """Audit a snapshot of a run.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: What is audited.
        save: A file of finished parts to write and to resume from.
        progress: Called with (what is done, values taken, values in all).
        finished: Called with (name of an element, name -> its values there) when all are taken.

    Returns:
        The audit; its `meta` says which step of which problem it is of.

    Raises:
        LandscapeError: If the step does not exist, or an audit is not possible.
    """
    snapshot = run[run.index_of(wanted.at)]
    return audit(
        fewer_examples(objective, wanted, snapshot),
        snapshot,
        wanted.measures,
        settings=wanted.settings,
        meta={"problem": run.problem, "step": int(snapshot.step), "run_id": run.run_id},
        save=save,
        progress=progress,
        finished=finished,
        **choices(wanted),
    )


def comparison_of(
    runs: Sequence[Trajectory], objectives: Sequence[Objective], audits: Sequence[Audit], wanted: AuditOptions
) -> tuple[Compared, ...]:
    """Say which orderings of two audited snapshots survive on their orbits; see `landscape.audit.compare`."""
    first, second = (run[run.index_of(wanted.at)] for run in runs)
    a, b = (fewer_examples(*each) for each in ((objectives[0], wanted, first), (objectives[1], wanted, second)))
    return compare(audits[0], audits[1], (a, b), (first, second))


def slices_before_and_after(
    run: Trajectory, objective: Objective, wanted: AuditOptions
) -> dict[str, dict[str, Surface]]:
    """The same minimum before and after a rescaling by 10, on lines in the same random direction.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: Which snapshot, which data, which seed.

    Returns:
        ``"none"`` and ``"filter"``, the normalisations, -> ``"before"`` and ``"after"`` -> the curve; empty where
        the model has no rescaling. A direction that is not normalised is as long as the other is before. Large
        networks are drawn on 256 examples.
    """
    snapshot = run[run.index_of(wanted.at)]
    objective = fewer_examples(objective, wanted, snapshot)
    small = is_small(objective, snapshot, wanted.split)
    points = _POINTS if small else _FEWER_POINTS
    if not small and objective.examples([wanted.split])[wanted.split]["used"] > _SLICED:
        objective = objective.subset(_SLICED, splits=[wanted.split])
    context = context_of(objective, snapshot, **choices(wanted))
    shown = [column for column in columns(context.symmetries, wanted.seed) if column.name == _SHOWN]
    if not shown:
        return {}
    places = {"before": context.weights, "after": led_to(context, shown[0]).weights}
    found: dict[str, dict[str, Surface]] = {}
    for when, weights in places.items():
        for normalize, line in lines_through(objective, context, weights, points).items():
            found.setdefault(normalize, {})[when] = line
    return found


def lines_through(
    objective: Objective, context: MeasureContext, weights: Weights, points: int
) -> dict[str, Surface]:
    """The loss along one random direction through some weights, not normalised and filter-normalised.

    Args:
        objective: The objective.
        context: Where the orbit begins: a direction that is not normalised is as long as the other is there.
        weights: A point of the orbit.
        points: Along the line, odd, so that its centre is one.

    Returns:
        ``"none"`` and ``"filter"`` -> the curve; equal seeds draw equal numbers at every point of the orbit.
    """
    found = {}
    for normalize in ("none", "filter"):
        radius = _length(context.weights, context.seed) if normalize == "none" else 1.0
        line = random_line(weights, normalize=normalize, seed=context.seed)
        found[normalize] = evaluate(
            objective,
            line,
            grid(points, radius=radius, dims=1),
            metrics="loss",
            splits=context.split,
            dtype=context.dtype,
        )
    return found


def _length(weights: Weights, seed: int) -> float:
    """The norm of the filter-normalised direction, as a share of the one that is not normalised."""
    norms = []
    for normalize in ("filter", "none"):
        line = random_line(weights, normalize=normalize, seed=seed)
        norms.append(norm(line.directions[0]))
    return norms[0] / norms[1]


def fewer_examples(objective: Objective, wanted: Choice, weights: Weights) -> Objective:
    """The objective on as many examples as are wanted; by default all, `EXAMPLES` where the network is large."""
    objective.require((wanted.split,), ())
    many = wanted.subset
    if many is None and not is_small(objective, weights, wanted.split):
        many = EXAMPLES
    available = objective.examples([wanted.split])[wanted.split]["available"]
    return objective if many is None or many >= available else objective.subset(many, splits=[wanted.split])


def choices(wanted: Choice) -> dict[str, Any]:
    """The arguments of `landscape.audit.audit` that the options fix."""
    dtype = None if wanted.dtype is None else getattr(torch, wanted.dtype)
    return {"split": wanted.split, "parameters": wanted.parameters, "seed": wanted.seed, "dtype": dtype}
