"""Where to compute, and in what precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from landscape.errors import LandscapeError, did_you_mean

DEVICES = ("auto", "cpu", "cuda", "mps")


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
    if device.type not in DEVICES or not _available(device.type):
        raise LandscapeError(f"there is no device '{name}' here", where="device", mend="use cpu or auto")
    return device


def _available(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return torch.backends.mps.is_available() if kind == "mps" else True


@contextmanager
def precision(device: torch.device, tf32: bool) -> Iterator[None]:
    """Whether a CUDA device may round the inputs of products to 10 bits; put back as it was afterwards."""
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
