"""The machine and the versions that a measurement was made on and with."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from pathlib import Path

import torch

from benchmarks.limit import cores

# The extensions that decide how fast products of matrices are.
_EXTENSIONS = (
    "sse4_2",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "sve",
    "bf16",
)
_PACKAGES = ("torch", "torchvision", "numpy", "loss-landscapes", "landscaper", "loss-landscape-3d")


def describe() -> dict[str, str]:
    """Name -> words, for the head of a report."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": f"{cores()}; threads of torch unless said otherwise: {torch.get_num_threads()}",
        "caches": _caches() or "unknown",
        "instruction sets": ", ".join(_extensions()) or "unknown",
        "used by torch": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpuinfo(key: str) -> str:
    """The first value of a key of Linux's list of processors; empty elsewhere."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return ""
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _extensions() -> list[str]:
    known = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [name for name in _EXTENSIONS if name in known]


def _caches() -> str:
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found)
