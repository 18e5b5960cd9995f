"""The model and the loss apart, as Gauss-Newton and Fisher matrices need them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_flatten, tree_unflatten

from landscape.curvature.graphs import HessianGraph, Parts
from landscape.errors import LandscapeError
from landscape.objective.language import next_token_loss
from landscape.params import real_view

# Losses that are minus the log-likelihood of a distribution. Where its natural parameters are the outputs, the
# Hessian by them is its Fisher information (Martens 2020, section 9.2); nll_loss alone has other parameters.
_NATURAL: tuple[Callable[..., Any], ...] = (
    functional.cross_entropy,
    functional.nll_loss,
    functional.binary_cross_entropy_with_logits,
    functional.mse_loss,
    next_token_loss,
)
_NATURAL_MODULES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCEWithLogitsLoss, nn.MSELoss)


@dataclass(frozen=True)
class Separated:
    """The loss of a micro-batch as a function of the model's outputs alone.

    Attributes:
        outputs: What the model gave and the loss depends on, with its graph.
        leaves: The same numbers, cut off from the model.
        total: The sum of the loss over the micro-batch, a function of the leaves.
    """

    outputs: Sequence[Tensor]
    leaves: Sequence[Tensor]
    total: Tensor


class Cutter:
    """Takes a model's output apart and puts one together whose tensors are leaves of a graph of their own.

    Args:
        shift: Added to the tensors that depend on the weights, in their order.
    """

    def __init__(self, shift: Sequence[Tensor] = ()) -> None:
        self._shift = list(shift)
        self.outputs: list[Tensor] = []
        self.leaves: list[Tensor] = []
        self.calls = 0

    def __call__(self, output: Any) -> Any:
        """The output with every tensor that depends on the weights replaced."""
        self.calls += 1
        parts, structure = tree_flatten(output)
        return tree_unflatten([self._replaced(part) for part in parts], structure)

    def _replaced(self, part: Any) -> Any:
        if not isinstance(part, Tensor) or not part.requires_grad:
            return part
        # Matrices between outputs are of real numbers: a complex output is its real and its imaginary part.
        numbers, place = real_view(part), len(self.leaves)
        moved = numbers.detach() + self._shift[place] if place < len(self._shift) else numbers.detach()
        leaf = moved.requires_grad_()
        self.outputs.append(numbers)
        self.leaves.append(leaf)
        return torch.view_as_complex(leaf) if part.is_complex() else leaf

    def separated(self, total: Tensor) -> Separated:
        """Return the outputs and leaves that the loss depends on."""
        found: Parts = [None] * len(self.leaves)
        if total.requires_grad and self.leaves:
            found = torch.autograd.grad(total, self.leaves, retain_graph=True, allow_unused=True)
        used = [place for place, part in enumerate(found) if part is not None]
        return Separated([self.outputs[place] for place in used], [self.leaves[place] for place in used], total)


def separate(cutter: Cutter, total: Tensor, variables: Sequence[Tensor], takes_model: bool) -> Separated:
    """The loss as a function of outputs that a cutter took.

    Args:
        cutter: Was given every output of the model.
        total: The loss that came of it.
        variables: The parameters, on which it must not depend any more.
        takes_model: Whether the loss is one of (model, batch).

    Raises:
        LandscapeError: If it still depends on the weights, or the model was called more than once.
    """
    reason = None
    if cutter.calls != 1:
        reason = f"the loss calls the model {cutter.calls} times"
    elif takes_model and total.requires_grad:
        direct = torch.autograd.grad(total, variables, retain_graph=True, allow_unused=True)
        if any(part is not None for part in direct):
            reason = "the loss reads the weights, or parts of the model, by itself"
    if reason is not None:
        raise inseparable(reason)
    return cutter.separated(total)


def inseparable(reason: str) -> LandscapeError:
    """The error that says why there is no Gauss-Newton matrix."""
    return LandscapeError(
        "the model's output and the loss cannot be told apart",
        where="Gauss-Newton",
        got=reason,
        mend="give a loss of (output, target), or take the Hessian (kind='hessian', hessian_top, hessian_trace)",
    )


def loss_curvature(parts: Separated, loss: Callable[..., Any], kind: str) -> Callable[..., Parts]:
    """The matrix A between the outputs: the Hessian of the loss, or the Fisher information of its distribution.

    Args:
        parts: The loss as a function of outputs.
        loss: What it is.
        kind: ``"gauss-newton"`` or ``"fisher"``.

    Raises:
        LandscapeError: If there is none.
    """
    if kind == "fisher":
        _require_natural(loss)
        if _is_log_likelihood(loss):
            return _of_log_probabilities(parts)
    hessian = HessianGraph(parts.total, parts.leaves)
    if hessian.linear or _is_log_likelihood(loss):
        raise LandscapeError(
            "the loss is linear in the model's output, so that the Gauss-Newton matrix is zero",
            where="Gauss-Newton",
            mend="let the model give scores (and the loss be a cross-entropy of them) instead of "
            "log-probabilities or a loss, or take kind='hessian'",
        )
    return hessian.apply


def _of_log_probabilities(parts: Separated) -> Callable[..., Parts]:
    """Fisher information of a categorical distribution given by log-probabilities z along axis 1: diag(exp z)."""
    slopes = torch.autograd.grad(parts.total, parts.leaves)
    # Of each row the loss takes minus the target's entry, times the row's weight (0 where it is ignored).
    diagonals = [
        -slope.sum(1, keepdim=True) * leaf.detach().exp() for slope, leaf in zip(slopes, parts.leaves, strict=True)
    ]
    return lambda vectors, batched: [d * v for d, v in zip(diagonals, vectors, strict=True)]


def _unwrapped(loss: Callable[..., Any]) -> tuple[Any, dict[str, Any]]:
    if isinstance(loss, functools.partial):
        return loss.func, dict(loss.keywords)
    return loss, {}


def _is_log_likelihood(loss: Callable[..., Any]) -> bool:
    return isinstance(loss, nn.NLLLoss) or _unwrapped(loss)[0] is functional.nll_loss


def _require_natural(loss: Callable[..., Any]) -> None:
    function, given = _unwrapped(loss)
    weights = [given.get(name, getattr(loss, name, None)) for name in ("weight", "pos_weight")]
    known = function in _NATURAL or isinstance(loss, _NATURAL_MODULES)
    if not known or any(weight is not None for weight in weights):
        raise LandscapeError(
            "which distribution the model predicts is not known from this loss",
            where="Fisher",
            got=getattr(function, "__name__", type(function).__name__) + (" with weights" if known else ""),
            expected="cross_entropy, nll_loss, binary_cross_entropy_with_logits, mse_loss or next_token_loss",
            mend="take kind='gauss-newton' or 'empirical-fisher'",
        )
