"""`landscape import`: checkpoints that exist already become a trajectory."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .command import subcommand
from .progress import progress_bar
from .shared import Interrupted, data_option, json_option, parse_settings, say

_SUFFIXES = [".h5", ".hdf5"]


@subcommand(
    epilog="Example: landscape import 'ckpts/epoch*.pt' -o run.h5 --problem digits-mlp --set width=32",
    help="Write a trajectory RUN.h5 from checkpoints: .pt, .pth, .bin, .t7, Lightning .ckpt, .safetensors, .npz, "
    "folders (of these; of Hugging Face, DeepSpeed, torch.distributed.checkpoint), or quoted patterns of them; or "
    "a surface file from one of tomgoldstein/loss-landscape. No "
    "code in them is run; nothing is written unless all of them fit.",
)
@click.argument("checkpoints", metavar="CKPT...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="RUN.h5", help="The trajectory file to write. [default: the first CKPT]")
@click.option(
    "--problem", metavar="NAME|FILE.py:FUNCTION", help="What was trained. [default: from the first checkpoint]"
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="An option of the problem; repeatable."
)
@data_option
@click.option("--steps", metavar="0,100,...", help="The step of each. [default: from the checkpoint or its name]")
@click.option("--steps-per-epoch", type=int, metavar="N", help="Turns epochs into steps.")
@click.option("--key", metavar="NAME", help="Where in a file the weights are, such as ema or model.net.")
@click.option("--missing", metavar="initial", help="Take what is missing from the problem's initial model.")
@click.option(
    "--extra", metavar="ignore|refuse", help="What the model does not have. [default: ignore, and say so]"
)
@click.option("--cast", is_flag=True, help="Round numbers to a narrower element type of the model.")
@click.option("--overwrite", is_flag=True, help="Replace RUN.h5 if it is there.")
@json_option
def command(
    checkpoints: tuple[str, ...],
    output: str | None,
    problem: str | None,
    settings: tuple[str, ...],
    data: str | None,
    steps: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Import, and say what was found in each file."""
    from landscape import problems
    from landscape.storage import require_writable
    from landscape.trajectory import import_checkpoints

    output, checkpoints = _parted(output, checkpoints)
    require_writable(output, _SUFFIXES)
    if _is_surface(checkpoints):
        if Path(output).exists() and not given["overwrite"]:
            raise LandscapeError("is there already", where=output, mend="pass --overwrite to replace it")
        _import_surface(checkpoints[0], output, as_json)
        return
    options = parse_settings(settings)
    if options and problem is None:
        raise LandscapeError("options are those of a problem", where="--set", mend="pass --problem too")
    asked = {name: value for name, value in given.items() if value is not None}
    asked["steps"] = None if steps is None else _steps(steps)
    model = None
    if problem is not None:
        model, asked["problem"], asked["problem_args"] = problems.initial_model(problem, options, data=data)
    try:
        with progress_bar("import", "checkpoint") as update:
            run, report = import_checkpoints(output, checkpoints, model, progress=update, **asked)
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    document = {"trajectory": output, "snapshots": len(run), "steps": run.steps.tolist(), "run_id": run.run_id}
    say(document | report.to_json(), _lines(output, report), as_json)


def _is_surface(files: tuple[str, ...]) -> bool:
    """Return whether the only file is a surface of tomgoldstein/loss-landscape."""
    from landscape.surface.goldstein import goldstein_kind

    return len(files) == 1 and Path(files[0]).suffix.lower() in _SUFFIXES and goldstein_kind(files[0]) == "surface"


def _import_surface(file: str, output: str, as_json: bool) -> None:
    from landscape.surface import goldstein_surface, save_surface

    surface = goldstein_surface(file)
    save_surface(surface, output)
    points, done = surface.values.size, int(surface.values.size if surface.done is None else surface.done.sum())
    document = {"surface": output, "points": points, "computed": done, "fields": list(surface), **surface.meta}
    said = (
        f"{output}: {done:,} of {points:,} points, {', '.join(surface)}, as computed by {surface.meta['source']}"
    )
    say(document, [said], as_json)


def _parted(output: str | None, files: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The file to write and the checkpoints: without -o the first file is the one to write."""
    if output is None and (len(files) < 2 or Path(files[0]).suffix.lower() not in _SUFFIXES):
        read = [file for file in files if Path(file).suffix.lower() not in _SUFFIXES] or files
        wanted = next((file for file in files if file not in read), "run.h5")
        mend = f"name it with -o: landscape import {shlex.join(read)} -o {shlex.quote(wanted)}"
        raise LandscapeError("no trajectory file to write is named", where=files[0], mend=mend)
    return (files[0], files[1:]) if output is None else (output, files)


def _steps(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise LandscapeError("not steps", where="--steps", got=f"'{text}'", expected="0,100,200") from None


def _lines(output: str, report: Any) -> list[str]:
    files = report.files
    span = f"step {files[0].step}" if len(files) == 1 else f"steps {files[0].step} to {files[-1].step}"
    count = "1 snapshot" if len(files) == 1 else f"{len(files)} snapshots"
    of = f" of {report.problem}" if report.problem else ""
    lines = [f"{output}: {count}{of}, {span}, {report.parameters:,} parameters"]
    for notes, alike in groupby(files, _notes):
        lines += [_file_line(file) for file in alike]
        lines += [f"    {note}" for note in notes]
    if report.kinds_guessed:
        lines.append("  parameters and buffers were told by name and type: pass --problem to be certain of them")
    return lines


def _file_line(file: Any) -> str:
    kind = f"{file.format}, {file.key}" if file.key else file.format
    return f"  step {file.step:<8} {file.file} ({kind}; {file.tensors} tensors; step: {file.step_from})"


def _notes(file: Any) -> Sequence[str]:
    """Describe what a reader should know of an imported file: renamed, missing, extra and converted tensors."""
    notes = [f"names: {file.names}"] if file.names else []
    if file.missing:
        notes.append(f"{file.missing.count} missing, taken from the initial model: {file.missing}")
    if file.extra:
        notes.append(f"{file.extra.count} extra, left out: {file.extra}")
    for change in file.conversions:
        cost = f"relative rounding error {change.rounding:.2g}" if change.rounding else "exactly"
        notes.append(f"{change.tensors.count} from {change.source} to {change.target}, {cost}: {change.tensors}")
    return notes + list(file.notes)
