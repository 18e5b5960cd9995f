"""What an explorer page takes and refuses; that it computes the same is tested with pages, in a browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from explorer_networks import perceptron, residual
from torch import Tensor, nn
from torch.nn import functional

from landscape import LandscapeError
from landscape.explorer import explorer_of, program_of
from landscape.objective import Objective
from landscape.trajectory import Recorder, open_trajectory


def snapshot_of(objective: Objective, folder: Path) -> Any:
    with Recorder(folder / "run.h5", objective.model) as recorder:
        recorder.snapshot(3)
    return open_trajectory(folder / "run.h5")[-1]


def test_a_network_becomes_operations() -> None:
    program = program_of(residual().model.eval(), torch.randn(2, 2, 13, 11))
    kinds = [one["op"] for one in program.operations]
    assert kinds == [
        "conv",
        "norm",
        "act",
        "conv",
        "add",
        "act",
        "conv",
        "act",
        "max",
        "average",
        "act",
        "average",
        "linear",
    ]
    assert program.operations[4]["of"] == [3, 4]
    assert program.sizes[0] == 2 * 13 * 11
    # 4 x 13 x 11 points of 2 x 9 and of 2 x 3 weights, 6 x 6 x 5 of 4 x 9, and 6 x 3.
    assert program.cost == 572 * 18 + 572 * 6 + 180 * 36 + 18


class Mixed(nn.Module):
    """Reads its examples from the last to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.flip(x, (0,)))


def test_examples_are_not_mixed() -> None:
    with pytest.raises(LandscapeError, match=r"^layer flip: the page cannot compute this flip; expected Linear"):
        program_of(Mixed(), torch.randn(2, 4))


class Doubled(nn.Module):
    """Reads a parameter by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(4, 2), nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale


class Branching(nn.Module):
    """Takes one of two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if self.linear.weight.sum() > 0 else -self.linear(x)


def large() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 10_000), nn.Linear(10_000, 2))


REFUSED: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "a layer": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 2)),
        functional.cross_entropy,
        "layer 1: the page cannot compute PReLU; expected Linear, Conv2d, BatchNorm, LayerNorm, pooling, padding",
    ),
    "a parameter by itself": (Doubled, functional.cross_entropy, "layer scale: the page cannot compute it reads"),
    "a way that depends on weights": (
        Branching,
        functional.cross_entropy,
        "the network cannot be traced for a page; got",
    ),
    "a size": (large, functional.cross_entropy, "the network is too large for a page; got 70,002 parameters"),
    "a loss": (
        lambda: nn.Linear(4, 2),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        "the page cannot compute the loss; got CrossEntropyLoss; expected cross-entropy of classes, or mse_loss",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_page_cannot_compute_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    make, loss, message = REFUSED[case]
    objective = Objective(make(), loss=loss, train=(torch.randn(8, 4), torch.arange(8) % 2))
    with pytest.raises(LandscapeError) as caught:
        explorer_of(objective, snapshot_of(objective, tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_writes_one_file(tmp_path: Path, landscape: Any) -> None:
    objective = perceptron()
    page = explorer_of(objective, snapshot_of(objective, tmp_path), title="<b>")
    assert "<h1>&lt;b&gt;</h1>" in page
    assert "20 of 20 training examples, squared error" in page
    code, _, err = landscape("explore", tmp_path / "run.h5", "-o", tmp_path / "x.png")
    assert (code, "unknown file type; got .png; expected .html" in err) == (2, True)
