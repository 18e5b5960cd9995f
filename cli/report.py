"""`landscape report`: all that is known of a run on one page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.reports.options import ReportOptions

from .command import subcommand
from .declared import options_in, taken
from .progress import progress_bar
from .shared import device_option, json_option, objective_options, say, told_in


@subcommand(
    common=("output", "compare", "fast"),
    epilog="Example: landscape report run.h5 -o report.html",
    help="Write a page on the trajectory FILE that needs nothing else: what was trained, curves, surface, path, "
    "spectrum, head-room of the learning rate, an audit of sharpness measures, and what not to believe.",
)
@click.argument("file")
@click.option("-o", "--output", metavar="PAGE.html", help="The page. [default: FILE with -report.html]")
@click.option("--compare", metavar="OTHER", help="Another trajectory of the same problem, beside the first.")
@options_in({"Options": ReportOptions})
@device_option
@objective_options
@json_option
def command(file: str, output: str | None, compare: str | None, as_json: bool, **given: Any) -> None:
    """Write the report, and say where it is."""
    from landscape.plots.addresses import run_at
    from landscape.plots.objectives import objective_of
    from landscape.plots.sources import named
    from landscape.reports import report_of
    from landscape.storage import atomic_path, require_writable

    page = Path(output or f"{Path(file).stem}-report.html")
    require_writable(page, [".html"])
    told = told_in(given) | {"device": given.pop("device")}
    options = taken(ReportOptions, given)
    addresses = [file] if compare is None else [file, compare]
    if len(set(addresses)) < len(addresses):
        raise LandscapeError("a file is named twice", where="--compare", got=file, mend="name another one")
    opened = {name: (address, *run_at(address)) for name, address in named(addresses).items()}
    for address, _, step in opened.values():
        if step != "last":
            raise LandscapeError(
                "a report is of a run", got=address, mend=f"leave the step out, and give --at {step}"
            )
    runs = {name: run for name, (_, run, _) in opened.items()}
    began = time.monotonic()
    text = report_of(runs, options=options, rebuild=lambda run: objective_of(run, **told), watch=progress_bar)
    with atomic_path(page) as draft:
        draft.write_text(text, encoding="utf-8")
    document: dict[str, Any] = {
        "page": str(page),
        "runs": list(runs),
        "bytes": len(text.encode()),
        "seconds": time.monotonic() - began,
    }
    document["missing"] = text.count('class="failure"')
    lines = [
        f"{page}: report of {', '.join(runs)}, {document['bytes'] / 1e6:.1f} MB, in {document['seconds']:.0f} s"
    ]
    if document["missing"]:
        lines.append(f"  {document['missing']} parts could not be made; the page says why")
    say(document, lines, as_json)
