"""A private copy of a model in evaluation mode that measures losses at whatever weights are put into it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.objective import losses
from landscape.objective.data import Split, Tree, leaves
from landscape.params import Tensors

# The width of the widest vector registers, in bytes: kernels run the same path for every aligned tensor.
_ALIGNMENT = 64


@dataclass(frozen=True)
class Estimate:
    """A mean over examples.

    Attributes:
        mean: The mean per example, summed in float64.
        standard_error: The standard deviation over examples divided by the square root of their number;
            NaN where the loss cannot be taken apart into examples.
    """

    mean: float
    standard_error: float


def private_copy(model: nn.Module) -> nn.Module:
    """A deep copy in evaluation mode that nothing trains.

    Raises:
        LandscapeError: If the model cannot be copied.
    """
    try:
        copied = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise LandscapeError("the model cannot be copied", got=error) from error
    return copied.eval().requires_grad_(False)


def forward(model: nn.Module, inputs: Tree) -> Any:
    """Call a model on inputs: a tuple as positional, a dictionary as named arguments."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


class Evaluator:
    """Measures means over resident data at the weights it holds.

    Args:
        model: The model; a private copy is made.
        layout: Its layout.
        loss: ``loss(output, target)``, the mean over examples.
        splits: Name -> data.
        weight_decay: The coefficient of the penalty, half of it times the squared norm.
        device: Where to compute.
        dtype: The type of real numbers; None leaves the model's own.
        batch_size: Examples per forward pass; None chooses.

    Attributes:
        storage: Name -> tensor of the private copy; write into these in place to move the weights.
        flat: Dtype -> one vector that all parameters of that dtype are views of.
    """

    def __init__(
        self,
        model: nn.Module,
        layout: Layout,
        loss: Callable[..., Tensor],
        splits: Mapping[str, Split],
        *,
        weight_decay: float,
        device: torch.device,
        dtype: torch.dtype | None,
        batch_size: int | None,
    ) -> None:
        self._model = private_copy(model).to(device=device, dtype=dtype)
        self._layout = layout
        self._loss = copy.deepcopy(loss).to(device=device, dtype=dtype) if isinstance(loss, nn.Module) else loss
        channels_last = device.type == "cpu" and any(isinstance(m, nn.Conv2d) for m in self._model.modules())
        self._splits = {name: split.to(device, dtype, channels_last) for name, split in splits.items()}
        self._weight_decay = weight_decay
        self.batch_size = batch_size or next(iter(splits.values())).default_batch_size()
        state = dict(self._model.named_parameters()) | dict(self._model.named_buffers())
        self.storage: Tensors = {info.name: state[info.name] for info in layout if info.tied_to is None}
        self._offsets = _offsets(layout, self.storage)
        self.flat = self._gather_parameters()
        self._own_buffers = {info.name: self.storage[info.name].clone() for info in layout.stored("buffer")}
        self._shares, self._classifies = self._try_the_loss()

    def _gather_parameters(self) -> dict[torch.dtype, Tensor]:
        """Move the parameters into one vector per dtype, so that a step of all of them is one operation."""
        parameters = {name: tensor for name, tensor in self.storage.items() if name in self._offsets}
        flat = self.pack(parameters)
        for name, tensor in parameters.items():
            start = self._offsets[name]
            tensor.data = flat[tensor.dtype][start : start + tensor.numel()].view(tensor.shape)
        return flat

    def pack(self, tensors: Mapping[str, Tensor]) -> dict[torch.dtype, Tensor]:
        """Parameters laid out as in `flat`; names that are missing are zero, buffers are left out.

        Args:
            tensors: Name -> tensor.

        Returns:
            Dtype -> a new vector.
        """
        sizes: dict[torch.dtype, int] = {}
        for name, start in self._offsets.items():
            held = self.storage[name]
            sizes[held.dtype] = max(sizes.get(held.dtype, 0), start + held.numel())
        packed = {dtype: self.storage_like(size, dtype) for dtype, size in sizes.items()}
        for name, start in self._offsets.items():
            if name in tensors:
                held = self.storage[name]
                packed[held.dtype][start : start + held.numel()] = tensors[name].detach().flatten()
        return packed

    def storage_like(self, size: int, dtype: torch.dtype) -> Tensor:
        """Zeros on the device of the weights."""
        device = next(iter(self.storage.values())).device
        return torch.zeros(size, dtype=dtype, device=device)

    def _try_the_loss(self) -> tuple[Callable[[Any, Any], losses.Shares] | None, bool]:
        inputs, targets = next(next(iter(self._splits.values())).batches(self.batch_size))
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            output = forward(self._model, inputs)
            losses.batch_mean(self._loss, output, targets)
            return losses.take_apart(self._loss, output, targets), losses.classifies(output, targets)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that can be measured here."""
        return ("loss", *(("error",) if self._classifies else ()), "penalty", "total")

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self._splits)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy weights in; buffers that are not given are the model's own.

        Args:
            tensors: Name -> tensor, with every parameter of the model.

        Raises:
            LandscapeError: If a parameter is missing, a name is unknown, or a shape differs.
        """
        self._check(tensors)
        with torch.inference_mode():
            for name, held in self.storage.items():
                held.copy_(tensors[name] if name in tensors else self._own_buffers[name])

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        known = {info.name: info for info in self._layout}
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
        missing = [info.name for info in self._layout.stored("parameter") if info.name not in tensors]
        if missing:
            raise LandscapeError(f"tensor '{missing[0]}' is missing", where="weights")

    def output(self, split: str, size: int) -> Any:
        """The model's output on the first examples of a split."""
        inputs, _ = next(self._splits[split].batches(size))
        with torch.inference_mode():
            return forward(self._model, inputs)

    def first_loss(self) -> float:
        """The mean loss over the first micro-batch of the first split."""
        inputs, targets = next(next(iter(self._splits.values())).batches(self.batch_size))
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            return float(losses.batch_mean(self._loss, forward(self._model, inputs), targets))

    def measure(self, splits: Sequence[str], metrics: Sequence[str]) -> dict[str, Estimate]:
        """Means over all examples of some splits at the weights held.

        Args:
            splits: Names of splits.
            metrics: Some of `metrics`.

        Returns:
            ``"<split>_<metric>"`` -> estimate.
        """
        penalty = self._penalty() if {"penalty", "total"} & set(metrics) else 0.0
        found = {}
        for split in splits:
            measured = self._measure_split(self._splits[split])
            for metric in metrics:
                found[f"{split}_{metric}"] = _pick(metric, measured, penalty)
        return found

    def _measure_split(self, split: Split) -> dict[str, Estimate]:
        parts: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            for inputs, targets in split.batches(self.batch_size):
                output = forward(self._model, inputs)
                for metric, sums in self._sums(output, targets).items():
                    parts.setdefault(metric, []).append(sums)
            totals = {metric: torch.stack(sums).sum(0).tolist() for metric, sums in parts.items()}
        return {metric: _estimate(split.count, *sums) for metric, sums in totals.items()}

    def _sums(self, output: Any, targets: Tree) -> dict[str, Tensor]:
        """For each metric the five sums of a micro-batch that `_estimate` needs, float64."""
        if self._shares is None:
            count = leaves(targets)[0].shape[0]
            mean = losses.batch_mean(self._loss, output, targets).double()
            unknown = torch.full_like(mean, math.nan)
            whole = torch.full_like(mean, count)
            found = {"loss": torch.stack([mean * count, unknown, whole, whole, unknown])}
        else:
            found = {"loss": _five_sums(*self._shares(output, targets))}
        if self._classifies:
            found["error"] = _five_sums(*losses.wrong(self._loss, output, targets))
        return found

    def _penalty(self) -> float:
        moving = [self.storage[info.name] for info in self._layout.moving()]
        with torch.inference_mode():
            return self._weight_decay / 2 * float(sum((t.double() ** 2).sum() for t in moving))


def _offsets(layout: Layout, storage: Tensors) -> dict[str, int]:
    """Where each parameter starts in the vector of its dtype; every start is a multiple of 64 bytes."""
    ends: dict[torch.dtype, int] = {}
    offsets = {}
    for info in layout.stored("parameter"):
        tensor = storage[info.name]
        start = ends.get(tensor.dtype, 0)
        offsets[info.name] = start
        step = max(1, _ALIGNMENT // tensor.element_size())
        ends[tensor.dtype] = -(-(start + tensor.numel()) // step) * step
    return offsets


def _five_sums(shares: Tensor, weights: Tensor | None) -> Tensor:
    """The sums of n, n^2, w, w^2 and n w over examples with shares n and weights w."""
    exact = shares.double()
    total, squares = exact.sum(), (exact * exact).sum()
    if weights is None:
        count = torch.full_like(total, len(exact))
        return torch.stack([total, squares, count, count, total])
    return torch.stack([total, squares, weights.sum(), (weights * weights).sum(), (exact * weights).sum()])


def _estimate(count: int, n: float, n2: float, w: float, w2: float, nw: float) -> Estimate:
    """The ratio of two sums over examples, and its standard error (of the mean, where all weights are 1)."""
    mean = n / w if w else math.nan
    if count < 2:
        return Estimate(mean, math.nan)
    scatter = n2 - 2 * mean * nw + mean * mean * w2
    if scatter != scatter:
        return Estimate(mean, math.nan)
    return Estimate(mean, math.sqrt(max(scatter, 0.0) * count / (count - 1)) / w)


def _pick(metric: str, measured: Mapping[str, Estimate], penalty: float) -> Estimate:
    if metric == "penalty":
        return Estimate(penalty, 0.0)
    if metric == "total":
        return Estimate(measured["loss"].mean + penalty, measured["loss"].standard_error)
    return measured[metric]
