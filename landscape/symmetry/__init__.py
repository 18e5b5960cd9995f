"""Symmetries found in a model itself and applied exactly: rescalings, flips, permutations, changes of basis."""

from landscape.symmetry.building import Blocked
from landscape.symmetry.checking import Check
from landscape.symmetry.elements import KINDS, Basis, Element, Exchange, Flipping, Generator, Scaling, Slices
from landscape.symmetry.finding import find, symmetries_of
from landscape.symmetry.flattest import Flattest
from landscape.symmetry.labels import Norm
from landscape.symmetry.symmetries import Symmetries

__all__ = [
    "KINDS",
    "Basis",
    "Blocked",
    "Check",
    "Element",
    "Exchange",
    "Flattest",
    "Flipping",
    "Generator",
    "Norm",
    "Scaling",
    "Slices",
    "Symmetries",
    "find",
    "symmetries_of",
]
