"""What all files of this package share: opening them with care, creating them without leaving half of one."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import h5py
import numpy as np

from landscape import journal
from landscape.errors import LandscapeError
from landscape.journal import Change as Change
from landscape.journal import deferred_interrupt as deferred_interrupt
from landscape.journal import lock
from landscape.remnants import remove_remnants, temporary_name
from landscape.signatures import refuse_checkpoint

PathLike: TypeAlias = str | os.PathLike[str]

_FORMATS = ("landscape/trajectory", "landscape/surface", "landscape/measures")
# What is kept so as not to be computed twice; nobody opens it by hand.
_KEPT = ("landscape/distances",)
# What h5py, NumPy and json raise at bytes that are not what they should be.
FAULTS = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError),
    *(RuntimeError, SystemError, TypeError, ValueError),
)
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
        with damage(path):
            newest = integer_attr(file, "schema", default=1)
        if newest > schema:
            raise LandscapeError(
                f"written by a newer version (schema {newest}; this version reads {schema})",
                where=path,
                mend="upgrade loss-landscape-toolkit",
            )
        _refuse_outside_links(file, path)
        yield file


@contextmanager
def damage(path: PathLike, what: str = "the file is damaged") -> Iterator[None]:
    """Whatever reading an open file raises in the body becomes one `LandscapeError`.

    Args:
        path: The file.
        what: What to say of it.
    """
    try:
        yield
    except FAULTS as error:
        raise LandscapeError(what, where=path, got=_reason(error), mend="restore it from a copy") from error


def kind_of(path: PathLike) -> str:
    """What kind of file this is.

    Args:
        path: The file.

    Returns:
        ``"landscape/trajectory"``, ``"landscape/surface"`` or ``"landscape/measures"``.

    Raises:
        LandscapeError: If it cannot be opened, or is none of these.
    """
    path = Path(path)
    with _open_any(path) as file:
        return _format_of(file, path)


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
    if stat.S_ISDIR(_mode(path) or 0):
        refuse_checkpoint(path)
    require_file(path)
    with _opened(path, "rb") as raw:
        lock(raw, shared=True)
        with damage(path, "the file is damaged or truncated"):
            found = journal.read_journal(raw)
            if found is None and not h5py.is_hdf5(path):
                refuse_checkpoint(path)
                raise LandscapeError("not an HDF5 file", where=path, expected=" or ".join(_FORMATS))
            file = _open_plainly(path) if found is None else h5py.File(journal.Overlay(raw, found), "r")
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
    mode = _mode(path)
    if mode is None:
        raise LandscapeError("no such file", where=path)
    _require_regular(path, mode, "a file")


def _mode(path: Path) -> int | None:
    """What is at a path, as `os.stat` has it; None where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise LandscapeError("this path cannot be used", where=repr(str(path)), got=_reason(error)) from error


def _require_regular(path: Path, mode: int, expected: str) -> None:
    if stat.S_ISDIR(mode):
        raise LandscapeError("this is a folder", where=path, expected=expected)
    if not stat.S_ISREG(mode):
        raise LandscapeError("this is a pipe or a device", where=path, expected=expected)


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[BinaryIO]:
    try:
        raw: Any = path.open(mode, buffering=0)
    except OSError as error:
        purpose = "read" if mode == "rb" else "written"
        raise LandscapeError(f"cannot be {purpose}", where=path, got=_reason(error)) from error
    with raw:
        yield raw


def _reason(error: BaseException) -> str:
    """The reason without HDF5's numbers and addresses behind it."""
    text = getattr(error, "strerror", None) or str(error).strip("\"'") or type(error).__name__
    if text.startswith(("Unable", "Can't")) and text.endswith(")"):
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
    except FAULTS as error:
        mend = "restore it from a copy"
        raise LandscapeError("the file is damaged", where=path, got="unreadable links", mend=mend) from error
    if refused is not None:
        raise LandscapeError(refused, where=path)


@contextmanager
def change(path: PathLike, *, wait_for_readers: bool = True) -> Iterator[Change]:
    """Change an existing HDF5 file wholly or not at all; an interrupt waits until it is done.

    Args:
        path: The file.
        wait_for_readers: Give those who are reading it a while to end. A change that leaves the structure of
            the file as it is has no need to: a reader sees old or new values.

    Yields:
        The change under way: its ``file`` is open for reading and writing.

    Raises:
        LandscapeError: If the file is missing, not writable (the disk may be full), or being written by another
            process.
    """
    path = Path(path)
    require_file(path)
    with deferred_interrupt(), _opened(path, "r+b") as raw:
        # A lock that others can share means that only readers hold one.
        first, second = (None, 0.0) if wait_for_readers else (0.0, None)
        if not lock(raw, shared=False, patience=first) and not lock(raw, shared=True, patience=second):
            raise LandscapeError("another process is writing this file", where=path)
        with _writing(path), journal.change(raw) as under_way:
            yield under_way


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LandscapeError("cannot be written", where=path, got=_reason(error)) from error


def require_writable(path: PathLike, suffixes: Sequence[str] | None = None) -> None:
    """Check before long work that its result can be written; nothing is left behind.

    The folder may be missing where it could be created: whoever writes the result does that.

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
    mode = _mode(path)
    if mode is not None:
        _require_regular(path, mode, "the name of a file to write")
    nearest = next(folder for folder in path.absolute().parents if _mode(folder) is not None)
    # Names that do not exist yet may be too long for the file system.
    for name in path.parts:
        _mode(nearest / name)
    # Without a name, where the system can: a process that is killed here leaves nothing.
    with _creating(nearest), tempfile.TemporaryFile(dir=nearest, prefix=".landscape-"):
        remove_remnants(path)


@contextmanager
def _creating(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LandscapeError(
            "cannot write here", where=folder, got=_reason(error), mend="choose another folder"
        ) from error


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """A temporary name beside a file, renamed to it at the end, so that it never holds half a result.

    Args:
        path: The file to be written or replaced; folders that are missing are created.

    Yields:
        The name to write to. If the body raises, it is removed and the file is as it was.

    Raises:
        LandscapeError: If it cannot be written.
    """
    path = Path(path)
    with _creating(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_remnants(path)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with _writing(path):
            yield temporary
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def create(path: PathLike) -> Iterator[h5py.File]:
    """Write a new HDF5 file, or a new one in place of an old one: wholly or not at all.

    Args:
        path: The file; folders that are missing are created.

    Yields:
        The new file, empty.

    Raises:
        LandscapeError: If it cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w+b", buffering=0) as raw, journal.create(raw) as file:
        yield file


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
    text = read_attr(item, name)
    return default if text is None else json.loads(text)


def read_attr(item: h5py.Group | h5py.Dataset, name: str) -> Any:
    """An attribute as h5py has it, or None where there is none; raises what is in `FAULTS` if it is damaged."""
    if name not in item.attrs:
        return None
    # HDF5 crashes the process at a text whose type is damaged; then it is no longer one of texts.
    if isinstance(item.attrs.get_id(name).get_type(), h5py.h5t.TypeVlenID):
        raise TypeError(f"attribute '{name}' is a list of lists")
    return item.attrs[name]


def integer_attr(item: h5py.Group | h5py.Dataset, name: str, default: int | None = None) -> int:
    """An attribute that must be one whole number.

    Raises:
        LookupError: If there is none, and no default.
        TypeError: If it is something else.
    """
    value = read_attr(item, name)
    if value is None and default is not None:
        return default
    if value is None:
        raise LookupError(f"no attribute '{name}'")
    if not isinstance(value, np.integer):
        raise TypeError(f"attribute '{name}' is not a whole number")
    return int(value)
