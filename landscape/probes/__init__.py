"""Probing basins: perturb, retrain, interpolate, connect. Values need no torch; probing does."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from landscape.values.probes import Apart, Barriers, Interpolation, Perturbation, Profile, Radius, Retraining

if TYPE_CHECKING:
    from landscape.probes.aligning import align as align
    from landscape.probes.branching import Design as Design
    from landscape.probes.branching import retrain as retrain
    from landscape.probes.comparing import apart as apart
    from landscape.probes.connecting import Connection as Connection
    from landscape.probes.connecting import connect as connect
    from landscape.probes.connecting import save_path as save_path
    from landscape.probes.examining import examine as examine
    from landscape.probes.lines import barriers as barriers
    from landscape.probes.lines import interpolate as interpolate
    from landscape.probes.nullity import Degeneracy as Degeneracy
    from landscape.probes.nullity import degeneracy as degeneracy
    from landscape.probes.perturbing import perturb as perturb
    from landscape.probes.perturbing import profile as profile
    from landscape.probes.radius import radii as radii

_HOME = {
    **dict.fromkeys(("Design", "retrain"), "branching"),
    **dict.fromkeys(("Connection", "connect", "save_path"), "connecting"),
    **dict.fromkeys(("Degeneracy", "degeneracy"), "nullity"),
    **dict.fromkeys(("barriers", "interpolate"), "lines"),
    **dict.fromkeys(("perturb", "profile"), "perturbing"),
    "align": "aligning",
    "apart": "comparing",
    "examine": "examining",
    "radii": "radius",
}
__all__ = [
    "Apart",
    "Barriers",
    "Interpolation",
    "Perturbation",
    "Profile",
    "Radius",
    "Retraining",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"landscape.probes.{_HOME[name]}"), name)
    raise AttributeError(f"module 'landscape.probes' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
