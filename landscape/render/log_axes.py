"""Logarithmic axes whose numbers are read at once: 6, and not 6 times ten to the power of 0."""

from __future__ import annotations

from matplotlib.axis import Axis
from matplotlib.ticker import LogFormatterSciNotation

# Numbers between these are written out.
_LEAST, _MOST = 1e-3, 1e4


class _Plain(LogFormatterSciNotation):
    """Numbers of few digits as they are spoken; where matplotlib would write none, none."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = super().__call__(x, pos)
        if not text or not self._all_plain():
            return text
        return f"{x:g}".replace("-", "−")

    def _all_plain(self) -> bool:
        """Return whether all numbers of the axis are written out: powers and plain numbers are not mixed."""
        if self.axis is None:
            return False
        low, high = sorted(self.axis.get_view_interval())
        return bool(low >= _LEAST and high <= _MOST)


def make_logarithmic(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers where these are short."""
    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    axis.set_major_formatter(_Plain())
    axis.set_minor_formatter(_Plain())
