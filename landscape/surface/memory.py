"""How much memory there is, and how much a forward pass takes."""

from __future__ import annotations

import os
import re
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from landscape.errors import LandscapeError
from landscape.objective import Evaluator

# Without being asked, a quarter of what is free: other work goes on beside this.
SHARE = 0.25
_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
# A process grows by more than its tensors: kernels take scratch memory, and the allocator keeps and scatters what
# is freed, in an arena for each thread. With ResNets it grew by up to 2.6 times the tensors, and by some 20 MB for
# the code of the kernels.
_SCATTER = 3.0
KERNELS = 20_000_000


def parse_memory(text: str | int) -> int:
    """A size such as ``4GB`` or ``500 MiB`` in bytes.

    Raises:
        LandscapeError: If it is none.

    Example:
        >>> parse_memory("1.5 GB")
        1500000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", str(text).lower())
    if match is None or float(match[1]) <= 0:
        raise LandscapeError("not a size of memory", where="memory", got=text, mend="write it like 4GB or 500MB")
    return int(float(match[1]) * _UNITS[match[2] or ""])


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


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {
            leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
        }
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._meet(leaf.untyped_storage(), before)
        return result

    def _meet(self, storage: torch.UntypedStorage, before: set[int]) -> None:
        key = storage._cdata
        if key in before or key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def bytes_per_example(evaluator: Evaluator, metrics: tuple[str, ...]) -> int:
    """The memory that one example of a micro-batch takes at the peak of a forward pass.

    Args:
        evaluator: Measures; its micro-batch is left as it was.
        metrics: What is measured.

    Returns:
        Bytes, with what kernels and the allocator take for themselves.
    """
    size = evaluator.tuning.batch_size
    split = evaluator.splits[0]
    peaks = []
    for examples in (2, 6):
        evaluator.cut(examples)
        with _LiveBytes() as counted:
            evaluator.run([split], metrics, batches=1)
        peaks.append(counted.peak)
    evaluator.cut(size)
    return max(1, int(_SCATTER * (peaks[1] - peaks[0]) / 4))
