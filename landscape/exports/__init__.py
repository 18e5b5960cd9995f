"""Slices in the formats of other programs: tables, arrays, and meshes for viewers and printers. NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

_HOME = {
    "FORMATS": "formats",
    "ExportOptions": "formats",
    "Relief": "relief",
    "export_surface": "formats",
    "relief_of": "relief",
}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from landscape.exports.formats import FORMATS as FORMATS
    from landscape.exports.formats import ExportOptions as ExportOptions
    from landscape.exports.formats import export_surface as export_surface
    from landscape.exports.relief import Relief as Relief
    from landscape.exports.relief import relief_of as relief_of

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)
