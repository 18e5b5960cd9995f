"""The folder that results are kept in, by key, each with a record of how it was made; it may be deleted."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from landscape.errors import LandscapeError
from landscape.journal import lock
from landscape.recipe.steps import Step
from landscape.storage import atomic_path, versions

# Beside the recipes; hidden, since it may be deleted at any time.
CACHE = ".landscape-cache"
FORMAT = "cache of results"
# Seconds between two looks at a lock that another process holds.
_PAUSE = 0.2


class Cache:
    """Results by key.

    A result counts only when its record is there, which is written last. What a killed step leaves without
    a record is what it resumes from.

    Args:
        folder: The folder; made when the first result is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, key: str, suffix: str = ".h5") -> Path:
        """Where a result is, or will be."""
        return self.folder / kind / f"{key}{suffix}"

    def record(self, step: Step) -> dict[str, Any] | None:
        """Return how a step was made: files, seconds and versions; None if it is not done or files are gone."""
        found = _read_record(self.path(step.kind, step.key, ".json"))
        if found is None:
            return None
        whole = all(
            (file := self.path(step.kind, step.key, suffix)).is_file() and file.stat().st_size == about["size"]
            for suffix, about in found["files"].items()
        )
        return found if whole else None

    def complete(self, step: Step, suffixes: Sequence[str], about: Mapping[str, Any]) -> None:
        """Write the record of a step that is done."""
        files = {suffix: _describe(self.path(step.kind, step.key, suffix)) for suffix in suffixes}
        entries = {
            "title": step.title,
            "settings": dict(step.settings),
            "inputs": dict(step.inputs),
            "needs": list(step.needs),
            "pace": step.pace,
            "units": step.units,
            "files": files,
            "versions": versions(),
            **about,
        }
        with atomic_path(self.path(step.kind, step.key, ".json")) as draft:
            draft.write_text(json.dumps(entries, indent=1, sort_keys=True))

    def remove(self, step: Step) -> None:
        """Forget a step: first that it is done, then its files."""
        record = self.path(step.kind, step.key, ".json")
        record.unlink(missing_ok=True)
        for file in record.parent.glob(f"{step.key}*"):
            if file.suffix != ".lock":
                file.unlink(missing_ok=True)

    def begun(self, step: Step) -> bool:
        """Return whether an earlier attempt left something to resume from."""
        return self.path(step.kind, step.key).exists()

    @contextmanager
    def holding(self, step: Step, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold a step alone; another process that makes it is waited for. A process that dies lets go.

        Args:
            step: The step.
            waiting: Called before the wait for another process.
        """
        path = self.path(step.kind, step.key, ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._mark()
        with path.open("ab", buffering=0) as raw:
            if not lock(raw, shared=False, patience=0.0):
                waiting()
                while not lock(raw, shared=False, patience=0.0):
                    time.sleep(_PAUSE)
            yield

    def _mark(self) -> None:
        """Keep the folder out of repositories and backups."""
        for name, text in (
            (".gitignore", "*\n"),
            ("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
        ):
            if not (self.folder / name).exists():
                with suppress(FileExistsError), (self.folder / name).open("x") as file:
                    file.write(text)

    def titles(self, kind: str) -> set[str]:
        """The titles of all steps of a kind that were made here, of whatever key."""
        return {str(entries.get("title")) for entries in _records(self.folder, kind).values()}

    def paces(self) -> dict[str, float]:
        """Pace -> seconds per unit, from the records of all steps that were made in one go."""
        found: dict[str, tuple[float, float]] = {}
        for entries in _records(self.folder).values():
            if not entries.get("resumed"):
                seconds, units = found.get(entries["pace"], (0.0, 0.0))
                found[entries["pace"]] = (seconds + entries["seconds"], units + entries["units"])
        return {pace: seconds / units for pace, (seconds, units) in found.items() if units > 0}


def _read_record(path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none, or one that is damaged: the step is then made again."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    wanted = {"files": dict, "seconds": float, "pace": str, "units": float}
    sound = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in wanted.items())
    files = found["files"].values() if sound else ()
    described = all(isinstance(one, dict) and {"size", "sha256"} <= one.keys() for one in files)
    return found if sound and described else None


def is_cache(folder: Path) -> bool:
    """Return whether a folder is one of results: it has a record of ours."""
    return folder.is_dir() and any(_read_record(path) for path in folder.glob("*/*.json"))


def describe_cache(folder: Path) -> dict[str, Any]:
    """Describe a folder of results, as plain values for `landscape inspect`.

    Args:
        folder: The folder.

    Returns:
        format, steps (kind -> how many are done), bytes (of their files), begun (files of steps that are not).
    """
    records = _records(folder)
    done = {file for path, entries in records.items() for file in _files(path, entries)}
    others = [file for file in folder.glob("*/*.*") if file not in done and file.suffix not in (".json", ".lock")]
    return {
        "format": FORMAT,
        "steps": dict(Counter(path.parent.name for path in sorted(records))),
        "bytes": sum(about["size"] for entries in records.values() for about in entries["files"].values()),
        "begun": sorted(str(file.relative_to(folder)) for file in others),
    }


def verify_cache(folder: Path) -> int:
    """Compare all files of the steps that are done with their records.

    Returns:
        How many files there are.

    Raises:
        LandscapeError: If one is not what was written, or is missing.
    """
    count = 0
    for path, entries in _records(folder).items():
        for file, digest in _files(path, entries).items():
            if not file.is_file() or digest_of_file(file) != digest:
                got = "no such file" if not file.exists() else "something else than was written"
                mend = "remove it, and run the same recipe to make it again"
                raise LandscapeError("a result in the cache is damaged", where=file, got=got, mend=mend)
            count += 1
    return count


def _records(folder: Path, kind: str = "*") -> dict[Path, dict[str, Any]]:
    found = {path: _read_record(path) for path in sorted(folder.glob(f"{kind}/*.json"))}
    return {path: entries for path, entries in found.items() if entries is not None}


def _files(record: Path, entries: Mapping[str, Any]) -> dict[Path, str]:
    """Files of a step by their paths -> their digests."""
    files = entries["files"].items()
    return {record.with_name(f"{record.stem}{suffix}"): about["sha256"] for suffix, about in files}


def _describe(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": digest_of_file(path)}


def digest_of_file(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_data(path: Path) -> str:
    """Digest a data set, wherever it lies: a file by its content, a folder by the names and sizes in it.

    Args:
        path: A file, which is read whole, or a folder.

    Returns:
        A digest; ``"missing"`` if there is nothing.
    """
    if path.is_file():
        return digest_of_file(path)
    if not path.is_dir():
        return "missing"
    said = hashlib.sha256()
    seen: set[str] = set()
    for folder, inner, _ in os.walk(path, followlinks=True):
        inner.sort()
        # Links may lead in circles.
        inner[:] = [] if (real := os.path.realpath(folder)) in seen else inner
        seen.add(real)
        said.update(f"{Path(folder).relative_to(path)}\n".encode())
        with os.scandir(folder) as entries:
            files = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
        said.update("".join(f"{name} {size}\n" for name, size in files).encode())
    return said.hexdigest()
