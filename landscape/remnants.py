"""Temporary files beside those that are written, and what killed processes have left of them."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Numbers of processes mean nothing on another machine that shares the folder.
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
# What the usual file systems allow, in bytes.
_LONGEST = 255
# Ends the name of a temporary folder.
_FOLDER = ".d"


def temporary_name(name: str) -> str:
    """A name beside a file that others are not likely to take; a long one is shortened to a digest.

    Args:
        name: That of the file.

    Example:
        >>> temporary_name("run.h5").startswith(".run.h5.tmp-")
        True
    """
    return _beginning(name) + str(os.getpid())


def _beginning(name: str) -> str:
    ending = f".tmp-{_MACHINE}-"
    if len(os.fsencode(name)) + len(ending) + len(str(2**32)) + len(_FOLDER) + 1 > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}{ending}"


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside a file, for a library that writes under names of its own; it is removed at the end."""
    folder = path.with_name(temporary_name(path.name) + _FOLDER)
    try:
        folder.mkdir(exist_ok=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_remnants(path: Path) -> None:
    """Remove what processes of this machine that are gone left beside a file; live ones keep theirs."""
    beginning = _beginning(path.name)
    with suppress(OSError):
        for file in path.parent.iterdir():
            if file.name.startswith(beginning):
                number = file.name[len(beginning) :].removesuffix(_FOLDER)
                if re.fullmatch(r"\d+", number) and not _lives(int(number)):
                    shutil.rmtree(file) if file.is_dir() else file.unlink()


def _lives(process: int) -> bool:
    # Elsewhere signal 0 is no question.
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's.
        return True
    return True
