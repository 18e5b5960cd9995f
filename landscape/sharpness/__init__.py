"""Measures: numbers that claim to say how sharp a minimum is, and what each is worth."""

from landscape.sharpness.measuring import Measured, measure
from landscape.sharpness.registry import SYMMETRIES, Found, Measure, measure_named, measures, register

__all__ = ["SYMMETRIES", "Found", "Measure", "Measured", "measure", "measure_named", "measures", "register"]
