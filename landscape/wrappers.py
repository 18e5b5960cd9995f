"""Wrappers around modules: what compilers and parallel training put between a model and its names."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.hooks import RemovableHandle

from landscape.errors import LandscapeError

_ENGINE = "deepspeed.runtime.engine.DeepSpeedEngine"

# Class -> the attribute that holds the module it wraps. By name, so that no library is imported for it.
_INNER = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper": "_checkpoint_wrapped_module",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.OffloadWrapper": "_checkpoint_wrapped_module",
    "lightning.fabric.wrappers._FabricModule": "_original_module",
    "lightning_fabric.wrappers._FabricModule": "_original_module",
    _ENGINE: "module",
}
_SHARDED = "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel"


def peeled(module: nn.Module) -> nn.Module:
    """The module inside all wrappers around it; its own submodules are not changed.

    A subclass of a wrapper that computes something else (its ``forward`` is its own) is no wrapper.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> peeled(nn.DataParallel(layer)) is layer
        True
    """
    while (inner := _inner_of(module)) is not None:
        module = inner
    return module


def _inner_of(module: nn.Module) -> nn.Module | None:
    kind: Any = type(module)
    for base in kind.__mro__:
        attribute = _INNER.get(f"{base.__module__}.{base.__qualname__}")
        # Dynamo gives each of its modules a forward of its own.
        if attribute is not None and kind.forward is base.forward:
            inner = module._modules.get(attribute)
            return inner if inner is not None else module.__dict__.get(attribute)
    return None


def unwrapped(model: nn.Module, *, sharded: bool = False) -> nn.Module:
    """A model without wrappers anywhere in it, so that its tensors have the names of the bare model.

    What is wrapped is torch.compile's module, data parallel ones, activation checkpoints and averaged models.

    Args:
        model: Any module; it is not changed.
        sharded: Whether its parameters may be distributed tensors (FSDP2, tensor parallelism); each process is
            then left with its own part of them.

    Returns:
        The model itself where nothing is wrapped. Otherwise modules that share all tensors with it.

    Raises:
        LandscapeError: If its parameters are spread over several processes.

    Example:
        >>> model = nn.Sequential(nn.DataParallel(nn.Linear(2, 2)))
        >>> list(unwrapped(model).state_dict()), list(model.state_dict())
        (['0.weight', '0.bias'], ['0.module.weight', '0.module.bias'])
    """
    _refuse_shards(model, sharded)
    if sharded:
        reshard(model)
    return bare(model)


def bare(model: nn.Module) -> nn.Module:
    """A model without wrappers anywhere in it, wherever its parameters are; see `unwrapped`."""
    return _bare(model, {})


def _bare(module: nn.Module, known: dict[int, nn.Module]) -> nn.Module:
    found = known.get(id(module))
    if found is not None:
        return found
    inner = known[id(module)] = peeled(module)
    changed = {
        name: bare
        for name, child in inner._modules.items()
        if child is not None and (bare := _bare(child, known)) is not child
    }
    if changed:
        inner = copy.copy(inner)
        inner.__dict__["_modules"] = {**inner._modules, **changed}
        known[id(module)] = inner
    return inner


def _refuse_shards(model: nn.Module, allowed: bool) -> None:
    for name, parameter in peeled(model).named_parameters():
        if is_partitioned(parameter):
            raise LandscapeError(
                "DeepSpeed's ZeRO-3 leaves a part of the parameter in each process",
                where=name,
                mend="record it by Recorder, in every process; or load whole weights into a model without "
                "DeepSpeed (zero_to_fp32.py, beside its checkpoints, writes them)",
            )
    sharded = next((name for name, own in model.named_modules() if _is_a(own, _SHARDED)), None)
    if sharded is None and not allowed:
        sharded = next((name for name, tensor in model.named_parameters() if is_sharded(tensor)), None)
    if sharded is not None:
        raise LandscapeError(
            "the parameters of the model are sharded over processes (FSDP)",
            where=sharded or None,
            mend="load a full state dict into the bare model (get_model_state_dict of "
            "torch.distributed.checkpoint.state_dict, with full_state_dict=True); slices of a model sharded "
            "by FSDP2 take Objective(..., in_place=True) and drawn_plane",
        )


def require_present(model: nn.Module) -> None:
    """Check that all parameters of a model are in memory between its passes.

    Raises:
        LandscapeError: If one comes from elsewhere for each pass, as Accelerate's offloading has it.
    """
    absent = next((name for name, parameter in model.named_parameters() if parameter.is_meta), None)
    if absent is not None:
        raise LandscapeError(
            f"'{absent}' is on the device meta, and has no numbers between passes",
            where="model",
            mend="load it without offloading (a device_map over devices alone), or shard the model by FSDP2",
        )


def is_scripted(model: nn.Module) -> bool:
    """Return whether TorchScript runs any part of the model; its modules take neither hooks nor other tensors."""
    return any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())


def before_call(
    module: nn.Module, hook: Callable[..., Any], *, named: bool = False, first: bool = False
) -> RemovableHandle:
    """Call a hook before every call of a module from Python; modules of TorchScript forbid the plain way.

    Args:
        module: Any module.
        hook: As for `torch.nn.Module.register_forward_pre_hook`.
        named: Whether the hook takes named arguments too.
        first: Call it before all hooks that are there.
    """
    return nn.Module.register_forward_pre_hook(module, hook, with_kwargs=named, prepend=first)


def after_call(module: nn.Module, hook: Callable[..., Any], *, always: bool = False) -> RemovableHandle:
    """Call a hook after every call of a module from Python, where asked for even if that raises."""
    return nn.Module.register_forward_hook(module, hook, always_call=always)


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a tensor holds a part of its numbers only, and other processes the others."""
    return _is_a(tensor, "torch.distributed.tensor.DTensor")


def is_engine(model: object) -> bool:
    """Return whether a model is an engine of DeepSpeed, which steps an optimizer and then moves the parameters."""
    return _is_a(model, _ENGINE)


def is_partitioned(tensor: Tensor) -> bool:
    """Return whether a parameter is one of ZeRO-3: DeepSpeed keeps its numbers elsewhere, and leaves it empty."""
    return hasattr(tensor, "ds_tensor")


def whole_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of all of a tensor, whatever part of it is here."""
    return tuple(getattr(tensor, "ds_shape", tensor.shape))


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor that several processes hold parts of; they all have to ask for it."""
    if is_partitioned(tensor):
        # Whoever has such a parameter has imported DeepSpeed.
        with sys.modules["deepspeed"].zero.GatheredParameters([tensor]):
            return tensor.detach().clone()
    whole: Tensor = tensor.detach().full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return whole


def axis_of(name: str, tensor: Any) -> int | None:
    """The axis along which a distributed tensor is cut, as `torch.chunk` cuts; None where each process has all.

    Args:
        name: Its name, for the message.
        tensor: The tensor.

    Raises:
        LandscapeError: If it is spread over more than one dimension of a mesh, or otherwise.
    """
    mesh, placements = tensor.device_mesh, tensor.placements
    if mesh.ndim != 1 or type(placements[0]).__name__ not in ("Shard", "Replicate"):
        raise LandscapeError(
            f"'{name}' is spread otherwise than along one axis over one mesh dimension",
            got=", ".join(map(str, placements)),
            mend="shard over a mesh of one dimension",
        )
    axis: int | None = getattr(placements[0], "dim", None)
    return axis


def first_of(tensor: Any, axis: int) -> int:
    """Where the part of a distributed tensor in this process begins along the axis that is cut."""
    length, mesh = tensor.shape[axis], tensor.device_mesh
    # All parts but the last ones are equally long.
    return int(min(length, mesh.get_local_rank() * -(-length // mesh.size())))


def plain_parts(tensor: Tensor) -> Iterator[Tensor]:
    """The plain tensors of which one is made: of quantised weights numbers, scales and zeros."""
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from plain_parts(getattr(tensor, name))


def own_part(tensor: Tensor) -> Tensor:
    """The part of a tensor in this process, in the same memory; others as they are."""
    part: Tensor = tensor.detach().to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return part


def gathering_units(model: nn.Module) -> list[Any]:
    """The modules of FSDP2, which gather their parameters for a pass."""
    units = (module for module in model.modules() if hasattr(type(module), "reshard"))
    return [module for module in units if _is_a(module, "torch.distributed.fsdp.FSDPModule")]


def reshard(model: nn.Module) -> None:
    """Give back what passes gathered: each process holds its own part of the parameters."""
    for unit in gathering_units(model):
        unit.reshard()


def _is_a(value: object, name: str) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" == name for base in type(value).__mro__)
