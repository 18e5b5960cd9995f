"""Rules of labels for torch's elementary operations: each reads the arguments and asks the walk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from landscape.symmetry.contractions import args, attention, bag, bilinear, convolution, embedding, linear, matrix
from landscape.symmetry.images import IMAGES
from landscape.symmetry.labels import ANY, FIXED, Norm, Part
from landscape.symmetry.recording import OVERWRITTEN, Call, Ref

if TYPE_CHECKING:
    from landscape.symmetry.shadows import Walk


Rule: TypeAlias = "Callable[[Walk, Call], bool | None]"

# Elements are moved, repeated or left out, and none is computed.
_MOVING = (
    *("alias", "detach", "clone", "contiguous", "_to_copy", "lift_fresh", "t", "transpose", "permute", "expand"),
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze", "slice", "select", "split"),
    *("split_with_sizes", "unbind", "cat", "stack", "repeat", "flip", "roll", "narrow", "unfold"),
    *("constant_pad_nd", *(f"{kind}_pad{dims}d" for kind in ("reflection", "replication") for dims in (1, 2, 3))),
    *("_unsafe_split", "unsafe_split", "as_strided", "index", "index_select", "diagonal", "movedim", "chunk"),
    *("split_copy", "repeat_interleave", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "im2col"),
)
# Of these torch has none for whole numbers.
_REAL = ("im2col", *(name for name in _MOVING if name.startswith(("reflection_pad", "replication_pad"))))
# These put in elements that no tensor held.
_PADDING = ("constant_pad_nd", "im2col")
# No label: of memory that a tensor does not fill.
_NOWHERE = -(2**62)
# An eps below the rounding of float32 leaves the scale of what comes in as free as tests can tell.
_HIDDEN = torch.finfo(torch.float32).eps
_RESHAPING = ("view", "_unsafe_view", "reshape", "_reshape_alias")
# Name -> what the function commutes with: positive factors, signs, all of them ("linear"), or takes signs away.
_FUNCTIONS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("relu", "leaky_relu"), frozenset({"positive"})),
    "abs": frozenset({"positive", "even"}),
    "neg": frozenset({"linear"}),
    **dict.fromkeys(
        ("tanh", "sin", "asin", "atan", "erf", "sinh", "asinh", "atanh", "tan", "erfinv"), frozenset({"odd"})
    ),
    **dict.fromkeys(("cos", "cosh"), frozenset({"even"})),
    **dict.fromkeys(
        (
            *("gelu", "sigmoid", "silu", "softplus", "exp", "expm1", "log", "log1p", "elu", "mish", "celu"),
            *("hardswish", "hardsigmoid", "rsqrt", "sqrt", "reciprocal", "erfc", "log_sigmoid_forward", "selu"),
            *("floor", "ceil", "round", "sign", "exp2", "log2", "hardshrink", "softshrink", "logical_not"),
        ),
        frozenset[str](),
    ),
}


def _move(walk: Walk, call: Call) -> bool | None:
    first = call.args[0]
    given = [ref for ref in tree_leaves(first, is_leaf=_is_ref) if isinstance(ref, Ref)]
    others = [Ref(number) for number in call.refs if number not in {ref.number for ref in given}]
    if not given or any(walk.trace.kinds[ref.number] == "value" for ref in others):
        return False
    part = walk.as_part(given[0]) if len(given) == 1 else None
    try:
        _moved(walk, call, given, None if call.op in _PADDING else part)
    except (RuntimeError, IndexError):
        # What cannot be done with labels is not followed, and what enters it does not move.
        return False
    return None


def _moved(walk: Walk, call: Call, given: Sequence[Ref], part: Part | None) -> None:
    if part is not None:
        moved = [replayed(walk, call, {given[0].number: index}) for index in part.indices]
        for place, number in enumerate(call.outs):
            walk.env[number] = Part(part.name, tuple(results[place] for results in moved))
        return
    results = replayed(walk, call, {ref.number: walk.read(ref) for ref in given})
    if len(given) == 1 and call.op not in _PADDING:
        walk.moves.append((given[0].number, call))
    for number, result in zip(call.outs, results, strict=True):
        walk.env[number] = result


def _is_ref(leaf: Any) -> bool:
    return isinstance(leaf, Ref)


def replayed(walk: Walk, call: Call, labels: Mapping[int, Tensor]) -> list[Tensor]:
    """The results of an operation with labels in place of the tensors moved."""
    if call.op in _RESHAPING:
        (own,) = labels.values()
        return [own.reshape(walk.trace.tensors[call.outs[0]].shape)]

    if call.op == "as_strided":
        return [_strided(walk, call, labels)]
    if call.op in ("_to_copy", "clone"):
        return [labels[call.refs[0]]]

    def results(shift: int, dtype: torch.dtype) -> list[Tensor]:
        def back(leaf: Any) -> Any:
            if not isinstance(leaf, Ref):
                return leaf
            # An operation in place changes the tensor that it is given.
            found = labels.get(leaf.number, walk.trace.tensors[leaf.number]).detach()
            return (found - shift).to(dtype) if leaf.number in labels and shift else found

        given, named = tree_map(back, (call.args, call.kwargs), is_leaf=_is_ref)
        if call.op == "constant_pad_nd":
            given = (*given[:2], ANY if len(given) < 3 or given[2] == 0 else FIXED)
        with torch.no_grad():
            result = call.overload(*given, **named)
        return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]

    if call.op not in _REAL:
        return results(0, torch.int64)
    # Zeros that pad are then the label of what is 0 in any case.
    return [result.long() + ANY for result in results(ANY, torch.float64)]


def _strided(walk: Walk, call: Call, labels: Mapping[int, Tensor]) -> Tensor:
    """Labels laid out in memory as the tensor was, and read as the operation reads it."""
    ((number, own),) = labels.items()
    tensor = walk.trace.tensors[number]
    size, stride, offset = args(call, "size", "stride", "storage_offset")
    reach = 1 + sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride(), strict=True))
    memory = torch.full((reach,), _NOWHERE)
    memory.as_strided(tensor.shape, tensor.stride()).copy_(own)
    found = memory.as_strided(size, stride, 0 if offset is None else offset - tensor.storage_offset())
    if bool((found == _NOWHERE).any()):
        raise IndexError("the operation reads memory that is not the tensor's")
    return found


def _overwritten(walk: Walk, call: Call) -> None:
    """Elements of one tensor, and in their place those that others wrote."""
    sources, places = call.kwargs["sources"], call.kwargs["places"]
    found = walk.fixed(sources.shape).clone()
    for source, ref in enumerate(call.args):
        here = sources == source
        found[here] = walk.read(ref).reshape(-1)[places[here]]
    walk.give(call, found)


def _unary(walk: Walk, call: Call) -> None:
    labels = walk.read(call.args[0])
    walk.give(call, walk.pointwise(labels, _FUNCTIONS[call.op], call.op))


def _clamped(walk: Walk, call: Call) -> bool | None:
    """Clamps: a ReLU, an odd function, or neither."""
    low, high = {
        "clamp_min": lambda: (args(call, "min")[0], None),
        "threshold": lambda: (0.0 if args(call, "threshold", "value") == [0, 0] else 1.0, None),
        "hardtanh": lambda: tuple(args(call, "min_val", "max_val")),
        "clamp": lambda: tuple(args(call, "min", "max")),
    }[call.op]()
    if isinstance(low, Ref) or isinstance(high, Ref):
        return False
    tags = set()
    if low == 0 and high is None:
        tags.add("positive")
    if low is not None and high is not None and low == -high:
        tags.add("odd")
    walk.give(call, walk.pointwise(walk.read(call.args[0]), frozenset(tags), call.op))
    return None


def _power(walk: Walk, call: Call) -> bool | None:
    exponent = call.args[1]
    if not isinstance(exponent, int | float):
        return False
    tags = set()
    if exponent == 1:
        tags = {"linear"}
    elif exponent > 1 and exponent == int(exponent):
        tags = {"power", "even" if exponent % 2 == 0 else "odd"}
    walk.give(call, walk.pointwise(walk.read(call.args[0]), frozenset(tags), f"pow({exponent:g})"))
    return None


def _binary(kind: str) -> Rule:
    def rule(walk: Walk, call: Call) -> bool | None:
        first, second = call.args[:2]
        if isinstance(first, Ref) and isinstance(second, Ref):
            a, b = walk.read(first), walk.read(second)
            tensors = walk.trace.tensors[first.number], walk.trace.tensors[second.number]
            walk.give(call, walk.binary(kind, a, b, tensors))
            return None
        one, number = (first, second) if isinstance(first, Ref) else (second, first)
        if not isinstance(one, Ref) or (kind == "div" and one is second):
            return False
        linear = kind in ("mul", "div") or (kind == "add" and number == 0)
        why = call.op
        if not linear and isinstance(number, float) and abs(number) <= _HIDDEN:
            why = f"{call.op} of a number that rounding hides"
            walk.doubt(why)
        walk.give(call, walk.pointwise(walk.read(one), frozenset({"linear"} if linear else ()), why))
        return None

    return rule


def _where(walk: Walk, call: Call) -> bool | None:
    condition, a, b = call.args[:3]
    if not (isinstance(a, Ref) and isinstance(b, Ref)):
        return False
    tensors = [walk.trace.tensors[ref.number] for ref in (condition, a, b)]
    joined = walk.binary("add", walk.read(a), walk.read(b), (tensors[1], tensors[2]))
    walk.give(
        call, walk.binary("mask", joined, walk.read(condition), (torch.broadcast_tensors(*tensors)[1], tensors[0]))
    )
    return None


def _masked(walk: Walk, call: Call) -> bool | None:
    x, mask, value = call.args[:3]
    if isinstance(value, Ref):
        if walk.trace.kinds[value.number] != "constant" or walk.trace.tensors[value.number].numel() != 1:
            return False
        value = float(walk.trace.tensors[value.number])
    tags = frozenset({"linear"} if value == 0 else {"positive"} if math.isinf(value) else ())
    labels = walk.pointwise(walk.read(x), tags, call.op)
    tensors = walk.trace.tensors[x.number], walk.trace.tensors[mask.number]
    walk.give(call, walk.binary("mask", labels, walk.read(mask), tensors))
    return None


def _copied(walk: Walk, call: Call) -> None:
    walk.give(call, walk.read(call.args[1]).expand(walk.trace.tensors[call.outs[0]].shape))


def _prelu(walk: Walk, call: Call) -> None:
    labels, slope = walk.read(call.args[0]), walk.read(call.args[1])
    tensors = walk.trace.tensors[call.args[0].number], walk.trace.tensors[call.args[1].number]
    walk.give(call, walk.binary("slope", labels, slope, tensors))


def _reduction(kind: str) -> Rule:
    def rule(walk: Walk, call: Call) -> bool | None:
        labels = walk.read(call.args[0])
        if kind == "max" and len(call.args) > 1 and isinstance(call.args[1], Ref):
            return _binary("max")(walk, call)
        dim, keep = args(call, "dim", "keepdim")
        dims = range(labels.ndim) if dim in (None, []) else [dim] if isinstance(dim, int) else dim
        reduced = walk.reduce(kind, labels, [place % labels.ndim for place in dims] if labels.ndim else [])
        if not keep:
            for place in sorted({place % labels.ndim for place in dims}, reverse=True) if labels.ndim else []:
                reduced = reduced.squeeze(place)
        walk.give(call, reduced)
        return None

    return rule


def _norm(walk: Walk, call: Call) -> bool | None:
    """A norm along dimensions; of a weight, units are what it leaves."""
    order, dim, keep = args(call, "ord", "dim", "keepdim")
    count = walk.trace.tensors[call.args[0].number].ndim
    dims = [one % count for one in (range(count) if dim is None else dim)]
    if order == 0:
        return False
    part = walk.as_part(call.args[0])
    left = [one for one in range(count) if one not in dims]
    if part is not None and part.shape == walk.trace_sizes[part.name] and left:
        walk.begun(part.name, left[0])
    sizes = walk.pointwise(walk.read(call.args[0]), _FUNCTIONS["abs"], call.op)
    reduced = walk.reduce("mean", sizes, dims)
    walk.give(call, reduced if keep else reduced.reshape([reduced.shape[one] for one in left]))
    return None


def _softmax(walk: Walk, call: Call) -> None:
    labels = walk.read(call.args[0])
    walk.give(call, walk.softmax(labels, [args(call, "dim")[0] % labels.ndim], call.op))


def _standardised(walk: Walk, call: Call) -> str:
    """Return what refuses factors in a normalisation by its own statistics; next to no eps refuses hardly any."""
    (eps,) = args(call, "eps")
    if eps is not None and eps > _HIDDEN:
        return call.op
    why = f"{call.op} with an eps that rounding hides"
    walk.doubt(why)
    return why


def _layer_norm(walk: Walk, call: Call) -> bool | None:
    x, shape, gain, bias = args(call, "input", "normalized_shape", "weight", "bias")
    labels = walk.read(x)
    out = walk.softmax(labels, range(labels.ndim - len(shape), labels.ndim), _standardised(walk, call))
    _affine(walk, call, out, gain, bias, lambda own: own)
    return None


def _group_norm(walk: Walk, call: Call) -> bool | None:
    x, gain, bias = args(call, "input", "weight", "bias")
    labels = walk.read(x)
    walk.zero(labels, _standardised(walk, call))
    beside = (1, -1, *(1,) * (labels.ndim - 2))
    _affine(walk, call, walk.fixed(labels.shape), gain, bias, lambda own: own.reshape(beside))
    return None


def _affine(walk: Walk, call: Call, out: Tensor, gain: Any, bias: Any, spread: Callable[[Tensor], Tensor]) -> None:
    whole = walk.trace.tensors[call.outs[0]]
    for kind, ref in (("mul", gain), ("add", bias)):
        if isinstance(ref, Ref):
            out = walk.binary(kind, out, spread(walk.read(ref)), (whole, spread(walk.trace.tensors[ref.number])))
    walk.give(call, out)


def _batch_norm(walk: Walk, call: Call) -> bool | None:
    names = ("input", "weight", "bias", "running_mean", "running_var", "training", "eps")
    x, gain, bias, mean, variance, training, eps = args(call, *names)
    if not (isinstance(mean, Ref) and isinstance(variance, Ref)) or training:
        return _group_norm(walk, call)
    parts = [walk.as_part(ref) if isinstance(ref, Ref) else None for ref in (gain, bias)]
    if any(part is None and isinstance(ref, Ref) for part, ref in zip(parts, (gain, bias), strict=True)):
        return False
    if not all(walk.trace.kinds[ref.number] == "buffer" for ref in (mean, variance)):
        return False
    labels = walk.read(x)
    vector = walk.uniform(labels, [0, *range(2, labels.ndim)]).reshape(-1)
    stored = [walk.trace.names[ref.number] for ref in (mean, variance)]
    norm = Norm(None if parts[0] is None else parts[0].name, stored[0], stored[1], float(eps))
    made = walk.batch_norm(vector, norm, parts[0], parts[1])
    walk.give(call, made.reshape(1, -1, *(1,) * (labels.ndim - 2)))
    return None


def _nothing(walk: Walk, call: Call) -> None:
    """The results do not depend on values."""
    for number in call.outs:
        walk.env[number] = walk.fixed(walk.trace.tensors[number].shape)


def _filled(walk: Walk, call: Call) -> bool | None:
    if isinstance(call.args[1], Ref):
        return False
    _nothing(walk, call)
    return None


RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVING, _move),
    **dict.fromkeys(_FUNCTIONS, _unary),
    **dict.fromkeys(("clamp", "clamp_min", "hardtanh", "threshold"), _clamped),
    "pow": _power,
    **dict.fromkeys(("add", "sub", "rsub"), _binary("add")),
    "mul": _binary("mul"),
    "div": _binary("div"),
    **dict.fromkeys(("maximum", "minimum"), _binary("max")),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "atan2", "logical_and", "logical_or"), _binary("other")),
    "where": _where,
    "masked_fill": _masked,
    "copy": _copied,
    OVERWRITTEN: _overwritten,
    "_prelu_kernel": _prelu,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), matrix),
    "linear": linear,
    "convolution": convolution,
    "embedding": embedding,
    **dict.fromkeys(("mean", "sum"), _reduction("mean")),
    **dict.fromkeys(("amax", "amin", "max", "min"), _reduction("max")),
    **IMAGES,
    "linalg_vector_norm": _norm,
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), _layer_norm),
    "native_group_norm": _group_norm,
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_flash_attention",
        ),
        attention,
    ),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_full"), _nothing),
    **dict.fromkeys(("zero", "new_ones", "new_empty"), _nothing),
    "fill": _filled,
    "_embedding_bag": bag,
    "_trilinear": bilinear,
}
