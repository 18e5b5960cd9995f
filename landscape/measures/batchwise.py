"""Sharpness on batches of m examples: the mean over batches of the highest rise of each batch's own loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from landscape.errors import LandscapeError
from landscape.measures.ascent import Climb, best_of
from landscape.measures.context import MeasureContext
from landscape.measures.draws import mean_and_error
from landscape.measures.local_loss import LocalLoss
from landscape.measures.registry import Found


def mean_rise(
    context: MeasureContext,
    field: LocalLoss,
    climbs: Callable[[LocalLoss], list[Climb]],
    size: int,
    most: int = 0,
) -> Found:
    """The mean over batches of how far the best of several ascents rises above the batch's loss at the weights.

    Args:
        context: Told the progress.
        field: All data.
        climbs: The ascents of one batch.
        size: Examples per batch, in the order of the data; 0 takes all at once.
        most: How many batches at most, from the first on; 0 takes all.

    Returns:
        The mean, in which every batch counts alike, with its standard error over batches (None for a single one),
        and how far restarts disagree.
    """
    if size < 0 or most < 0:
        raise LandscapeError("must not be negative", where="batch", got=min(size, most))
    parts = field.batches(size or field.count)
    total = min(-(-field.count // (size or field.count)), most or math.inf)
    rises, counts, reports = [], [], []
    for part in itertools.islice(parts, most or None):
        base = part.loss(part.zero())
        best, report = best_of(climbs(part), base)
        rises.append(best.value - base)
        counts.append(part.count)
        reports.append(report | {"arrived": best.arrived})
        context.tell(len(rises), int(total))
    mean, error = mean_and_error(rises) if len(rises) > 1 else (rises[0], None)
    details: dict[str, Any] = {
        "batches": len(rises),
        "examples": sum(counts),
        "disagreement": max(report["disagreement"] for report in reports),
        "gradients": sum(sum(report["gradients"]) for report in reports),
    }
    if len(rises) == 1:
        details["restarts"] = reports[0]["restarts"]
    arrived = all(report["arrived"] for report in reports)
    alone = sum(not report["agreed"] for report in reports)
    if alone:
        details["note"] = f"on {alone} of {len(rises)} batches one ascent alone came so high"
    return Found(mean, error, arrived and not alone, details)
