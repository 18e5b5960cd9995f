"""Where a branch of another run starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from landscape.params import Weights, layout_of, require_same_shapes, resolve
from landscape.trajectory import Trajectory, open_trajectory


@dataclass(frozen=True, eq=False)
class Start:
    """The weights that a branch starts from, and where they come from.

    Attributes:
        weights: A snapshot, or what was made of one; buffers included.
        parent_run_id: The run that the snapshot belongs to.
        parent_step: Its step there.
        perturbation: What was done to its weights, as plain JSON values; None for nothing.
        branch: The name of the branch in a file that exists; None gives the branch a file of its own.
    """

    weights: Weights
    parent_run_id: str
    parent_step: int
    perturbation: Mapping[str, Any] | None = field(default=None)
    branch: str | None = None

    @property
    def about(self) -> dict[str, Any]:
        """Return what is stored of it, by the names of `Recorder`'s arguments."""
        return {
            "parent_run_id": self.parent_run_id,
            "parent_step": self.parent_step,
            "perturbation": None if self.perturbation is None else dict(self.perturbation),
        }

    def load_into(self, model: nn.Module) -> None:
        """Copy the weights into a model.

        Raises:
            LandscapeError: If a tensor is missing or has another shape.
        """
        state = resolve(self.weights)[1]
        require_same_shapes(layout_of(model), state, "the start of the branch")
        with torch.no_grad():
            for name, tensor in resolve(model)[1].items():
                tensor.copy_(state[name])


def open_run(path: Any, branch: str | None) -> Trajectory:
    """A run in a file: the file's own, or one of its branches."""
    run = open_trajectory(path)
    return run if branch is None else run.branches[branch]
