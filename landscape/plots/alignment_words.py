"""Gains of each family of symmetries between two models, as plain values and in words. No torch."""

from __future__ import annotations

from landscape.plots.kind import Document
from landscape.plots.words import number
from landscape.values.probes import AlignmentGains


def report_of_gains(gains: AlignmentGains) -> list[Document]:
    """A dictionary per family: its barriers, the distance that is left, and that of every layer."""
    return [
        {
            "family": family,
            "distance": float(gains.distance[row]),
            "barriers": {name: float(values[row]) for name, values in gains.fields.items()},
            "layers": {name: float(values[row]) for name, values in gains.layers.items()},
        }
        for row, family in enumerate(gains.families)
    ]


def words_of_gains(gains: AlignmentGains, unit: str) -> list[str]:
    """A line per family of symmetries, then the distance of every layer before and after."""
    said = ["  aligned  by              distance  barrier of the straight line"]
    heights = next(iter(gains.fields.values())).tolist()
    for row, (family, distance, height) in enumerate(zip(gains.families, gains.distance, heights, strict=True)):
        name = f"and {family}" if row > 1 else "nothing" if row == 0 else family
        said.append(f"           {name:<15} {distance:<9.4g} {number(height, unit)}")
    layers = ", ".join(f"{name} {values[0]:.3g} -> {values[-1]:.3g}" for name, values in gains.layers.items())
    return [*said, f"  layers   {layers}"]
