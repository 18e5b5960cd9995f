"""The one place where the stages meet; what needs no torch is imported without it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "COMMON": "slices",
    "KINDS": "slices",
    "THROUGH_RUNS": "slices",
    "Along": "measuring",
    "Audited": "auditing",
    "Embed": "embeddings",
    "Grown": "branches",
    "Slice": "slices",
    "audit_of": "auditing",
    "comparison_of": "auditing",
    "embeddings_of": "embeddings",
    "hessian_slice_of": "slicing",
    "measures_along": "measuring",
    "pair_over_epochs": "branches",
    "seen_of": "branches",
    "slice_common": "slicing",
    "slice_of": "slicing",
    "slice_through": "slicing",
    "slices_before_and_after": "auditing",
}
# What has moved to the room of the pictures, under its earlier name.
_MOVED = {
    "Spectral": ("spectra", "SpectrumOptions"),
    "objective_of": ("objectives", "objective_of"),
    "spectrum_of": ("spectra", "spectrum_of"),
}
__all__ = sorted([*_HOME, *_MOVED])

if TYPE_CHECKING:
    from landscape.pipeline.auditing import Audited as Audited
    from landscape.pipeline.auditing import audit_of as audit_of
    from landscape.pipeline.auditing import comparison_of as comparison_of
    from landscape.pipeline.auditing import slices_before_and_after as slices_before_and_after
    from landscape.pipeline.branches import Grown as Grown
    from landscape.pipeline.branches import pair_over_epochs as pair_over_epochs
    from landscape.pipeline.branches import seen_of as seen_of
    from landscape.pipeline.embeddings import Embed as Embed
    from landscape.pipeline.embeddings import embeddings_of as embeddings_of
    from landscape.pipeline.measuring import Along as Along
    from landscape.pipeline.measuring import measures_along as measures_along
    from landscape.pipeline.slices import COMMON as COMMON
    from landscape.pipeline.slices import KINDS as KINDS
    from landscape.pipeline.slices import THROUGH_RUNS as THROUGH_RUNS
    from landscape.pipeline.slices import Slice as Slice
    from landscape.pipeline.slicing import hessian_slice_of as hessian_slice_of
    from landscape.pipeline.slicing import slice_common as slice_common
    from landscape.pipeline.slicing import slice_of as slice_of
    from landscape.pipeline.slicing import slice_through as slice_through
    from landscape.plots.objectives import objective_of as objective_of
    from landscape.plots.spectra import SpectrumOptions as Spectral
    from landscape.plots.spectra import spectrum_of as spectrum_of


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"landscape.pipeline.{_HOME[name]}"), name)
    if name in _MOVED:
        module, own = _MOVED[name]
        return getattr(importlib.import_module(f"landscape.plots.{module}"), own)
    raise AttributeError(f"module 'landscape.pipeline' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
