"""Name -> tensor dictionaries: where they come from, arithmetic, inner products, filters, digests."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.ties import identity
from landscape.wrappers import gathered, plain_parts, require_present, unwrapped, whole_shape

Tensors: TypeAlias = dict[str, Tensor]


@runtime_checkable
class HasWeights(Protocol):
    """Anything that knows its weights, buffers and layout, as a snapshot of a trajectory does."""

    @property
    def layout(self) -> Layout: ...  # noqa: D102
    @property
    def weights(self) -> Mapping[str, Tensor]: ...  # noqa: D102
    @property
    def buffers(self) -> Mapping[str, Tensor]: ...  # noqa: D102


Weights: TypeAlias = HasWeights | nn.Module | Mapping[str, Tensor]

# The names torch gives to normalisation statistics; in a bare dictionary nothing else tells them from parameters.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def layout_of(model: nn.Module, *, sharded: bool = False) -> Layout:
    """The layout of a model: parameters once each with their other names marked as tied, then persistent buffers.

    Tied are names of one tensor, or of two that are the same place in memory.

    Filters are slices of the first axis. Exceptions: a transposed convolution stores (in, out/groups, ...)
    and a layer of the kind that GPT-2 uses (``Conv1D``) stores (in, out): their filters are slices of axis 1.
    Embeddings are cut by row (one vector per token), fused query-key-value matrices by row (one unit each).

    Args:
        model: Any module; names are those without wrappers, see `wrappers.unwrapped`.
        sharded: Whether its parameters may be spread over processes; shapes are those of the whole.

    Returns:
        Its layout.

    Raises:
        LandscapeError: If a layer has yet to learn its shape from a first batch, or a parameter is sparse.
    """
    model = model if sharded else unwrapped(model)
    _require_dense(model)
    axes = _filter_axes(model)
    canonical: dict[Hashable, str] = {}
    infos = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        tied_to = canonical.setdefault(identity(parameter), name)
        infos.append(_info(name, parameter, "parameter", axes.get(name, (0, 1)), tied_to))
    persistent = model.state_dict().keys()
    for name, buffer in model.named_buffers(remove_duplicate=False):
        # A sparse buffer (the edges of a graph, say) is a constant of the model: not stored, never moved.
        if name in persistent and buffer.layout == torch.strided:
            tied_to = canonical.setdefault(identity(buffer), name)
            infos.append(_info(name, buffer, "buffer", (0, 1), tied_to))
    return Layout(tuple(infos))


def _require_dense(model: nn.Module) -> None:
    """Check that every tensor has a shape, and every parameter all its elements."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise LandscapeError(
                f"the shape of '{name}' is not known before the first batch: its layer is lazy",
                where="model",
                mend="call the model on one batch before handing it over",
            )
        if isinstance(tensor, nn.Parameter) and tensor.layout != torch.strided:
            raise LandscapeError(
                f"the parameter '{name}' is sparse",
                where="model",
                mend="make its values a dense parameter, and build the sparse tensor in the forward pass",
            )


def _info(name: str, tensor: Tensor, kind: str, axis: tuple[int, int], tied_to: str) -> TensorInfo:
    return TensorInfo(
        name=name,
        kind=kind,
        shape=whole_shape(tensor),
        dtype=str(tensor.dtype).removeprefix("torch."),
        trainable=tensor.requires_grad if kind == "parameter" else False,
        filter_axis=axis[0],
        filter_groups=axis[1],
        tied_to=None if tied_to == name else tied_to,
    )


def _filter_axes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Name of each weight whose filters do not lie along the first axis -> (axis, groups)."""
    axes = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        weight = f"{prefix}.weight" if prefix else "weight"
        transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
        # TorchScript keeps the name of the class, and of traced modules nothing else.
        if transposed or str(getattr(module, "original_name", "")).startswith("ConvTranspose"):
            axes[weight] = (1, int(getattr(module, "groups", 1)))
        elif type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
            axes[weight] = (1, 1)
    return axes


def resolve(weights: Weights, *, sharded: bool = False) -> tuple[Layout, Tensors]:
    """Whatever stands for weights, as a layout and a dictionary of its parameters and buffers.

    Args:
        weights: A snapshot, a model, or a name -> tensor dictionary (buffers may be among the names).
        sharded: Whether the parameters of a model may be spread over processes; see `unwrapped`.

    Returns:
        The layout and the detached tensors it lists, each under its first name. Nothing is copied.

    Raises:
        LandscapeError: If it is none of these.
    """
    if isinstance(weights, nn.Module):
        weights = unwrapped(weights, sharded=sharded)
        require_present(weights)
        layout = layout_of(weights, sharded=sharded)
        state = dict(weights.named_parameters()) | dict(weights.named_buffers())
    elif isinstance(weights, HasWeights):
        layout, state = weights.layout, {**weights.weights, **weights.buffers}
    elif isinstance(weights, Mapping) and all(isinstance(value, Tensor) for value in weights.values()):
        layout, state = _layout_of_mapping(weights), dict(weights)
    else:
        raise LandscapeError(
            "not weights",
            got=type(weights).__name__,
            expected="a snapshot, a torch.nn.Module, or a dictionary of name -> tensor",
        )
    return layout, {info.name: state[info.name].detach() for info in layout if info.tied_to is None}


@dataclass(frozen=True)
class Held:
    """Weights with a layout of their own, which says what moves.

    Attributes:
        layout: Of the same tensors.
        weights: Parameter name -> tensor.
        buffers: Buffer name -> tensor.
    """

    layout: Layout
    weights: Tensors
    buffers: Tensors

    @classmethod
    def of(
        cls,
        weights: Weights,
        parameters: str | Sequence[str] | None = None,
        *,
        copy: bool = False,
        sharded: bool = False,
    ) -> Held:
        """Weights of which only some parameters move.

        Args:
            weights: A snapshot, a model, or a name -> tensor dictionary.
            parameters: Globs that choose them, see `Layout.select`; None lets all move that training moves.
            copy: Copy the tensors; otherwise they are shared.
            sharded: Whether the parameters of a model may be spread over processes.

        Raises:
            LandscapeError: If nothing is left to move.
        """
        layout, tensors = resolve(weights, sharded=sharded)
        weights_of, buffers = (
            {info.name: tensors[info.name].clone() if copy else tensors[info.name] for info in layout.stored(kind)}
            for kind in ("parameter", "buffer")
        )
        return cls(layout if parameters is None else layout.select(parameters), weights_of, buffers)


def _layout_of_mapping(tensors: Mapping[str, Tensor]) -> Layout:
    canonical: dict[int, str] = {}
    infos = []
    for name, tensor in tensors.items():
        is_buffer = name.rsplit(".", 1)[-1] in _STATISTICS or not is_number(tensor)
        tied_to = canonical.setdefault(id(tensor), name)
        info = _info(name, tensor, "buffer" if is_buffer else "parameter", (0, 1), tied_to)
        infos.append(TensorInfo(**{**info.__dict__, "trainable": not is_buffer}))
    return Layout(tuple(sorted(infos, key=lambda info: info.kind != "parameter")))


def is_number(tensor: Tensor) -> bool:
    """Return whether the elements are real or complex numbers, which can move; see `TensorInfo.floating`."""
    return tensor.is_floating_point() or tensor.is_complex()


def cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A tensor with its real numbers in another type.

    Args:
        tensor: Complex numbers stay complex, of the same width; all that is not a number is unchanged.
        dtype: Of real numbers; None changes nothing.

    Example:
        >>> cast(torch.ones(1, dtype=torch.complex64), torch.float64).dtype
        torch.complex128
        >>> cast(torch.arange(1), torch.float64).dtype
        torch.int64
    """
    if dtype is None or not is_number(tensor):
        return tensor
    if not tensor.is_complex():
        return tensor.to(dtype)
    # Hardly any operation takes complex numbers of half precision.
    return tensor.to(torch.complex128 if dtype == torch.float64 else torch.complex64)


def real_view(tensor: Tensor) -> Tensor:
    """A tensor as real numbers: of complex ones the real and the imaginary part along a new last axis."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def wide(tensor: Tensor) -> Tensor:
    """The real numbers of a tensor in float64, shaped as `real_view` has them."""
    return real_view(tensor).double()


def from_real(numbers: Tensor, like: Tensor) -> Tensor:
    """Real numbers, shaped as `real_view` has them, in the type and on the device of a tensor.

    Args:
        numbers: Shape (..., *shape of `real_view`).
        like: Says whether pairs of them are complex numbers.
    """
    return (joined_parts(numbers) if like.is_complex() else numbers).to(like)


def joined_parts(numbers: Tensor) -> Tensor:
    """Pairs of real numbers along the last axis as complex ones, wherever they lie in memory."""
    return torch.complex(numbers[..., 0], numbers[..., 1])


def subtract(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Iterable[str]) -> Tensors:
    """a - b over the given names."""
    return {name: a[name] - b[name] for name in names}


def scale(a: Mapping[str, Tensor], factor: float) -> Tensors:
    """factor * a."""
    return {name: tensor * factor for name, tensor in a.items()}


def combine(terms: Iterable[tuple[float, Mapping[str, Tensor]]]) -> Tensors:
    """The linear combination of dictionaries; a name that one of them lacks counts as zero there."""
    total: Tensors = {}
    for factor, tensors in terms:
        for name, tensor in tensors.items():
            total[name] = total[name] + factor * tensor if name in total else factor * tensor
    return total


def dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The inner product over the names that both have, summed in float64; of complex numbers Re <a, b>."""
    shared = [name for name in a if name in b]
    return float(sum(torch.dot(wide(a[name]).flatten(), wide(b[name]).flatten()) for name in shared))


def norm(a: Mapping[str, Tensor]) -> float:
    """The Euclidean norm over all tensors, summed in float64."""
    return dot(a, a) ** 0.5


def stream_of(name: str, seed: int, index: int | str = 0) -> np.random.Generator:
    """Random numbers for one tensor, which depend on seed, index and its name alone.

    Args:
        name: Of the tensor.
        seed: A number that is not negative.
        index: Of the draw.

    Returns:
        A Philox stream (NumPy); its key is ``sha256("<seed>/<index>/<name>")``.
    """
    key = hashlib.sha256(f"{seed}/{index}/{name}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def gaussian(info: TensorInfo, seed: int, index: int | str = 0) -> Tensor:
    """Standard normal numbers for one tensor: float64 from a float32 stream (see `stream_of`), as `real_view`."""
    drawn = stream_of(info.name, seed, index).standard_normal(info.real_shape, dtype=np.float32)
    return torch.from_numpy(np.asarray(drawn)).double()


def filter_rows(tensor: Tensor, info: TensorInfo) -> Tensor:
    """The tensor with one filter per row.

    Args:
        tensor: A tensor of at least two dimensions with the shape that `info` says, or its `real_view`.
        info: Says along which axis its filters lie.

    Returns:
        Shape (filters, numbers of a filter), in the order of the output units.

    Example:
        >>> filter_rows(torch.zeros(8, 3, 5, 5), TensorInfo("w", "parameter", (8, 3, 5, 5), "float32")).shape
        torch.Size([8, 75])
    """
    # Sizes are written out: what has no elements leaves none to infer.
    if info.filter_axis == 0:
        return tensor.reshape(tensor.shape[0], math.prod(tensor.shape[1:]))
    fan_in, per_group = tensor.shape[0], tensor.shape[1]
    groups, rest = info.filter_groups, math.prod(tensor.shape[2:])
    cut = tensor.reshape(groups, fan_in // groups, per_group, rest)
    return cut.transpose(1, 2).reshape(groups * per_group, fan_in // groups * rest)


def spread_over_filters(values: Tensor, info: TensorInfo) -> Tensor:
    """One value per filter, shaped so that it broadcasts against the tensor that `info` describes.

    Args:
        values: Shape (filters,), in the order of `filter_rows`.
        info: Says along which axis the filters lie.

    Returns:
        The values with as many dimensions as the `real_view` of the tensor.
    """
    trailing = (1,) * (len(info.real_shape) - 2)
    if info.filter_axis == 0:
        return values.reshape(len(values), 1, *trailing)
    groups, fan_in = info.filter_groups, info.shape[0]
    per_group = info.shape[1]
    cut = values.reshape(groups, 1, per_group).expand(groups, fan_in // groups, per_group)
    return cut.reshape(fan_in, per_group, *trailing)


def to_bytes(tensor: Tensor) -> bytes:
    """The elements of a tensor in C order, bfloat16 included, which NumPy does not know."""
    return _bytes(tensor).tobytes()


def _bytes(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of `to_bytes`, which are those of the tensor itself where they lie in order."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0, np.uint8)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of names, shapes, element types and bits: equal if and only if the tensors are the same.

    Args:
        tensors: Name -> tensor; the order of the names does not count.

    Returns:
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        for part in plain_parts(gathered(tensor)):
            sha.update(_bytes(part).data)
    return sha.hexdigest()


def require_same_shapes(wanted: Layout, got: Mapping[str, Any], where: object) -> None:
    """Check that a dictionary has the tensors that a layout lists, each with its shape.

    Args:
        wanted: The layout to be filled.
        got: Name -> anything with a ``shape``.
        where: Where the dictionary came from, for the message.

    Raises:
        LandscapeError: Naming the first tensor that is missing or misshapen, and both shapes.
    """
    for info in wanted:
        if info.tied_to is not None:
            continue
        if info.name not in got:
            raise LandscapeError(f"tensor '{info.name}' is missing", where=where, expected=f"shape {info.shape}")
        shape = tuple(got[info.name].shape)
        if shape != info.shape:
            raise LandscapeError(
                f"tensor '{info.name}' has another shape", where=where, got=shape, expected=info.shape
            )
