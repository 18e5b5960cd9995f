"""Points, ranges and coordinates of axes, as they are written on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from landscape import LandscapeError


def coordinates(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the texts of --points, --x-range, --x-values, --y-range and --y-values as numbers.

    Args:
        given: Name of an option -> what was written.

    Returns:
        The same with `points` (a number, or two), and `x` and `y`: a tuple (low, high), or a list.

    Raises:
        LandscapeError: If one cannot be read, or an axis has both a range and values.
    """
    found = dict(given)
    if "points" in found:
        found["points"] = _points(found["points"])
    for name in "xy":
        if f"{name}_range" in found and f"{name}_values" in found:
            raise LandscapeError(f"--{name}-range and --{name}-values exclude each other", mend="choose one")
        if f"{name}_range" in found:
            found[name] = _range(found.pop(f"{name}_range"), f"--{name}-range")
        if f"{name}_values" in found:
            found[name] = _values(found.pop(f"{name}_values"), f"--{name}-values")
    return found


def _points(text: str) -> int | tuple[int, ...]:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}(x[0-9]{1,18})?", text.strip()):
        raise LandscapeError("not a number of points", where="--points", got=f"'{text}'", expected="41 or 41x21")
    counts = tuple(int(count) for count in text.split("x"))
    return counts if len(counts) > 1 else counts[0]


def _range(text: str, where: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    if not colon:
        raise LandscapeError("not a range", where=where, got=f"'{text}'", expected="LOW:HIGH, such as -1:0.5")
    return _number(low, where), _number(high, where)


def _values(text: str, where: str) -> list[float]:
    return [_number(part, where) for part in text.split(",")]


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise LandscapeError("not a number", where=where, got=f"'{text.strip()}'") from None
