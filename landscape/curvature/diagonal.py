"""The diagonal of the Gauss-Newton matrix: exact from Jacobians of single examples, or sampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from landscape.curvature.certificate import certify
from landscape.curvature.factors import Factor, factor_of
from landscape.curvature.graphs import pulled
from landscape.curvature.jacobians import PerExample
from landscape.curvature.passes import Batch, Passes
from landscape.curvature.random_vectors import Estimate, generator_of
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import Tensors, Weights
from landscape.values.result import Tabular

# Up to so many numbers (examples x outputs x parameters) Jacobians are made in seconds.
_EXACT_NUMBERS = 10**9
_SAMPLES = 8
# Every micro-batch is a sample of its own, so that small ones give the smaller error for the same work; smaller
# than this they take longer.
SAMPLED_BATCH = 16


@dataclass(frozen=True)
class Diagonal(Tabular, Mapping[str, Tensor]):
    """The diagonal of a matrix, by parameter: a mapping name -> tensor of the parameter's shape, float64.

    Attributes:
        entries: Name -> the diagonal.
        standard_errors: Name -> its standard error over the random signs; zeros where it is exact.
        traces: Name -> the sum over a parameter, with a standard error of its own (entries are not independent).
        exact: Whether nothing was drawn.
        samples: Draws of random signs; 0 where it is exact.
    """

    entries: Tensors
    standard_errors: Tensors
    traces: dict[str, Estimate] = field(repr=False)
    exact: bool
    samples: int

    def __getitem__(self, name: str) -> Tensor:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def _table(self) -> Mapping[str, Any]:
        own = self.traces.values()
        errors = [one.standard_error for one in own]
        return {"parameter": list(self.traces), "trace": [one.value for one in own], "standard_error": errors}


def gauss_newton_diagonal(
    objective: Objective,
    weights: Weights,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    *,
    exact: bool | None = None,
    dtype: torch.dtype | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Diagonal:
    """The diagonal of the Gauss-Newton matrix of the mean loss, G = sum over examples of J^T A J / counts.

    With A = S S^T for every example, the diagonal is the sum of squares of the entries of J^T S. Exactly: each
    column of S is pulled back through each example. Sampled: one backward pass takes S times random signs of all
    examples of a micro-batch at once; products of different signs vanish in the mean, so that the square has no
    bias, and its variance is that over draws within every micro-batch.

    Args:
        objective: Model, data and loss, which must be convex in the model's outputs.
        weights: Where: a snapshot, a model, or a name -> tensor dictionary.
        split: Which data.
        parameters: Globs that choose some parameters, see `Layout.select`.
        samples: Draws of signs, 2 at least; given, the diagonal is sampled. None takes 8 where it is sampled.
        seed: Draws the signs.
        exact: Whether it is exact; None decides by examples x outputs x parameters, up to 10^9.
        dtype: ``torch.float32`` or ``torch.float64``; None is the model's own. Sums are in float64 in any case.
        batch_size: Examples per micro-batch; None chooses.
        progress: Called with (examples done, examples in all).

    Returns:
        Name -> tensor, with standard errors.

    Raises:
        LandscapeError: If output and loss cannot be told apart, or the loss gives means of batches only, or is
            not convex in the outputs.

    Source:
        Schraudolph 2002, section 4, for G; the sampled diagonal after Martens, Sutskever and Swersky 2012,
        "Estimating the Hessian by back-propagating curvature".

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)
        >>> objective = Objective(model, loss=torch.nn.functional.mse_loss, train=(x, y))
        >>> gauss_newton_diagonal(objective, model)["weight"].round(decimals=6)  # 2 x^2 / n
        tensor([[1., 4.]], dtype=torch.float64)
    """
    if samples is not None and (exact or samples < 2):
        raise LandscapeError("must be 2 at least, and not given where exact", where="samples", got=samples)
    passes = _by_examples(Passes(objective, weights, split, parameters, dtype, batch_size))
    with passes.kernels():
        if exact is None:
            exact = samples is None and _numbers(passes) <= _EXACT_NUMBERS
        if exact:
            return _exact(passes, progress)
        _cut(passes, batch_size)
        return _sampled(passes, samples or _SAMPLES, seed, progress)


def exact_by(passes: Passes, most: int, progress: Callable[[int, int], None] | None = None) -> Diagonal | None:
    """The exact diagonal of the Gauss-Newton matrix where it is small; see `gauss_newton_diagonal`.

    Args:
        passes: Model, weights, data and loss, which must be convex in the model's outputs.
        most: Up to how many numbers, examples x outputs x parameters.
        progress: Called with (examples done, examples in all).

    Returns:
        The diagonal; None where there are more numbers, or the loss gives means only, or batches stay whole.
    """
    if not passes.by_examples or not passes.evaluator.cuts:
        return None
    with passes.kernels():
        few = _numbers(passes) <= most
    if not few:
        return None
    _by_examples(passes)
    with passes.kernels():
        return _exact(passes, progress)


def gauss_newton_draws(
    objective: Objective,
    weights: Weights,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    *,
    dtype: torch.dtype | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensors]:
    """The diagonal of the Gauss-Newton matrix as something to be averaged, for the error of what is made of it.

    Sampled, they are eight, made of pairs of draws of random signs for every micro-batch, a and b: each adds up
    (a + b) / 2 plus or minus sqrt(7) (a - b) / 2, with plus and minus orthogonal between micro-batches. Their mean
    is the sampled diagonal of all draws, and the standard error of their mean that of any linear function of it,
    as if they were independent: but eight of those would take eight draws. Single entries may be negative.

    Args:
        objective: Model, data and loss, which must be convex in the model's outputs.
        weights: Where: a snapshot, a model, or a name -> tensor dictionary.
        split: Which data.
        parameters: Globs that choose some parameters, see `Layout.select`.
        samples: Pairs of draws for every micro-batch. None gives the exact diagonal alone where that takes
            seconds, and otherwise draws 16 pairs.
        seed: Draws the signs.
        dtype: ``torch.float32`` or ``torch.float64``; None is the model's own.
        batch_size: Examples per micro-batch; None chooses.
        progress: Called with (examples done, examples in all).

    Returns:
        Name -> tensor dictionaries, float64.

    Raises:
        LandscapeError: As `gauss_newton_diagonal`.

    Source:
        Balanced repeated replication: McCarthy 1969, "Pseudo-replication: half samples".
    """
    passes = Passes(objective, weights, split, parameters, dtype, batch_size)
    return replicated_by(passes, samples, seed, batch_size, progress)


def replicated_by(
    passes: Passes,
    samples: int | None,
    seed: int,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensors]:
    """The same by given passes, whose data are cut into small micro-batches unless `batch_size` is given."""
    if samples is not None and samples < 1:
        raise LandscapeError("must be positive", where="samples", got=samples)
    _by_examples(passes)
    with passes.kernels():
        if samples is None and _numbers(passes) <= _EXACT_NUMBERS:
            return [_exact(passes, progress).entries]
        _cut(passes, batch_size)
        return _replicated(passes, samples or 2 * _SAMPLES, seed, progress)


def _replicated(
    passes: Passes, pairs: int, seed: int, progress: Callable[[int, int], None] | None
) -> list[Tensors]:
    generator, signs = generator_of(seed), _orthogonal_signs()
    middle = torch.zeros(passes.vectors.size, dtype=torch.float64)
    away = torch.zeros(len(signs), passes.vectors.size, dtype=torch.float64)
    count, done, strata, examples = 0.0, 0, 0, passes.evaluator.data(passes.split).count
    for batch in passes.batches():
        parts, counted = passes.separated(batch)
        factor = factor_of(parts)
        for _ in range(pairs):
            one, other = (_backward(passes, parts.outputs, factor, batch, generator) ** 2 for _ in range(2))
            middle += (one + other) / 2
            half = (one - other) / 2
            for row, sign in zip(away, signs[:, strata % signs.shape[1]].tolist(), strict=True):
                row.add_(half, alpha=sign)
            strata += 1
        count, done = count + counted, done + batch.examples
        if progress is not None:
            progress(done, examples)
    passes.vectors.require_finite(middle, "the Gauss-Newton diagonal")
    spread = math.sqrt(len(signs) - 1)
    return [passes.vectors.unflatten((middle + spread * row) / (pairs * count)) for row in away]


def _orthogonal_signs() -> Tensor:
    """Seven orthogonal columns of eight signs each that sum to zero (Sylvester 1867)."""
    signs = torch.ones(1, 1)
    for _ in range(3):
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    return signs[:, 1:]


def gauss_newton_blocks(
    objective: Objective,
    weights: Weights,
    split: str = "train",
    parameters: str | Sequence[str] | None = None,
    samples: int | None = None,
    seed: int = 0,
    *,
    exact: bool | None = None,
    dtype: torch.dtype | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Estimate]:
    """The trace of the Gauss-Newton matrix over each parameter; see `gauss_newton_diagonal` for the arguments."""
    diagonal = gauss_newton_diagonal(
        objective,
        weights,
        split,
        parameters,
        samples,
        seed,
        exact=exact,
        dtype=dtype,
        batch_size=batch_size,
        progress=progress,
    )
    return diagonal.traces


def _by_examples(passes: Passes) -> Passes:
    """The passes themselves, checked, where the loss tells examples apart."""
    if passes.by_examples and not passes.evaluator.cuts:
        raise LandscapeError(
            "Jacobians of single examples are wanted, but the batches cannot be cut",
            where="Gauss-Newton diagonal",
            mend="put the examples along the first axis of every tensor",
        )
    if not passes.by_examples:
        raise LandscapeError(
            "the loss gives means of batches only, but Jacobians of single examples are wanted",
            where="Gauss-Newton diagonal",
            mend="let it give one number per example, or sums and counts per example",
        )
    certify(passes, "jacobian")
    return passes


def _cut(passes: Passes, batch_size: int | None) -> None:
    if batch_size is None:
        passes.evaluator.cut(min(SAMPLED_BATCH, passes.evaluator.batch_size))


def _numbers(passes: Passes) -> int:
    trial, _ = passes.separated(passes.trial(1))
    outputs = sum(leaf.numel() for leaf in trial.leaves)
    return passes.evaluator.data(passes.split).count * outputs * passes.vectors.size


def _exact(passes: Passes, progress: Callable[[int, int], None] | None) -> Diagonal:
    total, count, done = torch.zeros(passes.vectors.size, dtype=torch.float64), 0.0, 0
    examples = passes.evaluator.data(passes.split).count
    squares = PerExample(passes)
    for batch in passes.batches():
        parts, counted = passes.separated(batch)
        factor = factor_of(parts)
        for start in range(0, batch.examples, squares.group(factor.width)):
            total += squares.of(batch, factor, start)
        count, done = count + counted, done + batch.examples
        if progress is not None:
            progress(done, examples)
    passes.vectors.require_finite(total, "the Gauss-Newton diagonal")
    return _diagonal(passes, total / count, torch.zeros_like(total), {}, 0, passes.vectors.size)


@dataclass
class _Sum:
    """Adds up means over samples, one micro-batch after the other, and their variances."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, size: int) -> _Sum:
        return cls(torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64))

    def add(self, first: Tensor, second: Tensor, samples: int) -> None:
        """Sums over the samples of a micro-batch and of their squares."""
        self.mean += first / samples
        self.variance += (second - first**2 / samples).clamp(min=0) / (samples * (samples - 1))


def _sampled(passes: Passes, samples: int, seed: int, progress: Callable[[int, int], None] | None) -> Diagonal:
    generator, vectors = generator_of(seed), passes.vectors
    entries, tensors = _Sum.of(vectors.size), _Sum.of(len(vectors.names))
    count, done, examples = 0.0, 0, passes.evaluator.data(passes.split).count
    for batch in passes.batches():
        parts, counted = passes.separated(batch)
        factor = factor_of(parts)
        moments = [torch.zeros(size, dtype=torch.float64) for size in (vectors.size, vectors.size)]
        sums = []
        for _ in range(samples):
            square = _backward(passes, parts.outputs, factor, batch, generator) ** 2
            moments[0] += square
            moments[1] += square**2
            sums.append(torch.stack([part.sum() for part in vectors.cut_real(square)]))
        entries.add(moments[0], moments[1], samples)
        tensors.add(sum(sums, torch.zeros(1)), sum((one**2 for one in sums), torch.zeros(1)), samples)
        count, done = count + counted, done + batch.examples
        if progress is not None:
            progress(done, examples)
    vectors.require_finite(entries.mean, "the Gauss-Newton diagonal")
    errors = {
        name: float(variance) ** 0.5 / count
        for name, variance in zip(vectors.names, tensors.variance, strict=True)
    }
    return _diagonal(passes, entries.mean / count, entries.variance.sqrt() / count, errors, samples, samples)


def _backward(
    passes: Passes, outputs: Sequence[Tensor], factor: Factor, batch: Batch, generator: torch.Generator
) -> Tensor:
    """J^T S times random signs, shape (P,), float64, on the CPU."""
    drawn = torch.randint(0, 2, (batch.examples, factor.width), generator=generator, dtype=torch.int8)
    covectors = factor.multiply((2 * drawn - 1).to(outputs[0].device, outputs[0].dtype))
    found = pulled(outputs, passes.variables, covectors, False)
    return passes.vectors.join(found, torch.zeros(passes.vectors.size, dtype=torch.float64))


def _diagonal(
    passes: Passes, entries: Tensor, errors: Tensor, of_traces: Mapping[str, float], samples: int, products: int
) -> Diagonal:
    parts, around = (
        dict(zip(passes.vectors.names, passes.vectors.cut_real(vector), strict=True))
        for vector in (entries, errors)
    )
    how = "sampled" if samples else "exact"
    traces = {
        name: Estimate(math.fsum(part.flatten().tolist()), of_traces.get(name, 0.0), products, how)
        for name, part in parts.items()
    }
    return Diagonal(parts, around, traces, not samples, samples)
