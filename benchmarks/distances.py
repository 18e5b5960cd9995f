"""Cost of distances between many snapshots: ``python -m benchmarks.distances``.

A trajectory of a synthetic model is written: every snapshot is a point of a drift plus noise of its own. Then all
pairwise distances are taken in a process of its own, whose largest resident memory is what the system says of it.
Reading alone is timed in another. The numbers of parameters and snapshots can be chosen; the time grows in
proportion to the first and, once products outweigh reading, to the square of the second. The memory grows with
neither, but for the sums of 8 T^2 bytes.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from landscape.projection.distances import MAX_BYTES

# Elements of one tensor, about as in the largest convolutions of a ResNet-18.
_TENSOR = 1_000_000
# Bytes that shall be left on the disk.
_SPARE = 8 * 2**30
# Pairs that are compared with direct subtraction.
_PAIRS = 20


def write(path: Path, snapshots: int, numbers: int, dtype: str | None) -> float:
    """Write a trajectory.

    Args:
        path: The file.
        snapshots: How many.
        numbers: Parameters of each, in tensors of about a million.
        dtype: As `Recorder` takes it.

    Returns:
        Seconds.
    """
    import torch

    from landscape.trajectory import Recorder

    began = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    sizes = [len(part) for part in np.array_split(np.empty(numbers, dtype=np.int8), -(-numbers // _TENSOR))]
    starts = [0.05 * torch.randn(size, generator=generator) for size in sizes]
    drifts = [torch.randn(size, generator=generator) for size in sizes]
    # Noise is a stretch of one long row of it: fresh numbers for every snapshot would take longer than all else.
    noise = torch.randn(max(sizes) + 97 * snapshots, generator=generator)
    names = [f"layer{place}.weight" for place in range(len(sizes))]
    with Recorder(path, dict(zip(names, starts, strict=True)), dtype=dtype) as recorder:
        for index in range(snapshots):
            weights = {
                name: start + 0.05 * (index / snapshots) ** 0.5 * drift + 0.003 * noise[97 * index :][: len(start)]
                for name, start, drift in zip(names, starts, drifts, strict=True)
            }
            recorder.snapshot(index, weights=weights)
    return time.perf_counter() - began


def compare(path: Path, *, products: bool) -> dict[str, Any]:
    """Take all distances, or read what they take, in this process.

    Args:
        path: The file.
        products: Whether products are taken of what is read.

    Returns:
        Seconds, the largest resident memory in GiB, and the largest relative error of some pairs.
    """
    from landscape.projection.distances import separations
    from landscape.projection.side_by_side import stretches
    from landscape.trajectory import open_trajectory

    run = open_trajectory(path)
    began = time.perf_counter()
    found = None
    if products:
        found = separations([run])["all"].dissimilarities()
    else:
        for stretch in stretches([run], MAX_BYTES):
            del stretch
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    error = None if found is None else _largest_error(run, found)
    return {"seconds": seconds, "peak_gib": peak, "largest_error": error, "torch": "torch" in sys.modules}


def _largest_error(run: Any, found: np.ndarray) -> float:
    """Of the distances between neighbours and between far snapshots, against direct subtraction in float64."""
    chosen = np.linspace(0, len(run) - 2, _PAIRS).astype(int)
    squares = np.zeros((2, _PAIRS))
    pairs = np.array([[chosen, chosen + 1], [chosen, len(run) - 1 - chosen]])
    # Narrower blocks would read every chunk many times.
    for block in run.column_blocks(MAX_BYTES):
        for kind, (first, second) in enumerate(pairs):
            difference = block.values[first].astype(float) - block.values[second]
            squares[kind] += (difference**2).sum(axis=1)
    exact, taken = np.sqrt(squares), found[pairs[:, 0], pairs[:, 1]]
    return float((np.abs(taken - exact) / np.where(exact > 0, exact, 1.0)).max())


def measure(snapshots: int, numbers: int, dtype: str | None, folder: Path) -> dict[str, Any]:
    """Write a trajectory into a folder, and take its distances in processes of their own."""
    width = 2 if dtype else 4
    needed = snapshots * numbers * width
    if shutil.disk_usage(folder).free < needed + _SPARE:
        raise SystemExit(f"{needed / 1e9:.0f} GB do not fit into {folder} with {_SPARE / 1e9:.0f} GB to spare")
    path = folder / "run.h5"
    found: dict[str, Any] = {"snapshots": snapshots, "numbers": numbers, "dtype": dtype or "float32"}
    found |= {"gb": needed / 1e9, "writing_seconds": write(path, snapshots, numbers, dtype)}
    for name in ("reading", "distances"):
        command = [sys.executable, "-m", "benchmarks.distances", "--child", name, "--file", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = json.loads(done.stdout)
    return found


def report(found: dict[str, Any]) -> list[str]:
    """A table in Markdown."""
    lines = [
        f"{found['snapshots']:,} snapshots of {found['numbers']:,} {found['dtype']} numbers, "
        f"{found['gb']:.1f} GB, written in {found['writing_seconds']:.0f} s.",
        "",
        "| | s | GB of the file per s | largest resident memory, GiB | largest relative error |",
        "|---|---|---|---|---|",
    ]
    for name, title in (("reading", "reading the blocks"), ("distances", "reading, and all distances")):
        one = found[name]
        error = "" if one["largest_error"] is None else f"{one['largest_error']:.1e}"
        rate = found["gb"] / one["seconds"]
        lines.append(f"| {title} | {one['seconds']:.0f} | {rate:.2f} | {one['peak_gib']:.2f} | {error} |")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.distances", description=main.__doc__)
    parser.add_argument("--snapshots", type=int, default=2000)
    parser.add_argument("--numbers", type=int, default=11_000_000, help="parameters of a snapshot")
    parser.add_argument("--dtype", choices=["float16", "bfloat16"], help="how they are stored (default float32)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the file goes")
    parser.add_argument("--json", type=Path, help="the numbers")
    parser.add_argument("--child", choices=["reading", "distances"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(compare(given.file, products=given.child == "distances")))
        return
    # It imports torch, whose memory is not that of distances.
    from benchmarks import machine

    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = measure(given.snapshots, given.numbers, given.dtype, Path(folder))
    for name, value in machine.describe().items():
        print(f"{name}: {value}")
    print("\n".join(report(found)))
    if given.json is not None:
        given.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
