"""The numbers of a study as tables of text, so that they can be compared and redrawn without its runs."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape.storage import atomic_path
from landscape.values.correlations import Correlated, Row


def save_tables(found: Correlated, stem: str | os.PathLike[str]) -> list[Path]:
    """Write ``STEM-networks.csv`` and ``STEM-correlations.csv``; the same study gives the same bytes.

    Args:
        found: What a study found.
        stem: Where, without suffix.

    Returns:
        The two files. Of a network: what it is, what training left, every measure with its standard error where
        it is an estimate, and why it does not count or has no value. Of a measure: its correlations and
        agreements.

    Example:
        >>> save_tables(run(load("study.toml")).found, "study")  # doctest: +SKIP
        [PosixPath('study-networks.csv'), PosixPath('study-correlations.csv')]
    """
    tables = {"networks": _networks(found), "correlations": _correlations(found)}
    return [_write(Path(f"{os.fspath(stem)}-{name}.csv"), rows) for name, rows in tables.items()]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    held = io.StringIO()
    writer = csv.DictWriter(held, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    with atomic_path(path) as draft:
        draft.write_text(held.getvalue(), encoding="utf-8")
    return path


def _text(value: Any) -> str:
    """A number in the digits that a reader can compare: more would tell machines apart."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.7g}"
    return "" if value is None else str(value)


def _networks(found: Correlated) -> list[dict[str, Any]]:
    nets = found.nets
    # Of exact measures no errors are told.
    estimated = {name for name, errors in nets.standard_errors.items() if not all(map(math.isnan, errors))}
    rows = []
    for place, name in enumerate(nets.names):
        row: dict[str, Any] = {"name": name}
        row |= {key: values[place] for key, values in nets.settings.items()}
        row |= {key: float(values[place]) for key, values in nets.results.items()}
        for measure, values in nets.measures.items():
            row[measure] = float(values[place])
            if measure in estimated:
                row[f"{measure}_se"] = float(nets.standard_errors[measure][place])
        missing = [f"{measure}: {why[name]}" for measure, why in nets.missing.items() if name in why]
        rough = [f"{measure}: rough" for measure, which in nets.rough.items() if name in which]
        fault = nets.faults.get(name)
        row["notes"] = f"does not count: {fault}" if fault else "; ".join(missing + rough)
        rows.append(row)
    return rows


def _correlations(found: Correlated) -> list[dict[str, Any]]:
    return [_told(found, row) for row in found.rows]


def _told(found: Correlated, row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        "measure": row.name,
        "kind": "control" if row.control else "measure",
        "invariant": "" if row.control else "yes" if row.invariant else "no",
    }
    for target in found.targets:
        one = row.correlations[target]
        for name, value, (low, high) in (
            ("kendall", one.kendall, one.kendall_interval),
            ("spearman", one.spearman, one.spearman_interval),
        ):
            told |= {f"{target}_{name}": value, f"{target}_{name}_low": low, f"{target}_{name}_high": high}
        told[f"{target}_networks"] = one.count
    for axis, agreement in row.agreements.items():
        told |= {f"agreement_{axis}": agreement.value, f"pairs_{axis}": agreement.pairs}
    return told
