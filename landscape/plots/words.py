"""Words about models and previews that several reports say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Names in a line of a report; the JSON document has all.
_NAMED = 4
_BUFFERS = {
    "recomputed": "recomputed from the weights",
    "estimated": "re-estimated",
    "mixed": "mixed like weights",
    "kept": "kept",
}


def model_lines(told: Mapping[str, Any]) -> list[str]:
    """Lines about buffers beyond BatchNorm's, and other remarks on a model."""
    lines = []
    for word, names in told.get("buffers", {}).items():
        lines.append(f"  buffers {_BUFFERS[word]}: {names_in_line(names)}")
    return lines + [f"  note     {note}" for note in told.get("notes", ())]


def names_in_line(names: Sequence[str]) -> str:
    """Names with commas; of more than four the rest is counted."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def preview_line(report: Mapping[str, Any]) -> str:
    """Describe what a preview computed and how well it predicted the rest, or why all was computed."""
    if report["rough"]:
        return f"no preview, all computed: {report['reason']}"
    return (
        f"preview: {report['computed']} of {report['points']} points computed, the rest interpolated; "
        f"error on {report['kept_aside']} kept-aside points at most {100 * report['reported_error']:.2g} % "
        f"(asked for {100 * report['tolerance']:.2g} %)"
    )


def number(value: float, unit: str = "") -> str:
    """A number for a line of a report: infinite and undefined ones are said plainly."""
    if value != value:
        return "undefined"
    if value in (float("inf"), float("-inf")):
        return "infinite"
    return f"{value:.4g} {unit}".strip()
