"""Where in a loaded checkpoint the weights are; of several sets that fit, none is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.trajectory.checkpoints.element_types import same_values
from landscape.trajectory.checkpoints.name_matches import covers, layout_of_state
from landscape.trajectory.checkpoints.report import printable

# Under these names trainers keep weights.
_KNOWN = (
    *("state_dict", "model_state_dict", "model", "module", "net", "network", "model_state", "weights", "params"),
    *("ema", "model_ema", "state_dict_ema", "ema_state_dict"),
    *("generator", "discriminator", "encoder", "decoder"),
)
# Under names that begin so they keep what has the shapes of weights and is none.
_NO_WEIGHTS = ("optim", "opt_", "scheduler", "lr_scheduler", "scaler", "amp", "rng", "loops", "hyper")
# What modules save beside their tensors under names that end so.
_EXTRA_STATE = "_extra_state"
# Trainers nest weights no deeper: {"ema": {"shadow": {"model": ...}}}.
_DEEPEST = 4


def find_state(
    loaded: Any, key: str | None, where: Path, layout: Layout | None = None
) -> tuple[str, dict[str, Tensor]]:
    """The dictionary of name -> tensor in what a file held.

    Args:
        loaded: What `torch.load` gave.
        key: Where it is: names of dictionaries with dots between them, then the beginning of the names of
            tensors if need be; None to search.
        where: The file, for messages.
        layout: The tensors of the model, if it is known.

    Returns:
        Its key (empty for the top level) and the dictionary.

    Raises:
        LandscapeError: If there is none, or more than one that could be meant.
    """
    if key is not None:
        return key, _at(loaded, key, where)
    if is_state(loaded):
        return "", tensors_of(loaded)
    pure = {name: tensors_of(state) for name, state in _sets(loaded, "", is_state)}
    mixed = {name: tensors_of(state) for name, state in _sets(loaded, "", _has_tensors)}
    if not pure and not mixed:
        raise _without(loaded, where)
    chosen = None if layout is None else _fitting(mixed | pure, layout, where)
    chosen = _usual(pure or mixed, where) if chosen is None else chosen
    return chosen, (mixed | pure)[chosen]


def left_out(loaded: Any, chosen: str, layout: Layout) -> list[str]:
    """Note averages of weights and the like that are in a file beside those that are taken.

    Args:
        loaded: What `torch.load` gave.
        chosen: The key of the weights that are taken.
        layout: The tensors of the model.
    """
    if is_state(loaded):
        return []
    least = sum(info.kind == "parameter" for info in layout) / 2
    said = [
        f"other weights in the file, not taken: {printable(name)} ({fits} tensors of the model)"
        for name, state in _sets(loaded, "", is_state)
        if name != chosen and (fits := covers(layout, tensors_of(state))[1]) > least
    ]
    return said + [
        f"a list of {len(items)} tensors without names, not taken: {printable(name)}"
        for name, items in _lists(loaded, "")
        if len(items) > least
    ]


def entries_of(value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a dictionary that have a text as name."""
    if isinstance(value, Mapping):
        yield from ((name, item) for name, item in value.items() if isinstance(name, str))


def _inside(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Where else weights could be, with their keys."""
    if key.count(".") < _DEEPEST:
        for name, item in entries_of(value):
            if not name.lower().startswith(_NO_WEIGHTS):
                yield f"{key}.{name}" if key else name, item


def _sets(value: Any, key: str, accepts: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if accepts(value):
        yield key, value
        return
    for name, item in _inside(value, key):
        yield from _sets(item, name, accepts)


def _lists(value: Any, key: str) -> Iterator[tuple[str, Sequence[Tensor]]]:
    for name, item in _inside(value, key):
        if isinstance(item, list | tuple) and item and all(isinstance(one, Tensor) for one in item):
            yield name, item
        yield from _lists(item, name)


def is_state(value: Any) -> bool:
    """Return whether something is a dictionary of name -> tensor, and has at least one."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    rest = [item for name, item in value.items() if not name.endswith(_EXTRA_STATE)]
    return bool(rest) and all(isinstance(item, Tensor) for item in rest)


def _has_tensors(value: Any) -> bool:
    """Return whether something is a dictionary with tensors in it, whatever is beside them."""
    return isinstance(value, Mapping) and bool(tensors_of(value))


def tensors_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a dictionary, detached."""
    found = {name: item for name, item in state.items() if isinstance(item, Tensor) and isinstance(name, str)}
    return {name: item.detach() if item.requires_grad else item for name, item in found.items()}


def _fitting(found: Mapping[str, dict[str, Tensor]], layout: Layout, where: Path) -> str | None:
    """The set that fits a model; None where none does, or several that do not fit wholly do so equally well.

    Raises:
        LandscapeError: If several sets have all parameters of the model, and other values.
    """
    fits = {name: covers(layout, state) for name, state in found.items()}
    best = max(fits.values())
    whole = [name for name, (all_there, _) in fits.items() if all_there]
    whole = sorted(whole, key=lambda name: -fits[name][1])
    others = [name for name in whole[1:] if not _same(found[whole[0]], found[name])]
    if others:
        raise _several([whole[0], *others], where)
    if whole:
        return whole[0]
    equal = [name for name, fit in fits.items() if fit == best]
    return equal[0] if best[1] and len(equal) == 1 else None


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    # Tensors without numbers stand for some that are not read yet.
    return a.keys() == b.keys() and all(
        not {tensor.device.type, b[name].device.type} & {"meta"} and same_values(tensor, b[name])
        for name, tensor in a.items()
    )


def _usual(found: Mapping[str, dict[str, Tensor]], where: Path) -> str:
    """The set that trainers would mean, among those that are nested least.

    Raises:
        LandscapeError: If there are several.
    """
    least = min(name.count(".") for name in found)
    outer = [name for name in found if name.count(".") == least]
    chosen = [name for name in outer if name.rsplit(".", 1)[-1] in _KNOWN] or outer
    if len(chosen) == 1:
        layout = layout_of_state(found[chosen[0]], where)
        chosen += [
            name
            for name, state in found.items()
            if name != chosen[0] and covers(layout, state)[0] and not _same(found[chosen[0]], state)
        ]
    if len(chosen) > 1:
        raise _several(chosen, where)
    return chosen[0]


def _several(names: Sequence[str], where: Path) -> LandscapeError:
    return LandscapeError(
        "several dictionaries of tensors are in the file",
        where=where,
        got=", ".join(map(printable, names)),
        mend=f"choose one, such as --key {printable(names[0])}",
    )


def _without(loaded: Any, where: Path) -> LandscapeError:
    what = "no dictionary of name -> tensor is in the file"
    for name, items in _lists(loaded, ""):
        return LandscapeError(
            what,
            where=where,
            got=f"a list of {len(items)} tensors without names under {printable(name)}",
            mend="copy them into the model (copy_to of an average of weights) and save model.state_dict()",
        )
    return LandscapeError(what, where=where, got=_describe(loaded))


def _at(value: Any, key: str, where: Path) -> dict[str, Tensor]:
    """The dictionary at a key; a rest of the key is the beginning of the names in it."""
    found = _walk(value, key)
    if not found:
        known = [name for name, _ in _sets(value, "", is_state) if name] or [name for name, _ in entries_of(value)]
        expected = ", ".join(map(printable, known[:8])) if known else _describe(value)
        raise LandscapeError("no tensors are under this key", where=where, got=f"--key {key}", expected=expected)
    return found


def _walk(value: Any, key: str) -> dict[str, Tensor]:
    if not key:
        return tensors_of(value) if is_state(value) or _has_tensors(value) else {}
    if is_state(value):
        start = f"{key}."
        return {name.removeprefix(start): t for name, t in tensors_of(value).items() if name.startswith(start)}
    for name, item in entries_of(value):
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
