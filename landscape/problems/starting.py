"""The file that a user's own problem begins with."""

from __future__ import annotations

from importlib import resources


def template(name: str) -> str:
    """A commented problem that runs as it is.

    Args:
        name: The name of the file, as it is in its own comments.
    """
    text = resources.files("landscape.problems").joinpath("template.py").read_text(encoding="utf-8")
    return text.replace("FILE.py", name)
