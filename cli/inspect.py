"""`landscape inspect`: what is in a file, without importing torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from .command import subcommand
from .shared import json_option, say

# More names than these would not fit into a line.
_BRANCHES = 6


@subcommand(
    epilog="Example: landscape inspect checkpoints/digits-mlp.h5",
    help="Say what is in FILE, a trajectory, a surface or measures: problem, snapshots, tensors, metrics.",
)
@click.argument("file")
@click.option("--verify", is_flag=True, help="Read all of it and compare it with its digests.")
@json_option
def command(file: str, verify: bool, as_json: bool) -> None:
    """Print a summary."""
    from landscape.storage import carries_digests, kind_of, steadily

    describe = {"landscape/surface": _surface, "landscape/measures": _measures}.get(kind_of(file), _trajectory)
    document = describe(file)
    document["digests"] = carries_digests(file)
    if verify:
        document["verified"] = steadily(file, lambda: _verified(file, document))
    say(document, [*_lines(file, document), *_intact(document)], as_json)


def _verified(file: str, document: dict[str, Any]) -> dict[str, Any]:
    """Compare a whole file with its digests; reading it has compared all but the directions of a surface."""
    if document["format"] == "landscape/surface":
        from landscape.surface.directions import verify_directions

        verify_directions(file)
    if document["format"] != "landscape/trajectory":
        return {"digests": document["digests"]}
    from landscape.trajectory.verification import verify_trajectory

    return asdict(verify_trajectory(file))


def _intact(document: dict[str, Any]) -> list[str]:
    """Return the line about digests: verified, or missing."""
    without = "no digests, as an older version wrote it: damage may go unnoticed"
    lines = [] if document["digests"] else [f"  note        {without}"]
    if "verified" in document:
        found = document["verified"]
        what = f"all {found['snapshots']} snapshots" if "snapshots" in found else "all values"
        lines.append(f"  verified    {what} {'are what was written' if found['digests'] else 'can be read'}")
    return lines


def _trajectory(file: str) -> dict[str, Any]:
    from landscape.trajectory import summary

    return summary(file).to_json()


def _surface(file: str) -> dict[str, Any]:
    from landscape.surface.summary import describe_surface

    return describe_surface(file)


def _measures(file: str) -> dict[str, Any]:
    from landscape.measures.table_summary import describe_table

    return describe_table(file)


def _lines(file: str, document: dict[str, Any]) -> list[str]:
    if document["format"] == "landscape/surface":
        return _surface_lines(file, document)
    if document["format"] == "landscape/measures":
        return _measure_lines(file, document)
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
    """How parameters are stored, where that is not as they are."""
    if not storage["rounded"]:
        return []
    error = f"relative rounding error at most {_number(storage['rounding'])}"
    return [f"  stored as   {', '.join(storage['types'])}, {error}"]


def _recording(recording: dict[str, Any]) -> list[str]:
    """How snapshots were chosen, where not all that were offered are there."""
    every = [f"every {recording['every']} steps"] if "every" in recording else []
    if "keep" in recording:
        stride = recording.get("stride", 1)
        every.append(f"at most {recording['keep']} kept" + (f", one in {stride} of them" if stride > 1 else ""))
    return [f"  recorded    {', '.join(every)}"] if every else []


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
