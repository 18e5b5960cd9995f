"""Cost of recording a training: ``python -m benchmarks.recording``.

A ResNet-18 is trained on small random images on the CPU, in turns without a recorder and with one: a turn is as
many steps as lie between two snapshots, so that a recorded turn has one snapshot in it. Turns alternate in an
order that changes from round to round, so that what else the machine does falls on all alike. The overhead is
the ratio of the medians. Two more numbers depend less on what else runs: the processor time of a turn, that of the
writing thread included, and the time within `snapshot`, which is what the loop itself waits for.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torchvision.models import resnet18

from benchmarks import machine
from landscape.trajectory import Recorder

_VARIANTS: dict[str, dict[str, Any]] = {
    "sync": {},
    "background": {"background": True},
    "background, bfloat16": {"background": True, "dtype": "bfloat16"},
    "background, with the step": {"background": True, "record": ("update", "preconditioner")},
}
_OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, lr=1e-3),
}


@dataclass
class Samples:
    """The turns of one variant.

    Attributes:
        seconds: Of each turn, snapshot included.
        processor: Seconds of processor time of each turn, over all threads.
        waited: Of each turn, within `snapshot`.
    """

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)


def measure(
    rounds: int, steps: int, size: int, batch: int, folder: Path, kind: str, names: list[str]
) -> dict[str, Samples]:
    """Time turns of a training without and with recorders.

    Args:
        rounds: How many turns of each variant.
        steps: Updates per turn, and per snapshot.
        size: Height and width of the images.
        batch: Images per update.
        folder: Where the files go.
        kind: The optimizer.
        names: Which variants.
    """
    torch.manual_seed(0)
    model = resnet18(num_classes=10).train()
    optimizer = _OPTIMIZERS[kind](model.parameters())
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 10, (batch,))
    recorders = {
        name: Recorder(
            folder / f"{index}.h5",
            model,
            **_VARIANTS[name],
            optimizer=optimizer if "record" in _VARIANTS[name] else None,
        )
        for index, name in enumerate(names)
    }
    samples = {name: Samples() for name in ("without", *recorders)}
    done = 0

    def turn(snapshot: Callable[[int], object]) -> tuple[float, float, float]:
        nonlocal done
        began, worked = time.perf_counter(), time.process_time()
        waited = 0.0
        for step in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            # In the middle, so that what a thread writes falls into the same turn.
            if step == steps // 2:
                before = time.perf_counter()
                snapshot(done)
                waited = time.perf_counter() - before
        done += steps
        return time.perf_counter() - began, time.process_time() - worked, waited

    turn(lambda step: None)
    order = list(samples)
    for index in range(rounds):
        random.Random(index).shuffle(order)
        for name in order:
            seconds, processor, waited = turn(recorders[name].snapshot if name in recorders else lambda step: None)
            samples[name].seconds.append(seconds)
            samples[name].processor.append(processor)
            samples[name].waited.append(waited)
            if name in recorders:
                recorders[name].flush()
    return samples


def report(samples: dict[str, Samples], steps: int) -> list[str]:
    """A table in Markdown."""
    plain = samples["without"]
    lines = [
        f"| recorder | {steps} steps, s | quartiles | overhead | of processor time | within `snapshot`, ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in samples.items():
        low, middle, high = statistics.quantiles(found.seconds, n=4)
        more = [
            f"{_more(found.seconds, plain.seconds):+.1f} %",
            f"{_more(found.processor, plain.processor):+.1f} %",
            f"{1000 * statistics.median(found.waited):.0f}",
        ]
        shown = " | ".join(["", "", ""] if name == "without" else more)
        lines.append(f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} | {shown} |")
    return lines


def _more(values: list[float], reference: list[float]) -> float:
    """By how many percent the median is larger."""
    return 100 * (statistics.median(values) / statistics.median(reference) - 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.recording", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--optimizer", choices=list(_OPTIMIZERS), default="sgd")
    parser.add_argument("--variants", nargs="+", choices=list(_VARIANTS), default=list(_VARIANTS))
    parser.add_argument("--json", type=Path, help="all samples")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = given.rounds, given.steps, given.size, given.batch
        samples = measure(*sizes, Path(folder), given.optimizer, given.variants)
    for name, value in machine.describe().items():
        print(f"{name}: {value}")
    print(f"ResNet-18, images {given.size}x{given.size}, batch {given.batch}, {given.rounds} rounds\n")
    print("\n".join(report(samples, given.steps)))
    if given.json is not None:
        given.json.write_text(json.dumps({name: vars(found) for name, found in samples.items()}))


if __name__ == "__main__":
    main()
