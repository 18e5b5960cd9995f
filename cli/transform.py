"""`landscape transform`: the same function elsewhere on its orbit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.transform import Transform

from .command import subcommand
from .declared import options_in, taken
from .progress import progress_bar
from .shared import device_option, json_option, objective_options, say, told_in


@subcommand(
    epilog="Example: landscape transform run.h5 --alpha 10 -o scaled.h5",
    help="Move the snapshots of a trajectory FILE by a symmetry found in its model: other weights, the same "
    "function. Choose one of --alpha, --balance, --flattest, --unit-norm, --permute, --rescale, --random-basis, "
    "--rotate, --canonical.",
)
@click.argument("file")
@click.option("-o", "--output", required=True, metavar="OUT.h5", help="The trajectory file to write.")
@options_in({"Options": Transform})
@click.option("--at", metavar="STEP", help="Only this snapshot: a step, first or last. [default: all]")
@objective_options
@device_option
@click.option("--overwrite", is_flag=True, help="Replace OUT.h5 if it is there.")
@json_option
def command(
    file: str,
    output: str,
    at: str | None,
    device: str,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Transform, and say how far the outputs moved."""
    from landscape.plots.objectives import objective_of
    from landscape.storage import require_writable
    from landscape.trajectory import open_trajectory
    from landscape.transform import transform

    told = told_in(given)
    wanted = taken(Transform, given)
    require_writable(output, [".h5", ".hdf5"])
    if Path(output).exists() and not overwrite:
        raise LandscapeError(
            "the file exists", where=output, mend="pass --overwrite to replace it, or another name"
        )
    if Path(output).resolve() == Path(file).resolve():
        raise LandscapeError("the file cannot replace the one it is made from", where=output)
    run = open_trajectory(file)
    objective = objective_of(run, **told, device=device)
    with progress_bar(f"transform {run.problem}", "snapshot") as update:
        document = transform(run, objective, wanted, output, at=at, overwrite=overwrite, progress=update)
    say(document, report(document), as_json)


def report(document: dict[str, Any]) -> list[str]:
    """The same in a few lines for a person."""
    ((name, value),) = document["transform"].items()
    what = name.replace("_", "-") if value is True else f"{name} {value:g}"
    count = document["snapshots"]
    lines = [f"{document['output']}: {count} snapshot{'s' * (count != 1)} of {document['problem']}, {what}"]
    lines.append(f"  by {', '.join(document['generators'][:4])}{_more(document['generators'][4:])}")
    lines.append(
        f"  outputs changed by at most {document['max_output_change']:.2g}; rounding explains up to "
        f"{document['explained']:.2g}"
    )
    return lines + [f"  note: {note}" for note in document["notes"]]


def _more(rest: list[str]) -> str:
    return f" and {len(rest)} more" if rest else ""
