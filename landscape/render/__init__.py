"""Draw slices on given axes, or whole figures; compute no loss, keep no state, import no torch."""

from __future__ import annotations

from landscape.render import style
from landscape.render.audit_page import audit_page
from landscape.render.audits import audit
from landscape.render.basins import perturbation, retraining
from landscape.render.components import component_verdict, components
from landscape.render.composition import compose
from landscape.render.contours import contour
from landscape.render.correlations import correlations, scatters
from landscape.render.curves import curve
from landscape.render.embeddings import embedding, embedding_maps, shepard
from landscape.render.labels import caption
from landscape.render.lines import barriers, interpolation
from landscape.render.look import Look
from landscape.render.overview import overview
from landscape.render.panels import Panel
from landscape.render.path_fidelity import verdict
from landscape.render.pictures import picture, save
from landscape.render.profiles import profiles
from landscape.render.recorded import recorded
from landscape.render.relief import surface3d
from landscape.render.spectra import spectrum
from landscape.render.training_curves import measures
from landscape.render.trajectories import trajectory

__all__ = [
    "Look",
    "Panel",
    "audit",
    "audit_page",
    "barriers",
    "caption",
    "component_verdict",
    "components",
    "compose",
    "contour",
    "correlations",
    "curve",
    "embedding",
    "embedding_maps",
    "interpolation",
    "measures",
    "overview",
    "perturbation",
    "picture",
    "profiles",
    "recorded",
    "retraining",
    "save",
    "scatters",
    "shepard",
    "spectrum",
    "style",
    "surface3d",
    "trajectory",
    "verdict",
]
