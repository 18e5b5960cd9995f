"""Rules of labels for matrix products, convolutions, embeddings and attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from landscape.symmetry.axes import joint
from landscape.symmetry.recording import Call, Ref

if TYPE_CHECKING:
    from landscape.symmetry.labels import Part, Ways
    from landscape.symmetry.shadows import Walk


def args(call: Call, *names: str) -> list[Any]:
    """The arguments of a call by their names in the operator's schema, defaults included."""
    values: dict[str, Any] = dict(call.kwargs)
    for place, argument in enumerate(call.overload._schema.arguments):
        if place < len(call.args):
            values[argument.name] = call.args[place]
        elif argument.name not in values:
            values[argument.name] = argument.default_value if argument.has_default_value() else None
    return [values.get(name) for name in names]


def _addition_of(call: Call) -> tuple[Any, Any, Any]:
    first, second, third = call.args[:3]
    return first, second, third


def _added(walk: Walk, call: Call, product: Tensor, bias: Any) -> None:
    """A product plus a bias, if there is one."""
    if isinstance(bias, Ref):
        shape = walk.trace.tensors[call.outs[0]]
        product = walk.binary(
            "add", product.expand(shape.shape), walk.read(bias), (shape, walk.trace.tensors[bias.number])
        )
    walk.give(call, product)


def matrix(walk: Walk, call: Call) -> None:
    """mm, bmm and their forms with an addend."""
    bias, a, b = (None, *call.args[:2]) if call.op in ("mm", "bmm") else _addition_of(call)
    _added(walk, call, _product(walk, a, b), bias)


def _product(walk: Walk, a: Ref, b: Ref) -> Tensor:
    for one, other, flipped in ((b, a, False), (a, b, True)):
        part = walk.as_part(one)
        if part is None or len(part.shape) < 2 or walk.as_part(other) is not None:
            continue
        into, out = (1, 0) if flipped else (0, 1)
        single = part.without_leading(len(part.shape) - 2)
        if single is None:
            found = _side_by_side(walk, part, walk.read(other), into, out)
            if found is not None:
                return found
            continue
        ways = single.ways(into, out, walk.trace_sizes[part.name])
        if ways is None:
            continue
        labels = walk.read(other)
        taken = labels.ndim - (2 if flipped else 1)
        inputs = walk.uniform(labels, [dim for dim in range(labels.ndim) if dim != taken]).reshape(-1)
        made = walk.apply_weight(inputs, part, ways)
        return made[:, None] if flipped else made[None]
    tensors = walk.trace.tensors[a.number], walk.trace.tensors[b.number]
    return walk.contract(walk.read(a), walk.read(b), tensors)


def _side_by_side(walk: Walk, part: Part, labels: Tensor, into: int, out: int) -> Tensor | None:
    """Matrices of one parameter, applied each to inputs of its own: labels of the products."""
    size = walk.trace_sizes[part.name]
    found = [part.dim_along(axis, size) for axis in (0, into + 1, out + 1)]
    known = [(one[0], one[1]) for one in found if one is not None and isinstance(one[0], int)]
    if len(part.shape) != 3 or len({dim for dim, _ in known}) != 3:
        return None
    (number, matrices), *sides = known
    # One matrix may come several times, as for each example: its inputs are alike then.
    groups, which = matrices.unique(return_inverse=True)
    firsts = torch.stack([(which == group).nonzero()[0, 0] for group in range(len(groups))])
    inputs = walk.uniform(labels, [1 + into])
    walk.equate(inputs, inputs[firsts][which])
    way, other = (
        (joint(size, (number, dim)), (groups[:, None] * size[dim] + places).reshape(-1)) for dim, places in sides
    )
    made = walk.apply_grouped(inputs[firsts].reshape(-1), part, (way, other), len(groups))
    made = made.reshape(len(groups), -1)[which]
    return made[:, None] if out else made[:, :, None]


def linear(walk: Walk, call: Call) -> bool | None:
    """A linear map, where torch keeps it whole."""
    x, weight, bias = args(call, "input", "weight", "bias")
    part = walk.as_part(weight)
    if part is None or len(part.shape) != 2:
        return False
    ways = part.ways(1, 0, walk.trace_sizes[part.name])
    if ways is None:
        return False
    labels = walk.read(x)
    inputs = walk.uniform(labels, range(labels.ndim - 1)).reshape(-1)
    _added(walk, call, walk.apply_weight(inputs, part, ways), bias)
    return None


def convolution(walk: Walk, call: Call) -> bool | None:
    """A convolution, in groups or not, transposed or not."""
    x, weight, bias, transposed, groups = args(call, "input", "weight", "bias", "transposed", "groups")
    part = walk.as_part(weight)
    if part is None:
        return False
    labels = walk.read(x)
    vector = walk.uniform(labels, [0, *range(2, labels.ndim)]).reshape(-1)
    size = walk.trace_sizes[part.name]
    if groups == 1:
        ways = part.ways(0, 1, size) if transposed else part.ways(1, 0, size)
    else:
        ways = _by_groups(part, size, groups, transposed)
    if ways is None:
        return False
    made = walk.apply_weight(vector, part, ways) if groups == 1 else walk.apply_grouped(vector, part, ways, groups)
    shape = (1, -1, *(1,) * (labels.ndim - 2))
    made = made.reshape(shape)
    if isinstance(bias, Ref):
        beside = walk.read(bias).reshape(shape)
        whole = walk.trace.tensors[call.outs[0]]
        own = walk.trace.tensors[bias.number].reshape(shape)
        made = walk.binary("add", made.expand(whole.shape), beside, (whole, own))
    walk.give(call, made)
    return None


def _by_groups(part: Part, size: torch.Size, groups: int, transposed: bool) -> Ways | None:
    """The dimensions of the weight of a convolution in groups, if it is all of a parameter."""
    if part.shape != size or part.dim_along(0, size) is None:
        return None
    crossed, plain = joint(size, (0, 2), groups), torch.arange(size[0])
    ways = (crossed, torch.arange(len(crossed))), (0, plain)
    return (ways[1], ways[0]) if transposed else ways


def bilinear(walk: Walk, call: Call) -> bool | None:
    """A product of two activations with a weight of three dimensions, as `torch.nn.Bilinear` computes it."""
    first, weight, second, *plan = args(
        call, *(f"i{n}" for n in (1, 2, 3)), *(f"expand{n}" for n in (1, 2, 3)), "sumdim"
    )
    part = walk.as_part(weight)
    if plan != [[1, 3], [0], [1, 2], [2, 3]] or part is None or part.shape != walk.trace_sizes[part.name]:
        return False
    a, b = (walk.uniform(walk.read(ref), [0]).reshape(-1) for ref in (first, second))
    walk.give(call, walk.apply_bilinear(a, b, part))
    return None


def embedding(walk: Walk, call: Call) -> bool | None:
    """Rows of a table."""
    table, tokens = call.args[:2]
    part = walk.as_part(table)
    if part is None or len(part.shape) != 2:
        return False
    labels = walk.labels_of(part)
    if labels.stride(0) and walk.trace.kinds[tokens.number] == "value":
        return False
    picked = labels[walk.trace.tensors[tokens.number].long()] if labels.stride(0) else labels[0]
    walk.give(call, picked)
    return None


def bag(walk: Walk, call: Call) -> bool | None:
    """Sums, means and maxima of rows of a table."""
    table, mode, weights = args(call, "weight", "mode", "per_sample_weights")
    labels = walk.read(table)
    if labels.stride(0) or isinstance(weights, Ref):
        return False
    together = walk.reduce("max" if mode == 2 else "mean", labels, (0,))
    # A sum has an unknown number of terms.
    walk.give(call, walk.pointwise(together, frozenset({"linear"}), call.op) if mode == 0 else together)
    return None


def attention(walk: Walk, call: Call) -> bool | None:
    """Attention as two products with a softmax between."""
    query, key, value, mask = args(call, "query", "key", "value", "attn_mask")
    mask = args(call, "attn_bias")[0] if mask is None else mask
    tensors = [walk.trace.tensors[ref.number] for ref in (query, key, value)]
    q, k, v = (walk.read(ref) for ref in (query, key, value))
    heads = q.shape[-3] if q.ndim > 2 else 1
    if k.ndim > 2 and k.shape[-3] != heads:
        # Several queries share a key and a value.
        k, v = (labels.repeat_interleave(heads // labels.shape[-3], -3) for labels in (k, v))
        tensors[1:] = [tensor.repeat_interleave(heads // tensor.shape[-3], -3) for tensor in tensors[1:]]
    if len({tensor.shape[:-2] for tensor in tensors}) > 1:
        return False
    scores = walk.contract(q, k.transpose(-2, -1), (tensors[0], tensors[1].transpose(-2, -1)))
    like = torch.zeros(tensors[0].shape[:-1] + tensors[1].shape[-2:-1])
    scores = scores.expand(like.shape)
    if isinstance(mask, Ref):
        scores = walk.binary("add", scores, walk.read(mask), (like, walk.trace.tensors[mask.number]))
    shares = walk.softmax(scores, [scores.ndim - 1], "attention")
    walk.give(call, walk.contract(shares, v, (like, tensors[2])))
    return None
