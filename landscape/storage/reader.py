"""Opening files for reading: what is damaged, foreign, newer or hostile is refused in one line."""

from __future__ import annotations

import itertools
import os
import stat
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import h5py

from landscape import journal
from landscape.errors import LandscapeError, LandscapeWarning
from landscape.journal import lock
from landscape.signatures import refuse_checkpoint
from landscape.storage.attributes import integer_attr, read_attr
from landscape.storage.claims import require_modest
from landscape.storage.digests import lacking
from landscape.storage.examination import require_readable
from landscape.storage.faults import FAULTS, damage, reason
from landscape.storage.part_names import parts_of

PathLike: TypeAlias = str | os.PathLike[str]
Read = TypeVar("Read")

_FORMATS = ("landscape/trajectory", "landscape/surface", "landscape/measures")
# What is kept so as not to be computed twice, and tables for other programs: `landscape inspect` reads these too.
_KEPT = ("landscape/distances", "landscape/cells", "landscape/table")
# How often a file is read again that was changed meanwhile.
_TRIES = 200
# Seconds between two of them at most.
_PAUSE = 0.02
# Seconds within which a file system may give two changes the same time.
_TICK = 0.05
# Files without digests that a warning was given of, by device and number.
_warned: set[tuple[int, int]] = set()
# The state in which the claims of a file were checked: going through its datasets takes longer than reading one.
_modest: dict[Path, tuple[int, ...]] = {}


@contextmanager
def open_read(path: PathLike, *, format: str, schema: int) -> Iterator[h5py.File]:
    """Open one of our files for reading, refusing what is damaged, foreign, newer, or reaches outside itself.

    A file that is being written is waited for. A file whose writer was killed is read as of its last
    complete change; nothing is written.

    Args:
        path: The file.
        format: What its ``format`` attribute must be.
        schema: The newest ``schema`` that the caller can read.

    Yields:
        The open file.

    Raises:
        LandscapeError: If it cannot be opened, or is refused.

    Example:
        >>> with open_read("run.h5", format="landscape/trajectory", schema=3) as file:
        ...     read_attr(file, "problem")
        'digits-mlp'
    """
    path = Path(path)
    state, settled = state_of(path), not _is_fresh(path)
    with _open_any(path) as file:
        found = _format_of(file, path)
        if found != format:
            raise LandscapeError("a file of another kind", where=path, got=found, expected=format)
        with damage(path):
            newest = integer_attr(file, "schema", default=1)
        if newest > schema:
            raise LandscapeError(
                f"written by a newer version (schema {newest}; this version reads {schema})",
                where=path,
                mend="upgrade loss-landscape-toolkit",
            )
        if not settled or _modest.get(path.absolute()) != state:
            require_modest(file, path)
        if settled:
            _modest[path.absolute()] = state
        with damage(path):
            without = lacking(file)
        if without is not None:
            _warn_once(path, without)
        yield file


def _warn_once(path: Path, without: str) -> None:
    """Warn of a file in which damage cannot be noticed, the first time that it is opened."""
    found = path.stat()
    key = (found.st_dev, found.st_ino)
    if key not in _warned:
        _warned.add(key)
        warnings.warn(f"{path}: {without}", LandscapeWarning, stacklevel=2)


def kind_of(path: PathLike) -> str:
    """Return the kind of a file.

    Args:
        path: The file.

    Returns:
        ``"landscape/trajectory"``, ``"landscape/surface"``, ``"landscape/measures"``, ``"landscape/distances"``,
        ``"landscape/cells"`` or ``"landscape/table"``.

    Raises:
        LandscapeError: If it cannot be opened, or is none of these.
    """
    path = _first_of(Path(path))

    def read() -> str:
        with _open_any(path) as file:
            return _format_of(file, path)

    return steadily(path, read)


def lacks_digests(path: PathLike) -> str | None:
    """Say what of a file cannot be verified, because an older version wrote it; None if all can.

    Raises:
        LandscapeError: If it cannot be opened, or is none of ours.
    """
    path = _first_of(Path(path))

    def read() -> str | None:
        with _open_any(path) as file:
            _format_of(file, path)
            with damage(path):
                return lacking(file)

    return steadily(path, read)


def _first_of(path: Path) -> Path:
    """The file itself, or the first of those whose common name it is."""
    return next(iter(parts_of(path)), path)


def _format_of(file: h5py.File, path: Path) -> str:
    with damage(path):
        found = read_attr(file, "format")
    if isinstance(found, str) and found in (*_FORMATS, *_KEPT):
        return found
    got = "an HDF5 file without a format attribute"
    if found is not None:
        got = f"format {found!r}" if isinstance(found, str) else "a format attribute that is not text"
    raise LandscapeError("not a landscape file", where=path, got=got, expected=" or ".join(_FORMATS))


@contextmanager
def _open_any(path: Path) -> Iterator[h5py.File]:
    if stat.S_ISDIR(mode_of(path) or 0):
        refuse_checkpoint(path)
    require_file(path)
    with opened(path, "rb") as raw:
        lock(raw, shared=True)
        with damage(path, "the file is damaged or truncated"):
            found = journal.read_journal(raw)
            if found is None and not h5py.is_hdf5(path):
                refuse_checkpoint(path)
                raise LandscapeError(
                    "not an HDF5 file",
                    where=path,
                    expected=" or ".join(_FORMATS),
                    mend="give a file that landscape train, landscape import or landscape plot --save wrote",
                )
            view = raw if found is None else journal.Overlay(raw, found)
            require_readable(path, view)
            file = _open_plainly(path) if found is None else h5py.File(view, "r")
        try:
            yield file
        finally:
            # What was read has been judged where it was read.
            with suppress(*FAULTS):
                file.close()


def _open_plainly(path: Path) -> h5py.File:
    """With HDF5's own lock if it can be had: some file systems have none, and someone may hold it for long."""
    try:
        return h5py.File(path, "r")
    except OSError:
        return h5py.File(path, "r", locking=False)


def require_file(path: Path) -> None:
    """Check that a path is that of an existing file.

    Raises:
        LandscapeError: If there is nothing, a folder, or something that is no file (a pipe, a device).
    """
    mode = mode_of(path)
    if mode is None:
        raise LandscapeError("no such file", where=path)
    require_regular(path, mode, "a file")


def mode_of(path: Path) -> int | None:
    """Return the mode of a path, as `os.stat` has it; None if nothing is there."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise LandscapeError("this path cannot be used", where=repr(str(path)), got=reason(error)) from error


def require_regular(path: Path, mode: int, expected: str) -> None:
    """Check that what is at a path is a file.

    Raises:
        LandscapeError: If it is a folder, a pipe or a device.
    """
    if stat.S_ISDIR(mode):
        raise LandscapeError("this is a folder", where=path, expected=expected)
    if not stat.S_ISREG(mode):
        raise LandscapeError("this is a pipe or a device", where=path, expected=expected)


@contextmanager
def opened(path: Path, mode: str) -> Iterator[BinaryIO]:
    """Open a file without a buffer.

    Raises:
        LandscapeError: If it cannot be opened.
    """
    try:
        raw: Any = path.open(mode, buffering=0)
    except OSError as error:
        purpose = "read" if mode == "rb" else "written"
        raise LandscapeError(f"cannot be {purpose}", where=path, got=reason(error)) from error
    with raw:
        yield raw


def steadily(path: PathLike, read: Callable[[], Read]) -> Read:
    """Read a file, and once more where it seems damaged and a writer may have changed it meanwhile.

    A writer does not wait for readers, so that one may see half of a change.

    Args:
        path: The file.
        read: Opens it and reads.
    """
    return next(steadily_each(path, lambda: iter((read(),))))


def steadily_each(path: PathLike, read: Callable[[], Iterator[Read]]) -> Iterator[Read]:
    """The same for what is read piece by piece: what was given already is passed over.

    Args:
        path: The file.
        read: Opens it and gives the same pieces each time.
    """
    done = attempt = 0
    while True:
        # Changes within a tick of the clock have the same time: only of a file that was left alone for longer
        # does it say that nothing was written while it was read.
        before, settled = state_of(path), not _is_fresh(path)
        try:
            for piece in itertools.islice(read(), done, None):
                yield piece
                done, attempt = done + 1, 0
        except LandscapeError:
            attempt += 1
            if attempt == _TRIES or (settled and state_of(path) == before):
                raise
            time.sleep(min(0.001 * 2**attempt, _PAUSE))
        else:
            return


def _is_fresh(path: PathLike) -> bool:
    """Return whether a file was written a moment ago, or one of those whose common name it is."""
    with suppress(OSError, ValueError):
        files = parts_of(Path(path)) or (Path(path),)
        return any(abs(time.time() - one.stat().st_mtime) < _TICK for one in files)
    return False


def state_of(path: PathLike) -> tuple[int, ...]:
    """Return numbers that change when a file does, or one of those whose common name it is."""
    with suppress(OSError, ValueError):
        states = [one.stat() for one in parts_of(Path(path)) or (Path(path),)]
        return tuple(number for one in states for number in (one.st_ino, one.st_size, one.st_mtime_ns))
    return ()
