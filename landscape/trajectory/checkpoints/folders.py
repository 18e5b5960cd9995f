"""Folders as Hugging Face libraries write them: one file of weights, or several with an index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.storage import FAULTS
from landscape.trajectory.checkpoints.files import PICKLES, SAFETENSORS
from landscape.trajectory.checkpoints.report import Names

# In the order in which transformers looks for them.
_WHOLE = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin")
_INDEXED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SEARCHED = (_WHOLE[0], _INDEXED[0], _WHOLE[1], _INDEXED[1], *_WHOLE[2:])
_TRAINER_STATE = "trainer_state.json"


def is_standard_name(name: str) -> bool:
    """Whether a file has the name that every checkpoint folder has one of, so that the folder says which it is."""
    return name in _WHOLE


def weight_files(folder: Path) -> dict[Path, list[str] | None]:
    """The files that hold the weights of a folder, each with the names to be taken from it; None is all.

    Raises:
        LandscapeError: If there are none, or the index is damaged, lacks a file, or names one elsewhere.
    """
    for name in _SEARCHED:
        file = folder / name
        if file.is_file():
            return _indexed(file) if name in _INDEXED else {file: None}
    others = sorted(name for name in _names_in(folder) if name.endswith((*PICKLES, SAFETENSORS)))
    mend = f"name its files, such as '{folder / others[0]}'" if others else None
    raise LandscapeError("a folder without weights", where=folder, expected=" or ".join(_SEARCHED), mend=mend)


def _names_in(folder: Path) -> list[str]:
    try:
        return [file.name for file in folder.iterdir()]
    except OSError as error:
        raise LandscapeError("cannot be read", where=folder, got=error.strerror) from error


def _indexed(index: Path) -> dict[Path, list[str] | None]:
    held = read_json(index).get("weight_map")
    if not isinstance(held, dict) or not held or not all(isinstance(name, str) for name in held.values()):
        raise LandscapeError("the index is damaged", where=index, expected="a weight_map of name -> file")
    wanted: dict[Path, list[str] | None] = {}
    for tensor, name in held.items():
        names = wanted.setdefault(index.parent / _plain(name, index), [])
        if names is not None:
            names.append(tensor)
    lacking = [file.name for file in wanted if not file.is_file()]
    if lacking:
        raise LandscapeError(
            f"{len(lacking)} of {len(wanted)} files that the index names are missing",
            where=index,
            got=str(Names.of(lacking)),
            mend="copy the whole folder",
        )
    return wanted


def _plain(name: str, index: Path) -> str:
    """A name within the folder: an index must not make us read any other file."""
    known = name.endswith((SAFETENSORS, ".bin"))
    if not known or name.startswith(".") or any(mark in name for mark in "/\\\0:"):
        raise LandscapeError(
            "the index names a file that is not one of weights in its own folder",
            where=index,
            got=repr(name[:80]),
        )
    return name


def select(held: Mapping[str, Tensor], names: Sequence[str] | None, file: Path) -> dict[str, Tensor]:
    """The tensors that an index promises of a file.

    Raises:
        LandscapeError: If one is not there.
    """
    if names is None:
        return dict(held)
    lacking = [name for name in names if name not in held]
    if lacking:
        raise LandscapeError(
            "tensors are not in the file that the index names for them",
            where=file,
            got=str(Names.of(lacking)),
            mend="copy the whole folder",
        )
    return {name: held[name] for name in names}


def trainer_state(folder: Path) -> dict[str, Any]:
    """What the trainer of transformers wrote beside the weights (``global_step``, ``epoch``); empty without it."""
    file = folder / _TRAINER_STATE
    return read_json(file) if file.is_file() else {}


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        LandscapeError: If it is damaged, or something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FAULTS as error:
        raise LandscapeError("not a JSON file, or a damaged one", where=file, got=type(error).__name__) from error
    if not isinstance(found, dict):
        raise LandscapeError("not a JSON object", where=file, got=type(found).__name__)
    return found
