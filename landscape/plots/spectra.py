"""Spectra: the density of the eigenvalues of a curvature matrix at a snapshot, with both of its ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.forms import STEP, TEXT, WHOLE
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone, page_of_parts
from landscape.plots.source import Source
from landscape.vocabulary import MATRICES, PRODUCTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.curvature import Curvature, EigenPairs
    from landscape.objective import Objective
    from landscape.plots.blocks import BlocksOptions
    from landscape.render.look import Look
    from landscape.trajectory import Snapshot, Trajectory
    from landscape.values.spectrum import End, Spectrum

# The standard deviation of the smoothing, a tenth of an eigenvalue: hardly narrower than the nodes of 80 steps
# are apart in the bulk, where their places mean nothing.
_WIDTH = 0.1


@dataclass(frozen=True)
class SpectrumOptions(Options):
    """Which spectrum is drawn."""

    at: int | str = option("last", "The snapshot: a step, first or last", form=STEP)
    matrix: str = option("hessian", "The matrix", choices=MATRICES)
    probes: int = option(10, "Random vectors; their range is drawn as a band", low=2)
    lanczos: int = option(80, "Products of each probe", low=1)
    split: str = option("train", "The data", choices=("train", "test"))
    parameters: str | None = option(None, "Parameters that count, e.g. 'fc.*,!*.bias'", form=TEXT, unset="all")
    seed: int = option(0, "Draws the random vectors", low=0)
    dtype: str | None = option(
        None, "The type of numbers", form=TEXT, choices=("float32", "float64"), unset="the model's own"
    )
    products: str = option(
        "auto", "How products are taken; finite-difference needs no second derivatives", choices=PRODUCTS
    )
    subset: int | None = option(None, "So many examples instead of all", form=WHOLE, low=1, unset="all")


def operator_of(
    objective: Objective, snapshot: Snapshot, wanted: SpectrumOptions | BlocksOptions
) -> tuple[Curvature, Objective]:
    """The curvature matrix that options of a picture ask for, and the objective that it is of."""
    import torch

    from landscape.curvature import Curvature

    measured = objective if wanted.subset is None else objective.subset(wanted.subset, splits=[wanted.split])
    operator = Curvature(
        measured,
        snapshot,
        kind=wanted.matrix,
        split=wanted.split,
        parameters=wanted.parameters,
        dtype=getattr(torch, wanted.dtype) if wanted.dtype else None,
        products=wanted.products,
    )
    return operator, measured


def spectrum_of(
    run: Trajectory,
    objective: Objective,
    wanted: SpectrumOptions,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Spectrum:
    """Compute the density of the spectrum at a snapshot, with both of its ends.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: Which spectrum.
        progress: Called with (products done, products in all, of the density).

    Returns:
        The spectrum, ready to be drawn.

    Raises:
        LandscapeError: If the step does not exist, or the matrix cannot be had.
    """
    from landscape.curvature import both_ends, spectral_density
    from landscape.values.spectrum import Spectrum, smoothed

    snapshot = run[run.index_of(wanted.at)]
    operator, measured = operator_of(objective, snapshot, wanted)
    steps = min(wanted.lanczos, operator.size)
    total = wanted.probes * steps
    tell = None if progress is None else (lambda done: progress(done, total))
    found = spectral_density(
        operator, probes=wanted.probes, steps=steps, seed=wanted.seed, width=_WIDTH, progress=tell
    )
    ends = both_ends(operator, seed=wanted.seed)
    meta: dict[str, Any] = {
        "problem": objective.problem,
        "step": int(snapshot.step),
        "epoch": float(snapshot.epoch),
        "seed": run.seed,
        "matrix": wanted.matrix,
        "splits": [wanted.split],
        "examples": measured.examples([wanted.split]),
        "probes": wanted.probes,
        "lanczos": steps,
        "probe_seed": wanted.seed,
        "parameters": wanted.parameters,
        "unit": objective.unit,
        "products": found.products + ends.products,
    }
    if operator.derivatives.note:
        meta["derivatives"] = operator.derivatives.note
    return Spectrum(
        grid=found.grid,
        densities=smoothed(found.nodes, found.weights, found.grid, found.linear, found.width),
        linear=found.linear,
        width=found.width,
        size=operator.size,
        mean=found.mean,
        mean_standard_error=found.mean_standard_error,
        second_moment=found.second_moment,
        second_moment_standard_error=found.second_moment_standard_error,
        largest=_end(ends.largest),
        smallest=_end(ends.smallest),
        meta=meta,
    )


def _end(pairs: EigenPairs) -> End:
    from landscape.values.spectrum import End

    converged = bool(pairs.converged[0])
    value = float(pairs.values[0]) if converged else float("nan")
    return End(value, float(pairs.residuals[0]), converged)


def _compute(source: Source, wanted: SpectrumOptions) -> Parts:
    run = source.only("a spectrum")
    wanted = source.placed(wanted)
    run.index_of(wanted.at)
    return {source.names[0]: spectrum_of(run, source.objective(), wanted, progress=source.progress)}


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    return render.spectrum(shown.first)


def _report(shown: Shown) -> Document:
    found: Spectrum = shown.first
    trace, error = found.trace
    ends = {name: getattr(found, name) for name in ("largest", "smallest")}
    return {
        "kind": "spectrum",
        **found.meta,
        "size": found.size,
        "mean": found.mean,
        "mean_standard_error": found.mean_standard_error,
        "trace": trace,
        "trace_standard_error": error,
        "second_moment": found.second_moment,
        "second_moment_standard_error": found.second_moment_standard_error,
        **{
            name: {"value": end.value, "residual": end.residual, "converged": end.converged}
            for name, end in ends.items()
        },
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    unit = f" {document['unit']}" if document["unit"] else ""
    lines = [
        f"{document['picture']}: spectrum of the {document['matrix']} of {document['problem']} at step "
        f"{document['step']}, {document['size']:,} eigenvalues",
        f"  computed in {document['seconds']:.1f} s, {document['products']} products",
        f"  mean      {document['mean']:.6g} ± {document['mean_standard_error']:.2g}{unit}",
        f"  trace     {document['trace']:.6g} ± {document['trace_standard_error']:.2g}{unit}",
    ]
    if "derivatives" in document:
        lines.append(f"  {document['derivatives']}")
    for name in ("largest", "smallest"):
        end = document[name]
        said = (
            f"{end['value']:.6g}{unit} (residual {end['residual']:.1e})" if end["converged"] else "not converged"
        )
        lines.append(f"  {name:<9} {said}")
    return lines


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    found: Spectrum = shown.first
    ends = np.array([found.smallest.value, found.largest.value])
    return {"eigenvalues": found.grid, "density": found.density, "densities": found.densities, "ends": ends}


SPECTRUM = Kind(
    name="spectrum",
    summary="eigenvalues of the Hessian or of another curvature matrix",
    options=SpectrumOptions,
    compute=_compute,
    draw=alone("spectrum", _draw),
    report=_report,
    lines=_lines,
    numbers=_numbers,
    page=page_of_parts,
    title="Spectra (--kind spectrum)",
    unit="product",
)
