"""Step and epoch that a loaded checkpoint states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# Names of steps, the plainest first: Lightning and transformers, DeepSpeed, most others, Megatron and detectron2,
# mmengine, nanoGPT, fairseq.
_STEPS = (
    *("global_step", "global_steps", "step", "iteration", "iter", "iter_num", "num_updates"),
    *("steps", "iterations", "current_step", "current_iter", "train_step", "train_steps", "n_iter", "step_num"),
)
_EPOCHS = ("epoch", "current_epoch", "epoch_num", "epochs")
# Dictionaries in which trainers keep them (mmengine, torchtitan, fairseq and others).
_BESIDE = ("meta", "train_state", "trainer_state", "trainer", "extra_state", "progress", "state", "info")


@dataclass(frozen=True)
class Said:
    """Step and epoch at which a checkpoint says that it was written.

    Attributes:
        step: Optimizer updates, or None.
        epoch: Epochs, or None.
        source: Under which name the step is; empty without one.
        other: Another step that it states, in words; empty if there is none.
    """

    step: int | None = None
    epoch: float | None = None
    source: str = ""
    other: str = ""


def said_in(loaded: Any, key: str = "") -> Said:
    """The step and epoch that a checkpoint states.

    Looked at are its top level, then the dictionaries that its weights are in, then those in which trainers keep
    such numbers (``meta``, ``train_state``, ...); in each the names in the order of `_STEPS`.

    Args:
        loaded: What was loaded: nested dictionaries.
        key: Where in it the weights are.
    """
    steps = [
        (f"{place}{name}", int(number))
        for place, held in _places(loaded, key)
        for name in _STEPS
        if (number := _number(held, name)) is not None and number == int(number)
    ]
    epochs = [
        number
        for _, held in _places(loaded, key)
        for name in _EPOCHS
        if (number := _number(held, name)) is not None
    ]
    epoch = epochs[0] if epochs else None
    if not steps:
        return Said(epoch=epoch)
    source, step = steps[0]
    others = [f"{name} is {number}" for name, number in steps[1:] if number != step]
    return Said(step, epoch, source, others[0] if others else "")


def _places(loaded: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dictionaries that can hold a step, each with what is put before its names in reports."""
    if not isinstance(loaded, Mapping):
        return
    # A tensor named "step" beside weights can be one of them.
    yield "", loaded if key else {name: item for name, item in loaded.items() if not isinstance(item, Tensor)}
    inside, before = loaded, ""
    for part in key.split(".")[:-1]:
        inner = inside.get(part)
        if not isinstance(inner, Mapping):
            break
        inside, before = inner, f"{before}{part}."
        yield before, inside
    yield from ((f"{name}.", loaded[name]) for name in _BESIDE if isinstance(loaded.get(name), Mapping))


def _number(loaded: Mapping[str, Any], name: str) -> float | None:
    """A number that can be a count: finite, not negative, no larger than what a file can store."""
    value = loaded.get(name)
    if isinstance(value, Tensor):
        plain = value.dim() == 0 and value.device.type == "cpu" and not value.is_complex()
        value = value.item() if plain else None
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and 0 <= value < 2**63 else None


def _from_text(text: str) -> float | None:
    """Safetensors files hold texts only."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None
