"""Options by name: declared once as dataclass fields, read from text or from stored values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from landscape.errors import LandscapeError, did_you_mean

T = TypeVar("T", int, float, str, bool)
OptionsT = TypeVar("OptionsT")

_AUTOMATIC = "auto"
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def option(
    default: T,
    help: str,
    *,
    choices: tuple[T, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    check: Callable[[T], object] | None = None,
) -> T:
    """A dataclass field that is an option of a problem or an optimizer; its type is the type of its default.

    Args:
        default: The value where nothing is given.
        help: One line that says what it does, with its unit.
        choices: The only values allowed, if it is one of a few.
        low: The least value allowed.
        high: The greatest value allowed.
        check: Raises a LandscapeError for any other value that is not allowed.

    Returns:
        The field; typed as its value, as `dataclasses.field` is.
    """
    metadata = {"help": help, "choices": choices, "low": low, "high": high, "check": check}
    return dataclasses.field(default=default, metadata=metadata)


def automatic(help: str, *, low: float | None = None) -> float | None:
    """A dataclass field that is a number, or ``auto`` (None) if it is to be found on the way.

    Args:
        help: One line that says what it does, with its unit.
        low: The least value allowed.

    Returns:
        The field; typed as its value, as `dataclasses.field` is.
    """
    metadata = {"help": help, "choices": None, "low": low, "high": None}
    return dataclasses.field(default=None, metadata=metadata)


def automatic_flag(help: str) -> bool | None:
    """A dataclass field that is true, false, or ``auto`` (None) if it is to be found on the way."""
    metadata = {"help": help, "choices": None, "low": None, "high": None, "kind": bool}
    return dataclasses.field(default=None, metadata=metadata)


def describe_options(options: type[Any]) -> list[dict[str, Any]]:
    """What can be set, one dictionary per option: name, type, default, choices, low, high, help.

    Args:
        options: A dataclass whose fields were made by `option`.

    Returns:
        JSON-able dictionaries in the order of declaration.
    """
    return [
        {
            "name": field.name,
            "type": _kind(field).__name__,
            "default": field.default,
            "choices": list(field.metadata["choices"]) if field.metadata["choices"] else None,
            "low": field.metadata["low"],
            "high": field.metadata["high"],
            "help": field.metadata["help"],
        }
        for field in dataclasses.fields(options)
    ]


def read_options(options: type[OptionsT], settings: Mapping[str, Any], where: str) -> OptionsT:
    """An options value from settings; all faults are reported together.

    Args:
        options: A dataclass whose fields were made by `option`.
        settings: Name -> value, as text from a command line or as a value from JSON.
        where: Whose options these are, for messages.

    Returns:
        The options, with the defaults of what was not set.

    Raises:
        LandscapeError: With every unknown name, wrong type, wrong choice and value out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    faults: list[str] = []
    for name, given in settings.items():
        try:
            if name not in fields:
                raise LandscapeError(f"there is no option '{name}'", mend=_suggestion(name, list(fields)))
            values[name] = _read(fields[name], given)
        except LandscapeError as fault:
            faults.append(str(fault))
    if faults:
        raise LandscapeError(" | ".join(faults), where=where)
    return options(**values)


def _suggestion(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) if known else "it has no options"


def _kind(field: dataclasses.Field[Any]) -> type[Any]:
    """The type of an option's values; one that may be automatic is a number otherwise, or says what it is."""
    kind: type[Any] = field.metadata.get("kind", float) if field.default is None else type(field.default)
    return kind


def _read(field: dataclasses.Field[Any], given: Any) -> Any:
    kind = _kind(field)
    if field.default is None and (given is None or str(given).strip() == _AUTOMATIC):
        return None
    try:
        value = convert(kind, given)
    except (TypeError, ValueError, OverflowError):
        expected = _choice_words(field) or _WORDS[kind] + (" or auto" if field.default is None else "")
        raise LandscapeError(
            f"option '{field.name}' has the wrong type", got=repr(given), expected=expected
        ) from None
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise LandscapeError(
            f"option '{field.name}' has no such choice", got=repr(given), expected=_choice_words(field)
        )
    low, high = field.metadata["low"], field.metadata["high"]
    if (low is not None and value < low) or (high is not None and value > high):
        raise LandscapeError(f"option '{field.name}' is out of range", got=given, expected=_range_words(low, high))
    if field.metadata.get("check") is not None:
        field.metadata["check"](value)
    return value


def convert(kind: type[Any], given: Any) -> Any:
    """The value in the type of the option; ValueError or TypeError where it is not one."""
    if kind is bool:
        word = str(given).strip().lower()
        if isinstance(given, bool | str) and word in _TRUE + _FALSE:
            return word in _TRUE
        raise ValueError(word)
    if isinstance(given, bool):
        raise TypeError(given)
    if kind is str:
        if not isinstance(given, str):
            raise TypeError(given)
        return given.strip()
    if kind is int and isinstance(given, float):
        if not given.is_integer():
            raise ValueError(given)
        return int(given)
    value = kind(given)
    if not math.isfinite(value):
        raise ValueError(given)
    return value


def _choice_words(field: dataclasses.Field[Any]) -> str | None:
    choices = field.metadata["choices"]
    return " or ".join(str(choice) for choice in choices) if choices else None


def _range_words(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"
