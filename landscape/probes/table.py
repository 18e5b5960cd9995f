"""Values as tables of numbers, for other programs: HDF5, JSON or CSV. No torch."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from landscape.files.checked import mapping, numbers
from landscape.storage import (
    atomic_path,
    create,
    damage,
    integer_attr,
    open_read,
    read_lines,
    require_seal,
    require_writable,
    seal,
    write_attrs,
    write_json_attr,
    write_lines,
)
from landscape.values.probes import Barriers, Interpolation, Perturbation, Retraining

SUFFIXES = (".h5", ".hdf5", ".json", ".csv")
Columns: TypeAlias = dict[str, list[Any]]
FORMAT = "landscape/table"
# 2 carries digests.
_SCHEMA = 2


def save_table(
    columns: Mapping[str, Sequence[Any]], path: str | os.PathLike[str], meta: Mapping[str, Any]
) -> Path:
    """Write columns of equal length: a dataset each (HDF5), lists by name (JSON), or rows with a header (CSV).

    Args:
        columns: Name -> numbers or texts.
        path: Its suffix says the format: ``.h5``, ``.json`` or ``.csv``.
        meta: What the table is, as plain JSON values; a CSV has no place for it.

    Returns:
        The path.

    Raises:
        LandscapeError: If the suffix is another, or the file cannot be written.
    """
    path = Path(path)
    require_writable(path, SUFFIXES)
    suffix = path.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        with create(path) as file:
            write_attrs(file, {"format": FORMAT, "schema": _SCHEMA})
            write_json_attr(file, "meta", dict(meta))
            for name, values in columns.items():
                texts = any(isinstance(value, str) for value in values)
                if texts:
                    write_lines(file, name, [str(value) for value in values])
                else:
                    file.create_dataset(name, data=np.asarray(values, dtype=np.float64))
            seal(file)
        return path
    with atomic_path(path) as draft:
        if suffix == ".json":
            document = {"meta": dict(meta), **{name: list(map(_plain, v)) for name, v in columns.items()}}
            draft.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        else:
            with draft.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
    return path


def describe_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a table that `save_table` wrote as HDF5, as plain values for `landscape inspect`.

    Args:
        path: The file.

    Returns:
        format, schema, rows, columns (name -> smallest and largest finite number; empty for texts), meta.

    Raises:
        LandscapeError: If it cannot be read, or is damaged.
    """
    with open_read(path, format=FORMAT, schema=_SCHEMA) as file, damage(path):
        require_seal(file)
        schema, meta = integer_attr(file, "schema", default=1), mapping(file, "meta")
        columns = {name: _column(file, name) for name in file}
        rows = {len(dataset) for dataset in file.values()}
        if len(rows) > 1:
            raise ValueError("columns of several lengths")
    return {"format": FORMAT, "schema": schema, "rows": max(rows, default=0), "columns": columns, "meta": meta}


def _column(file: h5py.File, name: str) -> dict[str, float]:
    if file[name].dtype.kind != "f":
        read_lines(file, name)
        return {}
    values = numbers(file, name, "f", (None,))
    finite = values[np.isfinite(values)]
    return {"min": float(finite.min()), "max": float(finite.max())} if finite.size else {}


def _plain(value: Any) -> Any:
    """A number that JSON knows: what is infinite is a text, what is undefined null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def perturbation_columns(basins: Sequence[Perturbation]) -> Columns:
    """A row per snapshot: values without and under the largest noise, and radii, with 10 and 90 % quantiles."""
    rows: list[dict[str, Any]] = []
    for basin in basins:
        profile = basin.profile
        row: dict[str, Any] = {
            "step": basin.meta.get("step"),
            "epoch": basin.meta.get("epoch"),
            "norm": basin.norm,
        }
        row |= {"noise": profile.mode, "scale": float(profile.scales[-1])}
        row |= {"noise_distance": float(np.median(profile.sizes) * profile.scales[-1])}
        for field in profile.fields:
            row[field] = float(profile[field][0, 0])
            row |= _quantiles(f"{field}_noise", profile[field][:, -1])
        for name, radius in basin.radii.items():
            row |= _quantiles(f"radius_{name}", radius.radii)
            for way in ("forward", "backward"):
                if len(ways := getattr(radius, way)):
                    row |= _quantiles(f"radius_{name}_{way}", ways)
        rows.append({name: math.nan if value is None else value for name, value in row.items()})
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _quantiles(name: str, values: Any) -> dict[str, float]:
    # Quantiles between infinite values are not a number; those that are values themselves are.
    low, middle, high = (float(np.quantile(values, q, method="nearest")) for q in (0.1, 0.5, 0.9))
    return {f"{name}_median": middle, f"{name}_low": low, f"{name}_high": high}


def profile_columns(basin: Perturbation) -> Columns:
    """A row per scale of the noise: the mean over draws of every field, its standard error, and quantiles."""
    profile = basin.profile
    columns: Columns = {"scale": profile.scales.tolist()}
    for field in profile.fields:
        columns[f"{field}_mean"] = profile.mean(field).tolist()
        columns[f"{field}_standard_error"] = profile.standard_error(field).tolist()
        for name, q in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
            columns[f"{field}_{name}"] = np.quantile(profile[field], q, axis=0).tolist()
    return columns


def interpolation_columns(curves: Sequence[Interpolation]) -> Columns:
    """A row per point of every path."""
    columns: Columns = {"path": [], "bn": [], "t": []}
    columns |= {field: [] for field in curves[0].fields}
    for curve in curves:
        columns["path"] += [curve.path] * len(curve.t)
        columns["bn"] += [curve.bn] * len(curve.t)
        columns["t"] += curve.t.tolist()
        for field in curve.fields:
            columns[field] += curve[field].tolist()
    return columns


def barrier_columns(found: Barriers) -> Columns:
    """A row per pair of models."""
    names = list(found.names)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    columns: Columns = {"a": [names[i] for i, _ in pairs], "b": [names[j] for _, j in pairs]}
    columns["distance"] = [float(found.distance[pair]) for pair in pairs]
    return columns | {f"barrier_{name}": [float(found[name][pair]) for pair in pairs] for name in found.fields}


def retraining_columns(found: Retraining) -> Columns:
    """A row per branch and epoch, then one per pair and epoch: what is measured of one is NaN in the other."""
    epochs = len(found.epochs)
    singles = [*range(len(found.names))]
    pairs = [tuple(pair) for pair in found.pairs.tolist()]
    columns: Columns = {
        "branch": [name for name in found.names for _ in range(epochs)],
        "with": [""] * (len(singles) * epochs),
        "start": [int(step) for step in found.starts for _ in range(epochs)],
        "noise": [noise for noise in found.noises for _ in range(epochs)],
        "noise_distance": [float(kick) for kick in found.kicks for _ in range(epochs)],
        "epoch": found.epochs.tolist() * len(singles),
        "distance": found.moved.ravel().tolist(),
    }
    for i, j in pairs:
        columns["branch"] += [found.names[i]] * epochs
        columns["with"] += [found.names[j]] * epochs
        columns["start"] += [int(found.starts[i])] * epochs
        columns["noise"] += [found.noises[j] or found.noises[i]] * epochs
        columns["noise_distance"] += [float(found.kicks[j])] * epochs
        columns["epoch"] += found.epochs.tolist()
    columns["distance"] += found.between.ravel().tolist()
    nothing = [math.nan] * epochs
    for field, values in found.fields.items():
        middles = found.midpoints.get(field)
        columns[field] = values.ravel().tolist()
        columns[field] += nothing * len(pairs) if middles is None else middles.ravel().tolist()
    return columns
