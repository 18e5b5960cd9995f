"""The nonlinearities that the built-in models can be given, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from landscape.errors import LandscapeError, did_you_mean
from landscape.problems.catalogue import ACTIVATIONS
from landscape.problems.polynomial import PolynomialFit

# Of every name in `catalogue.ACTIVATIONS`.
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


def activation(name: str) -> nn.Module:
    """A new activation module; none works in place, so that second derivatives can pass.

    Args:
        name: One of `ACTIVATIONS`, or a polynomial such as ``"poly:10:legendre:8"``; see `PolynomialFit`.

    Raises:
        LandscapeError: With the nearest name, if there is none of this name.
    """
    if name.startswith("poly"):
        return PolynomialFit.parse(name).module()
    if name not in _ACTIVATIONS:
        raise LandscapeError(f"there is no activation '{name}'", mend=did_you_mean(name, ACTIVATIONS))
    return _ACTIVATIONS[name]()
