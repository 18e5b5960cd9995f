"""Coverage of intervals, against their nominal rate: ``python -m benchmarks.coverage``.

Every estimator with an interval or a standard error is drawn 500 times on problems whose truth is known, and the
intervals that hold it are counted. A rate is called off where the 99.9 % interval of Wilson around it, over the
draws that the estimator did not refuse, leaves the nominal rate out: with some fifty rows a sound page has about
one chance in twenty of a row that is called off.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from scipy import stats

from benchmarks.coverage_cases import Case
from benchmarks.coverage_table import CASES

_HERE = Path(__file__).parent
_TIMES = 500
# Of the Wilson interval that is printed, and of the one that decides.
_SHOWN, _DECIDES = 0.95, 0.999
_HEAD = """# Coverage of intervals

Written by `python -m benchmarks.coverage` ({times} repetitions of each, seeds 0 to {last}; torch {torch}). Where
an estimator gives a standard error, the interval is that of Student's t with the degrees of freedom of its draws,
or the normal one where there are many. *Refused* are draws of which the estimator itself says that they have not
converged, with the reason. Coverage is that of the others; *wrong* is the share of all repetitions that claim an
interval which misses. *off* stands where the 99.9 % interval of Wilson leaves the nominal rate out; an estimator
that refuses by what it has drawn answers for *wrong* alone.

{table}

{notes}"""


def wilson(covered: int, times: int, level: float = _SHOWN) -> tuple[float, float]:
    """The interval of Wilson 1927 of a share.

    Example:
        >>> [round(end, 4) for end in wilson(475, 500)]
        [0.9272, 0.9659]
    """
    z = float(stats.norm.ppf((1 + level) / 2))
    share, scale = covered / times, 1 + z * z / times
    middle = (share + z * z / (2 * times)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / times + z * z / (4 * times * times))
    return middle - half, middle + half


def count(name: str, seeds: Iterable[int]) -> tuple[int, int]:
    """Count the intervals of a case that hold the truth, and the draws that it refuses."""
    torch.set_num_threads(1)
    case = CASES[name]()
    covered = refused = 0
    for seed in seeds:
        found = case.draw(seed)
        if found is None:
            refused += 1
        else:
            covered += found[0] <= case.truth <= found[1]
    return covered, refused


def verdict(covered: int, refused: int, times: int, nominal: float) -> str:
    """Judge the nominal rate by a count.

    What is refused by what was drawn leaves samples that are not like all: of these few may be right, if they are
    few enough.
    """
    low, high = wilson(covered, times - refused, _DECIDES) if refused < times else (0.0, 1.0)
    if refused:
        wrong, _ = wilson(times - refused - covered, times, _DECIDES)
        return "off: too narrow" if wrong > 1 - nominal else "off: too wide" if low > nominal else ""
    return "" if low <= nominal <= high else "off: too narrow" if high < nominal else "off: too wide"


def row(case: Case, times: int, covered: int, refused: int) -> str:
    """A line of the table."""
    answered = times - refused
    shown = "" if not answered else "{:.1%} to {:.1%}".format(*wilson(covered, answered))
    cells = [case.estimator, case.problem, f"{case.truth:.6g}", f"{case.nominal:.0%}"]
    wrong = f"{(answered - covered) / times:.1%}"
    cells += [f"{covered} of {answered}", shown, str(refused), wrong]
    cells.append(verdict(covered, refused, times, case.nominal))
    return "| " + " | ".join(cells) + " |"


def page(counts: dict[str, tuple[int, int]], times: int) -> str:
    """The whole page."""
    head = ["estimator", "problem", "truth", "nominal", "covered", "Wilson, 95 %", "refused", "wrong", ""]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    lines += [row(CASES[name](), times, *found) for name, found in counts.items()]
    missing = [name for name in CASES if name not in counts]
    lines += ["", f"Declared and not counted here: {', '.join(missing)}."] if missing else []
    notes = (_HERE / "COVERAGE_NOTES.md").read_text()
    return _HEAD.format(times=times, last=times - 1, torch=torch.__version__, table="\n".join(lines), notes=notes)


def main(arguments: list[str] | None = None) -> None:
    """Count, and write the page."""
    parser = argparse.ArgumentParser("python -m benchmarks.coverage", description=main.__doc__)
    parser.add_argument("--only", help="cases whose name holds this, into no page")
    parser.add_argument("--times", type=int, default=_TIMES, help="repetitions (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="counts that were made before, as JSON; read and written")
    parser.add_argument("-o", "--output", type=Path, default=_HERE / "COVERAGE.md")
    given = parser.parse_args(arguments)
    kept = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    names = [name for name in CASES if not given.only or given.only in name]
    counts: dict[str, tuple[int, int]] = {}
    with ProcessPoolExecutor(given.jobs) as pool:
        for name in names:
            started = time.perf_counter()
            if name not in kept:
                parts = [range(start, given.times, given.jobs) for start in range(given.jobs)]
                found = list(pool.map(count, [name] * given.jobs, parts))
                kept[name] = [sum(one[at] for one in found) for at in range(2)]
            counts[name] = (kept[name][0], kept[name][1])
            line = row(CASES[name](), given.times, *counts[name])
            print(f"{time.perf_counter() - started:6.0f} s  {name}: {line}", file=sys.stderr, flush=True)
            if given.keep:
                given.keep.write_text(json.dumps(kept, indent=1))
    if not given.only:
        given.output.write_text(page(counts, given.times))


if __name__ == "__main__":
    main()
