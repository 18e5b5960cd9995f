"""The one place where the stages meet: from trajectories to the values that a picture shows."""

from landscape.pipeline.auditing import Audited, audit_of, comparison_of, slices_before_and_after
from landscape.pipeline.measuring import Along, measures_along
from landscape.pipeline.rebuilding import objective_of
from landscape.pipeline.slices import KINDS, THROUGH_RUNS, Slice
from landscape.pipeline.slicing import slice_of, slice_through
from landscape.pipeline.spectra import Spectral, spectrum_of

__all__ = [
    "KINDS",
    "THROUGH_RUNS",
    "Along",
    "Audited",
    "Slice",
    "Spectral",
    "audit_of",
    "comparison_of",
    "measures_along",
    "objective_of",
    "slice_of",
    "slice_through",
    "slices_before_and_after",
    "spectrum_of",
]
