"""Cost of readers to a writer, and success of their reading: ``python -m benchmarks.readers``.

A small model is recorded in turns: alone, beside a plain reader that keeps the file open, and beside one that
reads the newest snapshot over and over. Of each snapshot: the time within `snapshot`, and the part of it that was
spent waiting for locks. The tight reader tells how many readings it made, and none may fail.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch import nn

from landscape.storage import writer
from landscape.trajectory import Recorder

_PLAIN = "import h5py, sys; f = h5py.File(sys.argv[1], 'r'); print(flush=True); sys.stdin.read()"
_TIGHT = """
import sys, landscape as ls
ls.open(sys.argv[1])[0].weights
print(flush=True)
count = newest = 0
while not (run := ls.open(sys.argv[1])).finished:
    assert run[-1].weights["weight"].unique().tolist() == [float(run.steps[-1])]
    count, newest = count + 1, len(run)
print(count, newest)
"""
_READERS = {"none": "", "plain": _PLAIN, "tight": _TIGHT}


def measure(count: int, pause: float, folder: Path) -> dict[str, tuple[list[float], list[float], str]]:
    """Record beside readers.

    Args:
        count: How many snapshots beside each.
        pause: Seconds between two of them: what a training does.
        folder: Where the files go.

    Returns:
        Reader -> seconds within `snapshot`, seconds of these spent waiting for locks, and what the reader said.
    """
    return {name: _beside(code, count, pause, folder / f"{name}.h5") for name, code in _READERS.items()}


def _beside(code: str, count: int, pause: float, path: Path) -> tuple[list[float], list[float], str]:
    model, spent, waits = nn.Linear(50, 20), [], []
    recorder = Recorder(path, model)
    model.weight.data.fill_(0)
    recorder.snapshot(0)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    lock, waited = writer.lock, 0.0

    def timed(*given: object, **how: object) -> bool:
        nonlocal waited
        began = time.perf_counter()
        try:
            return lock(*given, **how)  # type: ignore[arg-type]
        finally:
            waited += time.perf_counter() - began

    writer.lock = timed  # type: ignore[attr-defined]
    with subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes) as reader:  # type: ignore[call-overload]
        if code:
            reader.stdout.readline()
        for step in range(1, count + 1):
            time.sleep(pause)
            model.weight.data.fill_(step)
            waited, began = 0.0, time.perf_counter()
            recorder.snapshot(step)
            spent.append(time.perf_counter() - began)
            waits.append(waited)
        recorder.finish()
        said = reader.communicate()[0].strip()
    writer.lock = lock  # type: ignore[attr-defined]
    if reader.returncode:
        raise SystemExit(f"the reader failed: {reader.returncode}")
    return spent, waits, said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.readers", description=main.__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.01)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.count, given.pause, Path(folder))
    print("| reader | within `snapshot`, ms | waiting for locks, ms: median, largest | readings, snapshots seen |")
    print("|---|---|---|---|")
    for name, (spent, waits, said) in found.items():
        middle, most = 1000 * statistics.median(waits), 1000 * max(waits)
        print(f"| {name} | {1000 * statistics.median(spent):.1f} | {middle:.1f}, {most:.1f} | {said} |")


if __name__ == "__main__":
    main()
