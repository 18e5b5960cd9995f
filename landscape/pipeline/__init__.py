"""The one place where the stages meet: from trajectories to the values that a picture shows.

What needs no torch is imported without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "KINDS": "slices",
    "THROUGH_RUNS": "slices",
    "Embed": "embeddings",
    "Slice": "slices",
    "embeddings_of": "embeddings",
    "objective_of": "rebuilding",
    "slice_of": "slicing",
    "slice_through": "slicing",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from landscape.pipeline.embeddings import Embed as Embed
    from landscape.pipeline.embeddings import embeddings_of as embeddings_of
    from landscape.pipeline.rebuilding import objective_of as objective_of
    from landscape.pipeline.slices import KINDS as KINDS
    from landscape.pipeline.slices import THROUGH_RUNS as THROUGH_RUNS
    from landscape.pipeline.slices import Slice as Slice
    from landscape.pipeline.slicing import slice_of as slice_of
    from landscape.pipeline.slicing import slice_through as slice_through


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"landscape.pipeline.{_HOME[name]}"), name)
    raise AttributeError(f"module 'landscape.pipeline' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
