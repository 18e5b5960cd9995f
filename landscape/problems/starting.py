"""The file that a user's own problem begins with."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path


def write_template(path: str | os.PathLike[str]) -> None:
    """Write a commented problem that runs as it is.

    Args:
        path: The file to be written or replaced.
    """
    text = resources.files("landscape.problems").joinpath("template.py").read_text(encoding="utf-8")
    Path(path).write_text(text.replace("FILE.py", Path(path).name), encoding="utf-8")
