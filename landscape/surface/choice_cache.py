"""Choices of engines that were made before: kept on the objective, and on disk for commands to come."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.structure import structure_of
from landscape.storage import atomic_path, versions
from landscape.surface.engine import Choice, parse_settings, plain_choice, require_engine, settings_of
from landscape.surface.task import Task

# The folder, where it is to be another than that of the system; empty keeps nothing on disk.
VARIABLE = "LANDSCAPE_CACHE"
# Files of a few hundred bytes; those that were not used for longest are removed.
_MOST_FILES = 1000
# The name of the processor stands within the first of these bytes.
_HEAD = 2048


@dataclass(frozen=True)
class Remembered:
    """A choice, and what is needed to trust it again.

    Attributes:
        choice: The engine and how it works.
        seconds: Its seconds per point and example.
        plain: Likewise of passes made as `Objective.value` makes them.
        per_example: Bytes that an example of a micro-batch takes.
        budget: The seconds that choosing was allowed.
        settled: Whether nothing was left out for want of time.
    """

    choice: Choice
    seconds: float
    plain: float
    per_example: int
    budget: float
    settled: bool


def key_of(task: Task, **asked: Any) -> str:
    """Key of all that a choice depends on, but for other work on the machine. Lines and planes share theirs.

    Args:
        task: What is measured; of the splits the first counts.
        asked: More of it, as plain JSON values.

    Returns:
        64 hexadecimal digits.
    """
    objective = task.objective
    said = {
        "machine": _machine(objective.device),
        "versions": versions(),
        **structure_of(objective.model, objective.loss),
        "tensors": [(info.name, info.shape, info.dtype, info.trainable) for info in objective.layout],
        "data": _shapes(objective, task.splits[0]),
        "task": (str(task.dtype), task.recalibrate, bool(task.derived)),
        **asked,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _machine(device: torch.device) -> list[str]:
    name = platform.machine()
    with suppress(OSError), Path("/proc/cpuinfo").open() as file:
        name = next((line for line in file.read(_HEAD).splitlines() if line.startswith("model name")), name)
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = f"{torch.get_num_threads()} threads on {usable_cores()} cores"
    return [name, torch.backends.cpu.get_cpu_capability(), threads, accelerator]


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shapes(objective: Objective, split: str) -> list[Any]:
    data = objective.data[split]
    few = data.first(2)
    return [data.count, few.count, [(str(tensor.dtype), list(tensor.shape)) for tensor in few.tensors()]]


def recall(objective: Objective, key: str) -> Remembered | None:
    """The choice that was kept under a key; None where there is none, or its file is damaged."""
    held: Remembered | None = objective.choices.get(key)
    path = _path(key)
    if held is not None or path is None:
        return held
    try:
        with suppress(OSError):
            # Used today.
            os.utime(path)
        return _read(objective, json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LandscapeError):
        return None


def remember(objective: Objective, key: str, found: Remembered) -> None:
    """Keep a choice; on disk only where that can be written."""
    objective.choices[key] = found
    path = _path(key)
    if path is None:
        return
    entries = {**found.__dict__, "choice": {"engine": found.choice.engine, **settings_of(found.choice)}}
    with suppress(LandscapeError, OSError):
        with atomic_path(path) as draft:
            draft.write_text(json.dumps(entries, indent=1))
        kept = sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime)
        for file in kept[: len(kept) - _MOST_FILES]:
            file.unlink(missing_ok=True)


def _read(objective: Objective, entries: Mapping[str, Any]) -> Remembered:
    given = {name: value for name, value in entries["choice"].items() if value is not None}
    engine = given.pop("engine")
    require_engine(engine)
    numbers = {name: float(entries[name]) for name in ("seconds", "plain", "budget")}
    if not all(math.isfinite(value) and value > 0 for value in numbers.values()):
        raise ValueError("seconds")
    choice = plain_choice(objective, engine).forced(parse_settings(given))
    return Remembered(choice, per_example=int(entries["per_example"]), settled=bool(entries["settled"]), **numbers)


def _path(key: str) -> Path | None:
    """Where the choice of a key is kept; None where nothing is to be."""
    folder = os.environ.get(VARIABLE)
    if folder == "":
        return None
    try:
        return Path(folder or _own_folder(), "engines", f"{key}.json")
    except RuntimeError:
        return None


def _own_folder() -> Path:
    """The folder that the system has for what may be deleted at any time.

    Raises:
        RuntimeError: If the user has no home.
    """
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home(), "landscape", "Cache")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "landscape"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "landscape")
