"""The one place where the stages meet: from trajectories to the values that a picture shows."""

from landscape.pipeline.rebuilding import objective_of
from landscape.pipeline.slices import KINDS, THROUGH_RUNS, Slice
from landscape.pipeline.slicing import slice_of, slice_through

__all__ = ["KINDS", "THROUGH_RUNS", "Slice", "objective_of", "slice_of", "slice_through"]
