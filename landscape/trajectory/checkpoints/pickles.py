"""Reading what `torch.save` wrote, without ever running what is in it."""

from __future__ import annotations

import lzma
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from landscape.errors import LandscapeError, is_out_of_memory, out_of_memory
from landscape.signatures import foreign, kind_of_start
from landscape.storage import FAULTS
from landscape.trajectory.checkpoints.files import read_start
from landscape.trajectory.checkpoints.numpy_values import STAND_INS, Inert
from landscape.trajectory.checkpoints.report import Names, printable

# What readers of checkpoints raise at bytes that are not what they should be.
READ_FAULTS = (
    *(*FAULTS, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(pickle.UnpicklingError, EOFError, struct.error, AssertionError),
)

# How torch names what a pickle asked for beyond weights.
_WANTED = (
    r"GLOBAL (\S+)",
    r"reduce for unrecognized function <?(?:built-in function |function |class )?'?([\w.]+)",
    r"NEWOBJ for unsupported class <class '([\w.]+)",
    r"unsupported class ([\w.]+)",
)
# Whose classes stand for a share of a tensor.
_SPLIT = ("torch.distributed._shard.", "torch.distributed.tensor.", "torch.distributed._tensor.")
_MEND = "load it where you trust it and save model.state_dict(), or .safetensors"


def load_pickle(path: Path, inert: str | None = None) -> Any:
    """What is in a file that `torch.save` wrote, tensors on the CPU and, where they can be, mapped from the file.

    Only tensors, plain containers and numbers are made (``weights_only=True``): the file cannot run code.

    Args:
        path: The file.
        inert: The package whose objects are left empty; by default they are refused as all others.

    Raises:
        LandscapeError: If it needs more than weights, is damaged, or is no such file.
    """
    kind = kind_of_start(read_start(path))
    reason = foreign(path, kind)
    if reason is not None:
        raise LandscapeError(reason[0], where=path, mend=reason[1])
    try:
        if kind == "zip":
            require_intact(path)
        # Old files keep all numbers in one stream, which cannot be mapped.
        asked = [] if inert is None else _asked(path)
        with torch.serialization.safe_globals([(Inert, name) for name in asked if name.startswith(f"{inert}.")]):
            return load_weights(str(path), mapped=kind == "zip")
    except pickle.UnpicklingError as error:
        wanted = _unsafe(path, str(error))
        if wanted:
            raise refused(wanted, path) from error
        raise unreadable(path, error) from error
    except MemoryError as error:
        raise out_of_memory(path) from error
    except READ_FAULTS as error:
        raise unreadable(path, error) from error


def require_intact(path: Path) -> None:
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


def load_weights(source: str | IO[bytes], *, mapped: bool = False) -> Any:
    """What `torch.load` makes of a file with ``weights_only=True``, NumPy's numbers among it as Python's.

    Args:
        source: The name of a file, or its content.
        mapped: Whether tensors are mapped from it.
    """
    # Of formats that torch then refuses.
    with warnings.catch_warnings(), torch.serialization.safe_globals(list(STAND_INS)):
        warnings.simplefilter("ignore")
        return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)


def _unsafe(path: Path, message: str) -> list[str]:
    """What the pickle asks for beyond weights, by name."""
    # Old files cannot be asked; then the message says the first one.
    found = [name for pattern in _WANTED for name in re.findall(pattern, message)] + _asked(path)
    return list(dict.fromkeys(name.rstrip(".,:;'>") for name in found))


def _asked(path: Path) -> list[str]:
    with suppress(*READ_FAULTS), torch.serialization.safe_globals(list(STAND_INS)):
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    return []


def refused(wanted: list[str], where: Path) -> LandscapeError:
    """The refusal of a file that asks for more than weights.

    Args:
        wanted: What it asks for.
        where: The file.
    """
    if any(name.startswith(_SPLIT) for name in wanted):
        return LandscapeError(
            "the file holds one process's share of weights that are split among several",
            where=where,
            got=str(Names.of(wanted)),
            mend="save with StateDictType.FULL_STATE_DICT, or with torch.distributed.checkpoint",
        )
    return LandscapeError(
        "the file needs more than weights, which could run any code, and is refused",
        where=where,
        got=str(Names.of(wanted)),
        mend=_MEND,
    )


def unreadable(path: Path, error: BaseException) -> LandscapeError:
    """The refusal of a damaged or foreign file."""
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
