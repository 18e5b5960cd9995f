"""The ways in which derivatives can be taken, from the plainest to the last resort."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from landscape.curvature.decompositions import Decompositions, without_checkpoints


@dataclass(frozen=True)
class Derivatives:
    """Method by which the derivatives of an objective are taken, and what is known of them.

    Attributes:
        plain: Fused kernels are replaced by plain arithmetic.
        unchecked: Blocks under reentrant checkpoints are called directly.
        differenced: Products are differences of first derivatives.
        wide: Differences are taken in float64 unless another type is asked for.
        error: Relative error of a product, where they are differences.
        step: Length of their steps, relative to 1 + |w|.
        reason: What was wrong without all this.
        doubt: What could not be checked.
    """

    plain: bool = False
    unchecked: bool = False
    differenced: bool = False
    wide: bool = False
    error: float = 0.0
    step: float = 0.0
    reason: str = ""
    doubt: str = ""

    def contexts(self) -> list[AbstractContextManager[object]]:
        """Return the contexts that hold while derivatives are taken."""
        found: list[AbstractContextManager[object]] = []
        if self.unchecked:
            found.append(without_checkpoints())
        if self.plain:
            found.append(Decompositions())
        return found

    @property
    def note(self) -> str:
        """Note for a reader, in a line; empty where derivatives are taken as usual."""
        ways = []
        if self.plain:
            ways.append("fused kernels replaced by plain arithmetic")
        if self.unchecked:
            ways.append("reentrant checkpoints bypassed")
        if self.differenced:
            ways.append(f"products by finite differences of gradients, relative error {self.error:.1g}")
        text = f"derivatives with {' and '.join(ways)}" if ways else ""
        if ways and self.reason:
            text += f"; otherwise {self.reason}"
        return "; ".join(part for part in (text, self.doubt) if part)


# In this order they are tried where derivatives are wrong.
CURES = (
    Derivatives(),
    Derivatives(plain=True),
    Derivatives(unchecked=True),
    Derivatives(plain=True, unchecked=True),
)
