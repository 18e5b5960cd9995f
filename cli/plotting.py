"""What the kinds of `landscape plot` share: what was asked for, and options in sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .shared import told_in


@dataclass(frozen=True)
class Asked:
    """What the user wants drawn.

    Attributes:
        files: The files, in the order given.
        kind: The kind of picture.
        picture: Where it goes.
        options: Name -> value of the options that were given; names of options of other kinds are not among them.
    """

    files: tuple[str, ...]
    kind: str
    picture: Path
    options: Mapping[str, Any]

    @property
    def file(self) -> str:
        """The only file.

        Raises:
            LandscapeError: If there are several.
        """
        if len(self.files) > 1:
            raise LandscapeError(f"a {self.kind} is drawn of one file", got=f"{len(self.files)} files")
        return self.files[0]

    @property
    def names(self) -> list[str]:
        """A name for each file: its own, or its place in the order given where two have the same."""
        stems = [Path(file).stem for file in self.files]
        return stems if len(set(stems)) == len(stems) else [f"{stem} ({n})" for n, stem in enumerate(stems, 1)]

    def require_only(self, *names: str) -> None:
        """Check that no option was given but some.

        Raises:
            LandscapeError: Naming those that say nothing to this kind of picture.
        """
        self.refuse(*(name for name in self.options if name not in (*names, "kind")))

    def refuse(self, *names: str) -> None:
        """Check that some options were not given; a flag that is off is not.

        Raises:
            LandscapeError: Naming those that were.
        """
        given = [f"--{name.replace('_', '-')}" for name in names if self.options.get(name) not in (None, False)]
        if given:
            raise LandscapeError(f"{', '.join(given)} cannot change a picture of kind {self.kind}")

    @property
    def told(self) -> dict[str, Any]:
        """What `landscape.pipeline.objective_of` is told, device left out."""
        return told_in(dict(self.options))


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
