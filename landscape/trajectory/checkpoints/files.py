"""Which files are meant: patterns expanded, natural order, formats by content and ending."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from landscape.errors import LandscapeError
from landscape.signatures import START, kind_of_start
from landscape.storage import PathLike, require_file

SAFETENSORS = ".safetensors"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".t7", ".tar")
NUMPY = (".npz", ".npy")
ENDINGS = (*PICKLES, SAFETENSORS, *NUMPY)
# What Git keeps in place of a large file until that is fetched.
_LFS = b"version https://git-lfs.github.com/"


def find_paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    """The files and folders that are named, in the order in which they are given.

    A pattern (``*``, ``?``, ``[abc]``, ``**``) stands for all that match it in natural order: epoch2 before
    epoch10.

    Args:
        given: A path or pattern, or several.

    Returns:
        Paths that exist.

    Raises:
        LandscapeError: If a path does not exist or a pattern matches nothing.
    """
    several = [given] if isinstance(given, str | os.PathLike) else list(given)
    found = [path for one in several for path in _expand(os.fspath(one))]
    if not found:
        raise LandscapeError("no checkpoints are given", mend="name some, such as 'ckpts/epoch*.pt'")
    return found


def _expand(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if os.path.lexists(path):
        return [path]
    if glob.has_magic(given):
        # Path.glob takes no absolute patterns.
        matched = natural_order(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not matched:
            raise LandscapeError("no file matches this pattern", where=repr(given))
        return matched
    raise LandscapeError("no such file or folder", where=given)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sorted with numbers by their size.

    Example:
        >>> [path.name for path in natural_order([Path("epoch10.pt"), Path("epoch2.pt")])]
        ['epoch2.pt', 'epoch10.pt']
    """
    return sorted(paths, key=lambda path: [_natural(part) for part in path.parts])


def _natural(text: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"([0-9]+)", text)
    return [(1, int(piece), piece) if i % 2 else (0, 0, piece) for i, piece in enumerate(pieces)]


def differ_in_numbers_only(paths: Sequence[Path]) -> bool:
    """Whether several paths are one name with other numbers in it."""
    return len({re.sub(r"[0-9]+", "0", str(path)) for path in paths}) == 1


def holds_safetensors(path: Path, start: bytes) -> bool:
    """Return whether a file is one of safetensors rather than of `torch.save`: by its content, else by its ending.

    Args:
        path: The file.
        start: Its first bytes.

    Raises:
        LandscapeError: If it is a checkpoint by neither.
    """
    kind = kind_of_start(start)
    if kind is not None:
        return kind == "safetensors"
    name = path.name.lower()
    if name.endswith(ENDINGS):
        return name.endswith(SAFETENSORS)
    expected = ", ".join(ENDINGS) + " or a folder of them"
    raise LandscapeError(
        "not a checkpoint by its name", where=path, got=path.suffix or "no ending", expected=expected
    )


def read_start(path: Path) -> bytes:
    """The first bytes of a file, after checking that it can hold weights.

    Raises:
        LandscapeError: If it is missing, empty, unreadable, or a pointer of Git LFS instead of the file.
    """
    require_file(path)
    try:
        with path.open("rb") as raw:
            start = raw.read(START)
    except OSError as error:
        raise LandscapeError("cannot be read", where=path, got=error.strerror) from error
    if not start:
        raise LandscapeError("the file is empty", where=path)
    if start.startswith(_LFS):
        raise LandscapeError("a pointer of Git LFS, not the file itself", where=path, mend="run git lfs pull")
    return start
