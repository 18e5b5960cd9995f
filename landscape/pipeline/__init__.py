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
    "Spectral": "spectra",
    "audit_of": "auditing",
    "comparison_of": "auditing",
    "embeddings_of": "embeddings",
    "hessian_slice_of": "slicing",
    "measures_along": "measuring",
    "objective_of": "rebuilding",
    "pair_over_epochs": "branches",
    "seen_of": "branches",
    "slice_common": "slicing",
    "slice_of": "slicing",
    "slice_through": "slicing",
    "slices_before_and_after": "auditing",
    "spectrum_of": "spectra",
}
__all__ = sorted(_HOME)

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
    from landscape.pipeline.rebuilding import objective_of as objective_of
    from landscape.pipeline.slices import COMMON as COMMON
    from landscape.pipeline.slices import KINDS as KINDS
    from landscape.pipeline.slices import THROUGH_RUNS as THROUGH_RUNS
    from landscape.pipeline.slices import Slice as Slice
    from landscape.pipeline.slicing import hessian_slice_of as hessian_slice_of
    from landscape.pipeline.slicing import slice_common as slice_common
    from landscape.pipeline.slicing import slice_of as slice_of
    from landscape.pipeline.slicing import slice_through as slice_through
    from landscape.pipeline.spectra import Spectral as Spectral
    from landscape.pipeline.spectra import spectrum_of as spectrum_of


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"landscape.pipeline.{_HOME[name]}"), name)
    raise AttributeError(f"module 'landscape.pipeline' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
