"""Files that the HDF5 library may be given: those whose structure was checked, or that another process has read.

Where a text of variable length is damaged the library loops for ever, and some other damage makes it crash.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import h5py

from landscape.errors import LandscapeError
from landscape.journal import Overlay, read_journal
from landscape.storage.structure import TooManyItemsError, check_structure

# The seconds of reading that a file is given: a sound one takes milliseconds.
_SECONDS = 4.0
# What the start of the other process may take on a machine that is busy.
_PATIENCE = 120.0
# Bytes that it may take beyond what it has when it begins.
_MEMORY = 2**29
# Data larger than this is not read there.
_LARGE = 2**26
# Seconds between two changes of a file that show in its time: file systems count in jiffies, at most 10 ms.
_TICK = 0.1
_readable: set[tuple[int, int, int, int]] = set()


def require_readable(path: Path, raw: BinaryIO | Overlay) -> None:
    """Check that the HDF5 library can read a file without harm, once for each state of the file.

    Args:
        path: The file.
        raw: The same, open; as it will be where a change is to be completed.

    Raises:
        StructureError: If something in its structure cannot be.
        LandscapeError: If something is unknown there, and another process does not come back from reading it, or
            if there is too much of it.
    """
    found = path.stat()
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if key in _readable:
        return
    try:
        known = check_structure(raw)
    except TooManyItemsError as error:
        raise LandscapeError(str(error), where=path) from error
    if not known:
        _examine(path)
    if time.time() - found.st_mtime > _TICK:
        _readable.add(key)


def _examine(path: Path) -> None:
    if not sys.executable:
        return
    arguments = [sys.executable, "-c", f"from {__name__} import main; main()", str(path)]
    try:
        done = subprocess.run(arguments, check=False, capture_output=True, timeout=_PATIENCE)
        failed = done.returncode < 0
    except subprocess.TimeoutExpired:
        failed = True
    except OSError:
        return
    if failed:
        raise LandscapeError(
            "the file is damaged",
            where=path,
            got="parts that HDF5 cannot read to an end",
            mend="restore it from a copy",
        )


def main() -> None:
    """Read the file that the command line names: all attributes and data, but for large ones."""
    _limit()
    # The process that reads the file after this meets the same exception and reports it.
    with (
        contextlib.suppress(Exception),
        Path(sys.argv[1]).open("rb", buffering=0) as raw,
        h5py.File(Overlay(raw, read_journal(raw)), "r") as file,
    ):
        _read(file)
        file.visititems(lambda _name, item: _read(item))


def _limit() -> None:
    """End this process where HDF5 does not come back, in C code too."""
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + _MEMORY, used + _MEMORY))
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)


def _read(item: h5py.Group | h5py.Dataset) -> None:
    """Read what others may ask for: lists of lists they refuse by their type."""
    for name in item.attrs:
        with contextlib.suppress(Exception):
            if not isinstance(item.attrs.get_id(name).get_type(), h5py.h5t.TypeVlenID):
                item.attrs[name]
    if isinstance(item, h5py.Dataset) and item.nbytes <= _LARGE:
        with contextlib.suppress(Exception):
            if not isinstance(item.id.get_type(), h5py.h5t.TypeVlenID):
                item[()]
