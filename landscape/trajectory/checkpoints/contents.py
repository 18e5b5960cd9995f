"""Where in a loaded checkpoint the weights are, and what it says of its step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.trajectory.checkpoints.report import printable

# Under these names trainers keep weights.
_KNOWN = (
    *("state_dict", "model_state_dict", "model", "module", "net", "network", "model_state", "weights", "params"),
    *("ema", "model_ema", "state_dict_ema", "ema_state_dict"),
    *("generator", "discriminator", "encoder", "decoder"),
)
_STEPS = ("global_step", "step", "iteration", "iter", "iterations")
# What modules save beside their tensors under names that end so.
_EXTRA_STATE = "_extra_state"


def find_state(loaded: Any, key: str | None, where: Path) -> tuple[str, dict[str, Tensor]]:
    """The dictionary of name -> tensor in what a file held.

    Args:
        loaded: What `torch.load` gave.
        key: Where it is: names of dictionaries with dots between them, then the beginning of the names of
            tensors if need be; None to search.
        where: The file, for messages.

    Returns:
        Its key (empty for the top level) and the dictionary.

    Raises:
        LandscapeError: If there is none, or more than one.
    """
    if key is not None:
        return key, _at(loaded, key, where)
    if _is_state(loaded):
        return "", _tensors(loaded)
    found = dict(_states(loaded)) or {
        f"{outer}.{inner}": state
        for outer, value in _entries(loaded)
        if isinstance(value, Mapping)
        for inner, state in _states(value)
    }
    chosen = [name for name in found if name in _KNOWN] or list(found)
    if not chosen:
        raise LandscapeError("no dictionary of name -> tensor is in the file", where=where, got=_describe(loaded))
    if len(chosen) > 1:
        raise LandscapeError(
            "several dictionaries of tensors are in the file",
            where=where,
            got=", ".join(map(printable, chosen)),
            mend=f"choose one, such as --key {printable(chosen[0])}",
        )
    return chosen[0], _tensors(found[chosen[0]])


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((name, item) for name, item in value.items() if isinstance(name, str))


def _states(value: Any) -> Iterator[tuple[str, Any]]:
    return ((name, item) for name, item in _entries(value) if _is_state(item))


def _is_state(value: Any) -> bool:
    """Whether something is a dictionary of name -> tensor, and has at least one."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    rest = [item for name, item in value.items() if not name.endswith(_EXTRA_STATE)]
    return bool(rest) and all(isinstance(item, Tensor) for item in rest)


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: item.detach() for name, item in state.items() if isinstance(item, Tensor)}


def _at(value: Any, key: str, where: Path) -> dict[str, Tensor]:
    """The dictionary at a key; a rest of the key is the beginning of the names in it."""
    found = _walk(value, key)
    if not found:
        known = [name for name, _ in _states(value)] or [name for name, _ in _entries(value)]
        expected = ", ".join(map(printable, known[:8])) if known else _describe(value)
        raise LandscapeError("no tensors are under this key", where=where, got=f"--key {key}", expected=expected)
    return found


def _walk(value: Any, key: str) -> dict[str, Tensor]:
    if not key:
        return _tensors(value) if _is_state(value) else {}
    if _is_state(value):
        start = f"{key}."
        return {name.removeprefix(start): t for name, t in _tensors(value).items() if name.startswith(start)}
    for name, item in _entries(value):
        if key == name or key.startswith(f"{name}."):
            found = _walk(item, key[len(name) + 1 :])
            if found:
                return found
    return {}


def _describe(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"a {type(value).__name__}"
    if not value:
        return "an empty dictionary"
    return "a dictionary of " + ", ".join(printable(name)[:40] for name in list(value)[:8])


def step_in(loaded: Any) -> int | None:
    """The step that a checkpoint states at its top level."""
    for name in _STEPS:
        number = _number(loaded, name)
        if number is not None and number == int(number):
            return int(number)
    return None


def epoch_in(loaded: Any) -> float | None:
    """The epoch that a checkpoint states at its top level."""
    return _number(loaded, "epoch")


def _number(loaded: Any, name: str) -> float | None:
    """A number that can be a count: finite, not negative, no larger than what a file can store."""
    value = loaded.get(name) if isinstance(loaded, Mapping) else None
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
