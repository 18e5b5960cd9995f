"""Sums of squares of Jacobians of single examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from landscape.curvature.factors import Factor
from landscape.curvature.graphs import pulled
from landscape.curvature.linear_layers import squares_by_layer
from landscape.curvature.passes import Batch, Passes
from landscape.objective.tree import forward, tree_map
from landscape.params import real_view, wide

# From a micro-batch, its factor, and the first and the last example but one to their sum.
_Way: TypeAlias = Callable[[Batch, Factor, int, int], Tensor]
# What the Jacobians of a group of examples may take.
_GROUP_BYTES = 2**28
# Rows of one example's Jacobian that are made at once where examples go one by one.
_ROWS = 64
# Both ways give the same but for rounding; a kernel that is batched wrongly is off by more.
_SAME = 1e-3


class PerExample:
    """Squares of J^T S, summed over the columns of S and over examples.

    Linear layers take all examples of a group at once, and otherwise they go side by side through
    `torch.func.vmap` where the model can be batched so: a few examples are done both ways, and unless they agree
    every example goes alone. Where examples have first axes of several lengths, as graphs do, they are read one by
    one.

    Args:
        passes: Model and data.
    """

    def __init__(self, passes: Passes) -> None:
        self._passes = passes
        self._apart = passes.evaluator.first(passes.split, 2).cuts
        if not self._apart:
            passes.evaluator.cut(1)
        self._way: _Way | None = None

    def group(self, width: int) -> int:
        """Return how many examples go side by side."""
        each = width * max(width, self._passes.vectors.size) * self._passes.dtype.itemsize
        return max(1, _GROUP_BYTES // each)

    def of(self, batch: Batch, factor: Factor, start: int) -> Tensor:
        """The sum over a group of examples, shape (P,), float64, on the CPU.

        Args:
            batch: A micro-batch.
            factor: S of it.
            start: The first example of the group.
        """
        if self._way is None:
            self._way = self._tried(batch, factor)
        return self._way(batch, factor, start, min(start + self.group(factor.width), batch.examples))

    def _tried(self, batch: Batch, factor: Factor) -> _Way:
        """The fastest way that agrees with going alone."""
        # One example broadcasts, and as many as there are columns hide two dimensions that were mixed up.
        stop = min(2 + (factor.width == 2), batch.examples)
        # A loss of (model, batch) calls the model by itself.
        ways: list[_Way] = [self._together] if not self._passes.evaluator.takes_model else []
        alone: Tensor | None = None
        for way in [self._by_layer, *ways] if self._apart else []:
            try:
                found = way(batch, factor, 0, stop)
            except (RuntimeError, ValueError, TypeError):
                continue
            alone = self._alone(batch, factor, 0, stop) if alone is None else alone
            if bool((found - alone).abs().max() <= _SAME * alone.abs().max()):
                return way
        return self._alone

    def _covectors(self, batch: Batch, factor: Factor, start: int, stop: int) -> list[Tensor]:
        """The columns of S of some examples, shape (width, examples, ...)."""
        device = self._passes.variables[0].device
        units = torch.eye(factor.width, dtype=self._passes.dtype, device=device)
        columns = factor.multiply(units[:, None, :].expand(-1, batch.examples, -1))
        return [part[:, start:stop] for part in columns]

    def _by_layer(self, batch: Batch, factor: Factor, start: int, stop: int) -> Tensor:
        covectors = self._covectors(batch, factor, start, stop)
        found = squares_by_layer(self._passes, _part(batch, start, stop), covectors)
        if found is None:
            raise TypeError("not all parameters are those of linear layers")
        return self._join(found)

    def _together(self, batch: Batch, factor: Factor, start: int, stop: int) -> Tensor:
        names, model = self._passes.vectors.names, self._passes.evaluator.model
        (covectors,) = self._covectors(batch, factor, start, stop)
        inputs = _part(batch, start, stop).inputs
        held = dict(zip(names, self._passes.variables, strict=True))

        def squares(example: object, columns: Tensor) -> list[Tensor]:
            one = tree_map(lambda tensor: tensor[None], example)

            def output(moving: dict[str, Tensor]) -> Tensor:
                found = forward(lambda *a, **k: functional_call(model, moving, a, k), one)
                return found[0]

            pull = vjp(output, {name: tensor.detach() for name, tensor in held.items()})[1]
            (jacobians,) = vmap(pull)(columns)
            return [real_view(jacobians[name]).pow(2).sum(0) for name in names]

        found = vmap(squares, in_dims=(0, 1))(inputs, covectors)
        return self._join([part.double().sum(0) for part in found])

    def _alone(self, batch: Batch, factor: Factor, start: int, stop: int) -> Tensor:
        total = torch.zeros(self._passes.vectors.size, dtype=torch.float64)
        for place in range(start, stop):
            outputs = self._passes.separated(_part(batch, place, place + 1))[0].outputs
            covectors = self._covectors(batch, factor, place, place + 1)
            for row in range(0, factor.width, _ROWS):
                found = self._rows(outputs, [part[row : row + _ROWS] for part in covectors])
                total += self._join([None if part is None else wide(part).pow(2).sum(0) for part in found])
        return total

    def _rows(self, outputs: Sequence[Tensor], covectors: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """Pulled back side by side, or one after the other where a kernel cannot be batched."""
        variables = self._passes.variables
        try:
            return pulled(outputs, variables, covectors, True)
        except RuntimeError:
            rows = [
                pulled(outputs, variables, [part[place] for part in covectors], False)
                for place in range(len(covectors[0]))
            ]
        return [
            None if any(part is None for part in parts) else torch.stack(parts)
            for parts in zip(*rows, strict=True)
        ]

    def _join(self, parts: Sequence[Tensor | None]) -> Tensor:
        return self._passes.vectors.join(parts, torch.zeros(self._passes.vectors.size, dtype=torch.float64))


def _part(batch: Batch, start: int, stop: int) -> Batch:
    """Some examples of a micro-batch."""
    if (start, stop) == (0, batch.examples):
        return batch
    inputs, targets = (tree_map(lambda tensor: tensor[start:stop], one) for one in (batch.inputs, batch.targets))
    return Batch(inputs, targets, stop - start)
