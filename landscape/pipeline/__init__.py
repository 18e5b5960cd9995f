"""The one place where the stages meet: from trajectories to the values that a picture shows."""

from landscape.pipeline.rebuilding import objective_of
from landscape.pipeline.slices import COMMON, KINDS, THROUGH_RUNS, Slice
from landscape.pipeline.slicing import hessian_slice_of, slice_common, slice_of, slice_through

__all__ = [
    "COMMON",
    "KINDS",
    "THROUGH_RUNS",
    "Slice",
    "hessian_slice_of",
    "objective_of",
    "slice_common",
    "slice_of",
    "slice_through",
]
