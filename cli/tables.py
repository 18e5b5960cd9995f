"""Measures in lines for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

# Where explanations of a list are broken.
_WIDTH = 100


def listing_lines(entries: Mapping[str, Any], symmetries: Mapping[str, str]) -> list[str]:
    """All measures with formula, source, invariances and settings."""
    lines = []
    for name, entry in entries.items():
        lines += [f"{name}: {entry['title']}"]
        lines += _told("formula", entry["formula"])
        lines += _told("source", entry["source"])
        lines += _told("invariant", ", ".join(entry["invariant_claimed"]) or "to nothing")
        if entry["settings"]:
            lines += _told("settings", ", ".join(f"{key}={value}" for key, value in entry["settings"].items()))
        if entry["misleads"]:
            lines += _told("misleads", entry["misleads"])
        lines.append("")
    lines.append("What a measure can be invariant to:")
    for name, words in symmetries.items():
        lines += _told(name, words, 17)
    return lines


def _told(word: str, text: str, indent: int = 10) -> list[str]:
    first, rest = f"  {word:<{indent}} ", " " * (indent + 3)
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False)


def measured_lines(document: Mapping[str, Any]) -> list[str]:
    """The measures of one snapshot."""
    found = document["measures"].values()
    split = next((one["settings"].get("split") for one in found), None) or "training"
    words = {"train": "training"}.get(split, split)
    head = f"{document['file']}: measures at step {document['step']}, {words} data"
    wide = max((len(one["name"]) for one in found), default=0)
    values = {one["name"]: _value(one["value"], one["standard_error"], one["converged"]) for one in found}
    room = max(map(len, values.values()), default=0)
    unit = max((len(one["unit"]) for one in found), default=0)
    lines = [head, f"  {'measure':<{wide}}  {'value':<{room}}  {'unit':<{unit}}  invariant to"]
    for one in found:
        claims = ", ".join(one["invariant_claimed"]) or "nothing"
        lines.append(f"  {one['name']:<{wide}}  {values[one['name']]:<{room}}  {one['unit']:<{unit}}  {claims}")
        if note := one["details"].get("note"):
            lines.append(f"    {note}")
    return lines


def _value(value: float, error: float | None, converged: bool) -> str:
    if value != value:
        return "undefined" if converged else "not converged"
    return f"{value:.6g}" + (f" ± {error:.2g}" if error is not None else "") + ("" if converged else " (rough)")


def table_document(table: Any) -> dict[str, Any]:
    """Measures along training as plain values."""
    from landscape.sharpness.table_summary import describe

    document = describe(table)
    told = document.pop("measures")
    columns = {
        name: {
            **told[name],
            **dict(column.about),
            "values": column.values.tolist(),
            "standard_errors": column.standard_errors.tolist(),
            "converged": column.converged.tolist(),
            "taken": column.done.tolist(),
        }
        for name, column in table.columns.items()
    }
    return {**document, "steps": table.steps.tolist(), "epochs": table.epochs.tolist(), "measures": columns}


def table_lines(document: Mapping[str, Any]) -> list[str]:
    """Measures along training: of each the first, the smallest, the largest and the last."""
    steps = document["steps"]
    problem = document["problem"] or "(own code)"
    lines = [
        f"{document['file']}: measures of {problem} at {len(steps)} steps from {steps[0]} to {steps[-1]}, "
        f"{document['taken']} of {document['size']} taken"
    ]
    wide = max(map(len, document["measures"]))
    lines.append(f"  {'measure':<{wide}}  {'first':>10} {'min':>10} {'max':>10} {'last':>10}  unit")
    for name, one in document["measures"].items():
        shown = [_number(value) for value in (one["values"][0], one["min"], one["max"], one["last"])]
        lines.append(f"  {name:<{wide}}  {' '.join(f'{text:>10}' for text in shown)}  {one['unit']}")
        if one["not_converged"]:
            lines.append(f"    not converged at {one['not_converged']} steps")
    lines += _edge(document)
    for key, words in (("table", "kept in"), ("picture", "drawn in")):
        if document.get(key):
            lines.append(f"  {words} {document[key]}")
    return lines


def _edge(document: Mapping[str, Any]) -> list[str]:
    """Where the run stands against the threshold of gradient descent, if it has one."""
    edge = document["meta"].get("threshold") or {}
    column = document["measures"].get(edge.get("measure"))
    if column is None or column["last"] is None:
        return []
    ratio = column["last"] / edge["value"]
    return [
        f"  edge of stability: {edge['words']} = {edge['value']:.5g}; the last value is {ratio:.2f} times that"
    ]


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.5g}"
