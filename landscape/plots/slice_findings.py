"""Findings of repeats and subsets, for the report of `landscape plot`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def findings(surface: Any) -> dict[str, Any]:
    """The statistics of repeats, and the standard error that a subset costs, as plain values.

    Args:
        surface: A slice.

    Returns:
        ``repeats`` (see `summarise_repeats`) where there are some; ``examples`` (used and available by split)
        and, where not all are used, ``subset_error`` by field.
    """
    from landscape.values.repeats import subset_error, summarise_repeats

    found: dict[str, Any] = {"examples": surface.meta.get("examples")}
    if surface.repeat is not None:
        found["repeats"] = summarise_repeats(surface)
    if _cut(surface.meta.get("examples")):
        found["subset_error"] = {field: subset_error(surface, field) for field in surface.fields}
    found["units"] = surface.meta.get("units") or {}
    return found


def _cut(examples: Any) -> list[str]:
    """The splits of which only a part was used."""
    counts = examples if isinstance(examples, Mapping) else {}
    return [
        split for split, n in counts.items() if isinstance(n, Mapping) and n.get("used", 0) < n.get("available", 0)
    ]


def finding_lines(document: Mapping[str, Any]) -> list[str]:
    """The same in a few lines for a person."""
    return [*_repeat_lines(document), *_subset_lines(document)]


def _repeat_lines(document: Mapping[str, Any]) -> list[str]:
    spread = document.get("repeats")
    if not spread:
        return []
    what = "lines" if document["kind"] == "curve" else "planes"
    seeds = spread["seeds"]
    said = [f"  {spread['repeats']} random {what}, direction seeds {seeds[0]} to {seeds[-1]}"]
    for field, found in spread["fields"].items():
        # Of errors, which are steps, curvature and asymmetry say little; they are in the JSON document.
        if field.partition("_")[2] != "error":
            said += [f"  {field:<12} {words}" for words in _field_words(found, _unit(document, field))]
    return said


def _field_words(found: Mapping[str, Any], unit: str) -> list[str]:
    bent, lopsided = found["curvature"], found["asymmetry"]
    known = found["directions"] - bent["unknown"]
    said, more = [], []
    if known:
        doubts = [f"{bent[why]} {why}" for why in ("undecided", "unknown") if bent[why]]
        said.append(
            f"curvature at the centre positive along {bent['positive']} of {known} directions"
            + (f" ({', '.join(doubts)})" if doubts else "")
            + f"; median {bent['median']:.3g}, 10-90 % {bent['low']:.3g} to {bent['high']:.3g}{unit} per unit^2"
        )
    if lopsided["lines"]:
        more.append(f"median |asymmetry| {lopsided['median']:.2g}")
    if math.isfinite(found["widest_band"]):
        more.append(f"10-90 % band up to {found['widest_band']:.2g} times the median")
    return said + (["; ".join(more)] if more else [])


def _unit(document: Mapping[str, Any], field: str) -> str:
    unit = document["units"].get(field.partition("_")[2])
    return f" {unit}" if unit else ""


def _subset_lines(document: Mapping[str, Any]) -> list[str]:
    errors = document.get("subset_error") or {}
    lines = []
    for split in _cut(document.get("examples")):
        counts = document["examples"][split]
        said = []
        for field, error in errors.items():
            own, _, metric = field.partition("_")
            # Where no example of the subset is wrong, its error says nothing about the others.
            if own == split and (metric == "loss" or (metric == "error" and error > 0)):
                said.append(f"{_amount(error, metric, _unit(document, field))} on the {metric}")
        lines.append(
            f"  subset of {counts['used']:,} of {counts['available']:,} {split} examples: {', '.join(said)}"
        )
    return lines


def _amount(error: float, metric: str, unit: str) -> str:
    if not math.isfinite(error):
        return "an unknown error"
    return f"± {100 * error:.2g} %" if metric == "error" else f"± {error:.2g}{unit}"
