"""The first moments of the command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

# What the console script does, with a word when its first line was run.
_SCRIPT = "from landscape.cli.entry import main; print('ready', flush=True); main()"
_LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"


def ended(
    number: int, after: float, script: str = _LISTEN + _SCRIPT, command: str = "measure --list"
) -> tuple[int, str]:
    """The exit code and the words of a command that gets a signal so many seconds after its first line."""
    arguments = [sys.executable, "-c", script, *command.split()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(after)
        child.send_signal(number)
        _, said = child.communicate(timeout=60)
    return child.returncode, said


@pytest.mark.parametrize(
    ("number", "code", "words"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_during_the_imports_ends_in_one_line(number: int, code: int, words: str, tmp_path: Path) -> None:
    # Whatever is imported when the signal comes, the work after it is not begun.
    command = f"train toy-hyperbola --epochs 1000000 -o {tmp_path / 'run.h5'}"
    for after in (0.005, 0.02, 0.06, 0.3):
        ended_with, said = ended(number, after, command=command)
        assert ended_with == code
        assert said.startswith(f"landscape: {words}")
        assert said.count("\n") == 1


def test_an_ignored_signal_stays_ignored() -> None:
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    assert ended(signal.SIGINT, 0.01, ignore + _SCRIPT, "--version") == (0, "")


def test_the_console_script_starts_here() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert 'landscape = "landscape.cli.entry:main"' in project
