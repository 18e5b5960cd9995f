"""`landscape inspect`: what is in a file, without importing torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click

from landscape.errors import LandscapeWarning

from .command import subcommand
from .shared import json_option, say

# More names than these would not fit into a line.
_BRANCHES = 6
_NAMES = 4
# What decides the numbers of an unfinished result, as far as it fits into lines.
_MOST_SETTING = 60


@subcommand(
    epilog="Example: landscape inspect checkpoints/digits-mlp.h5",
    help="Say what is in FILE: a trajectory (problem, snapshots, tensors, metrics), a surface, measures, "
    "distances, a table of a probe, finished parts of an interrupted command, or a folder of results of recipes.",
)
@click.argument("file")
@click.option("--verify", is_flag=True, help="Read all of it and compare it with its digests.")
@json_option
def command(file: str, verify: bool, as_json: bool) -> None:
    """Print a summary."""
    from landscape.files.description import describe_file

    with warnings.catch_warnings():
        # It is in the summary.
        warnings.simplefilter("ignore", LandscapeWarning)
        document = describe_file(file, verify=verify)
    lines = [] if as_json else [*_LINES[document["format"]](file, document), *_intact(document)]
    say(document, lines, as_json)


def _intact(document: dict[str, Any]) -> list[str]:
    """Return the lines about digests: verified, or missing."""
    lines = [] if document["note"] is None else [f"  note        {document['note']}"]
    if "verified" in document:
        found = document["verified"]
        of = next((name for name in ("snapshots", "arrays", "files") if name in found), None)
        what = "all values" if of is None else f"all {found[of]} {of}"
        intact = "are what was written" if found["digests"] else "can be read; what has no digest is not verified"
        lines.append(f"  verified    {what} {intact}")
    return lines


def _run_lines(file: str, document: dict[str, Any]) -> list[str]:
    state = "finished" if document["finished"] else "not finished (go on with: landscape train ... --resume)"
    options = " ".join(f"{key}={value}" for key, value in document["problem_args"].items())
    steps = document["steps"]
    span = f", steps {steps[0]} to {steps[-1]}" if steps else ""
    lines = [
        f"{file}: trajectory, schema {document['schema']}",
        f"  problem     {document['problem'] or '(own code)'} {options}".rstrip(),
        f"  snapshots   {document['snapshots']}{span}",
        f"  parameters  {document['parameters']:,}",
        f"              {_counts(document['counts'])}",
        *_storage(document["storage"]),
        *_recording(document["recording"]),
        *_steps(document.get("optimizer")),
        f"  state       {state}",
    ]
    if document["branches"]:
        names = [branch["name"] for branch in document["branches"]]
        shown = ", ".join(names[:_BRANCHES]) + (", ..." if len(names) > _BRANCHES else "")
        lines.append(f"  branches    {len(names)}: {shown}")
    width = max([14, *map(len, document["metrics"])])
    lines.append("  metrics" + " " * width + "first       best       last")
    for name, numbers in document["metrics"].items():
        shown = " ".join(f"{_number(numbers[key]):>10}" for key in ("first", "best", "last"))
        lines.append(f"    {name:<{width}} {shown}")
    lines.append("  tensors")
    width = max((len(tensor["name"]) for tensor in document["tensors"]), default=0)
    for tensor in document["tensors"]:
        shape = "x".join(map(str, tensor["shape"])) or "scalar"
        tied = f"  (another name of {tensor['tied_to']})" if tensor["tied_to"] else ""
        lines.append(f"    {tensor['name']:<{width}}  {tensor['kind']:<9} {shape:<14} {tensor['dtype']}{tied}")
    return lines


def _counts(counts: dict[str, int]) -> str:
    moves = f"moves {counts['moving']} tensors ({counts['moving_numbers']:,} numbers)"
    return f"{moves}, frozen {counts['frozen']}, tied {counts['tied']}, buffers {counts['buffers']}"


def _storage(storage: dict[str, Any]) -> list[str]:
    """Describe how parameters were rounded for storage, if they were."""
    if not storage["rounded"]:
        return []
    error = f"relative rounding error at most {_number(storage['rounding'])}"
    return [f"  stored as   {', '.join(storage['types'])}, {error}"]


def _recording(recording: dict[str, Any]) -> list[str]:
    """Describe how snapshots were chosen, if some were left out."""
    every = [f"every {recording['every']} steps"] if "every" in recording else []
    if "keep" in recording:
        stride = recording.get("stride", 1)
        every.append(f"at most {recording['keep']} kept" + (f", one in {stride} of them" if stride > 1 else ""))
    return [f"  recorded    {', '.join(every)}"] if every else []


def _steps(optimizer: dict[str, Any] | None) -> list[str]:
    """Describe the optimizer steps beside snapshots, if there are some."""
    if optimizer is None:
        return []
    told = ", ".join(optimizer["record"]) + (f" as {optimizer['dtype']}" if optimizer["dtype"] else "")
    size = f"{optimizer['bytes'] / 1e6:.3g} MB each"
    return [f"  optimizer   {optimizer['name']}: {told} of {optimizer['steps']} steps, {size}"]


def _surface_lines(file: str, document: dict[str, Any]) -> list[str]:
    shape = " x ".join(map(str, document["shape"]))
    lines = [
        f"{file}: surface, schema {document['schema']}",
        f"  kind        {document['kind']} of {document['problem'] or '(own code)'} at step {document['step']}",
        f"  grid        {shape}, {document['computed']} of {document['points']} computed",
        *(f"  {name:<11} {_axis(axis)}" for name, axis in reversed(document["axes"].items())),
        *_repeats(document),
    ]
    if document["meta"].get("preview"):
        from landscape.plots.words import preview_line

        lines.append(f"  {preview_line(document['meta']['preview'])}")
    lines.append("  fields" + " " * 15 + "min        max   NaN   inf")
    for name, numbers in document["fields"].items():
        low, high = _number(numbers["min"]), _number(numbers["max"])
        lines.append(f"    {name:<14} {low:>10} {high:>10} {numbers['nan']:>5} {numbers['inf']:>5}")
    return lines


def _measure_lines(file: str, document: dict[str, Any]) -> list[str]:
    steps, meta = document["steps"], document["meta"]
    span = f" from {steps['first']} to {steps['last']}" if steps else ""
    state = "complete" if document["complete"] else "not complete (go on with the command that began it)"
    lines = [
        f"{file}: measures, schema {document['schema']}",
        f"  problem     {document['problem'] or '(own code)'}, {meta.get('split')} data",
        f"  steps       {steps.get('count', 0)}{span}",
        f"  state       {document['taken']} of {document['size']} values taken, {state}",
        "  measures" + " " * 23 + "min        max       last",
    ]
    for name, one in document["measures"].items():
        shown = " ".join(f"{_number(one[key]):>10}" for key in ("min", "max", "last"))
        lines.append(f"    {name:<27} {shown}  {one['unit']}")
    return lines


def _distance_lines(file: str, document: dict[str, Any]) -> list[str]:
    finished = f"not complete: {len(document['done'])} parameters are in (go on with the command that began it)"
    return [
        f"{file}: distances, schema {document['schema']}",
        f"  snapshots   {document['snapshots']}",
        f"  layers      {_names(document['layers'])}",
        f"  of          {'weights' if document['representative'] == 'none' else document['representative']}",
        f"  state       {'complete' if document['complete'] else finished}",
    ]


def _cell_lines(file: str, document: dict[str, Any]) -> list[str]:
    settings = {name: _short(value) for name, value in document["of"].items()}
    width = max([11, *map(len, settings)])
    return [
        f"{file}: finished parts of a result, schema {document['schema']}",
        f"  {'parts':<{width}} {len(document['cells'])}: {_names(document['cells'])}",
        *([f"  {'under way':<{width}} {_names(list(document['states']))}"] if document["states"] else []),
        f"  {'state':<{width}} not complete (go on with the command that began it)",
        *(f"  {name:<{width}} {text}" for name, text in settings.items()),
    ]


def _table_lines(file: str, document: dict[str, Any]) -> list[str]:
    columns, meta = document["columns"], document["meta"]
    width = max([14, *map(len, columns)])
    lines = [
        f"{file}: table of a probe, schema {document['schema']}",
        f"  problem     {meta.get('problem') or '(own code)'}",
        f"  rows        {document['rows']}",
        "  columns" + " " * width + "min        max",
    ]
    for name, one in columns.items():
        shown = f"{_number(one['min']):>10} {_number(one['max']):>10}" if one else f"{'text':>10}"
        lines.append(f"    {name:<{width}} {shown}")
    return lines


def _archive_lines(file: str, document: dict[str, Any]) -> list[str]:
    return [
        f"{file}: values of a picture, {document['arrays']} arrays of {document['numbers']:,} numbers",
        *(f"  {name or '(all)':<11} {kind}" for name, kind in document["values"].items()),
    ]


def _cache_lines(file: str, document: dict[str, Any]) -> list[str]:
    return [
        f"{file}: results of recipes, {document['bytes'] / 1e6:,.1f} MB",
        *(f"  {kind:<11} {count} done" for kind, count in document["steps"].items()),
        *([f"  begun       {_names(document['begun'])}"] if document["begun"] else []),
    ]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (f", ... ({len(names)} in all)" if len(names) > _NAMES else "") or "none"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MOST_SETTING else f"{text[:_MOST_SETTING]}..."


def _axis(axis: dict[str, Any]) -> str:
    spacing = "evenly spaced" if axis["even"] else "not evenly spaced"
    return f"{axis['points']} from {_number(axis['low'])} to {_number(axis['high'])}, {spacing}"


def _repeats(document: dict[str, Any]) -> list[str]:
    spread = document.get("repeats")
    if spread is None:
        return []
    what = "lines" if len(document["axes"]) == 1 else "planes"
    lines = [f"  repeats     {spread['repeats']} random {what} of direction seeds {_seeds(spread['seeds'])}"]
    for name, found in spread["fields"].items():
        bent = found["curvature"]
        known = found["directions"] - bent["unknown"]
        lines.append(
            f"    {name:<14} curvature positive along {bent['positive']} of {known} directions, "
            f"negative along {bent['negative']}"
        )
    return lines


def _seeds(seeds: list[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


_LINES: dict[str, Callable[[str, dict[str, Any]], list[str]]] = {
    "landscape/trajectory": _run_lines,
    "landscape/surface": _surface_lines,
    "landscape/measures": _measure_lines,
    "landscape/distances": _distance_lines,
    "landscape/cells": _cell_lines,
    "landscape/table": _table_lines,
    "archive of values": _archive_lines,
    "cache of results": _cache_lines,
}
