"""Do two sets of weights give the same function, as far as rounding lets one tell?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from landscape.errors import LandscapeError
from landscape.objective.dispatch import DispatchMode
from landscape.params import Tensors, cast, wide
from landscape.symmetry.recording import outputs_of, plain_kernels
from landscape.values.result import Result

# The largest of a few random roundings misses the largest of all by less than that, and so does the sum over the
# layers of what each rounds anew.
_MARGIN = 8.0
# How often weights are rounded at random to see what rounding them does.
_DRAWS = 2
# Numbers that are rounded at once.
PIECE = 2**20


@dataclass(frozen=True)
class Check(Result):
    """Difference of two outputs.

    Attributes:
        max_difference: max |f - f'| over all outputs on the example input.
        explained: What rounding explains: of evaluation, measured against another precision, and of the weights.
        output_scale: max |f|.
        dtype: The element type of the weights.
    """

    max_difference: float
    explained: float
    output_scale: float
    dtype: str

    @property
    def passed(self) -> bool:
        """Return whether rounding explains the difference."""
        return math.isfinite(self.explained) and self.max_difference <= self.explained

    @property
    def relative(self) -> float:
        """The difference as a share of the largest output."""
        return self.max_difference / self.output_scale if self.output_scale else self.max_difference


class Wide(DispatchMode):
    """Keeps float64 where a model asks for a narrower type on the way, as many do in their norms and softmaxes."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        wanted = kwargs.get("dtype")
        if func is torch.ops.aten._to_copy.default and wanted is not None and wanted.is_floating_point:
            own = args[0].dtype
            # Whole numbers too: positions meet frequencies in a matrix product.
            if own == torch.float64 or not (own.is_floating_point or own.is_complex):
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


class Runner:
    """Runs a model on an example input at any weights, in any precision.

    Args:
        model: A private copy in evaluation mode.
        x: A tensor of inputs, a tuple of positional or a dictionary of named arguments.
        dtype: The type of real numbers; None is the model's own.
    """

    def __init__(self, model: nn.Module, x: Any, dtype: torch.dtype | None = None) -> None:
        self.model = model
        self.x = x
        self._buffers = dict(model.named_buffers())
        types = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
        # Where types are mixed, the coarsest says how far outputs can be trusted.
        self._forced = dtype
        own = max(types, key=lambda kind: torch.finfo(kind).eps) if types else torch.float32
        self.dtype = dtype or own

    def outputs(self, state: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
        """The outputs in float64, as real numbers.

        Args:
            state: Name -> tensor; buffers that it lacks are the model's.
            dtype: The type of real numbers; None is that of each tensor.
        """
        dtype = dtype or self._forced

        def of_type(leaf: Any) -> Any:
            return cast(leaf, dtype) if isinstance(leaf, Tensor) else leaf

        tensors = {name: of_type(tensor) for name, tensor in {**self._buffers, **state}.items()}
        x = tree_map(of_type, self.x)
        arguments: tuple[Any, ...] = () if isinstance(x, Mapping) else x if isinstance(x, tuple) else (x,)
        named = dict(x) if isinstance(x, Mapping) else {}
        with plain_kernels(), Wide() if dtype == torch.float64 else nullcontext():
            output = torch.func.functional_call(self.model, tensors, arguments, named)
        return [wide(tensor) for tensor in outputs_of(output)]

    def compare(self, state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Check:
        """Compare the functions of two sets of weights.

        The difference is compared with what rounding does to either: to the evaluation, which is repeated in
        another precision, and to the weights, which are rounded up and down at random.
        """
        ours, theirs = self.outputs(state), self.outputs(other)
        return Check(
            max_difference=_difference(ours, theirs),
            explained=_MARGIN * (self.rounding(state, ours) + self.rounding(other, theirs)),
            output_scale=max(float(tensor.abs().max()) if tensor.numel() else 0.0 for tensor in ours),
            dtype=str(self.dtype).removeprefix("torch."),
        )

    def rounding(self, state: Mapping[str, Tensor], native: list[Tensor]) -> float:
        """Measure what rounding does to the outputs."""

        def weights(dtype: torch.dtype | None) -> Tensors:
            made = {name: cast(one, dtype) for name, one in state.items()}
            return made if dtype is None else {n: t.clone() if t is state[n] else t for n, t in made.items()}

        return max(self.roundings(weights, native))

    def roundings(self, weights: Callable[[torch.dtype | None], Tensors], native: list[Tensor]) -> Iterator[float]:
        """Yield what rounding does to the outputs, measured better and better; the numbers never fall.

        Args:
            weights: Makes the weights, of a type of real numbers, which are then changed, or (None) of their own.
            native: Their outputs.
        """
        exact = self.dtype == torch.float64
        other = torch.float32 if exact else torch.float64
        jiggles, worst, across = self._jiggles(weights, native), 0.0, 0.0
        if exact:
            # With weights of this type it takes no other evaluation, and says the most.
            worst = next(jiggles)
            yield worst
        try:
            across = _difference(native, self.outputs(weights(other), other))
            if exact:
                across *= torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
            if exact and self._forced is None:
                # Some models compute in a narrower type on the way, whatever they are given.
                across += _difference(native, self.outputs(weights(None), torch.float64))
        except RuntimeError:
            # A model that makes numbers of one type only; what rounding its weights does tells by itself.
            across = 0.0
            if not exact:
                jiggles = self._jiggles(weights, native, self.dtype)
        yield across + worst
        for jiggle in jiggles:
            worst = max(worst, jiggle)
            yield across + worst

    def _jiggles(
        self,
        weights: Callable[[torch.dtype | None], Tensors],
        native: list[Tensor],
        dtype: torch.dtype | None = None,
    ) -> Iterator[float]:
        """Yield what rounding the weights up and down at random does, in float64 unless said otherwise."""
        dtype = dtype or torch.float64
        base = native if dtype == self._forced else self.outputs(weights(None), dtype)
        source = torch.Generator().manual_seed(0)
        for _ in range(_DRAWS):
            jiggled = self.outputs(self._jiggled(weights(dtype), source, dtype), dtype)
            yield _difference(base, jiggled)

    def _jiggled(self, state: Tensors, source: torch.Generator, dtype: torch.dtype) -> Tensors:
        """Weights rounded up or down at random by half a unit in the last place of their type."""
        half = torch.finfo(self.dtype).eps / (1 if dtype == self.dtype else 2)
        # One at a time: nobody else may hold the weights.
        for name in list(state):
            if state[name].is_floating_point():
                state[name] = _jiggle(state[name].to(dtype), half, source)
        return state


class Reference:
    """Weights that many others are compared with: evaluated once, and measured no better than a comparison needs.

    Args:
        runner: Runs the model.
        weights: Makes the weights, of a type of real numbers or (None) of their own.
    """

    def __init__(self, runner: Runner, weights: Callable[[torch.dtype | None], Tensors]) -> None:
        self._runner = runner
        self._outputs = runner.outputs(weights(None))
        self._known: list[float] = []
        self._roundings = runner.roundings(weights, self._outputs)

    def same(self, others: Callable[[torch.dtype | None], Tensors]) -> bool:
        """Return whether rounding explains how the function of other weights differs."""
        theirs = self._runner.outputs(others(None))
        gap = _difference(self._outputs, theirs)
        # Each measurement costs a forward pass, and the first ones mostly settle it.
        own = 0.0
        known = self._measured()
        for other in self._runner.roundings(others, theirs):
            if gap > _MARGIN * (own + other):
                own = next(known, own)
            if gap <= _MARGIN * (own + other):
                return math.isfinite(own + other)
        return False

    def _measured(self) -> Iterator[float]:
        yield from self._known
        for rounding in self._roundings:
            self._known.append(rounding)
            yield rounding


def _jiggle(tensor: Tensor, half: float, source: torch.Generator) -> Tensor:
    """Round numbers up or down at random, where they are."""
    found = tensor if tensor.is_contiguous() else tensor.contiguous()
    # As tensors: of two plain numbers torch makes float32, in which both are 1.
    up, down = (tensor.new_tensor(factor) for factor in (1 + half, 1 - half))
    # In pieces: a table of a vocabulary is too large for more than one copy of it.
    for made in found.view(-1).split(PIECE):
        ups = torch.rand(made.shape, generator=source).to(tensor.device) < 0.5
        made.mul_(torch.where(ups, up, down))
    return found


def _difference(a: list[Tensor], b: list[Tensor]) -> float:
    worst = 0.0
    for one, other in zip(a, b, strict=True):
        # Masks are infinite in both.
        same = one == other
        gap = torch.where(same, 0.0, (one - other).abs())
        if gap.numel():
            worst = max(worst, float(gap.max()) if not bool(gap.isnan().any()) else float("inf"))
    return worst


def require_same(check: Check, what: str) -> None:
    """Refuse to go on with weights that give another function.

    Raises:
        LandscapeError: If rounding does not explain the difference.
    """
    if not check.passed:
        raise LandscapeError(
            f"the {what} changes the output by more than {check.dtype} explains",
            got=f"{check.max_difference:.3g}",
            expected=f"at most {check.explained:.3g}",
            mend="choose factors nearer to 1" + (", or weights in float64" if check.dtype != "float64" else ""),
        )
