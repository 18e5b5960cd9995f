"""Pairs of networks that symmetries bring together, family by family: lines between them, and barriers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.forms import STEP
from landscape.options import Options, option, redeclared
from landscape.plots.alignment_words import BARRIER, PAIRS, gains_in_words, report_of_gains, words_of_gains
from landscape.plots.kind import Document, Kind, Parts, Shown
from landscape.plots.lines import ConnectOptions, ends_of
from landscape.plots.paired import interval, standard_error
from landscape.plots.source import Progress, Source
from landscape.progress import portion
from landscape.values.probes import AlignmentGains
from landscape.vocabulary import PAGE_OPTIONS, POLICIES, SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.files.cells import Cells
    from landscape.objective import Objective
    from landscape.params import Weights
    from landscape.render.alignments import AlignedPairs
    from landscape.render.look import Look


@dataclass(frozen=True)
class AlignmentOptions(Options):
    """Options of pairs of networks that symmetries bring together."""

    at: int | str = option("last", "The snapshot of runs whose address names none", form=STEP)
    points: int = option(25, "Points on each line, both ends counted", low=2)
    by: str = redeclared(ConnectOptions, "align_by", help="What units are matched by")
    bn: str = option("interpolate", "Normalisation statistics", choices=POLICIES)
    split: str = option("train", "The data on which the loss is taken", choices=SPLITS)
    seed: int = option(0, "Draws the order in which layers are matched", low=0)


def _compute(source: Source, wanted: AlignmentOptions) -> Parts:
    from landscape.files.cells import Cells
    from landscape.objective.identity import identity_of

    ends = ends_of(source, wanted.at, 2, None)
    if len(ends) % 2:
        raise LandscapeError("pairs take an even number of snapshots", got=len(ends), mend="name another")
    objective, names, found = source.objective(), list(ends), {}
    weights = {f"weights of {name}": end for name, end in ends.items()}
    told_of = {name: getattr(wanted, name) for name in ("points", "by", "bn", "seed")} | {"of": "alignment"}
    with Cells.open(source.parts, lambda: identity_of(objective, weights, (wanted.split,), **told_of)) as cells:
        for place, (name, other) in enumerate(zip(names[::2], names[1::2], strict=True)):
            pair, told = f"{name} to {other}", portion(source.progress, place, len(ends) // 2)
            source.at_work(pair)
            told(0, 1)
            make = partial(_gains, objective, ends[name], ends[other], wanted, cells, pair, told)
            found[pair] = AlignmentGains.from_json(cells.of(pair, make))
            told(1, 1)
    return found


def _gains(
    objective: Objective, a: Weights, b: Weights, wanted: AlignmentOptions, cells: Cells, pair: str, told: Progress
) -> Document:
    """Return the gains of one pair as plain values; points of its lines are kept as they are measured."""
    from landscape import probes

    aligned = probes.align_by_family(objective, a, b, seed=wanted.seed, by=wanted.by)
    how: dict[str, Any] = {"points": wanted.points, "bn": wanted.bn, "splits": (wanted.split,)}
    how |= {"save": cells, "prefix": f"{pair}, ", "progress": told}
    return probes.alignment_gains(objective, a, aligned, **how).to_json()


def _faults(wanted: AlignmentOptions, runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if len(runs) % 2 or not runs:
        yield "runs", f"the first run is a pair with the second, the third with the fourth; got {len(runs)}"


def _scene(shown: Shown) -> AlignedPairs:
    from landscape.render.alignments import AlignedPairs

    pairs: Sequence[AlignmentGains] = list(shown.parts.values())
    first, field = pairs[0], f"{shown.options.split}_loss"
    barrier = np.array([one[field] for one in pairs])
    intervals = [interval(column) for column in barrier.T]
    return AlignedPairs(
        title=shown.title,
        families=first.families,
        t=first.t,
        loss=np.array([one.lines[field] for one in pairs]),
        barrier=barrier,
        intervals={name: (one.mean, one.half) for name, one in zip(first.families, intervals, strict=True)},
        field=field,
        meta=first.meta,
    )


def _draw(panels: Sequence[Shown], look: Look) -> Figure:
    from landscape.render.alignments import alignments

    return alignments([_scene(shown) for shown in panels])


def _unit(shown: Shown) -> str:
    return str(shown.first.meta["units"].get("loss", ""))


def _report(shown: Shown) -> Document:
    scene = _scene(shown)
    return {
        "split": shown.options.split,
        "pairs": {name: report_of_gains(gains) for name, gains in shown.parts.items()},
        "barriers": {
            family: {"mean": mean, "half_interval": half, "standard_error": standard_error(column)}
            for (family, (mean, half)), column in zip(scene.intervals.items(), scene.barrier.T, strict=True)
        },
    }


def _words(shown: Shown) -> list[str]:
    scene, said = _scene(shown), []
    for name, gains in shown.parts.items():
        said += [name, *words_of_gains(gains, _unit(shown))]
    return [*said, f"  in all   {gains_in_words(scene.families, scene.barrier, _unit(shown))}"]


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    scene = _scene(shown)
    found = {f"{PAIRS}/t": scene.t}
    distance = np.array([one.distance for one in shown.parts.values()])
    for place, family in enumerate(scene.families):
        found[f"{PAIRS}/loss, {family}"] = scene.loss[:, place]
        found[f"{PAIRS}/{BARRIER}{family}"] = scene.barrier[:, place]
        found[f"{PAIRS}/distance, {family}"] = distance[:, place]
    return found


ALIGNMENT = Kind(
    name="alignment",
    summary="pairs of networks that symmetries bring together, family by family",
    options=AlignmentOptions,
    compute=_compute,
    draw=_draw,
    report=_report,
    words=_words,
    numbers=_numbers,
    faults=_faults,
    heeds=lambda options: PAGE_OPTIONS,
    title="Alignments (--kind alignment)",
)
