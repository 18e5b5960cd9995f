"""Forms of the values of options: how each is read from text, TOML, JSON or Python."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from landscape.errors import LandscapeError

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


@dataclass(frozen=True)
class Form:
    """The form of an option's values.

    Attributes:
        words: What a value must be, for messages and tables.
        read: The value of what was given: text of a command line, or a value from TOML, JSON or Python. Raises
            TypeError or ValueError for what is no value, or a LandscapeError with words of its own.
        metavar: What stands for a value in help.
        repeats: Whether a command line gives it several times, each a part of the value.
    """

    words: str
    read: Callable[[Any], Any]
    metavar: str = ""
    repeats: bool = False


def _truth(given: Any) -> bool:
    word = str(given).strip().lower()
    if isinstance(given, bool | str) and word in _TRUE + _FALSE:
        return word in _TRUE
    raise ValueError(word)


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError(given)
    return given.strip()


def _whole(given: Any) -> int:
    if isinstance(given, str) and given.strip().lstrip("+-").isdecimal():
        return int(given)
    # Counts such as 1e3 are exact in floating point.
    value = given if isinstance(given, int) and not isinstance(given, bool) else _number(given)
    if value != int(value):
        raise ValueError(given)
    return int(value)


def _seed(given: Any) -> int:
    value = _whole(given)
    if value >= 2**63:
        raise ValueError(given)
    return value


def _number(given: Any) -> float:
    if isinstance(given, bool):
        raise TypeError(given)
    value = float(given)
    if not math.isfinite(value):
        raise ValueError(given)
    return value


def _word_list(given: Any) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else list(given)
    names = tuple(_text(part) for part in parts if not isinstance(part, str) or part.strip())
    if not names:
        raise ValueError(given)
    return names


def _number_list(given: Any) -> list[float]:
    values = [_number(part) for part in (given.split(",") if isinstance(given, str) else given)]
    if not values:
        raise ValueError(given)
    return values


def _range(given: Any) -> tuple[float, float]:
    low, high = given.split(":") if isinstance(given, str) else given
    return _number(low), _number(high)


def _counts(given: Any) -> int | tuple[int, int]:
    parts = given.split("x") if isinstance(given, str) else given
    if isinstance(parts, int | float):
        return _whole(parts)
    counts = tuple(map(_whole, parts))
    if len(counts) == 1:
        return counts[0]
    across, up = counts
    return across, up


def _part(given: Any) -> tuple[int, int]:
    part, count = map(_whole, given.split("/") if isinstance(given, str) else given)
    if not 0 <= part < count:
        raise ValueError(given)
    return part, count


def _step(given: Any) -> int | str:
    if isinstance(given, str) and given.strip() in ("first", "last"):
        return given.strip()
    return _whole(given)


def _steps(given: Any) -> tuple[int | str, ...]:
    if given == "all":
        return ()
    if isinstance(given, int):
        return (_step(given),)
    return tuple(map(_step, given.split(",") if isinstance(given, str) else given))


def _table(given: Any) -> dict[str, Any]:
    """A table, or texts of the form NAME=VALUE."""
    if isinstance(given, Mapping):
        return dict(given)
    return dict(pairs_in(given.split(",") if isinstance(given, str) else given))


def _nested(given: Any) -> dict[str, dict[str, Any]]:
    """A table of tables, or texts of the form TABLE.NAME=VALUE."""
    if isinstance(given, Mapping):
        if not all(isinstance(inner, Mapping) for inner in given.values()):
            raise TypeError(given)
        return {name: dict(inner) for name, inner in given.items()}
    found: dict[str, dict[str, Any]] = {}
    for name, value in pairs_in(given, "MEASURE.NAME=VALUE").items():
        table, dot, inner = name.partition(".")
        if not dot or not inner:
            raise LandscapeError("not a setting", got=f"'{name}={value}'", expected="MEASURE.NAME=VALUE")
        found.setdefault(table, {})[inner] = value
    return found


TRUTH = Form("true or false", _truth)
TEXT = Form("text", _text, "TEXT")
WHOLE = Form("a whole number", _whole, "N")
SEED = Form("a whole number below 2^63", _seed, "N")
NUMBER = Form("a number", _number, "X")
STEP = Form("a step, first or last", _step, "STEP")
STEPS = Form("steps with commas between them, or all", _steps, "STEP,...|all")
NAMES = Form("names with commas between them", _word_list, "A,B,...")
NUMBERS = Form("numbers with commas between them", _number_list, "A,B,...")
RANGE = Form("LOW:HIGH, such as -1:0.5", _range, "LOW:HIGH")
COUNTS = Form("a number of points, as 41 or 41x21", _counts, "N|NXxNY")
PART = Form("I/N with I from 0 to N - 1, such as 0/3", _part, "I/N")
FILE = Form("a file", _text, "FILE")
TABLE = Form("a table", _table, "NAME=VALUE", repeats=True)
NESTED = Form("a table of tables", _nested, "MEASURE.NAME=VALUE", repeats=True)
FORMS: dict[type, Form] = {bool: TRUTH, int: WHOLE, float: NUMBER, str: TEXT}


def positive_numbers(given: Any) -> list[float] | None:
    """Read several positive numbers, or None; text has commas between them, with brackets or without.

    Raises:
        ValueError: If one is not a positive number.
    """
    if given is None or given == "null":
        return None
    values = _number_list(given.strip().strip("[]") if isinstance(given, str) else given)
    if not all(value > 0 for value in values):
        raise ValueError(given)
    return values


_UNITS = {
    "": 1,
    **{f"{letter}{i}": (1024 if i else 1000) ** n for n, letter in enumerate("kmgt", 1) for i in ("", "i")},
}


def bytes_in(text: str | int) -> int:
    """A size such as ``4GB`` or ``500 MiB`` in bytes.

    Raises:
        LandscapeError: If it is none.

    Example:
        >>> bytes_in("1.5 GB")
        1500000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", str(text).lower())
    if match is None or float(match[1]) <= 0:
        raise LandscapeError("not a size of memory", where="memory", got=text, mend="write it like 4GB or 500MB")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def _size(given: Any) -> str:
    bytes_in(given)
    return str(given)


SIZE = Form("a size such as 4GB or 500MB", _size, "SIZE")
POSITIVE_NUMBERS = Form("positive numbers such as 0.1,0.2,0.5", positive_numbers, "A,B,...")


def pairs_in(pairs: Iterable[str], expected: str = "NAME=VALUE") -> dict[str, str]:
    """Read ``NAME=VALUE`` texts: the one grammar of options that are named in an option.

    Args:
        pairs: The texts.
        expected: Their form, for messages.

    Returns:
        Name -> text of the value, without spaces around.

    Raises:
        LandscapeError: If one has no equals sign or no name, or a name comes twice.

    Example:
        >>> pairs_in(["width=32", "depth = 2"])
        {'width': '32', 'depth': '2'}
    """
    found: dict[str, str] = {}
    for pair in (pair for pair in pairs if pair.strip()):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise LandscapeError("not a setting", got=f"'{pair}'", expected=expected)
        if name.strip() in found:
            raise LandscapeError(f"'{name.strip()}' is set twice")
        found[name.strip()] = value.strip()
    return found


def convert(kind: type[Any], given: Any) -> Any:
    """The value in a type; ValueError or TypeError where it is not one."""
    return FORMS[kind].read(given)
