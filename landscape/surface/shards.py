"""Parts of a slice that were computed apart, joined to one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import LandscapeError
from landscape.files.result import Held, load, save
from landscape.storage import PathLike
from landscape.surface.directions import directions_of
from landscape.surface.store import SURFACE, with_directions
from landscape.values.surface import Array, Surface

# Where the meta data of a part say which it is.
SHARD = "shard"
# Missing points that a message lists.
_LISTED = 3


def merge(parts: Sequence[PathLike], path: PathLike) -> Surface:
    """Join the parts of a slice to the file that one process would have written, bit for bit.

    Args:
        parts: Files that ``evaluate(..., shard=(i, n), save=...)`` wrote, with the same settings but for `shard`.
        path: The file to write. A slice with paths or gradients is then as if it had been interrupted before
            these: `evaluate` without ``shard`` computes them.

    Returns:
        The slice.

    Raises:
        LandscapeError: If a file is no part of the same slice, two parts disagree, or points are missing.
    """
    if not parts:
        raise LandscapeError("there are no parts to join")
    held = {Path(part): load(SURFACE, part) for part in parts}
    first = next(iter(held.values()))
    for part, other in held.items():
        if differing := SURFACE.differing(other, first.identity, first.value):
            text = f"is a part of another slice than {parts[0]}; it differs in {', '.join(differing)}"
            mend = "compute all parts with the same options but for --shard"
            raise LandscapeError(text, where=part, mend=mend)
    value = _joined(held)
    missing = ~value.done if value.done is not None else np.zeros(0, bool)
    if missing.any():
        raise LandscapeError(*_what_is_missing(value, missing, held))
    goes_with = first.identity.get("path") is not None or "gradient" in first.identity
    kind = with_directions(directions_of(parts[0]))
    save(replace(kind, complete=lambda surface: not goes_with), value, path, first.identity)
    return value


def _joined(held: Mapping[Path, Held[Surface]]) -> Surface:
    value = next(iter(held.values())).value
    fields, errors, done = {}, {}, np.zeros(value.values.shape, bool)
    for name in value.fields:
        fields[name], errors[name] = (np.full(value.values.shape, np.nan) for _ in range(2))
    for part, other in held.items():
        own = other.value
        computed = np.ones_like(done) if own.done is None else own.done
        for into, values in ((fields, own.fields), (errors, own.standard_errors)):
            for name, target in into.items():
                _take(target, values[name], computed, computed & done, part)
        done |= computed
    meta = {name: about for name, about in value.meta.items() if name != SHARD}
    return replace(value, fields=fields, standard_errors=errors, done=done, meta=meta)


def _take(target: Array, values: Array, computed: Any, twice: Any, part: Path) -> None:
    """Take in the values of a part; what was there before must be the same."""
    if not np.array_equal(target[twice], values[twice], equal_nan=True):
        other = int((target[twice] != values[twice]).sum())
        raise LandscapeError(f"has other values than the parts before at {other:,} points", where=part)
    target[computed] = values[computed]


def _what_is_missing(value: Surface, missing: Any, held: Mapping[Path, Held[Surface]]) -> tuple[str]:
    # Rows are of the last axis.
    axes = list(value.axes.items())[::-1]
    places = [
        "(" + ", ".join(f"{name} {along[at]:g}" for (name, along), at in zip(axes, place[::-1], strict=True)) + ")"
        for place in np.argwhere(missing)[:_LISTED]
    ]
    more = ", ..." if missing.sum() > _LISTED else ""
    text = f"{int(missing.sum()):,} of {missing.size:,} points are missing: {', '.join(places)}{more}"
    told = [tuple(other.value.meta[SHARD]) for other in held.values() if SHARD in other.value.meta]
    if told:
        count = told[0][1]
        absent = [f"{part}/{count}" for part in range(count) if (part, count) not in told]
        whole = (
            f"no part --shard {', '.join(absent)}" if absent else "a part is not finished; run its command again"
        )
        text += f"; {whole}"
    return (text,)
