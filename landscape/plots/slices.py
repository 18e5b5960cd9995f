"""Slices: curves, surfaces and trajectories in their plane, of the loss or of another metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.errors import did_you_mean
from landscape.plots import slice_report
from landscape.plots.kind import Kind, Parts, Shown
from landscape.plots.moments import frames, moments
from landscape.plots.slice_options import (
    COMMON,
    EXTRA,
    HESSIAN_RATIO,
    THROUGH_RUNS,
    CurveOptions,
    HessianRatioOptions,
    Slice,
    TrajectoryOptions,
)
from landscape.plots.source import Source
from landscape.vocabulary import MAP_OPTIONS, METRICS, PAGE_OPTIONS, PANEL_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from landscape.pages import Page
    from landscape.render.look import Look
    from landscape.render.panels import Panel
    from landscape.values.surface import Surface


def field_of(surfaces: Mapping[str, Surface], metric: str | None, split: str | None) -> str | None:
    """The field that a metric and a split name, each by default the first there is; None if neither is given.

    Raises:
        LandscapeError: If a slice lacks it.
    """
    if metric is None and split is None:
        return None
    first = next(iter(surfaces.values()))
    first_split, first_metric = next(iter(first.fields)).split("_", 1)
    field = f"{split or first_split}_{metric or first_metric}"
    for surface in surfaces.values():
        _ = surface[field]
    return field


def panel_of(shown: Shown) -> Panel:
    """The panel of slices, to be drawn beside others."""
    from landscape.render.panels import Panel

    wanted: Slice = shown.options
    field = field_of(shown.parts, wanted.metric, wanted.split)
    return Panel(surfaces=shown.parts, title=shown.title, field=field, view=wanted.view)


def draw(panels: Sequence[Shown], look: Look) -> Figure:
    """Draw slices: a lone one in a picture of its own size, unless a size is asked for."""
    from landscape import render

    if len(panels) == 1 and len(panels[0].parts) == 1 and look.width is None and look.height is None:
        panel = panel_of(panels[0])
        with look.given(title=panel.title if look.title is None else None).applied():
            return render.picture(panels[0].first, field=panel.field, view=panel.view)
    return composed([panel_of(shown) for shown in panels])


def composed(panels: Sequence[Panel], width: str = "two-columns") -> Figure:
    """Draw panels of slices and curves in one figure; its width where the look in use has none."""
    from landscape import render
    from landscape.render.look import width_or

    runs = {run for panel in panels for run in panel.surfaces}
    if len(runs) == 1:
        # The name of a lone run tells it from no other.
        panels = [
            replace(panel, surfaces={"": surface}) for panel in panels for surface in panel.surfaces.values()
        ]
    return render.compose(panels, width=width_or(width))


def heeds(wanted: Slice) -> tuple[str, ...]:
    """The options of a look that mean something for slices."""
    if wanted.kind == "curve":
        return (*PAGE_OPTIONS, *PANEL_OPTIONS, *SCALE_OPTIONS)
    without = ("cmap",) if wanted.view == "levels" else ()
    every = (*PAGE_OPTIONS, *PANEL_OPTIONS, *SCALE_OPTIONS, *MAP_OPTIONS)
    return tuple(name for name in every if name not in without)


def numbers_of(surface: Surface) -> dict[str, NDArray[Any]]:
    """The coordinates and fields of a slice, and its path."""
    found: dict[str, NDArray[Any]] = {**surface.axes, **surface.fields}
    if surface.path is not None:
        found |= {f"path_{name}": getattr(surface.path, name) for name in ("x", "y", "off_plane", "loss")}
    return found


def numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    """The numbers of slices or curves by name of the run."""
    return {
        f"{name}/{entry}": values
        for name, surface in shown.parts.items()
        for entry, values in numbers_of(surface).items()
    }


def _compute(source: Source, wanted: Slice) -> Parts:
    from landscape.plots.slice_values import slices_of

    return slices_of(source, source.placed(wanted))


def _each(wanted: Slice) -> bool:
    return wanted.plane not in (THROUGH_RUNS, COMMON)


def _faults(wanted: Slice, runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield options that do not go together with the runs of a recipe."""
    if wanted.shard is not None:
        yield "shard", "parts are computed by landscape plot --shard, leave it out"
    if wanted.fast:
        yield "fast", "coarse pictures are drawn by landscape plot --fast, leave it out"
    count = len(runs)
    known = (*METRICS, *EXTRA, HESSIAN_RATIO)
    if wanted.metric not in (None, *known):
        yield (
            "metric",
            f"must be {' or '.join(known)}; got '{wanted.metric}'; {did_you_mean(wanted.metric, known)}",
        )
    if any(":" in words for words in wanted.snapshots):
        yield "plane", "a plane goes through steps of one run; or write plane = 'runs'"
    if wanted.plane == COMMON and count < 2:
        yield "plane", f"a common plane is of two runs or more, got {count}"
    if wanted.kind == "trajectory" and wanted.view not in ("contour", "levels"):
        yield "view", f"a path is drawn on contours; got '{wanted.view}'; leave it out"
    needed = 2 if wanted.kind == "curve" else 3
    if wanted.plane == THROUGH_RUNS and count != needed:
        yield "plane", f"a {wanted.kind} goes through {needed} runs, got {count}"


def _deciding(wanted: Slice) -> dict[str, Any]:
    """Return what decides the values: of the metric only one that is not measured in any case."""
    extra = wanted.metric if wanted.metric in (*EXTRA, HESSIAN_RATIO) else None
    split = wanted.splits[0] if len(wanted.splits) == 1 else None
    decided = {"kind": wanted.kind, **wanted.plain(deciding=True), "metric": extra, "split": split}
    # Slices made before there was a choice say nothing of it.
    return decided | ({} if wanted.generator is None else {"generator": wanted.generator})


def _cost(wanted: Slice) -> tuple[Any, float]:
    counts = wanted.points if isinstance(wanted.points, tuple) else (wanted.points, wanted.points)
    x, y = (
        count if given is None or isinstance(given, tuple) else len(given)
        for count, given in zip(counts, (wanted.x, wanted.y), strict=True)
    )
    points = math.prod((x, 1 if wanted.kind == "curve" else y, wanted.repeats or 1))
    return [wanted.kind, list(wanted.splits), wanted.subset, wanted.dtype, wanted.preview, wanted.metric], float(
        points
    )


def onto(shown: Shown, ax: Axes) -> Figure:
    """Draw slices on given axes: curves of all runs over each other, of planes the first."""
    from landscape import render
    from landscape.render.contours import plane_field
    from landscape.render.notebook import drawn_on
    from landscape.render.trajectories import draw_map

    panel = panel_of(shown) if isinstance(shown.options, Slice) else None
    surface, field = shown.first, None if panel is None else panel.field
    if surface.y is None:
        _overlay(shown.parts, field, ax)
    elif surface.path is not None or surface.paths:
        draw_map(surface, plane_field(surface, field), ax)
    elif panel is not None and panel.view == "3d":
        render.surface3d(surface, field, ax=ax)
    else:
        render.contour(surface, field, ax=ax)
    return drawn_on(ax)


def _overlay(surfaces: Mapping[str, Surface], field: str | None, ax: Axes) -> None:
    from landscape.render.curves import limit, wants_log_axis
    from landscape.render.legend import legend_above
    from landscape.render.overlay import overlay
    from landscape.render.palette import run_colours
    from landscape.render.panels import Panel, cells_of

    cell = cells_of(Panel(surfaces, "", field), 0)[0]
    lines = [surfaces[run][name] for run, names in cell.fields.items() for name in names]
    handles = overlay(ax, cell, run_colours(list(surfaces)), wants_log_axis(cell.field, lines))
    limit(ax)
    legend_above(ax, handles)


def page(shown: Shown) -> Page:
    """The interactive page of slices."""
    from landscape.pages import page_of

    wanted: Slice = shown.options
    return page_of(shown.parts, field=field_of(shown.parts, wanted.metric, wanted.split), title=shown.title)


def _read(path: Path) -> Surface:
    from landscape.surface.store import read_surface

    return read_surface(path)


def _frames(panels: Sequence[Shown]) -> tuple[int, Iterator[NDArray[Any]]]:
    wanted: Slice = panels[0].options
    return frames(panels, field_of(panels[0].parts, wanted.metric, wanted.split))


def _kind(name: str, summary: str, options: type[Slice]) -> Kind:
    return Kind(
        name=name,
        summary=summary,
        options=options,
        compute=_compute,
        draw=draw,
        report=slice_report.report,
        lines=slice_report.lines,
        numbers=numbers,
        each=_each,
        panels=lambda shown: [panel_of(shown)],
        page=page,
        stored=("landscape/surface", _read),
        faults=_faults,
        deciding=_deciding,
        cost=_cost,
        onto=onto,
        heeds=heeds,
        step="slice",
        title="Slices",
        unit="point",
        saved="surface",
    )


def _moving(kind: Kind) -> Kind:
    return replace(kind, moments=moments, frames=_frames)


CURVE = _kind("curve", "a metric along a line", CurveOptions)
SURFACE = _moving(_kind("surface", "a metric over a plane", Slice))
TRAJECTORY = _moving(_kind("trajectory", "the path of a run in its PCA plane", TrajectoryOptions))
HESSIAN_RATIO_MAP = _kind(
    "hessian-ratio", "smallest to largest Hessian eigenvalue over a plane", HessianRatioOptions
)
