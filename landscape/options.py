"""Options: declared once as dataclass fields, read from a command line, TOML, JSON or Python alike."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from landscape.errors import LandscapeError, did_you_mean

T = TypeVar("T")
OptionsT = TypeVar("OptionsT")

_AUTOMATIC = "auto"
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
    value = _number(given) if isinstance(given, float) else given
    if isinstance(value, bool) or int(value) != (value if not isinstance(value, str) else int(value)):
        raise ValueError(given)
    return int(value)


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
NUMBER = Form("a number", _number, "X")
STEP = Form("a step, first or last", _step, "STEP")
STEPS = Form("steps with commas between them, or all", _steps, "STEP,...|all")
NAMES = Form("names with commas between them", _word_list, "A,B,...")
NUMBERS = Form("numbers with commas between them", _number_list, "A,B,...")
RANGE = Form("LOW:HIGH, such as -1:0.5", _range, "LOW:HIGH")
COUNTS = Form("a number of points, as 41 or 41x21", _counts, "N|NXxNY")
FILE = Form("a file", _text, "FILE")
TABLE = Form("a table", _table, "NAME=VALUE", repeats=True)
NESTED = Form("a table of tables", _nested, "MEASURE.NAME=VALUE", repeats=True)
_FORMS: dict[type, Form] = {bool: TRUTH, int: WHOLE, float: NUMBER, str: TEXT}


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


def option(
    default: T,
    help: str,
    *,
    form: Form | None = None,
    choices: Sequence[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    check: Callable[[Any], object] | None = None,
    unset: str | None = None,
    decides: bool = True,
    shows: bool = False,
) -> T:
    """Declare a dataclass field that is an option.

    Args:
        default: The value where nothing is given; None is always allowed where it is the default.
        help: One line that says what it does, with its unit.
        form: The form of its values; by default that of the type of the default.
        choices: The only values allowed, if it is one of a few.
        low: The least value allowed.
        high: The greatest value allowed.
        check: Raises a LandscapeError for any other value that is not allowed.
        unset: What stands for the default in help, where its value does not say it.
        decides: Whether results depend on it; otherwise it is left out where results are told apart.
        shows: Whether it changes how a result is shown, so that it can be given for a stored one.

    Returns:
        The field; typed as its value, as `dataclasses.field` is.
    """
    metadata = {
        "help": help,
        "form": form or _FORMS[type(default)],
        "choices": None if choices is None else tuple(choices),
        "low": low,
        "high": high,
        "check": check,
        "unset": unset,
        "decides": decides,
        "shows": shows,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def automatic(help: str, *, low: float | None = None) -> float | None:
    """Declare a dataclass field that is a number, or ``auto`` (None) if it is to be found on the way.

    Args:
        help: One line that says what it does, with its unit.
        low: The least value allowed.

    Returns:
        The field; typed as its value, as `dataclasses.field` is.
    """
    found: float | None = option(None, help, form=NUMBER, low=low, unset=_AUTOMATIC)
    return found


def automatic_flag(help: str) -> bool | None:
    """Declare a dataclass field that is true, false, or ``auto`` (None) if it is to be found on the way."""
    found: bool | None = option(None, help, form=TRUTH, unset=_AUTOMATIC)
    return found


@dataclass(frozen=True)
class OptionFault:
    """What is wrong with an option.

    Attributes:
        name: The field; empty where several do not go together.
        what: What is wrong with it, and how to mend it.
    """

    name: str
    what: str


class OptionError(LandscapeError):
    """Options that cannot be used.

    Attributes:
        faults: What is wrong, option by option.
    """

    def __init__(self, faults: Sequence[OptionFault], where: str | None = None) -> None:
        self.faults = tuple(faults)
        super().__init__(" | ".join(fault.what for fault in faults), where=where)

    def __reduce__(self) -> tuple[type[OptionError], tuple[tuple[OptionFault, ...], None]]:
        return OptionError, (self.faults, None)


class Options:
    """Options that are checked however they are made; subclasses are frozen dataclasses of `option` fields.

    Raises:
        OptionError: With every fault.
    """

    def __post_init__(self) -> None:
        faults = []
        for field in fields_of(type(self)).values():
            try:
                object.__setattr__(self, field.name, _value(field, getattr(self, field.name), field.name))
            except LandscapeError as fault:
                faults.append(OptionFault(field.name, str(fault)))
        faults = faults or [OptionFault(*fault) for fault in self.conflicts()]
        if faults:
            raise OptionError(faults)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong) for options that do not go together."""
        return iter(())

    def plain(self, *, deciding: bool = False) -> dict[str, Any]:
        """Return the options as plain values; where asked for, only those that results depend on."""
        return {
            name: getattr(self, name)
            for name, field in fields_of(type(self)).items()
            if field.metadata["decides"] or not deciding
        }


def fields_of(options: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """Return the declared options of a class by name, in order."""
    return {field.name: field for field in dataclasses.fields(options) if "help" in field.metadata}


def describe_options(options: type[Any]) -> list[dict[str, Any]]:
    """What can be set, one dictionary per option: name, type, default, choices, low, high, help.

    Args:
        options: A dataclass whose fields were made by `option`.

    Returns:
        JSON-able dictionaries in the order of declaration.
    """
    return [
        {
            "name": name,
            "type": _type_name(field.metadata["form"]),
            "default": default_of(field),
            "choices": list(field.metadata["choices"]) if field.metadata["choices"] else None,
            "low": field.metadata["low"],
            "high": field.metadata["high"],
            "help": field.metadata["help"],
        }
        for name, field in fields_of(options).items()
    ]


def _type_name(form: Form) -> str:
    return next((kind.__name__ for kind, own in _FORMS.items() if own is form), form.words)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of an option."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def default_words(field: dataclasses.Field[Any]) -> str:
    """The default of an option as help shows it; empty where there is nothing to show."""
    default = default_of(field)
    if field.metadata["unset"] is not None:
        return str(field.metadata["unset"])
    if default is None or default is False or default in ("", (), {}):
        return ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def read_options(
    options: type[OptionsT],
    settings: Mapping[str, Any],
    where: str | None,
    spell: Callable[[str], str] = str,
) -> OptionsT:
    """An options value from settings; all faults are reported together.

    Args:
        options: A dataclass whose fields were made by `option`.
        settings: Name -> value, as text from a command line or as a value from TOML, JSON or Python.
        where: Whose options these are, for messages.
        spell: The name of a field as the user wrote it.

    Returns:
        The options, with the defaults of what was not set.

    Raises:
        OptionError: With every unknown name, wrong type, wrong choice, value out of range and conflict.
    """
    fields = fields_of(options)
    values: dict[str, Any] = {}
    faults: list[OptionFault] = []
    for name, given in settings.items():
        try:
            if name not in fields:
                known = did_you_mean(spell(name), map(spell, fields)) if fields else "it has no options"
                raise LandscapeError(f"there is no option '{spell(name)}'", mend=known)
            values[name] = _value(fields[name], given, spell(name))
        except LandscapeError as fault:
            faults.append(OptionFault(name, str(fault)))
    try:
        found = options(**values)
    except OptionError as error:
        faults += error.faults
    if faults:
        raise OptionError(faults, where)
    return found


def _value(field: dataclasses.Field[Any], given: Any, name: str) -> Any:
    """The value of an option that was given, of the form that is declared."""
    form: Form = field.metadata["form"]
    default = default_of(field)
    if type(given) is type(default) and given == default:
        return given
    automatic = field.metadata["unset"] == _AUTOMATIC
    if default is None and (given is None or (automatic and str(given).strip() == _AUTOMATIC)):
        return None
    choices = field.metadata["choices"]
    try:
        value = form.read(given)
    except LandscapeError as fault:
        raise LandscapeError(str(fault), where=f"option '{name}'") from None
    except (TypeError, ValueError, OverflowError):
        expected = _choice_words(choices) or form.words + (" or auto" if automatic else "")
        raise LandscapeError(f"option '{name}' has the wrong type", got=repr(given), expected=expected) from None
    if choices and value not in choices:
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        mend = near if near.startswith("did you mean") else None
        expected = None if mend else _choice_words(choices)
        raise LandscapeError(f"option '{name}' has no such choice", got=repr(given), expected=expected, mend=mend)
    low, high = field.metadata["low"], field.metadata["high"]
    if isinstance(value, int | float) and (
        (low is not None and value < low) or (high is not None and value > high)
    ):
        raise LandscapeError(f"option '{name}' is out of range", got=given, expected=_range_words(low, high))
    if field.metadata["check"] is not None:
        field.metadata["check"](value)
    return value


def convert(kind: type[Any], given: Any) -> Any:
    """The value in a type; ValueError or TypeError where it is not one."""
    return _FORMS[kind].read(given)


def _choice_words(choices: Sequence[Any] | None) -> str | None:
    return " or ".join(str(choice) for choice in choices) if choices else None


def _range_words(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"
