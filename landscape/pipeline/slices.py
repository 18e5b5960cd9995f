"""What slice is wanted: one value from the border to the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from landscape import projection
from landscape.errors import LandscapeError, did_you_mean
from landscape.objective.batchnorm import POLICIES, RECALIBRATE
from landscape.objective.memory import parse_memory
from landscape.surface import grid
from landscape.surface.axes import Coordinates
from landscape.surface.engine import ENGINES, parse_settings
from landscape.surface.preview import require_tolerance

KINDS = ("curve", "surface", "trajectory")
# The plane that goes through runs instead of through snapshots of one.
THROUGH_RUNS = "runs"
# The plane of largest motion of several runs together.
COMMON = "common"
# Planes along derivatives at the centre, by the kinds of picture that they can be drawn in.
HESSIAN = ("hessian", "hessian:largest", "hessian:smallest", "hessian:both")
GRADIENT = ("gradient", "update", "gradient-update")
_WORDS = ("random", "pca", THROUGH_RUNS, COMMON, *HESSIAN, *GRADIENT)
_DTYPES = ("float32", "float64", "bfloat16")


@dataclass(frozen=True)
class Slice:
    """What is to be drawn.

    Attributes:
        kind: ``"curve"``, ``"surface"`` or ``"trajectory"``.
        at: The step at the centre, or ``"last"``; a trajectory is drawn up to it, runs are joined at it.
        plane: ``"random"``, ``"pca"``, or ``"snapshots:A,B[,C]"``: two for a curve, three for a surface, each a
            step or ``FILE:STEP``. ``"runs"`` goes through snapshots of as many runs instead (`slice_through`),
            ``"common"`` is the PCA plane of several (`slice_common`). ``"hessian"`` (or ``"hessian:both"``) has
            the eigenvectors of the largest and the smallest eigenvalue of the Hessian of the training loss, of a
            curve the largest; ``"hessian:largest"`` the two largest, ``"hessian:smallest"`` the two smallest.
            ``"gradient-update"`` has the negative gradient of the training loss and the last update, of a curve
            ``"gradient"`` or ``"update"``.
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
        center: ``"mean"``, ``"last"`` or ``"initial"``, of planes by PCA.
        directions: A file that has the directions, instead of a plane; see `read_directions`.
        nearest: Of a trajectory: the plane is moved until it goes through the snapshot of this step.
        gradient: Take gradients along a surface, to be drawn as arrows.
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
    center: str = "mean"
    directions: str | None = None
    nearest: int | str | None = None
    gradient: bool = False

    def __post_init__(self) -> None:
        choices = {
            "kind": KINDS,
            "normalize": projection.NORMALIZATIONS,
            "one_d": projection.ONE_D_POLICIES,
            "dtype": (*_DTYPES, None),
            "engine": ENGINES,
            "center": projection.CENTERS,
        }
        faults = [
            f"unknown {name} '{getattr(self, name)}', {did_you_mean(getattr(self, name), filter(None, known))}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        policy, colon, _ = self.bn.partition(":")
        if policy not in POLICIES or (colon and policy != RECALIBRATE):
            faults.append(f"unknown bn '{self.bn}', {did_you_mean(self.bn, POLICIES)}")
        faults += self._faults_of_the_plane() + self._faults_of_the_axes()
        if self.bn == "interpolate" and not self.snapshots and self.plane != THROUGH_RUNS:
            got = self.plane or self.directions or ("pca" if self.kind == "trajectory" else "random")
            faults.append(f"bn interpolate is of planes through snapshots or runs, got {got}; take bn recalibrate")
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
        if self.plane is not None and self.plane not in _WORDS and not self.snapshots:
            known = ("random", "pca", "hessian", "gradient-update", "runs", "snapshots:STEP,STEP[,STEP]")
            return [f"unknown plane '{self.plane}', choose from {', '.join(known)}"]
        if self.directions is not None and self.plane is not None:
            return [f"directions from a file are a plane of their own, leave plane {self.plane} out"]
        if self.kind == "trajectory":
            return self._faults_of_a_trajectory()
        if self.plane == COMMON:
            return [f"a common plane is of trajectories, got a {self.kind}"]
        if self.nearest is not None:
            return [f"the nearest plane is that of a trajectory, got a {self.kind}"]
        if self.kind == "curve":
            return self._faults_of_a_line()
        if self.plane in ("gradient", "update"):
            return ["a surface has two directions: plane gradient-update"]
        if self.snapshots and len(self.snapshots) != 3:
            return [f"a surface goes through 3 snapshots, got {len(self.snapshots)}"]
        return []

    def _faults_of_a_trajectory(self) -> list[str]:
        if self.directions is not None or self.plane not in (None, "pca", COMMON):
            return [f"a trajectory is drawn in its PCA plane, got plane {self.plane or self.directions}"]
        if self.nearest is not None and self.plane == COMMON:
            return ["the nearest plane is that of one trajectory, got a common plane"]
        return []

    def _faults_of_a_line(self) -> list[str]:
        if self.plane == "pca":
            return ["a curve is drawn along a line: plane random or snapshots:STEP,STEP"]
        if self.plane in ("gradient-update", "hessian:both"):
            return [f"a curve has one direction, got plane {self.plane}"]
        if self.gradient:
            return ["gradients are drawn on a surface, got a curve"]
        if self.snapshots and len(self.snapshots) != 2:
            return [f"a curve goes through 2 snapshots, got {len(self.snapshots)}"]
        return []

    def _faults_of_the_axes(self) -> list[str]:
        faults = []
        if self.kind == "curve" and not isinstance(self.points, int):
            faults.append(f"a curve has one axis, got {'x'.join(map(str, self.points))} points")
        if self.kind == "curve" and self.y is not None:
            faults.append("a curve has one axis, got coordinates of y")
        random = self.plane in (None, "random") and self.directions is None
        if self.repeats is not None and (self.kind == "trajectory" or not random):
            faults.append("repeats are of random lines or planes, leave the others out")
        return faults

    @property
    def snapshots(self) -> list[str]:
        """The snapshots that the plane goes through, if it does: steps, or ``FILE:STEP``."""
        if self.plane is None or not self.plane.startswith("snapshots:"):
            return []
        return [step.strip() for step in self.plane.removeprefix("snapshots:").split(",")]
