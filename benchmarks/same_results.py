"""Comparison of the numbers that two checkouts give: ``python -m benchmarks.same_results OLD_PYTHON NEW_PYTHON``.

A table of commands and snippets (`benchmarks.same_cases`) is run by both Pythons, each in a fresh folder, on one
thread, with a clock under which nothing is chosen by measured time. What they print as JSON and every number in
the files that they write must be equal, bit for bit. Sentences may change as long as their numbers do not;
pictures may differ. Both are said. It leaves with 1 if anything else differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import same_cases, same_values

_WORKER = Path(__file__).with_name("same_worker.py")
# Inputs, and what says nothing about results.
_LEFT_OUT = {"cifar", "recipes", "__pycache__", "errors.txt"}


@dataclass
class Comparison:
    """Outcome of a case in both environments.

    Attributes:
        name: The case.
        seconds: Of the old and the new environment.
        values: How many were compared.
        faults: Differences, in words.
        sentences: Names of what is said in other words.
        pictures: How many are equal, and how many are not.
    """

    name: str
    seconds: tuple[float, float]
    values: int = 0
    faults: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    pictures: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def line(self) -> str:
        """A row of the table."""
        said = f"DIFFERENT: {self.faults[0]}" if self.faults else "equal"
        more = [f"{len(self.faults) - 1} more"] if len(self.faults) > 1 else []
        more += [f"pictures {self.pictures[0]} equal, {self.pictures[1]} different"] if any(self.pictures) else []
        more += [f"{len(self.sentences)} reworded, first {self.sentences[0]}"] if self.sentences else []
        spent = " ".join(f"{seconds:6.1f}" for seconds in self.seconds)
        return f"{self.name:<16} {self.values:>9,} {spent}  {'; '.join([said, *more])}"


def main(arguments: list[str] | None = None) -> int:
    """Run, compare, and print a table; 0 if all is equal."""
    parser = argparse.ArgumentParser("python -m benchmarks.same_results", description=main.__doc__)
    parser.add_argument("old", type=Path, help="the Python of the one checkout")
    parser.add_argument("new", type=Path, help="the Python of the other")
    parser.add_argument("--only", default="*", metavar="GLOB", help="cases whose names match, and what they need")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="an empty folder for all files (default: none)")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="2 runs both at the same time")
    given = parser.parse_args(arguments)
    cases = same_cases.cases(given.only)
    if not cases:
        parser.error(f"no case matches {given.only}")
    with tempfile.TemporaryDirectory() as spare:
        home = given.keep or Path(spare)
        pythons = {"old": given.old.absolute(), "new": given.new.absolute()}
        figures = _checkout(pythons["old"]) / "figures"
        with ThreadPoolExecutor(given.jobs) as pool:
            runs = pool.map(lambda name: _run(pythons[name], home / name, figures, cases), pythons)
            old, new = list(runs)
        found = compare(home / "old", home / "new", old, new)
    print(f"{'case':<16} {'values':>9}    old    new")
    for comparison in found:
        print(comparison.line)
    faulty = sum(bool(comparison.faults) for comparison in found)
    total = sum(comparison.values for comparison in found)
    different = sum(comparison.pictures[1] for comparison in found)
    print(f"{len(found)} cases, {total:,} values, {faulty} different; {different} pictures different")
    return int(faulty > 0)


def compare(old: Path, new: Path, ran: list[dict[str, Any]], again: list[dict[str, Any]]) -> list[Comparison]:
    """Compare the files that cases left in two folders.

    Args:
        old: The folder of the one environment.
        new: That of the other.
        ran: Of each case in `old` its ``name``, ``code``, ``seconds`` and ``files``.
        again: The same of `new`.
    """
    found = []
    for left, right in zip(ran, again, strict=True):
        comparison = Comparison(left["name"], (left["seconds"], right["seconds"]))
        if left["code"] or right["code"]:
            comparison.faults.append(f"exit codes {left['code']} and {right['code']}, see errors.txt (--keep)")
        for name in sorted(left["files"] | right["files"]):
            _compare_file(name, old, new, comparison)
        found.append(comparison)
    return found


def _compare_file(name: str, old: Path, new: Path, comparison: Comparison) -> None:
    paths = [home / name for home in (old, new)]
    if not all(path.exists() for path in paths):
        comparison.faults.append(f"{name} is {'new' if paths[1].exists() else 'gone'}")
        return
    if paths[0].suffix in same_values.PICTURES:
        comparison.pictures[paths[0].read_bytes() != paths[1].read_bytes()] += 1
        return
    left, right = (same_values.entries_of(home / name, home.resolve()) for home in (old, new))
    comparison.values += same_values.count(left)
    if said := same_values.difference(left, right):
        comparison.faults.append(f"{name} {said}")
    else:
        comparison.sentences += [f"{name} {entry}" for entry in same_values.reworded(left, right)]


def _run(python: Path, folder: Path, figures: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run all cases in a fresh folder; what became of each, and the files that it wrote."""
    folder.mkdir(parents=True)
    same_cases.prepare(folder, figures)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    hidden = {"LANDSCAPE_DATA", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | threads
    # Sets of names are gone through in an order that this decides.
    environment["PYTHONHASHSEED"] = "0"
    # The folder of the worker is no place to import from.
    command = [str(python), "-P", str(_WORKER)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    done = []
    before = _states(folder)
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as worker:
        for case in cases:
            said = _ask(worker, case)
            after = _states(folder)
            done.append(said | {"files": {name for name, state in after.items() if before.get(name) != state}})
            before = after
            print(f"{folder.name}  {said['name']:<16} {said['code']} {said['seconds']:6.1f} s", file=sys.stderr)
    return done


def _ask(worker: subprocess.Popen[str], case: dict[str, Any]) -> dict[str, Any]:
    """Report of a worker on a case: its ``name``, exit ``code`` and ``seconds``."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(json.dumps(case) + "\n")
        worker.stdin.flush()
        return dict(json.loads(worker.stdout.readline()))
    except (BrokenPipeError, ValueError):
        return {"name": case["name"], "code": "died", "seconds": 0.0}


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    """File -> when it was written, and its size."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    named = {str(path.relative_to(folder)): path.stat() for path in files}
    return {
        name: (about.st_mtime_ns, about.st_size)
        for name, about in named.items()
        if _LEFT_OUT.isdisjoint(Path(name).parts)
    }


def _checkout(python: Path) -> Path:
    """The folder that a Python has the package from."""
    command = [str(python), "-P", "-c", "import landscape; print(landscape.__file__)"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()).parents[1]


if __name__ == "__main__":
    sys.exit(main())
