"""A private copy of a model in evaluation mode that measures losses at whatever weights are put into it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.objective import batchnorm, losses
from landscape.objective.buffers import DerivedBuffers
from landscape.objective.data import Batches, Source, Split
from landscape.objective.devices import precision
from landscape.objective.findings import Findings, Gradients
from landscape.objective.flat import gather, offsets, pack, private
from landscape.objective.kernels import samples, settle_fast_path
from landscape.objective.loan import lent, require_same_memory, without_gradients
from landscape.objective.means import Estimate, estimate, estimate_of_batches
from landscape.objective.raw import Raw, RawPoint, Score, join, on_host, pick
from landscape.objective.rewrites import rewritten
from landscape.objective.running_statistics import RunningStatistics
from landscape.objective.scores import Scoring, how_of, score_of
from landscape.objective.tree import Tree, forward
from landscape.objective.tuning import Tuning
from landscape.params import Tensors, cast, real_view

# Whether a loss can be taken apart is tried on so many examples at most.
_TRIAL = 8
# Rewrites are compared with the model on so many.
_REWRITE_TRIAL = 32


class Evaluator:
    """Measures means over resident data at the weights it holds.

    Args:
        model: The model; a private copy is made.
        layout: Its layout.
        loss: ``loss(output, target)`` or ``loss(model, batch)``; see `losses`.
        splits: Name -> data, on the device and in the layout and type of real numbers wanted.
        weight_decay: The coefficient of the penalty, half of it times the squared norm.
        device: Where to compute.
        dtype: The type of real numbers; None leaves the model's own.
        tuning: How the passes are made.
        scoring: That of another evaluator of the same loss and data on the same device, which spares the trial.
        findings: What the passes have to heed.
        in_place: Measure by the model itself, which is put into evaluation mode for each pass and back.

    Attributes:
        model: The private copy, or the model itself.
        storage: Name -> tensor of the model; write into these in place to move it, then call `moved`.
        flat: Dtype -> one vector that all parameters of that dtype are views of.
        layout: The layout of the model.
        starts: Where each parameter starts in its vector.
        weight_decay: The coefficient of the penalty.
        device: Where it computes.
        rewrites: What was rewritten, name -> how often; empty where nothing was.
        takes_model: Whether the loss takes (model, batch).
    """

    def __init__(
        self,
        model: nn.Module,
        layout: Layout,
        loss: Callable[..., Any],
        splits: Mapping[str, Source],
        *,
        weight_decay: float,
        device: torch.device,
        dtype: torch.dtype | None,
        tuning: Tuning,
        scoring: Scoring | None = None,
        findings: Findings = Findings(),  # noqa: B008 - a frozen value
        in_place: bool = False,
    ) -> None:
        self.in_place, self._still = in_place, without_gradients(model, in_place)
        self.model, self._loss = (model, loss) if in_place else private(model, loss, device, dtype)
        # The user's own modules are not run in training mode to see what they do to buffers.
        self._tried = nn.Module() if in_place else self.model
        self.layout, self.findings = layout, findings
        self.takes_model = losses.takes_model(loss)
        self._half = dtype is not None and dtype.itemsize < 4
        self._splits = dict(splits)
        self.weight_decay, self.device, self.tuning = weight_decay, device, tuning
        state = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        self.storage: Tensors = {info.name: state[info.name] for info in layout if info.tied_to is None}
        self.starts = {} if in_place else offsets(layout, self.storage)
        self.flat = gather(self.storage, self.starts)
        self._own_buffers = {info.name: self.storage[info.name].clone() for info in layout.stored("buffer")}
        self._call: Callable[..., Any] = self.model
        self._refresh: Callable[[], None] | None = None
        self.rewrites: dict[str, int] = {}
        self._rewrite(tuning)
        self._scoring = scoring
        self.heed(findings)
        if not in_place:
            settle_fast_path(self.model, lambda: [self.output(one) for one in samples(self)])

    def heed(self, findings: Findings) -> None:
        """Make passes from now on as was found necessary."""
        self.findings = findings
        taken = findings.gradients is Gradients.WEIGHTS
        for info in self.layout.moving() if not self.in_place else ():
            self.storage[info.name].requires_grad_(taken)

    def passing(self) -> AbstractContextManager[Any]:
        """The mode of a forward pass whose result is not differentiated."""
        mode = self._still() if self.findings.gradients is Gradients.NONE else torch.enable_grad()
        return lent(self.model, mode) if self.in_place else mode

    def _rewrite(self, tuning: Tuning) -> None:
        if tuning.rewrite:
            # A loss that takes the model may do anything with it.
            trial = min(_REWRITE_TRIAL, tuning.batch_size)
            made = None if self.takes_model else rewritten(self.model, self.first(self.splits[0], trial).inputs)
            if made is None:
                self.tuning = replace(tuning, rewrite=False)
            else:
                self._call, self._refresh, self.rewrites = made.call, made.refresh, made.counts
        if tuning.compiled:
            self._call = torch.compile(self._call, dynamic=False)

    def cut(self, batch_size: int) -> None:
        """Cut the data into micro-batches of another size."""
        self.tuning = replace(self.tuning, batch_size=batch_size)

    def each_batch(self, split: str) -> Iterator[Split]:
        """The micro-batches of a split in order."""
        return map(self.own, self._splits[split].batches(self.tuning.batch_size))

    def own(self, batch: Split) -> Split:
        """A batch as it may be given to the model: a copy where that writes into it."""
        return batch.clone() if self.findings.copies else batch

    def first(self, split: str, examples: int) -> Split:
        """The first examples of a split as one batch; a whole batch where batches may not be cut."""
        size = self.tuning.batch_size if self.findings.coupled else examples
        return self.own(self._splits[split].first(size))

    @property
    def batch_size(self) -> int:
        """Examples per forward pass."""
        return self.tuning.batch_size

    def pack(
        self, tensors: Mapping[str, Tensor], at_least: torch.dtype | None = None
    ) -> dict[torch.dtype, Tensor]:
        """Parameters laid out as in `flat`; see `flat.pack`."""
        return pack(tensors, self.storage, self.starts, at_least)

    @property
    def scoring(self) -> Scoring:
        """Decomposition of the loss and the error of each split into examples; tried when first needed."""
        if self._scoring is None:
            self._scoring = self._take_apart()
        return self._scoring

    def _take_apart(self) -> Scoring:
        scoring = {}
        # Two examples tell most losses apart, and more are no trouble where they make one micro-batch.
        trial = max(2, min(_TRIAL, self.tuning.batch_size))
        for name, split in self._splits.items():
            with torch.random.fork_rng(devices=[]), self.passing():
                self.moved()
                batch = self.first(name, trial)
                given = self.arguments(*batch)
                loss = self._loss(*given)
                scoring[name] = how_of(self._loss, loss, given, batch, split.targets, self.findings.apart)
        return scoring

    def arguments(self, inputs: Tree, targets: Tree) -> tuple[Any, Any]:
        """The two arguments of the loss for a micro-batch."""
        return (self._call, inputs) if self.takes_model else (self._output(inputs), targets)

    def _output(self, inputs: Tree) -> Any:
        output = forward(self._call, inputs)
        return cast(output, torch.float32) if self._half and isinstance(output, Tensor) else output

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that can be measured here."""
        classifies = next(iter(self.scoring.values()))[1] is not None
        return ("loss", *(("error",) if classifies else ()), "penalty", "total")

    def data(self, split: str) -> Source:
        """The data of a split."""
        return self._splits[split]

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self._splits)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy weights in; buffers that are not given are the model's own.

        Args:
            tensors: Name -> tensor, with every parameter of the model.

        Raises:
            LandscapeError: If a parameter is missing, a name is unknown, or a shape or (in place) a value differs.
        """
        self._check(tensors)
        if self.in_place:
            require_same_memory(tensors, self.storage)
            return
        with torch.inference_mode():
            for name, held in self.storage.items():
                held.copy_(tensors[name] if name in tensors else self._own_buffers[name])
            self.moved()

    def moved(self) -> None:
        """Take notice that the tensors of `storage` were changed."""
        if self._refresh is not None:
            with torch.inference_mode():
                self._refresh()

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        known = {info.name: info for info in self.layout}
        for name, tensor in tensors.items():
            if name not in known:
                raise LandscapeError(f"the model has no tensor '{name}'", where="weights")
            if tuple(tensor.shape) != known[name].shape:
                raise LandscapeError(
                    f"tensor '{name}' has another shape",
                    where="weights",
                    got=tuple(tensor.shape),
                    expected=known[name].shape,
                )
        missing = [info.name for info in self.layout.stored("parameter") if info.name not in tensors]
        if missing:
            raise LandscapeError(f"tensor '{missing[0]}' is missing", where="weights")

    def recalibrate(self, split: str, examples: int) -> None:
        """Estimate running statistics anew from the first examples of a split; see `batchnorm.estimate`."""
        size = self.tuning.batch_size if self.findings.coupled else batchnorm.batch_size(examples)
        batches = self._splits[split].part(0, examples).batches(size)
        with torch.random.fork_rng(devices=[]):
            beside = self.running.averaging() if self.running.names else None
            batchnorm.estimate(self.model, batches, functools.partial(self.output, call=self.model), beside)
        self.moved()

    @functools.cached_property
    def derived(self) -> DerivedBuffers:
        """The buffers that follow from the weights; found by trial when first asked for, of a copy only."""
        return DerivedBuffers(self._tried, self._few_passes)

    @functools.cached_property
    def running(self) -> RunningStatistics:
        """The layers with running statistics that are none of torch's; found by trial when first asked for."""
        return RunningStatistics(self._tried, self._few_passes, self.derived.names)

    def _few_passes(self) -> list[Callable[[], object]]:
        batches = self._splits[self.splits[0]].batches(self.tuning.batch_size if self.findings.coupled else 2)
        return [functools.partial(self.output, batch, call=self.model) for batch in itertools.islice(batches, 2)]

    def recompute(self) -> None:
        """Recompute the buffers that follow from the weights held."""
        self.derived.recompute()
        self.moved()

    def output(self, batch: Split, call: Callable[..., Any] | None = None) -> Any:
        """The output of the model, or of what is called instead; the loss there if it takes the model."""
        with self.passing():
            called, inputs = call or self._call, self.own(batch).inputs
            return self._loss(called, inputs) if self.takes_model else forward(called, inputs)

    @property
    def loss(self) -> Callable[..., Any]:
        """The loss, on the device and in the type of the evaluator."""
        return self._loss

    def loss_of(self, batch: Split, *, spared: bool = True) -> Any:
        """The result of the loss for a batch, which is spared where the model writes into it."""
        with self.passing():
            return self._loss(*self.arguments(*(self.own(batch) if spared else batch)))

    def first_loss(self) -> float:
        """The mean loss over the first micro-batch of the first split."""
        return self.mean_of(next(self.each_batch(self.splits[0])))

    def mean_of(self, batch: Split) -> float:
        """The mean loss over a batch."""
        with torch.random.fork_rng(devices=[]), self.passing():
            return float(losses.mean_of(self._loss, *self.arguments(*self.own(batch))).detach())

    def measure(self, splits: Sequence[str], metrics: Sequence[str]) -> dict[str, Estimate]:
        """Means over all examples of some splits at the weights held.

        Args:
            splits: Names of splits.
            metrics: Some of `metrics`.

        Returns:
            ``"<split>_<metric>"`` -> estimate.
        """
        return self.estimates(self.run(splits, metrics), metrics)

    def run(self, splits: Sequence[str], metrics: Sequence[str], batches: int | None = None) -> RawPoint:
        """One pass over some splits at the weights held, without waiting for the device.

        Args:
            splits: Names of splits.
            metrics: Some of `metrics`.
            batches: Only so many micro-batches of each split, to time them.

        Returns:
            Split -> what `estimates` averages.
        """
        with self.passing(), precision(self.device, self.tuning.tf32):
            penalty = self.penalty() if {"penalty", "total"} & set(metrics) else None
            return {split: self._run_split(split, "error" in metrics, penalty, batches) for split in splits}

    def _run_split(self, name: str, error: bool, penalty: Tensor | None, batches: int | None) -> Raw:
        scores, sizes = [], []
        for batch in itertools.islice(self.each_batch(name), batches):
            score = self.score(name, *self.arguments(*batch), error)
            scores.append([None if part is None else part.detach() for part in score])
            sizes.append(batch.count)
        loss, missed, weights = (join(parts) for parts in zip(*scores, strict=True))
        return Raw(loss, missed, penalty, tuple(sizes), weights)  # type: ignore[arg-type]

    def score(self, split: str, output: Any, targets: Any, error: bool) -> Score:
        """The loss, and the error if it is wanted, of each example of a micro-batch.

        Args:
            split: The name of its split.
            output: The model's output, or the model.
            targets: The targets, or the batch.
            error: Whether the error is wanted.

        Returns:
            Loss, error or None, and what the losses count or None: shape (examples,) each; a loss that cannot be
            taken apart has shape (1,), its mean.
        """
        return score_of(self._loss, self.scoring[split], (output, targets), error)

    @property
    def by_examples(self) -> bool:
        """Return whether the loss is a mean over examples, each of which has a loss of its own."""
        return not self.findings.coupled and all(loss is not None for loss, _ in self.scoring.values())

    @property
    def cuts(self) -> bool:
        """Return whether micro-batches may have any size."""
        return not self.findings.coupled and all(split.cuts for split in self._splits.values())

    @property
    def streamed(self) -> bool:
        """Return whether data are read again at every point."""
        return not all(isinstance(split, Split | Batches) for split in self._splits.values())

    def fetch(self, raw: Sequence[RawPoint]) -> list[RawPoint]:
        """The results of several points on the host, by one transfer: the device is waited for once."""
        return list(raw) if self.device.type == "cpu" else on_host(raw)

    def estimates(self, raw: RawPoint, metrics: Sequence[str]) -> dict[str, Estimate]:
        """Average what `run` gave.

        Args:
            raw: Split -> results.
            metrics: Some of `metrics`.

        Returns:
            ``"<split>_<metric>"`` -> estimate.
        """
        found = {}
        for split, results in raw.items():
            of_loss, of_error = self.scoring[split]
            measured = {"loss": self._average(results.loss, of_loss, results)}
            if results.error is not None:
                measured["error"] = self._average(results.error, of_error, results)
            penalty = 0.0 if results.penalty is None else float(results.penalty)
            for metric in metrics:
                found[f"{split}_{metric}"] = pick(metric, measured, penalty)
        return found

    def _average(self, shares: Tensor, how: losses.PerExample | None, results: Raw) -> Estimate:
        values = shares.cpu().double().numpy()
        if how is None:
            return estimate_of_batches(values, results.sizes)
        weights = results.weights if how.counted else how.weights
        found = estimate(values, None if weights is None else weights.cpu().double().numpy())
        return Estimate(found.mean, math.nan) if self.findings.coupled else found

    def penalty(self) -> Tensor:
        """The penalty at the weights held."""
        moving = [self.storage[info.name] for info in self.layout.moving()]
        # Apple's devices know no float64.
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        squares = torch.stack([(real_view(tensor).to(wide) ** 2).sum() for tensor in moving]).sum()
        return self.weight_decay / 2 * squares
