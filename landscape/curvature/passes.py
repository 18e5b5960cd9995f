"""The passes over the data that curvature is made of, on a private copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape.curvature.convolution import Convolutions
from landscape.curvature.derivatives import Derivatives
from landscape.curvature.graphs import Parts, dense
from landscape.curvature.kernels import twice_differentiable
from landscape.curvature.separation import Cutter, Separated, inseparable, separate
from landscape.curvature.vectors import Vectors
from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.objective import Evaluator, Objective
from landscape.objective.data import Split
from landscape.objective.footprint import LiveBytes
from landscape.objective.tree import Tree, tree_map
from landscape.params import Weights, real_view, resolve
from landscape.wrappers import after_call

# Second derivatives in half precision are noise.
_SHORTEST = torch.float32


@dataclass(frozen=True)
class Batch:
    """A micro-batch.

    Attributes:
        inputs: As the model, or a loss of (model, batch), takes them.
        targets: As the loss takes them.
        examples: How many.
    """

    inputs: Tree
    targets: Tree
    examples: int


@dataclass(frozen=True)
class Loss:
    """The loss of a micro-batch, with its graph.

    Attributes:
        shares: Shape (examples,), or (1,) where the loss cannot be taken apart; their sum over all micro-batches,
            divided by that of the counts, is the mean.
        count: What they count.
    """

    shares: Tensor
    count: float


class Passes:
    """A private copy of an objective's model whose selected parameters have gradients.

    Args:
        objective: Model, data and loss.
        weights: Where; parameters and buffers are copied.
        split: Which data.
        parameters: Globs that choose some parameters; None takes all that training moves.
        dtype: The type of real numbers; None is the model's own, float32 at least.
        batch_size: Examples per micro-batch; None chooses.

    Attributes:
        vectors: How a vector is cut into the selected parameters.
        variables: The selected parameters, leaves of every graph.
        evaluator: Holds the copy.
        split: Which data.
        loss: The loss function.
        objective: Model, data and loss.
        asked: The type of real numbers asked for; None is the model's own.
        derivatives: How derivatives are taken.
        checked: What `certify` has checked for them: the kind, and whether products are differences.
    """

    def __init__(
        self,
        objective: Objective,
        weights: Weights,
        split: str,
        parameters: str | Sequence[str] | None,
        dtype: torch.dtype | None,
        batch_size: int | None,
    ) -> None:
        objective.require([split], ())
        layout, tensors = resolve(weights)
        chosen = parameters if parameters is not None else layout.selected or None
        selected = objective.layout if chosen is None else objective.layout.select(chosen)
        self.vectors = Vectors(_require_moving(selected))
        size = _batch_size(objective, batch_size)
        tuning = replace(objective.default_tuning(), batch_size=size)
        self.asked = _at_least_single(objective, dtype)
        self.evaluator: Evaluator = objective.evaluator(self.asked, tuning)
        self._convolutions = Convolutions(self.evaluator.device, self.evaluator.model)
        self.split, self.loss, self.objective = split, objective.loss, objective
        self.derivatives, self._tried, self._entered = Derivatives(), False, False
        self.checked: set[tuple[str, bool]] = set()
        self.by_examples = self.evaluator.by_examples
        self.load(tensors)
        self.variables = self._leaves()

    def _leaves(self) -> list[Tensor]:
        densify(self.evaluator.model)
        return [self.evaluator.storage[name].requires_grad_() for name in self.vectors.names]

    def twin(self, few: Split, dtype: torch.dtype | None) -> Passes:
        """The same at the weights held, on a copy of its own, on some examples in one micro-batch.

        Args:
            few: The examples.
            dtype: The type of real numbers; None is that of these passes.
        """
        own = self.evaluator
        kind = dtype or self.asked
        tuning = replace(own.tuning, batch_size=few.count)
        evaluator = Evaluator(
            self.objective.model,
            own.layout,
            self.loss,
            {self.split: few.to(own.device, kind, tuning.channels_last)},
            weight_decay=0.0,
            device=own.device,
            dtype=kind,
            tuning=tuning,
            findings=own.findings,
        )
        found = self._on(evaluator)
        found._tried = True
        return found

    def widened(self) -> Passes:
        """The same at the weights held in float64, on a copy of its own."""
        found = self._on(self.objective.evaluator(torch.float64, self.evaluator.tuning))
        found.asked = torch.float64
        return found

    def _on(self, evaluator: Evaluator) -> Passes:
        other = copy.copy(self)
        other.evaluator, other.checked, other._entered = evaluator, set(), False
        other._convolutions = Convolutions(evaluator.device, evaluator.model)
        evaluator.load({name: held.detach() for name, held in self.evaluator.storage.items()})
        # How a loss is taken apart is tried now, and not while calls of the model are counted.
        other.by_examples = evaluator.by_examples
        other.variables = other._leaves()
        return other

    @property
    def dtype(self) -> torch.dtype:
        """The type of real numbers."""
        kinds = [real_view(variable).dtype for variable in self.variables]
        return max(kinds, key=lambda kind: kind.itemsize)

    def load(self, weights: Weights) -> None:
        """Copy weights in; buffers that are not given are the model's own."""
        self.evaluator.load(resolve(weights)[1])

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """Kernels that can be differentiated twice, and whatever else the derivatives need."""
        if self._entered:
            yield
            return
        used = None if self._tried else _USED.get()
        if used is not None and self.derivatives not in used:
            used.append(self.derivatives)
        with ExitStack() as stack:
            stack.enter_context(twice_differentiable(self.evaluator.device, self.evaluator.model))
            for context in self.derivatives.contexts():
                stack.enter_context(context)
            stack.callback(setattr, self, "_entered", False)
            self._entered = True
            yield

    def convolutions(self) -> AbstractContextManager[None]:
        """For as long as a graph is made of which gradients are differentiated."""
        return nullcontext() if self.derivatives.plain else self._convolutions.replaced()

    def batches(self) -> Iterator[Batch]:
        """All micro-batches in order."""
        start, data = 0, self.evaluator.data(self.split)
        for batch in self.evaluator.each_batch(self.split):
            yield Batch(batch.inputs, batch.targets, batch.count)
            start += batch.count
        if start != data.count:
            raise LandscapeError("the data changed in number", where=self.split, got=start, expected=data.count)

    def drawn(self, batch: Batch) -> Tensor:
        """The shares of a micro-batch in the loss that slices draw: without gradients, by any kernel."""
        with self.evaluator.passing():
            return self.loss_of(batch).shares.detach()

    def loss_of(self, batch: Batch) -> Loss:
        """The loss of a micro-batch, with its graph."""
        return self.scored(*self.evaluator.arguments(batch.inputs, batch.targets), batch)

    def slope_of(self, batch: Batch) -> tuple[Parts, float]:
        """The gradient of the loss of a micro-batch, None for a variable it is free of, and its count."""
        loss = self.loss_of(batch)
        return self.slopes(loss.shares.sum()), loss.count

    def slopes(self, total: Tensor) -> Parts:
        """The gradient of a number, dense; None for a variable it is free of."""
        if not total.requires_grad:
            return [None] * len(self.variables)
        return dense(torch.autograd.grad(total, self.variables, allow_unused=True))

    def gradient_of(self, batch: Batch) -> Parts:
        """As `slope_of`, without the count."""
        return self.slope_of(batch)[0]

    def scored(self, first: Any, second: Any, batch: Batch) -> Loss:
        """The loss of a micro-batch from the two arguments of the loss function."""
        how = self.evaluator.scoring[self.split][0]
        shares, _, counts = self.evaluator.score(self.split, first, second, False)
        if how is None:
            return Loss(shares * batch.examples, float(batch.examples))
        if counts is not None:
            if counts.requires_grad:
                raise LandscapeError("what a loss counts must not depend on the weights", where="loss")
            return Loss(shares, float(counts.sum()))
        # Weights of examples come in the order of the data, and only their sum counts.
        return Loss(
            shares, float(batch.examples) if how.weights is None else self._weight_per_example * batch.examples
        )

    @property
    def _weight_per_example(self) -> float:
        """The mean weight: added up over all micro-batches it gives the sum of weights."""
        how = self.evaluator.scoring[self.split][0]
        weights = None if how is None else how.weights
        return 1.0 if weights is None else float(weights.double().mean())

    def separated(self, batch: Batch, shift: Sequence[Tensor] = ()) -> tuple[Separated, float]:
        """The loss of a micro-batch as a function of the model's outputs, and what it counts.

        Args:
            batch: The micro-batch.
            shift: Added to the outputs that the loss takes.

        Raises:
            LandscapeError: If output and loss cannot be told apart.
        """
        cutter = Cutter(shift)
        if self.evaluator.takes_model:
            loss = self._cut_inside(cutter, batch)
        else:
            output, target = self.evaluator.arguments(batch.inputs, batch.targets)
            loss = self.scored(cutter(output), target, batch)
        parts = separate(cutter, loss.shares.sum(), self.variables, self.evaluator.takes_model)
        return parts, loss.count

    def _cut_inside(self, cutter: Cutter, batch: Batch) -> Loss:
        """The loss, with what the model gives while it runs cut off from the model."""
        hook = after_call(self.evaluator.model, lambda _module, _given, output: cutter(output))
        try:
            return self.loss_of(batch)
        except RuntimeError as error:
            failed = error
        finally:
            hook.remove()
        # With the output as it is the loss may have no trouble: then it differentiates the model.
        self.loss_of(batch)
        raise inseparable("the loss differentiates the model's output") from failed

    def whole(self) -> Batch:
        """All examples as one micro-batch, which may be written into."""
        return self.trial(self.evaluator.data(self.split).count)

    def spare(self, batch: Batch) -> Batch:
        """A micro-batch that is needed again, as it may be given to a model that writes into it."""
        if not self.evaluator.findings.copies:
            return batch
        return Batch(tree_map(torch.clone, batch.inputs), tree_map(torch.clone, batch.targets), batch.examples)

    def trial(self, examples: int) -> Batch:
        """The first examples, to try something out."""
        part = self.evaluator.first(self.split, examples)
        return Batch(part.inputs, part.targets, part.count)


_USED: ContextVar[list[Derivatives] | None] = ContextVar("derivatives used", default=None)


@contextmanager
def derivatives_used() -> Iterator[list[Derivatives]]:
    """Note how all derivatives are taken that are taken meanwhile."""
    found: list[Derivatives] = []
    token = _USED.set(found)
    try:
        yield found
    finally:
        _USED.reset(token)


def densify(model: nn.Module) -> None:
    """Let no module of a private copy give sparse gradients, which cannot be added up or differentiated."""
    for module in model.modules():
        if getattr(module, "sparse", False) is True:
            module.sparse = False  # type: ignore[assignment]


def live_bytes(make: Any) -> int:
    """Bytes of the tensors that what is made keeps alive."""
    with torch.random.fork_rng(devices=[]), LiveBytes() as counted:
        made = make()
        live = counted.live
    del made
    return live


def _require_moving(layout: Layout) -> Layout:
    if not layout.moving():
        raise LandscapeError("the model has no parameter that training moves", where="parameters")
    return layout


def _batch_size(objective: Objective, asked: int | None) -> int:
    fixed = objective.fixed_batch
    if asked is None:
        return fixed or objective.batch_size
    if asked < 1:
        raise LandscapeError("must be at least 1", where="batch_size", got=asked)
    if fixed is not None and asked != fixed:
        raise LandscapeError(
            "the loss depends on how the data are cut into batches, which the objective fixes",
            where="batch_size",
            got=asked,
            expected=fixed,
        )
    return asked


def _at_least_single(objective: Objective, dtype: torch.dtype | None) -> torch.dtype | None:
    if dtype is not None:
        if not dtype.is_floating_point or dtype.itemsize < _SHORTEST.itemsize:
            raise LandscapeError("must be torch.float32 or torch.float64", where="dtype", got=dtype)
        return dtype
    own = [getattr(torch, info.dtype) for info in objective.layout.moving()]
    return _SHORTEST if any(kind.itemsize < _SHORTEST.itemsize for kind in own) else None
