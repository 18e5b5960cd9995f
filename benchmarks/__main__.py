"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path

from benchmarks import machine, report
from benchmarks.rounds import Result, measure
from benchmarks.workloads import QUICK, SPECS
from landscape.surface.choice_cache import VARIABLE

_HERE = Path(__file__).parent
# Fewer rounds have no median worth the name; a quick look has none.
_ROUNDS, _QUICK_ROUNDS = 5, 2
# The full grid takes seconds on this workload and minutes on the others.
_CHEAP = ("W1",)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the page."""
    given = _parse(arguments)
    specs = [spec for spec in (QUICK if given.quick else SPECS) if spec.name in given.workloads]
    # Choices of engines are made in each run.
    os.environ[VARIABLE] = ""
    started = time.perf_counter()

    def log(line: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {line}", file=sys.stderr, flush=True)

    results: list[Result] = []
    for spec in specs:
        full = spec.name in _CHEAP or given.full
        results.append(
            measure(spec, given.rounds, with_peers=given.peers, judged=given.agreement, full=full, log=log)
        )
        # After each workload, so that an interrupted run leaves what it had.
        _write(given, results)
    log("done")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=main.__doc__)
    names = [spec.name for spec in SPECS]
    parser.add_argument("--workloads", help=f"some of {','.join(names)}")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds (default {_ROUNDS})")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="other packages")
    parser.add_argument(
        "--agreement",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare their values with float64",
    )
    parser.add_argument("--full", action="store_true", help="the full grid of every workload, not of W1 alone")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs; prints, writes nothing")
    parser.add_argument("-o", "--output", type=Path, help="default benchmarks/RESULTS.md")
    parser.add_argument("--json", type=Path, help="all samples")
    given = parser.parse_args(arguments)
    given.workloads = (given.workloads or ("W1,W2" if given.quick else ",".join(names))).split(",")
    if unknown := set(given.workloads) - set(names):
        parser.error(f"no workload {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    given.rounds = given.rounds or (_QUICK_ROUNDS if given.quick else _ROUNDS)
    if given.output is None and not given.quick:
        given.output = _HERE / "RESULTS.md"
    return given


def _write(given: argparse.Namespace, results: list[Result]) -> None:
    about = machine.describe()
    if given.json is not None:
        samples = [dataclasses.asdict(result) for result in results]
        given.json.write_text(json.dumps({"machine": about, "results": samples}, indent=1))
    last = len(results) == len(given.workloads)
    if given.output is None and not last:
        return
    command = "python -m benchmarks" + (" --quick" if given.quick else "")
    notes = (_HERE / "NOTES.md").read_text()
    page = report.page(about, results, given.rounds, command, notes)
    if given.output is None:
        print(page)
    else:
        given.output.write_text(page)


if __name__ == "__main__":
    main()
