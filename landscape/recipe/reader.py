"""Reads tables of a recipe key by key and gathers every fault instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.options import OptionError, read_options
from landscape.recipe.faults import Fault
from landscape.recipe.toml_lines import KeyPath, Source


@dataclass(frozen=True)
class Form:
    """Condition on a value.

    Attributes:
        words: The same for a person.
        fits: Whether a value is.
    """

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def list_of(form: Form, words: str, low: int = 1) -> Form:
    """The form of a list of at least so many values of a form."""
    return Form(words, lambda v: isinstance(v, list) and len(v) >= low and all(map(form.fits, v)))


def either(one: Form, other: Form) -> Form:
    """The form of a value that has one of two forms."""
    return Form(f"{one.words} or {other.words}", lambda v: one.fits(v) or other.fits(v))


def one_of(*names: str) -> Form:
    """The form of a word out of a few; a wrong one is told the nearest."""
    return Form(" or ".join(names), lambda v: v in names)


TEXT = Form("text", lambda v: isinstance(v, str))
WHOLE = Form("a whole number", _is_whole)
COUNT = Form("a whole number of at least 1", lambda v: _is_whole(v) and v >= 1)
NUMBER = Form("a number", _is_number)
TRUTH = Form("true or false", lambda v: isinstance(v, bool))
TABLE = Form("a table", lambda v: isinstance(v, dict))
TEXTS = list_of(TEXT, "a list of names")
ANYTHING = Form("anything", lambda value: True)


class Reader:
    """The source of a recipe and what was found to be wrong in it.

    Args:
        source: The recipe.

    Attributes:
        source: The recipe.
        faults: What is wrong, in the order found.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.faults: list[Fault] = []

    def fault(self, key: KeyPath, what: str, *, got: object = None, mend: str | None = None) -> None:
        """Note that something is wrong.

        Args:
            key: Where: the path of a key.
            what: What is wrong.
            got: What was written.
            mend: What to do about it.
        """
        said = str(LandscapeError(what, got=got, mend=mend))
        self.faults.append(Fault(self.source.line_of(key), spoken(self.source.as_written(key)), said))

    def beside(self, name: str) -> Path:
        """The path of what is named relative to the recipe."""
        return self.source.path.parent / Path(name).expanduser()

    def missing(self, key: KeyPath, name: str) -> None:
        """Note that a file beside the recipe is not there."""
        self.fault(key, "there is no such file", got=f"'{name}'", mend="it is looked for beside the recipe")

    @contextmanager
    def noting(self, key: KeyPath, prefix: str = "") -> Iterator[None]:
        """Note what the body refuses as a fault of a key, without the prefix that the key says already."""
        try:
            yield
        except LandscapeError as error:
            self.fault(key, str(error).removeprefix(prefix))

    def sound(self, key: KeyPath, table: Any, forms: Mapping[str, Form], what: str = "key") -> dict[str, Any]:
        """The entries of a table whose keys are known and whose values have the right form; others are noted.

        Args:
            key: Where the table is.
            table: What is there.
            forms: Key -> form of its value.
            what: What such a key is called in messages.

        Returns:
            The sound entries.
        """
        if not isinstance(table, Mapping):
            self.fault(key, "must be a table", got=repr(table))
            return {}
        found = {}
        for name, value in table.items():
            form = forms.get(name)
            if form is None:
                self.fault((*key, name), f"there is no such {what}", mend=did_you_mean(name, forms))
            elif not form.fits(value):
                self.fault((*key, name), f"must be {form.words}", got=repr(value), mend=_nearest(form, value))
            else:
                found[name] = value
        return found

    def options(self, where: Callable[[str], KeyPath], options: type[Any], entries: Mapping[str, Any]) -> Any:
        """Options from entries of a table without what is wrong, which is noted; None if the rest do not fit.

        Args:
            where: The path of a key.
            options: A dataclass of declared options.
            entries: Key -> value.
        """
        try:
            return read_options(options, entries, None)
        except OptionError as error:
            for fault in error.faults:
                # The key of the fault says its name.
                what = fault.what.removeprefix(f"option '{fault.name}' ").removeprefix(f"{fault.name}: ")
                self.fault(where(fault.name), what)
            return error.sound


def _nearest(form: Form, value: Any) -> str | None:
    """Of a word out of a few, which one may be meant."""
    names = form.words.split(" or ")
    said = did_you_mean(value, names) if isinstance(value, str) and all(map(form.fits, names)) else ""
    return said if said.startswith("did you mean") else None


def spoken(key: KeyPath) -> str:
    """A path as a person writes it: ``run.base.epochs``, ``panel 1, normalize``.

    Example:
        >>> spoken(("panel", 0, "normalize"))
        'panel 1, normalize'
    """
    said = ""
    for part in key:
        if isinstance(part, int):
            said += f" {part + 1}"
        else:
            said += (", " if said[-1:].isdigit() and " " in said else "." if said else "") + part
    return said
