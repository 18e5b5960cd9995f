"""`landscape audit`: which sharpness measures mean anything, and whether two minima can be compared by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .shared import (
    conventions_in,
    json_option,
    kept_until_done,
    names_in,
    objective_options,
    progress_bar,
    say,
    told_in,
)
from .tables import audit_lines, comparison_lines

_SUFFIXES = [".png", ".pdf", ".svg", ".html"]


@click.command(
    epilog="Example: landscape audit run.h5 -o audit.png",
    help="Take measures of the minimum in a trajectory FILE and of the same function elsewhere on its orbit, and "
    "say which of them mean anything. With two FILES say for each measure whether A < B survives on both orbits, "
    "or is reversed by a symmetry.",
)
@click.argument("files", nargs=-1, required=True)
@click.option("--at", metavar="STEP", help="Which snapshot: a step, first or last. [default: last]")
@click.option("--measures", metavar="A,B,...", help="Which measures. [default: a dozen; landscape measure --list]")
@click.option("--split", help="train or test. [default: train]")
@click.option("--seed", type=int, help="Of all draws, the same everywhere on the orbit. [default: 0]")
@click.option("--subset", type=int, metavar="N", help="So many examples. [default: all, 128 if large]")
@click.option("--parameters", metavar="GLOBS", help="Which parameters count, e.g. 'fc.*,!*.bias'. [default: all]")
@click.option("--dtype", help="float32 or float64. [default: float64 where that is quick]")
@click.option(
    "--setting",
    "conventions",
    multiple=True,
    metavar="MEASURE.NAME=VALUE",
    help="A setting of a measure, such as hessian_trace.samples=100; repeatable.",
)
@click.option(
    "-o", "--output", metavar="PICTURE", help="Draw the table, and slices before and after: png, pdf, svg or html."
)
@click.option("--device", help="auto, cpu, cuda or mps. [default: auto]")
@objective_options
@json_option
def command(
    files: tuple[str, ...],
    output: str | None,
    as_json: bool,
    device: str | None,
    conventions: tuple[str, ...],
    measures: str | None,
    **given: Any,
) -> None:
    """Audit, and say which numbers mean anything."""
    from landscape.storage import require_writable

    if len(files) > 2:
        raise LandscapeError("an audit is of one trajectory, or compares two", got=f"{len(files)} files")
    if output is not None:
        require_writable(output, _SUFFIXES)
    if output is not None and len(files) == 2:
        raise LandscapeError(
            "a comparison is a table, and has no picture", where="-o", mend="audit each file alone"
        )
    told = told_in(given)
    wanted = {name: value for name, value in given.items() if value is not None}
    if measures is not None:
        wanted["measures"] = names_in(measures)
    wanted["settings"] = conventions_in(conventions)
    with kept_until_done(*(f"{Path(file).stem}-audit" for file in files)) as stores:
        document, lines = _audited(files, told | {"device": device or "auto"}, wanted, output, stores)
    say(document, lines, as_json)


def _audited(
    files: Sequence[str],
    told: Mapping[str, Any],
    wanted: Mapping[str, Any],
    output: str | None,
    stores: Sequence[Any],
) -> tuple[dict[str, Any], list[str]]:
    from landscape.pipeline import Audited, audit_of, comparison_of, objective_of
    from landscape.trajectory import open_trajectory

    at = str(wanted.get("at", "last"))
    asked = Audited(**{**wanted, "at": int(at) if at.lstrip("-").isdigit() else at})
    runs = [open_trajectory(file) for file in files]
    objectives = [objective_of(run, **told) for run in runs]
    audits = []
    for run, objective, store in zip(runs, objectives, stores, strict=True):
        with progress_bar(f"audit of {run.problem or run.path}", "value") as update:

            def show(what: str, done: int, total: int, update: Any = update) -> None:
                update(done, total)

            audits.append(audit_of(run, objective, asked, save=store, progress=show))
    documents = [{"file": file, **found.to_json()} for file, found in zip(files, audits, strict=True)]
    if len(files) == 1:
        document = {**documents[0], "picture": output}
        if output is not None:
            _draw(runs[0], objectives[0], audits[0], asked, output)
        return document, audit_lines(document)
    compared = [one.to_json() for one in comparison_of(runs, objectives, audits, asked)]
    document = {"files": list(files), "comparison": compared, "audits": documents}
    return document, comparison_lines(document)


def _draw(run: Any, objective: Any, found: Any, asked: Any, output: str) -> None:
    from landscape import render
    from landscape.pipeline import slices_before_and_after
    from landscape.storage import atomic_path

    picture = render.audit(found, slices_before_and_after(run, objective, asked) or None)
    if Path(output).suffix.lower() != ".html":
        render.save(picture, output)
        return
    with atomic_path(output) as draft:
        Path(draft).write_text(render.audit_page(found, picture), encoding="utf-8")
