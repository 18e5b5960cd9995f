"""Number of continuous parameters of the symmetries, against the flat directions that a function really has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from landscape.errors import LandscapeError
from landscape.params import Tensors, cast, real_view, wide
from landscape.symmetry.elements import Generator
from landscape.symmetry.recording import outputs_of, plain_kernels
from landscape.symmetry.same_function import Runner, Wide
from landscape.values.result import Result

# A Jacobian of so many columns is decomposed in half a minute on one core.
MOST_WEIGHTS = 3_000
# Singular values below the first share of the largest one may be rounding, and those below the second are; between
# the two the widest gap decides.
_DOUBTFUL, _NOISE = 1e-9, 1e-16
# A weight whose derivatives are all below this share of the largest is seen through rounding only, as a key's
# bias is.
_UNSEEN = 1e-13
# Rows beyond the number of columns, so that chance does not lower the rank.
_SPARE = 20
# Draws of inputs: at most, and at least, however many outputs one has.
_DRAWS, _LEAST_DRAWS = 2_000, 32


@dataclass(frozen=True)
class Dimension(Result):
    """Continuous symmetries of a model at some weights, counted in two ways.

    Attributes:
        found: The dimension of the orbit: the rank of the tangents of all continuous generators.
        nullity: The directions of weight space along which no output changes to first order; None where the model
            is too large to tell.
        weights: The number of weights that were counted, with the buffers that generators change.
        unused: Weights that no output depends on at the inputs drawn, such as rows of a table for tokens that do
            not occur; they count as flat.
        gap: The ratio of the smallest singular value that counts to the largest that does not: how clear the rank
            of the Jacobian is; infinite where none is left.
        unexplained: The flat directions that neither a symmetry found nor an unused weight explains.
    """

    found: int
    nullity: int | None
    weights: int
    unused: int = 0
    gap: float | None = None
    unexplained: int | None = None


def tangents(generators: Sequence[Generator], state: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Directions in which continuous generators move weights: shape (P, directions), float64."""
    columns = [torch.zeros(sum(real_view(state[name]).numel() for name in names), 0, dtype=torch.float64)]
    for one in generators:
        if one.dimension == 0:
            continue

        def moved(coordinates: Tensor, one: Generator = one) -> Tensor:
            there: Tensors = dict(state)
            one.act(there, one.near(coordinates))
            return torch.cat([real_view(there[name]).flatten() for name in names])

        origin = torch.zeros(one.dimension, dtype=torch.float64)
        made = torch.func.vjp(moved, origin)
        there, back = made[0], made[1]

        def pulled(covector: Tensor, back: Any = back) -> Any:
            return back(covector)[0]

        # Linear in the covector, so that its own transpose pushes coordinates forward: one pass for each of them.
        push = torch.func.vjp(pulled, torch.zeros_like(there))[1]
        columns.append(torch.vmap(lambda along, push=push: push(along)[0])(torch.eye(len(origin)).to(origin)).T)
    return torch.cat(columns, dim=1)


def rank_of(matrix: Tensor) -> tuple[int, float]:
    """The numerical rank, and the ratio of the singular values beside the cut."""
    if not matrix.numel():
        return 0, float("inf")
    norms = matrix.norm(dim=0)
    seen = norms > _UNSEEN * norms.max()
    # Columns of one length: what is small by scale alone is not taken for rounding.
    values = torch.linalg.svdvals(matrix[:, seen] / norms[seen])
    if not len(values):
        return 0, float("inf")
    shares = (values / values[0]).clamp(min=_NOISE)
    if float(shares[-1]) > _DOUBTFUL:
        return len(shares), float("inf")
    ratios = torch.where(shares[1:] <= _DOUBTFUL, shares[:-1] / shares[1:], 0.0)
    rank = int(ratios.argmax()) + 1
    return rank, float(ratios[rank - 1])


def dimension(generators: Sequence[Generator], runner: Runner, state: Mapping[str, Tensor]) -> Dimension:
    """Count the continuous symmetries at some weights, and the directions in which the function is flat.

    Both are ranks at the weights given, over all inputs: the Jacobian is taken at many random inputs of the kind
    of the example. Weights that no input reaches (rows of an embedding, dead units) count as flat.

    Args:
        generators: Those of a model.
        runner: Runs it.
        state: Name -> tensor, buffers included.

    Raises:
        LandscapeError: If the weights are not real numbers.
    """
    buffers = dict(runner.model.named_buffers())
    moved = {name for one in generators for name in one.tensors}
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    names = [name for name in names if name not in buffers or name in moved]
    if any(tensor.is_complex() for tensor in state.values()):
        raise LandscapeError("complex weights are not counted", where="dimension")
    precise = {name: cast(tensor, torch.float64) for name, tensor in {**buffers, **state}.items()}
    total = sum(precise[name].numel() for name in names)
    if total > MOST_WEIGHTS:
        return Dimension(sum(one.dimension for one in generators), None, total)
    directions = tangents(generators, precise, names)
    found, _ = rank_of(directions)
    try:
        jacobian = _jacobian(runner, precise, names, total)
    except RuntimeError:
        return Dimension(found, None, total)
    rank, gap = rank_of(jacobian)
    unused = (jacobian == 0).all(0)
    explained, _ = rank_of(torch.cat([directions, torch.eye(total, dtype=torch.float64)[:, unused]], 1))
    return Dimension(found, total - rank, total, int(unused.sum()), gap, total - rank - explained)


def _jacobian(runner: Runner, state: Tensors, names: Sequence[str], total: int) -> Tensor:
    """Derivatives of outputs at random inputs: shape (rows, P)."""
    source = torch.Generator().manual_seed(0)
    rows: list[Tensor] = []
    wanted = total + _SPARE
    for draw in range(_DRAWS):
        leaves = [state[name].detach().clone().requires_grad_() for name in names]
        x = tree_map(lambda leaf: _like(leaf, source) if isinstance(leaf, Tensor) else leaf, runner.x)
        arguments: tuple[Any, ...] = () if isinstance(x, Mapping) else x if isinstance(x, tuple) else (x,)
        named = dict(x) if isinstance(x, Mapping) else {}
        tensors = {**state, **dict(zip(names, leaves, strict=True))}
        with plain_kernels(), torch.enable_grad(), Wide(), _ElementaryNorms():
            output = torch.func.functional_call(runner.model, tensors, arguments, named)
            flat = torch.cat([wide(tensor).flatten() for tensor in outputs_of(output)])
        for _ in range(min(len(flat), -(-wanted // _LEAST_DRAWS), wanted - len(rows))):
            weights = torch.randn(len(flat), generator=source, dtype=torch.float64)
            found = torch.autograd.grad(flat, leaves, weights, retain_graph=True, allow_unused=True)
            rows.append(
                torch.cat(
                    [
                        torch.zeros_like(leaf).flatten() if one is None else one.flatten()
                        for one, leaf in zip(found, leaves, strict=True)
                    ]
                )
            )
        if len(rows) >= wanted:
            break
        del draw
    return torch.stack(rows)


class _ElementaryNorms(TorchFunctionMode):
    """Batch normalisation by stored statistics written out, so that it has derivatives with respect to them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        given = inspect.signature(F.batch_norm).bind(*args, **kwargs)
        given.apply_defaults()
        x, mean, variance, gain, bias, training, _, eps = given.arguments.values()
        if training or mean is None:
            return func(*args, **kwargs)
        shape = (1, -1, *(1,) * (x.ndim - 2))
        out = (x - mean.reshape(shape)) / (variance.reshape(shape) + eps).sqrt()
        out = out if gain is None else out * gain.reshape(shape)
        return out if bias is None else out + bias.reshape(shape)


def _like(leaf: Tensor, source: torch.Generator) -> Tensor:
    """Another input of the same kind: normal, or whole numbers that the example holds."""
    if leaf.is_floating_point() and leaf.numel() > 1:
        made = torch.randn(leaf.shape, generator=source, dtype=torch.float64)
        return made * leaf.double().std() + leaf.double().mean()
    if leaf.dtype == torch.int64 and leaf.numel():
        flat = leaf.reshape(-1)
        return flat[torch.randint(0, len(flat), leaf.shape, generator=source)]
    return leaf
