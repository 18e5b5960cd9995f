"""Random walks of small networks, recorded: runs whose distances are known."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from landscape.layout import Layout, TensorInfo
from landscape.trajectory import Recorder, open_trajectory


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def record(path, seed, count, *, dtype=None, branch=None, step=0.1, model=None, **options):
    """A walk: every snapshot a step from the one before."""
    generator = torch.Generator().manual_seed(seed)
    model = net() if model is None else model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    with Recorder(path, model, dtype=dtype, branch=branch, problem="walk", **options) as recorder:
        for index in range(count):
            recorder.snapshot(10 * index, train_loss=1.0 / (1 + index))
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += step * torch.randn(parameter.shape, generator=generator)
    run = open_trajectory(path)
    return run if branch is None else run.branches[branch]


def unit_rows(snapshot):
    """A toy normal form: every weight matrix at norm 1."""
    return {name: value / value.norm() if value.ndim > 1 else value for name, value in snapshot.weights.items()}


unit_rows.name = "unit matrices"


@dataclass
class Block:
    name: str
    start: int
    stop: int
    values: np.ndarray


class Walk:
    """A trajectory in memory, read in two blocks of columns."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix
        self.layout = Layout((TensorInfo("w", "parameter", (matrix.shape[1] // 2, 2), "float64"),))

    def __len__(self):
        return len(self.matrix)

    def __getitem__(self, index):
        return {"w": torch.from_numpy(self.matrix[index]).reshape(-1, 2)}

    def select(self, parameters):
        return self

    def column_blocks(self, max_bytes=None):
        middle = self.matrix.shape[1] // 3
        yield Block("w", 0, middle, self.matrix[:, :middle])
        yield Block("w", middle, self.matrix.shape[1], self.matrix[:, middle:])
