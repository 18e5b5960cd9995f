"""Plain values in texts, no more of them than a file may claim."""

from __future__ import annotations

import json
from typing import Any

# A list or a dictionary takes some 100 bytes; what files of ours say of themselves has thousands of values.
MOST_VALUES = 10**6


def parse_json(text: str, room: int = MOST_VALUES) -> tuple[Any, int]:
    """The plain value in a text, unless it is of more parts than the memory that files may claim has room for.

    Args:
        text: JSON.
        room: So many numbers, texts, lists and dictionaries at most.

    Returns:
        The value, and how much room is left.

    Raises:
        ValueError: If there are more, or it is no JSON.
    """
    if not isinstance(text, str | bytes | bytearray):
        # As `json` says it.
        raise TypeError(f"the JSON object must be str, bytes or bytearray, not {type(text).__name__}")
    # Of any two parts one stands behind such a mark, and others only in texts, which take less.
    parts = sum(map(text.count, ",[{"))
    if parts > room:
        raise ValueError(f"it claims more than {MOST_VALUES:,} values")
    return json.loads(text), room - parts
