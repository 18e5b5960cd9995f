"""The nonlinearities that the built-in models can be given, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from landscape.problems.catalogue import require_activation
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
    require_activation(name)
    return _ACTIVATIONS[name]() if name in _ACTIVATIONS else PolynomialActivation(PolynomialFit.parse(name))


class PolynomialActivation(nn.Module):
    """A polynomial applied to every number, B p(x / B), by Horner's scheme.

    Args:
        fit: Which one.
    """

    def __init__(self, fit: PolynomialFit) -> None:
        super().__init__()
        self.fit = fit
        # Numbers, not a buffer: exact in whatever type the model is computed.
        self._coefficients = [float(c) for c in fit.interval * fit.monomials]

    def forward(self, x: Tensor) -> Tensor:
        """The values, like x."""
        u = x / self.fit.interval
        *lower, value = self._coefficients
        result = u * value + lower[-1]
        for coefficient in reversed(lower[:-1]):
            result = result * u + coefficient
        return result

    def extra_repr(self) -> str:
        """Return what `repr` says of it."""
        return f"degree={self.fit.degree}, fit={self.fit.fit!r}, interval={self.fit.interval:g}"
