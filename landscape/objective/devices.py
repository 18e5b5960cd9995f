"""Where to compute, and in what precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from landscape.copies import copied, with_constants
from landscape.errors import LandscapeError, did_you_mean
from landscape.objective.data import Split
from landscape.vocabulary import DEVICE as DEVICE
from landscape.vocabulary import DEVICES


def pick_device(name: str | torch.device) -> torch.device:
    """The device of a name.

    Args:
        name: ``"auto"`` is a CUDA device where there is one, else Apple's, else the processor; or what
            `torch.device` reads, such as ``"cuda:1"``.

    Raises:
        LandscapeError: If there is no such device here.
    """
    if name == "auto":
        available = [kind for kind in ("cuda", "mps") if _available(kind)]
        return torch.device(available[0] if available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LandscapeError(
            f"unknown device '{name}'", where="device", mend=did_you_mean(str(name), DEVICES)
        ) from None
    if device.type not in DEVICES or not _available(device.type, device.index or 0):
        raise LandscapeError(f"there is no device '{name}' here", where="device", mend="use cpu or auto")
    return device


def placed(loss: Any, examples: Split, model: nn.Module, device: torch.device) -> tuple[Any, Split]:
    """A loss with its constants and some examples where a model is, or on the device if it has no parameters.

    On the processor they are given back as they are.
    """
    own = next(model.parameters(), None)
    device = device if own is None else own.device
    if device.type == "cpu":
        return loss, examples
    moved = copied(loss)[0].to(device) if isinstance(loss, nn.Module) else with_constants(loss, device, None)
    return moved, examples.to(device, None)


def device_of(model: nn.Module) -> torch.device:
    """The device of a model as it is: that of the first parameter that is in memory."""
    held = (parameter.device for parameter in model.parameters() if parameter.device.type != "meta")
    return next(held, torch.device("cpu"))


def _available(kind: str, index: int = 0) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available() and index < torch.cuda.device_count()
    return torch.backends.mps.is_available() if kind == "mps" else True


@contextmanager
def precision(device: torch.device, tf32: bool) -> Iterator[None]:
    """Set whether a CUDA device may round the inputs of products to 10 bits; put back as it was afterwards."""
    if device.type != "cuda":
        yield
        return
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = tf32
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value
