"""Creating and changing files wholly or not at all."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from landscape import journal
from landscape.errors import LandscapeError
from landscape.journal import Change as Change
from landscape.journal import lock
from landscape.remnants import remove_remnants
from landscape.storage.atomic import atomic_path
from landscape.storage.faults import creating, writing
from landscape.storage.interrupts import checked_by, deferred_interrupt
from landscape.storage.reader import PathLike, mode_of, opened, require_file, require_regular

if TYPE_CHECKING:
    import h5py

# What a writer waits for readers, in seconds: they may see half of a change, and then read again.
_FOR_READERS = 0.04


@contextmanager
def change(path: PathLike, *, wait_for_readers: bool = True) -> Iterator[Change]:
    """Change an existing HDF5 file wholly or not at all; an interrupt waits until it is done.

    Args:
        path: The file.
        wait_for_readers: Give those who are reading it a moment to end. A change that leaves the structure of
            the file as it is has no need to: a reader sees old or new values.

    Yields:
        The change under way: its ``file`` is open for reading and writing.

    Raises:
        LandscapeError: If the file is missing, not writable (the disk may be full), or being written by another
            process.
    """
    path = Path(path)
    require_file(path)
    with deferred_interrupt(), opened(path, "r+b") as raw:
        # A lock that others can share means that only readers hold one.
        patience = _FOR_READERS if wait_for_readers else 0.0
        if not lock(raw, shared=False, patience=patience) and not lock(raw, shared=True):
            raise LandscapeError("another process is writing this file", where=path)
        with writing(path), journal.change(raw) as under_way:
            yield under_way


def require_writable(path: PathLike, suffixes: Sequence[str] | None = None) -> None:
    """Check before long work that its result can be written; nothing is left behind.

    The folder may be missing where it could be created; writing the result creates it.

    Args:
        path: The file to be written.
        suffixes: The endings it may have, such as ``(".png", ".pdf")``; any if None.

    Raises:
        LandscapeError: If it cannot.
    """
    path = Path(path)
    if suffixes is not None and path.suffix.lower() not in suffixes:
        if stat.S_ISDIR(mode_of(path) or 0):
            mend = f"name a file in it, such as {path / f'NAME{suffixes[0]}'}"
            raise LandscapeError("this is a folder", where=path, expected="the name of a file to write", mend=mend)
        raise LandscapeError(
            "unknown file type", where=path, got=path.suffix or "no suffix", expected=" or ".join(suffixes)
        )
    mode = mode_of(path)
    if mode is not None:
        require_regular(path, mode, "the name of a file to write")
    nearest = next(folder for folder in path.absolute().parents if mode_of(folder) is not None)
    # Names that do not exist yet may be too long for the file system.
    for name in path.parts:
        mode_of(nearest / name)
    # Without a name, where the system can: a process that is killed here leaves nothing.
    with creating(nearest), tempfile.TemporaryFile(dir=nearest, prefix=".landscape-"):
        remove_remnants(path)


@contextmanager
def create(path: PathLike) -> Iterator[h5py.File]:
    """Write a new HDF5 file, or a new one in place of an old one: wholly or not at all.

    An interrupt waits until it is done; a long body calls `safe_point` between its parts.

    Args:
        path: The file; folders that are missing are created.

    Yields:
        The new file, empty.

    Raises:
        LandscapeError: If it cannot be written.
    """
    with (
        deferred_interrupt(),
        atomic_path(path) as temporary,
        temporary.open("w+b", buffering=0) as raw,
        journal.create(raw) as made,
        checked_by(made.check),
    ):
        yield made.file
