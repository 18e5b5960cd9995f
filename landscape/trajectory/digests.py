"""Digests of a run: of each row of weights, buffers, steps and metrics, and of what the run says of itself.

Under ``/digests`` there is a dataset for every dataset of weights and buffers, one number per row and chunk, and
``rows``, one number for each snapshot's steps and metrics. The attribute ``seal`` is the digest of all that is
settled, ``stamp`` that of all that grows: how many snapshots count, and which datasets and branches there are.
A run of an older version has none of these. No torch.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.storage import digest, has_seal, integer_attr, read_attr, require_seal, seal

Digests = NDArray[np.uint64]

ROOMS = ("weights", "buffers", "steps", "metrics", "updates", "preconditioners")
ROWS = "digests/rows"
_STAMP = "stamp"
_GROWING = (*ROOMS, "digests", "branches", "resume", "n_valid", _STAMP)
_STEPS = ("step", "epoch", "seconds", "rounding")


def digests_of(group: str) -> str:
    """Name of the digests of a dataset (``"weights/float32"``)."""
    return "digests/" + group.replace("/", ".")


def chunk_digests(values: NDArray[Any], width: int) -> Digests:
    """A digest for each chunk of a row; shape (chunks,)."""
    starts = range(0, max(1, len(values)), width)
    return np.array([digest(values[start : start + width]) for start in starts], np.uint64)


def row_digest(moment: Iterable[Any], metrics: Mapping[str, float]) -> int:
    """The digest of a snapshot's step, epoch, seconds and rounding, and of the metrics that it has.

    A metric that appears later reads as NaN in the rows before: what is NaN does not count.
    """
    names = sorted(name for name, value in metrics.items() if value == value)
    step, *times = moment
    # There are many kinds of NaN.
    numbers = [float(value) if value == value else math.nan for value in (*times, *(metrics[n] for n in names))]
    return digest(struct.pack(f"<q{len(numbers)}d", int(step), *numbers), "\0".join(names))


def seal_run(run: h5py.Group) -> None:
    """Store the digest of what is settled, and of what grows."""
    seal(run, _GROWING)
    stamp(run)


def reseal(run: h5py.Group) -> None:
    """Seal a run again that was sealed before; one of an older version is not changed."""
    if has_seal(run):
        seal_run(run)


def stamp(run: h5py.Group) -> None:
    """Store the digest of what grows, at the end of every change; a run without seal gets none."""
    if has_seal(run):
        run.attrs[_STAMP] = np.uint64(_growing(run))


def require_sound(run: h5py.Group) -> None:
    """Check what a run says of itself, where it carries digests.

    Raises:
        ValueError: If something is not as it was written.
    """
    if not has_seal(run):
        return
    require_seal(run, _GROWING)
    if read_attr(run, _STAMP) != _growing(run):
        raise ValueError("what it says of its snapshots is not what was written")


def _growing(run: h5py.Group) -> int:
    names = []
    for room in (*ROOMS, "digests", "branches"):
        names += [f"{room}/{name}" for name in sorted(run.get(room, ()))]
    home = run.get("resume")
    valid = "" if home is None else read_attr(home, "valid") or ""
    slot = home[valid] if home is not None and valid else None
    state = [] if slot is None else [integer_attr(slot, name) for name in ("n_valid", "digest")]
    return digest(f"{integer_attr(run, 'n_valid')} {state}", "\0".join(names), valid)


def require_rows(
    run: h5py.Group, steps: Mapping[str, NDArray[Any]], metrics: Mapping[str, NDArray[np.float64]]
) -> None:
    """Check steps and metrics of all snapshots, where the run carries digests.

    Args:
        run: The group.
        steps: The columns of steps.
        metrics: Name -> values.

    Raises:
        ValueError: If a snapshot is not as it was written; it says which.
    """
    if ROWS not in run:
        return
    count = len(steps["step"])
    written = run[ROWS][:count]
    # None for each column, and not a dictionary for each row, as long as nothing is wrong.
    columns = [steps[name].tolist() if name in steps else [0.0] * count for name in _STEPS]
    names = list(metrics)
    values = [metrics[name].tolist() for name in names]
    for index, found in enumerate(written.tolist()):
        one = {name: column[index] for name, column in zip(names, values, strict=True)}
        if row_digest([column[index] for column in columns], one) != found:
            raise ValueError(f"snapshot {index} has other steps or metrics than were written")
