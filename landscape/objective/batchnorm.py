"""Running statistics of normalisation layers: the policies for them between networks, and their estimation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from landscape.errors import LandscapeError, did_you_mean
from landscape.vocabulary import POLICIES, RECALIBRATE

"""Treatment of statistics where the weights are those of no trained network."""

# Examples that statistics are estimated from: their error is then a 20th of the scatter between examples.
EXAMPLES = 512
# Statistics are averaged over micro-batches of this many examples.
_BATCH = 128


def require_policy(bn: str) -> str:
    """Check the name of a policy.

    Raises:
        LandscapeError: If there is none of this name.
    """
    if bn not in POLICIES:
        raise LandscapeError(f"unknown policy '{bn}'", where="bn", mend=did_you_mean(bn, POLICIES))
    return bn


def examples_of(bn: str | None, available: int) -> int:
    """The number of examples that statistics are estimated from; 0 for None.

    Args:
        bn: ``"recalibrate"`` or ``"recalibrate:EXAMPLES"``; None leaves statistics alone.
        available: The number of examples there are.

    Raises:
        LandscapeError: If the policy is another, or the number is out of range.
    """
    if bn is None:
        return 0
    word, _, number = bn.partition(":")
    if word != RECALIBRATE or (number and not number.isdecimal()):
        raise LandscapeError("unknown policy", where="bn", got=bn, expected="recalibrate or recalibrate:EXAMPLES")
    examples = int(number) if number else min(EXAMPLES, available)
    if not 2 <= examples <= available:
        raise LandscapeError(
            "statistics need at least 2 examples, and no more than there are",
            where="bn",
            got=examples,
            expected=f"2 to {available}",
        )
    return examples


def layers_of(model: nn.Module) -> dict[str, _NormBase]:
    """Name -> layer that keeps running statistics: batch and instance normalisation, and subclasses of theirs."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _NormBase) and module.track_running_stats and module.running_mean is not None
    }


def has_statistics(model: nn.Module) -> bool:
    """Return whether a model holds running statistics of normalisation."""
    return bool(layers_of(model))


def statistics_of(model: nn.Module) -> list[str]:
    """The names of the buffers of the layers that keep running statistics."""
    return [
        f"{name}.{buffer}" if name else buffer
        for name, layer in layers_of(model).items()
        for buffer, tensor in layer._buffers.items()
        if tensor is not None
    ]


def batch_size(examples: int) -> int:
    """The micro-batch for so many examples: none has a single one, of which there is no variance.

    Example:
        >>> batch_size(512), batch_size(129)
        (128, 127)
    """
    size = _BATCH
    while examples > 1 and examples % size == 1:
        size -= 1
    return size


def estimate(
    model: nn.Module,
    batches: Iterable[Any],
    run: Callable[[Any], object],
    beside: AbstractContextManager[Any] | None = None,
) -> None:
    """Estimate the running statistics anew from passes over data; all else stays in evaluation mode.

    The average over micro-batches of their means and variances, as torch.optim.swa_utils.update_bn takes it
    (Izmailov et al. 2018, section 3.2).

    Args:
        model: In evaluation mode.
        batches: Data.
        run: Passes one of them through the model.
        beside: Averages the statistics of layers that are none of torch's meanwhile.

    Raises:
        LandscapeError: If the layers are TorchScript's, whose mode is theirs.
    """
    layers = list(layers_of(model).values())
    _refuse_scripted(model)
    if not layers and beside is None:
        return
    with _averaging(layers), beside or nullcontext():
        for batch in batches:
            run(batch)


@contextmanager
def _averaging(layers: Sequence[_NormBase]) -> Iterator[None]:
    """Layers in training mode, whose statistics begin anew and become the mean over all calls."""
    momenta = [layer.momentum for layer in layers]
    handles = []
    for layer in layers:
        layer.reset_running_stats()
        layer.training = True
        handles.append(layer.register_forward_pre_hook(_Share()))
    try:
        yield
    finally:
        for layer, momentum, handle in zip(layers, momenta, handles, strict=True):
            handle.remove()
            layer.momentum = momentum
            layer.training = False


class _Share:
    """Gives the k-th call of a layer the share 1 / k; instance normalisation takes no average over all calls."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, layer: Any, _inputs: Any) -> None:
        self._calls += 1
        layer.momentum = 1.0 / self._calls


def _refuse_scripted(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and any(
            buffer.rpartition(".")[2] == "running_mean" for buffer, _ in module.named_buffers()
        ):
            raise LandscapeError(
                "statistics of TorchScript modules cannot be re-estimated",
                where=name or type(module).__name__,
                mend="pass the Python model, or leave --bn recalibrate out",
            )
