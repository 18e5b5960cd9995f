"""Gaussian noise on weights, in the units in which experiments state it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.layout import TensorInfo
    from landscape.params import Tensors, Weights

MODES = {
    "mean-abs": "mean |w|",
    "layer-std": "standard deviation of each tensor",
    "relative": "|w| of each weight",
    "absolute": "weight distance per parameter",
}
"""Mode -> what one unit of it is, for an axis."""


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of a mode and a scale.

    With z standard normal, s the scale and w the parameters that training moves:

    - ``"mean-abs"``: w + s m z, m the mean of |w| over all of them together (Liao & Poggio 2017, 0.01 m);
    - ``"layer-std"``: w + s S z, S the standard deviation within each tensor (there, 0.1 S and 0.25 S);
    - ``"relative"``: w + s w z, multiplicative (Pittorino et al. 2021, local energy);
    - ``"absolute"``: w + s z.

    Biases and the gains of normalisation are among the parameters, buffers are not. A tensor of one number has
    no standard deviation and stays under ``"layer-std"``.

    Attributes:
        mode: One of these.
        scale: s; not negative.

    Raises:
        LandscapeError: If there is no such mode, or the scale is negative or not finite.

    Example:
        >>> Noise.parse("mean-abs:0.01")
        Noise(mode='mean-abs', scale=0.01)
    """

    mode: str
    scale: float

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise LandscapeError(
                f"there is no noise '{self.mode}'", where="noise", mend=did_you_mean(self.mode, MODES)
            )
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise LandscapeError(
                "a scale of noise is not negative", where=f"noise {self.mode}", got=f"{self.scale:g}"
            )

    @classmethod
    def parse(cls, text: str) -> Noise:
        """Read ``"mean-abs:0.01"``.

        Raises:
            LandscapeError: If it is not a mode and a number.
        """
        mode, _, number = text.strip().partition(":")
        try:
            scale = float(number)
        except ValueError:
            raise LandscapeError(
                "not a noise", where="noise", got=f"'{text}'", expected="MODE:SCALE such as mean-abs:0.01"
            ) from None
        return cls(mode, scale)

    def __str__(self) -> str:
        return f"{self.mode}:{self.scale:g}"

    @property
    def unit(self) -> str:
        """Unit of its scale."""
        return MODES[self.mode]

    def draw(self, weights: Weights, seed: int, index: int = 0) -> Tensors:
        """The noise at scale 1: what is added to the weights, divided by the scale.

        Draws of the same seed and index have the same z whatever the mode and the weights, so that different
        weights meet common random numbers.

        Args:
            weights: A snapshot, a model, or a name -> tensor dictionary.
            seed: A number that is not negative.
            index: Of the draw.

        Returns:
            Name -> tensor like the parameter, for every parameter that training moves.

        Raises:
            LandscapeError: If the seed is negative.
        """
        from landscape.params import resolve

        if seed < 0:
            raise LandscapeError("must not be negative", where="seed", got=seed)
        layout, tensors = resolve(weights)
        moving = layout.moving()
        mean = _mean_abs(tensors, moving) if self.mode == "mean-abs" else 1.0
        return {info.name: self._one(tensors, info, mean, seed, index) for info in moving}

    def _one(self, tensors: Tensors, info: TensorInfo, mean: float, seed: int, index: int) -> Tensor:
        from landscape.params import from_real, gaussian, real_view, wide

        weight = tensors[info.name]
        drawn = gaussian(info, seed, index)
        if self.mode == "relative":
            # In the type of the weights, so that a power of two in front of them comes out exactly.
            numbers = real_view(weight)
            return from_real(drawn.to(numbers) * numbers, weight)
        if self.mode == "layer-std":
            drawn *= float(wide(weight).std(correction=0))
        elif self.mode == "mean-abs":
            drawn *= mean
        return from_real(drawn, weight)

    def perturb(self, weights: Weights, seed: int, index: int = 0) -> Tensors:
        """The weights with noise on them.

        Args:
            weights: A snapshot, a model, or a name -> tensor dictionary.
            seed: A number that is not negative.
            index: Of the draw.

        Returns:
            Name -> tensor, buffers and frozen parameters unchanged.
        """
        from landscape.params import resolve

        moved = dict(resolve(weights)[1])
        for name, step in self.draw(weights, seed, index).items():
            moved[name] = moved[name] + step * self.scale
        return moved

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"mode": self.mode, "scale": self.scale}


def _mean_abs(tensors: Tensors, moving: list[TensorInfo]) -> float:
    """The mean of |w| over all parameters that move, summed in float64."""
    from landscape.params import wide

    total = sum(float(wide(tensors[info.name]).abs().sum()) for info in moving)
    return total / max(1, sum(info.numbers for info in moving))
