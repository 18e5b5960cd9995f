"""Basins of a surface: which of its minima are deeper than their errors, and where their basins join."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.plots import slices
from landscape.plots.kind import Document, Kind, Shown, alone
from landscape.plots.slice_options import Slice
from landscape.plots.slice_report import describe
from landscape.plots.words import number
from landscape.vocabulary import MAP_OPTIONS, PAGE_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.values.merge_tree import MergeTree

# Lines of a report.
_MOST = 12


@dataclass(frozen=True)
class BasinOptions(Slice):
    """Which surface the basins are of."""

    def _of_the_view(self) -> Iterator[tuple[str, str]]:
        if self.view != "contour":
            yield "view", f"basins have one view only; got '{self.view}'; leave it out"
        if self.repeats is not None:
            yield "repeats", "basins are of one plane, leave repeats out"


def _tree(shown: Shown) -> MergeTree:
    from landscape.values.merge_tree import merge_tree

    field = slices.field_of(shown.parts, shown.options.metric, shown.options.split)
    return merge_tree(shown.first, field)


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    tree = _tree(shown)
    return render.merge_tree(shown.first, tree, words=_verdict(_described(shown.first, tree)))


def _described(surface: Any, tree: MergeTree) -> Document:
    certain = np.flatnonzero(tree.certain)
    rest = np.flatnonzero(~tree.certain)
    numbers = {int(basin): n for n, basin in enumerate(certain, 1)}
    return {
        "field": tree.field,
        "unit": str((surface.meta.get("units") or {}).get(tree.field.partition("_")[2], "")),
        "minima": len(tree.minima),
        "basins": [
            {
                "bottom": float(tree.bottoms[basin]),
                "x": float(surface.x[tree.minima[basin, 1]]),
                "y": float(surface.y[tree.minima[basin, 0]]),
                "rim": float(tree.rims[basin]),
                "saddle_x": float(surface.x[tree.saddles[basin, 1]]),
                "saddle_y": float(surface.y[tree.saddles[basin, 0]]),
                "depth": float(tree.depths[basin]),
                "error": float(tree.errors[basin]),
                "joins": numbers.get(int(tree.heirs[tree.parents[basin]])) if tree.parents[basin] >= 0 else None,
                "at_edge": bool(tree.at_edge[basin]),
                "points": int((tree.basins == basin).sum()),
            }
            for basin in certain.tolist()
        ],
        "within_error": len(rest),
        "deepest_within_error": float(tree.depths[rest[0]]) if len(rest) else None,
        "its_error": float(tree.errors[rest[0]]) if len(rest) else None,
        "standard_errors": tree.known,
        "margin": tree.margin,
        "missing": tree.missing,
    }


def _report(shown: Shown) -> Document:
    return {**describe(shown.first), "kind": "basins", "topology": _described(shown.first, _tree(shown))}


def _verdict(told: Mapping[str, Any]) -> str:
    count, rest = len(told["basins"]), told["within_error"]
    what = "rounding" if not told["standard_errors"] else "errors explain"
    said = f"{count or 'no'} basin{'s are' if count != 1 else ' is'} deeper than {what}"
    if rest:
        said += f"; {rest} shallower {'minimum counts' if rest == 1 else 'minima count'} as none"
    return said[:1].upper() + said[1:]


def _lines(document: Mapping[str, Any]) -> list[str]:
    told = document["topology"]
    unit = told["unit"]
    shape = " x ".join(map(str, reversed(document["shape"])))
    said = [
        f"{document['picture']}: basins of {told['field']} of {document['problem']}, {shape}",
        f"  {_verdict(told)}",
    ]
    for place, basin in enumerate(told["basins"][:_MOST], 1):
        where = f"at x = {number(basin['x'])}, y = {number(basin['y'])}" + ", on the edge" * basin["at_edge"]
        depth = f"{number(basin['depth'], unit)} deep, errors explain {number(basin['error'])}"
        joins = f"joins {basin['joins']} at {number(basin['rim'])}" if basin["joins"] else "the lowest"
        said.append(f"  {place:<3} {number(basin['bottom'], unit)} {where}: {depth}; {joins}")
    if len(told["basins"]) > _MOST:
        said.append(f"  and {len(told['basins']) - _MOST} more")
    if told["within_error"]:
        depth, error = number(told["deepest_within_error"], unit), number(told["its_error"])
        said.append(f"  the deepest of those that count as none: {depth}, errors explain {error}")
    if told["standard_errors"]:
        said.append(
            f"  errors: {told['margin']:.2f} standard errors at the minimum and at the saddle, so that with 95 % "
            "none counts by chance"
        )
    else:
        said.append("  the surface has no standard errors: any dip above rounding counts")
    if told["missing"]:
        said.append(f"  {told['missing']} points have no value; they separate no basins")
    return said


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    tree = _tree(shown)
    held = ("minima", "saddles", "bottoms", "rims", "errors", "parents", "certain", "basins")
    return slices.numbers_of(shown.first) | {name: np.asarray(getattr(tree, name)) for name in held}


BASINS = Kind(
    name="basins",
    summary="minima of a surface deeper than their errors",
    options=BasinOptions,
    compute=slices.SURFACE.compute,
    draw=alone("basins", _draw),
    report=_report,
    lines=_lines,
    numbers=_numbers,
    each=slices.SURFACE.each,
    stored=slices.SURFACE.stored,
    also=("surface", "trajectory", "hessian-ratio"),
    faults=slices.SURFACE.faults,
    deciding=slices.SURFACE.deciding,
    cost=slices.SURFACE.cost,
    heeds=lambda options: (*PAGE_OPTIONS, *SCALE_OPTIONS, *MAP_OPTIONS),
    step="slice",
    title="Slices",
    unit="point",
    saved="surface",
)
