"""Squared Jacobians of networks of linear layers, layer by layer.

The gradient of one example in W of z = W a + b is the outer product of its gradient in z with a, so that the sum
of squares over examples is a product of two matrices, and no example's Jacobian is ever written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.curvature.graphs import pulled
from landscape.curvature.passes import Batch, Passes
from landscape.wrappers import after_call


@dataclass(frozen=True)
class _Call:
    """A call of a layer: what it was given, what it gave, and how often that had been changed in place."""

    given: Tensor
    result: Tensor
    version: int


def squares_by_layer(passes: Passes, batch: Batch, covectors: Sequence[Tensor]) -> list[Tensor] | None:
    """The sum over examples and covectors of the squared gradients of (covector . outputs).

    Args:
        passes: The model, whose examples do not depend on one another.
        batch: The examples.
        covectors: One tensor per output, shape (K, *shape of the output).

    Returns:
        One tensor per selected parameter, float64; None unless each of them is the weight or the bias of a linear
        layer that is called once, with one row per example, and is used nowhere else.
    """
    owners = _owners(passes)
    if owners is None:
        return None
    calls: dict[nn.Module, list[_Call]] = {layer: [] for layer, _ in owners}

    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        calls[layer].append(_Call(given[0].detach(), result, result._version))

    with ExitStack() as stack:
        for layer in calls:
            stack.callback(after_call(layer, note).remove)
        outputs = passes.separated(batch)[0].outputs
    if not all(_is_plain(own, batch.examples) for own in calls.values()) or not _used_once(outputs, passes):
        return None
    met = {layer: own[0] for layer, own in calls.items()}
    found = pulled(outputs, [call.result for call in met.values()], covectors, True)
    slopes = {
        layer: torch.zeros_like(call.result) if part is None else part.double().square().sum(0)
        for (layer, call), part in zip(met.items(), found, strict=True)
    }
    return [
        slopes[layer].T.double() @ met[layer].given.double().square() if name == "weight" else slopes[layer].sum(0)
        for layer, name in owners
    ]


def _owners(passes: Passes) -> list[tuple[nn.Module, str]] | None:
    """The linear layer that each selected parameter belongs to, and its name there."""
    modules = dict(passes.evaluator.model.named_modules())
    owners: list[tuple[nn.Module, str]] = []
    for path in passes.vectors.names:
        place, _, name = path.rpartition(".")
        layer = modules.get(place)
        if type(layer) is not nn.Linear or name not in ("weight", "bias") or layer.weight.is_complex():
            return None
        owners.append((layer, name))
    return owners


def _is_plain(calls: Sequence[_Call], examples: int) -> bool:
    """Return whether a layer was called once, with one row per example, and what it gave is still that."""
    return len(calls) == 1 and all(
        call.given.ndim == 2 and len(call.given) == examples and call.result._version == call.version
        for call in calls
    )


def _used_once(outputs: Sequence[Tensor], passes: Passes) -> bool:
    """Return whether one operation takes each selected parameter, as far as the graph of the outputs tells."""
    uses = {id(variable): 0 for variable in passes.variables}
    nodes, met = [output.grad_fn for output in outputs], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in met:
            continue
        met.add(node)
        for following, _ in node.next_functions:
            held = getattr(following, "variable", None)
            if held is None:
                nodes.append(following)
            elif id(held) in uses:
                uses[id(held)] += 1
    return all(count == 1 for count in uses.values())
