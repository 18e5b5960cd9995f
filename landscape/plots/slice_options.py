"""Options of slices: curves, surfaces and trajectories in their plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from landscape.errors import LandscapeError
from landscape.forms import COUNTS, FILE, NUMBER, NUMBERS, PART, RANGE, SIZE, STEP, TEXT, WHOLE, Form
from landscape.options import Options, option
from landscape.surface.tune import TuneOptions, require_tolerance
from landscape.values.grid import Coordinates, grid
from landscape.vocabulary import (
    CENTERS,
    ENGINES,
    GENERATORS,
    MANY_NUMBERS,
    NORMALIZATIONS,
    ONE_D_POLICIES,
    POLICIES,
    RECALIBRATE,
    SPAN,
    SPLITS,
)

if TYPE_CHECKING:
    pass

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
EXTRA = ("penalty", "total")
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
    """Options of the slice that is drawn.

    Attributes:
        kind: ``"curve"``, ``"surface"`` or ``"trajectory"``.
        splits: The splits that are evaluated; empty is both for a curve and train otherwise.
        metrics: What is measured; empty is the loss, and the error where there is one.
        x: Of the first axis instead of the radius: a tuple (low, high), or all coordinates as a list.
        y: Of the second axis, likewise.
    """

    kind: str = "surface"
    at: int | str = option("last", "Snapshot at the centre: a step, first or last", form=STEP)
    plane: str | None = option(
        None,
        "random; pca; snapshots:A,B[,C], each a STEP or FILE:STEP; runs; common (PCA of all runs); "
        "hessian[:largest|smallest|both]; gradient-update; of a curve gradient or update",
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
    generator: str | None = option(
        None,
        "Random numbers of directions: streams, one of each tensor; blocks, drawn part by part in threads",
        form=TEXT,
        choices=GENERATORS,
        decides=False,
        unset=f"streams, or blocks from {MANY_NUMBERS:,} moving numbers on",
    )
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
    workers: int = option(1, "So many processes share the points, the cores and the memory", low=1, decides=False)
    shard: tuple[int, int] | None = option(
        None, "Compute only part I of N of the points; `landscape merge` joins the parts", form=PART, decides=False
    )
    fast: bool = option(
        False,
        "Draw a coarse surface first, of a tenth of the points; the picture is refined in place",
        decides=False,
    )
    preview: float | None = option(
        None,
        "Interpolate what needs no computing for a relative error of the loss below TOL, e.g. 0.01, and say so",
        form=NUMBER,
        check=require_tolerance,
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
        extra = (self.metric,) if self.metric in EXTRA else ()
        measured = (*(name for name in ("loss", "error") if name in known), *extra)
        return replace(self, metrics=measured)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what does not go together."""
        if self.kind not in KINDS:
            yield "kind", f"unknown kind '{self.kind}', choose from {', '.join(KINDS)}"
        yield from self._of_a_shard()
        yield from self._of_a_coarse_picture()
        yield from self._of_the_plane()
        yield from self._of_the_axes()
        yield from self._of_the_view()
        if self.bn == "interpolate" and not self.snapshots and self.plane != THROUGH_RUNS:
            got = self.plane or self.directions or ("pca" if self.kind == "trajectory" else "random")
            said = "bn interpolate is of planes through snapshots or runs, got {}; take bn recalibrate"
            yield "bn", said.format(got)

    def _of_a_shard(self) -> Iterator[tuple[str, str]]:
        if self.shard is not None and self.preview is not None:
            yield "shard", "a preview decides for itself which points it computes, leave shard out"
        elif self.shard is not None and self.metric == HESSIAN_RATIO:
            yield "shard", "maps of the Hessian are computed whole, leave shard out"

    def _of_a_coarse_picture(self) -> Iterator[tuple[str, str]]:
        if not self.fast:
            return
        for name, what in (("preview", self.preview), ("shard", self.shard), ("repeats", self.repeats)):
            if what is not None:
                yield "fast", f"fast draws a coarse picture before a whole slice of one plane, leave {name} out"
        if self.metric == HESSIAN_RATIO:
            yield "fast", "maps of the Hessian are computed whole, leave fast out"
        if self.nearest is not None:
            yield "fast", "a coarse picture is of one plane, leave nearest out"

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
            yield "view", f"a curve has one view only; got '{self.view}'; leave it out"

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
