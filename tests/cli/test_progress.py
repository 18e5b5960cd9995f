"""Nobody waits in silence: bars and signs of life at a terminal, a line a minute in a log."""

import os
import re
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

pty = pytest.importorskip("pty")

from landscape.cli import progress  # noqa: E402
from landscape.executor import Event  # noqa: E402

# A command that imports, counts, tells, and draws, at a tenth of the patience.
WORK = """
    import sys, time
    from landscape.cli import progress
    progress._QUIET, progress._LOOK, progress._BETWEEN_LINES = 0.2, 0.05, 0.3
    with progress.signs_of_life("landscape plot"):
        time.sleep(1)
        with progress.progress_bar("surface of x", "point") as update:
            update(3, 9, {"loss": 0.5})
            time.sleep(1)
            progress.tell("sequential engine")
            update(4, 9)
            time.sleep(1)
        time.sleep(1)
        print("done")
"""


def at_terminal(code: str) -> str:
    """What a program writes at a terminal of 80 columns that does not say how wide it is."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert child.wait() == 0, said
    return said.decode()


def test_at_a_terminal_something_is_said_again_and_again():
    said = at_terminal(WORK)
    before, counted, after = said.split("surface of x")[0], said, said.split("surface of x")[-1]
    assert before.count("landscape plot: at work, ") >= 2
    # A bar is drawn again while nothing is counted, and a line stands above it, on its own.
    assert len(re.findall(r"surface of x:  33%[^\r]*3/9", counted)) >= 2
    assert re.search(r"\rsequential engine\r\n", counted)
    # What is drawn at last: the sign of life is taken back before the result.
    assert after.endswith("\r\x1b[Kdone\r\n")
    assert "at work" in after


def test_people_wait_for_less_than_five_seconds():
    assert progress._QUIET + progress._LOOK < 5
    assert progress._BETWEEN_LINES == 60


def test_in_a_log_there_is_a_line_now_and_then():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WORK)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "done\n"
    lines = done.stderr.splitlines()
    assert lines.count("sequential engine") == 1
    lines.remove("sequential engine")
    assert re.fullmatch(r"landscape plot: at work for [\d.]+ s", lines[0])
    shown = [line for line in lines if "points" in line]
    assert re.fullmatch(r"landscape plot: surface of x, 3 of 9 points; at work for [\d.]+ s", shown[0])
    assert "4 of 9 points" in shown[-1]
    assert len(lines) <= 4 / 0.3 + 2


def test_bars_name_what_is_at_work_and_what_is_counted():
    pulse = progress._Pulse("landscape plot")
    with progress.progress_bar("alignment of x", "part") as update:
        update.at_work("a to b", "point")
        update(3, 9)
        assert pulse._counted().startswith("alignment of x, a to b, 3 of 9 points; ")
        update.at_work("c to d")
        assert pulse._counted().startswith("alignment of x, c to d, 3 of 9 points; ")
    step = SimpleNamespace(title="pairs")
    with progress.step_bars(1, []) as notify:
        notify(Event("begin", 0, step))
        notify(Event("progress", 0, step, 3, 9, "a to b"))
        assert pulse._counted().startswith("pairs, a to b, 3 of 9 parts; ")
        notify(Event("progress", 0, step, 4, 9, "c to d"))
        assert pulse._counted().startswith("pairs, c to d, 4 of 9 parts; ")


def test_streams_are_as_they_were(capsys):
    before = sys.stdout, sys.stderr
    with progress.signs_of_life("landscape"):
        pass
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("", "")
