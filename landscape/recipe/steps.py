"""A step between training and picture, and the key that says when two steps are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

# Raised when the results of a kind of step change although its settings do not; of pictures, when their look does.
VERSIONS = {
    **dict.fromkeys(("train", "import", "transform", "branch"), 1),
    "picture": 4,
}
# Of all values that panels show.
_OF_VALUES = 2

# Of 64 digits: enough that no two steps on earth share them.
_KEY_DIGITS = 32


@dataclass(frozen=True)
class Step:
    """Something that is made once: a run, a slice, or a picture.

    Attributes:
        kind: One of `VERSIONS`, such as ``"train"``; of a value the `step` of its kind of picture.
        title: For people: ``"train base"``.
        settings: All that decides the result besides `needs` and `inputs`, as plain values.
        inputs: Name -> digest of what comes from outside: files, data, code of the user's.
        needs: The keys of the steps that must be done before.
        places: Where things are on this machine; not part of the key.
        pace: Steps of the same pace take time in proportion to their `units`.
        units: Epochs or points.
    """

    kind: str
    title: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    places: Mapping[str, Any] = field(default_factory=dict)
    pace: str = ""
    units: float = 1.0

    @cached_property
    def key(self) -> str:
        """SHA-256 of kind, version, settings, inputs and needs, in hexadecimal digits."""
        return digest(
            [self.kind, VERSIONS.get(self.kind, _OF_VALUES), self.settings, self.inputs, list(self.needs)]
        )


def digest(value: Any) -> str:
    """The SHA-256 of a plain value.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
