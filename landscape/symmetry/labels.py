"""Labels of elements: which of them belong together, and of which part of a parameter they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from landscape.symmetry.axes import Dim, joint, place_along
from landscape.values.result import Result

# The label of what no symmetry moves, and of an element that is 0 whatever the weights are.
FIXED = 0
ANY = 2**30
# Where labels are spread over so many times their number, sorting them is quicker than listing what lies between.
_SPARSE = 16


@dataclass(frozen=True)
class Part:
    """A parameter, or a view of it.

    Attributes:
        name: The parameter.
        indices: For each of its dimensions: shape of the view, the place along that dimension of each element.
    """

    name: str
    indices: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """Of the view."""
        return self.indices[0].shape

    def dim_along(self, axis: int, shape: torch.Size) -> Way | None:
        """The dimension, or several as one, whose place changes along an axis alone, and the places, or None.

        Args:
            axis: Of the view.
            shape: That of the parameter.
        """
        varying = [dim for dim, index in enumerate(self.indices) if varies(index)[axis]]
        if not varying:
            return _whole(self, axis)
        indices = [self.indices[dim] for dim in varying]
        if any([place for place, moves in enumerate(varies(one)) if moves] != [axis] for one in indices):
            return None
        dim: Dim = varying[0] if len(varying) == 1 else joint(shape, varying)
        return dim, place_along([line(one, axis) for one in self.indices], dim)

    def without_leading(self, count: int) -> Part | None:
        """The view without its first axes; None where elements differ along one of them."""
        if any(any(varies(index)[:count]) for index in self.indices):
            return None
        indices = self.indices
        for _ in range(count):
            indices = tuple(index.select(0, 0) for index in indices)
        return Part(self.name, indices)

    def along(self, dim: Dim) -> Tensor:
        """The place of each element along a dimension of the parameter."""
        return place_along(self.indices, dim)

    def ways(self, into: int, out: int, shape: torch.Size) -> Ways | None:
        """The dimensions along two axes of the view, and the places; None if they are not two dimensions."""
        first, second = self.dim_along(into, shape), self.dim_along(out, shape)
        if first is None or second is None:
            return None
        if first[0] == second[0]:
            # Of two dimensions of length 1 either may be either.
            single = [dim for dim, index in enumerate(self.indices) if not any(varies(index)) and dim != first[0]]
            if self.shape[into] != 1 or self.shape[out] != 1 or not single:
                return None
            first = (single[0], first[1])
        return first, second


Way: TypeAlias = "tuple[Dim, Tensor]"
Ways: TypeAlias = "tuple[Way, Way]"
Shadow: TypeAlias = "Tensor | Part"


@dataclass(frozen=True)
class Origin:
    """Where a label comes from: a dimension of a parameter, and the layer that used it first."""

    tensor: str
    dim: Dim
    layer: str


def varies(labels: Tensor) -> list[bool]:
    """For each axis, whether labels change along it."""
    still = [length < 2 or stride == 0 for length, stride in zip(labels.shape, labels.stride(), strict=True)]
    for axis, stays in enumerate(still):
        if stays:
            labels = labels.narrow(axis, 0, min(1, labels.shape[axis]))
    return [
        not stays and not bool((labels == labels.narrow(axis, 0, 1)).all()) for axis, stays in enumerate(still)
    ]


def line(labels: Tensor, axis: int) -> Tensor:
    """Labels along one axis, at the beginning of all others."""
    for other in range(labels.ndim):
        if other != axis % labels.ndim:
            labels = labels.narrow(other, 0, 1)
    return labels.reshape(-1)


def _whole(part: Part, axis: int) -> Way | None:
    """An axis of one element: the dimension of size 1 that is nobody else's."""
    if part.shape[axis] != 1:
        return None
    moving = {dim for dim, index in enumerate(part.indices) if any(varies(index))}
    still = [dim for dim in range(len(part.indices)) if dim not in moving]
    return (still[0], part.indices[still[0]].reshape(-1)[:1]) if still else None


def compact(*tensors: Tensor) -> tuple[tuple[Tensor, ...], torch.Size]:
    """Tensors broadcast together, each axis along which none of them moves in memory cut to one element."""
    wide = torch.broadcast_tensors(*tensors)
    shape = wide[0].shape
    small = list(wide)
    for axis in range(len(shape)):
        if shape[axis] > 1 and all(tensor.stride(axis) == 0 for tensor in wide):
            small = [tensor.narrow(axis, 0, 1) for tensor in small]
    return tuple(small), shape


def thinned(*tensors: Tensor) -> tuple[tuple[Tensor, ...], torch.Size]:
    """Tensors broadcast together, each axis along which none of them changes cut to one element."""
    small, shape = compact(*tensors)
    for axis in range(len(shape)):
        if small[0].shape[axis] > 1 and all(_alike(tensor, axis) for tensor in small):
            small = tuple(tensor.narrow(axis, 0, 1) for tensor in small)
    return small, shape


def pairs(a: Tensor, b: Tensor) -> tuple[list[tuple[int, int]], Tensor, torch.Size]:
    """The different pairs of labels at the same place, which is where, and the shape that this stands for."""
    same = a is b
    (a, b), shape = thinned(a, b)
    first, inverse = distinct(a)
    if same:
        return [(label, label) for label in first.tolist()], inverse, shape
    second, beside = distinct(b)
    keys, inverse = distinct(inverse * len(second) + beside)
    rows, columns = first[keys // max(len(second), 1)], second[keys % max(len(second), 1)]
    return list(zip(rows.tolist(), columns.tolist(), strict=True)), inverse, shape


def _alike(labels: Tensor, axis: int) -> bool:
    """Return whether labels do not change along an axis."""
    length = labels.shape[axis]
    if length < 2 or labels.stride(axis) == 0 or not labels.numel():
        return True
    # Most that change do so at once.
    first, second = (line(labels.narrow(axis, place, 1), axis) for place in (0, 1))
    return torch.equal(first, second) and bool((labels == labels.narrow(axis, 0, 1)).all())


def distinct(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The different labels in ascending order, and which of them each element is.

    As `torch.unique`, in linear time: labels are small whole numbers, but for `ANY`.
    """
    idle = labels == ANY
    low, high = (int(end) for end in labels.masked_fill(idle, 0).aminmax()) if labels.numel() else (0, 0)
    span = high - low + 2
    if span > _SPARSE * labels.numel() + _SPARSE:
        found, inverse = torch.unique(labels, return_inverse=True)
        return found, inverse
    places = torch.where(idle, span - 1, labels - low)
    met = torch.zeros(span, dtype=torch.bool)
    met[places.reshape(-1)] = True
    found = met.nonzero().reshape(-1)
    return torch.where(found == span - 1, ANY, found + low), (met.cumsum(0) - 1)[places]


@dataclass(frozen=True)
class Norm(Result):
    """A normalisation by stored statistics.

    Attributes:
        gain: The parameter that multiplies, or None.
        mean: The buffer of means.
        variance: The buffer of variances.
        eps: What is added to the variance.
    """

    gain: str | None
    mean: str
    variance: str
    eps: float


def grouped(units: Tensor, count: int) -> Tensor:
    """The order that sorts whole numbers from 0 to below a count, equal ones left in their order."""
    # NumPy sorts numbers of 16 bits in linear time.
    small = units.numpy().astype(np.uint16 if count <= 2**16 else np.int64)
    return torch.from_numpy(np.argsort(small, kind="stable"))


def ranks(units: Tensor, count: int) -> Tensor:
    """The place of each element among those of the same unit, shape (n,)."""
    order = grouped(units, count)
    counts = units.bincount(minlength=count)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(units)) - starts.repeat_interleave(counts)
    return ranks
