"""Runs, objective and output files, shared by the kinds of `landscape probe`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from landscape.plots import Kind, Shown, Source

from .declared import spelled, taken
from .progress import progress_bar
from .shared import device_option, json_option, objective_options, together, told_in

PICTURES = [".png", ".pdf", ".svg"]

problem_options = together([objective_options, device_option, json_option])
table_option = click.option(
    "--table", metavar="T.h5|T.json|T.csv", help="Write the numbers as a table too. [default: none]"
)


def source_from(addresses: Sequence[str], given: dict[str, Any]) -> Source:
    """The runs at some addresses with what rebuilds their objective, which is taken out of what was given."""
    from landscape.plots.addresses import run_at
    from landscape.plots.objectives import objective_of
    from landscape.plots.sources import named, sourced

    told, device = told_in(given), given.pop("device")
    opened = {name: run_at(address) for name, address in named(addresses).items()}
    return sourced(
        {name: (run, None if step == "last" else step) for name, (run, step) in opened.items()},
        lambda run: objective_of(run, **told, device=device),
    )


def probed(
    kind: Kind, source: Source, given: dict[str, Any], store: Any, spell: Callable[[str], str] = spelled
) -> Shown:
    """Compute a probe with a bar, its parts kept; its options are taken out of what was given."""
    from dataclasses import replace

    options = taken(kind.options, given, spell=spell)
    with progress_bar(kind.name, kind.unit) as update:
        return kind.shown(replace(source, progress=update, at_work=update.at_work, unfinished=store), options)


def stem_of(source: Source, probe: str) -> str:
    """Return the start of the names of files of finished parts: the probed files, and the probe."""
    names = dict.fromkeys(run.path.stem for run in source.runs.values())
    return "-".join([*list(names)[:2], probe])


def require_outputs(picture: str | None, table: str | None) -> None:
    """Check before long work that its results can be written."""
    from landscape.probes.table import SUFFIXES
    from landscape.storage import require_writable

    if picture is not None:
        require_writable(picture, PICTURES)
    if table is not None:
        require_writable(table, SUFFIXES)


def put(
    kind: Kind, shown: Shown, picture: str | Path | None, table: str | None, about: Mapping[str, Any] | None = None
) -> None:
    """Write the picture and the table of a probe, as far as they are wanted."""
    if picture is not None:
        from landscape.render import Look, save

        save(kind.drawn([shown], Look()), picture)
    if table is not None and kind.columns is not None:
        from landscape.probes.table import save_table

        columns, own = kind.columns(shown)
        save_table(columns, table, {**own, **(about or {})})
