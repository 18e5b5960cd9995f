"""List of measures in lines for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from landscape.measures.registry import SYMMETRIES, Measure, OverOptions
from landscape.options import allowed_words, default_words, fields_of

# Where explanations are broken.
_WIDTH = 100


def measure_lines(known: Mapping[str, Measure]) -> list[str]:
    """All measures with formula, source, invariances and settings."""
    lines = []
    for name, one in known.items():
        lines += [f"{name}: {one.title}"]
        lines += _told("formula", one.formula)
        lines += _told("source", one.source)
        lines += _told("invariant", ", ".join(one.invariant) or "to nothing")
        lines += _setting_lines(one.options)
        if one.misleads:
            lines += _told("misleads", one.misleads)
        lines.append("")
    lines.append("Settings of every measure of weights:")
    lines += _setting_lines(OverOptions)
    lines += ["", "What a measure can be invariant to:"]
    for name, words in SYMMETRIES.items():
        lines += _told(name, words, 17)
    return lines


def _setting_lines(options: type[Any]) -> list[str]:
    lines = []
    for key, field in fields_of(options).items():
        words = f"{key}={default_words(field)}: {field.metadata['help']} ({allowed_words(field)})"
        lines += _told("setting", words)
    return lines


def _told(word: str, text: str, indent: int = 10) -> list[str]:
    first, rest = f"  {word:<{indent}} ", " " * (indent + 3)
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False)
