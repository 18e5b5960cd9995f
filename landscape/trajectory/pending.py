"""One snapshot on its way into the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.layout import Layout
from landscape.trajectory.resume import Arrays
from landscape.trajectory.rounding import Taken, rounded
from landscape.trajectory.run_file import RunFile
from landscape.trajectory.schedule import Turn
from landscape.trajectory.writer import Row


@dataclass(frozen=True)
class Offer:
    """A copy of all weights, and what is to be written beside them.

    Attributes:
        step: Optimizer updates.
        epoch: Epochs, or NaN.
        seconds: Training time, or NaN.
        metrics: Name -> value.
        taken: The weights, not yet rounded.
    """

    step: int
    epoch: float
    seconds: float
    metrics: Mapping[str, float]
    taken: Taken


def write(
    offer: Offer, file: RunFile, layout: Layout, storage: str | None, turn: Turn, state: Arrays | None
) -> None:
    """Write a snapshot behind those that stay.

    Args:
        offer: The snapshot.
        file: The file; what it does not need to write anew is left as it is.
        layout: The tensors.
        storage: The element type that wider parameters are rounded to, if any.
        turn: Which snapshots stay, and the pace from then on.
        state: The resume state that goes with it, if any.

    Raises:
        LandscapeError: If a value overflows the storage type, or the file cannot be written.
    """
    values, rounding = rounded(offer.taken, layout, storage)
    row = Row(offer.step, offer.epoch, offer.seconds, offer.metrics, values, rounding)
    if turn.thins:
        file.thin(turn.rows, recording(turn.pace, storage), row, state)
    else:
        file.append(len(turn.rows), row, state)


def recording(pace: Any, storage: str | None) -> dict[str, Any]:
    """What a run says of how it is recorded: what is set of ``every``, ``keep``, ``stride`` and ``dtype``."""
    return {**pace.to_json(), **({"dtype": storage} if storage else {})}
