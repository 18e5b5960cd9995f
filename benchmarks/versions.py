"""Serial slices of W1 to W4 by this checkout and by another, in turns: the ratio of their processor times.

Run as ``python -m benchmarks.versions OTHER_CHECKOUT [--rounds N] [W1 ...]``, such as a git worktree of an older
commit. Each slice is of a process of its own, which computes a short and a longer one: the difference counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

# Points along each side of the shorter and the longer slice.
_SIDES = {"W1": (5, 25), "W2": (2, 5), "W3": (2, 4), "W4": (2, 3)}
_CHILD = """
import sys, time, torch
import landscape as ls
from benchmarks.workloads import SPECS, build
torch.set_num_threads(1)
work = build(next(spec for spec in SPECS if spec.name == sys.argv[1]))
tune = {"batch_size": work.objective.batch_size, "threads": 1, "streams": 1, "rewrite": False}
took = []
for side in map(int, sys.argv[2:]):
    began = time.process_time()
    ls.evaluate(work.objective, work.plane, ls.grid(side, dims=2), engine="sequential", tune=tune)
    took.append(time.process_time() - began)
print((took[1] - took[0]) / (int(sys.argv[3]) ** 2 - int(sys.argv[2]) ** 2))
"""


def seconds_per_point(checkout: Path, name: str) -> float:
    """Processor seconds of a point of a workload, by the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "LANDSCAPE_CACHE": ""}
    line = [sys.executable, "-c", _CHILD, name, *map(str, _SIDES[name])]
    done = subprocess.run(line, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print a line per workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("workloads", nargs="*", help="of W1 to W4; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    here = Path(__file__).parents[1]
    for name in given.workloads or _SIDES:
        rounds = [
            (seconds_per_point(here, name), seconds_per_point(given.other.resolve(), name))
            for _ in range(given.rounds)
        ]
        ratios = [new / old for new, old in rounds]
        new, old = (statistics.median(own) * 1e3 for own in zip(*rounds, strict=True))
        said = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"{name}: {new:.3f} ms a point here, {old:.3f} there; ratio {said}", flush=True)


if __name__ == "__main__":
    main()
