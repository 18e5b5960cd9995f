"""Checkpoints by their first bytes: what can be imported, and what cannot and why. No torch."""

from __future__ import annotations

import re
import shlex
import struct
import tarfile
import zipfile
from pathlib import Path

from landscape.errors import LandscapeError

# So many bytes tell all kinds apart; the mark of a tar archive is the last of them.
START = 512
_ZIP = b"PK\x03\x04"
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
# safetensors allows no longer header: 100 MB.
_HEADER = 100_000_000
_TORCH7 = re.compile(rb"(4\n\d+\n3\nV 1\n|[\x03\x04]\0\0\0\x01\0\0\0.{0,64}?V 1)", re.DOTALL)
_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".t7", ".tar", ".safetensors", ".distcp")
_FOLDER_MARKS = (".metadata", "latest", "trainer_state.json")


def kind_of_start(start: bytes) -> str | None:
    """Return the kind of a file by its first bytes.

    Args:
        start: The first `START` bytes, or fewer if there are no more.

    Returns:
        ``"zip"``, ``"pickle"``, ``"safetensors"``, ``"tar"``, ``"torch7"`` or ``"gzip"``; None for anything else.

    Example:
        >>> kind_of_start(bytes.fromhex("504b0304"))
        'zip'
        >>> kind_of_start(struct.pack("<Q", 0x380) + b'{"w":')
        'safetensors'
    """
    if start.startswith(_ZIP):
        return "zip"
    # First, for the length of its header may begin as a pickle does; no pickle goes on with zeros.
    if len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= _HEADER:
        return "safetensors"
    if _PICKLE.match(start):
        return "pickle"
    if start[257:262] == b"ustar":
        return "tar"
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    return "torch7" if _TORCH7.match(start) else None


def foreign(path: Path, kind: str | None) -> tuple[str, str] | None:
    """Why a file holds no weights that can be read, and what to do; None if it may hold some.

    Args:
        path: The file.
        kind: What `kind_of_start` says of it.
    """
    if kind == "zip" and any(name.endswith("/constants.pkl") for name in _members(path)):
        return (
            "a TorchScript archive, which holds code",
            f"load it where you trust it: torch.save(torch.jit.load('{path.name}').state_dict(), 'weights.pt')",
        )
    if kind == "torch7":
        return (
            "a file of Torch7 (Lua), which PyTorch no longer reads",
            "convert it (the package torchfile reads it) and save a dictionary of name -> tensor",
        )
    if kind == "tar" and "storages" in _tar_members(path):
        return (
            "written by PyTorch before 0.1.10, whose format cannot be read without running code",
            "load it where you trust it (torch.load with weights_only=False) and save model.state_dict()",
        )
    if kind == "tar":
        return "an archive of files", f"unpack it with tar -xf {path.name}, and name what is in it"
    return ("a compressed file", f"unpack it with gunzip {path.name}") if kind == "gzip" else None


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return []


def _tar_members(path: Path) -> list[str]:
    """The first few names in a tar archive; nothing is unpacked."""
    found: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            while len(found) < 8 and (member := archive.next()) is not None:
                found.append(member.name)
    except (OSError, ValueError, tarfile.TarError):
        pass
    return found


def refuse_checkpoint(path: Path) -> None:
    """Refuse a checkpoint of a training, or a folder of some, where a file of this toolkit is wanted.

    Raises:
        LandscapeError: If it is one, with the command that reads it.
    """
    if _looks_like_checkpoint(path):
        command = f"landscape import {shlex.quote(str(path))} -o run.h5 --problem NAME|FILE.py:FUNCTION"
        kind = "a folder of checkpoints" if path.is_dir() else "a checkpoint"
        raise LandscapeError(f"{kind}, not a trajectory", where=path, mend=f"import it first: {command}")


def _looks_like_checkpoint(path: Path) -> bool:
    try:
        if path.is_dir():
            names = [file.name for file in path.iterdir()]
            inner = [file for name in names if (path / name).is_dir() for file in (path / name).iterdir()]
            names += [file.name for file in inner]
            return any(name in _FOLDER_MARKS or name.lower().endswith(_ENDINGS) for name in names)
        with path.open("rb") as raw:
            start = raw.read(START)
    except OSError:
        return False
    kind = kind_of_start(start)
    if kind == "zip":
        return any(name.endswith(("data.pkl", "constants.pkl")) for name in _members(path))
    return kind is not None or path.name.lower().endswith(_ENDINGS)
