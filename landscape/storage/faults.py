"""Exceptions of h5py, NumPy and the system as one line that says whose fault it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landscape.errors import LandscapeError, MachineError, is_out_of_memory, out_of_memory

# What h5py, NumPy and json raise at bytes that are not what they should be.
FAULTS = (
    *(ArithmeticError, AttributeError, LookupError, OSError),
    *(RuntimeError, SystemError, TypeError, ValueError),
)
# What a user can mend without changing the command, and what says it.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MACHINE = {*_FULL, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


@contextmanager
def damage(path: str | os.PathLike[str], what: str = "the file is damaged") -> Iterator[None]:
    """Turn what reading an open file raises in the body into one `LandscapeError`; for want of memory it says so.

    Args:
        path: The file.
        what: What to say of it.
    """
    try:
        yield
    except (*FAULTS, MemoryError) as error:
        if is_out_of_memory(error):
            raise out_of_memory(path) from error
        # Raised within h5py, Ctrl-C becomes a fault of its own.
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise LandscapeError(what, where=path, got=reason(error), mend="restore it from a copy") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what writing raises in the body into one `LandscapeError`."""
    try:
        yield
    except (OSError, MemoryError) as error:
        if is_out_of_memory(error):
            raise out_of_memory(path) from error
        raise _unwritable("cannot be written", path, error) from error


@contextmanager
def creating(folder: Path) -> Iterator[None]:
    """Turn what making a file in a folder raises in the body into one `LandscapeError`."""
    try:
        yield
    except OSError as error:
        raise _unwritable("cannot write here", folder, error, "choose another folder") from error


def _unwritable(what: str, where: Path, error: BaseException, mend: str | None = None) -> LandscapeError:
    code = getattr(error, "errno", None)
    if code in _FULL:
        mend = "free some space, or write elsewhere"
    kind = MachineError if code in _MACHINE else LandscapeError
    return kind(what, where=where, got=reason(error), mend=mend)


def reason(error: BaseException) -> str:
    """The reason without HDF5's numbers and addresses behind it."""
    text = getattr(error, "strerror", None) or str(error).strip("\"'") or type(error).__name__
    if text.startswith(("Unable", "Can't")) and text.endswith(")"):
        text = text[text.index("(") + 1 : -1]
    return text.split(":")[0]
