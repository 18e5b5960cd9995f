"""Commands on long trajectories, time and memory: ``python -m benchmarks.long_runs OLD NEW``.

OLD and NEW are two checkouts. A random walk of 9,010 parameters is recorded, and every command runs on it once
with either, in a process of its own with one thread. Memory is the largest resident size of that process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_COMMANDS = {
    "inspect": ["inspect", "run.h5"],
    "path": ["plot", "run.h5", "--kind", "path", "-o", "p.png"],
    "mds": ["plot", "run.h5", "--kind", "mds", "-o", "m.png"],
    "mds, metric": ["plot", "run.h5", "--kind", "mds", "--method", "metric", "-o", "m.png"],
}


def record(path: Path, snapshots: int) -> None:
    """Write a random walk of an MLP 64-120-10."""
    import torch
    from torch import nn

    from landscape.trajectory import Recorder

    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 120), nn.Tanh(), nn.Linear(120, 10))
    with Recorder(path, model) as recorder:
        for step in range(snapshots):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.01 * torch.randn_like(parameter))
            recorder.snapshot(step)


def timed(line: list[str], environment: Mapping[str, str], folder: str) -> tuple[float, float, float]:
    """Seconds of processor time and of the clock, and MB of memory."""
    began = time.perf_counter()
    nowhere = subprocess.DEVNULL
    child = subprocess.Popen(line, cwd=folder, env=dict(environment), stdout=nowhere, stderr=nowhere)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(line)}: exit status {child.returncode}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss / 1024


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.long_runs", description=main.__doc__)
    parser.add_argument("checkouts", type=Path, nargs="*")
    parser.add_argument("--snapshots", type=int, default=5000)
    parser.add_argument("--only", nargs="+", choices=list(_COMMANDS), default=list(_COMMANDS))
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.record is not None:
        record(given.record, given.snapshots)
        return
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a child's memory counts from that of its parent.
        line = [sys.executable, "-m", "benchmarks.long_runs", "--record", str(Path(folder) / "run.h5")]
        subprocess.run([*line, "--snapshots", str(given.snapshots)], check=True)
        print("| command | checkout | processor s | wall s | memory, MB |\n|---|---|---|---|---|")
        for name in given.only:
            for checkout in given.checkouts:
                environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
                line = [sys.executable, "-m", "landscape", *_COMMANDS[name]]
                processor, wall, memory = timed(line, environment, folder)
                print(f"| {name} | {checkout.name} | {processor:.1f} | {wall:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
