"""Amount of free memory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

# Without being asked, a quarter of what is free: other work goes on beside this.
SHARE = 0.25
# The code of the kernels that a process loads, for each stream.
KERNELS = 20_000_000


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device, within the limits of the process's control group."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_meminfo(), _control_group()]
    known = [limit for limit in limits if limit is not None]
    # Where the system does not say what is free, half of what is built in.
    return min(known) if known else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None


def _control_group() -> int | None:
    folder = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int((folder / limit).read_text()) - int((folder / used).read_text()))
        except (OSError, ValueError):
            continue
    return None
