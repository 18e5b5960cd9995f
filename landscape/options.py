"""Options: declared once as dataclass fields, read from a command line, TOML, JSON or Python alike."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from landscape.errors import LandscapeError, did_you_mean
from landscape.forms import FORMS, NUMBER, TRUTH, Form
from landscape.vocabulary import DEVICES

T = TypeVar("T")
OptionsT = TypeVar("OptionsT")

_AUTOMATIC = "auto"
_FIELDS: dict[type[Any], Mapping[str, dataclasses.Field[Any]]] = {}


def option(
    default: T,
    help: str,
    *,
    form: Form | None = None,
    choices: Sequence[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    check: Callable[[Any], object] | None = None,
    unset: str | None = None,
    needs: str | None = None,
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
        above: What every value is greater than.
        below: What every value is less than.
        check: Raises a LandscapeError for any other value that is not allowed.
        unset: What stands for the default in help, where its value does not say it.
        needs: Another option without which it means nothing: where that is wrong, nothing is said of this one.
        decides: Whether results depend on it; otherwise it is left out where results are told apart.
        shows: Whether it changes how a result is shown, so that it can be given for a stored one.

    Returns:
        The field; typed as its value, as `dataclasses.field` is.
    """
    metadata = {
        "help": help,
        "form": form or FORMS[type(default)],
        "choices": None if choices is None else tuple(choices),
        "low": low,
        "high": high,
        "above": above,
        "below": below,
        "check": check,
        "unset": unset,
        "needs": needs,
        "decides": decides,
        "shows": shows,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def device_named(name: str) -> str:
    """Check the name of a device; whether there is one is not looked at, so that no torch is imported.

    Raises:
        LandscapeError: If there is no such kind of device.
    """
    kind, _, number = str(name).partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise LandscapeError(f"unknown device '{name}'", mend=did_you_mean(str(name), DEVICES))
    return name


def redeclared(
    options: type[Any],
    name: str,
    default: Any = dataclasses.MISSING,
    help: str | None = None,
    unset: str | None = None,
) -> Any:
    """Declare a dataclass field as an option of another class is, with another default or help."""
    field = fields_of(options)[name]
    changes: dict[str, Any] = {} if help is None else {"help": help}
    if default is dataclasses.MISSING:
        default = default_of(field)
    else:
        changes["unset"] = unset
    return dataclasses.field(default=default, metadata={**field.metadata, **changes})


def automatic(help: str, *, low: float | None = None, above: float | None = None) -> float | None:
    """Declare a dataclass field that is a number, or ``auto`` (None) if it is to be found on the way.

    Args:
        help: One line that says what it does, with its unit.
        low: The least value allowed.
        above: What every value is greater than.

    Returns:
        The field; typed as its value, as `dataclasses.field` is.
    """
    found: float | None = option(None, help, form=NUMBER, low=low, above=above, unset=_AUTOMATIC)
    return found


def automatic_flag(help: str) -> bool | None:
    """Declare a dataclass field that is true, false, or ``auto`` (None) if it is to be found on the way."""
    found: bool | None = option(None, help, form=TRUTH, unset=_AUTOMATIC)
    return found


@dataclass(frozen=True)
class OptionFault:
    """Fault of an option.

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
        sound: Options made of what is right, if they go together.
    """

    def __init__(self, faults: Sequence[OptionFault], where: str | None = None, sound: Any = None) -> None:
        self.faults = tuple(faults)
        self.sound = sound
        # Two axes may have the same fault.
        super().__init__(" | ".join(dict.fromkeys(fault.what for fault in faults)), where=where)

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
                value = _value(field, getattr(self, field.name), field.name)
            except LandscapeError as fault:
                faults.append(OptionFault(field.name, str(fault)))
                value = default_of(field)
            object.__setattr__(self, field.name, value)
        faults += _apart((OptionFault(*fault) for fault in self.conflicts()), faults, type(self))
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


def _apart(
    conflicts: Iterable[OptionFault], faults: Sequence[OptionFault], options: type[Any]
) -> list[OptionFault]:
    """The conflicts that do not come from faults alone: a default stands in for what is wrong."""
    told, fields = {fault.name for fault in faults}, fields_of(options)
    return [one for one in conflicts if not told or (one.name and fields[one.name].metadata["needs"] not in told)]


@dataclass(frozen=True)
class NoOptions(Options):
    """Of what has none."""


_ANY = Form("a value", lambda given: given)


def options_like(defaults: Mapping[str, Any]) -> type[Options]:
    """Declare options by nothing but their defaults: values are of the same type."""
    declared = {name: option(value, "", form=FORMS.get(type(value), _ANY)) for name, value in defaults.items()}
    annotations = {name: type(value) for name, value in defaults.items()}
    made = type("LikeDefaults", (Options,), {**declared, "__annotations__": annotations, "__module__": __name__})
    return dataclass(frozen=True)(made)


def fields_of(options: type[Any]) -> Mapping[str, dataclasses.Field[Any]]:
    """Return the declared options of a class by name, in order."""
    if options not in _FIELDS:
        _FIELDS[options] = {one.name: one for one in dataclasses.fields(options) if "help" in one.metadata}
    return _FIELDS[options]


def describe_options(options: type[Any]) -> list[dict[str, Any]]:
    """List what can be set, one dictionary per option: name, type, default, choices, low, high, help.

    Bounds that are not allowed themselves are there as ``above`` and ``below`` where there are some.

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
            **{name: field.metadata[name] for name in ("above", "below") if field.metadata[name] is not None},
        }
        for name, field in fields_of(options).items()
    ]


def _type_name(form: Form) -> str:
    return next((kind.__name__ for kind, own in FORMS.items() if own is form), form.words)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of an option."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def allowed_words(field: dataclasses.Field[Any]) -> str:
    """Describe the allowed values of an option, for messages and tables."""
    words = _choice_words(field.metadata["choices"]) or field.metadata["form"].words
    bounds = _range_words(field)
    return (f"{words}, {bounds}" if bounds else words) + (" or auto" if _is_automatic(field) else "")


def _is_automatic(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata["unset"] == _AUTOMATIC)


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


def options_table(options: type[Any]) -> str:
    """The options of a class as a table in Markdown, for the pages about them."""
    rows = [("option", "default", "values", "what it says"), ("---",) * 4]
    for name, field in fields_of(options).items():
        off = "off" if field.metadata["form"] is TRUTH else ""
        rows.append((f"`{name}`", default_words(field) or off, allowed_words(field), field.metadata["help"]))
    # A bar would part a cell in two.
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)


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
    found = None
    try:
        found = options(**values)
    except OptionError as error:
        faults += _apart(error.faults, faults, options)
        wrong = {fault.name for fault in error.faults}
        with suppress(OptionError):
            found = options(**{name: value for name, value in values.items() if name not in wrong})
    if faults or found is None:
        raise OptionError(faults, where, found)
    return found


def _value(field: dataclasses.Field[Any], given: Any, name: str) -> Any:
    """The value of an option that was given, of the form that is declared."""
    if given is field.default:
        return given
    form: Form = field.metadata["form"]
    default = default_of(field)
    # JSON has lists for tuples.
    like = tuple(given) if isinstance(given, list) and isinstance(default, tuple) else given
    if type(like) is type(default) and like == default:
        return like
    automatic = _is_automatic(field)
    if default is None and (given is None or (automatic and str(given).strip() == _AUTOMATIC)):
        return None
    choices = field.metadata["choices"]
    try:
        value = form.read(given)
    except LandscapeError as fault:
        raise _named(fault, field.name, name) from None
    except (TypeError, ValueError, OverflowError):
        expected = _choice_words(choices) or form.words + (" or auto" if automatic else "")
        raise LandscapeError(f"option '{name}' has the wrong type", got=repr(given), expected=expected) from None
    if choices and value not in choices:
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        mend = near if near.startswith("did you mean") else None
        wanted = None if mend else _choice_words(choices)
        raise LandscapeError(f"option '{name}' has no such choice", got=repr(given), expected=wanted, mend=mend)
    if isinstance(value, int | float) and not all(
        within(value, field.metadata[bound])
        for bound, (_, within) in _BOUNDS.items()
        if field.metadata[bound] is not None
    ):
        raise LandscapeError(f"option '{name}' is out of range", got=given, expected=_range_words(field))
    if field.metadata["check"] is not None:
        try:
            field.metadata["check"](value)
        except LandscapeError as fault:
            raise _named(fault, field.name, name) from None
    return value


def _named(fault: LandscapeError, field: str, typed: str) -> LandscapeError:
    """A fault that has words of its own, under the name that the user typed where that is another."""
    if typed == field:
        return fault
    return LandscapeError(str(fault).removeprefix(f"{field}: "), where=f"option '{typed}'")


def _choice_words(choices: Sequence[Any] | None) -> str | None:
    return " or ".join(str(choice) for choice in choices) if choices else None


# Bound -> how it is said, and whether a value keeps it.
_BOUNDS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "low": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "high": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def _range_words(field: dataclasses.Field[Any]) -> str:
    bounds = {name: field.metadata[name] for name in _BOUNDS if field.metadata[name] is not None}
    if [*bounds] == ["low", "high"]:
        return f"{bounds['low']} to {bounds['high']}"
    return " and ".join(f"{_BOUNDS[name][0]} {bound}" for name, bound in bounds.items())
