"""Layout of a trajectory file, and its header. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.layout import Layout, PartInfo, TensorInfo
from landscape.storage import (
    PathLike,
    damage,
    has_seal,
    integer_attr,
    open_read,
    read_attr,
    read_json_attr,
    read_lines,
)
from landscape.trajectory.digests import ROOMS, require_rows, require_sound
from landscape.trajectory.steps import OPTIMIZER, read_settings, require_datasets

FORMAT = "landscape/trajectory"
# The newest that can be read: 4 has optimizer steps beside the snapshots, and is written where they are recorded;
# otherwise 3 is, which carries digests and has texts of fixed length. Before that it was 2 where parameters are
# stored rounded, otherwise 1.
SCHEMA = 4
WITHOUT_STEPS = 3

# What a chunk holds at most, in elements (4 MiB of float32): large enough to stream, small enough to cut a row.
CHUNK = 2**20

# Element types that NumPy does not know are stored as unsigned integers of the same width.
CARRIERS = {
    "bfloat16": "uint16",
    "float8_e4m3fn": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2": "uint8",
    "float8_e5m2fnuz": "uint8",
}

# What parameters may be rounded to for storage, and the element types that are wider than those.
ROUNDED = ("float16", "bfloat16")
_WIDE = ("float32", "float64")

# More than any model has: what is read of each takes time and memory.
_MOST_TENSORS = 100_000


@dataclass(frozen=True)
class Place:
    """Where the elements of a tensor are in every snapshot.

    Attributes:
        group: The dataset, relative to the run: ``"weights/float32"``.
        offset: The first column.
    """

    group: str
    offset: int


@dataclass(frozen=True)
class Part:
    """One file of a run whose tensors are spread over files.

    Attributes:
        header: Of the file.
        rows: Snapshot of the run -> its row there.
    """

    header: Header
    rows: list[int]


class Metrics(dict[str, NDArray[np.float64]]):
    """Name -> values of a metric, shape (T,), NaN where it was not given; a wrong name says which there are."""

    def __missing__(self, name: str) -> NDArray[np.float64]:
        mend = did_you_mean(name, self) if self else "the run has no metrics"
        raise LandscapeError(f"no metric is named '{name}'", mend=mend)


@dataclass(frozen=True)
class Branch:
    """A run that starts from a snapshot of this one.

    Attributes:
        name: Its name in the file.
        snapshots: How many it has.
        parent_step: The step it starts from, or None where that is not known.
    """

    name: str
    snapshots: int
    parent_step: int | None


@dataclass(frozen=True)
class Header:
    """Everything in a run but its weights.

    Attributes:
        path: The file.
        prefix: The group of the run in the file: ``"/"``, or ``"/branches/<name>"``.
        layout: Its tensors.
        places: Name of every tensor -> where its elements are.
        problem: The name of the recipe that built the objective.
        problem_args: The arguments of that recipe, name -> plain JSON value.
        seed: The seed of the run, or None.
        run_id: 32 hexadecimal digits, different for every run.
        created_utc: When it was begun, ISO 8601.
        training: The settings of the optimizer and the loop.
        versions: Of the packages that made it.
        finished: Whether training came to its end.
        parent: ``parent_run_id``, ``parent_step`` and ``perturbation``, of a branch.
        steps: Shape (T,), optimizer updates.
        epochs: Shape (T,), NaN where not given.
        seconds: Shape (T,), training time, NaN where not given.
        metrics: Name -> shape (T,).
        rounding: Shape (T,), |w - round(w)| / |w| over all parameters w, 0 where they are stored as they are.
        recording: How it was thinned and stored: ``every``, ``keep``, ``stride``, ``dtype``, where they were set.
        branches: The runs that start from this one.
        schema: The oldest schema that describes it.
        digests: Whether it carries digests; runs of schema 1 and 2 do not.
        optimizer: What the optimizer is and what is recorded of its steps (see `steps`); empty where nothing is.
        settings: Shape (T, ...), the numbers of the step after each snapshot, NaN where none is known.
        part: ``rank`` and ``of``, where the file is that of one process of several; empty otherwise.
        parts: The files of a run that is spread over several.
    """

    path: Path
    prefix: str
    layout: Layout
    places: Mapping[str, Place]
    problem: str
    problem_args: dict[str, Any]
    seed: int | None
    run_id: str
    created_utc: str
    training: dict[str, Any]
    versions: Mapping[str, str]
    finished: bool
    parent: Mapping[str, Any]
    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]
    seconds: NDArray[np.float64]
    metrics: Metrics
    rounding: NDArray[np.float64]
    recording: dict[str, Any]
    branches: tuple[Branch, ...]
    schema: int
    digests: bool
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    settings: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    part: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()


def stored_type(info: TensorInfo, storage: str | None) -> str:
    """The element type in the file: that of the tensor, but of a wider parameter `storage`, if given."""
    return storage if storage and info.kind == "parameter" and info.dtype in _WIDE else info.dtype


def allocate(layout: Layout, storage: str | None = None) -> dict[str, Place]:
    """Where each tensor goes: one dataset per kind and stored type, tensors side by side in manifest order."""
    ends: dict[str, int] = {}
    places: dict[str, Place] = {}
    for info in layout:
        if info.tied_to is not None:
            continue
        group = f"{'weights' if info.kind == 'parameter' else 'buffers'}/{stored_type(info, storage)}"
        places[info.name] = Place(group, ends.get(group, 0))
        ends[group] = places[info.name].offset + info.numel
    return places | {info.name: places[info.tied_to] for info in layout if info.tied_to is not None}


def groups_of(layout: Layout, storage: str | None = None) -> dict[str, list[TensorInfo]]:
    """Dataset -> the tensors in it, in order of their columns."""
    places = allocate(layout, storage)
    groups: dict[str, list[TensorInfo]] = {}
    for info in layout:
        if info.tied_to is None:
            groups.setdefault(places[info.name].group, []).append(info)
    return groups


def chunk_width(columns: int) -> int:
    """The width of equal chunks of at most `CHUNK` elements: an odd last one could double the file."""
    return math.ceil(columns / math.ceil(columns / CHUNK)) if columns else 1


def manifest(layout: Layout, storage: str | None = None) -> list[str]:
    """One JSON object per tensor, its own element type and its place included."""
    places = allocate(layout, storage)
    return [json.dumps({**asdict(info), **asdict(places[info.name])}, sort_keys=True) for info in layout.tensors]


def read_header(file: h5py.File, path: Path, prefix: str = "/") -> Header:
    """Read the header of a run.

    Args:
        file: The open file.
        path: Where it is.
        prefix: The group of the run.

    Raises:
        LandscapeError: If something is missing from it or cannot be read.
    """
    with damage(path):
        return _header(file[prefix], path, prefix)


def load_header(path: PathLike, prefix: str = "/") -> Header:
    """Open a file and read the header of a run.

    Raises:
        LandscapeError: If it cannot be opened or read.
    """
    with open_read(path, format=FORMAT, schema=SCHEMA) as file:
        return read_header(file, Path(path), prefix)


def _header(group: h5py.Group, path: Path, prefix: str) -> Header:
    require_sound(group)
    lines = read_lines(group, "manifest")
    if len(lines) > _MOST_TENSORS:
        raise ValueError(f"more than {_MOST_TENSORS:,} tensors in /manifest")
    entries = [json.loads(line) for line in lines]
    layout = Layout.from_json(lines)
    places = {entry["name"]: Place(entry["group"], entry["offset"]) for entry in entries}
    schema = integer_attr(group, "schema", default=1)
    _require_sound(group, layout, places, schema)
    count, attrs = count_of(group), group.attrs
    if not has_seal(group):
        _require_written(group, [*datasets_of(places), *(f"steps/{name}" for name in group["steps"])], count)
    steps = {name: _column(item, count, _step_type(name)) for name, item in group["steps"].items()}
    metrics = Metrics({name: _column(item, count) for name, item in group["metrics"].items()})
    require_rows(group, steps, metrics)
    optimizer = _mapping(group, OPTIMIZER)
    require_datasets(group, layout, optimizer, CARRIERS)
    return Header(
        path=path,
        prefix=prefix,
        layout=layout,
        places=places,
        problem=_text(group, "problem"),
        problem_args=_mapping(group, "problem_args"),
        seed=integer_attr(group, "seed") if "seed" in attrs else None,
        run_id=_text(group, "run_id"),
        created_utc=_text(group, "created_utc"),
        training=_mapping(group, "training"),
        versions=_mapping(group, "versions"),
        finished=_truth(group, "finished"),
        parent=_parent(group),
        steps=steps["step"],
        epochs=steps["epoch"],
        seconds=steps["seconds"],
        metrics=metrics,
        rounding=steps.get("rounding", np.zeros(count)),
        recording=_recording(group),
        branches=tuple(_branch(name, item) for name, item in group.get("branches", {}).items()),
        schema=schema,
        digests=has_seal(group),
        optimizer=optimizer,
        settings=read_settings(group, count),
        part=_mapping(group, "part"),
    )


def count_of(group: h5py.Group) -> int:
    """The number of snapshots that count: those that all datasets of a run have."""
    datasets = [dataset for room in ROOMS for dataset in group.get(room, {}).values()]
    stated = integer_attr(group, "n_valid")
    count = max(0, min(stated, *(len(dataset) for dataset in datasets)))
    if count != stated and has_seal(group):
        raise ValueError("a dataset has lost snapshots")
    return count


def _require_sound(group: h5py.Group, layout: Layout, places: Mapping[str, Place], schema: int) -> None:
    """Every tensor is described by sensible values, and has its place in a dataset of a type it may have there."""
    if len(places) != len(layout):
        raise ValueError("two tensors of one name in /manifest")
    owners = {info.name: info for info in layout}
    datasets = {name: group[name] for name in datasets_of(places)}
    for info in layout:
        place = places[info.name]
        dataset = datasets[place.group]
        stored = place.group.split("/")[-1]
        whole = (*info.shape, info.filter_axis, info.filter_groups, place.offset)
        if isinstance(info, PartInfo):
            whole = (*whole, *info.shape_of_whole, *info.axis_of_whole, info.rows - 1, info.start)
        if (
            not all(type(number) is int and number >= 0 for number in whole)
            or not all(type(text) is str for text in (info.name, info.dtype))
            or info.kind not in ("parameter", "buffer")
            or (info.tied_to is not None and info.tied_to not in places)
            or info.filter_axis >= max(1, len(info.shape))
            or info.filter_groups < 1
            or place.group.count("/") != 1
            or stored not in _types_allowed(owners[info.tied_to or info.name], info.dtype, schema)
            or dataset.ndim != 2
            or dataset.dtype != CARRIERS.get(stored, stored)
            or place.offset + info.numel > dataset.shape[1]
        ):
            raise ValueError(f"tensor {info.name!r} in /manifest")


def datasets_of(places: Mapping[str, Place]) -> list[str]:
    """Names of all datasets that tensors are in, each once, in the order of the tensors."""
    return list(dict.fromkeys(place.group for place in places.values()))


def _require_written(group: h5py.Group, names: Iterable[str], count: int) -> None:
    """Chunks that are missing from an index read as zeros; a run with digests notices by those."""
    for name in names:
        dataset = group[name]
        rows, *columns = dataset.chunks
        wanted = -(-count // rows) * math.prod(
            -(-n // width) for n, width in zip(dataset.shape[1:], columns, strict=True)
        )
        if dataset.id.get_num_chunks() < wanted:
            raise ValueError(f"snapshots that were never written in /{name}")


def _types_allowed(owner: TensorInfo, dtype: str, schema: int) -> set[str]:
    """Return the types that a tensor may be stored as; a tied one is stored as the tensor it is a name of."""
    rounded = ROUNDED if schema > 1 else ()
    return {dtype, *(stored_type(owner, storage) for storage in rounded)}


def _recording(group: h5py.Group) -> dict[str, Any]:
    found = _mapping(group, "recording")
    numbers = [found[name] for name in ("every", "keep", "stride") if name in found]
    if not all(type(number) is int and number > 0 for number in numbers):
        raise TypeError("attribute 'recording' has a number that is not one")
    if found.get("dtype") not in (None, *ROUNDED):
        raise TypeError("attribute 'recording' has an unknown element type")
    return found


def _text(group: h5py.Group, name: str) -> str:
    value = read_attr(group, name)
    if not isinstance(value, str):
        raise TypeError(f"attribute '{name}' is not text")
    return value


def _truth(group: h5py.Group, name: str) -> bool:
    value = read_attr(group, name)
    if not isinstance(value, np.bool_):
        raise TypeError(f"attribute '{name}' is not a truth value")
    return bool(value)


def _mapping(group: h5py.Group, name: str) -> dict[str, Any]:
    value = read_json_attr(group, name, {})
    if not isinstance(value, dict):
        raise TypeError(f"attribute '{name}' is not a JSON object")
    return value


def _step_type(name: str) -> str:
    return "int64" if name == "step" else "float64"


def _column(dataset: h5py.Dataset, count: int, dtype: str = "float64") -> NDArray[Any]:
    if dataset.ndim != 1 or dataset.dtype != dtype:
        raise TypeError(f"{dataset.name} is not a column of {dtype}")
    values = dataset[:count]
    values.flags.writeable = False
    return values


def _parent(group: h5py.Group) -> dict[str, Any]:
    if "parent_run_id" not in group.attrs:
        return {}
    return {
        "parent_run_id": _text(group, "parent_run_id"),
        "parent_step": integer_attr(group, "parent_step") if "parent_step" in group.attrs else None,
        "perturbation": read_json_attr(group, "perturbation"),
    }


def _branch(name: str, group: h5py.Group) -> Branch:
    require_sound(group)
    return Branch(name, count_of(group), _parent(group).get("parent_step"))
