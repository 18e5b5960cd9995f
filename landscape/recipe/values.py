"""A recipe as a value: runs, panels and the figure, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from landscape.forms import FILE, Form
from landscape.options import Options, fields_of, option
from landscape.plots import KINDS
from landscape.plots.kind import Kind
from landscape.render.look import WIDTH, Look
from landscape.training import Settings


def files_named(options: Options) -> dict[str, Path]:
    """Option -> the file that it names, of those that name one."""
    named = {
        name: getattr(options, name)
        for name, field in fields_of(type(options)).items()
        if field.metadata["form"] is FILE
    }
    return {name: Path(file) for name, file in named.items() if file is not None}


@dataclass(frozen=True)
class Run:
    """Where the weights come from.

    Attributes:
        name: What panels call it.
        kind: ``"train"``, ``"file"``, or the kind of a derived run such as ``"import"``.
        problem: A built-in problem, or ``/path/file.py:function``; None is the one that a file names.
        options: Options of the problem.
        training: Of a run that is trained.
        data: The folder or file of the data; None leaves it to the rendering.
        files: Of a run that is read or imported: its files.
        arguments: Of a derived run: what it is derived by, as plain values.
        base: Of a derived run: the run that it comes from, if it comes from one.
    """

    name: str
    kind: str
    problem: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Settings | None = None
    data: Path | None = None
    files: tuple[Path, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    base: Run | None = None


@dataclass(frozen=True)
class Panel:
    """One part of the figure.

    Attributes:
        kind: One of `landscape.plots.KINDS`.
        options: Those of the kind.
        runs: Name -> run, in the order drawn.
        title: Above the panel; None leaves it out.
        seeds: Every run is trained with each of them; with its own if there are none.
    """

    kind: str
    options: Options
    runs: Mapping[str, Run]
    title: str | None = None
    seeds: tuple[int, ...] = ()

    @property
    def plot(self) -> Kind:
        """The kind of picture."""
        return KINDS[self.kind]

    @property
    def members(self) -> dict[str, dict[str, Run]]:
        """Name of a run -> name with its seed -> the run with that seed."""
        return {name: self._seeded(name, run) for name, run in self.runs.items()}

    def _seeded(self, name: str, run: Run) -> dict[str, Run]:
        training = run.training
        if training is None or not self.seeds:
            return {name: run}
        return {f"{name}, seed {seed}": replace(run, training=replace(training, seed=seed)) for seed in self.seeds}


INTERACTIVE = "html"
_FORMATS = ("png", "pdf", "svg", INTERACTIVE)


def _formats(given: Any) -> tuple[str, ...]:
    """Pictures in the gallery are PNG; the other formats come beside."""
    chosen = [given] if isinstance(given, str) else list(given)
    if not set(chosen) <= set(_FORMATS):
        raise ValueError(given)
    return ("png", *(name for name in _FORMATS[1:] if name in chosen))


@dataclass(frozen=True)
class Figure(Look):
    """Options of the figure that joins the panels.

    Attributes:
        caption: Whether the caption stands in the picture too.
        formats: ``"png"``, and what else is wanted.
    """

    width: str | float | None = option("two-columns", "The width of the figure", form=WIDTH)
    caption: bool = option(False, "Put the caption of the recipe at the foot")
    formats: tuple[str, ...] = option(
        ("png",),
        "Formats besides png; html is a page to turn, of one panel",
        form=Form(f"a list out of {', '.join(_FORMATS)}", _formats),
    )
