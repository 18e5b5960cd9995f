"""Run commands and snippets of one environment; started by `benchmarks.same_results`, not by people.

Reads ``{"name", "arguments"}`` or ``{"name", "code"}`` as lines of JSON from its standard input, writes what each
prints to ``printed/NAME.json``, and answers ``{"name", "code", "seconds"}``, a line each. It imports nothing but
the package under test.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_PRINTED = Path("printed")
_PACKAGE = "landscape"
_real_clock = time.perf_counter


def _stop_clocks() -> None:
    """Let no time pass in the eyes of the package, so that nothing is chosen by measured seconds."""
    for name in ("perf_counter", "monotonic"):
        setattr(time, name, _stopped(getattr(time, name)))


def _stopped(clock: Callable[[], float]) -> Callable[[], float]:
    def look() -> float:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        return 0.0 if caller.partition(".")[0] == _PACKAGE else clock()

    return look


def _steady_names(case: str) -> None:
    """Let random identifiers of runs depend on the case alone."""
    count = itertools.count()

    def name() -> uuid.UUID:
        return uuid.UUID(bytes=hashlib.md5(f"{case} {next(count)}".encode()).digest(), version=4)

    uuid.uuid4 = name


def _run(case: dict[str, Any]) -> int:
    """The exit code of a case; 1 of an exception."""
    try:
        if "code" in case:
            exec(compile(case["code"], case["name"], "exec"), {"__name__": case["name"]})
        else:
            from landscape.cli.main import main

            main(case["arguments"])
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception:  # noqa: BLE001  # The cases after it are of interest all the same.
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _printing_to(path: Path, errors: Path) -> Iterator[None]:
    printed = io.StringIO()
    with errors.open("a") as stream, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(stream):
        yield
    if printed.getvalue():
        path.write_text(printed.getvalue())


def main() -> None:
    """Run all cases in turn."""
    _PRINTED.mkdir(exist_ok=True)
    _stop_clocks()
    for line in sys.stdin:
        case = json.loads(line)
        _steady_names(case["name"])
        began = _real_clock()
        with _printing_to(_PRINTED / f"{case['name']}.json", Path("errors.txt")):
            print(f"--- {case['name']}", file=sys.stderr)
            code = _run(case)
        print(json.dumps({"name": case["name"], "code": code, "seconds": _real_clock() - began}), flush=True)


if __name__ == "__main__":
    main()
