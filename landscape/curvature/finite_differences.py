"""Products with matrices of second derivatives as differences of first ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from landscape.curvature.graphs import Parts, pulled
from landscape.curvature.separation import Separated
from landscape.params import real_view, wide


class Steps:
    """Variables that are moved along a vector and put back bit for bit.

    Args:
        variables: Leaves; changed in place meanwhile.
        relative: Length of a step relative to 1 + |w|: the cube root of the rounding error balances rounding and
            truncation of a central difference.
    """

    def __init__(self, variables: Sequence[Tensor], relative: float) -> None:
        self._variables, self._relative = variables, relative

    def length(self, directions: Sequence[Tensor]) -> float:
        """h = relative * (1 + |w|) / |v|; 0 where v is 0."""
        size = norm(directions)
        return self._relative * (1 + norm(self._variables)) / size if size else 0.0

    @contextmanager
    def at(self, directions: Sequence[Tensor], length: float) -> Iterator[None]:
        """Hold the variables at w + length * v."""
        held = [variable.detach().clone() for variable in self._variables]
        try:
            self._put(w + length * v for w, v in zip(held, directions, strict=True))
            yield
        finally:
            self._put(held)

    def _put(self, values: Iterable[Tensor]) -> None:
        with torch.no_grad():
            for variable, value in zip(self._variables, values, strict=True):
                # Past the count of changes: graphs made before hold again once the variables are put back.
                variable.data.copy_(value)

    def derivative(
        self, function: Callable[[], Parts], directions: Sequence[Tensor]
    ) -> tuple[Parts, list[Tensor | None], Parts]:
        """Derivative of a function of the variables along a vector, and how far it is off.

        Central differences (f(w + h v) - f(w - h v)) / 2h at h and at 2h. Truncation makes them differ by three
        times the error of the first, rounding by about as much as its own.

        Returns:
            The first; the second less the first; and the size of what rounding of f amounts to.
        """
        length = self.length(directions)
        one = self._values(function, directions, length)
        rounding = [None if f is None else _rounding(f, length) for f in one]
        one = self._slopes(one, self._values(function, directions, -length), length)
        other = self._values(function, directions, 2 * length)
        other = self._slopes(other, self._values(function, directions, -2 * length), 2 * length)
        return one, _replaced(other, lambda b, a: b - a, one), rounding

    def _slopes(self, right: list[Tensor | None], left: Parts, length: float) -> list[Tensor | None]:
        return _replaced(right, lambda a, b: (a - b) / (2 * length) if length else torch.zeros_like(a), left)

    def _values(
        self, function: Callable[[], Parts], directions: Sequence[Tensor], length: float
    ) -> list[Tensor | None]:
        with self.at(directions, length):
            return [None if part is None else part.detach() for part in function()]


def _rounding(value: Tensor, length: float) -> Tensor:
    if not length:
        return torch.zeros_like(value)
    return (torch.finfo(value.dtype).eps * value.abs() / length).to(value.dtype)


def _replaced(
    parts: list[Tensor | None], function: Callable[[Tensor, Tensor], Tensor], others: Parts
) -> list[Tensor | None]:
    """Put a function of parts and others in place of the parts, one by one: no third vector is held."""
    for place, (one, other) in enumerate(zip(parts, others, strict=True)):
        parts[place] = None if one is None or other is None else function(one, other)
    return parts


def _both(change: list[Tensor | None], rounding: Parts) -> Parts:
    """Return how far entries are off by two causes."""
    return _replaced(change, lambda a, b: real_view(a.detach()).abs() + real_view(b.detach()).abs(), rounding)


class DifferencedHessian:
    """The Hessian of a number whose gradient can be taken anywhere: products are differences of gradients.

    Args:
        gradient: The gradient where the variables are; None where the number does not depend on one.
        variables: Of the number.
        relative: See `Steps`.

    Attributes:
        errors: How far the last product is off, like the product.

    Source:
        Nocedal and Wright 2006, "Numerical Optimization", section 8.1, for the step and its error.
    """

    linear = False

    def __init__(self, gradient: Callable[[], Parts], variables: Sequence[Tensor], relative: float) -> None:
        self._gradient, self._steps = gradient, Steps(variables, relative)
        self.errors: Parts = []

    def apply(self, directions: Sequence[Tensor], batched: bool) -> Parts:
        """The Hessian times a vector."""
        return applied(self._alone, directions, batched)

    def _alone(self, directions: Sequence[Tensor]) -> Parts:
        found, change, rounding = self._steps.derivative(self._gradient, directions)
        self.errors = _both(change, rounding)
        return found

    def quadratic(self, directions: Sequence[Tensor]) -> float:
        """v . H v."""
        return math.fsum(self.blocks(directions))

    def blocks(self, directions: Sequence[Tensor]) -> list[float]:
        """v_i . (H v)_i for each part v_i of a vector."""
        return [
            0.0 if part is None else inner([given], [part])
            for given, part in zip(directions, self._alone(directions), strict=True)
        ]


class DifferencedOuter:
    """J^T A J with J v as a difference of outputs, and J^T by a backward pass.

    Args:
        separated: Outputs where the variables are, and the loss as a function of them.
        between: From these to the matrix A.
        variables: Of the outputs.
        relative: See `Steps`.

    Attributes:
        errors: How far the last product is off because J v is, like the product.
    """

    def __init__(
        self,
        separated: Callable[[], Separated],
        between: Callable[[Separated], Callable[..., Parts]],
        variables: Sequence[Tensor],
        relative: float,
    ) -> None:
        self._separated, self._between, self._variables = separated, between, variables
        self._steps = Steps(variables, relative)
        self.errors: Parts = []

    def apply(self, directions: Sequence[Tensor], batched: bool) -> Parts:
        """J^T A J times a vector."""
        return applied(self._alone, directions, batched)

    def _alone(self, directions: Sequence[Tensor]) -> Parts:
        found, change, rounding = self._steps.derivative(lambda: self._separated().outputs, directions)
        signs = torch.Generator().manual_seed(0)
        signed = [None if part is None else _random_signs(part, signs) * part for part in rounding]
        parts = self._separated()
        bend = self._between(parts)
        pushed, off, rounded = (
            self._pulled(parts, bend(filled(part, parts.outputs), False)) for part in (found, change, signed)
        )
        self.errors = _both(off, rounded)
        return pushed

    def _pulled(self, parts: Separated, bent: Parts) -> list[Tensor | None]:
        kept = [place for place, part in enumerate(bent) if part is not None]
        if not kept:
            return [None] * len(self._variables)
        outputs, covectors = [parts.outputs[place] for place in kept], [bent[place] for place in kept]
        return list(pulled(outputs, self._variables, covectors, False))

    def quadratic(self, directions: Sequence[Tensor]) -> float:
        """(J v) . A (J v)."""
        pushed, *_ = self._steps.derivative(lambda: self._separated().outputs, directions)
        parts = self._separated()
        along = filled(pushed, parts.outputs)
        return inner(along, self._between(parts)(along, False))


def _random_signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return (2 * torch.randint(0, 2, like.shape, generator=generator) - 1).to(like.device, like.dtype)


def applied(product: Callable[[Sequence[Tensor]], Parts], directions: Sequence[Tensor], batched: bool) -> Parts:
    """A product with one vector, or with several along axis 0 one after the other."""
    if not batched:
        return product(directions)
    rows = [product([part[row] for part in directions]) for row in range(len(directions[0]))]
    return [
        None if any(part is None for part in parts) else torch.stack(parts) for parts in zip(*rows, strict=True)
    ]


def filled(parts: Parts, like: Sequence[Tensor]) -> list[Tensor]:
    """Parts without graphs and dense, with zeros where there is none."""
    found = []
    for part, own in zip(parts, like, strict=True):
        known = torch.zeros_like(own.detach()) if part is None else part.detach()
        found.append(known.to_dense() if known.is_sparse else known)
    return found


def inner(one: Sequence[Tensor], other: Parts) -> float:
    """The real inner product of two vectors cut into tensors, in float64."""
    pairs = zip(one, other, strict=True)
    return math.fsum(float((wide(a.detach()) * wide(b.detach())).sum()) for a, b in pairs if b is not None)


def apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The Euclidean distance of two vectors cut into tensors, in the type of the second."""
    gaps = ((a.to(b.dtype) - b).detach() for a, b in zip(one, other, strict=True))
    return math.sqrt(max(0.0, math.fsum(inner([gap], [gap]) for gap in gaps)))


def norm(parts: Parts) -> float:
    """The Euclidean norm of a vector cut into tensors."""
    present = [part for part in parts if part is not None]
    return math.sqrt(max(0.0, inner(present, present)))
