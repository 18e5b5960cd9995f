"""Any value of this package in a file: arrays in a .npz archive, beside them what they are, as JSON."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.storage import array_types, atomic_path, damage, is_archive_of, parse_json, read_arrays, read_text

FORMAT = "archive of values"
_TREE = "value"
_OURS = "landscape."
# Bytes of a description that are looked into: those of long runs are some 100 KB.
_MOST_TREE = 2**22


def save_value(value: Any, path: Path) -> None:
    """Write a value: arrays, numbers, texts, and dataclasses, tuples, lists and dictionaries of them.

    Args:
        value: The value.
        path: Ends in ``.npz``; whole or not there at all.
    """
    arrays: dict[str, NDArray[Any]] = {}
    tree = _taken_apart(value, arrays)
    arrays[_TREE] = np.array(json.dumps(tree))
    with atomic_path(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_value(path: Path) -> Any:
    """Read what `save_value` wrote; only dataclasses of this package are made.

    Raises:
        LandscapeError: If the file is not such an archive.
    """
    what = "the value cannot be read"
    arrays = read_arrays(path, what)
    with damage(path, what):
        try:
            return _put_together(json.loads(str(arrays[_TREE])), arrays)
        except ImportError as error:
            raise ValueError(str(error)) from error


def holds_values(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is one of `save_value`."""
    return is_archive_of(path, _TREE)


def describe_archive(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe the contents of an archive, as plain values for `landscape inspect`; no array is read.

    Args:
        path: The file.

    Returns:
        format, values (name -> the class of a value of this package, or the kind of another), arrays (how many),
        numbers (in all of them).

    Raises:
        LandscapeError: If it is damaged.
    """
    path = Path(path)
    types, told = array_types(path), read_text(path, _TREE, _MOST_TREE)
    with damage(path):
        tree = {} if told is None else parse_json(told)[0]
        pairs = tree.get("pairs", []) if isinstance(tree, dict) else []
        values = {str(name): _class_of(part) for name, part in pairs}
    shapes = [shape for name, (_, shape) in types.items() if name != _TREE]
    return {
        "format": FORMAT,
        "values": values,
        "arrays": len(shapes),
        "numbers": sum(math.prod(shape) for shape in shapes),
    }


def _class_of(tree: Any) -> str:
    if not isinstance(tree, dict):
        return type(tree).__name__
    kind = next((key for key in ("class", "array", "tuple") if key in tree), "dictionary")
    return str(tree["class"]).rpartition(":")[2] if kind == "class" else kind


def _taken_apart(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[name := str(len(arrays))] = value
        return {"array": name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        entries = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        return {"class": kind, "fields": {name: _taken_apart(entry, arrays) for name, entry in entries.items()}}
    if isinstance(value, tuple):
        return {"tuple": [_taken_apart(entry, arrays) for entry in value]}
    if isinstance(value, list):
        return [_taken_apart(entry, arrays) for entry in value]
    if isinstance(value, Mapping):
        return {"pairs": [[_taken_apart(part, arrays) for part in pair] for pair in value.items()]}
    return value.item() if isinstance(value, np.generic) else value


def _put_together(tree: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(tree, list):
        return [_put_together(entry, arrays) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "tuple" in tree:
        return tuple(_put_together(entry, arrays) for entry in tree["tuple"])
    if "pairs" in tree:
        return {_put_together(key, arrays): _put_together(entry, arrays) for key, entry in tree["pairs"]}
    module, _, name = tree["class"].partition(":")
    if not module.startswith(_OURS):
        raise ValueError(tree["class"])
    made: Any = getattr(importlib.import_module(module), name)
    if not dataclasses.is_dataclass(made):
        raise ValueError(tree["class"])
    make: Callable[..., Any] = made  # type: ignore[assignment]
    return make(**{field: _put_together(entry, arrays) for field, entry in tree["fields"].items()})
