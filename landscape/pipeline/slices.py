"""What slice is wanted: one value from the border to the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from landscape import projection
from landscape.errors import LandscapeError, did_you_mean
from landscape.surface import grid
from landscape.surface.axes import Coordinates
from landscape.surface.engine import ENGINES, parse_settings
from landscape.surface.memory import parse_memory
from landscape.surface.preview import require_tolerance

KINDS = ("curve", "surface", "trajectory")
RECALIBRATE = "recalibrate"
# The plane that goes through runs instead of through snapshots of one.
THROUGH_RUNS = "runs"
_DTYPES = ("float32", "float64", "bfloat16")


@dataclass(frozen=True)
class Slice:
    """What is to be drawn.

    Attributes:
        kind: ``"curve"``, ``"surface"`` or ``"trajectory"``.
        at: The step at the centre, or ``"last"``; a trajectory is drawn up to it, runs are joined at it.
        plane: ``"random"``, ``"pca"``, or ``"snapshots:A,B[,C]"``: two steps for a curve, three for a surface.
            ``"runs"`` goes through snapshots of as many runs instead; see `slice_through`.
        points: Points along each axis; of a surface also (nx, ny).
        x: Of the first axis instead of the radius: a tuple (low, high), or all coordinates as a list.
        y: Of the second axis, likewise.
        radius: Half the width, in units of the directions; on planes through a path or through snapshots, a
            multiple of what shows them with a margin.
        normalize: ``"filter"``, ``"layer"``, ``"weight"`` or ``"none"``.
        one_d: ``"ignore"`` or ``"norm"``, for parameters of at most one dimension.
        seed: Draws random directions.
        bn: ``"frozen"``; ``"interpolate"``, for planes through snapshots; ``"recalibrate"`` or
            ``"recalibrate:EXAMPLES"``.
        splits: ``"train"``, ``"test"`` or both; empty is both for a curve and train otherwise.
        metrics: What to measure; empty is the loss, and the error where there is one.
        dtype: ``"float32"``, ``"float64"``, ``"bfloat16"``; None is the model's own.
        engine: ``"auto"`` or an engine's name.
        tune: What is not to be chosen by timing, such as ``"batch_size=64,rewrite=no"``.
        memory: What evaluation may take, such as ``"4GB"``; None is a quarter of what is free.
        repeats: So many random lines or planes of the seeds seed, seed + 1, ... side by side; None is one.
        subset: So many examples of each split instead of all; see `Objective.subset`.
        preview: The relative error up to which points may be interpolated; None computes all.
        parameters: Globs that choose which parameters move, such as ``"lora_*"``; None is all that are trained.
    """

    kind: str = "surface"
    at: int | str = "last"
    plane: str | None = None
    points: int | tuple[int, int] = 51
    radius: float = 1.0
    normalize: str = "filter"
    one_d: str = "ignore"
    seed: int = 0
    bn: str = "frozen"
    splits: Sequence[str] = field(default_factory=tuple)
    metrics: Sequence[str] = field(default_factory=tuple)
    dtype: str | None = None
    engine: str = "auto"
    tune: str | None = None
    memory: str | None = None
    x: Coordinates | None = None
    y: Coordinates | None = None
    repeats: int | None = None
    subset: int | None = None
    preview: float | None = None
    parameters: str | None = None

    def __post_init__(self) -> None:
        choices = {
            "kind": KINDS,
            "normalize": projection.NORMALIZATIONS,
            "one_d": projection.ONE_D_POLICIES,
            "dtype": (*_DTYPES, None),
            "engine": ENGINES,
        }
        faults = [
            f"unknown {name} '{getattr(self, name)}', {did_you_mean(getattr(self, name), filter(None, known))}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        policies = (*projection.BUFFER_POLICIES, RECALIBRATE)
        if self.bn.partition(":")[0] not in policies or self.bn.startswith(tuple(f"{p}:" for p in policies[:-1])):
            faults.append(f"unknown bn '{self.bn}', {did_you_mean(self.bn, policies)}")
        faults += self._faults_of_the_plane() + self._faults_of_the_axes()
        if self.seed < 0:
            faults.append(f"the seed must not be negative, got {self.seed}")
        if faults:
            raise LandscapeError("; ".join(faults))
        if self.repeats is not None:
            projection.require_repeats(self.repeats)
        dims = 1 if self.kind == "curve" else 2
        grid(self.points, self.radius, x=self.x, y=self.y if dims > 1 else None, dims=dims)
        parse_settings(self.tune)
        if self.memory is not None:
            parse_memory(self.memory)
        if self.preview is not None:
            require_tolerance(self.preview)

    def _faults_of_the_plane(self) -> list[str]:
        if self.plane is not None and self.plane not in ("random", "pca", THROUGH_RUNS) and not self.snapshots:
            return [f"unknown plane '{self.plane}', choose from random, pca, snapshots:STEP,STEP[,STEP]"]
        if self.kind == "trajectory" and self.plane not in (None, "pca"):
            return [f"a trajectory is drawn in its PCA plane, got plane {self.plane}"]
        if self.kind == "curve" and self.plane == "pca":
            return ["a curve is drawn along a line: plane random or snapshots:STEP,STEP"]
        needed = 2 if self.kind == "curve" else 3
        if self.snapshots and len(self.snapshots) != needed:
            return [f"a {self.kind} goes through {needed} snapshots, got {len(self.snapshots)}"]
        return []

    def _faults_of_the_axes(self) -> list[str]:
        faults = []
        if self.kind == "curve" and not isinstance(self.points, int):
            faults.append(f"a curve has one axis, got {'x'.join(map(str, self.points))} points")
        if self.kind == "curve" and self.y is not None:
            faults.append("a curve has one axis, got coordinates of y")
        if self.repeats is not None and (self.kind == "trajectory" or self.plane not in (None, "random")):
            faults.append("repeats are of random lines or planes, leave the others out")
        return faults

    @property
    def snapshots(self) -> list[str]:
        """The steps that the plane goes through, if it goes through snapshots."""
        if self.plane is None or not self.plane.startswith("snapshots:"):
            return []
        return [step.strip() for step in self.plane.removeprefix("snapshots:").split(",")]
