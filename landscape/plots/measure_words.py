"""Measures and audits as plain values and in lines for a person."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

# Relative difference from which a measurement is not what theory foresees.
_MARKED = 5e-3
# Reasons why layers refuse rescaling that one line holds.
_SHOWN = 3
# Of a profile: more are not read.
_ROWS = 10


def measured_lines(document: Mapping[str, Any]) -> list[str]:
    """The measures of one snapshot."""
    found = document["measures"].values()
    split = next((one["settings"].get("split") for one in found), None) or "training"
    words = {"train": "training"}.get(split, split)
    head = f"{document['file']}: measures at step {document['step']}, {words} data"
    wide = max((len(one["name"]) for one in found), default=0)
    values = {
        one["name"]: _value(one["value"], one["standard_error"], one["converged"], one.get("bound", ""))
        for one in found
    }
    room = max(map(len, values.values()), default=0)
    unit = max((len(one["unit"]) for one in found), default=0)
    lines = [head, f"  {'measure':<{wide}}  {'value':<{room}}  {'unit':<{unit}}  invariant to"]
    shared = (
        [note for note in _notes(found) if all(note in one.get("notes", ()) for one in found)]
        if len(found) > 1
        else []
    )
    for one in found:
        claims = ", ".join(one["invariant_claimed"]) or "nothing"
        lines.append(f"  {one['name']:<{wide}}  {values[one['name']]:<{room}}  {one['unit']:<{unit}}  {claims}")
        lines += [f"    {one['details'][key]}" for key in ("note", "derivatives") if key in one["details"]]
        lines += [f"    {note}" for note in one.get("notes", ()) if note not in shared]
        lines += _profile(one)
    lines += [f"  {note}" for note in shared]
    if document.get("picture"):
        lines.append(f"  drawn in {document['picture']}")
    return lines


def _notes(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(note for one in found for note in one.get("notes", ())))


def _profile(one: Mapping[str, Any]) -> list[str]:
    """A measure over one of its settings, if it was taken at several values of it: no more rows than are read."""
    from landscape.values.profile import profiles_of

    found = profiles_of({one["name"]: one})
    if not found:
        return []
    count = len(found[0])
    every = -(-count // _ROWS)
    # The last is there in any case.
    kept = range((count - 1) % every, count, every)
    rows = [[found[0].setting, *(f"{own.title} ({'%' if own.unit == '1' else own.unit})" for own in found)]]
    for at in kept:
        cells = []
        for own in found:
            scale = 100 if own.unit == "1" else 1
            value, error = scale * float(own.values[at]), scale * float(own.standard_errors[at])
            cells.append("-" if value != value else _rounded(value, error))
        rows.append([f"{found[0].at[at]:.4g}", *cells])
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ["  ".join(text.ljust(width) for text, width in zip(row, wide, strict=True)) for row in rows]
    lines = [f"    {line.rstrip()}" for line in padded]
    if every > 1:
        lines.append(f"    {len(kept)} of {count} values; --json has all")
    if any(own.values[at] != own.values[at] for own in found for at in kept):
        lines.append("    -: too few draws count, or chains have not converged")
    return lines


def _rounded(value: float, error: float) -> str:
    """A value to two digits of its standard error."""
    if not 0 < error < math.inf:
        return f"{value:.6g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}"


def _value(value: float, error: float | None, converged: bool, bound: str = "") -> str:
    if value != value:
        return "undefined" if converged else "not converged"
    doubts = [f"{bound} bound"] if bound else []
    doubts += [] if converged else ["rough"]
    return (
        f"{value:.6g}"
        + (f" ± {error:.2g}" if error is not None else "")
        + (f" ({', '.join(doubts)})" if doubts else "")
    )


def table_document(table: Any) -> dict[str, Any]:
    """Measures along training as plain values."""
    from landscape.measures.table_summary import describe
    from landscape.values.edge import verdict_of

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
    verdict = verdict_of(table)
    return {
        **document,
        "steps": table.steps.tolist(),
        "epochs": table.epochs.tolist(),
        "measures": columns,
        **({} if verdict is None else {"edge": {**asdict(verdict), "words": verdict.words}}),
    }


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
        if one.get("bound"):
            lines.append(f"    {one['bound']} bounds")
        if one["not_converged"]:
            lines.append(f"    not converged at {one['not_converged']} steps")
    lines += [f"  edge of stability: {document['edge']['words']}"] if "edge" in document else _edge(document)
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


def audit_lines(document: Mapping[str, Any]) -> list[str]:
    """An audit as a table: ratios to the value before, and what is to be made of them."""
    head, rows, notes = _audit_parts(document)
    drawn = [f"drawn in {document['picture']}"] if document.get("picture") else []
    return [head, *_columns(rows), *(f"  {note}" for note in (*notes, *drawn))]


def audit_markdown(document: Mapping[str, Any]) -> str:
    """The same in Markdown, to be quoted."""
    head, rows, notes = _audit_parts(document)
    rows.insert(1, ["---"] * len(rows[0]))
    table = ["| " + " | ".join(cell.replace("*", "\\*") for cell in row) + " |" for row in rows]
    return "\n".join([f"{head}.", "", *table, "", *(f"- {note}" for note in notes)]) + "\n"


def _audit_parts(document: Mapping[str, Any]) -> tuple[str, list[list[str]], list[str]]:
    """The subject of an audit, the rows of its table, and the lines below it."""
    step, problem = document.get("step"), document.get("problem") or "(own code)"
    head = (
        f"{document['file']}: audit of {problem} at step {step}, {document['split']} data, "
        f"{_examples(document)}, {document['dtype']}"
    )
    names = [element["name"] for element in document["elements"]]
    notes = []
    if not names:
        missing = "could be tried on" if document["symmetries"] else "was found in"
        notes.append(f"no symmetry {missing} this model: nothing says which of its measures mean anything")
    rows = [["measure", "value", *names, "verdict"]]
    rows += [
        [one["name"], _with_error(one), *(_ratio(cell, one["value"]) for cell in one["cells"]), _verdict(one)]
        for one in document["measures"]
    ]
    if names:
        notes.append(
            "numbers: the measure after to before; in brackets what theory foresees where it is another; "
            "± the standard error; * within 3 standard errors"
        )
    notes += _orbit(document)
    notes += _reasons(document["measures"])
    if bounds := [one["name"] for one in document["measures"] if one["bound"]]:
        notes.append(f"lower bounds, as ascents may end at lower maxima: {', '.join(bounds)}")
    notes += [f"left out: {one}" for one in document["untried"]]
    return head, rows, [*notes, *document["notes"], *_blocked(document["blocked"])]


def element_line(element: str, values: Mapping[str, float], before: Mapping[str, float]) -> str:
    """Say what measures are at one element of an orbit, while an audit goes on.

    Args:
        element: Its name; empty where the weights are as they were.
        values: Name of a measure -> its value there; NaN where it cannot be computed.
        before: The same of the weights as they were.

    Example:
        >>> element_line("rescaled", {"sam": 0.5, "trace": 3.0}, {"sam": 0.25, "trace": 3.0})
        'rescaled: sam x2, trace x1'
    """
    said = [
        f"{name} {_number(value)}" if not element else f"{name} x{value / before[name]:.4g}"
        for name, value in values.items()
        if math.isfinite(value) and before[name]
    ]
    return f"{element or 'as it is'}: {', '.join(said) or 'nothing could be computed'}"


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why measures were not tested or computed, once for all that have the same reason."""
    together: dict[tuple[str, str], list[str]] = {}
    for one in rows:
        if one["reason"]:
            together.setdefault((one["verdict"], one["reason"]), []).append(one["name"])
    return [f"{', '.join(names)} {verdict}: {reason}" for (verdict, reason), names in together.items()]


def comparison_lines(document: Mapping[str, Any]) -> list[str]:
    """Describe what the orderings of two minima are worth."""
    first, second = document["files"]
    lines = [f"A = {first}, B = {second}: does the ordering hold wherever symmetries take them?"]
    rows = [["measure", "A", "B", "", "verdict"]]
    for one in document["comparison"]:
        a, b = one["a"], one["b"]
        order = "" if one["verdict"] in ("tied", "undefined", "not tested") else "A < B" if a < b else "A > B"
        verdict = one["verdict"]
        if verdict == "reversed":
            verdict += f" by {one['element']} on {one['on'].upper()}: {_number(one['value'])}"
        errors = [_error_in(audit, one["name"]) for audit in document["audits"]]
        rows.append([one["name"], *map(_with_error_of, (a, b), errors), order, verdict])
    lines += _columns(rows)
    lowest = [audit["orbit_min_trace"] for audit in document["audits"]]
    if None not in lowest:
        lines.append(f"  the order of the smallest traces on both orbits: A {lowest[0]:.6g}, B {lowest[1]:.6g}")
    return lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under each other: the first and the last column to the left, the others to the right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        middle = [text.rjust(width) for text, width in zip(row[1:-1], wide[1:-1], strict=True)]
        lines.append("  " + "  ".join([row[0].ljust(wide[0]), *middle, row[-1]]))
    return lines


def _examples(document: Mapping[str, Any]) -> str:
    used, available = document["examples"], document["examples_available"]
    return f"{used} examples" if used == available else f"{used} of {available} examples"


def _with_error(one: Mapping[str, Any]) -> str:
    return _with_error_of(one["value"], one.get("standard_error"))


def _with_error_of(value: Any, error: Any) -> str:
    return _number(value) + (f" ± {error:.1g}" if error else "")


def _error_in(audit: Mapping[str, Any], name: str) -> Any:
    measures = audit.get("measures", ())
    return next((one.get("standard_error") for one in measures if one["name"] == name), None)


def _ratio(cell: Mapping[str, Any], before: Any) -> str:
    if cell["same"]:
        return "1" + ("*" if cell["same"] == "standard error" else "")
    ratio, foreseen = cell["ratio"], cell["predicted"]
    text = "-" if ratio is None or ratio != ratio else f"{ratio:.3g}"
    if text != "-" and cell.get("standard_error") and before:
        text += f" ± {cell['standard_error'] / abs(before):.1g}"
    # A prediction is of the same number; what differs by more than a picture shows is marked.
    if foreseen is not None and ratio and abs(cell["value"] - foreseen) > _MARKED * abs(foreseen):
        text += f" ({foreseen * ratio / cell['value']:.3g})"
    return text


def _verdict(one: Mapping[str, Any]) -> str:
    note = f" ({one['source']})" if one["source"] else ""
    return one["verdict"] + note + ("*" if one["within"] == "standard error" else "")


def _orbit(document: Mapping[str, Any]) -> list[str]:
    lines = []
    if document["orbit_min_trace"] is not None:
        lines.append(f"smallest Gauss-Newton trace on the orbit: {document['orbit_min_trace']:.6g}")
    if document["elements"]:
        lines.append(
            f"outputs changed by at most {document['max_output_change']:.2g}; rounding explains up to "
            f"{document['explained']:.2g}"
        )
    return lines


def _blocked(reasons: Sequence[str]) -> list[str]:
    if not reasons:
        return []
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return [f"blocked: {'; '.join(reasons[:_SHOWN])}{more}"]
