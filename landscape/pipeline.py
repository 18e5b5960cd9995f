"""Earlier names of what is in `landscape.plots` now."""

from __future__ import annotations

from typing import Any

from landscape.lazy import lazy

# Name -> (module of `landscape.plots`, name there).
_HOME = {
    "COMMON": ("slice_options", "COMMON"),
    "KINDS": ("slice_options", "KINDS"),
    "THROUGH_RUNS": ("slice_options", "THROUGH_RUNS"),
    "Along": ("measure_options", "Along"),
    "Audited": ("audit_options", "AuditOptions"),
    "Embed": ("embeddings", "Embed"),
    "Grown": ("branch_curves", "BranchOptions"),
    "Slice": ("slice_options", "Slice"),
    "Spectral": ("spectra", "SpectrumOptions"),
    "audit_of": ("audit_values", "audit_of"),
    "comparison_of": ("audit_values", "comparison_of"),
    "embeddings_of": ("embedding_values", "embeddings_of"),
    "hessian_slice_of": ("slice_values", "hessian_slice_of"),
    "objective_of": ("objectives", "objective_of"),
    "pair_over_epochs": ("branch_values", "pair_over_epochs"),
    "seen_of": ("branch_curves", "seen_of"),
    "slice_common": ("slice_values", "slice_common"),
    "slice_of": ("slice_values", "slice_of"),
    "slice_through": ("slice_values", "slice_through"),
    "slices_before_and_after": ("audit_values", "slices_before_and_after"),
    "spectrum_of": ("spectra", "spectrum_of"),
}
_PLACES: dict[str, str | tuple[str, str]] = {name: (f"plots.{at}", own) for name, (at, own) in _HOME.items()}
_PLACES["measures_along"] = ("measures.run_table", "measures_along")
__all__ = sorted(_PLACES)

_find, __dir__ = lazy(__name__, __all__, _PLACES, package="landscape")


def __getattr__(name: str) -> Any:
    return _find(name)
