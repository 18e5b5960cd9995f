"""Symmetries as values: generators, what each does to weights, and elements of the group they generate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.params import Tensors, Weights, resolve
from landscape.symmetry.axes import Dim, leading, length, multiplied, reordered, restored
from landscape.symmetry.columns import Columns, Owned, mixed
from landscape.symmetry.labels import Norm
from landscape.values.result import Result

# Kinds whose elements are positive factors, one for each unit.
SCALINGS = ("rescale", "gain", "query-key", "batchnorm")
KINDS = (*SCALINGS, "sign", "permutation", "basis", "turn", "shift", "mean", "rotation")
# Kinds that are reported together, the best known first.
FAMILIES = {
    "permutations": ("permutation",),
    "scales": (*SCALINGS, "sign"),
    "bases": ("basis", "turn"),
    "shifts": ("shift", "mean"),
    "rotations": ("rotation",),
}


@dataclass(frozen=True, eq=False)
class Slices(Result):
    """Slices of a tensor, and which unit each belongs to.

    Attributes:
        tensor: Its name.
        dim: The dimension it is cut along.
        places: Shape (k,), int64: which slices.
        units: Shape (k,), int64: the unit whose scale enters; a slice may be listed for several.
        powers: Shape (k,), int64: how often, with sign.
    """

    tensor: str
    dim: Dim
    places: Tensor
    units: Tensor
    powers: Tensor

    def factors(self, scales: Tensor, count: int) -> Tensor:
        """The factor of each slice along the dimension: shape (count,), float64."""
        along = torch.ones(count, dtype=torch.float64)
        return along.scatter_reduce(0, self.places, scales.double()[self.units] ** self.powers, "prod")


@dataclass(frozen=True, eq=False)
class Generator(Result, ABC):
    """A family of symmetries of one kind that act on the same units.

    Attributes:
        name: Kind and tensor, unique among the generators of a model.
        kind: One of `KINDS`.
        units: How many there are.
        description: In words.
    """

    name: str
    kind: str
    units: int
    description: str

    @property
    @abstractmethod
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes."""

    @abstractmethod
    def act(self, state: Tensors, value: Tensor) -> None:
        """Put changed tensors in the place of those of a dictionary of float64 tensors."""

    @abstractmethod
    def inverse(self, value: Tensor) -> Tensor:
        """Return the value that undoes a value."""

    @abstractmethod
    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """A random value; `spread` is the standard deviation of logarithms of factors."""

    @property
    def dimension(self) -> int:
        """The number of its continuous parameters; 0 of flips and permutations."""
        return 0

    def near(self, coordinates: Tensor) -> Tensor:
        """The value at some coordinates, shape (dimension,), about the identity at 0; differentiable there."""
        raise NotImplementedError(self.kind)

    def require(self, value: Tensor) -> Tensor:
        """A value checked for its shape.

        Raises:
            LandscapeError: If it does not fit.
        """
        if value.shape[:1] != (self.units,):
            raise LandscapeError(
                "not one value per unit", where=self.name, got=tuple(value.shape), expected=f"{self.units} units"
            )
        return value


@dataclass(frozen=True, eq=False)
class Scaling(Generator):
    """Positive factors of units: what makes them is multiplied, what takes them is divided.

    A value is a factor per unit: shape (units,), float64. The element at a place of a tensor is multiplied by the
    product of factor ** power over all `slices` of that tensor that it is in.

    Attributes:
        slices: The exponents a_e of every element e.
        norms: Of normalisations whose statistics take part: their gain makes up for eps.
        incoming: The (tensor, dim) whose slices are what comes into the units.
    """

    slices: tuple[Slices, ...] = ()
    norms: tuple[Norm, ...] = ()
    incoming: tuple[str, Dim] = ("", 0)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes."""
        gains = [norm.gain for norm in self.norms if norm.gain is not None]
        return tuple(dict.fromkeys([*(one.tensor for one in self.slices), *gains]))

    def act(self, state: Tensors, value: Tensor) -> None:
        """Multiply; a variance v with its eps so that the function is exactly kept.

        With v -> c^2 v the gain takes the factor sqrt(c^2 v + eps) / (c sqrt(v + eps)); without a gain
        v -> c^2 (v + eps) - eps.
        """
        norms = {norm.variance: norm for norm in self.norms}
        for one in self.slices:
            tensor = state[one.tensor]
            along = one.factors(value, length(tensor.shape, one.dim))
            if one.tensor in norms:
                state[one.tensor] = _variance(state, norms[one.tensor], along)
            else:
                state[one.tensor] = multiplied(tensor, one.dim, along, owned=isinstance(state, Owned))

    @property
    def dimension(self) -> int:
        """One logarithm for each unit."""
        return self.units

    def near(self, coordinates: Tensor) -> Tensor:
        """The exponentials."""
        return coordinates.exp()

    def inverse(self, value: Tensor) -> Tensor:
        """The reciprocal factors."""
        return 1 / value

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """Log-normal factors."""
        return torch.exp(spread * torch.randn(self.units, generator=source, dtype=torch.float64))


def _variance(state: Tensors, norm: Norm, squared: Tensor) -> Tensor:
    before = state[norm.variance]
    if norm.gain is None:
        after = squared * (before + norm.eps) - norm.eps
        after = torch.where(squared == 1, before, after)
        if bool((after < 0).any()):
            raise LandscapeError(
                "a scale this small makes a variance negative, because this normalisation has no gain to make up "
                "for its eps",
                where=norm.variance,
                mend="choose a larger scale",
            )
        return after
    after = squared * before
    ratio = ((after + norm.eps) / (squared * (before + norm.eps))).sqrt()
    state[norm.gain] = state[norm.gain] * torch.where(squared == 1, torch.ones_like(ratio), ratio)
    return after


@dataclass(frozen=True, eq=False)
class Flipping(Generator):
    """Signs of units; a value is +1 or -1 per unit: shape (units,), float64.

    Attributes:
        slices: As of a `Scaling`; only odd powers count.
        incoming: As of a `Scaling`.
    """

    slices: tuple[Slices, ...] = ()
    incoming: tuple[str, Dim] = ("", 0)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes."""
        return tuple(dict.fromkeys(one.tensor for one in self.slices))

    def act(self, state: Tensors, value: Tensor) -> None:
        """Multiply by the signs."""
        for one in self.slices:
            tensor = state[one.tensor]
            along = one.factors(value, length(tensor.shape, one.dim))
            state[one.tensor] = multiplied(tensor, one.dim, along, owned=isinstance(state, Owned))

    def inverse(self, value: Tensor) -> Tensor:
        """The same signs."""
        return value

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """Fair coins."""
        return 2.0 * torch.randint(0, 2, (self.units,), generator=source).double() - 1.0


@dataclass(frozen=True, eq=False)
class Exchange(Generator):
    """Permutations of units; a value p says that place i is taken by unit p[i]: shape (units,), int64.

    Attributes:
        columns: Which slices of which tensors belong to the units.
    """

    columns: tuple[Columns, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes."""
        return tuple(dict.fromkeys(one.tensor for one in self.columns))

    def act(self, state: Tensors, value: Tensor) -> None:
        """Put the slices of unit p[i] where those of unit i were."""
        for one in self.columns:
            places = one.places.to(value.device)
            tensor = state[one.tensor]
            order = torch.arange(length(tensor.shape, one.dim), device=value.device)
            order[places.reshape(-1)] = places[value].reshape(-1)
            state[one.tensor] = (
                reordered(tensor, one.dim, order, owned=isinstance(state, Owned))
                if isinstance(one.dim, int)
                else restored(leading(tensor, one.dim)[order], one.dim, tensor.shape)
            )

    def inverse(self, value: Tensor) -> Tensor:
        """The inverse permutation."""
        return torch.argsort(value)

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """Uniform."""
        return torch.randperm(self.units, generator=source)


def is_within(one: Exchange | Basis, other: Generator) -> bool:
    """Return whether all units of one lie within a single unit of another that is exchanged as a whole."""
    if not isinstance(other, Exchange) or other is one:
        return False
    blocks = {(column.tensor, column.dim): column.places for column in other.columns if column.places.shape[1] > 1}
    return any(
        bool(torch.isin(column.places, blocks[column.tensor, column.dim][unit]).all())
        for column in one.columns
        if (column.tensor, column.dim) in blocks
        for unit in range(other.units)
    )


@dataclass(frozen=True, eq=False)
class Basis(Generator):
    """Changes of basis; a value is an invertible matrix: shape (units, units), float64.

    Attributes:
        columns: Which slices of which tensors are coordinates, and where the inverse comes, transposed.
    """

    columns: tuple[Columns, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that it changes."""
        return tuple(dict.fromkeys(one.tensor for one in self.columns))

    def act(self, state: Tensors, value: Tensor) -> None:
        """Multiply the coordinates by the matrix, or by its inverse, transposed."""
        for one in self.columns:
            mixed(state, one, torch.linalg.inv(value).T if one.dual else value)

    @property
    def dimension(self) -> int:
        """The entries of the matrix."""
        return self.units**2

    def near(self, coordinates: Tensor) -> Tensor:
        """The identity and what is added to it."""
        return torch.eye(self.units).to(coordinates) + coordinates.reshape(self.units, self.units)

    def inverse(self, value: Tensor) -> Tensor:
        """The inverse matrix."""
        return torch.linalg.inv(value)

    def draw(self, source: torch.Generator, spread: float) -> Tensor:
        """A rotation, log-normal factors, another rotation; the factors within e^2 of one another or so."""
        left, right = (
            torch.linalg.qr(torch.randn(self.units, self.units, generator=source, dtype=torch.float64))[0]
            for _ in range(2)
        )
        # Its condition number multiplies rounding.
        factors = torch.exp(min(spread, 0.5) * torch.randn(self.units, generator=source, dtype=torch.float64))
        return left * factors @ right


@dataclass(frozen=True, eq=False)
class Element(Result):
    """A symmetry: values of generators, applied one after the other.

    Attributes:
        factors: (generator, value), the first acts first.

    Example:
        >>> symmetries = ls.symmetry.find(model, x)
        >>> element = symmetries.draw(seed=0)
        >>> same_function = element.apply(model)
        >>> back = element.inverse().apply(same_function)
    """

    factors: tuple[tuple[Generator, Tensor], ...] = field(default=())

    def apply(self, weights: Weights) -> Tensors:
        """The weights after it: computed in float64 and rounded once.

        Args:
            weights: A snapshot, a model, or a name -> tensor dictionary; they are not changed.

        Returns:
            Name -> tensor, buffers included, each of its own element type; what does not change is shared.

        Raises:
            LandscapeError: If a tensor that it changes is missing.
        """
        tensors = resolve(weights)[1]
        moved = {name for generator, _ in self.factors for name in generator.tensors}
        state = {
            name: tensor.to(torch.float64, copy=True) if name in moved else tensor
            for name, tensor in tensors.items()
        }
        self.act(state)
        return {name: tensor.to(tensors[name].dtype) for name, tensor in state.items()}

    def act(self, state: Tensors) -> None:
        """Change a dictionary of float64 tensors that nobody else holds: some are changed where they are.

        Raises:
            LandscapeError: If a tensor that it changes is missing.
        """
        own = Owned(state)
        # What is replaced is let go at once.
        state.clear()
        try:
            for generator, value in self.factors:
                missing = [name for name in generator.tensors if name not in own]
                if missing:
                    raise LandscapeError(
                        f"tensor '{missing[0]}' is missing",
                        where=generator.name,
                        mend="pass buffers along with the weights",
                    )
                # The last bits of a product depend on how a matrix lies in memory.
                generator.act(own, value.to(own[generator.tensors[0]].device).contiguous())
        finally:
            state.update(own)

    def inverse(self) -> Element:
        """Return the element that undoes it."""
        return Element(tuple((generator, generator.inverse(value)) for generator, value in reversed(self.factors)))

    def then(self, other: Element) -> Element:
        """This one first, then another."""
        return Element((*self.factors, *other.factors))

    def to_json(self) -> list[dict[str, Any]]:
        """As plain values: for each factor the generator's name and the value; see `Symmetries.element`."""
        return [{"generator": generator.name, "value": value.tolist()} for generator, value in self.factors]


def element_from_json(entries: list[dict[str, Any]], generators: Mapping[str, Generator]) -> Element:
    """The element that `Element.to_json` described.

    Raises:
        LandscapeError: If a generator is not one of these.
    """
    factors = []
    for entry in entries:
        if entry["generator"] not in generators:
            raise LandscapeError(f"this model has no symmetry '{entry['generator']}'")
        generator = generators[entry["generator"]]
        kind = torch.int64 if generator.kind == "permutation" else torch.float64
        factors.append((generator, generator.require(torch.tensor(entry["value"], dtype=kind))))
    return Element(tuple(factors))
