"""Curvature of the mean loss: Hessian, Gauss-Newton and Fisher matrices as operators, and what to ask them."""

from landscape.curvature.operator import Curvature, SymmetricOperator

__all__ = ["Curvature", "SymmetricOperator"]
