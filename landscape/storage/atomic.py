"""Replacing a file of any kind wholly or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landscape.remnants import remove_remnants, temporary_name
from landscape.storage.faults import creating, writing


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside a file, renamed to it at the end, so that it never holds half a result.

    Args:
        path: The file to be written or replaced; folders that are missing are created.

    Yields:
        The name to write to. If the body raises, it is removed and the file is as it was.

    Raises:
        LandscapeError: If it cannot be written.
    """
    path = Path(path)
    with creating(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_remnants(path)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with writing(path):
            yield temporary
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
