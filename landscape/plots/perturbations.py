"""Basins: noise on the weights of snapshots, and how far the loss stays low along directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.forms import NAMES, NUMBER, STEPS, Form
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone
from landscape.plots.source import Source
from landscape.plots.words import model_lines, number
from landscape.progress import portion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.probes import Perturbation
    from landscape.render.look import Look
    from landscape.trajectory import Snapshot, Trajectory

DIRECTIONS = ("random", "filter", "gradient", "top")


def _directions(given: Any) -> tuple[str, ...]:
    found = () if given in ("none", ()) else NAMES.read(given)
    if not set(found) <= set(DIRECTIONS):
        raise ValueError(given)
    return tuple(found)


def _noise(given: Any) -> str:
    from landscape.training import MODES

    mode, colon, scale = str(given).partition(":")
    if mode not in MODES:
        raise LandscapeError(f"there is no noise '{mode}'", where="noise", mend=did_you_mean(mode, MODES))
    if colon:
        NUMBER.read(scale)
    return str(given)


NOISE = Form("MODE or MODE:SCALE, such as mean-abs:0.01", _noise, "MODE[:SCALE]")
# A loss that rises by a smaller share of what ends a basin is drawn as a flat line.
_FLAT = 0.1


@dataclass(frozen=True)
class PerturbOptions(Options):
    """Options of the probing of basins."""

    at: tuple[int | str, ...] = option(("last",), "Snapshots: steps with commas, first, last or all", form=STEPS)
    noise: str = option(
        "mean-abs",
        "mean-abs, layer-std, relative or absolute, and the largest scale; without one up to where the training "
        "loss has risen by the rise of a basin",
        form=NOISE,
    )
    draws: int = option(20, "Draws of the noise, and random directions", low=1)
    scales: int = option(11, "How many scales, from 0 to the largest", low=2)
    rise: float = option(0.1, "The rise of the training loss that ends a basin", above=0)
    directions: tuple[str, ...] = option(
        DIRECTIONS,
        f"Directions of the radii: {', '.join(DIRECTIONS)}, or none",
        form=Form(f"names out of {', '.join(DIRECTIONS)}, or none", _directions, "KIND,..."),
    )
    seed: int = option(0, "Draws noise and directions", low=0)


@dataclass(frozen=True)
class Basins:
    """The basins around snapshots of a run.

    Attributes:
        found: A perturbation for each snapshot.
        run: The file of the run.
        noise: The noise as plain values.
        units: Name of a metric -> its unit.
    """

    found: tuple[Perturbation, ...]
    run: str
    noise: Mapping[str, Any]
    units: Mapping[str, str]


def snapshots_at(run: Trajectory, at: tuple[int | str, ...]) -> list[Snapshot]:
    """The snapshots of some steps; all where there are none."""
    return [run[run.index_of(step)] for step in at] if at else list(run)


def _compute(source: Source, wanted: PerturbOptions) -> Parts:
    from landscape import probes
    from landscape.objective.identity import identity_of
    from landscape.probes.radius import open_cells
    from landscape.training import Noise

    name, run, objective = source.names[0], source.only("a basin"), source.objective()
    step = source.steps.get(name)
    chosen = snapshots_at(run, (step,) if step is not None and wanted.at == ("last",) else wanted.at)
    if ":" in wanted.noise:
        noise = Noise.parse(wanted.noise)
    else:
        # One scale for all, so that they can be compared.
        noise = probes.scanned(objective, chosen[-1], wanted.noise, rise=wanted.rise, seed=wanted.seed)
    names = ("draws", "scales", "rise", "directions", "seed")
    how: dict[str, Any] = {name: getattr(wanted, name) for name in names}
    places = {f"weights at {snapshot.step}": snapshot for snapshot in chosen}
    told_of = {"of": "perturb", "noise": noise.to_json(), **how}
    found = []
    identity = partial(identity_of, objective, places, objective.splits, **told_of)
    cells, _ = open_cells(source.parts, identity, chosen[-1], wanted.directions)
    with cells:
        for place, snapshot in enumerate(chosen):
            told = portion(source.progress, place, len(chosen))
            found.append(probes.perturb(objective, snapshot, noise, save=cells, progress=told, **how))
    return {name: Basins(tuple(found), str(run.path), noise.to_json(), dict(objective.units))}


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    return render.perturbation(list(shown.first.found))


def _report(shown: Shown) -> Document:
    from landscape.probes.table import perturbation_columns, profile_columns

    basins: Basins = shown.first
    found = list(basins.found)
    rows = perturbation_columns(found)
    return {
        "run": basins.run,
        "noise": dict(basins.noise),
        "rise": found[0].rise,
        "snapshots": [{name: rows[name][place] for name in rows} for place in range(len(found))],
        "infinite": [[n for n, r in basin.radii.items() if math.isinf(r.median)] for basin in found],
        "profile": profile_columns(found[0]) if len(found) == 1 else None,
        **{key: found[0].meta[key] for key in ("buffers", "notes") if key in found[0].meta},
    }


def words(shown: Shown) -> list[str]:
    """Describe basins, in lines."""
    basins: Basins = shown.first
    said = []
    for basin in basins.found:
        profile = basin.profile
        said.append(f"step {basin.meta.get('step')}: noise {profile.mode}:{profile.scales[-1]:g}")
        for field in profile.fields:
            factor, unit = (100, "%") if field.endswith("error") else (1, basins.units.get("loss", ""))
            before, after = factor * profile[field][0, 0], factor * profile.mean(field)[-1]
            error = factor * profile.standard_error(field)[-1]
            said.append(f"  {field:<12} {before:.4g} -> {after:.4g} ± {error:.2g} {unit}".rstrip())
            if field == "train_loss" and after - before < _FLAT * basin.rise:
                said.append(f"  hint  flat up to this scale; --noise {profile.mode} alone goes as far as it rises")
        if basin.radii:
            rise = number(basin.rise, basins.units.get("loss", ""))
            said.append(f"  distance to a rise of the training loss by {rise}")
        for name, radius in basin.radii.items():
            share = f" ({radius.median / basin.norm:.2g} of the norm)" if math.isfinite(radius.median) else ""
            said.append(f"  along {name:<9} {number(radius.median)}{share}{_both_ways(radius)}")
    return said + model_lines(basins.found[0].meta)


def _both_ways(radius: Any) -> str:
    """Both ways of a single direction; of random ones neither way is before the other."""
    if len(radius.forward) != 1:
        return ""
    return f", {number(radius.forward[0])} along it and {number(radius.backward[0])} against it"


def _columns(shown: Shown) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from landscape.probes.table import perturbation_columns, profile_columns

    found = list(shown.first.found)
    columns = profile_columns(found[0]) if len(found) == 1 else perturbation_columns(found)
    return columns, {**found[0].meta, "noise": dict(shown.first.noise)}


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    columns, _ = _columns(shown)
    return {name: np.asarray(values, dtype=float) for name, values in columns.items()}


PERTURB = Kind(
    name="perturb",
    summary="loss under noise on the weights, and radii of the basin",
    options=PerturbOptions,
    compute=_compute,
    draw=alone("perturb", _draw),
    report=_report,
    words=words,
    numbers=_numbers,
    columns=_columns,
    title="Noise (--kind perturb)",
    unit="draw",
)
