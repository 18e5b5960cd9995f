"""`landscape measure`: sharpness measures at a snapshot or along training."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.measures.along_options import Along
from landscape.options import describe_options, fields_of
from landscape.vocabulary import DEVICE

from .command import subcommand
from .declared import given_in, options_in, spelled, taken
from .progress import progress_bar
from .shared import Interrupted, device_option, json_option, objective_options, say, told_in, what_is_kept

# Quick on any network, and one of each kind: what rescalings change, and what they do not.
_DEFAULT = ("hessian_top", "hessian_trace", "gauss_newton_trace", "filter_normalized_curvature", "fisher_rao_norm")
_SUFFIXES = [".png", ".pdf", ".svg"]
_TABLE_SUFFIXES = [".h5", ".hdf5"]


@subcommand(
    epilog="Example: landscape measure run.h5 --at all --measures hessian_top,hessian_trace -o sharpness.png",
    help="Say how sharp the minimum in a trajectory FILE is, or print and draw a FILE of measures. Several "
    "trajectories are measured with the same draws.",
)
@click.argument("files", metavar="[FILE]...", nargs=-1)
@options_in({"Options": Along}, spellings={"settings": ("--setting",), "split": ("--split", "--of")})
@click.option(
    "-o",
    "--output",
    metavar="PICTURE",
    help="Draw the measures along training; of one snapshot the profiles of local_energy and local_entropy: png, "
    "pdf or svg.",
)
@click.option(
    "--save",
    metavar="TABLE.h5",
    help="Keep the values; resumes if TABLE.h5 holds a part. [default: FILE[-test]-measures.h5 with --at all]",
)
@click.option("--list", "listing", is_flag=True, help="Say which measures there are.")
@device_option
@objective_options
@json_option
def command(files: tuple[str, ...], listing: bool, output: str | None, as_json: bool, **given: Any) -> None:
    """Measure, and say what each number is."""
    if listing:
        _list(as_json)
        return
    if not files:
        raise click.UsageError("Missing argument 'FILE'.", click.get_current_context())
    from landscape.measures.table_store import MEASURES
    from landscape.storage import kind_of, require_writable

    if output is not None:
        require_writable(output, _SUFFIXES)
    options = {name: value for name, value in given_in(given).items() if (name, value) != ("device", DEVICE)}
    if len(files) > 1:
        _compared(files, options, output, as_json)
    elif kind_of(files[0]) == MEASURES.format:
        _stored(files[0], options, output, as_json)
    else:
        _measured(files[0], options, output, as_json)


def _list(as_json: bool) -> None:
    from landscape.measures import SYMMETRIES, OverOptions, measures, step_measures
    from landscape.measures.measure_lines import measure_lines

    known = {**measures(), **step_measures()}
    entries = {
        one.name: {
            "title": one.title,
            "formula": one.formula,
            "unit": one.unit.format(loss="the unit of the loss"),
            "source": one.source,
            "invariant_claimed": list(one.invariant),
            "settings": dict(one.settings),
            "options": describe_options(one.options),
            "misleads": one.misleads,
            "of_step": one.of_step,
        }
        for one in known.values()
    }
    common = describe_options(OverOptions)
    say(
        {"measures": entries, "options": common, "symmetries": dict(SYMMETRIES)},
        measure_lines(known),
        as_json,
    )


def _stored(file: str, options: Mapping[str, Any], output: str | None, as_json: bool) -> None:
    """Print and draw what a file of measures holds."""
    from landscape.measures.table_store import read_table

    if any(value is not False for value in options.values()):
        named = {"settings": "--setting", "problem_options": "--set"}
        refused = ", ".join(named.get(name, spelled(name)) for name in options if options[name] is not False)
        raise LandscapeError(
            f"{refused} cannot change measures that are taken", where=file, mend="give the trajectory instead"
        )
    _tell(file, read_table(file), {}, output, as_json, {})


def _measured(file: str, options: Mapping[str, Any], output: str | None, as_json: bool) -> None:
    from landscape.storage import require_writable

    wanted = _wanted(options, output, "pass --at all")
    of = "" if wanted.split == "train" else f"-{wanted.split}"
    save = options.get("save") or (None if len(wanted.at) == 1 else f"{Path(file).stem}{of}-measures.h5")
    if save is not None:
        require_writable(save, _TABLE_SUFFIXES)
    taken: dict[int, dict[str, Any]] = {}
    began = time.monotonic()
    try:
        table = _taken(file, wanted, options, save, taken)
    except KeyboardInterrupt:
        single = taken if len(wanted.at) == 1 else {}
        raise Interrupted(_interrupted(file, save, single, as_json)) from None
    more = {"table": save, "seconds": time.monotonic() - began}
    _tell(file, table, taken, output, as_json, more)


def _compared(files: tuple[str, ...], options: Mapping[str, Any], output: str | None, as_json: bool) -> None:
    """Measure a snapshot of each of several runs with the same draws; draw their profiles over each other."""
    from landscape.plots.measure_words import measured_lines

    for file in files:
        if not Path(file).exists():
            raise LandscapeError("no such file", where=file, mend="name measures with --measures")
    wanted = _wanted(options, output, f"use landscape plot {shlex.join(files)} --kind measure")
    if len(wanted.at) != 1 or "save" in options:
        raise LandscapeError(
            "several files are measured at one snapshot each, and not kept",
            where="landscape measure",
            mend="leave --at all and --save out, or give one file",
        )
    stems = [Path(file).stem for file in files]
    names = stems if len(set(stems)) == len(stems) else list(files)
    documents, tables = {}, []
    for name, file in zip(names, files, strict=True):
        taken: dict[int, dict[str, Any]] = {}
        try:
            tables.append(_taken(file, wanted, options, None, taken))
        except KeyboardInterrupt:
            raise Interrupted("nothing is kept of several files") from None
        documents[name] = _single_document(file, int(tables[-1].steps[0]), _completed(tables[-1], taken))
    if output is not None:
        _draw_profiles(documents, tables, output)
    lines = [line for document in documents.values() for line in measured_lines(document)]
    if output is not None:
        lines.append(f"  drawn in {output}")
    say({"files": list(documents.values()), "picture": output}, lines, as_json)


def _wanted(options: Mapping[str, Any], output: str | None, along: str) -> Any:
    """Return the measures wanted; for a picture of one snapshot with settings that give profiles.

    Args:
        options: What was given.
        output: The picture.
        along: How measures along training are drawn.
    """
    from landscape.measures import profile_settings

    own = {name: options[name] for name in fields_of(Along) if name in options}
    wanted = taken(Along, {"at": "last", "measures": _DEFAULT} | own)
    if len(wanted.at) == 1 and output is not None:
        profiled = profile_settings(wanted.measures, wanted.settings)
        if not profiled:
            raise LandscapeError(
                "a picture shows measures along training, and this is one snapshot",
                where="-o",
                mend=f"{along}, or draw profiles: --measures local_energy,local_entropy",
            )
        return replace(wanted, settings={**wanted.settings, **profiled})
    return wanted


def _taken(
    file: str, wanted: Any, options: Mapping[str, Any], save: str | None, taken: dict[int, dict[str, Any]]
) -> Any:
    """The table of what is wanted of a trajectory; what is measured now goes into `taken` at once."""
    from landscape.measures.run_table import measures_along
    from landscape.plots.objectives import objective_of
    from landscape.trajectory import open_trajectory

    run = open_trajectory(file)
    for step in wanted.at:
        run.index_of(step)
    objective = objective_of(run, **told_in(dict(options)), device=options.get("device", DEVICE))

    def keep(step: int, found: Any) -> None:
        taken.setdefault(step, {})[found.name] = found

    with progress_bar(f"measures of {run.problem}", "value") as update:
        return measures_along(run, objective, wanted, save=save, progress=update, keep=keep, trial=True)


def _interrupted(file: str, save: str | None, taken: Mapping[int, Mapping[str, Any]], as_json: bool) -> str:
    """Print what was taken of a single snapshot, and say what is kept and how to go on."""
    for step, found in taken.items():
        _print_single(_single_document(file, step, found) | {"interrupted": True}, as_json)
    if save is not None:
        return what_is_kept(save, f"the measures taken are kept in {save}; run the same command to go on")
    names = ", ".join(name for found in taken.values() for name in found)
    if names:
        return f"{names}: taken and printed; run again with --measures for the others, or with --save"
    return "nothing was taken yet; with --save what is taken is kept"


def _single_document(file: str, step: int, taken: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: found if isinstance(found, Mapping) else found.to_json() for name, found in taken.items()}
    return {"file": file, "step": step, "measures": plain}


def _print_single(document: Mapping[str, Any], as_json: bool) -> None:
    from landscape.plots.measure_words import measured_lines

    say(document, measured_lines(document), as_json)


def _tell(
    file: str,
    table: Any,
    taken: Mapping[int, Mapping[str, Any]],
    output: str | None,
    as_json: bool,
    more: Mapping[str, Any],
) -> None:
    """Print a table, or the measures of one snapshot, and draw."""
    if len(table) == 1:
        document = _single_document(file, int(table.steps[0]), _completed(table, taken))
        if output is not None:
            _draw_profiles({Path(file).stem: document}, [table], output)
        more = {**more, "picture": output}
        _print_single(document | {"problem": table.meta.get("problem"), **more}, as_json)
        return
    if output is not None:
        from landscape import render

        name = str(table.meta.get("problem") or Path(file).stem)
        render.save(render.measures({name: table}), output)
    from landscape.plots.measure_words import table_document, table_lines

    document = {"file": file, **table_document(table), **more, "picture": output}
    say(document, table_lines(document), as_json)


def _draw_profiles(documents: Mapping[str, Mapping[str, Any]], tables: Sequence[Any], output: str) -> None:
    from landscape import render
    from landscape.measures import profiles_of

    found = {name: profiles_of(document["measures"]) for name, document in documents.items()}
    if not all(found.values()):
        raise LandscapeError(
            "there is no profile to draw: a file of measures keeps values, and a profile has several points",
            where="-o",
            mend="leave --save out, and give several sigmas or gammas",
        )
    first = tables[0]
    about = {
        "problem": ", ".join(dict.fromkeys(str(table.meta.get("problem") or "") for table in tables)),
        "step": int(first.steps[0]) if len({int(table.steps[0]) for table in tables}) == 1 else None,
        "splits": [first.meta["split"]],
        "dtype": first.meta.get("dtype"),
    }
    render.save(render.profiles(found, about=render.caption(about)), output)


def _completed(table: Any, taken: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The measures of one snapshot in the order asked for; those that a file held have no seconds and details."""
    own = taken.get(int(table.steps[0]), {})
    found: dict[str, Any] = {}
    for name, column in table.columns.items():
        if name in own:
            found[name] = own[name]
            continue
        error = float(column.standard_errors[0])
        found[name] = {
            "name": name,
            "value": float(column.values[0]),
            "standard_error": error if error == error else None,
            "converged": bool(column.converged[0]),
            **{key: value for key, value in column.about.items() if key != "title"},
            "seconds": None,
            "details": {},
            "notes": [],
        }
    return found
