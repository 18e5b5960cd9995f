"""Cost of verifying what is read: ``python -m benchmarks.reading``.

A trajectory of large snapshots is read whole, snapshot by snapshot, each into an array of its own, in turns: by
h5py alone, which checks nothing, and by ours, which compares digests; beside them the digests alone of what was
read. Turns alternate, the file is in the cache of the system, and what is compared is processor time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import torch

from landscape.trajectory import Recorder, open_trajectory
from landscape.trajectory.digests import chunk_digests, digests_of
from landscape.trajectory.windows import windows

_GROUP = "weights/float32"


def measure(megabytes: int, snapshots: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of processor time of each turn: way of reading -> turns.

    Args:
        megabytes: Of the file.
        snapshots: It has.
        rounds: How many turns of each way.
        folder: Where the file goes.
    """
    path, numbers = folder / "large.h5", megabytes * 2**18 // snapshots
    weights = {"w": torch.randn(numbers)}
    with Recorder(path, weights) as recorder:
        for step in range(snapshots):
            weights["w"] += 1
            recorder.snapshot(step, weights=weights)
    count = len(open_trajectory(path))
    found: dict[str, list[float]] = {}
    with h5py.File(path, "r") as file:
        dataset, digests = file[_GROUP], file[digests_of(_GROUP)][...]
        held, width = dataset[0], dataset.chunks[1]

        def plainly(row: int) -> None:
            dataset[row]

        def verified(row: int) -> None:
            with windows(dataset, range(row, row + 1), digests) as reader:
                reader.read(0, len(held))

        def digested(_: int) -> None:
            chunk_digests(held, width)

        ways: dict[str, Callable[[int], None]] = {
            "h5py alone": plainly,
            "ours, digests compared": verified,
            "digests alone": digested,
        }
        for _ in range(rounds):
            for name, read in ways.items():
                began = time.process_time()
                for row in range(count):
                    read(row)
                found.setdefault(name, []).append(time.process_time() - began)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.reading", description=main.__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--snapshots", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.megabytes, given.snapshots, given.rounds, Path(folder))
    reference = statistics.median(found["h5py alone"])
    print(f"{given.megabytes} MB, {given.snapshots} snapshots, {given.rounds} rounds\n")
    print("| way | s of processor time | of the time of h5py alone |\n|---|---|---|")
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {middle:.2f} | {100 * middle / reference:.1f} % |")


if __name__ == "__main__":
    main()
