"""Draw slices on given axes, or whole figures; compute no loss, keep no state, import no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

_HOME = {
    "Look": "look",
    "Panel": "panels",
    "audit": "audits",
    "audit_page": "audit_html",
    "barriers": "lines",
    "blocks": "block_map",
    "caption": "labels",
    "component_verdict": "component_plots",
    "components": "component_plots",
    "compose": "composition",
    "contour": "contours",
    "correlations": "correlation_plots",
    "curve": "curves",
    "embedding": "embeddings",
    "embedding_maps": "embeddings",
    "interpolation": "lines",
    "measures": "training_curves",
    "merge_tree": "merge_trees",
    "optimizer": "optimizer_view",
    "orbits": "orbit_plots",
    "overview": "overview_page",
    "perturbation": "basins",
    "picture": "pictures",
    "profiles": "profile_plots",
    "recorded": "recorded_metrics",
    "retraining": "basins",
    "save": "pictures",
    "scatters": "correlation_plots",
    "shepard": "embeddings",
    "spectrum": "spectra",
    "style": "style",
    "surface3d": "relief",
    "trajectory": "trajectories",
    "verdict": "path_fidelity",
}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from landscape.render import style as style
    from landscape.render.audit_html import audit_page as audit_page
    from landscape.render.audits import audit as audit
    from landscape.render.basins import perturbation as perturbation
    from landscape.render.basins import retraining as retraining
    from landscape.render.block_map import blocks as blocks
    from landscape.render.component_plots import component_verdict as component_verdict
    from landscape.render.component_plots import components as components
    from landscape.render.composition import compose as compose
    from landscape.render.contours import contour as contour
    from landscape.render.correlation_plots import correlations as correlations
    from landscape.render.correlation_plots import scatters as scatters
    from landscape.render.curves import curve as curve
    from landscape.render.embeddings import embedding as embedding
    from landscape.render.embeddings import embedding_maps as embedding_maps
    from landscape.render.embeddings import shepard as shepard
    from landscape.render.labels import caption as caption
    from landscape.render.lines import barriers as barriers
    from landscape.render.lines import interpolation as interpolation
    from landscape.render.look import Look as Look
    from landscape.render.merge_trees import merge_tree as merge_tree
    from landscape.render.optimizer_view import optimizer as optimizer
    from landscape.render.orbit_plots import orbits as orbits
    from landscape.render.overview_page import overview as overview
    from landscape.render.panels import Panel as Panel
    from landscape.render.path_fidelity import verdict as verdict
    from landscape.render.pictures import picture as picture
    from landscape.render.pictures import save as save
    from landscape.render.profile_plots import profiles as profiles
    from landscape.render.recorded_metrics import recorded as recorded
    from landscape.render.relief import surface3d as surface3d
    from landscape.render.spectra import spectrum as spectrum
    from landscape.render.training_curves import measures as measures
    from landscape.render.trajectories import trajectory as trajectory

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)
