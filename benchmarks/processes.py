"""Whole commands, from start to picture, beside ``import torch``: ``python -m benchmarks.processes OLD NEW``.

OLD and NEW are two checkouts. Every round runs each command once with either, in turns, in a process of its own
with one thread, and ratios are taken within rounds. Processor time is that of the process and of its children.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_RUN = str(Path(__file__).parent.parent / "checkpoints" / "digits-mlp.h5")
_SCRIPT = """\
import torch, landscape as ls
from torch.nn import functional as F
from landscape.problems.data import digits
from landscape.problems.mlp import mlp
torch.manual_seed(0)
model, (x, y) = mlp(64, 128, 2, 10), digits(1796, 0)[0]
objective = ls.Objective(model, loss=F.cross_entropy, train=(x, y))
ls.render.save(ls.render.contour(ls.evaluate(objective, ls.random_plane(model), ls.grid(51))), "w1.png")
"""
_COMMANDS: dict[str, list[str]] = {
    "curve": ["plot", _RUN, "--kind", "curve", "-o", "c.png"],
    "surface, 51x51": ["plot", _RUN, "--kind", "surface", "-o", "s.png"],
    "trajectory, 51x51": ["plot", _RUN, "--kind", "trajectory", "-o", "t.png"],
    "path": ["plot", _RUN, "--kind", "path", "-o", "p.png"],
}
_IMPORT = "import torch"


def _jobs(checkouts: Mapping[str, Path]) -> dict[tuple[str, str], list[str]]:
    """(what, checkout) -> command line."""
    jobs = {(_IMPORT, ""): [sys.executable, "-c", _IMPORT]}
    for name in ("W1 script, 51x51", *_COMMANDS):
        for checkout in checkouts:
            given = ["-m", "landscape", *_COMMANDS[name]] if name in _COMMANDS else ["-c", _SCRIPT]
            jobs[name, checkout] = [sys.executable, *given]
    return jobs


def _timed(line: Sequence[str], environment: Mapping[str, str], folder: str) -> tuple[float, float]:
    """Seconds of processor time and of the clock."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(line, check=True, capture_output=True, cwd=folder, env=environment)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def measure(checkouts: Mapping[str, Path], rounds: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(what, checkout) -> processor and wall time of every round; either has a cache of its own."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for (what, checkout), line in _jobs(checkouts).items():
                own = {
                    "PYTHONPATH": str(checkouts.get(checkout, "")),
                    "PYTHONPYCACHEPREFIX": f"{folder}/pyc-{checkout}",
                    "LANDSCAPE_CACHE": f"{folder}/cache-{checkout}",
                    "OMP_NUM_THREADS": "1",
                }
                environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | own
                times = _timed(line, environment, folder)
                # The first compiles modules and chooses engines.
                if turn:
                    found.setdefault((what, checkout), []).append(times)
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.processes", description=main.__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = measure({"old": given.old, "new": given.new}, given.rounds)
    floor = found[_IMPORT, ""]
    print("| command | checkout | processor s | wall s | processor, to `import torch` | wall, to it |")
    print("|---|---|---|---|---|---|")
    for (what, checkout), times in found.items():
        cells = [statistics.median(each) for each in zip(*times, strict=True)]
        ratios = [statistics.median(t[k] / f[k] for t, f in zip(times, floor, strict=True)) for k in (0, 1)]
        print(
            f"| {what} | {checkout} |", " | ".join(f"{value:.2f}" for value in (*cells, *ratios)), "|", flush=True
        )


if __name__ == "__main__":
    main()
