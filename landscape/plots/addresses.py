"""Snapshots by name: FILE, FILE:STEP, FILE:BRANCH or FILE:BRANCH:STEP."""

from __future__ import annotations

from pathlib import Path

from landscape.errors import LandscapeError
from landscape.storage import parts_of
from landscape.trajectory import Snapshot, Trajectory, open_trajectory


def run_at(address: str) -> tuple[Trajectory, str]:
    """The run of an address, and its step.

    Args:
        address: A file, with a branch and a step behind colons, each of which may be left out. The step is a
            number, ``"first"`` or ``"last"``; the last where there is none.

    Raises:
        LandscapeError: If there is no such file or branch.
    """
    file, *rest = _split(address)
    run, step = open_trajectory(file), "last"
    for place, word in enumerate(rest):
        if place == len(rest) - 1 and (word.isdecimal() or word in ("first", "last")):
            step = word
        else:
            run = run.branches[word]
    return run, step


def snapshot_at(address: str) -> tuple[Trajectory, Snapshot]:
    """The run and the snapshot of an address; see `run_at`.

    Raises:
        LandscapeError: If there is no such file, branch or step.
    """
    run, step = run_at(address)
    return run, run[run.index_of(step)]


def _split(address: str) -> list[str]:
    """The file, which may have colons in its name, and the words behind it."""
    words = address.split(":")
    for count in range(len(words), 0, -1):
        file = Path(":".join(words[:count]))
        if file.is_file() or parts_of(file):
            return [":".join(words[:count]), *words[count:]]
    if len(words) > 3:
        raise LandscapeError("no such file", where=address, expected="FILE[:BRANCH][:STEP]")
    return [words[0]]


def short_name(address: str) -> str:
    """An address without folders and suffix, for a legend.

    Example:
        >>> short_name("runs/a.h5:800")
        'a:800'
    """
    file, *rest = _split(address)
    words = rest or address.split(":")[len(file.split(":")) :]
    return ":".join([Path(file).stem, *words])
