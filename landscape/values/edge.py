"""The edge of stability in words: where a run reached its threshold, and how close to it it stayed. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from landscape.values.measure_table import Table
from landscape.values.result import Result

# The columns of a table that a verdict is made of: sharpness as the optimizer sees it, in the order of preference.
SHARPNESSES = ("norm_sharpness", "preconditioned_sharpness")
THRESHOLD = "sharpness_threshold"
# Below this share of the threshold a run has left the edge again.
_LEFT = 0.5


@dataclass(frozen=True)
class EdgeVerdict(Result):
    """Verdict on a run and its threshold.

    Attributes:
        name: The threshold, such as ``"38/lr"``.
        reached: The first step at which the sharpness is at least the threshold after it was below, or the first
            step where it never is below; None where it does not get there.
        mean: Mean of sharpness / threshold from then on; of a run that does not get there, the largest once below.
        spread: Standard deviation of it; NaN where fewer than two values count.
        at: Where it was never reached, the step of the largest ratio; otherwise the last step that counts.
        last: The last ratio.
        minibatch: Examples of a minibatch; None for full batches, 0 where it is not known.
        bound: Whether the sharpness is a lower bound.
        values: How many ratios were looked at.
        fell: The first ratio where a run begins above the threshold and falls below; NaN otherwise.
    """

    name: str
    reached: int | None
    mean: float
    spread: float
    at: int
    last: float
    minibatch: int | None = None
    bound: bool = False
    values: int = 0
    fell: float = np.nan

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        if not self.values:
            return f"{self.name}: nothing to compare"
        least = "at least " if self.bound else ""
        again, start = "", ""
        if self.fell == self.fell:
            again, start = " again", f" ({self.fell:.3g} of it at the start)"
        if self.reached is None:
            said = f"{self.name} not reached{again}{start}; the largest is {least}{self.mean:.2f} of it, "
            said += f"at step {self.at:,}"
        elif self.spread != self.spread:
            said = (
                f"{self.name} reached{again} at step {self.reached:,}{start}; {least}{self.mean:.2f} of it there"
            )
        else:
            said = f"{self.name} reached{again} at step {self.reached:,}{start}; "
            said += f"{least}{self.mean:.2f} ± {self.spread:.2f} of it since"
            if self.last < _LEFT:
                said += f", {self.last:.2f} at the end"
        if self.minibatch:
            said += f". Minibatches of {self.minibatch}: the threshold is theory of full batches"
        elif self.minibatch == 0:
            said += ". Batches are not known: the threshold is theory of full batches"
        return said


def edge_verdict(
    steps: ArrayLike,
    sharpness: ArrayLike,
    threshold: ArrayLike,
    name: str = "the threshold",
    *,
    minibatch: int | None = None,
    bound: bool = False,
) -> EdgeVerdict:
    """Compare sharpness with its threshold over a run.

    Args:
        steps: Shape (T,), increasing.
        sharpness: Shape (T,); NaN where it is not known.
        threshold: Shape (T,), of the same step; or one number.
        name: Of the threshold.
        minibatch: Examples of a minibatch; None for full batches, 0 where it is not known.
        bound: Whether the sharpness is a lower bound.

    Example:
        >>> edge_verdict([0, 50, 100, 150], [8.0, 21.0, 19.0, 20.0], 20.0, "2/lr").words
        '2/lr reached at step 50; 1.00 ± 0.05 of it since'
    """
    at = np.asarray(steps, np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(sharpness, float) / np.broadcast_to(np.asarray(threshold, float), at.shape)
    known = np.isfinite(ratio)
    at, ratio = at[known], ratio[known]
    if not len(ratio):
        return EdgeVerdict(name, None, np.nan, np.nan, -1, np.nan, minibatch, bound, 0)
    fell, below = np.nan, np.flatnonzero(ratio < 1)
    if ratio[0] >= 1 and len(below):
        # A preconditioner without a history says nothing of the edge.
        fell, at, ratio = float(ratio[0]), at[below[0] :], ratio[below[0] :]
    rest: tuple[Any, ...] = (float(ratio[-1]), minibatch, bound, int(known.sum()), fell)
    beyond = np.flatnonzero(ratio >= 1)
    if not len(beyond):
        top = int(ratio.argmax())
        return EdgeVerdict(name, None, float(ratio[top]), np.nan, int(at[top]), *rest)
    since = ratio[beyond[0] :]
    spread = float(since.std(ddof=1)) if len(since) > 1 else np.nan
    return EdgeVerdict(name, int(at[beyond[0]]), float(since.mean()), spread, int(at[-1]), *rest)


def verdict_of(table: Table) -> EdgeVerdict | None:
    """The verdict on a table of measures along training; None where it has no sharpness with a threshold."""
    about: dict[str, Any] = dict(table.meta.get("optimizer") or {})
    columns = [name for name in SHARPNESSES if name in table.columns]
    if THRESHOLD not in table.columns or not columns or not about:
        return None
    sharpness = columns[0]
    return edge_verdict(
        table.steps,
        table[sharpness].values,
        table[THRESHOLD].values,
        about.get("threshold") or "the threshold",
        minibatch=about.get("minibatch"),
        bound=sharpness == SHARPNESSES[0] and about.get("kind") in ("sign", "muon"),
    )
