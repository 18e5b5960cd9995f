"""`landscape audit`: which sharpness measures mean anything, and whether two minima can be compared by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.plots.audit_options import AuditOptions
from landscape.plots.measure_words import audit_lines, audit_markdown, comparison_lines, element_line

from .command import subcommand
from .declared import options_in, taken
from .progress import Rows, progress_bar
from .shared import device_option, json_option, kept_until_done, objective_options, say, told_in

_SUFFIXES = [".png", ".pdf", ".svg", ".html", ".md"]


@subcommand(
    epilog="Example: landscape audit run.h5 -o audit.png",
    help="Take measures of the minimum in a trajectory FILE and of the same function elsewhere on its orbit, and "
    "say which of them mean anything. With two FILES say for each measure whether A < B survives on both orbits, "
    "or is reversed by a symmetry.",
)
@click.argument("files", nargs=-1, required=True)
@options_in({"Options": AuditOptions}, spellings={"settings": ("--setting",)})
@click.option(
    "-o",
    "--output",
    metavar="PICTURE",
    help="Draw the table, and slices before and after: png, pdf, svg or html; or write it as Markdown: md.",
)
@device_option
@objective_options
@json_option
def command(
    files: tuple[str, ...],
    output: str | None,
    as_json: bool,
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
    told = told_in(given) | {"device": given.pop("device")}
    asked = taken(AuditOptions, given)
    with kept_until_done(*(f"{Path(file).stem}-audit" for file in files)) as stores:
        document, lines = _audited(files, told, asked, output, stores)
    say(document, lines, as_json)


def _audited(
    files: Sequence[str],
    told: Mapping[str, Any],
    asked: AuditOptions,
    output: str | None,
    stores: Sequence[Any],
) -> tuple[dict[str, Any], list[str]]:
    from landscape.plots.audit_values import audit_of, comparison_of
    from landscape.plots.objectives import objective_of
    from landscape.trajectory import open_trajectory

    runs = [open_trajectory(file) for file in files]
    objectives = [objective_of(run, **told) for run in runs]
    audits = []
    for run, objective, store in zip(runs, objectives, stores, strict=True):
        with progress_bar(f"audit of {run.problem or run.path}", "value") as update:

            def show(what: str, done: int, total: int, update: Any = update) -> None:
                update(done, total)

            audits.append(audit_of(run, objective, asked, save=store, progress=show, finished=_row_teller()))
    documents = [{"file": file, **found.to_json()} for file, found in zip(files, audits, strict=True)]
    if len(files) == 1:
        document = {**documents[0], "picture": output}
        if output is not None:
            _draw(runs[0], objectives[0], audits[0], asked, output, document)
        return document, audit_lines(document)
    compared = [one.to_json() for one in comparison_of(runs, objectives, audits, asked)]
    document = {"files": list(files), "comparison": compared, "audits": documents}
    return document, comparison_lines(document)


def _row_teller() -> Callable[[str, Mapping[str, Any]], None]:
    """Return a function that tells of the values at each element, beside those before."""
    rows = Rows()
    before: dict[str, float] = {}

    def finished(element: str, taken: Mapping[str, Any]) -> None:
        values = {name: one.value for name, one in taken.items()}
        if not element:
            before.update(values)
        rows(element_line(element, values, before))

    return finished


def _draw(run: Any, objective: Any, found: Any, asked: Any, output: str, document: Mapping[str, Any]) -> None:
    from landscape import render
    from landscape.plots.audit_values import slices_before_and_after
    from landscape.storage import atomic_path

    suffix = Path(output).suffix.lower()
    if suffix == ".md":
        text = audit_markdown(document)
    else:
        picture = render.audit(found, slices_before_and_after(run, objective, asked) or None)
        if suffix != ".html":
            render.save(picture, output)
            return
        text = render.audit_page(found, picture)
    with atomic_path(output) as draft:
        Path(draft).write_text(text, encoding="utf-8")
