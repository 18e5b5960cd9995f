"""What all files of this package share: opening them with care, creating them without leaving half of one."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import h5py

from landscape import journal
from landscape.errors import LandscapeError
from landscape.journal import Change as Change

try:
    import fcntl
except ImportError:  # not on Windows, where HDF5 does not lock files either
    fcntl = None  # type: ignore[assignment]

PathLike: TypeAlias = str | os.PathLike[str]

# A writer holds a file for milliseconds; two seconds are a thousand of its turns.
_PATIENCE = 2.0
_FORMATS = ("landscape/trajectory", "landscape/surface")
_DISTRIBUTIONS = {"landscape": "loss-landscape-toolkit", "torch": "torch", "numpy": "numpy", "h5py": "h5py"}


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
        >>> with open_read("run.h5", format="landscape/trajectory", schema=1) as file:
        ...     file.attrs["problem"]
    """
    path = Path(path)
    with _open_any(path) as file:
        found = _format_of(file, path)
        if found != format:
            raise LandscapeError("a file of another kind", where=path, got=found, expected=format)
        newest = int(file.attrs.get("schema", 1))
        if newest > schema:
            raise LandscapeError(
                f"written by a newer version (schema {newest}; this version reads {schema})",
                where=path,
                mend="upgrade loss-landscape-toolkit",
            )
        _refuse_outside_links(file, path)
        yield file


def kind_of(path: PathLike) -> str:
    """What kind of file this is.

    Args:
        path: The file.

    Returns:
        ``"landscape/trajectory"`` or ``"landscape/surface"``.

    Raises:
        LandscapeError: If it cannot be opened, or is neither.
    """
    path = Path(path)
    with _open_any(path) as file:
        return _format_of(file, path)


def _format_of(file: h5py.File, path: Path) -> str:
    found = file.attrs.get("format")
    if found not in _FORMATS:
        got = "an HDF5 file without a format attribute" if found is None else f"format {found!r}"
        raise LandscapeError("not a landscape file", where=path, got=got, expected=" or ".join(_FORMATS))
    return str(found)


@contextmanager
def _open_any(path: Path) -> Iterator[h5py.File]:
    require_file(path)
    with _opened(path, "rb") as raw:
        _lock(raw, shared=True)
        found = journal.read_journal(raw)
        if found is None and not h5py.is_hdf5(path):
            raise LandscapeError("not an HDF5 file", where=path, expected=" or ".join(_FORMATS))
        try:
            file = _open_plainly(path) if found is None else h5py.File(journal.Overlay(raw, found), "r")
        except OSError as error:
            raise LandscapeError(
                "the file is damaged or truncated", where=path, got=_reason(error), mend="restore it from a copy"
            ) from error
        with file:
            yield file


def _open_plainly(path: Path) -> h5py.File:
    """With HDF5's own lock if it can be had: some file systems have none, and someone may hold it for long."""
    try:
        return h5py.File(path, "r")
    except OSError:
        return h5py.File(path, "r", locking=False)


def require_file(path: Path) -> None:
    """Check that a path is that of an existing file.

    Raises:
        LandscapeError: If there is nothing, or a folder.
    """
    if not path.exists():
        raise LandscapeError("no such file", where=path)
    if path.is_dir():
        raise LandscapeError("this is a folder", where=path, expected="a file")


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[BinaryIO]:
    try:
        raw: Any = path.open(mode, buffering=0)
    except OSError as error:
        purpose = "read" if mode == "rb" else "written"
        raise LandscapeError(f"cannot be {purpose}", where=path, got=_reason(error)) from error
    with raw:
        yield raw


def _reason(error: OSError) -> str:
    """The reason without HDF5's numbers and addresses behind it."""
    text = error.strerror or str(error)
    if "(" in text and text.endswith(")"):
        text = text[text.index("(") + 1 : -1]
    return text.split(":")[0]


def _refuse_outside_links(file: h5py.File, path: Path) -> None:
    """Refuse links, external storage and virtual datasets: opening a file must read no other file."""

    def visit(name: bytes, info: Any) -> str | None:
        shown = name.decode(errors="replace")
        if info.type != h5py.h5l.TYPE_HARD:
            return f"'/{shown}' is a link, and such files are refused"
        item = h5py.h5o.open(file.id, name)
        if isinstance(item, h5py.h5d.DatasetID):
            creation = item.get_create_plist()
            if creation.get_external_count() or creation.get_layout() == h5py.h5d.VIRTUAL:
                return f"'/{shown}' has its data elsewhere, and such files are refused"
        return None

    try:
        refused = file.id.links.visit(visit, info=True)
    except (OSError, RuntimeError, KeyError, SystemError) as error:
        mend = "restore it from a copy"
        raise LandscapeError("the file is damaged", where=path, got="unreadable links", mend=mend) from error
    if refused is not None:
        raise LandscapeError(refused, where=path)


@contextmanager
def change(path: PathLike) -> Iterator[Change]:
    """Change an existing HDF5 file wholly or not at all; an interrupt waits until it is done.

    Args:
        path: The file.

    Yields:
        The change under way: its ``file`` is open for reading and writing.

    Raises:
        LandscapeError: If the file is missing, not writable, or being written by another process.
    """
    path = Path(path)
    require_file(path)
    with deferred_interrupt(), _opened(path, "r+b") as raw:
        if not _lock(raw, shared=False) and not _lock(raw, shared=True, patience=0.0):
            raise LandscapeError("another process is writing this file", where=path)
        with journal.change(raw) as under_way:
            yield under_way


def _lock(raw: BinaryIO, *, shared: bool, patience: float = _PATIENCE) -> bool:
    """Wait a while for the lock that HDF5 itself uses; whether it was had (or there are no locks here)."""
    if fcntl is None:
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline, pause = time.monotonic() + patience, 0.001
    while True:
        try:
            fcntl.flock(raw.fileno(), kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
        else:
            return True


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold back Ctrl-C until the body is done; in the main thread only, elsewhere it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple[int, Any]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        # None means a handler that was not installed from Python and cannot be put back from here.
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
    if caught:
        signal.raise_signal(signal.SIGINT)


def require_writable(path: PathLike, suffixes: Sequence[str] | None = None) -> None:
    """Check before long work that its result can be written; the folder is created if need be.

    Args:
        path: The file to be written.
        suffixes: The endings it may have, such as ``(".png", ".pdf")``; any if None.

    Raises:
        LandscapeError: If it cannot.
    """
    path = Path(path)
    if suffixes is not None and path.suffix.lower() not in suffixes:
        raise LandscapeError(
            "unknown file type", where=path, got=path.suffix or "no suffix", expected=" or ".join(suffixes)
        )
    if path.is_dir():
        raise LandscapeError("this is a folder", where=path, expected="the name of a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".landscape-"):
            pass
    except OSError as error:
        raise LandscapeError(
            "cannot write here", where=path.parent, got=_reason(error), mend="choose another folder"
        ) from error


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """A temporary name beside a file, renamed to it at the end, so that it never holds half a result.

    Args:
        path: The file to be written or replaced.

    Yields:
        The name to write to. If the body raises, it is removed and the file is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def versions() -> dict[str, str]:
    """The versions that a result was made with; torch is not imported.

    Returns:
        Of ``python``, ``landscape``, ``torch``, ``numpy`` and ``h5py``; ``"unknown"`` where one is not installed.
    """
    found = {"python": platform.python_version()}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def write_json_attr(item: h5py.Group | h5py.Dataset, name: str, value: Any) -> None:
    """Store a plain value as JSON in an attribute.

    Raises:
        LandscapeError: If it is not made of dictionaries, lists, strings, numbers, booleans and None.
    """
    try:
        item.attrs[name] = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise LandscapeError(f"cannot be stored as JSON: {error}", where=name) from error


def read_json_attr(item: h5py.Group | h5py.Dataset, name: str, default: Any = None) -> Any:
    """The value that `write_json_attr` stored, or the default where there is none."""
    text = item.attrs.get(name)
    return default if text is None else json.loads(text)
