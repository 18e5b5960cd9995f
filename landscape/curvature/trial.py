"""A few examples on which the loss that is differentiated is compared with the loss that is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from landscape.curvature.finite_differences import Steps, apart, filled, inner, norm
from landscape.curvature.graphs import Graph, HessianGraph, pulled
from landscape.curvature.passes import Batch, Passes
from landscape.curvature.separation import inseparable
from landscape.curvature.shares import Differenced, differenced_share, share_of
from landscape.objective.data import Split
from landscape.objective.sample import sample

# Examples, from all over the data: so few that the check is cheap beside one product with all of them.
EXAMPLES = 8
# The check is made so far from the weights, relative to each tensor: at weights that are exactly zero, or at a
# minimum, derivatives may not exist or vanish, whatever autograd makes of them.
_AWAY = 1e-2
# A tensor of zeros is moved as if its entries had this size.
_SMALLEST = 1e-2
# An error estimate from two differences is itself uncertain; derivatives that are wrong are off by far more.
_MARGIN = 10.0
# Some kernels hold constants of float32 in float64 (the sixth of a hard sigmoid, say).
_KERNEL = 1e-6
# A comparison decides where its error is smaller than this share of what is compared.
_DECIDED = 0.1
# Steps as powers of the rounding error. The cube root balances rounding and truncation of a central difference of
# the loss, the square root rounding and truncation of a difference of gradients (and crosses few kinks); at the
# last a loss of jumps (quantised weights) is flat, and any other still has three digits.
BALANCED, SHORT, TINY = 1 / 3, 1 / 2, 5 / 8
POWERS = (TINY, SHORT, BALANCED)
# Likewise for a second difference of the loss.
_SECOND = 1 / 4
# A loss that is no larger than so many rounding errors has no derivative that could be compared.
_DIGITS = 100
# Outputs that are larger hide something.
_MASK = 1e4


@dataclass(frozen=True)
class Fault:
    """A derivative that is not what it should be.

    Attributes:
        order: 1 or 2.
        text: What is wrong, for the reader.
        got: By autograd; NaN where it gave none.
        expected: By differences.
    """

    order: int
    text: str
    got: float = math.nan
    expected: float = math.nan


class Trial:
    """The loss of a few examples, as it is drawn and as it is differentiated.

    Args:
        passes: A twin of the passes, with nothing but the examples; moved a little away from the weights.
        seed: Of the directions.

    Attributes:
        passes: The twin.
        epsilon: The rounding error of the narrowest type that the loss goes through.
        zero: The vector of zeros.
        doubt: What cannot be decided here.
    """

    def __init__(self, passes: Passes, seed: int = 0) -> None:
        self.passes = passes
        self._generator = torch.Generator().manual_seed(seed)
        self.epsilon = torch.finfo(passes.dtype).eps
        self.doubt = ""
        self._output = 1.0
        self._steps = Steps(passes.variables, 1.0)
        # One number each, however large the tensor is.
        self.zero = [variable.detach().new_zeros(()).expand(variable.shape) for variable in passes.variables]

    def hold(self, other: Trial) -> None:
        """Take the weights of another trial."""
        self._forget()
        with torch.no_grad():
            for variable, value in zip(self.passes.variables, other.passes.variables, strict=True):
                variable.copy_(value)

    def like(self, vector: Sequence[Tensor]) -> list[Tensor]:
        """A vector in the type of these passes."""
        return [part.to(own) for part, own in zip(vector, self.zero, strict=True)]

    @property
    def batch(self) -> Batch:
        """The examples, which may be written into."""
        return self.passes.whole()

    def survey(self) -> None:
        """Find the narrowest type that the loss goes through, and the size of the outputs it is made of."""
        outputs: list[Any] = []
        with (
            self.passes.kernels(),
            hooked(self.passes.evaluator.model, lambda _m, _given, output: outputs.append(output)),
            _Narrowest(self.passes.dtype) as met,
        ):
            self.passes.loss_of(self.batch)
        self._output = max(map(_typical, tree_leaves(outputs)), default=1.0)
        self.epsilon = max(self.epsilon, torch.finfo(met.narrowest).eps)
        if met.narrowest.itemsize < torch.float32.itemsize:
            kind = str(met.narrowest).removeprefix("torch.")
            self.doubt = f"the model computes in {kind}, too coarse to check derivatives"
        if self.center[1] < _DIGITS * self.rounding:
            self.doubt = "the loss is zero but for rounding, too small to check derivatives"

    def direction(self) -> list[Tensor]:
        """A random direction in which every tensor moves in proportion to its size."""
        return list(self._moves())

    def _moves(self) -> Iterator[Tensor]:
        for variable in self.passes.variables:
            kind = torch.complex128 if variable.is_complex() else torch.float64
            drawn = torch.randn(variable.shape, generator=self._generator, dtype=kind)
            size = max(norm([variable]), _SMALLEST * math.sqrt(variable.numel()))
            scaled = drawn * (size / max(float(drawn.norm().real), 1e-300))
            yield scaled.to(variable.device, variable.dtype)

    def move_away(self, kind: torch.dtype) -> bool:
        """Leave the weights a little, to numbers that another type holds as well; stay where the loss ends.

        Returns:
            Whether the loss is finite.
        """
        with torch.no_grad():
            own = [variable.detach().clone() for variable in self.passes.variables]
            for variable, move in zip(self.passes.variables, self._moves(), strict=True):
                moved = variable + _AWAY * move
                variable.copy_(moved if moved.is_complex() else moved.to(kind))
            self._forget()
            if math.isfinite(self.center[0]):
                return True
            for variable, value in zip(self.passes.variables, own, strict=True):
                variable.copy_(value)
            self._forget()
        return math.isfinite(self.center[0])

    def _forget(self) -> None:
        self.__dict__.pop("center", None)

    @cached_property
    def center(self) -> tuple[float, float]:
        """The loss drawn where the trial stands, summed, and the sum of its absolute shares."""
        return self.value(self.zero, 0.0)

    def value(self, direction: Sequence[Tensor], length: float) -> tuple[float, float]:
        """The loss drawn at w + length * v, summed, and the sum of its absolute shares."""
        with self._steps.at(direction, length):
            shares = self.passes.drawn(self.batch)
            wide = torch.float32 if shares.device.type == "mps" else torch.float64
            return float(shares.sum(dtype=wide)), float(shares.abs().sum(dtype=wide))

    @property
    def rounding(self) -> float:
        """Rounding error of the loss: losses near zero are rounded as the outputs are that they come from."""
        return self.epsilon * max(self.center[1], self.batch.examples * self._output)

    def gradient(self) -> list[Tensor]:
        """The gradient by one backward pass."""
        return filled(self.passes.gradient_of(self.batch), self.zero)

    def graph(self, kind: str) -> Graph:
        """The graph from which products with a matrix are taken."""
        return share_of(self.passes, self.batch, kind).graph

    def differenced(self, kind: str, step: float) -> Differenced:
        """The same from differences of first derivatives."""
        return differenced_share(self.passes, self.batch, kind, step).graph  # type: ignore[return-value]

    def wrong_value(self) -> Fault | None:
        """Compare the loss that is differentiated with the loss drawn."""
        drawn, size = self.center
        own = float(self.passes.loss_of(self.batch).shares.detach().sum())
        if abs(own - drawn) <= math.sqrt(self.epsilon) * size + _MARGIN * self.rounding:
            return None
        return Fault(1, "the loss is another one with gradients than without", own, drawn)

    def wrong_slope(
        self,
        gradient: Sequence[Tensor],
        vector: Sequence[Tensor],
        powers: Sequence[float] = POWERS,
    ) -> Fault | None:
        """Compare v . g with central differences of the loss drawn along a vector."""
        got = inner(vector, gradient)
        decided = False
        for power in powers:
            if power == SHORT and decided:
                continue
            length = self.epsilon**power
            values = [self.value(vector, factor * length)[0] for factor in (-2, -1, 1, 2)]
            slope, error = _central(values, self.center[0], length, self.rounding)
            if abs(got - slope) > max(_MARGIN * error, _KERNEL * abs(got)):
                return Fault(1, "the gradient is another one", got, slope)
            decided = _MARGIN * error < abs(got)
        return None

    def bend(self, vector: Sequence[Tensor]) -> tuple[float, float]:
        """v . H v as a second difference of the loss drawn, and its error."""
        center = self.center[0]
        found = []
        for factor in (1, 2):
            length = factor * self.epsilon**_SECOND
            left, right = (self.value(vector, sign * length)[0] for sign in (-1, 1))
            found.append((left - 2 * center + right) / length**2)
        rounding = 4 * self.rounding / self.epsilon ** (2 * _SECOND)
        return found[0], _MARGIN * (abs(found[1] - found[0]) + rounding)

    def slopes_of(self, gradient: Sequence[Tensor], place: int) -> tuple[float, float]:
        """v . g and the difference of the loss drawn over the smallest step, v in one tensor alone."""
        vector = [part if own == place else self.zero[own] for own, part in enumerate(self._moves())]
        length = self.epsilon**TINY
        left, right = (self.value(vector, sign * length)[0] for sign in (-1, 1))
        return inner(vector, gradient), (right - left) / (2 * length)

    def image(self, graph: Graph, vector: Sequence[Tensor]) -> list[Tensor]:
        """The product with a vector."""
        return filled(graph.apply(vector, False), self.zero)

    def wrong_product(
        self,
        kind: str,
        gradient: Sequence[Tensor],
        vectors: Sequence[Sequence[Tensor]],
        graph: Graph,
    ) -> tuple[Fault | None, list[Tensor]]:
        """Compare a product with differences of first derivatives, and u . H v with v . H u.

        Returns:
            The fault, and the product with the first vector.
        """
        # Of the other only numbers are held.
        other = self.image(graph, vectors[1])
        right, size = inner(vectors[0], other), norm(other)
        del other
        one = self.image(graph, vectors[0])
        if not math.isfinite(norm(one)) or not math.isfinite(size):
            return Fault(2, "the second derivative is not finite"), one
        if (fault := self._wrong_image(one, kind, gradient, vectors[0])) is not None:
            return fault, one
        left, size = inner(vectors[1], one), norm(vectors[1]) * norm(one) + norm(vectors[0]) * size
        # Rounding is smaller by many orders, and a matrix that is not symmetric off by far more.
        if abs(left - right) > math.sqrt(self.rounding / self.center[1]) * size:
            return Fault(2, "the second derivative is not symmetric"), one
        return None, one

    def _wrong_image(
        self, product: Sequence[Tensor], kind: str, gradient: Sequence[Tensor], vector: Sequence[Tensor]
    ) -> Fault | None:
        """Compare H v with a difference that is short enough for few kinks, and long enough for rounding."""
        rounding = 4 * norm(gradient) * self.rounding / self.center[1]
        for power in (SHORT, BALANCED, TINY):
            step = self.epsilon**power
            reference = self.differenced(kind, step)
            expected = filled(reference.apply(vector, False), self.zero)
            error = norm(reference.errors) + rounding / Steps(self.passes.variables, step).length(vector)
            if error < _DECIDED * max(norm(expected), norm(product)):
                off = apart(product, expected)
                if off <= _MARGIN * error:
                    return None
                return Fault(2, f"the second derivative is {off / max(norm(expected), 1e-300):.0%} off")
        return None

    def wrong_separation(self, gradient: Sequence[Tensor]) -> Fault | None:
        """Compare the gradient through the model's outputs with the gradient, and A with differences.

        Raises:
            LandscapeError: If the loss is not a function of the outputs.
        """
        parts, _ = self.passes.separated(self.batch)
        slopes = filled(pulled([parts.total], parts.leaves, [torch.ones_like(parts.total)], False), parts.leaves)
        chained = filled(pulled(parts.outputs, self.passes.variables, slopes, False), self.zero)
        off = apart(chained, gradient)
        if off > math.sqrt(self.epsilon) * norm(gradient):
            raise inseparable("the loss depends on the weights by more than the model's output")
        if not slopes:
            return None
        vector = [torch.sin(torch.arange(part.numel(), device=part.device) + 1.0).view_as(part) for part in slopes]
        vector = [part.to(own) for part, own in zip(vector, slopes, strict=True)]
        bent = filled(HessianGraph(parts.total, parts.leaves).apply(vector, False), slopes)
        step = self.epsilon**BALANCED * (1 + norm(parts.leaves) / norm(vector))
        one, other = (self._bent(vector, factor * step) for factor in (1, 2))
        error = apart(one, other) + self.epsilon / step * norm(slopes)
        if apart(bent, one) > _MARGIN * error:
            return Fault(2, "the second derivative of the loss by the model's output is another one")
        return None

    def _bent(self, vector: Sequence[Tensor], length: float) -> list[Tensor]:
        """Differences of the slopes of the loss by its outputs."""
        found = []
        for sign in (1, -1):
            shift = [sign * length * part for part in vector]
            parts, _ = self.passes.separated(self.batch, shift)
            found.append(torch.autograd.grad(parts.total, parts.leaves))
        return [(a - b) / (2 * length) for a, b in zip(*found, strict=True)]


def trial_of(passes: Passes) -> Trial:
    """A trial of some passes in their own type of real numbers, at the weights they hold."""
    return Trial(passes.twin(_few(passes), None))


def wide_trial_of(passes: Passes) -> Trial | None:
    """The same in float64; None where the model does not run in it."""
    try:
        trial = Trial(passes.twin(_few(passes), torch.float64))
        trial.center  # noqa: B018
    except (RuntimeError, TypeError, ValueError):
        return None
    return trial


def _few(passes: Passes) -> Split:
    """Some examples, or one batch where batches are what the loss is made of."""
    coupled, source = passes.evaluator.findings.coupled, passes.evaluator.data(passes.split)
    return sample(source, passes.evaluator.batch_size if coupled else EXAMPLES, whole=coupled)


def _central(values: Sequence[float], center: float, length: float, rounding: float) -> tuple[float, float]:
    """A slope from values at -2h, -h, h and 2h, and its error.

    Truncation shows in the difference between h and 2h. Rounding shows in the fourth difference, which amplifies
    independent errors by the root of 70 and leaves nothing of a smooth function; it is at least what a type holds.
    """
    low, left, right, high = values
    one, other = (right - left) / (2 * length), (high - low) / (4 * length)
    fourth = abs(low - 4 * left + 6 * center - 4 * right + high) / math.sqrt(70)
    return one, abs(one - other) + max(fourth, rounding) / length


@contextmanager
def hooked(
    module: nn.Module, after: Callable[..., None], before: Callable[..., None] | None = None
) -> Iterator[None]:
    """Call something after a module, and before it, which TorchScript does not allow for."""
    handles: list[Any] = []
    if not isinstance(module, torch.jit.ScriptModule):
        handles.append(module.register_forward_hook(after))
        if before is not None:
            handles.append(module.register_forward_pre_hook(before))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _typical(output: Any) -> float:
    """The size of the entries of an output, in the square mean."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.numel() == 0:
        return 0.0
    return float(output.detach().double().nan_to_num(0.0).clamp(-_MASK, _MASK).square().mean().sqrt())


class _Narrowest(TorchFunctionMode):
    """Notes the narrowest type of real numbers among results that depend on the weights."""

    def __init__(self, own: torch.dtype) -> None:
        super().__init__()
        self.narrowest = own

    def __torch_function__(
        self, function: Any, types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """A call as it is made."""
        found = function(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.is_floating_point():
            kind = found.dtype
            if kind.itemsize < self.narrowest.itemsize and found.requires_grad:
                self.narrowest = kind
        return found
