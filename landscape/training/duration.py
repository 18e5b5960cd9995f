"""The time that a training may take, from a few of its updates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from landscape.copies import copied
from landscape.objective import Objective
from landscape.training.plan import Plan
from landscape.training.random_state import own_draws
from landscape.training.settings import Settings
from landscape.training.update import way_of

# The first is slower than those that follow.
_TRIALS = 3


def seconds_of(objective: Objective, settings: Settings) -> float:
    """The seconds that a training may take: updates and snapshots, each timed at the initial weights.

    Args:
        objective: Model, data and loss; nothing of it is changed.
        settings: What decides the training.
    """
    plan = Plan.of(objective.data["train"], settings)
    with own_draws(settings.seed, objective.device):
        way = way_of(objective, copied(objective.model)[0].train(), settings, plan)
        update = quickest(lambda: way.update(0, settings.rate))
        snapshot = quickest(lambda: objective.values(way.model))
    models = 1 + len(way.replicas)
    return plan.total * update + math.ceil(1 + plan.total / settings.every.steps(plan.steps_per_epoch)) * (
        models * snapshot
    )


def quickest(work: Callable[[], object]) -> float:
    """The seconds of the quickest of a few times."""
    found = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)
