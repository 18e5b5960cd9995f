"""Serial slices of W1 to W4 by this checkout and by another, in turns: the ratio of their processor times.

Run as ``python -m benchmarks.versions OTHER_CHECKOUT [--rounds N] [W1 ...]``, such as a git worktree of an older
commit. Each checkout has a process of its own, and they compute the same short slice alternately, which of them
first from round to round: what slows the machine for longer than a slice slows both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

# Points along each side of a slice, of about a second.
_SIDES = {"W1": 20, "W2": 2, "W3": 2, "W4": 2}
_CHILD = """
import sys, time, torch
import landscape as ls
from benchmarks.workloads import SPECS, build
torch.set_num_threads(1)
work = build(next(spec for spec in SPECS if spec.name == sys.argv[1]))
tune = {"batch_size": work.objective.batch_size, "threads": 1, "streams": 1, "rewrite": False}
grid = ls.grid(int(sys.argv[2]), dims=2)
for _ in sys.stdin:
    began = time.process_time()
    ls.evaluate(work.objective, work.plane, grid, engine="sequential", tune=tune)
    print("took", time.process_time() - began, flush=True)
"""


class Checkout:
    """A process with the code of a checkout, ready to compute slices of a workload."""

    def __init__(self, folder: Path, name: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "LANDSCAPE_CACHE": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, name, str(_SIDES[name])],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.seconds()

    def seconds(self) -> float:
        """Processor seconds of a point of one slice."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = next(line for line in self.process.stdout if line.startswith("took"))
        return float(line.split()[1])

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def main() -> None:
    """Print a line per workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("workloads", nargs="*", help="of W1 to W4; all by default")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    folders = (Path(__file__).parents[1], given.other.resolve())
    for name in given.workloads or _SIDES:
        sides = [Checkout(folder, name) for folder in folders]
        ratios = []
        for round_ in range(given.rounds):
            first = round_ % 2
            took = {place: sides[place].seconds() for place in (first, 1 - first)}
            ratios.append(took[0] / took[1])
        for side in sides:
            side.close()
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name}: ratio {middle:.3f}, half of {len(ratios)} rounds from {low:.3f} to {high:.3f}", flush=True)


if __name__ == "__main__":
    main()
