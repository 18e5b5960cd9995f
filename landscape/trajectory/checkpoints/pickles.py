"""Reading what `torch.save` wrote, without ever running what is in it."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from landscape.errors import LandscapeError, is_out_of_memory, out_of_memory
from landscape.storage import FAULTS
from landscape.trajectory.checkpoints.files import read_start
from landscape.trajectory.checkpoints.report import Names, printable

# What readers of checkpoints raise at bytes that are not what they should be.
READ_FAULTS = (*FAULTS, zipfile.BadZipFile, pickle.UnpicklingError, EOFError, struct.error, AssertionError)

_ZIP = b"PK\x03\x04"
# How torch names what a pickle asked for beyond weights.
_WANTED = (
    r"GLOBAL (\S+)",
    r"reduce for unrecognized function <?(?:built-in function |function |class )?'?([\w.]+)",
    r"NEWOBJ for unsupported class <class '([\w.]+)",
    r"unsupported class ([\w.]+)",
)
_MEND = "load it where you trust it and save model.state_dict(), or .safetensors"


def load_pickle(path: Path) -> Any:
    """What is in a file that `torch.save` wrote, tensors on the CPU and, where they can be, mapped from the file.

    Only tensors and plain containers are made (``weights_only=True``): the file cannot run code.

    Args:
        path: The file.

    Raises:
        LandscapeError: If it needs more than weights, is damaged, or is no such file.
    """
    start = read_start(path)
    try:
        if start.startswith(_ZIP):
            _require_intact(path)
        # Old files keep all numbers in one stream, which cannot be mapped.
        return _load(path, mapped=start.startswith(_ZIP))
    except pickle.UnpicklingError as error:
        wanted = _unsafe(path, str(error))
        if wanted:
            raise LandscapeError(
                "the file needs more than weights, which could run any code, and is refused",
                where=path,
                got=str(Names.of(wanted)),
                mend=_MEND,
            ) from error
        raise _unreadable(path, error) from error
    except MemoryError as error:
        raise out_of_memory(path) from error
    except READ_FAULTS as error:
        raise _unreadable(path, error) from error


def _require_intact(path: Path) -> None:
    """Compare an archive with its own checksums: torch does not where it maps the file.

    Raises:
        LandscapeError: If a part of it is not what was written.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise LandscapeError(
            f"the file is damaged: the checksum of '{printable(damaged)}' in it does not match",
            where=path,
            mend="restore it from a copy",
        )


def _load(path: Path, *, mapped: bool) -> Any:
    with warnings.catch_warnings():
        # Of formats that torch then refuses.
        warnings.simplefilter("ignore")
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)


def _unsafe(path: Path, message: str) -> list[str]:
    """What the pickle asks for beyond weights, by name."""
    found = [name for pattern in _WANTED for name in re.findall(pattern, message)]
    # Old files cannot be asked; then the message says the first one.
    with suppress(*READ_FAULTS):
        found += torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    return list(dict.fromkeys(name.rstrip(".,:;'>") for name in found))


def _unreadable(path: Path, error: BaseException) -> LandscapeError:
    if is_out_of_memory(error):
        return out_of_memory(path)
    return LandscapeError(
        "not a file of weights that torch can read, or a damaged one", where=path, got=short_reason(error)
    )


def short_reason(error: BaseException) -> str:
    """The first sentence of what another library says, without its advice and addresses."""
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    own = re.search(r"WeightsUnpickler error:\s+(.+)", text)
    first = (own.group(1) if own else text.removeprefix("Weights only load failed. ")).strip().split("\n")[0]
    first = re.split(r"(?<=[\w)`])\. (?=[A-Z])|; please ", first)[0]
    return printable(first[:160].strip(" .:")) or type(error).__name__
