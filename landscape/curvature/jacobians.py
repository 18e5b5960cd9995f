"""Sums of squares of Jacobians of single examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from landscape.curvature.factors import Factor
from landscape.curvature.graphs import pulled
from landscape.curvature.passes import Batch, Passes
from landscape.objective.tree import forward, tree_map
from landscape.params import real_view, wide

# What the Jacobians of a group of examples may take.
_GROUP_BYTES = 2**28
# Rows of one example's Jacobian that are made at once where examples go one by one.
_ROWS = 64
# Both ways give the same but for rounding; a kernel that is batched wrongly is off by more.
_SAME = 1e-3


class PerExample:
    """Squares of J^T S, summed over the columns of S and over examples.

    All examples of a group go side by side through `torch.func.vmap` where the model can be batched so: a few
    examples are done both ways, and unless they agree every example goes alone. Where examples have first axes of
    several lengths, as graphs do, they are read one by one.

    Args:
        passes: Model and data.
    """

    def __init__(self, passes: Passes) -> None:
        self._passes = passes
        apart = passes.evaluator.first(passes.split, 2).cuts
        if not apart:
            passes.evaluator.cut(1)
        # A loss of (model, batch) calls the model by itself.
        self._side_by_side = apart and not passes.evaluator.takes_model
        self._tried = False

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
        stop = min(start + self.group(factor.width), batch.examples)
        if self._side_by_side and not self._tried:
            self._try(batch, factor)
        if self._side_by_side:
            return self._together(batch, factor, start, stop)
        return sum(
            (self._alone(batch, factor, place) for place in range(start, stop)),
            torch.zeros(self._passes.vectors.size, dtype=torch.float64),
        )

    def _try(self, batch: Batch, factor: Factor) -> None:
        self._tried = True
        # One example broadcasts, and as many as there are columns hide two dimensions that were mixed up.
        stop = min(2 + (factor.width == 2), batch.examples)
        try:
            together = self._together(batch, factor, 0, stop)
        except (RuntimeError, ValueError, TypeError):
            self._side_by_side = False
            return
        alone = torch.stack([self._alone(batch, factor, place) for place in range(stop)]).sum(0)
        self._side_by_side = bool((together - alone).abs().max() <= _SAME * alone.abs().max())

    def _covectors(self, batch: Batch, factor: Factor, start: int, stop: int) -> list[Tensor]:
        """The columns of S of some examples, shape (width, examples, ...)."""
        device = self._passes.variables[0].device
        units = torch.eye(factor.width, dtype=self._passes.dtype, device=device)
        columns = factor.multiply(units[:, None, :].expand(-1, batch.examples, -1))
        return [part[:, start:stop] for part in columns]

    def _together(self, batch: Batch, factor: Factor, start: int, stop: int) -> Tensor:
        names, model = self._passes.vectors.names, self._passes.evaluator.model
        (covectors,) = self._covectors(batch, factor, start, stop)
        inputs = tree_map(lambda tensor: tensor[start:stop], batch.inputs)
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

    def _alone(self, batch: Batch, factor: Factor, place: int) -> Tensor:
        one = batch
        if batch.examples > 1:
            one = Batch(
                tree_map(lambda tensor: tensor[place : place + 1], batch.inputs),
                tree_map(lambda tensor: tensor[place : place + 1], batch.targets),
                1,
            )
        outputs = self._passes.separated(one)[0].outputs
        covectors = self._covectors(batch, factor, place, place + 1)
        total = torch.zeros(self._passes.vectors.size, dtype=torch.float64)
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
