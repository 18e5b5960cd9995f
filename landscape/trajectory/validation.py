"""Validation of a recorder's arguments."""

from __future__ import annotations

import datetime
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.storage import FAULTS, versions
from landscape.trajectory.schema import Header

_RESERVED = {
    *("format", "schema", "problem", "problem_args", "seed", "run_id", "created_utc", "versions", "training"),
    *("finished", "n_valid", "parent_run_id", "parent_step", "perturbation", "recording", "optimizer", "part"),
}


# What is a table of settings, and empty where nothing is said.
_TABLES = ("problem_args", "training")


def plain_name(name: str, what: str) -> str:
    """A name that is one step of a path in the file."""
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise LandscapeError(f"not a name for a {what}", got=repr(name), expected="one without '/'")
    return name


def checked_extra(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a user's own: none that the recorder writes, none that HDF5 cannot store."""
    taken = sorted(_RESERVED & attrs.keys())
    if taken:
        raise LandscapeError(
            "these attributes are written by the recorder", where="extra_attrs", got=", ".join(taken)
        )
    with h5py.File(io.BytesIO(), "w") as trial:
        for name, value in attrs.items():
            try:
                trial.attrs[name] = value
            except FAULTS as error:
                raise LandscapeError(
                    "cannot be stored as an attribute",
                    where=f"extra_attrs[{name!r}]",
                    got=type(value).__name__,
                    expected="a short text, a number, a truth value or a small array of numbers",
                ) from error
    return dict(attrs)


def described(
    attrs: Mapping[str, Any], settings: Mapping[str, Any], extra: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the attributes of a new run: plain ones, and those that are stored as JSON.

    Args:
        attrs: Name -> text or number; what is None is left out.
        settings: Name -> plain JSON value; what is None is left out.
        extra: Attributes of a user's own.
    """
    attrs = {**attrs, **checked_extra(extra or {})}
    known = {name: np.int64(v) if type(v) is int else v for name, v in attrs.items() if v is not None}
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    told = {name: dict(value or {}) if name in _TABLES else value for name, value in settings.items()}
    told = {name: value for name, value in told.items() if value is not None}
    return {**known, "created_utc": created}, {**told, "versions": versions()}


def require_active(active: bool, path: Path) -> None:
    """Refuse to read a state in a process that does not record."""
    if not active:
        mend = "load it in rank 0 and send it to the others"
        raise LandscapeError("only rank 0 has the state", where=path, mend=mend)


def require_growth(path: Path, step: int, least: int | None) -> None:
    """Refuse a step that is not larger than the one before."""
    if least is not None and step <= least:
        raise LandscapeError(
            "steps must grow from snapshot to snapshot", where=path, got=step, expected=f"more than {least}"
        )


def require_same_layout(header: Header, layout: Layout) -> None:
    """The run's tensors are the model's: names, shapes, element types."""
    ours = {info.name: info for info in layout}
    for info in header.layout:
        where = header.path
        if info.name not in ours:
            raise LandscapeError(f"tensor '{info.name}' of the run is not in the model", where=where)
        mine = ours.pop(info.name)
        if (mine.shape, mine.dtype) != (info.shape, info.dtype):
            raise LandscapeError(
                f"tensor '{info.name}' of the run differs from the model's",
                where=where,
                got=f"{mine.dtype} {mine.shape}",
                expected=f"{info.dtype} {info.shape}",
            )
    if ours:
        raise LandscapeError(f"tensor '{next(iter(ours))}' of the model is not in the run", where=header.path)


def require_same_recording(header: Header, asked: Mapping[str, Any]) -> None:
    """Refuse other values of every, keep and dtype than the run was recorded with; the rest is taken from it."""
    for name, value in asked.items():
        if name != "stride" and header.recording.get(name) != value:
            raise LandscapeError(
                f"the run was recorded with another {name}",
                where=header.path,
                got=f"{name}={value!r}",
                expected=f"{name}={header.recording.get(name)!r}",
            )
