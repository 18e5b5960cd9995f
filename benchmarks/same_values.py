"""Every value in a file as an entry of its own, and the differences between two such sets of entries."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# When something was made, how long it took, with what, and what these make of a file's size and digest.
IGNORED = frozenset(
    {"seconds", "work_seconds", "estimate", "created_utc", "seal", "versions", "version", "size", "sha256"}
)
PICTURES = frozenset({".png", ".svg", ".pdf", ".html"})
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\bnan\b|\binf\b")

Entries = dict[str, Any]


def entries_of(path: Path, home: Path) -> Entries:
    """All values in a file: name of the value -> number, text or array.

    Args:
        path: A JSON, HDF5, NumPy, CSV, safetensors, PyTorch or text file; of others only that they are there.
        home: A folder whose name is left out where it is said.
    """
    readers = {
        ".json": lambda: _of_json(json.loads(path.read_text()), ""),
        ".h5": lambda: _of_hdf5(path),
        ".npz": lambda: _of_npz(path),
        ".csv": lambda: _of_csv(path),
        ".safetensors": lambda: _of_safetensors(path),
        ".pt": lambda: _of_torch(path),
        ".md": lambda: ((f"number {place}", text) for place, text in enumerate(_numbers(path.read_text()))),
    }
    reader = readers.get(path.suffix)
    found = {} if reader is None else dict(reader())
    return {name: _without(value, home) for name, value in found.items() if not _is_ignored(name)}


def difference(old: Entries, new: Entries) -> str | None:
    """The first difference in words; None where all is equal. Of sentences the numbers count."""
    if gone := [name for name in old if name not in new]:
        return f"{gone[0]} is gone"
    if more := [name for name in new if name not in old]:
        return f"{more[0]} is new"
    for name, value in old.items():
        if said := _unequal(value, new[name]):
            return f"{name}: {said}"
    return None


def reworded(old: Entries, new: Entries) -> list[str]:
    """Names of the sentences that say the same numbers in other words."""
    return [
        name
        for name, value in old.items()
        if isinstance(value, str) and value != new.get(name) and isinstance(new.get(name), str)
    ]


def count(entries: Entries) -> int:
    """Count of numbers and texts."""
    return sum(value.size if isinstance(value, np.ndarray) else 1 for value in entries.values())


def _unequal(old: Any, new: Any) -> str | None:
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            return f"{old.dtype}{list(old.shape)} became {new.dtype}{list(new.shape)}"
        if old.tobytes() == new.tobytes():
            return None
        place = int(np.argmax(_bits(old) != _bits(new)))
        return f"entry {place}: {old.reshape(-1)[place]!r} became {new.reshape(-1)[place]!r}"
    if type(old) is not type(new):
        return f"{old!r} became {new!r}"
    if isinstance(old, str) and " " in old and " " in new:
        return None if _numbers(old) == _numbers(new) else f"'{old}' became '{new}'"
    if isinstance(old, float) and math.isnan(old) and math.isnan(new):
        return None
    # A negative zero is not zero here.
    return None if repr(old) == repr(new) else f"{old!r} became {new!r}"


def _bits(values: np.ndarray) -> np.ndarray:
    """Shape (n, bytes of an entry)."""
    return np.frombuffer(values.tobytes(), dtype=f"V{values.dtype.itemsize}")


def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(text)


def _is_ignored(name: str) -> bool:
    return not IGNORED.isdisjoint(re.split(r"[/.@]", name))


def _without(value: Any, home: Path) -> Any:
    return value.replace(str(home), ".") if isinstance(value, str) else value


def _of_json(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield f"{name}/keys", ",".join(sorted(set(map(str, value)) - IGNORED))
        for key, item in value.items():
            yield from _of_json(item, f"{name}/{key}")
    elif isinstance(value, list):
        yield f"{name}/length", len(value)
        for place, item in enumerate(value):
            yield from _of_json(item, f"{name}/{place}")
    else:
        yield name, value


def _of_text(text: str, name: str) -> Iterator[tuple[str, Any]]:
    """A string, or what it holds as JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    yield from _of_json(value, name)


def _of_hdf5(path: Path) -> Iterator[tuple[str, Any]]:
    with h5py.File(path, "r") as file:
        found: list[tuple[str, Any]] = [("", file)]
        file.visititems(lambda name, item: found.append((f"/{name}", item)))
        for name, item in found:
            for attribute, value in item.attrs.items():
                yield from _of_stored(value, f"{name}@{attribute}")
            if isinstance(item, h5py.Dataset):
                yield from _of_stored(item[()], name or "/")


def _of_stored(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bytes | str):
        yield from _of_text(value.decode() if isinstance(value, bytes) else value, name)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        yield f"{name}/length", value.size
        for place, item in enumerate(value.reshape(-1)):
            yield from _of_stored(item, f"{name}/{place}")
    elif isinstance(value, h5py.Reference | h5py.Empty):
        yield name, type(value).__name__
    else:
        array = np.asarray(value)
        # Axes of a surface refer to addresses in the file.
        if not array.dtype.hasobject:
            yield name, array


def _of_npz(path: Path) -> Iterator[tuple[str, Any]]:
    with np.load(path) as arrays:
        yield from arrays.items()


def _of_csv(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    yield "rows", len(rows)
    header = rows[0] if rows else []
    for number, row in enumerate(rows):
        for place, text in enumerate(row):
            yield f"{header[place] if place < len(header) else place}/{number}", text


def _of_safetensors(path: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        yield from _of_json(file.metadata() or {}, "metadata")
        for name in file.keys():  # noqa: SIM118
            yield from _of_tensor(file.get_tensor(name), name)


def _of_torch(path: Path) -> Iterator[tuple[str, Any]]:
    import torch

    for name, value in torch.load(path, weights_only=True).items():
        yield from _of_tensor(value, str(name))


def _of_tensor(tensor: Any, name: str) -> Iterator[tuple[str, Any]]:
    import torch

    yield f"{name}/dtype", str(tensor.dtype)
    yield f"{name}/shape", str(list(tensor.shape))
    yield name, tensor.contiguous().reshape(-1).view(torch.uint8).numpy() if tensor.numel() else np.empty(0)
