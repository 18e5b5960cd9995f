"""Datasets and attributes of an open file that must be what they are said to be. No torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import h5py
from numpy.typing import NDArray

from landscape.storage import read_json_attr

# A longer value says no more in a message.
_SHORT = 20


def numbers(file: h5py.File, name: str, kind: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A dataset that must have this kind of element and this shape, where None stands for any length.

    Args:
        file: The open file.
        name: Of the dataset.
        kind: NumPy's letter for the kind of its elements.
        shape: The length of each dimension.

    Raises:
        TypeError: If the elements or the number of dimensions are others.
        ValueError: If a length is another.
    """
    dataset = file[name]
    if dataset.dtype.kind != kind or len(dataset.shape) != len(shape):
        raise TypeError(f"dataset '{name}' is of another type")
    if any(wanted not in (None, found) for wanted, found in zip(shape, dataset.shape, strict=True)):
        raise ValueError(f"dataset '{name}' is of another shape")
    return dataset[...]


def mapping(file: h5py.File, name: str) -> dict[str, Any]:
    """An attribute that must hold a JSON object.

    Raises:
        TypeError: If it holds something else.
    """
    value = read_json_attr(file, name)
    if not isinstance(value, dict):
        raise TypeError(f"attribute '{name}' is not a JSON object")
    return value


def digest_of(file: h5py.File, names: Iterable[str]) -> str:
    """The SHA-256 of datasets: names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name in names:
        values = file[name][...]
        found.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        found.update(values.tobytes())
    return found.hexdigest()


def plain(value: Any) -> Any:
    """JSON has no NaN: a number that is not finite becomes its name.

    Example:
        >>> plain({"a": [1.0, float("nan")]})
        {'a': [1.0, 'nan']}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def as_read(identity: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping as JSON gives it back."""
    return dict(json.loads(json.dumps(dict(identity))))


def differences(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Describe how two identities differ; keys that only the file has count too.

    Args:
        held: The identity in the file.
        wanted: The one of now, as JSON gives it back.
    """
    return [
        f"{key} ({_short(held.get(key))} in the file, {_short(wanted.get(key))} now)"
        for key in {**wanted, **held}
        if held.get(key) != wanted.get(key)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHORT else text[:8] + "..."
