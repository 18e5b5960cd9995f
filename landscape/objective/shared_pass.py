"""One pass over data that are read anew each time, for several points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from torch import Tensor

from landscape.objective.devices import precision
from landscape.objective.evaluator import Evaluator
from landscape.objective.raw import Raw, RawPoint, join

Place = TypeVar("Place")


def run_together(
    evaluator: Evaluator,
    places: Sequence[Place],
    at: Callable[[Place], AbstractContextManager[Any]],
    splits: Sequence[str],
    metrics: Sequence[str],
) -> list[RawPoint]:
    """Results of `Evaluator.run` at several places, for which every micro-batch is read once.

    Args:
        evaluator: Measures.
        places: Where.
        at: Puts the evaluator at a place for the time of a context.
        splits: Names of splits.
        metrics: Some of its metrics.
    """
    found: list[RawPoint] = [{} for _ in places]
    penalties: dict[int, Tensor] = {}
    for split in splits:
        scores: list[list[Any]] = [[] for _ in places]
        sizes = []
        for batch in evaluator.each_batch(split):
            sizes.append(batch.count)
            for number, place in enumerate(places):
                with at(place), evaluator.passing(), precision(evaluator.device, evaluator.tuning.tf32):
                    if {"penalty", "total"} & set(metrics) and number not in penalties:
                        penalties[number] = evaluator.penalty()
                    given = evaluator.arguments(*evaluator.own(batch))
                    score = evaluator.score(split, *given, "error" in metrics)
                    scores[number].append([None if part is None else part.detach() for part in score])
        for number, own in enumerate(scores):
            loss, missed, weights = (join(parts) for parts in zip(*own, strict=True))
            found[number][split] = Raw(loss, missed, penalties.get(number), tuple(sizes), weights)  # type: ignore[arg-type]
    return found
