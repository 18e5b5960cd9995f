"""Options of a report."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.forms import STEP, WHOLE
from landscape.options import Options, option


@dataclass(frozen=True)
class ReportOptions(Options):
    """Options of a report: what it is of, and how much is computed for it."""

    at: int | str = option("last", "The snapshot: a step, first or last", form=STEP)
    fast: bool = option(False, "Coarse slices, few probes and examples: a small network takes about two minutes")
    points: int | None = option(
        None, "Points along each axis of the slices", form=WHOLE, low=5, unset="41, with fast 21"
    )
    subset: int | None = option(
        None, "So many examples for spectra and audits", form=WHOLE, low=1, unset="all, with fast 256"
    )
    seed: int = option(0, "Draws directions, probes and what audits draw", low=0)

    @property
    def side(self) -> int:
        """Points along each axis of the slices."""
        return self.points or (21 if self.fast else 41)

    @property
    def examples(self) -> int | None:
        """Examples for spectra and audits; None for all."""
        return self.subset or (256 if self.fast else None)
