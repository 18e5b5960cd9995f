"""Curvature of the mean loss: Hessian, Gauss-Newton and Fisher matrices as operators, and what to ask them."""

from landscape.curvature.density import SpectralDensity, spectral_density
from landscape.curvature.diagonal import Diagonal, gauss_newton_blocks, gauss_newton_diagonal, gauss_newton_draws
from landscape.curvature.eigenpairs import BothEnds, EigenPairs, both_ends, eigenpairs
from landscape.curvature.frobenius import Frobenius, frobenius
from landscape.curvature.kinks import Kinks, kinks
from landscape.curvature.matrix import SymmetricOperator, dense
from landscape.curvature.operator import Curvature
from landscape.curvature.random_vectors import Estimate
from landscape.curvature.scattered import Scattered, scattered_traces
from landscape.curvature.trace import trace

__all__ = [
    "BothEnds",
    "Curvature",
    "Diagonal",
    "EigenPairs",
    "Estimate",
    "Frobenius",
    "Kinks",
    "Scattered",
    "SpectralDensity",
    "SymmetricOperator",
    "both_ends",
    "dense",
    "eigenpairs",
    "frobenius",
    "gauss_newton_blocks",
    "gauss_newton_diagonal",
    "gauss_newton_draws",
    "kinks",
    "scattered_traces",
    "spectral_density",
    "trace",
]
