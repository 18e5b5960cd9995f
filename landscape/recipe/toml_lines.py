"""The text of a recipe: parsed, with the line of every key, which `tomllib` does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from landscape.errors import LandscapeError
from landscape.recipe.families import members
from landscape.recipe.faults import Fault, RecipeError

KeyPath: TypeAlias = "tuple[str | int, ...]"

# What still fits beside its picture and is read at one glance.
_MOST_LINES = 25
# Tables at the end of a recipe whose keys replace those of the recipe in its version of that size.
FULL = "full"
SIZES = ("small", "paper")


@dataclass(frozen=True)
class Source:
    """A recipe as it is written.

    Attributes:
        path: The file.
        text: What is in it.
        document: The same, parsed.
        lines: Path of a key -> its line, from 1; list elements are counted from 0.
        written: Name of a run -> its name as it is written, of members of families.
    """

    path: Path
    text: str
    document: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """The comment that the file begins with, as one line; empty if there is none."""
        said = []
        for line in self.text.splitlines():
            if not line.startswith("#"):
                break
            said.append(line.lstrip("#").strip())
        return " ".join(said).strip()

    def as_written(self, key: KeyPath) -> KeyPath:
        """The path of a key with the name of a run as it is written."""
        return (
            (key[0], self.written.get(str(key[1]), key[1]), *key[2:]) if key[:1] == ("run",) and key[1:] else key
        )

    def line_of(self, key: KeyPath) -> int:
        """The line of a key, or of the nearest table around it that is written; 1 where there is none."""
        key = self.as_written(key)
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def version(self, size: str = FULL) -> Source:
        """The recipe with all members of its families, and without the tables of other sizes.

        Args:
            size: Of `SIZES`, whose table replaces keys of the recipe, or `FULL`.
        """
        own = {name: value for name, value in self.document.items() if name not in SIZES}
        if size == FULL:
            return replace(self, document=own)._with_members()
        moved = {path[1:]: line for path, line in self.lines.items() if path[0] == size and path[1:]}
        merged = _merged(own, self.document.get(size, {}))
        return replace(
            self, document=merged if isinstance(merged, Mapping) else own, lines={**self.lines, **moved}
        )._with_members()

    def _with_members(self) -> Source:
        tables = self.document.get("run")
        if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
            return self
        runs, written = {}, {}
        for name, table in tables.items():
            for member, own in members(name, table):
                if member in runs:
                    what = f"two tables stand for the run '{member}'"
                    raise RecipeError(self.path, [Fault(self.lines["run", name], f"run.{name}", what)])
                runs[member], written[member] = own, name
        return replace(self, document={**self.document, "run": runs}, written=written)


def _merged(own: Any, other: Any) -> Any:
    """Tables key by key, lists of tables place by place; of anything else the other."""
    if isinstance(own, Mapping) and isinstance(other, Mapping):
        return {**own, **{name: _merged(own.get(name), value) for name, value in other.items()}}
    if (
        isinstance(own, list)
        and isinstance(other, list)
        and all(isinstance(each, Mapping) for each in own + other)
    ):
        return [*map(_merged, own, other), *own[len(other) :], *other[len(own) :]]
    return other


def read_source(path: Path) -> Source:
    """Read a recipe.

    Args:
        path: A TOML file.

    Returns:
        Its text, what it says, and where.

    Raises:
        LandscapeError: If it cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LandscapeError("no such recipe", where=path) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise LandscapeError(f"cannot be read: {reason}", where=path, mend="a recipe is a TOML file") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(path, [_syntax_fault(str(error), text)]) from None
    return Source(path, text, document, find_lines(text))


def faults_of_the_text(source: Source, most: int = _MOST_LINES) -> Iterator[Fault]:
    """Yield the faults of the text as such: too many lines, those of other sizes at the end aside."""
    count = len(source.text.splitlines())
    begun = min((source.lines[size,] for size in SIZES if (size,) in source.lines), default=count + 1)
    if all(line < begun for path, line in source.lines.items() if path[0] not in SIZES):
        count = len("\n".join(source.text.splitlines()[: begun - 1]).rstrip().splitlines())
    if count > most:
        what = f"a recipe has at most {most} lines, got {count}; settings of all runs go into [runs]"
        yield Fault(most + 1, "", what)


def _syntax_fault(message: str, text: str) -> Fault:
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message)
    reason, line = (match[1], match[2]) if match else (message, None)
    return Fault(int(line or len(text.splitlines()) or 1), "", f"not TOML: {reason[:1].lower()}{reason[1:]}")


def find_lines(text: str) -> dict[KeyPath, int]:
    """The line of every key in a TOML document that is known to be well-formed.

    A statement is the fewest lines that parse by themselves, so its keys are read by `tomllib` too.

    Args:
        text: The document.

    Returns:
        Path of a key -> line, from 1. Keys of an inline table have the line of the table.

    Example:
        >>> find_lines("[run.base]\\nepochs = 40\\n")
        {('run',): 1, ('run', 'base'): 1, ('run', 'base', 'epochs'): 2}
    """
    found: dict[KeyPath, int] = {}
    lengths: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for first, statement, parsed in _statements(text):
        if statement.lstrip().startswith("["):
            table = _header(parsed, lengths)
            for depth in range(1, len(table) + 1):
                found.setdefault(table[:depth], first)
        else:
            found |= {path: line for path, line in _keys(table, parsed, statement, first) if path not in found}
    return found


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the first line of every statement, its text, and what it says."""
    rows, start = text.splitlines(), 0
    while start < len(rows):
        stop = start + 1
        while (parsed := _parsed(statement := "\n".join(rows[start:stop]))) is None and stop < len(rows):
            stop += 1
        yield start + 1, statement, parsed or {}
        start = stop


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _header(parsed: Mapping[str, Any], lengths: dict[KeyPath, int]) -> KeyPath:
    """The path that a ``[table]`` or ``[[element]]`` opens; `lengths` counts the elements of each list so far."""
    path: KeyPath = ()
    here: Any = parsed
    while here:
        name = next(iter(here))
        path, here = (*path, name), here[name]
        if isinstance(here, list):
            lengths[path] = lengths.get(path, 0) + 1
            here = here[0]
        if path in lengths:
            path = (*path, lengths[path] - 1)
    return path


def _keys(table: KeyPath, value: Any, statement: str, first: int) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield (*table, name), first
            yield from _keys((*table, name), inner, statement, first)
    elif isinstance(value, list):
        ends = _element_lines(statement)
        for index, inner in enumerate(value):
            line = first + (ends[index] if index < len(ends) else 0)
            yield (*table, index), line
            yield from _keys((*table, index), inner, "", line)


def _element_lines(statement: str) -> list[int]:
    """For each element of the list that a statement is, in which of its lines it ends."""
    rows = statement.splitlines()
    ends: list[int] = []
    for stop in range(1, len(rows) + 1):
        part = "\n".join(rows[:stop]) + ("" if stop == len(rows) else "\n]")
        if (parsed := _parsed(part)) is not None:
            elements: Any = next(iter(parsed.values()), None)
            ends += [stop - 1] * ((len(elements) if isinstance(elements, list) else 0) - len(ends))
    return ends
