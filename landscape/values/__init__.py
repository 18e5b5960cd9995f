"""Results as values: NumPy only, so that everything can read and draw them without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

if TYPE_CHECKING:
    from landscape.values.archive import read_value as read_value
    from landscape.values.archive import save_value as save_value
    from landscape.values.audit import Audit as Audit
    from landscape.values.correlations import Correlated as Correlated
    from landscape.values.correlations import Nets as Nets
    from landscape.values.embedding import Embedding as Embedding
    from landscape.values.grid import Grid as Grid
    from landscape.values.measure_table import Column as Column
    from landscape.values.measure_table import Table as Table
    from landscape.values.probes import Apart as Apart
    from landscape.values.probes import Barriers as Barriers
    from landscape.values.probes import Interpolation as Interpolation
    from landscape.values.probes import Perturbation as Perturbation
    from landscape.values.probes import Radius as Radius
    from landscape.values.probes import Retraining as Retraining
    from landscape.values.spectrum import Spectrum as Spectrum
    from landscape.values.surface import Path as Path
    from landscape.values.surface import Surface as Surface

_HOME = {
    "Apart": "probes",
    "Audit": "audit",
    "Barriers": "probes",
    "Column": "measure_table",
    "Correlated": "correlations",
    "Embedding": "embedding",
    "Grid": "grid",
    "Interpolation": "probes",
    "Nets": "correlations",
    "Path": "surface",
    "Perturbation": "probes",
    "Radius": "probes",
    "Retraining": "probes",
    "Spectrum": "spectrum",
    "Surface": "surface",
    "Table": "measure_table",
    "read_value": "archive",
    "save_value": "archive",
}
__all__ = sorted(_HOME)

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)
