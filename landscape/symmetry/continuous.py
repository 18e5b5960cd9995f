"""Continuous symmetries that are no change of scale: turns of pairs, shifts, means, rotations of a stream."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.params import Tensors
from landscape.symmetry.axes import Dim, Joint, leading, restored
from landscape.symmetry.columns import Columns, mixed
from landscape.symmetry.elements import Generator
from landscape.values.result import Result

# A gain smaller than this share of the largest one is divided by at the price of so many digits.
_SMALLEST_GAIN = 1e-4


@dataclass(frozen=True, eq=False)
class Turn(Generator):
    """Angles of pairs of coordinates, as rotary positions leave them free; a value has one for each pair.

    Queries and keys turn together, so that their inner products stay. With the factors of the same pairs
    (``"query-key"``) a turn makes one complex factor for each frequency.

    Attributes:
        columns: Which slices of which tensors are the coordinates: shape (units, 2 k), pairs side by side.
    """

    columns: tuple[Columns, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes."""
        return tuple(dict.fromkeys(one.tensor for one in self.columns))

    @property
    def dimension(self) -> int:
        """One angle for each unit."""
        return self.units

    def near(self, coordinates: Tensor) -> Tensor:
        """The angles."""
        return coordinates

    def act(self, state: Tensors, value: Tensor) -> None:
        """Turn each pair of slices."""
        for one in self.columns:
            tensor = leading(state[one.tensor], one.dim)
            pairs = one.places.reshape(self.units, -1, 2)
            first, second = tensor[pairs[..., 0]], tensor[pairs[..., 1]]
            cos, sin = (part.reshape(-1, *(1,) * (first.ndim - 1)) for part in (value.cos(), value.sin()))
            changed = tensor.clone()
            changed[pairs[..., 0]] = cos * first - sin * second
            changed[pairs[..., 1]] = sin * first + cos * second
            state[one.tensor] = restored(changed, one.dim, state[one.tensor].shape)

    def inverse(self, value: Tensor) -> Tensor:
        """The opposite angles."""
        return -value

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """Uniform over the circle."""
        return 2 * math.pi * torch.rand(self.units, generator=source, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Sink(Result):
    """Where a shift is undone.

    Attributes:
        tensor: A bias, or the stored mean of a normalisation.
        units: Shape (k,), int64: the units whose shift arrives.
        places: Shape (k,) where it arrives as it is; shape (out,) where a weight carries it there.
        weight: The weight, or None.
        into: Its dimension that meets the shift, and the places of the units along it.
        out: Its dimension whose places along `columns` the bias is added to.
        columns: Shape (out,), int64.
    """

    tensor: str
    units: Tensor
    places: Tensor
    sign: float = -1.0
    weight: str | None = None
    into: tuple[Dim, Tensor] | None = None
    out: Dim = 0
    columns: Tensor | None = None

    def undo(self, state: Tensors, value: Tensor) -> None:
        """Add what undoes a shift to the tensor."""
        shift = value[self.units]
        if self.weight is not None and self.into is not None:
            dim, rows = self.into
            matrix = _taken(_taken(_matrix(state[self.weight], dim, self.out), 0, rows), 1, self.columns)
            shift = torch.einsum("i,io->o", shift, matrix.flatten(2).sum(2) if matrix.ndim > 2 else matrix)
        state[self.tensor] = state[self.tensor].index_add(0, self.places, self.sign * shift)


def _matrix(tensor: Tensor, into: Dim, out: Dim) -> Tensor:
    """A tensor with two dimensions first, which have nothing in common."""
    if isinstance(into, int) and isinstance(out, int):
        return tensor.movedim((into, out), (0, 1))
    inner, outer = (one.dims if isinstance(one, Joint) else (one,) for one in (into, out))
    moved = tensor.movedim([*inner, *outer], list(range(len(inner) + len(outer))))
    return moved.flatten(0, len(inner) - 1).flatten(1, len(outer))


def _taken(tensor: Tensor, dim: int, places: Tensor | None) -> Tensor:
    """Slices along a dimension; all of them in their order, or for None, are the tensor itself."""
    if places is None or torch.equal(places, torch.arange(tensor.shape[dim])):
        return tensor
    return tensor.index_select(dim, places)


@dataclass(frozen=True, eq=False)
class Shift(Generator):
    """Additions to a bias (or to all rows of a table), undone where they arrive; a value has one per unit.

    A key's bias is undone by nothing: softmax does not see what all scores of a query share.

    Attributes:
        columns: The bias and which of its places are units.
        sinks: Where it is undone.
    """

    columns: tuple[Columns, ...] = ()
    sinks: tuple[Sink, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes, and of the weights that carry it."""
        carried = [one.weight for one in self.sinks if one.weight is not None]
        moved = [*(one.tensor for one in self.columns), *(one.tensor for one in self.sinks)]
        return tuple(dict.fromkeys([*moved, *carried]))

    @property
    def dimension(self) -> int:
        """One number for each unit."""
        return self.units

    def near(self, coordinates: Tensor) -> Tensor:
        """The numbers added."""
        return coordinates

    def act(self, state: Tensors, value: Tensor) -> None:
        """Add to the bias, and undo it."""
        for one in self.columns:
            tensor = state[one.tensor]
            places = leading(tensor, one.dim)
            along = value.new_zeros(len(places)).index_add(0, one.places.reshape(-1), value)
            moved = places + along.reshape(-1, *(1,) * (places.ndim - 1))
            state[one.tensor] = restored(moved, one.dim, tensor.shape)
        for sink in self.sinks:
            sink.undo(state, value)

    def inverse(self, value: Tensor) -> Tensor:
        """The opposite."""
        return -value

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """Normal, of this standard deviation."""
        return spread * torch.randn(self.units, generator=source, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Mean(Generator):
    """Additions alike to all features on one side of layer normalisation, which takes their mean away.

    A value has one number for each column of a weight, shape (units,). In front of the normalisation 1 is added to
    all features that the weight writes, behind it 1 / gain to all that it reads; there the bias makes up for what
    the normalisation adds.

    Attributes:
        tensor: The weight, bias or table.
        dim: Its dimension of features.
        gain: That of the normalisation that the weight reads, or None.
        added: What that normalisation adds, or None.
        bias: The bias of the weight, or None.
    """

    tensor: str = ""
    dim: Dim = 0
    gain: str | None = None
    added: str | None = None
    bias: str | None = None

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes, and of those of the normalisation."""
        return tuple(name for name in (self.tensor, self.bias, self.gain, self.added) if name is not None)

    @property
    def dimension(self) -> int:
        """One number for each column."""
        return self.units

    def near(self, coordinates: Tensor) -> Tensor:
        """The numbers added."""
        return coordinates

    def act(self, state: Tensors, value: Tensor) -> None:
        """Add to each column."""
        tensor = leading(state[self.tensor], self.dim)
        along = torch.ones(len(tensor), dtype=tensor.dtype)
        if self.gain is not None:
            along = 1 / not_zero(state[self.gain], self.gain)
        changed = torch.addcmul(
            tensor, along.reshape(-1, *(1,) * (tensor.ndim - 1)), value.reshape(tensor.shape[1:])
        )
        state[self.tensor] = restored(changed, self.dim, state[self.tensor].shape)
        if self.bias is not None and self.added is not None:
            state[self.bias] = state[self.bias] - value * (state[self.added] * along).sum()

    def inverse(self, value: Tensor) -> Tensor:
        """The opposite."""
        return -value

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """Normal, of this standard deviation."""
        return spread * torch.randn(self.units, generator=source, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Turned(Columns):
    """Columns of a stream's coordinates behind gains, which stay as they are.

    Attributes:
        gains: (tensor, places, power): diag(g) R diag(g)^-1 comes instead of R, g the product of the powers.
    """

    gains: tuple[tuple[str, Tensor, int], ...] = ()


@dataclass(frozen=True, eq=False)
class Rotation(Generator):
    """Rotations of a residual stream that passes through normalisations; a value is an orthogonal matrix R.

    What writes into the stream is multiplied by R, what reads it behind a normalisation with gain g by the inverse
    of diag(g) R diag(g)^-1: as if the gain had been folded into the reader. Through layer normalisation R keeps
    the vector of ones.

    Attributes:
        columns: The slices that are coordinates; `dual` where the inverse comes, transposed.
        keeps_mean: Whether R 1 = 1.

    Source:
        Ashkboos et al. 2024, "SliceGPT", theorem 1.
    """

    columns: tuple[Turned, ...] = ()
    keeps_mean: bool = False

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes, and of the gains."""
        gains = [gain for one in self.columns for gain, _, _ in one.gains]
        return tuple(dict.fromkeys([*(one.tensor for one in self.columns), *gains]))

    @property
    def _free(self) -> int:
        return self.units - self.keeps_mean

    @property
    def dimension(self) -> int:
        """Planes in which it may turn."""
        return self._free * (self._free - 1) // 2

    def require(self, value: Tensor) -> Tensor:
        """An orthogonal matrix.

        Raises:
            LandscapeError: If it is none, or moves the vector of ones where that must stay.
        """
        value = super().require(value)
        gap = float((value @ value.T - torch.eye(self.units, dtype=value.dtype)).abs().max())
        if self.keeps_mean:
            gap = max(gap, float((value.sum(1) - 1).abs().max()))
        # Rounding of a few products of matrices.
        if gap > 1e-9 * self.units:
            wanted = "R Rᵀ = 1" + (" and R 1 = 1" if self.keeps_mean else "")
            raise LandscapeError("is no rotation of this stream", where=self.name, got=gap, expected=wanted)
        return value

    def embedded(self, free: Tensor) -> Tensor:
        """A rotation of the complement of the ones as one of the whole stream."""
        if not self.keeps_mean:
            return free
        basis = complement_of_ones(self.units).to(free)
        return basis @ free @ basis.T + torch.full((self.units, self.units), 1 / self.units, dtype=free.dtype)

    def near(self, coordinates: Tensor) -> Tensor:
        """The exponential of a skew-symmetric matrix, to first order."""
        skew = torch.zeros(self._free, self._free, dtype=coordinates.dtype)
        rows, columns = torch.triu_indices(self._free, self._free, 1)
        skew = skew.index_put((rows, columns), coordinates)
        return self.embedded(torch.eye(self._free, dtype=coordinates.dtype) + skew - skew.T)

    def act(self, state: Tensors, value: Tensor) -> None:
        """Multiply what writes and what reads."""
        for one in self.columns:
            scale = _gain_of(one, state, self.units)
            mixed(state, one, scale[:, None] * value / scale)

    def inverse(self, value: Tensor) -> Tensor:
        """The transposed matrix."""
        return value.T.contiguous()

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """Uniform over rotations and reflections."""
        normal = torch.randn(self._free, self._free, generator=source, dtype=torch.float64)
        q, r = torch.linalg.qr(normal)
        return self.embedded(q * r.diagonal().sign())


def _gain_of(one: Turned, state: Mapping[str, Tensor], units: int) -> Tensor:
    """The g of diag(g) R diag(g)^-1: the product of gains before columns, 1 / that of readers: shape (units,).

    Raises:
        LandscapeError: If one is next to 0.
    """
    total = torch.ones(units, dtype=torch.float64)
    for name, places, power in one.gains:
        total = total * not_zero(state[name].double().reshape(-1)[places], name) ** power
    return 1 / total if one.dual else total


def folded(one: Turned, state: Mapping[str, Tensor], units: int) -> Tensor:
    """Slices with the gains folded in, which R multiplies: shape (units, numbers)."""
    own = leading(state[one.tensor].double(), one.dim)[one.places].reshape(units, -1)
    return own / _gain_of(one, state, units)[:, None]


def not_zero(gain: Tensor, name: str) -> Tensor:
    """A gain, refused where what it lets through cannot be undone behind it.

    Raises:
        LandscapeError: If an element is next to 0.
    """
    size = gain.detach().abs()
    if float(size.min()) <= _SMALLEST_GAIN * float(size.max()):
        raise LandscapeError("a gain next to 0 cannot be divided by", where=name, got=float(size.min()))
    return gain


def complement_of_ones(size: int) -> Tensor:
    """An orthonormal basis of the vectors that sum to 0: shape (size, size - 1), float64."""
    frame = torch.eye(size, dtype=torch.float64)
    frame[:, 0] = 1
    return torch.linalg.qr(frame)[0][:, 1:].contiguous()
