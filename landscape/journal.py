"""Changes to an HDF5 file that happen wholly or not at all, wherever the process is killed.

HDF5 rewrites its own structure in place, in several writes: when a chunk index splits, a process killed
between two of them leaves a file that cannot be read. Here new bytes go behind the end of the file, where
they count for nothing, and bytes to be changed in place are kept back. When the change is complete these are
written behind the end too, as a journal with a checksum, then put into their places, and the journal is cut
off. A file that ends in a journal is one killed in those last moments: the next to open it puts the bytes into
place again (or reads as if they were).
"""

from __future__ import annotations

import errno
import io
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

try:
    import fcntl
except ImportError:  # not on Windows, where HDF5 does not lock files either
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import h5py

Writes: TypeAlias = list[tuple[int, bytes]]  # (offset in the file, what belongs there)

# A writer holds a file for milliseconds; two seconds are a thousand of its turns.
_PATIENCE = 2.0
_MAGIC = b"landscape-journ1"
_RECORD = struct.Struct("<QQ")  # offset, number of bytes that follow
# What is written after a fault and not held any more: contents of datasets, which HDF5 does not read back.
_LARGE = 2**16
_FOOTER = struct.Struct("<16sQQI")  # magic, size of the file without the journal, bytes of records, CRC-32


@dataclass(frozen=True)
class Journal:
    """A change that is complete but may not be in place yet.

    Attributes:
        size: The size of the file when the journal is cut off, in bytes.
        writes: What belongs where, to be put there in this order.
    """

    size: int
    writes: Writes


class Overlay(io.RawIOBase):
    """A file as it will be after some writes, without making them in place.

    Bytes behind the old end of the file, or in ranges given to `scratch`, are written at once: nothing that
    counts is there. All others are kept in `held`. HDF5 never hears of an error of the file underneath: where a
    flush fails, it ends the process when the file is closed. The first error is kept in `fault`, and from then on
    nothing more is written.

    Args:
        raw: The file underneath; not closed with this object.
        journal: Writes to begin with.
    """

    def __init__(self, raw: BinaryIO, journal: Journal | None = None) -> None:
        super().__init__()
        self._raw = raw
        self._position = 0
        self._base = self.size = raw.seek(0, io.SEEK_END)
        self._scratch: list[tuple[int, int]] = []
        self._abandoned = False
        self.held: Writes = []
        self.fault: Exception | None = None
        if journal is not None:
            self._base = self.size = journal.size
            self.held = list(journal.writes)

    def scratch(self, offset: int, size: int) -> None:
        """Let a range be written at once, because nothing counts on what is in it."""
        self._scratch.append((offset, offset + size))

    def abandon(self) -> None:
        """Let all further writes do nothing: HDF5 must be able to close a file whose change has failed."""
        self._abandoned = True

    def cut_off(self) -> None:
        """Remove what was written behind the old end of the file."""
        self._raw.truncate(self._base)

    def readable(self) -> bool:  # noqa: D102
        return True

    def writable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def tell(self) -> int:  # noqa: D102
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = start + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Note the size that the file shall have; nothing is cut off yet."""
        self.size = self._position if size is None else size
        return self.size

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        view = memoryview(buffer).cast("B")
        start = self._position
        count = max(0, min(len(view), self.size - start))
        found = _read_fully(self._raw, start, view[:count])
        view[found:count] = bytes(count - found)
        for offset, data in self.held:
            low, high = max(offset, start), min(offset + len(data), start + count)
            if low < high:
                view[low - start : high - start] = data[low - offset : high - offset]
        self._position += count
        return count

    def write(self, data: Any) -> int:  # noqa: D102
        view = memoryview(data).cast("B")
        start, stop = self._position, self._position + len(view)
        self._position, self.size = stop, max(self.size, stop)
        if self._abandoned:
            return len(view)
        if self.fault is None:
            try:
                self._put(start, view)
            except (OSError, MemoryError) as error:
                self.fault = error
        if self.fault is not None and len(view) < _LARGE:
            self.held.append((start, bytes(view)))
        return len(view)

    def _put(self, start: int, view: memoryview) -> None:
        kept = 0
        if not any(low <= start and start + len(view) <= high for low, high in self._scratch):
            kept = max(0, min(len(view), self._base - start))
        if kept:
            self.held.append((start, bytes(view[:kept])))
        _write_fully(self._raw, start + kept, view[kept:])

    def check(self) -> None:
        """Raise the first error of the file underneath, if there was one."""
        if self.fault is not None:
            raise self.fault


class Change:
    """A change under way.

    Attributes:
        file: The HDF5 file as it will be.
    """

    def __init__(self, file: h5py.File, overlay: Overlay) -> None:
        self.file = file
        self._overlay = overlay

    def scratch(self, dataset: h5py.Dataset) -> None:
        """Write a contiguous dataset at once, because its old contents count for nothing.

        Saves writing it twice. If the process is killed, the dataset holds a mixture of old and new.
        """
        offset = dataset.id.get_offset()
        if offset is not None:
            self._overlay.scratch(offset, dataset.id.get_storage_size())

    def check(self) -> None:
        """Raise the first error of the file underneath: HDF5 does not hear of it."""
        self._overlay.check()


@contextmanager
def change(raw: BinaryIO) -> Iterator[Change]:
    """Open an HDF5 file for a change that happens wholly or not at all.

    Args:
        raw: The file, open for reading and writing, unbuffered (or in memory).

    Yields:
        The change: its `file` is an ordinary `h5py.File`. If the body raises, nothing has changed.

    Example:
        >>> with Path("run.h5").open("r+b", buffering=0) as raw, change(raw) as change_:
        ...     change_.file.attrs["answer"] = 42
    """
    import h5py

    recover(raw)
    overlay = Overlay(raw)
    with _closed(h5py.File(overlay, "r+"), overlay) as file:
        yield Change(file, overlay)
        file.close()
        overlay.check()
        _write_journal(raw, Journal(overlay.size, overlay.held))
    recover(raw)


@contextmanager
def create(raw: BinaryIO) -> Iterator[Change]:
    """Write a new HDF5 file, so that a full disk is an ordinary error and no file that HDF5 cannot close.

    Args:
        raw: An empty file, open for reading and writing, unbuffered (or in memory).

    Yields:
        The change that makes it.
    """
    import h5py

    overlay = Overlay(raw)
    with _closed(h5py.File(overlay, "w"), overlay) as file:
        yield Change(file, overlay)
        file.close()
        overlay.check()
        raw.truncate(overlay.size)


@contextmanager
def _closed(file: h5py.File, overlay: Overlay) -> Iterator[h5py.File]:
    """If the body raises, close the file and cut off what was written; the cause is raised, not its echo."""
    try:
        yield file
    except BaseException as error:
        overlay.abandon()
        with suppress(OSError, RuntimeError):
            file.close()
        # What is behind the end does no harm if it cannot be cut off.
        with suppress(OSError):
            overlay.cut_off()
        if overlay.fault is not None and overlay.fault is not error:
            raise overlay.fault from error
        raise


def _write_journal(raw: BinaryIO, journal: Journal) -> None:
    records = b"".join(_RECORD.pack(offset, len(data)) + data for offset, data in journal.writes)
    footer = _FOOTER.pack(_MAGIC, journal.size, len(records), _checksum(journal.size, records))
    end = raw.seek(0, io.SEEK_END)
    _write_fully(raw, max(end, journal.size), records + footer)


def read_journal(raw: BinaryIO) -> Journal | None:
    """The journal at the end of a file, or None where there is no complete one."""
    end = raw.seek(0, io.SEEK_END)
    if end < _FOOTER.size:
        return None
    magic, size, length, checksum = _FOOTER.unpack(read_at(raw, end - _FOOTER.size, _FOOTER.size))
    start = end - _FOOTER.size - length
    if magic != _MAGIC or start < size:
        return None
    records = read_at(raw, start, length)
    return Journal(size, _unpack(records)) if _checksum(size, records) == checksum else None


def _checksum(size: int, records: bytes) -> int:
    return zlib.crc32(records, zlib.crc32(str(size).encode()))


def _unpack(records: bytes) -> Writes:
    writes: Writes = []
    position = 0
    while position < len(records):
        offset, length = _RECORD.unpack_from(records, position)
        position += _RECORD.size
        writes.append((offset, records[position : position + length]))
        position += length
    return writes


def recover(raw: BinaryIO) -> bool:
    """Complete the change that a file's journal describes, if it has one.

    Args:
        raw: The file, open for reading and writing.

    Returns:
        Whether there was one. Doing this twice, or being killed while doing it, does no harm.
    """
    journal = read_journal(raw)
    if journal is None:
        return False
    for offset, data in journal.writes:
        _write_fully(raw, offset, memoryview(data))
    raw.truncate(journal.size)
    return True


def read_at(raw: BinaryIO | Overlay, offset: int, size: int) -> bytes:
    """Bytes from a place in a file; fewer at its end."""
    buffer = bytearray(size)
    return bytes(buffer[: _read_fully(raw, offset, memoryview(buffer))])


def _read_fully(raw: BinaryIO | Overlay, offset: int, view: memoryview) -> int:
    """Fill a buffer from a place in a file; how many bytes there were."""
    raw.seek(offset)
    found = 0
    while found < len(view):
        count = raw.readinto(view[found:])  # type: ignore[union-attr]
        if not count:
            break
        found += count
    return found


def _write_fully(raw: BinaryIO, offset: int, data: Sequence[int] | memoryview) -> None:
    raw.seek(offset)
    view = memoryview(data)  # type: ignore[arg-type]
    while len(view):
        view = view[raw.write(view) :]


def lock(raw: BinaryIO, *, shared: bool, patience: float | None = None) -> bool:
    """Wait a while for the lock that HDF5 itself uses; whether it was had (or there are no locks here).

    Args:
        raw: The file; closing it gives the lock back.
        shared: With other readers, or alone.
        patience: How long to wait, in seconds; two by default.
    """
    if fcntl is None:
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline, pause = time.monotonic() + (_PATIENCE if patience is None else patience), 0.001
    while True:
        try:
            fcntl.flock(raw.fileno(), kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.1)
        else:
            return True
