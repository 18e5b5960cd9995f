"""Families of runs: one table of a recipe that stands for many, with numbers in their names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

# What `{stage=2..12}` and, in what the table says, `{stage-1}` look like.
_RANGE = re.compile(r"\{(\w+)=(\d+)\.\.(\d+)\}")
_NUMBER = re.compile(r"\{(\w+)([+-]\d+)?\}")


def members(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the runs that a table stands for: itself, if its name has no range.

    Ranges in the name count upwards, the last the fastest, and their numbers stand where a text of the table
    names them. The seed of a trained member is that of the table plus its place among the members.

    Args:
        name: The name, such as ``"stage {s=2..12}, run {r=1..4}"``.
        table: What it says, such as ``{"branch": {"of": "stage {s-1}, run 1"}}``.

    Example:
        >>> [name for name, _ in members("stage {s=1..2}, run {r=1..2}", {})]
        ['stage 1, run 1', 'stage 1, run 2', 'stage 2, run 1', 'stage 2, run 2']
        >>> dict(members("b{n=2..3}", {"branch": {"of": "a{n-1}"}}))["b3"]
        {'branch': {'of': 'a2', 'seed': 1}}
    """
    ranges = _RANGE.findall(name)
    if not ranges:
        yield name, dict(table)
        return
    counts = [range(int(low), int(high) + 1) for _, low, high in ranges]
    bare = _RANGE.sub(r"{\1}", name)
    for place, numbers in enumerate(itertools.product(*counts)):
        known = {letter: number for (letter, _, _), number in zip(ranges, numbers, strict=True)}
        own = _filled(dict(table), known)
        # A derived run that is trained says so in a table of its own.
        trained = own["branch"] if isinstance(own.get("branch"), dict) else own
        if not {"file", "import", "transform"} & own.keys() and isinstance(trained.get("seed", 0), int):
            trained["seed"] = trained.get("seed", 0) + place
        yield str(_filled(bare, known)), own


def _filled(value: Any, known: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, known) for inner in value]
    if not isinstance(value, str):
        return value
    return _NUMBER.sub(
        lambda found: str(known[found[1]] + int(found[2] or 0)) if found[1] in known else found[0], value
    )
