"""Options of commands, made from their declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field
from typing import Any, TypeVar

from landscape import LandscapeError
from landscape.errors import did_you_mean
from landscape.forms import TRUTH
from landscape.options import default_of, default_words, fields_of, read_options

from .command import option
from .shared import together

OptionsT = TypeVar("OptionsT")


# Repeatable options are spelled in the singular.
_SINGULAR = {"settings": "--setting", "optimizer_options": "--optimizer-option"}


def spelled(name: str) -> str:
    """A field as the command line spells it."""
    return _SINGULAR.get(name) or "--" + name.replace("_", "-")


def options_in(
    sections: Mapping[str, type[Any]],
    skip: Iterable[str] = (),
    spellings: Mapping[str, tuple[str, ...]] | None = None,
    former: Mapping[str, tuple[str, ...]] | None = None,
) -> Callable[..., Any]:
    """All declared options of some classes as one decorator; one that several share is listed with the first.

    Args:
        sections: Title in help -> dataclass of options.
        skip: Options that are not offered.
        spellings: Field -> how it is spelled, where that is not its name.
        former: Field -> how it was spelled before; such spellings are read, and not shown.
    """
    seen = set(skip)
    made = []
    for title, declared in sections.items():
        for name, field in fields_of(declared).items():
            if name not in seen:
                seen.add(name)
                old = (former or {}).get(name, ())
                made.append(_option(name, field, option(title, old), (spellings or {}).get(name)))

    return together(made)


def _option(
    name: str, field: Field[Any], offer: Callable[..., Any], spelling: tuple[str, ...] | None
) -> Callable[..., Any]:
    metadata, default = field.metadata, default_of(field)
    form, says = metadata["form"], metadata["help"]
    choices = metadata["choices"]
    if choices and not all(str(choice) in says for choice in choices):
        says = f"{says}: {_listed(choices)}"
    names = spelling or (spelled(name),)
    if form is TRUTH and default is False:
        return offer(*names, name, is_flag=True, default=None, help=f"{says}.")
    if form is TRUTH:
        pair = {"log": "--log/--linear"}.get(name, f"{spelled(name)}/--no-{name.replace('_', '-')}")
        return offer(pair, name, default=None, help=f"{says}.")
    shown = default_words(field)
    ending = f" [default: {shown}]" if shown else ""
    return offer(*names, name, metavar=form.metavar or None, multiple=form.repeats, help=f"{says}.{ending}")


def _listed(choices: tuple[Any, ...]) -> str:
    *most, last = map(str, choices)
    return f"{', '.join(most)} or {last}" if most else last


def given_in(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in given.items() if value not in (None, ())}


def taken(
    options: type[OptionsT],
    given: dict[str, Any],
    what: str | None = None,
    spell: Callable[[str], str] = spelled,
) -> OptionsT:
    """Read the options of a class, and take them out of what was given.

    Args:
        options: A dataclass of declared options.
        given: Name -> what was written.
        what: Whose they are, for messages.
        spell: A field as the user typed it.

    Raises:
        LandscapeError: With every fault, under the names that the user typed.
    """
    own = {name: given.pop(name) for name in fields_of(options) if name in given}
    return read_options(options, given_in(own), what, spell)


def refuse(given: Iterable[str], what: str, kinds: Mapping[str, type[Any]]) -> None:
    """Refuse options that say nothing here.

    Args:
        given: The options that are left.
        what: What they cannot change, such as ``"a spectrum"``.
        kinds: Kind -> its options, to say where an option belongs.
    """
    names = list(given)
    if not names:
        return
    homes = [kind for kind, options in kinds.items() if all(name in fields_of(options) for name in names)]
    mend = f"leave it out, or pass --kind {homes[0]}" if homes else "leave it out"
    raise LandscapeError(f"{', '.join(map(spelled, names))} cannot change {what}", mend=mend)


def known(name: str, names: Iterable[str], what: str) -> None:
    """Check a name.

    Raises:
        LandscapeError: With the nearest one, if there is none.
    """
    if name not in (known := list(names)):
        raise LandscapeError(f"unknown {what} '{name}', {did_you_mean(name, known)}")
