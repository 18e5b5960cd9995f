"""Slices: curves, surfaces and trajectories in their plane, of the loss or of another metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.options import COUNTS, FILE, NUMBER, NUMBERS, RANGE, SIZE, STEP, TEXT, WHOLE, Form, Options, option
from landscape.plots import slice_report
from landscape.plots.kind import Kind, Parts, Shown
from landscape.plots.source import Source
from landscape.surface.axes import Coordinates, grid
from landscape.surface.tune import TuneOptions
from landscape.vocabulary import (
    CENTERS,
    ENGINES,
    METRICS,
    NORMALIZATIONS,
    ONE_D_POLICIES,
    POLICIES,
    RECALIBRATE,
    SPAN,
    SPLITS,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.render.panels import Panel
    from landscape.surface.values import Surface

KINDS = ("curve", "surface", "trajectory")
# The plane that goes through runs instead of through snapshots of one.
THROUGH_RUNS = "runs"
# The plane of largest motion of several runs together.
COMMON = "common"
# Planes along derivatives at the centre, by the kinds of picture that they can be drawn in.
HESSIAN = ("hessian", "hessian:largest", "hessian:smallest", "hessian:both")
GRADIENT = ("gradient", "update", "gradient-update")
_PLANES = ("random", "pca", THROUGH_RUNS, COMMON, *HESSIAN, *GRADIENT)
VIEWS = ("contour", "levels", "3d", "both")
_DTYPES = ("float32", "float64", "bfloat16")
# Metrics that are measured only where they are drawn.
_EXTRA = ("penalty", "total")
HESSIAN_RATIO = "hessian_ratio"


def _plane(given: Any) -> str:
    if given in _PLANES or (isinstance(given, str) and given.startswith("snapshots:")):
        return str(given)
    known = ("random", "pca", "hessian", "gradient-update", "runs", "snapshots:STEP,STEP[,STEP]")
    raise LandscapeError(f"unknown plane '{given}', choose from {', '.join(known)}")


def _policy(given: Any) -> str:
    policy, colon, count = str(given).partition(":")
    if policy not in POLICIES or (colon and (policy != RECALIBRATE or not count.isdecimal())):
        raise ValueError(given)
    return str(given)


def _metric(given: Any) -> str:
    return str(given).replace("-", "_")


PLANE = Form("the name of a plane", _plane, "WHAT")
POLICY = Form(f"{', '.join(POLICIES)} or {RECALIBRATE}:EXAMPLES", _policy, "POLICY")
METRIC = Form("the name of a metric", _metric, "METRIC")
SliceT = TypeVar("SliceT", bound="Slice")


@dataclass(frozen=True)
class Slice(Options):
    """What slice is drawn.

    Attributes:
        kind: ``"curve"``, ``"surface"`` or ``"trajectory"``.
        splits: The splits that are evaluated; empty is both for a curve and train otherwise.
        metrics: What is measured; empty is the loss, and the error where there is one.
        x: Of the first axis instead of the radius: a tuple (low, high), or all coordinates as a list.
        y: Of the second axis, likewise.
    """

    kind: str = "surface"
    at: int | str = option("last", "The snapshot at the centre: a step, first or last", form=STEP)
    plane: str | None = option(
        None,
        "random; pca; snapshots:A,B[,C], each a STEP or FILE:STEP; runs (through them); common (PCA of all runs); "
        "hessian[:largest|smallest|both], eigenvectors; gradient-update; of a curve gradient or update",
        form=PLANE,
        unset="random",
    )
    directions: str | None = option(None, "Directions x, y: a surface, .npz or .safetensors", form=FILE)
    nearest: int | str | None = option(None, "Beside a trajectory, its plane moved to this snapshot", form=STEP)
    gradient: bool = option(False, "Arrows: negative gradients projected into the plane")
    points: int | tuple[int, int] = option(51, "Points along each axis, as 41 or 41x21", form=COUNTS)
    radius: float = option(1.0, "Half the width, in units of the directions; of paths, times what fits")
    x_range: tuple[float, float] | None = option(None, "Of the first axis, instead of the radius", form=RANGE)
    y_range: tuple[float, float] | None = option(None, "Of the second axis, instead of the radius", form=RANGE)
    x_values: Sequence[float] | None = option(None, "All coordinates of the first axis, increasing", form=NUMBERS)
    y_values: Sequence[float] | None = option(None, "All coordinates of the second axis, increasing", form=NUMBERS)
    repeats: int | None = option(
        None, "K random lines or planes: median, band, statistics", form=WHOLE, low=SPAN[0], high=SPAN[1]
    )
    subset: int | None = option(None, "N examples of each split; the error it costs is said", form=WHOLE, low=1)
    normalize: str = option("filter", "How directions are normalised", choices=NORMALIZATIONS)
    one_d: str = option("ignore", "Biases and gains: ignore (they stay) or norm", choices=ONE_D_POLICIES)
    seed: int = option(0, "Draws random directions", low=0)
    parameters: str | None = option(None, "Which parameters move, e.g. 'lora_*,!*.bias'", form=TEXT, unset="all")
    center: str = option("mean", "What PCA subtracts from snapshots", choices=CENTERS)
    metric: str | None = option(
        None,
        "loss, error, penalty, total or hessian-ratio (smallest / largest eigenvalue)",
        form=METRIC,
        unset="loss",
        decides=False,
        shows=True,
    )
    split: str | None = option(
        None,
        "The data: train or test",
        form=TEXT,
        choices=SPLITS,
        unset="train; a curve shows both",
        decides=False,
        shows=True,
    )
    bn: str = option(
        "frozen",
        "Normalisation statistics: frozen, recalibrate[:EXAMPLES] at every point, or interpolate",
        form=POLICY,
    )
    view: str = option(
        "contour",
        "Of a surface: contour, levels (lines only), 3d or both",
        choices=VIEWS,
        decides=False,
        shows=True,
    )
    dtype: str | None = option(None, "The type of numbers", form=TEXT, choices=_DTYPES, unset="the model's own")
    engine: str = option("auto", "The engine", choices=ENGINES)
    tune: str | None = option(
        None,
        "Settings that auto shall not choose, such as batch_size=64,streams=2",
        form=TEXT,
        check=TuneOptions.read,
    )
    memory: str | None = option(
        None,
        "What evaluation may take, such as 4GB",
        form=SIZE,
        unset="a quarter of what is free",
        decides=False,
    )
    preview: float | None = option(
        None,
        "Interpolate what needs no computing for a relative error of the loss below TOL, e.g. 0.01, and say so",
        form=NUMBER,
        low=1e-12,
        high=1 - 1e-12,
    )
    splits: Sequence[str] = field(default_factory=tuple)
    metrics: Sequence[str] = field(default_factory=tuple)
    x: Coordinates | None = None
    y: Coordinates | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for axis in "xy":
            given = getattr(self, f"{axis}_range") or getattr(self, f"{axis}_values")
            if given is not None:
                object.__setattr__(self, axis, given)
        if self.split is not None and not self.splits:
            object.__setattr__(self, "splits", (self.split,))

    def measured(self: SliceT, known: Sequence[str]) -> SliceT:
        """The same with all metrics that are measured, of those that an objective knows."""
        extra = (self.metric,) if self.metric in _EXTRA else ()
        measured = (*(name for name in ("loss", "error") if name in known), *extra)
        return replace(self, metrics=measured)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what does not go together."""
        if self.kind not in KINDS:
            yield "kind", f"unknown kind '{self.kind}', choose from {', '.join(KINDS)}"
        yield from self._of_the_plane()
        yield from self._of_the_axes()
        yield from self._of_the_view()
        if self.bn == "interpolate" and not self.snapshots and self.plane != THROUGH_RUNS:
            got = self.plane or self.directions or ("pca" if self.kind == "trajectory" else "random")
            said = "bn interpolate is of planes through snapshots or runs, got {}; take bn recalibrate"
            yield "bn", said.format(got)

    def _of_the_plane(self) -> Iterator[tuple[str, str]]:
        if self.directions is not None and self.plane is not None:
            said = f"directions from a file are a plane of their own, leave plane {self.plane} out"
            yield "directions", said
        elif self.kind == "trajectory":
            yield from self._of_a_trajectory()
        elif self.plane == COMMON:
            yield "plane", f"a common plane is of trajectories, got a {self.kind}"
        elif self.nearest is not None:
            yield "nearest", f"the nearest plane is that of a trajectory, got a {self.kind}"
        elif self.kind == "curve":
            yield from self._of_a_line()
        elif self.plane in ("gradient", "update"):
            yield "plane", "a surface has two directions: plane gradient-update"
        elif self.snapshots and len(self.snapshots) != 3:
            yield "plane", f"a surface goes through 3 snapshots, got {len(self.snapshots)}"

    def _of_a_trajectory(self) -> Iterator[tuple[str, str]]:
        if self.directions is not None or self.plane not in (None, "pca", COMMON):
            name = "plane" if self.directions is None else "directions"
            yield name, f"a trajectory is drawn in its PCA plane, got plane {self.plane or self.directions}"
        elif self.nearest is not None and self.plane == COMMON:
            yield "nearest", "the nearest plane is that of one trajectory, got a common plane"

    def _of_a_line(self) -> Iterator[tuple[str, str]]:
        if self.plane == "pca":
            yield "plane", "a curve is drawn along a line: plane random or snapshots:STEP,STEP"
        elif self.plane in ("gradient-update", "hessian:both"):
            yield "plane", f"a curve has one direction, got plane {self.plane}"
        elif self.gradient:
            yield "gradient", "gradients are drawn on a surface, got a curve"
        elif self.snapshots and len(self.snapshots) != 2:
            yield "plane", f"a curve goes through 2 snapshots, got {len(self.snapshots)}"

    def _of_the_axes(self) -> Iterator[tuple[str, str]]:
        curve = self.kind == "curve"
        given = {name: getattr(self, name) for name in ("x_range", "y_range", "x_values", "y_values")}
        for axis in "xy":
            if given[f"{axis}_range"] is not None and given[f"{axis}_values"] is not None:
                yield f"{axis}_values", f"an axis has either {axis}_range or {axis}_values"
        if curve and not isinstance(self.points, int):
            yield "points", f"a curve has one axis, got {'x'.join(map(str, self.points))} points"
        if curve and (self.y is not None or given["y_range"] or given["y_values"]):
            name = "y_values" if given["y_values"] else "y_range"
            yield name, "a curve has one axis, got coordinates of y"
        random = self.plane in (None, "random") and self.directions is None
        if self.repeats is not None and (self.kind == "trajectory" or not random):
            yield "repeats", "repeats are of random lines or planes, leave the others out"
        x = {"x_range": given["x_range"], "x_values": given["x_values"], "x": self.x}
        y = {} if curve else {"y_range": given["y_range"], "y_values": given["y_values"], "y": self.y}
        if not (curve and not isinstance(self.points, int)):
            yield from self._faulty("points", points=self.points)
        yield from self._faulty("radius", radius=self.radius)
        for name, value in {**x, **y}.items():
            if value is not None:
                yield from self._faulty(name, **{name[0]: value})

    def _faulty(self, name: str, **axes: Any) -> Iterator[tuple[str, str]]:
        try:
            grid(
                **{
                    "points": self.points if isinstance(self.points, int) else 2,
                    "dims": 1 if self.kind == "curve" else 2,
                    **axes,
                }
            )
        except LandscapeError as fault:
            yield name, str(fault)

    def _of_the_view(self) -> Iterator[tuple[str, str]]:
        if self.kind == "curve" and self.view != "contour":
            yield "view", f"a curve has one view only, got '{self.view}'; leave it out"

    @property
    def snapshots(self) -> list[str]:
        """The snapshots that the plane goes through, if it does: steps, or ``FILE:STEP``."""
        if self.plane is None or not self.plane.startswith("snapshots:"):
            return []
        return [step.strip() for step in self.plane.removeprefix("snapshots:").split(",")]


@dataclass(frozen=True)
class CurveOptions(Slice):
    """Which curve is drawn."""

    kind: str = "curve"


@dataclass(frozen=True)
class TrajectoryOptions(Slice):
    """Which plane of a trajectory is drawn."""

    kind: str = "trajectory"


@dataclass(frozen=True)
class HessianRatioOptions(Slice):
    """Over which plane the ends of the Hessian's spectrum are compared."""

    metric: str | None = option(
        HESSIAN_RATIO, "The field that is drawn, hessian-ratio", form=METRIC, decides=False, shows=True
    )


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
        return render.picture(panels[0].first, field=panel.field, view=panel.view)
    return composed([panel_of(shown) for shown in panels], look)


def composed(panels: Sequence[Panel], look: Look, width: str = "two-columns") -> Figure:
    """Draw panels of slices and curves in one figure; its width where none is asked for."""
    from landscape import render

    return render.compose(
        panels,
        columns=look.columns,
        width=width if look.width is None else look.width,
        height=look.height,
        style=look.style,
        share=look.share,
        caption=look.words,
    )


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
    """What does not go together with the runs of a recipe."""
    count = len(runs)
    known = (*METRICS, *_EXTRA, HESSIAN_RATIO)
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
    """What decides the values: of the metric only one that is not measured in any case."""
    extra = wanted.metric if wanted.metric in (*_EXTRA, HESSIAN_RATIO) else None
    split = wanted.splits[0] if len(wanted.splits) == 1 else None
    return {"kind": wanted.kind, **wanted.plain(deciding=True), "metric": extra, "split": split}


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
    from landscape.render.labels import page
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
    return page(ax)


def _overlay(surfaces: Mapping[str, Surface], field: str | None, ax: Axes) -> None:
    from landscape.render.curves import wants_log_axis
    from landscape.render.legend import legend_above
    from landscape.render.overlay import overlay, run_colours
    from landscape.render.panels import Panel, cells_of

    cell = cells_of(Panel(surfaces, "", field), 0)[0]
    lines = [surfaces[run][name] for run, names in cell.fields.items() for name in names]
    legend_above(ax, overlay(ax, cell, run_colours(list(surfaces)), wants_log_axis(cell.field, lines)))


def _read(path: Path) -> Surface:
    from landscape.surface.store import read_surface

    return read_surface(path)


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
        stored=("landscape/surface", _read),
        faults=_faults,
        deciding=_deciding,
        cost=_cost,
        onto=onto,
        step="slice",
        title="Slices",
        unit="point",
        saved="surface",
    )


CURVE = _kind("curve", "a metric along a line", CurveOptions)
SURFACE = _kind("surface", "a metric over a plane", Slice)
TRAJECTORY = _kind("trajectory", "the path of a run in its PCA plane", TrajectoryOptions)
HESSIAN_RATIO_MAP = _kind(
    "hessian-ratio", "smallest to largest Hessian eigenvalue over a plane", HessianRatioOptions
)
