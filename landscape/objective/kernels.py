"""Fused kernels of torch that serve evaluation without gradients only, and what to do where they are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from landscape.objective.data import Split
from landscape.objective.sample import sample

if TYPE_CHECKING:
    from landscape.objective.evaluator import Evaluator

# Modules of torch that take another path in evaluation mode without gradients.
_FAST = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


# So many examples, from all over the data, tell whether two paths give the same.
_EXAMPLES = 8


def samples(evaluator: Evaluator) -> list[Split]:
    """Some examples of every split, in whole batches where batches are what the loss is made of."""
    whole = evaluator.findings.coupled
    size = evaluator.batch_size if whole else _EXAMPLES
    return [sample(evaluator.data(split), size, whole=whole) for split in evaluator.splits]


def settle_fast_path(model: nn.Module, output: Callable[[], Any]) -> bool:
    """Let a model take torch's fast path through attention only where it gives what the plain path gives.

    In some versions of torch the fast path gives NaN, or leaves a mask out.

    Args:
        model: A private copy, in evaluation mode; its modules may be changed.
        output: What it gives on some examples.

    Returns:
        Whether the fast path stays.
    """
    modules = [module for module in model.modules() if isinstance(module, _FAST)]
    if not modules:
        return True
    fast = _outcome(output)
    with PlainPath():
        plain = _outcome(output)
    # Where the model does not run at all, its first use will say so.
    if plain is None or (fast is not None and _same(fast, plain)):
        return True
    for module in modules:
        module.forward = MethodType(_plain_forward, module)  # type: ignore[method-assign]
    return False


class PlainPath(TorchFunctionMode):
    """Keeps attention off its fast path, in this thread alone: it is not taken where calls are watched."""

    def __torch_function__(
        self, function: Any, types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """A call as it is made."""
        return function(*args, **(kwargs or {}))


def _plain_forward(module: nn.Module, *given: Any, **named: Any) -> Any:
    with PlainPath():
        return type(module).forward(module, *given, **named)


def _outcome(output: Callable[[], Any]) -> list[Tensor] | None:
    try:
        with torch.random.fork_rng(devices=[]):
            return [part.detach() for part in tree_leaves(output()) if isinstance(part, Tensor)]
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Return whether two outputs agree to half of the digits of their type, which rounding leaves by far."""
    if [part.shape for part in one] != [part.shape for part in other]:
        return False
    for a, b in zip(one, other, strict=True):
        if not a.is_floating_point() or a.numel() == 0:
            continue
        allowed = math.sqrt(torch.finfo(a.dtype).eps)
        # A row that is masked as a whole has no softmax, but a fast path may leave it at 0.
        known = b.isfinite()
        a, b = a.double()[known], b.double()[known]
        if a.numel() and (not bool(a.isfinite().all()) or bool(((a - b).abs() > allowed * b.abs().amax()).any())):
            return False
    return True
