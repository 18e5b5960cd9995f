"""Where a training runs, and the random numbers that its model draws there (dropout)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape.copies import cast_hidden

_PROCESSOR, _DEVICE = "random", "random_of_device"


def on_device(model: nn.Module, original: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a model on a device, with what it holds in plain attributes."""
    if device.type != "cpu":
        model.to(device)
        cast_hidden(model, original, device, None)
    return model


@contextmanager
def own_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Draw what a model draws while it trains from the seed; leave the global states as they were."""
    with torch.random.fork_rng(devices=[]):
        before = _held(device)
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if before is not None:
            torch.get_device_module(device).manual_seed(seed)
        try:
            yield
        finally:
            if before is not None:
                _put(before, device)


def draws(device: torch.device) -> dict[str, Tensor]:
    """The states of the generators, to go on from."""
    held = _held(device)
    return {_PROCESSOR: torch.get_rng_state(), **({} if held is None else {_DEVICE: held})}


def restore_draws(state: Mapping[str, Any], device: torch.device) -> None:
    """Go on from what `draws` gave; a run that comes from another kind of device starts a new stream there."""
    torch.set_rng_state(state[_PROCESSOR])
    if device.type != "cpu" and _DEVICE in state:
        _put(state[_DEVICE], device)


def _held(device: torch.device) -> Tensor | None:
    if device.type == "cpu":
        return None
    module = torch.get_device_module(device)
    # Apple's has one device and takes no name of it.
    return module.get_rng_state(device) if device.type == "cuda" else module.get_rng_state()


def _put(state: Tensor, device: torch.device) -> None:
    module = torch.get_device_module(device)
    module.set_rng_state(state, device) if device.type == "cuda" else module.set_rng_state(state)
