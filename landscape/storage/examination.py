"""Texts of variable length, read by another process first: where they are damaged, HDF5 loops for ever."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import h5py

from landscape.errors import LandscapeError

# The seconds of reading that a file is given: a sound one takes milliseconds.
_SECONDS = 4.0
# What the start of the other process may take on a machine that is busy.
_PATIENCE = 120.0
# Bytes that it may take beyond what it has when it begins.
_MEMORY = 2**29
_examined: set[tuple[int, int, int, int]] = set()


def examine(path: Path) -> None:
    """Let another process read all texts of variable length in a file, once for each state of the file.

    Raises:
        LandscapeError: If it does not come back from that.
    """
    found = path.stat()
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if key in _examined or not sys.executable:
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
            got="texts that HDF5 cannot read to an end",
            mend="restore it from a copy",
        )
    _examined.add(key)


def main() -> None:
    """Read all texts of variable length in the file that the command line names."""
    _limit()
    # Whoever reads the file after this meets the same exception and says so.
    with contextlib.suppress(Exception), h5py.File(sys.argv[1], "r", locking=False) as file:
        _read_texts(file)
        file.visititems(lambda _name, item: _read_texts(item))


def _limit() -> None:
    """End this process where HDF5 does not come back, in C code too."""
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + _MEMORY, used + _MEMORY))
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)


def _read_texts(item: h5py.Group | h5py.Dataset) -> None:
    for name in item.attrs:
        kind = item.attrs.get_id(name).get_type()
        if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
            with contextlib.suppress(Exception):
                item.attrs[name]
    if isinstance(item, h5py.Dataset):
        kind = item.id.get_type()
        if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
            with contextlib.suppress(Exception):
                item[()]
