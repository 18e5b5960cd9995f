"""Wait policy of threads: spinning on idle cores, sleeping on shared ones."""

from __future__ import annotations

import os
import time
from pathlib import Path

# Linux says here, in fourth place, how many threads want a core at this moment, and how many there are.
_RUNNING = Path("/proc/loadavg")
_LOOKS, _PAUSE = 3, 0.001


def wait_for_others() -> None:
    """Let OpenMP's threads sleep while they wait if other processes keep half of the cores busy.

    Curvature of a small ResNet takes 1.5 to 1.9 times as long on two idle cores where threads sleep; but threads
    that wait by spinning take eight times as long where another process shares their cores.
    """
    others = min(_others(look) for look in range(_LOOKS))
    if others >= (os.cpu_count() or 1) / 2:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _others(look: int) -> int:
    """Return how many threads of other processes want a core; 0 if the system does not say."""
    if look:
        time.sleep(_PAUSE)
    try:
        return int(_RUNNING.read_text().split()[3].partition("/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return 0
