"""The loss around a place as a function of the step away from it, for measures that walk about."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.certificate import certify
from landscape.curvature.passes import Batch
from landscape.errors import LandscapeError
from landscape.measures.context import MeasureContext
from landscape.measures.stacks import Stack
from landscape.objective.data import Source
from landscape.params import gaussian, stream_of
from landscape.wrappers import after_call

# Gradients at the weights themselves are held for pieces of the data, as long as all of them take less than so
# many bytes. A piece is what most measures that take batches take.
_PIECE, _PIECES_BYTES = 128, 2**28


class Stream:
    """One random step after another; every tensor's numbers depend on seed, index and its name alone.

    Args:
        field: Says which tensors there are, and the seed.
        index: Tells streams apart.
    """

    def __init__(self, field: LocalLoss, index: int | str) -> None:
        self._like = field.origin
        self._streams = [(stream_of(info.name, field.seed, index), info.numbers) for info in field.infos]
        self._plain = stream_of("", field.seed, index)

    def normal(self) -> Tensor:
        """Standard normal numbers, shape (P,)."""
        drawn = [stream.standard_normal(count, dtype=np.float32) for stream, count in self._streams]
        return torch.from_numpy(np.concatenate(drawn)).to(self._like)

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return float(self._plain.random())

    def choice(self, count: int, size: int) -> Tensor:
        """Numbers of examples, drawn without replacement, shape (size,)."""
        return torch.from_numpy(self._plain.choice(count, min(size, count), replace=False))


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums of the loss and its gradient over some examples, and what they count."""

    loss: float
    gradient: Tensor
    count: float

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.loss + other.loss, self.gradient + other.gradient, self.count + other.count)

    @property
    def mean(self) -> tuple[float, Tensor]:
        return self.loss / self.count, self.gradient / self.count


class LocalLoss:
    """The mean loss at weights + step, with its gradient.

    Steps are vectors of all parameters that count, shape (P,), float64 (float32 on Apple's devices). They are
    added to the weights in that precision and rounded once to the type in which the model computes.

    Args:
        context: Where; its weights are copied.
        outputs: Applied to the model's outputs before the loss; None leaves them.

    Attributes:
        origin: The weights of the place, shape (P,).
        size: P.
        infos: What the tensors are of which a step is made, in its order.
        seed: Of all draws.
    """

    def __init__(self, context: MeasureContext, *, outputs: Callable[[Any], Any] | None = None) -> None:
        # Every step moves the weights first, so that all measures may take turns.
        self._passes = context.passes("steps") if outputs is None else context.fresh().passes("steps")
        self.seed = context.seed
        self._part: Source | None = None
        self._stack: Stack | None = None
        # Where the part begins and ends in the data; None where it is no piece of them.
        self._span: tuple[int, int] | None = (0, self.count)
        # Digest of a step -> the means there; outputs that are changed make another function.
        self._met: dict[bytes, dict[str, float]] | None = None if outputs else context.shared("means", dict)
        evaluator = self._passes.evaluator
        if outputs is not None:
            if evaluator.takes_model:
                raise LandscapeError("a loss that takes the model hides its outputs", where="outputs")
            change = outputs
            after_call(evaluator.model, lambda _model, _inputs, output: change(output))
        # Apple's devices know no float64.
        self._wide = torch.float32 if evaluator.device.type == "mps" else torch.float64
        vectors = self._passes.vectors
        self.size = vectors.size
        self.infos = [context.objective.layout[name] for name in vectors.names]
        like = torch.empty(vectors.size, dtype=self._wide, device=evaluator.device)
        self.origin = vectors.join(self._passes.variables, like)
        # Part of the data -> sums of loss and gradient at the weights themselves, and what they count.
        self._slopes: dict[tuple[int, int], _Sums] | None = None
        taken = (2 + self.count // _PIECE) * self.size * self.origin.element_size()
        if outputs is None and context.objective.fixed_batch is None and taken <= _PIECES_BYTES:
            self._slopes = context.shared("slopes", dict)

    @property
    def count(self) -> int:
        """The number of examples."""
        return self._source.count

    @property
    def _source(self) -> Source:
        return self._passes.evaluator.data(self._passes.split) if self._part is None else self._part

    @property
    def metrics(self) -> tuple[str, ...]:
        """``"loss"``, and ``"error"`` where targets are classes."""
        return tuple(metric for metric in self._passes.evaluator.metrics if metric in ("loss", "error"))

    def zero(self) -> Tensor:
        """The step that stays."""
        return torch.zeros_like(self.origin)

    def cut(self, step: Tensor) -> list[Tensor]:
        """A step as one tensor of real numbers per entry of `infos`."""
        return self._passes.vectors.cut_real(step)

    def join(self, tensors: Iterable[Tensor]) -> Tensor:
        """One tensor per entry of `infos` as a step."""
        return torch.cat([tensor.detach().flatten() for tensor in tensors]).to(self.origin)

    def normal(self, index: int | str) -> Tensor:
        """Standard normal numbers; a tensor's depend on the seed of the place, the index and its name alone."""
        return self.join(gaussian(info, self.seed, index) for info in self.infos)

    def uniform(self, index: int | str) -> Tensor:
        """Numbers spread evenly over [-1, 1], drawn as `normal` draws."""
        return self.join(
            torch.as_tensor(stream_of(info.name, self.seed, index).uniform(-1, 1, info.real_shape))
            for info in self.infos
        )

    def noise(self, index: int | str) -> Stream:
        """Random numbers for a walk, drawn as `normal` draws."""
        return Stream(self, index)

    def _move(self, step: Tensor) -> None:
        with torch.no_grad():
            point = self.origin + step
            for held, part in zip(self._passes.variables, self._passes.vectors.cut(point), strict=True):
                held.copy_(part)
        self._passes.evaluator.moved()

    def means(self, step: Tensor) -> dict[str, float]:
        """The mean of every metric: name -> mean; measures at one place that take the same step share it."""
        key = hashlib.sha256(step.cpu().numpy().tobytes()).digest()
        if self._met is None or self._part is not None:
            return self._means(step)
        if key not in self._met:
            self._met[key] = self._means(step)
        return self._met[key]

    def _means(self, step: Tensor) -> dict[str, float]:
        self._move(step)
        split = self._passes.split
        with self._passes.kernels():
            found = self._passes.evaluator.measure([split], self.metrics)
        return {metric: found[f"{split}_{metric}"].mean for metric in self.metrics}

    def loss(self, step: Tensor) -> float:
        """The mean loss."""
        if self._slopes is not None and self._span in self._slopes and not bool(step.any()):
            return self._slopes[self._span].mean[0]
        self._move(step)
        with self._passes.kernels(), torch.no_grad():
            sums = [(float(share), count) for share, count in self._shares()]
        return sum(share for share, _ in sums) / sum(count for _, count in sums)

    def slope(self, step: Tensor) -> tuple[float, Tensor]:
        """The mean loss and its gradient, shape (P,); neither need be finite.

        Measures at one place that start at the weights themselves share what is found there.
        """
        if self._slopes is None or self._span is None or bool(step.any()):
            return self._sums(step).mean
        return self._held_sums().mean

    def slopes(self, steps: Sequence[Tensor]) -> list[tuple[float, Tensor]]:
        """The mean loss and its gradient at several steps; those of small models are taken at once."""
        if self._stack is None:
            self._stack = Stack(self._passes, self.count)
        points = torch.stack([self.origin + step for step in steps])
        certify(self._passes, "gradient")
        return self._stack.slopes(points, self._batches, lambda at: self.slope(steps[at]))

    def walking(self) -> AbstractContextManager[None]:
        """For as long as many slopes are taken: what each of them needs is set up once."""
        return self._passes.kernels()

    def _held_sums(self) -> _Sums:
        """Return what `_slopes` holds of this part, taken now if it has not been."""
        if self._slopes is None or self._span is None:
            return self._sums(self.zero())
        if self._span not in self._slopes:
            self._slopes[self._span] = self._of_pieces() if self.count > _PIECE else self._sums(self.zero())
        return self._slopes[self._span]

    def _of_pieces(self) -> _Sums:
        """At the weights themselves, piece by piece, each of which is held."""
        total = _Sums(0.0, self.zero(), 0.0)
        for piece in self.batches(_PIECE):
            total = total + piece._held_sums()
        return total

    def _sums(self, step: Tensor) -> _Sums:
        certify(self._passes, "gradient")
        self._move(step)
        total, loss, count = self.zero(), 0.0, 0.0
        with self._passes.kernels():
            for share, counted in self._shares():
                total += self._passes.vectors.join(self._passes.slopes(share), total)
                loss, count = loss + float(share.detach()), count + counted
        return _Sums(loss, total, count)

    def _shares(self) -> Iterator[tuple[Tensor, float]]:
        """The summed loss of each micro-batch, and what it counts."""
        for batch in self._batches():
            loss = self._passes.loss_of(batch)
            yield loss.shares.sum(dtype=self._wide), loss.count

    def _batches(self) -> Iterator[Batch]:
        evaluator = self._passes.evaluator
        for batch in map(evaluator.own, self._source.batches(evaluator.batch_size)):
            yield Batch(batch.inputs, batch.targets, batch.count)

    def batches(self, size: int) -> Iterator[LocalLoss]:
        """The same on `size` examples at a time, in the order of the data.

        One model serves all: use one at a time.
        """
        whole, begin = self._source, None if self._span is None else self._span[0]
        start = 0
        for batch in whole.batches(size):
            stop = start + batch.count
            span = None if begin is None else (begin + start, begin + stop)
            yield self._on(batch, span)
            start = stop

    def sample(self, index: Tensor) -> LocalLoss:
        """The same on some examples, given by their numbers, shape (n,)."""
        return self._on(self._source.take(index), None)

    def _on(self, part: Source, span: tuple[int, int] | None) -> LocalLoss:
        other = object.__new__(LocalLoss)
        other.__dict__.update(self.__dict__)
        other._part, other._span, other._stack = part, span, None
        return other
