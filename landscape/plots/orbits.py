"""Orbits: one function at several of its parametrisations, and what slices and measures make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.forms import NAMES, STEP, TEXT, WHOLE
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone, page_of_parts
from landscape.plots.source import Source
from landscape.vocabulary import DTYPES, PAGE_OPTIONS, SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.values.orbit import Orbit

# Two that rescalings change and three that claim to stay: seconds each for a small network.
_MEASURES = (
    "hessian_top",
    "gauss_newton_trace",
    "fisher_rao_norm",
    "filter_normalized_curvature",
    "orbit_min_trace",
)


@dataclass(frozen=True)
class OrbitOptions(Options):
    """Options of an orbit: how far along it, and which measures are taken there."""

    at: int | str = option("last", "The snapshot: a step, first or last", form=STEP)
    measures: tuple[str, ...] = option(
        _MEASURES, "Measures taken at every position; landscape measure --list says which there are", form=NAMES
    )
    positions: int = option(13, "Positions along the orbit, odd, so that the weights as they are is one", low=3)
    reach: float = option(10.0, "Hidden units are multiplied by 1/REACH to REACH", low=1.0)
    condition: float = option(100.0, "Bases of attention heads are changed up to this condition number", low=1.0)
    points: int = option(41, "Points along the random direction, odd", low=5)
    split: str = option("train", "The data", choices=SPLITS)
    parameters: str | None = option(None, "Parameters that count, e.g. 'fc.*,!*.bias'", form=TEXT, unset="all")
    seed: int = option(0, "Draws the random direction, the bases and all that measures draw", low=0)
    dtype: str | None = option(
        None, "The type of numbers", form=TEXT, choices=DTYPES, unset="float64 where that is quick"
    )
    subset: int | None = option(None, "So many examples", form=WHOLE, low=1, unset="all, 128 if large")

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield counts that have no middle, and ends that leave nothing to see."""
        for name in ("positions", "points"):
            if getattr(self, name) % 2 == 0:
                yield name, f"{name} are odd, got {getattr(self, name)}: take {getattr(self, name) + 1}"
        for name in ("reach", "condition"):
            if getattr(self, name) == 1:
                yield name, f"{name} must be above 1, or nothing moves"


def _compute(source: Source, wanted: OrbitOptions) -> Parts:
    from landscape.plots.orbit_values import orbits_of

    run, wanted = source.only("an orbit"), source.placed(wanted)
    return dict(orbits_of(run, source.objective(), wanted, progress=source.progress))


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    return render.orbits(list(shown.parts.values()))


def _report(shown: Shown) -> Document:
    return {
        "kind": "orbit",
        **shown.first.meta,
        "families": {name: _family(orbit) for name, orbit in shown.parts.items()},
    }


def _family(orbit: Orbit) -> Document:
    return {
        "parameter": orbit.parameter,
        "positions": orbit.positions.tolist(),
        "losses": orbit.losses.tolist(),
        "output_change": orbit.output_change.tolist(),
        "curvatures": {normalize: orbit.curvatures(normalize).tolist() for normalize in orbit.slices},
        "measures": {
            one.name: {
                "values": one.values.tolist(),
                "standard_errors": one.errors.tolist(),
                "claims_to_stay": one.claimed,
                "verdict": orbit.verdict(one),
            }
            for one in orbit.measures
        },
        "verdicts": orbit.verdicts(),
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    said = [f"{document['picture']}: orbit of {document['problem']} at step {document['step']}"]
    for name, family in document["families"].items():
        ends = family["positions"][0], family["positions"][-1]
        change = max(family["output_change"])
        said.append(f"  {name}: {family['parameter']} from {ends[0]:.3g} to {ends[1]:.3g}, ")
        said[-1] += f"outputs changed by at most {change:.1e} of the largest"
        said += [f"    {words}" for words in family["verdicts"]]
    return said


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for name, orbit in shown.parts.items():
        found |= {f"{name}/positions": orbit.positions, f"{name}/losses": orbit.losses}
        found |= {f"{name}/x/{normalize}": x for normalize, x in orbit.x.items()}
        found |= {f"{name}/slices/{normalize}": rows for normalize, rows in orbit.slices.items()}
        found |= {f"{name}/{one.name}": one.values for one in orbit.measures}
    return found


ORBIT = Kind(
    name="orbit",
    summary="one function at several parametrisations",
    options=OrbitOptions,
    compute=_compute,
    draw=alone("orbit", _draw),
    heeds=lambda options: PAGE_OPTIONS,
    report=_report,
    lines=_lines,
    numbers=_numbers,
    page=page_of_parts,
    title="Orbits (--kind orbit)",
    unit="position",
)
