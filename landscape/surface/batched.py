"""The batched engine: several points at once.

A chain of linear maps and pointwise functions needs no first matrix product: along a plane the response of
its first map is affine in the coordinates,

    X (W + a D + b E)^T = X W^T + a X D^T + b X E^T,

so the three products on the right, made once, serve all points; what follows are batched products. Other
models are mapped over their weights by `torch.vmap`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from landscape.copies import private_copy
from landscape.errors import LandscapeError, reason_of
from landscape.objective import Estimate, Evaluator, Tuning
from landscape.objective.chain import Chain, Linear, Step, chain_of
from landscape.objective.data import Split
from landscape.objective.devices import precision
from landscape.objective.findings import Gradients
from landscape.objective.raw import Raw, RawPoint, Score, join
from landscape.objective.tree import tree_map
from landscape.params import wide
from landscape.projection import Plane
from landscape.surface.sequential import Point, is_out_of_memory, make_room
from landscape.surface.streams import in_order, undisturbed
from landscape.surface.task import Task
from landscape.surface.weight_stepper import Mover
from landscape.wrappers import is_scripted

Stacks = dict[str, Tensor]


class Program(Protocol):
    """Interface of a computation with the weights of several points."""

    def outputs(self, split: str, start: int, stop: int, weights: Stacks, points: Tensor) -> Tensor:
        """The outputs for some examples, (points, examples, ...)."""


class Batched:
    """Several points at once.

    Args:
        task: What to measure.
        plane: Where; buffers do not move.
        tuning: How the passes are made; None is how `Objective.value` makes them.
        streams: How many chunks are worked on side by side.
        chunk: Points at once.
        mover: That of another engine of the same task and plane, to share its memory.

    Raises:
        LandscapeError: If the model or the loss cannot be evaluated so, or statistics are to be recalibrated.
    """

    name = "batched"

    def __init__(
        self,
        task: Task,
        plane: Plane,
        *,
        tuning: Tuning | None = None,
        streams: int = 1,
        chunk: int = 8,
        mover: Mover | None = None,
    ) -> None:
        if task.recalibrate:
            raise LandscapeError("the batched engine cannot recalibrate", mend="use --engine sequential")
        if task.derived:
            raise LandscapeError(
                "the batched engine cannot recompute the buffers that follow from the weights",
                mend="use --engine sequential",
            )
        self.chunk, self.streams = chunk, streams
        # Kernels may treat the points of a chunk by their places in it.
        self.group = chunk
        self.rewrites: dict[str, int] = {}
        self._task = task
        self._evaluator = task.objective.evaluator(task.dtype, tuning)
        self._evaluator.load(plane.origin)
        self.mover = mover or Mover(plane, self._evaluator)
        _require(self._evaluator, self.mover)
        self._moves = [_named(self._evaluator, direction) for direction in self.mover.directions]
        self._origin = _named(self._evaluator, self.mover.origin)
        self._moving = [name for name in self._origin if any(bool(move[name].any()) for move in self._moves)]
        self._data: dict[str, Split] = {name: self._evaluator.data(name) for name in task.splits}  # type: ignore[misc]
        self._workers = self._programs(streams)

    def _programs(self, streams: int) -> list[Program]:
        """One for each stream; the evaluator itself is only read."""
        inputs = next(iter(self._data.values())).inputs
        chain = chain_of(self._evaluator.model, tree_map(lambda tensor: tensor[:2], inputs))
        if chain is not None and self._evaluator.by_examples:
            return [
                _ChainProgram(_untied(chain, self._evaluator), self._data, self._origin, self._moves)
            ] * streams
        # A functional call puts its weights into the module for as long as it lasts: each stream needs its own.
        models = [self._evaluator.model, *(private_copy(self._evaluator.model)[0] for _ in range(streams - 1))]
        return [_MappedProgram(model, self._data, self._moving) for model in models]

    @property
    def tuning(self) -> Tuning:
        """Settings of the passes, by now."""
        return self._evaluator.tuning

    def evaluate(self, points: Sequence[Point]) -> Generator[dict[str, Estimate]]:
        """The estimates at each point, in order."""
        chunks = [points[start : start + self.chunk] for start in range(0, len(points), self.chunk)]
        for done in in_order(self._chunk, self._workers, chunks, self.tuning.threads):
            yield from done

    def try_out(self, points: Sequence[Point], batches: int | None = None) -> list[float]:
        """Work with every stream at once, to time it; see `Sequential.try_out`. Micro-batches are never fewer."""

        def run(program: Program, _: int) -> float:
            began = undisturbed()
            for start in range(0, len(points), self.chunk):
                self._chunk(program, points[start : start + self.chunk])
            return (undisturbed() - began) / len(points)

        return list(in_order(run, self._workers, range(self.streams), self.tuning.threads))

    def _chunk(self, program: Program, points: Sequence[Point]) -> list[dict[str, Estimate]]:
        # The last chunk may be short; the same number of points always takes the same kernels.
        padded = [*points, *[points[-1]] * (self.chunk - len(points))]
        size = len(padded)
        while True:
            try:
                raw: list[RawPoint] = []
                for start in range(0, len(padded), size):
                    raw += self._run(program, padded[start : start + size])
                fetched = self._evaluator.fetch(raw[: len(points)])
                return [self._evaluator.estimates(one, self._task.metrics) for one in fetched]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            make_room(size)
            size = -(-size // 2)

    def _run(self, program: Program, points: Sequence[Point]) -> list[RawPoint]:
        with torch.inference_mode(), precision(self._evaluator.device, self.tuning.tf32):
            coordinates = torch.tensor(points, dtype=torch.float64)
            weights = self._weights(points)
            penalties = self._penalties(weights) if {"penalty", "total"} & set(self._task.metrics) else None
            parts = {split: self._run_split(program, split, weights, coordinates) for split in self._task.splits}
        return [
            {
                split: Raw(
                    loss[k],
                    None if wrong is None else wrong[k],
                    None if penalties is None else penalties[k],
                    self._sizes(split),
                    None if counts is None else counts[k],
                )
                for split, (loss, wrong, counts) in parts.items()
            }
            for k in range(len(points))
        ]

    def _weights(self, points: Sequence[Point]) -> Stacks:
        """The moving parameters at all points, stacked."""
        stacks: Stacks = {}
        for name in self._moving:
            origin = self._origin[name]
            stack = origin.expand(len(points), *origin.shape).clone()
            for place, point in enumerate(points):
                for coordinate, move in zip(point, self._moves, strict=True):
                    stack[place].add_(move[name], alpha=coordinate)
            stacks[name] = stack.to(self._evaluator.storage[name].dtype)
        return stacks

    def _penalties(self, weights: Stacks) -> Tensor:
        """Half the coefficient times the squared norm of the trainable parameters, at each point."""
        count = len(next(iter(weights.values())))
        sums = []
        for info in self._evaluator.layout.moving():
            held = weights.get(info.name)
            if held is None:
                sums.append(wide(self._evaluator.storage[info.name]).square().sum().expand(count))
            else:
                sums.append(wide(held).square().reshape(count, -1).sum(1))
        return self._evaluator.weight_decay / 2 * torch.stack(sums).sum(0)

    def _run_split(self, program: Program, split: str, weights: Stacks, points: Tensor) -> Score:
        scores = []
        start = 0
        for batch in self._evaluator.each_batch(split):
            stop = start + batch.count
            outputs = program.outputs(split, start, stop, weights, points)
            scores.append(self._score(split, outputs, batch.targets))
            start = stop
        loss, missed, counts = (join(parts, 1) for parts in zip(*scores, strict=True))
        return loss, missed, counts  # type: ignore[return-value]

    def _sizes(self, split: str) -> tuple[int, ...]:
        """Examples in each micro-batch."""
        count, size = self._data[split].count, self.tuning.batch_size
        return tuple(min(size, count - start) for start in range(0, count, size))

    def _score(self, split: str, outputs: Tensor, targets: Any) -> Score:
        count = len(outputs)
        error = "error" in self._task.metrics
        if self._evaluator.by_examples:
            repeated = tree_map(lambda t: t.expand(count, *t.shape).flatten(0, 1), targets)
            scored = self._evaluator.score(split, outputs.flatten(0, 1), repeated, error)
            loss, *rest = (None if part is None else part.view(count, -1) for part in scored)
        else:
            each = [self._evaluator.score(split, output, targets, error) for output in outputs]
            kinds = zip(*each, strict=True)
            loss, *rest = (join([None if p is None else p[None] for p in parts]) for parts in kinds)
        return loss, rest[0], rest[1]  # type: ignore[return-value]


def _require(evaluator: Evaluator, mover: Mover) -> None:
    if mover.buffers:
        raise LandscapeError("the batched engine keeps buffers where they are", mend="use --engine sequential")
    findings, split = evaluator.findings, evaluator.splits[0]
    needs = {
        "a loss of the model's output": evaluator.takes_model,
        "data that are held in memory": evaluator.streamed,
        "a model that is not TorchScript": is_scripted(evaluator.model),
        "batches that can be cut": not all(evaluator.data(name).cuts for name in evaluator.splits),
        "a forward pass that takes no gradients": findings.gradients is not Gradients.NONE,
        "a model that does not write into its inputs": findings.copies,
    }
    needs = {need: lacking for need, lacking in needs.items() if lacking}
    if not needs and not isinstance(evaluator.output(evaluator.first(split, 1)), Tensor):
        needs = {"a model whose output is one tensor": True}
    if needs:
        raise LandscapeError(f"the batched engine needs {next(iter(needs))}", mend="use --engine sequential")


def _named(evaluator: Evaluator, flat: Mapping[torch.dtype, Tensor]) -> Stacks:
    """The tensors in packed vectors, by name."""
    found = {}
    for name, start in evaluator.starts.items():
        held = evaluator.storage[name]
        found[name] = flat[held.dtype][start : start + held.numel()].view(held.shape)
    return found


def _untied(chain: Chain, evaluator: Evaluator) -> Chain:
    """A chain whose parameters have the names under which they are held."""
    held = {info.name: info.tied_to or info.name for info in evaluator.layout}

    def renamed(step: Step) -> Step:
        if not isinstance(step, Linear):
            return step
        return Linear(held[step.weight], None if step.bias is None else held[step.bias])

    return replace(chain, steps=tuple(renamed(step) for step in chain.steps))


class _ChainProgram:
    """A chain, its first response made once along every direction."""

    def __init__(self, chain: Chain, data: Mapping[str, Split], origin: Stacks, moves: Sequence[Stacks]) -> None:
        self._rest = chain.steps[1:]
        self._fixed = origin
        self._responses: dict[str, list[Tensor]] = {}
        first = chain.first
        with torch.inference_mode():
            for name, split in data.items():
                inputs = split.inputs.flatten(1) if chain.flatten else split.inputs
                self._responses[name] = [_respond(inputs, first, at) for at in (origin, *moves)]

    def outputs(self, split: str, start: int, stop: int, weights: Stacks, points: Tensor) -> Tensor:
        """The outputs for some examples, (points, examples, ...)."""
        base, *slopes = (response[start:stop] for response in self._responses[split])
        x = base.new_empty(len(points), *base.shape)
        for place, point in enumerate(points.tolist()):
            torch.add(base, slopes[0], alpha=point[0], out=x[place])
            for coordinate, slope in zip(point[1:], slopes[1:], strict=True):
                x[place].add_(slope, alpha=coordinate)
        for step in self._rest:
            x = self._linear(x, step, weights) if isinstance(step, Linear) else step(x)
        return x

    def _linear(self, x: Tensor, step: Linear, weights: Stacks) -> Tensor:
        matrix = weights.get(step.weight)
        if matrix is None:
            matrix = self._fixed[step.weight].to(x.dtype).expand(len(x), -1, -1)
        product = matrix.transpose(1, 2)
        bias = None if step.bias is None else weights.get(step.bias)
        fixed = None if step.bias is None else self._fixed[step.bias].to(x.dtype)
        if x.device.type != "cpu":
            shift = fixed if bias is None else bias.unsqueeze(1)
            return torch.bmm(x, product) if shift is None else torch.baddbmm(shift, x, product)
        # One product after the other: batched ones took up to 1.6 times as long on a CPU.
        found = x.new_empty(*x.shape[:2], product.shape[2])
        for place in range(len(x)):
            if fixed is None:
                torch.mm(x[place], product[place], out=found[place])
            else:
                shift = fixed if bias is None else bias[place]
                torch.addmm(shift, x[place], product[place], out=found[place])
        return found


def _respond(inputs: Tensor, first: Linear, at: Stacks) -> Tensor:
    bias = None if first.bias is None else at[first.bias].to(inputs.dtype)
    return functional.linear(inputs, at[first.weight].to(inputs.dtype), bias)


class _MappedProgram:
    """Any model, mapped over its weights."""

    def __init__(self, model: torch.nn.Module, data: Mapping[str, Split], moving: Sequence[str]) -> None:
        self._data = data
        self._model = model
        fixed = dict(model.named_parameters()) | dict(model.named_buffers())
        self._fixed = {name: tensor for name, tensor in fixed.items() if name not in moving}

    def outputs(self, split: str, start: int, stop: int, weights: Stacks, points: Tensor) -> Tensor:
        """The outputs for some examples, (points, examples, ...)."""
        inputs = self._data[split].part(start, stop).inputs

        args, kwargs = _call_with(inputs)

        def one(moved: Stacks) -> Tensor:
            return functional_call(self._model, {**self._fixed, **moved}, args, kwargs)

        try:
            return torch.vmap(one)(weights)
        except (RuntimeError, ValueError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            raise LandscapeError(
                "the batched engine cannot map this model over its weights",
                got=reason_of(error),
                mend="use --engine sequential",
            ) from error


def _call_with(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    return ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})
