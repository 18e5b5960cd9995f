"""The four workloads: model, data and plane, trained for a few steps so that losses and statistics are sane."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import landscape as ls
from landscape.objective import Objective
from landscape.problems.catalogue import DIGITS
from landscape.problems.data import digits, text
from landscape.problems.image_data import VARIABLE, cifar10
from landscape.problems.initial import construct
from landscape.problems.mlp import mlp
from landscape.problems.resnet import ResNet
from landscape.problems.transformer import Transformer
from landscape.projection import Plane
from landscape.values.surface import Grid

Batch = tuple[Tensor, Tensor]

_SEED = 0
# Large enough that losses come down within the few steps, small enough for every model here.
_LEARNING_RATE = 2e-3
# Random images stand in for CIFAR-10; so many classes.
_CLASSES = 10


@dataclass(frozen=True)
class Spec:
    """Declaration of a workload, and of the share that a round takes.

    Attributes:
        name: ``"W1"`` ...
        title: One line for the table.
        examples: Examples of the data.
        side: Points along each axis of the full grid.
        small_side: Points along each axis of the grid that is evaluated with its set-up, twice.
        points: Points of the grid that a round of ours evaluates.
        peer_side: Points along each axis of the grid that a round of a peer evaluates.
        check_side: Likewise for the comparison of a peer's values with float64, done once.
        steps: Training steps.
        batch: Examples of a training step.
    """

    name: str
    title: str
    examples: int
    side: int
    small_side: int
    points: int
    peer_side: int
    check_side: int
    steps: int
    batch: int


@dataclass(frozen=True, eq=False)
class Workload:
    """A workload, built.

    Attributes:
        spec: What it is; the grid is square.
        model: Trained a little, in evaluation mode.
        inputs: Shape (n, ...), float32 or, for text, int64.
        targets: Shape (n,) or (n, tokens), int64.
        data: Where the examples come from.
        objective: The same for our own engines.
        plane: Two filter-normalised random directions through the trained weights.
        grid: The full grid.
        flops: Floating-point operations of one pass over the data (a multiplication and an addition are two).
    """

    spec: Spec
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    data: str
    objective: Objective
    plane: Plane
    grid: Grid
    flops: int

    @property
    def is_image(self) -> bool:
        """True if the memory format of the inputs can be chosen."""
        return self.inputs.ndim == 4

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean cross-entropy in nats."""
        return functional.cross_entropy(output, target)

    def points(self) -> list[tuple[float, float]]:
        """The points of a round: whole rows of the grid, from the middle row on, cut to their number."""
        along = self.grid.x.tolist()
        middle = self.spec.side // 2
        return [(x, y) for y in (*along[middle:], *along[:middle]) for x in along][: self.spec.points]


SPECS = (
    Spec("W1", "MLP 64-128-128-10, digits", DIGITS, 51, 51, 510, 21, 21, 60, 256),
    Spec("W2", "CNN 32-64-64 with BatchNorm, images 3x32x32", 2000, 21, 7, 21, 3, 5, 30, 128),
    Spec("W3", "ResNet-20, images 3x32x32", 1000, 11, 5, 11, 3, 3, 40, 64),
    Spec("W4", "transformer, 2 layers, d=128, tied, 64 bytes", 512, 21, 7, 21, 3, 3, 20, 32),
)
# The same models on fewer data, for a look within two minutes.
QUICK = (
    Spec("W1", "MLP 64-128-128-10, digits", DIGITS, 21, 21, 105, 7, 7, 60, 256),
    Spec("W2", "CNN 32-64-64 with BatchNorm, images 3x32x32", 128, 11, 5, 5, 3, 3, 10, 64),
    Spec("W3", "ResNet-20, images 3x32x32", 64, 11, 3, 4, 3, 3, 30, 32),
    Spec("W4", "transformer, 2 layers, d=128, tied, 64 bytes", 64, 11, 3, 5, 3, 3, 5, 32),
)


def build(spec: Spec) -> Workload:
    """Make model and data, and train for the steps of the spec."""
    make, read = _PARTS[spec.name]
    (inputs, targets), data = read(spec.examples)
    model = construct(make, _SEED)
    _train(model, inputs, targets, spec)
    objective = objective_of(model, inputs, targets)
    plane = ls.random_plane(model, seed=_SEED)
    flops = _flops(model, inputs)
    return Workload(spec, model, inputs, targets, data, objective, plane, ls.grid(spec.side), flops)


def objective_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Objective:
    """An objective that nothing was evaluated on."""
    return ls.Objective(model, loss=functional.cross_entropy, train=(inputs, targets))


def _train(model: nn.Module, inputs: Tensor, targets: Tensor, spec: Spec) -> None:
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
    starts = range(0, max(1, len(inputs) - spec.batch + 1), spec.batch)
    for step in range(spec.steps):
        part = slice(start := starts[step % len(starts)], start + spec.batch)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs[part]), targets[part]).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


def _flops(model: nn.Module, inputs: Tensor) -> int:
    """All operations that are counted are proportional to the number of examples, so a few suffice."""
    few = inputs[:8]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(few)
    return counter.get_total_flops() * len(inputs) // len(few)


def _mlp() -> nn.Module:
    return mlp(64, 128, 2, 10)


def _cnn() -> nn.Module:
    layers: list[nn.Module] = []
    for fan_in, out in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(fan_in, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 10))


def _digits(count: int) -> tuple[Batch, str]:
    (x, y), (more_x, more_y) = digits(DIGITS - 1, 0)
    return (torch.cat([x, more_x])[:count], torch.cat([y, more_y])[:count]), "digits of scikit-learn"


def _images(count: int) -> tuple[Batch, str]:
    if os.environ.get(VARIABLE):
        _, test = cifar10(None, train_size=_CLASSES, test_size=count)
        return test, "CIFAR-10 test images"
    generator = torch.Generator().manual_seed(_SEED)
    x = torch.randn(count, 3, 32, 32, generator=generator)
    return (x, torch.randint(_CLASSES, (count,), generator=generator)), "random images and labels"


def _bytes(count: int) -> tuple[Batch, str]:
    train, _ = text(None, context=64, train_size=count, test_size=1, data_seed=0)
    return train, "source of Python's standard library"


_PARTS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Batch, str]]]] = {
    "W1": (_mlp, _digits),
    "W2": (_cnn, _images),
    "W3": (ResNet, _images),
    "W4": (Transformer, _bytes),
}
