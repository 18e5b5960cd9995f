"""Names of files that the processes of one training write: ``run.rank0of4.h5`` and so on, read as ``run.h5``."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"(?P<stem>.*)\.rank(?P<rank>\d+|\*)of(?P<of>\d+)(?P<suffix>[^.]*|\.[^.]*)", re.DOTALL)


def part_path(path: Path, rank: int, of: int) -> Path:
    """The file of one process.

    Args:
        path: The name of all.
        rank: That of the process.
        of: Processes.

    Example:
        >>> part_path(Path("runs/run.h5"), 0, 4).as_posix()
        'runs/run.rank0of4.h5'
    """
    return path.with_name(f"{path.stem}.rank{rank}of{of}{path.suffix}")


def rank_in(path: Path) -> tuple[int, int] | None:
    """The rank and the number of processes that a name says; None where it says none."""
    found = _NAME.fullmatch(path.name)
    return None if found is None or found["rank"] == "*" else (int(found["rank"]), int(found["of"]))


def common_path(path: Path) -> Path:
    """The name of all, of the name of one or of a pattern.

    Example:
        >>> common_path(Path("run.rank*of4.h5")).name
        'run.h5'
    """
    found = _NAME.fullmatch(path.name)
    return path if found is None else path.with_name(found["stem"] + found["suffix"])


def parts_of(path: Path) -> tuple[Path, ...]:
    """The files of the processes behind a common name or a pattern, by rank; none where it is that of a file.

    Args:
        path: Such as ``run.h5`` or ``run.rank*of4.h5``.
    """
    pattern = _NAME.fullmatch(path.name)
    if path.exists() or (pattern is not None and pattern["rank"] != "*"):
        return ()
    of = r"\d+" if pattern is None else pattern["of"]
    common = common_path(path)
    name = re.compile(rf"{re.escape(common.stem)}\.rank\d+of{of}{re.escape(common.suffix)}")
    found = [one for one in path.parent.iterdir() if name.fullmatch(one.name)] if path.parent.is_dir() else []
    return tuple(sorted(found, key=lambda one: rank_in(one) or (0, 0)))
