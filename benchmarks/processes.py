"""Whole commands, from start to picture, beside ``import torch``: ``python -m benchmarks.processes CHECKOUT ...``.

Every round runs each command once with each checkout, in turns, in a process of its own, and ratios are taken
within rounds; the script of another package on the same model and data runs beside, where it is installed.
Processor time is that of the process and of its children.
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

import torch

from benchmarks.peers import version
from landscape.problems.data import digits

_RUN = str(Path(__file__).parent.parent / "checkpoints" / "digits-mlp.h5")
# Of the digits, those that a split leaves for training.
_ROWS = 1796
_W1 = "W1 script, 51x51"
_SCRIPT = """\
import torch, landscape as ls
from torch.nn import functional as F
from landscape.problems.data import digits
from landscape.problems.mlp import mlp
torch.manual_seed(0)
model, (x, y) = mlp(64, 128, 2, 10), digits({rows}, 0)[0]
objective = ls.Objective(model, loss=F.cross_entropy, train=(x, y))
ls.render.save(ls.render.contour(ls.evaluate(objective, ls.random_plane(model), ls.grid(51))), "w1.png")
"""
_PACKAGE = "loss-landscapes"
_OTHER = """\
import io, torch, numpy, loss_landscapes, loss_landscapes.metrics
from torch.nn import functional as F
from matplotlib.figure import Figure
model = torch.nn.Sequential(
    torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
)
x, y = (torch.load({data!r}, weights_only=True)[name] for name in "xy")
metric = loss_landscapes.metrics.Loss(F.cross_entropy, x, y)
values = loss_landscapes.random_plane(model, metric, distance=1, steps=51, normalization="filter")
figure = Figure()
figure.colorbar(figure.add_subplot().contourf(numpy.asarray(values), 30))
figure.savefig("w1.png")
"""
_COMMANDS: dict[str, list[str]] = {
    "curve": ["plot", _RUN, "--kind", "curve", "-o", "c.png"],
    "surface, 51x51": ["plot", _RUN, "--kind", "surface", "-o", "s.png"],
    "trajectory, 51x51": ["plot", _RUN, "--kind", "trajectory", "-o", "t.png"],
    "path": ["plot", _RUN, "--kind", "path", "-o", "p.png"],
}
_IMPORT = "import torch"


def _jobs(checkouts: Mapping[str, Path], folder: str) -> dict[tuple[str, str], list[str]]:
    """(what, checkout) -> command line."""
    script = _SCRIPT.format(rows=_ROWS)
    jobs = {(_IMPORT, ""): [sys.executable, "-c", _IMPORT]}
    for name in (_W1, *_COMMANDS):
        for checkout in checkouts:
            own = ["-m", "landscape", *_COMMANDS[name]] if name in _COMMANDS else ["-c", script]
            jobs[name, checkout] = [sys.executable, *own]
    if version(_PACKAGE):
        x, y = digits(_ROWS, 0)[0]
        torch.save({"x": x, "y": y}, f"{folder}/digits.pt")
        jobs[_W1, _PACKAGE] = [sys.executable, "-c", _OTHER.format(data=f"{folder}/digits.pt")]
    return jobs


def _timed(line: Sequence[str], environment: Mapping[str, str], folder: str) -> tuple[float, float]:
    """Seconds of processor time and of the clock."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(line, check=True, capture_output=True, cwd=folder, env=environment)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def measure(
    checkouts: Mapping[str, Path], rounds: int, threads: int
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(what, checkout) -> processor and wall time of every round; either has a cache of its own."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = _jobs(checkouts, folder)
        for turn in range(rounds + 1):
            for (what, checkout), line in jobs.items():
                own = {
                    "PYTHONPATH": str(checkouts.get(checkout, "")),
                    "PYTHONPYCACHEPREFIX": f"{folder}/pyc-{checkout}",
                    "LANDSCAPE_CACHE": f"{folder}/cache-{checkout}",
                    "OMP_NUM_THREADS": str(threads),
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
    parser.add_argument("checkouts", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = measure({path.name: path.resolve() for path in given.checkouts}, given.rounds, given.threads)
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
