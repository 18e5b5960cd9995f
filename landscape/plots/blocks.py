"""Curvature by block: where the Hessian is large, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.forms import STEP, TEXT, WHOLE
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone
from landscape.plots.source import Source
from landscape.plots.spectra import operator_of
from landscape.values.blocks import Blocks
from landscape.vocabulary import DTYPES, MATRICES, PAGE_OPTIONS, PRODUCTS, SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look

# Random vectors of a block's spectrum: its moments to about a tenth are enough for a picture.
_PROBES = 4


@dataclass(frozen=True)
class BlocksOptions(Options):
    """Which matrix, and how it is cut."""

    at: int | str = option("last", "The snapshot: a step, first or last", form=STEP)
    by: str = option(
        "layer",
        "Layers, kinds of layers (those of one name, as in the blocks of a transformer), parameters, or the "
        "optimizer's recorded groups",
        choices=("layer", "kind", "parameter", "group"),
    )
    matrix: str = option("hessian", "The matrix", choices=MATRICES)
    probes: int = option(20, "Random vectors of each block, a product each", low=2)
    lanczos: int = option(30, "Products of each of four probes of a block's spectrum", low=1)
    norms_only: bool = option(False, "Leave out the spectrum of each block and its ends")
    split: str = option("train", "The data", choices=SPLITS)
    parameters: str | None = option(None, "Parameters that count, e.g. 'fc.*,!*.bias'", form=TEXT, unset="all")
    seed: int = option(0, "Draws the random vectors", low=0)
    dtype: str | None = option(None, "The type of numbers", form=TEXT, choices=DTYPES, unset="the model's own")
    products: str = option(
        "auto", "How products are taken; finite-difference needs no second derivatives", choices=PRODUCTS
    )
    subset: int | None = option(None, "So many examples instead of all", form=WHOLE, low=1, unset="all")


def _compute(source: Source, wanted: BlocksOptions) -> Parts:
    from landscape.curvature.blocks import block_ends, block_norms, block_sizes, block_spectra, blocks_of

    run = source.only("curvature by block")
    wanted = source.placed(wanted)
    snapshot = run[run.index_of(wanted.at)]
    operator, measured = operator_of(source.objective(), snapshot, wanted)
    cut = blocks_of(operator.names, wanted.by, run.optimizer.get("groups"))
    blocks = list(cut.values())
    sizes = block_sizes(operator, blocks)
    first = len(cut) * wanted.probes
    more = 0 if wanted.norms_only else sum(_PROBES * min(wanted.lanczos, size) for size in sizes)
    found = block_norms(
        operator, blocks, wanted.probes, wanted.seed, progress=lambda done: source.progress(done, first + more)
    )
    ends = ([math.nan] * len(cut),) * 2
    grid, densities, linear = np.empty(0), np.empty((len(cut), 0)), 1.0
    if not wanted.norms_only:
        spectra = block_spectra(
            operator,
            blocks,
            _PROBES,
            wanted.lanczos,
            wanted.seed,
            progress=lambda done: source.progress(first + done, first + more),
        )
        grid, densities, linear = spectra.grid, spectra.densities, spectra.linear
        ends = block_ends(operator, blocks, wanted.seed)
    meta: dict[str, Any] = {
        "problem": measured.problem,
        "step": int(snapshot.step),
        "seed": run.seed,
        "matrix": wanted.matrix,
        "by": wanted.by,
        "splits": [wanted.split],
        "examples": measured.examples([wanted.split]),
        "probes": wanted.probes,
        **({} if wanted.norms_only else {"lanczos": wanted.lanczos, "spectrum_probes": _PROBES}),
        "unit": measured.unit,
        "products": operator.products,
        **({"derivatives": operator.derivatives.note} if operator.derivatives.note else {}),
    }
    return {
        source.names[0]: Blocks(
            names=tuple(cut),
            sizes=np.array(sizes),
            norms=found.norms.numpy(),
            norm_errors=found.norm_errors.numpy(),
            traces=found.traces.numpy(),
            trace_errors=found.trace_errors.numpy(),
            tops=np.array(ends[0]),
            bottoms=np.array(ends[1]),
            grid=grid,
            densities=densities,
            linear=linear,
            meta=meta,
        )
    }


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    return render.blocks(shown.first)


def _report(shown: Shown) -> Document:
    found: Blocks = shown.first
    columns = {name: np.asarray(values).tolist() for name, values in found._table().items()}
    return {
        "kind": "blocks",
        **found.meta,
        "within": found.within,
        "norms": found.norms.tolist(),
        "norm_errors": found.norm_errors.tolist(),
        "blocks": columns,
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    rows = document["blocks"]
    lines = [
        f"{document['picture']}: {document['matrix']} of {document['problem']} at step {document['step']} by "
        f"{document['by']}, {len(rows['block'])} blocks",
        f"  computed in {document['seconds']:.1f} s, {document['products']} products",
        f"  within blocks {100 * document['within']:.3g} % of the squared Frobenius norm",
    ]
    wide = max([5, *map(len, rows["block"])])
    lines.append(f"  {'block':<{wide}} {'numbers':>10} {'norm':>18} {'trace':>18} {'share':>7} {'largest':>10}")
    if "derivatives" in document:
        lines.insert(2, f"  {document['derivatives']}")
    for place, name in enumerate(rows["block"]):
        norm = f"{rows['norm'][place]:.4g} ± {rows['norm_error'][place]:.2g}"
        trace = f"{rows['trace'][place]:.4g} ± {rows['trace_error'][place]:.2g}"
        share, top = f"{100 * rows['share'][place]:.3g} %", rows["top"][place]
        shown = "-" if top != top else f"{top:.4g}"
        lines.append(f"  {name:<{wide}} {rows['size'][place]:>10,} {norm:>18} {trace:>18} {share:>7} {shown:>10}")
    return lines


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    found: Blocks = shown.first
    return {
        "norms": found.norms,
        "norm_errors": found.norm_errors,
        "traces": found.traces,
        "tops": found.tops,
        "bottoms": found.bottoms,
        "eigenvalues": found.grid,
        "densities": found.densities,
    }


BLOCKS = Kind(
    name="blocks",
    summary="the Hessian by layer: norms, traces and spectra of its blocks",
    options=BlocksOptions,
    compute=_compute,
    draw=alone("blocks", _draw),
    report=_report,
    lines=_lines,
    numbers=_numbers,
    heeds=lambda options: PAGE_OPTIONS,
    title="Curvature by block (--kind blocks)",
    unit="product",
)
