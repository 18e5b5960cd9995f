"""Options of commands, made from their declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field
from typing import Any, TypeVar

import click

from landscape import LandscapeError
from landscape.errors import did_you_mean
from landscape.forms import TRUTH
from landscape.options import default_of, default_words, fields_of, read_options

OptionsT = TypeVar("OptionsT")


# Repeatable options are spelled in the singular.
_SINGULAR = {"settings": "--setting", "optimizer_options": "--optimizer-option"}


def spelled(name: str) -> str:
    """A field as the command line spells it."""
    return _SINGULAR.get(name) or "--" + name.replace("_", "-")


class Sectioned(click.Option):
    """An option that help lists in a section of its own."""

    def __init__(self, *arguments: Any, section: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists options by section, in the order in which sections come up."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def option(section: str) -> Callable[..., Any]:
    """``click.option`` for options of a section."""
    return lambda *names, **settings: click.option(*names, cls=Sectioned, section=section, **settings)


def options_in(
    sections: Mapping[str, type[Any]],
    skip: Iterable[str] = (),
    spellings: Mapping[str, tuple[str, ...]] | None = None,
) -> Callable[..., Any]:
    """All declared options of some classes as one decorator; one that several share is listed with the first.

    Args:
        sections: Title in help -> dataclass of options.
        skip: Options that are not offered.
        spellings: Field -> how it is spelled, where that is not its name.
    """
    seen = set(skip)
    made = []
    for title, declared in sections.items():
        for name, field in fields_of(declared).items():
            if name not in seen:
                seen.add(name)
                made.append(_option(name, field, title, (spellings or {}).get(name)))

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(made):
            function = decorator(function)
        return function

    return decorate


def _option(name: str, field: Field[Any], section: str, spelling: tuple[str, ...] | None) -> Callable[..., Any]:
    metadata, default = field.metadata, default_of(field)
    form, says = metadata["form"], metadata["help"]
    choices = metadata["choices"]
    if choices and not all(str(choice) in says for choice in choices):
        says = f"{says}: {_listed(choices)}"
    names = spelling or (spelled(name),)
    if form is TRUTH and default is False:
        return option(section)(*names, name, is_flag=True, default=None, help=f"{says}.")
    if form is TRUTH:
        pair = {"log": "--log/--linear"}.get(name, f"{spelled(name)}/--no-{name.replace('_', '-')}")
        return option(section)(pair, name, default=None, help=f"{says}.")
    shown = default_words(field)
    ending = f" [default: {shown}]" if shown else ""
    return option(section)(
        *names, name, metavar=form.metavar or None, multiple=form.repeats, help=f"{says}.{ending}"
    )


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
    mend = f"pass --kind {homes[0]}" if homes else "leave it out"
    raise LandscapeError(f"{', '.join(map(spelled, names))} cannot change {what}", mend=mend)


def known(name: str, names: Iterable[str], what: str) -> None:
    """Check a name.

    Raises:
        LandscapeError: With the nearest one, if there is none.
    """
    if name not in (known := list(names)):
        raise LandscapeError(f"unknown {what} '{name}', {did_you_mean(name, known)}")
