"""Symmetries found in a model itself and applied exactly: rescalings, flips, permutations, changes of basis."""

from landscape.symmetry.construction import Blocked
from landscape.symmetry.continuous import Mean, Rotation, Shift, Turn
from landscape.symmetry.dimension import Dimension
from landscape.symmetry.elements import (
    FAMILIES,
    KINDS,
    Basis,
    Element,
    Exchange,
    Flipping,
    Generator,
    Scaling,
    Slices,
)
from landscape.symmetry.flattest import Flattest
from landscape.symmetry.labels import Norm
from landscape.symmetry.same_function import Check
from landscape.symmetry.search import align, find, symmetries_of
from landscape.symmetry.symmetries import Symmetries

__all__ = [
    "FAMILIES",
    "KINDS",
    "Basis",
    "Blocked",
    "Check",
    "Dimension",
    "Element",
    "Exchange",
    "Flattest",
    "Flipping",
    "Generator",
    "Mean",
    "Norm",
    "Rotation",
    "Scaling",
    "Shift",
    "Slices",
    "Symmetries",
    "Turn",
    "align",
    "find",
    "symmetries_of",
]
