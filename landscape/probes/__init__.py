"""Probing basins: perturb, retrain, interpolate, connect. Values need no torch; probing does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy
from landscape.values.probes import (
    AlignmentGains,
    Apart,
    Barriers,
    Interpolation,
    Perturbation,
    Profile,
    Radius,
    Retraining,
)

if TYPE_CHECKING:
    from landscape.probes.alignment import align as align
    from landscape.probes.alignment import align_all as align_all
    from landscape.probes.alignment import align_by_family as align_by_family
    from landscape.probes.alignment import alignment_gains as alignment_gains
    from landscape.probes.apart_over_time import apart as apart
    from landscape.probes.connection import Connection as Connection
    from landscape.probes.connection import connect as connect
    from landscape.probes.connection import save_path as save_path
    from landscape.probes.examination import examine as examine
    from landscape.probes.lines import barriers as barriers
    from landscape.probes.lines import interpolate as interpolate
    from landscape.probes.nullity import Degeneracy as Degeneracy
    from landscape.probes.nullity import degeneracy as degeneracy
    from landscape.probes.perturbation import perturb as perturb
    from landscape.probes.perturbation import profile as profile
    from landscape.probes.perturbation import scanned as scanned
    from landscape.probes.radius import radii as radii
    from landscape.probes.retraining import Design as Design
    from landscape.probes.retraining import retrain as retrain

_HOME = {
    **dict.fromkeys(("align", "align_all", "align_by_family", "alignment_gains"), "alignment"),
    **dict.fromkeys(("Design", "retrain"), "retraining"),
    **dict.fromkeys(("Connection", "connect", "save_path"), "connection"),
    **dict.fromkeys(("Degeneracy", "degeneracy"), "nullity"),
    **dict.fromkeys(("barriers", "interpolate"), "lines"),
    **dict.fromkeys(("perturb", "profile", "scanned"), "perturbation"),
    "apart": "apart_over_time",
    "examine": "examination",
    "radii": "radius",
}
__all__ = [
    "AlignmentGains",
    "Apart",
    "Barriers",
    "Interpolation",
    "Perturbation",
    "Profile",
    "Radius",
    "Retraining",
    *_HOME,
]

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)
