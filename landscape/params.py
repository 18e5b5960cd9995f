"""Name -> tensor dictionaries: where they come from, arithmetic, inner products, filters, digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import Layout, TensorInfo
from landscape.wrappers import unwrapped

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


def layout_of(model: nn.Module) -> Layout:
    """The layout of a model: parameters once each with their other names marked as tied, then persistent buffers.

    Filters are slices of the first axis. Exceptions: a transposed convolution stores (in, out/groups, ...)
    and a layer of the kind that GPT-2 uses (``Conv1D``) stores (in, out): their filters are slices of axis 1.
    Embeddings are cut by row (one vector per token), fused query-key-value matrices by row (one unit each).

    Args:
        model: Any module; names are those without wrappers, see `wrappers.unwrapped`.

    Returns:
        Its layout.
    """
    model = unwrapped(model)
    axes = _filter_axes(model)
    canonical: dict[int, str] = {}
    infos = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        tied_to = canonical.setdefault(id(parameter), name)
        infos.append(_info(name, parameter, "parameter", axes.get(name, (0, 1)), tied_to))
    persistent = model.state_dict().keys()
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if name in persistent:
            tied_to = canonical.setdefault(id(buffer), name)
            infos.append(_info(name, buffer, "buffer", (0, 1), tied_to))
    return Layout(tuple(infos))


def _info(name: str, tensor: Tensor, kind: str, axis: tuple[int, int], tied_to: str) -> TensorInfo:
    return TensorInfo(
        name=name,
        kind=kind,
        shape=tuple(tensor.shape),
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


def resolve(weights: Weights) -> tuple[Layout, Tensors]:
    """Whatever stands for weights, as a layout and a dictionary of its parameters and buffers.

    Args:
        weights: A snapshot, a model, or a name -> tensor dictionary (buffers may be among the names).

    Returns:
        The layout and the detached tensors it lists, each under its first name. Nothing is copied.

    Raises:
        LandscapeError: If it is none of these.
    """
    if isinstance(weights, nn.Module):
        weights = unwrapped(weights)
        layout = layout_of(weights)
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
    def of(cls, weights: Weights, parameters: str | Sequence[str] | None = None, *, copy: bool = False) -> Held:
        """Weights of which only some parameters move.

        Args:
            weights: A snapshot, a model, or a name -> tensor dictionary.
            parameters: Globs that choose them, see `Layout.select`; None lets all move that training moves.
            copy: Copy the tensors; otherwise they are shared.

        Raises:
            LandscapeError: If nothing is left to move.
        """
        layout, tensors = resolve(weights)
        weights_of, buffers = (
            {info.name: tensors[info.name].clone() if copy else tensors[info.name] for info in layout.stored(kind)}
            for kind in ("parameter", "buffer")
        )
        return cls(layout if parameters is None else layout.select(parameters), weights_of, buffers)


def _layout_of_mapping(tensors: Mapping[str, Tensor]) -> Layout:
    canonical: dict[int, str] = {}
    infos = []
    for name, tensor in tensors.items():
        is_buffer = name.rsplit(".", 1)[-1] in _STATISTICS or not tensor.is_floating_point()
        tied_to = canonical.setdefault(id(tensor), name)
        info = _info(name, tensor, "buffer" if is_buffer else "parameter", (0, 1), tied_to)
        infos.append(TensorInfo(**{**info.__dict__, "trainable": not is_buffer}))
    return Layout(tuple(sorted(infos, key=lambda info: info.kind != "parameter")))


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
    """The inner product over the names that both have, summed in float64."""
    shared = [name for name in a if name in b]
    return float(sum(torch.dot(a[name].double().flatten(), b[name].double().flatten()) for name in shared))


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
    """Standard normal numbers for one tensor: float64 from a float32 stream; see `stream_of`."""
    drawn = stream_of(info.name, seed, index).standard_normal(info.shape, dtype=np.float32)
    return torch.from_numpy(np.asarray(drawn)).double()


def filter_rows(tensor: Tensor, info: TensorInfo) -> Tensor:
    """The tensor with one filter per row.

    Args:
        tensor: A tensor of at least two dimensions with the shape that `info` says.
        info: Says along which axis its filters lie.

    Returns:
        Shape (filters, elements of a filter), in the order of the output units.

    Example:
        >>> filter_rows(torch.zeros(8, 3, 5, 5), TensorInfo("w", "parameter", (8, 3, 5, 5), "float32")).shape
        torch.Size([8, 75])
    """
    if info.filter_axis == 0:
        return tensor.reshape(tensor.shape[0], -1)
    fan_in, per_group = tensor.shape[0], tensor.shape[1]
    groups = info.filter_groups
    cut = tensor.reshape(groups, fan_in // groups, per_group, -1)
    return cut.transpose(1, 2).reshape(groups * per_group, -1)


def spread_over_filters(values: Tensor, info: TensorInfo) -> Tensor:
    """One value per filter, shaped so that it broadcasts against the tensor that `info` describes.

    Args:
        values: Shape (filters,), in the order of `filter_rows`.
        info: Says along which axis the filters lie.

    Returns:
        The values with as many dimensions as the tensor.
    """
    trailing = (1,) * (len(info.shape) - 2)
    if info.filter_axis == 0:
        return values.reshape(-1, 1, *trailing)
    groups, fan_in = info.filter_groups, info.shape[0]
    per_group = info.shape[1]
    cut = values.reshape(groups, 1, per_group).expand(groups, fan_in // groups, per_group)
    return cut.reshape(fan_in, per_group, *trailing)


def to_bytes(tensor: Tensor) -> bytes:
    """The elements of a tensor in C order, bfloat16 included, which NumPy does not know."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


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
        sha.update(to_bytes(tensor))
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
