"""Temporary files beside those that are written, and what killed processes have left of them."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

# Numbers of processes mean nothing on another machine that shares the folder.
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
# What the usual file systems allow, in bytes.
_LONGEST = 255


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
    if len(os.fsencode(name)) + len(ending) + len(str(2**32)) + 1 > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}{ending}"


def remove_remnants(path: Path) -> None:
    """Remove temporary files beside a file whose processes on this machine are gone; live ones keep theirs."""
    beginning = _beginning(path.name)
    with suppress(OSError):
        for file in path.parent.iterdir():
            if file.name.startswith(beginning):
                number = re.fullmatch(r"\d+", file.name[len(beginning) :])
                if number and not _lives(int(number[0])):
                    file.unlink()


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
