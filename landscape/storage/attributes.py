"""Attributes: texts of fixed length, plain values as JSON, and numbers that must be numbers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import h5py
import numpy as np

from landscape.errors import LandscapeError
from landscape.storage.plain_values import parse_json

Item: TypeAlias = h5py.Group | h5py.Dataset

# HDF5 holds at most 64 KiB in one attribute; a longer text goes on in "name:2", "name:3".
_PIECE = 2**15
_SURROGATES = re.compile("[\ud800-\udfff]")


def write_attr(item: Item, name: str, value: Any) -> None:
    """Store a text as UTF-8 of fixed length, or anything else as h5py does.

    HDF5 keeps a text of variable length in a heap, and a wrong byte there makes it loop for ever.
    """
    if not isinstance(value, str):
        item.attrs[name] = value
        return
    for key in _pieces(item, name):
        del item.attrs[key]
    data = value.encode()
    for place, start in enumerate(range(0, max(1, len(data)), _PIECE)):
        piece = data[start : start + _PIECE]
        fixed = h5py.string_dtype("utf-8", max(1, len(piece)))
        item.attrs.create(name if not place else f"{name}:{place + 1}", np.array(piece, fixed), dtype=fixed)


def write_attrs(item: Item, values: Mapping[str, Any]) -> None:
    """Store several attributes with `write_attr`."""
    for name, value in values.items():
        write_attr(item, name, value)


def _pieces(item: Item, name: str) -> list[str]:
    more = itertools.takewhile(lambda key: key in item.attrs, (f"{name}:{n}" for n in itertools.count(2)))
    return [name, *more] if name in item.attrs else []


def read_attr(item: Item, name: str) -> Any:
    """An attribute as h5py has it, a text as `str`, or None where there is none.

    Raises:
        Exception: One of `FAULTS` if it is damaged.
    """
    keys = _pieces(item, name)
    if not keys:
        return None
    kind = item.attrs.get_id(name).get_type()
    # HDF5 crashes the process at a text whose type is damaged; then it is no longer one of texts.
    if isinstance(kind, h5py.h5t.TypeVlenID):
        raise TypeError(f"attribute '{name}' is a list of lists")
    if not isinstance(kind, h5py.h5t.TypeStringID):
        return item.attrs[name]
    if kind.is_variable_str():
        require_old(item)
        value = item.attrs[name]
        # What is no UTF-8 comes as surrogates.
        if isinstance(value, str) and _SURROGATES.search(value):
            raise TypeError(f"attribute '{name}' is not text")
        return value
    values = [item.attrs[key] for key in keys]
    if not all(isinstance(value, bytes) for value in values):
        raise TypeError(f"attribute '{name}' is not one text")
    return b"".join(values).decode()


def is_old(file: h5py.File) -> bool:
    """Return whether a file has texts of variable length, as all files had before they carried digests."""
    if "format" not in file.attrs:
        return False
    kind = file.attrs.get_id("format").get_type()
    return isinstance(kind, h5py.h5t.TypeStringID) and bool(kind.is_variable_str())


def require_old(item: Item) -> None:
    """Check that a file may hold texts of variable length: one that does was examined when it was opened.

    Raises:
        TypeError: If it may not.
    """
    if not is_old(item.file):
        raise TypeError("a text of variable length where there is none")


def write_lines(group: h5py.Group, name: str, lines: list[str]) -> None:
    """Store texts as a dataset, each of the same fixed length."""
    data = [line.encode() for line in lines]
    fixed = h5py.string_dtype("utf-8", max([1, *map(len, data)]))
    group.create_dataset(name, data=np.array(data, dtype=fixed), dtype=fixed)


def read_lines(group: h5py.Group, name: str) -> list[str]:
    """The texts that `write_lines` stored, or those of an old file.

    Raises:
        TypeError: If it holds something else.
    """
    dataset = group[name]
    kind = dataset.id.get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID) or dataset.ndim != 1:
        raise TypeError(f"/{name} is not text")
    if kind.is_variable_str():
        require_old(group)
    return [line.decode() if isinstance(line, bytes) else line for line in dataset[()].tolist()]


def write_json_attr(item: Item, name: str, value: Any) -> None:
    """Store a plain value as JSON in an attribute.

    Raises:
        LandscapeError: If it is not made of dictionaries, lists, strings, numbers, booleans and None.
    """
    try:
        write_attr(item, name, json.dumps(value, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise LandscapeError(f"cannot be stored as JSON: {error}", where=name) from error


def read_json_attr(item: Item, name: str, default: Any = None) -> Any:
    """The value that `write_json_attr` stored, or the default where there is none."""
    text = read_attr(item, name)
    return default if text is None else parse_json(text)[0]


def integer_attr(item: Item, name: str, default: int | None = None) -> int:
    """An attribute that must be one whole number.

    Raises:
        LookupError: If there is none, and no default.
        TypeError: If it is something else.
    """
    value = read_attr(item, name)
    if value is None and default is not None:
        return default
    if value is None:
        raise LookupError(f"no attribute '{name}'")
    if not isinstance(value, np.integer):
        raise TypeError(f"attribute '{name}' is not a whole number")
    return int(value)
