"""Any value of this package in a file: arrays in a .npz archive, beside them what they are, as JSON."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.storage import atomic_path

_TREE = "value"
_OURS = "landscape."


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
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _put_together(json.loads(str(arrays[_TREE])), arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise LandscapeError("the value cannot be read", where=path, got=error) from error


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
