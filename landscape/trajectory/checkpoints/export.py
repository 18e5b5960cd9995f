"""A snapshot -> a file of weights that any other tool can load."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.remnants import temporary_folder
from landscape.storage import FAULTS, PathLike, atomic_path, require_writable
from landscape.trajectory.snapshot import Snapshot
from landscape.trajectory.trajectory import Trajectory

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth")


def export_snapshot(run: Trajectory, index: int, path: PathLike, *, overwrite: bool = False) -> dict[str, int]:
    """Write the weights and buffers of a snapshot as a state dict.

    A ``.safetensors`` file holds each tensor once; the other names of tied tensors are in its metadata, beside
    step, epoch, run_id and problem. A ``.pt`` or ``.pth`` file is a plain dictionary of all names.

    Args:
        run: The trajectory.
        index: Which snapshot.
        path: The file to write.
        overwrite: Replace a file that exists.

    Returns:
        ``{"step", "tensors", "parameters", "bytes"}``.

    Raises:
        LandscapeError: If the file exists, cannot be written, or its format has no such element type.

    Example:
        >>> export_snapshot(run, -1, "last.safetensors")["tensors"]
        6
        >>> model.load_state_dict(safetensors.torch.load_file("last.safetensors"))
        <All keys matched successfully>
    """
    path = Path(path)
    require_writable(path, WEIGHT_SUFFIXES)
    if path.exists() and not overwrite:
        raise LandscapeError("the file exists", where=path, mend="pass --overwrite to replace it, or another name")
    snapshot = run[index]
    state: dict[str, Tensor] = {**snapshot.weights, **snapshot.buffers}
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".safetensors":
            state = {info.name: state[info.name] for info in run.layout if info.tied_to is None}
            try:
                _save_safetensors(state, path, temporary, _metadata(run, snapshot))
            except OSError:
                raise
            except (*FAULTS, SafetensorError) as error:
                _raise_if_of_the_disk(error)
                raise LandscapeError(
                    "a tensor cannot be stored as safetensors",
                    where=path,
                    got=str(error),
                    mend="write .pt instead",
                ) from error
        else:
            try:
                with temporary.open("wb") as file:
                    torch.save(state, file)
            except RuntimeError as error:
                _raise_if_of_the_disk(error)
                raise
    return {
        "step": snapshot.step,
        "tensors": len(state),
        "parameters": run.layout.parameter_count,
        "bytes": path.stat().st_size,
    }


def _save_safetensors(state: dict[str, Tensor], path: Path, temporary: Path, metadata: dict[str, str]) -> None:
    """Write the same bytes each time, with the mode of any new file: safetensors draws an order for metadata."""
    with temporary_folder(path) as folder:
        draft = folder / "draft"
        save_file(state, draft, metadata)
        with draft.open("rb") as source, temporary.open("wb") as target:
            header = json.loads(source.read(int.from_bytes(source.read(8), "little")))
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
            text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
            # Numbers begin at a multiple of eight bytes.
            text += b" " * (-len(text) % 8)
            target.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(source, target, 2**20)


def _raise_if_of_the_disk(error: BaseException) -> None:
    """Raise what the system said where a library has made another exception of it."""
    told: BaseException | None = error
    while told is not None:
        if isinstance(told, OSError):
            raise told from error
        told = told.__context__
    number = re.search(r"(?:os error|Os \{ code:) (\d+)", str(error))
    if number is not None:
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _metadata(run: Trajectory, snapshot: Snapshot) -> dict[str, str]:
    """Texts only; other names as `safetensors.torch.save_model` has them, so that ``load_model`` finds them."""
    tied = {info.name: info.tied_to for info in run.layout if info.tied_to is not None}
    epoch = {} if math.isnan(snapshot.epoch) else {"epoch": repr(snapshot.epoch)}
    own = {"format": "pt", "step": str(snapshot.step), "run_id": run.run_id, "problem": run.problem}
    return tied | epoch | own
