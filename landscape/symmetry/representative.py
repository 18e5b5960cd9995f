"""One representative of an orbit: what settles bases, turns, rotations, shifts, means and the order of units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from landscape.params import Tensors, cast
from landscape.symmetry.axes import Dim, leading, length
from landscape.symmetry.canonical import sign_element, unit_norm_element
from landscape.symmetry.columns import Columns
from landscape.symmetry.continuous import Mean, Rotation, Shift, Turn, complement_of_ones, folded, not_zero
from landscape.symmetry.elements import Basis, Element, Exchange, Flipping, Generator, Slices

# A singular value below this share of the largest one is 0: nothing says which basis it belongs to.
_RANK = 1e-9
# Shifts pass from one bias to the next; each chain is shorter.
_SHIFTS = 8
Kind = TypeVar("Kind", bound=Generator)


def representative_element(
    generators: Sequence[Generator],
    state: Tensors,
    *,
    rotate: bool = True,
    order: Sequence[Generator] | None = None,
) -> Element:
    """The element that brings weights to the representative of all their symmetries.

    Units get incoming weights of norm 1 and biases that shifts reach become 0, features that layer normalisation
    reads a mean of 0. Two matrices between which a basis is free become U s^½ and V s^½ of the singular value
    decomposition of their product; a rotated stream gets the principal axes of what writes and reads it. Signs,
    angles of rotary pairs and the order of units are settled by sums of cubes: sums themselves may be 0.

    Args:
        generators: Those of a model.
        state: Weights, buffers included.
        rotate: Settle rotations of streams.
        order: The permutations to settle; None is all.
    """
    built = _Built(state)
    for _ in range(_SHIFTS):
        # Means move biases, too.
        moved = [built.settle(generators, Shift, _no_shift), built.settle(generators, Mean, _no_mean)]
        if not any(moved):
            break
    built.add(unit_norm_element(generators, built.state))
    built.settle(generators, Basis, _principal)
    if rotate:
        later = {(part.tensor, part.dim) for one in generators for part in _settled_later(one)}
        built.settle(generators, Rotation, lambda one, own: _axes(one, own, later))
    built.add(sign_element(generators, built.state))
    built.settle(generators, Turn, _turned)
    # A sum says the sign of a coordinate, and the stream that it reads may have been turned since.
    built.settle(generators, Basis, _principal)
    built.settle(generators if order is None else order, Exchange, _sorted)
    return Element(tuple(built.factors))


class _Built:
    """An element that grows, and the weights that it leads to."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = {name: cast(tensor, torch.float64) for name, tensor in state.items()}
        self.factors: list[tuple[Generator, Tensor]] = []

    def add(self, element: Element) -> None:
        self.state = element.apply(self.state)
        self.factors += element.factors

    def settle(
        self, generators: Sequence[Generator], kind: type[Kind], how: Callable[[Kind, Tensors], Tensor | None]
    ) -> bool:
        """Settle all generators of a class; return whether one moved anything.

        Args:
            generators: Of all classes.
            kind: The class.
            how: The value that settles one at some weights; None where nothing does.
        """
        moved = False
        for one in generators:
            value = how(one, self.state) if isinstance(one, kind) else None
            if value is not None:
                one.act(self.state, value)
                self.factors.append((one, value))
                moved = True
        return moved


def slices(one: Columns, state: Mapping[str, Tensor]) -> Tensor:
    """The slices that belong to units: shape (units, numbers)."""
    return leading(state[one.tensor], one.dim)[one.places].reshape(len(one.places), -1)


def _no_shift(one: Shift, state: Tensors) -> Tensor | None:
    (column,) = one.columns
    return _moving(-slices(column, state).mean(1), state[column.tensor])


def _no_mean(one: Mean, state: Tensors) -> Tensor | None:
    tensor = leading(state[one.tensor], one.dim)
    if one.gain is not None:
        gain = not_zero(state[one.gain], one.gain)
        tensor = gain.reshape(-1, *(1,) * (tensor.ndim - 1)) * tensor
    return _moving(-tensor.mean(0).reshape(-1), tensor)


def _moving(value: Tensor, tensor: Tensor) -> Tensor | None:
    """A value added to a tensor; None where it is as small as rounding, which leaves no exact 0."""
    return value if float(value.abs().max()) > 1e-14 * float(tensor.abs().max()) else None


def _principal(one: Basis, state: Tensors) -> Tensor | None:
    """The basis in which both sides are those of the singular value decomposition of their product."""
    sides = [[slices(column, state) for column in one.columns if column.dual == dual] for dual in (False, True)]
    if not all(sides):
        return None
    made, read = (torch.cat(parts, 1) for parts in sides)
    if min(made.shape[1], read.shape[1]) < one.units:
        return None
    left, right = (torch.linalg.qr(part.T, mode="r").R for part in (made, read))
    u, values, _ = torch.linalg.svd(left @ right.T)
    if float(values[-1]) <= _RANK * float(values[0]):
        return None
    value = values.sqrt()[:, None] * torch.linalg.solve(left, u).T
    return torch.where((value @ made).pow(3).sum(1) < 0, -1.0, 1.0)[:, None] * value


def _settled_later(one: Generator) -> Sequence[Columns | Slices]:
    """Slices whose signs are settled after those of the axes of a stream."""
    return one.columns if isinstance(one, Basis) else one.slices if isinstance(one, Flipping) else ()


def _axes(one: Rotation, state: Tensors, later: set[tuple[str, Dim]]) -> Tensor | None:
    """The rotation to principal axes."""
    parts = {column: folded(column, state, one.units) for column in one.columns}
    moments = sum((part @ part.T for part in parts.values()), torch.zeros(one.units, one.units).double())
    settled = (
        part
        for column, part in parts.items()
        if part.shape[1] > 1 and not any(name == column.tensor and dim != column.dim for name, dim in later)
    )
    first = next(settled, next(iter(parts.values())))
    basis = complement_of_ones(one.units) if one.keeps_mean else torch.eye(one.units, dtype=torch.float64)
    axes = torch.linalg.eigh(basis.T @ moments @ basis).eigenvectors.flip(1).T
    sums = (axes @ basis.T @ first).pow(3).sum(1)
    return one.embedded(torch.where(sums < 0, -1.0, 1.0)[:, None] * axes)


def _turned(one: Turn, state: Tensors) -> Tensor | None:
    """The angles at which the sum of z |z|², z the first pair of each unit as a complex number, has none."""
    first = one.columns[0]
    pairs = slices(first, state).reshape(one.units, -1, 2, _rest(first, state))[:, 0]
    x, y = (pairs * pairs.square().sum(1, keepdim=True)).sum(-1).unbind(1)
    return -torch.atan2(y, x)


def _sorted(one: Exchange, state: Tensors) -> Tensor | None:
    sums = sum(
        (slices(column, state).abs().pow(3).sum(1) for column in one.columns), torch.zeros(one.units).double()
    )
    return torch.argsort(sums, descending=True, stable=True)


def procrustes_element(generators: Sequence[Generator], a: Tensors, b: Tensors, sweeps: int = 30) -> Element:
    """Rotations of bases, streams and pairs that bring b nearest to a; both are in a balanced gauge.

    Each in turn is an orthogonal Procrustes problem over all weights that it moves, solved by a singular value
    decomposition, until nothing moves.

    Source:
        Schönemann 1966; cf. Theus et al. 2025 for transformers.
    """
    built = _Built(b)
    ours = {name: cast(tensor, torch.float64) for name, tensor in a.items()}
    for _ in range(sweeps):
        moved = 0.0
        for one, value, size in _nearest(generators, ours, built):
            if size > 1e-12:
                one.act(built.state, value)
                built.factors.append((one, value))
                moved = max(moved, size)
        if moved <= 1e-9:
            break
    return Element(tuple(built.factors))


def _nearest(
    generators: Sequence[Generator], ours: Tensors, built: _Built
) -> Iterator[tuple[Generator, Tensor, float]]:
    for one in generators:
        theirs = built.state
        if isinstance(one, Basis):
            products = [slices(column, ours) @ slices(column, theirs).T for column in one.columns]
            value = _orthogonal(sum(products[1:], products[0]))
        elif isinstance(one, Rotation):
            parts = [
                folded(column, ours, one.units) @ folded(column, theirs, one.units).T for column in one.columns
            ]
            basis = complement_of_ones(one.units) if one.keeps_mean else torch.eye(one.units, dtype=torch.float64)
            value = one.embedded(_orthogonal(basis.T @ sum(parts[1:], parts[0]) @ basis))
        elif isinstance(one, Turn):
            x, y = torch.zeros(2, one.units, dtype=torch.float64)
            for column in one.columns:
                first, second = (
                    leading(state[column.tensor], column.dim)[column.places].reshape(
                        one.units, -1, 2, _rest(column, state)
                    )
                    for state in (ours, theirs)
                )
                x = x + (first * second).sum((1, 2, 3))
                y = y + (first[:, :, 1] * second[:, :, 0] - first[:, :, 0] * second[:, :, 1]).sum((1, 2))
            value = torch.atan2(y, x)
            yield one, value, float(value.abs().max())
            continue
        else:
            continue
        yield one, value, float((value - torch.eye(one.units, dtype=torch.float64)).abs().max())


def _rest(column: Columns, state: Mapping[str, Tensor]) -> int:
    tensor = state[column.tensor]
    return tensor.numel() // length(tensor.shape, column.dim)


def _orthogonal(product: Tensor) -> Tensor:
    """The orthogonal matrix with the largest inner product."""
    u, _, v = torch.linalg.svd(product)
    return u @ v
