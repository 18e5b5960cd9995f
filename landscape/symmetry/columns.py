"""Slices of tensors that belong to units, and their change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.params import Tensors
from landscape.symmetry.axes import Dim, leading, length, restored


@dataclass(frozen=True, eq=False)
class Columns:
    """The slices of a tensor that belong to units, in the same order for each.

    Attributes:
        tensor: Its name.
        dim: The dimension it is cut along.
        places: Shape (units, k), int64.
        dual: Whether a change of basis comes as its inverse, transposed.
    """

    tensor: str
    dim: Dim
    places: Tensor
    dual: bool = False


class Owned(dict[str, Tensor]):
    """Name -> tensor, all of them nobody else's: what acts on them may write into them."""


def replaced(state: Tensors, columns: Columns, change: Callable[[Tensor], Tensor]) -> None:
    """Change the slices that belong to units; `change` takes and gives them, shape (units, k, ...)."""
    tensor = state[columns.tensor]
    along = leading(tensor if isinstance(state, Owned) else tensor.clone(), columns.dim)
    along[columns.places] = change(along[columns.places])
    state[columns.tensor] = restored(along, columns.dim, tensor.shape)


def mixed(state: Tensors, columns: Columns, matrix: Tensor) -> None:
    """Multiply the slices that belong to units by a matrix: shape (units, units)."""
    tensor, dim = state[columns.tensor], columns.dim
    places = length(tensor.shape, dim)
    if dim in (0, tensor.ndim - 1) and torch.equal(columns.places, torch.arange(places)[:, None]):
        # A table of a vocabulary is too large for copies of it.
        made = tensor @ matrix.T if dim else (matrix @ tensor.reshape(places, -1)).reshape(tensor.shape)
        state[columns.tensor] = made
    else:
        replaced(state, columns, lambda own: torch.einsum("ij,j...->i...", matrix, own))
