"""Every kind of picture: ``ls.plots.spectrum("run.h5", probes=20)``.

A kind is the same from `landscape plot --kind`, from a recipe's ``[[panel]]`` and from here, and its options are
declared once. To add one, write its module and name it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from landscape.errors import LandscapeError, did_you_mean
from landscape.plots.alignments import ALIGNMENT as alignment
from landscape.plots.audits import AUDIT as audit
from landscape.plots.blocks import BLOCKS as blocks
from landscape.plots.branch_curves import BRANCHES as branches
from landscape.plots.comparisons import COMPARISON as comparison
from landscape.plots.embeddings import MDS as mds
from landscape.plots.interpolator_families import INTERPOLATORS as interpolators
from landscape.plots.kind import Kind, Shown
from landscape.plots.laboratories import LABORATORY as laboratory
from landscape.plots.lines import CONNECT as connect
from landscape.plots.lines import INTERPOLATE as interpolate
from landscape.plots.measures import MEASURE as measure
from landscape.plots.mixtures import MIXTURE as mixture
from landscape.plots.optimizers import OPTIMIZER as optimizer
from landscape.plots.orbits import ORBIT as orbit
from landscape.plots.paths import PATH as path
from landscape.plots.perturbations import PERTURB as perturb
from landscape.plots.recorded import METRICS as metrics
from landscape.plots.slices import CURVE as curve
from landscape.plots.slices import HESSIAN_RATIO_MAP as hessian_ratio
from landscape.plots.slices import SURFACE as surface
from landscape.plots.slices import TRAJECTORY as trajectory
from landscape.plots.source import Source
from landscape.plots.spectra import SPECTRUM as spectrum
from landscape.plots.studies import STUDY as study
from landscape.plots.topology import BASINS as basins

if TYPE_CHECKING:
    from landscape.pages.document import Page
    from landscape.render.look import Look

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            *(curve, surface, trajectory, hessian_ratio, basins, path, mds, metrics, spectrum, measure, optimizer),
            blocks,
            *(
                audit,
                orbit,
                branches,
                perturb,
                interpolate,
                connect,
                alignment,
                comparison,
                mixture,
                interpolators,
            ),
            *(laboratory, study),
        )
    }
)
"""Name -> kind of picture, in the order in which help lists them."""

__all__ = [
    "KINDS",
    "Kind",
    "Shown",
    "Source",
    "alignment",
    "audit",
    "basins",
    "blocks",
    "branches",
    "comparison",
    "connect",
    "curve",
    "hessian_ratio",
    "interpolate",
    "interpolators",
    "kind_named",
    "laboratory",
    "mds",
    "measure",
    "metrics",
    "mixture",
    "optimizer",
    "orbit",
    "page_with",
    "path",
    "perturb",
    "require_page",
    "spectrum",
    "study",
    "surface",
    "trajectory",
]


def kind_named(name: str) -> Kind:
    """The kind of a name.

    Raises:
        LandscapeError: With the nearest name, if there is none.
    """
    if name not in KINDS:
        raise LandscapeError(f"unknown kind '{name}', {did_you_mean(name, KINDS)}")
    return KINDS[name]


def require_page(kind: Kind) -> None:
    """Check that a kind has an interactive page.

    Raises:
        LandscapeError: If it has none; the message names those that have one.
    """
    if kind.page is None:
        known = ", ".join(name for name, one in KINDS.items() if one.page is not None)
        raise LandscapeError(f"a picture of kind {kind.name} has no interactive page", mend=f"{known} have one")


def page_with(kind: Kind, shown: Shown, look: Look) -> Page:
    """The interactive page of a panel that is computed, in a look.

    Raises:
        LandscapeError: If the kind has none.
    """
    require_page(kind)
    with look.applied():
        return kind.page(shown)  # type: ignore[misc]
