"""The smallest Gauss-Newton trace on the orbit: the one curvature that symmetries cannot change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.forms import WHOLE
from landscape.measures.context import MeasureContext
from landscape.measures.registry import SYMMETRIES, Found, Measure, register
from landscape.options import Options, option


@dataclass(frozen=True)
class OrbitOptions(Options):
    """Options of the diagonal that the search begins with."""

    samples: int | None = option(
        None, "Sampled diagonals of every micro-batch", form=WHOLE, low=1, unset="none: the exact diagonal"
    )


def _orbit_min_trace(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    found = context.flattening(settings["samples"])
    # What makes it doubtful is said of every measure of curvature alike.
    details = {name: value for name, value in found.to_json().items() if name != "note"}
    return Found(found.value, found.standard_error, details=details)


register(
    Measure(
        name="orbit_min_trace",
        title="smallest trace on the orbit",
        formula="min over rescalings mu of sum_e G_e exp(-2 <a_e, mu>), G the Gauss-Newton diagonal, a_e how "
        "often each unit's scale enters parameter e, and over changes of basis B of tr(B^-1 S) + tr(B T), S and T "
        "the Gauss-Newton blocks of both sides; filters before batch normalisation in the gauge "
        "running_var + eps = 1; shifts, means and rotations of streams as of the representative",
        unit="{loss}",
        source="Vardhan, Taheri & Mazumdar 2026 (flatness over all interpolators and their symmetries); for two "
        "layers 2 sum_j sqrt(A_j B_j)",
        invariant=tuple(SYMMETRIES),
        compute=_orbit_min_trace,
        options=OrbitOptions,
        misleads="It is blind to everything but the trace: a network with one very sharp direction and one with "
        "many mild ones can have the same. Away from interpolation it leaves out the part of the Hessian that "
        "comes from the residuals. Where a stream may be rotated, or a bias shifted, it is the minimum at one "
        "choice of these, which every choice leads to: another could be flatter.",
    )
)
