"""The one exception that users catch, and how its message is put together."""

from __future__ import annotations

import difflib
import errno
import importlib
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class LandscapeError(Exception):
    """Something in the user's input is wrong; the message is one line and says how to mend it.

    Args:
        what: What is wrong, as a plain statement.
        where: The file, option, tensor or argument it was found in.
        got: What was received.
        expected: What would have been right.
        mend: What to do about it.

    Example:
        >>> raise LandscapeError("radius must be positive", where="--radius", got=0, mend="try --radius 1")
        Traceback (most recent call last):
        landscape.errors.LandscapeError: --radius: radius must be positive; got 0; try --radius 1
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        got: object = None,
        expected: object = None,
        mend: str | None = None,
    ) -> None:
        parts = [what if where is None else f"{where}: {what}"]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if mend is not None:
            parts.append(mend)
        super().__init__(" ".join("; ".join(parts).split()))


class MachineError(LandscapeError):
    """The machine lacks something, room on a disk or memory, where the input may be right; the command exits 1."""


class LandscapeWarning(UserWarning):
    """Something about the user's input that is worth knowing, where the work goes on."""


def reason_of(error: BaseException) -> str:
    """Return the message of an exception in one line: its first line, or its class if it has none."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


# What NumPy, HDF5, torch and the system's loader say where memory cannot be had.
_MEMORY_WORDS = (
    *("allocate memory", "memory allocation", "unable to allocate", "bad_alloc", "out of memory"),
    "failed to map segment",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception, of whatever library, says that memory could not be had."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # A library that cannot be mapped is an ImportError; a thread without a stack a RuntimeError.
    text = str(error).lower()
    return any(words in text for words in (*_MEMORY_WORDS, "can't start new thread"))


def out_of_memory(where: object = None) -> MachineError:
    """The error to raise where memory could not be had."""
    mend = "free some memory, or raise the limit (ulimit -v, the memory of the job)"
    return MachineError("there is not enough memory", where=where, mend=mend)


def from_user_code(error: BaseException, where: object = None, mend: str | None = None) -> LandscapeError:
    """An exception that code of the user's raised, as one line that says where.

    Args:
        error: The exception.
        where: What to name where no line of theirs is on its way.
        mend: What to do about it.

    Returns:
        The error to raise from it.
    """
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_installed(frame.filename)]
    place = f"{theirs[-1].filename}:{theirs[-1].lineno}" if theirs else where
    text = f"raised {type(error).__name__}: {error}"
    return LandscapeError(text, where=place or "the model or the loss", mend=mend)


def _is_installed(file: str) -> bool:
    """Return whether a file belongs to this package, to another that is installed, or to Python."""
    path = Path(file).resolve()
    homes = (Path(__file__).resolve().parent, *(Path(sysconfig.get_path(kind)) for kind in ("purelib", "stdlib")))
    return (
        any(path.is_relative_to(home) for home in homes) or "site-packages" in path.parts or file.startswith("<")
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name, as a suggestion for an error message.

    Args:
        name: What the user wrote.
        known: The names that exist.

    Returns:
        ``"did you mean 'x'?"`` where something is close, otherwise ``"choose from a, b, c"``.

    Example:
        >>> did_you_mean("digit-mlp", ["digits-mlp", "toy-quadratic"])
        "did you mean 'digits-mlp'?"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else "choose from " + ", ".join(names)


def optional(module: str, where: str, distribution: str | None = None) -> Any:
    """Import a module of a package that the rest of this one does without.

    Args:
        module: Its name.
        where: What needs it.
        distribution: The name by which it is installed, where that is another.

    Raises:
        LandscapeError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = distribution or module.partition(".")[0]
        mend = f"pip install {package}"
        raise LandscapeError(f"{package} is not installed", where=where, mend=mend) from error
