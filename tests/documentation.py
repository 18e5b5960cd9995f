"""Pages of the documentation, followed as a reader would: files written, commands typed, snippets run."""

import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from landscape.cli.main import main

# A block of code with the file name that the words before it end with, or a line that is typed.
_STEP = re.compile(
    r"(?:`(?P<file>[\w./-]+)`[^\n`]*:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)\n```"
    r"|^    (?P<typed>(?:python|landscape) [^\n]*)$",
    flags=re.DOTALL | re.MULTILINE,
)


def follow(command: str, *more: str) -> None:
    """Run a command of a page in this process."""
    program, *arguments = shlex.split(command, comments=True)
    if program == "python":
        runpy.run_path(arguments[0])
        return
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, *more])
    assert not stopped.value.code, command


def _importable(text: str) -> bool:
    """Whether the packages that a snippet imports are installed."""
    modules = re.findall(r"^(?:from|import) (\w+)", text, flags=re.MULTILINE)
    return all(importlib.util.find_spec(name) for name in modules)


def follow_page(page: Path) -> int:
    """Follow a page in the current folder; files of Python that it names are written, other snippets are run.

    Returns:
        How many steps there were.
    """
    names: dict[str, object] = {}
    steps, others = 0, False
    for step in _STEP.finditer(page.read_text(encoding="utf-8")):
        file, kind, text, typed = step.group("file", "kind", "text", "typed")
        steps += 1
        if typed:
            follow(typed)
        elif file and kind != "diff":
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(f"{text}\n", encoding="utf-8")
            sys.modules.pop(Path(file).stem, None)
        elif kind == "py":
            # Code for another package: run where that is installed, with what follows it.
            others = _importable(text) and (others or "import" in text)
            if others:
                exec(compile(text, page.name, "exec"), names)
        elif kind == "python":
            exec(compile(text, page.name, "exec"), names)
        else:
            steps -= 1
    return steps
