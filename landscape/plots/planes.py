"""The plane that a slice is drawn in: from trajectories, from derivatives at the centre, or from a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from landscape import projection
from landscape.curvature import Curvature
from landscape.curvature.eigenpairs import both_ends, eigenpairs
from landscape.errors import LandscapeError
from landscape.files.result import load_identity
from landscape.objective import Objective
from landscape.params import Held, Tensors, cast, dot
from landscape.plots.slice_options import GRADIENT, HESSIAN, HESSIAN_RATIO, Slice
from landscape.projection import Plane, Repeats
from landscape.storage import kind_of
from landscape.surface.directions import read_directions
from landscape.surface.goldstein import goldstein_directions, goldstein_kind
from landscape.surface.store import SURFACE
from landscape.trajectory import Snapshot, Trajectory, open_trajectory
from landscape.vocabulary import GENERATORS, RECALIBRATE

# Eigenvectors good to this share of the largest eigenvalue cannot be told from exact ones on paper.
_EIGENVECTORS = 1e-4
# A direction that may lie farther than this (the sine) from the eigenvector is not called the one of its value.
_TURNED = 0.1


def plane_of(run: Trajectory, walk: Trajectory, objective: Objective, wanted: Slice) -> Plane | Repeats:
    """The plane of a slice of one trajectory.

    Args:
        run: The trajectory.
        walk: Of it, the snapshots up to the one at the centre.
        objective: Its objective.
        wanted: What is to be drawn.

    Returns:
        The plane or line, or random ones.

    Raises:
        LandscapeError: If the trajectory does not span it, or a file does not hold it.
    """
    if wanted.snapshots:
        return _through_snapshots(run, wanted)
    if wanted.kind == "trajectory" or wanted.plane == "pca":
        return projection.pca_plane(walk, center=wanted.center)
    if wanted.plane in HESSIAN:
        return hessian_plane(walk[-1], objective, wanted)
    if wanted.plane in GRADIENT:
        return gradient_plane(walk, objective, wanted)
    if wanted.directions is not None:
        return plane_from_file(walk[-1], wanted)
    options: dict[str, Any] = {name: getattr(wanted, name) for name in ("normalize", "seed", "one_d", "generator")}
    if wanted.repeats is not None:
        return Repeats(walk[-1], wanted.repeats, dims=_dims(wanted), **options)
    make = projection.random_line if wanted.kind == "curve" else projection.random_plane
    return make(walk[-1], **options)


def plane_in_place(objective: Objective, wanted: Slice) -> Plane:
    """The random plane through the weights of a model in place, whose directions are drawn by block.

    Raises:
        LandscapeError: If another is wanted.
    """
    given = {
        "kind": wanted.kind not in ("curve", "surface") and wanted.kind,
        "plane": wanted.plane not in (None, "random") and wanted.plane,
        "directions": wanted.directions,
        "repeats": wanted.repeats,
        "metric": wanted.metric == HESSIAN_RATIO and wanted.metric,
        "bn": wanted.bn != "frozen" and wanted.bn,
        "generator": wanted.generator == GENERATORS[0] and wanted.generator,
    }
    other = next((name for name, value in given.items() if value), None)
    if other is not None:
        raise LandscapeError(
            "a checkpoint is drawn along random directions, its model as it is",
            where=other,
            got=given[other],
            mend="import it (landscape import), and draw the trajectory",
        )
    how: dict[str, Any] = {"normalize": wanted.normalize, "seed": wanted.seed, "one_d": wanted.one_d}
    return projection.drawn_plane(objective.model, dims=_dims(wanted), parameters=wanted.parameters, **how)


def as_kept(wanted: Slice, save: str | os.PathLike[str] | None) -> Slice:
    """The options with the generator of the file that is gone on with, where none is asked for.

    Args:
        wanted: The options.
        save: The file, which need not exist.
    """
    if wanted.generator is not None or save is None or not Path(save).exists() or kind_of(save) != SURFACE.format:
        return wanted
    return replace(wanted, generator=load_identity(SURFACE, save).get("generator", GENERATORS[0]))


def _dims(wanted: Slice) -> int:
    return 1 if wanted.kind == "curve" else 2


def snapshot_of(run: Trajectory, words: str) -> tuple[Snapshot, str]:
    """A snapshot that is written as a step of a run, or as ``FILE:STEP``, and what it is called.

    Raises:
        LandscapeError: If there is no such file or step.
    """
    file, colon, step = words.rpartition(":")
    if not colon:
        snapshot = run[run.index_of(words)]
        return snapshot, f"step {snapshot.step}"
    other = open_trajectory(file)
    snapshot = other[other.index_of(step)]
    return snapshot, f"{Path(file).stem} step {snapshot.step}"


def _through_snapshots(run: Trajectory, wanted: Slice) -> Plane:
    found = [snapshot_of(run, words) for words in wanted.snapshots]
    return plane_through([snapshot for snapshot, _ in found], [name for _, name in found], wanted)


def plane_through(chosen: Sequence[Snapshot], names: Sequence[str], wanted: Slice) -> Plane:
    """The line through two snapshots or the plane through three, whose marks bear their names."""
    through = projection.line_through if len(chosen) == 2 else projection.plane_through
    plane = through(
        *chosen,
        buffers="interpolate" if wanted.bn.startswith(RECALIBRATE) else wanted.bn,
        parameters=wanted.parameters,
    )
    for mark, name in zip(plane.meta["marks"], names, strict=True):
        mark["label"] = name
    first, second = plane.meta["axes"][0], plane.meta["axes"][-1]
    first["label"] = f"from {names[0]} to {names[1]}"
    if len(chosen) == 2:
        first["unit"] = "their distance"
    if len(chosen) == 3:
        second["label"] = f"orthogonal, towards {names[2]}"
    return plane


def hessian_plane(snapshot: Snapshot, objective: Objective, wanted: Slice) -> Plane:
    """The line or plane along eigenvectors of the Hessian of the mean training loss, of length 1."""
    curvature = Curvature(objective, snapshot, parameters=wanted.parameters)
    dims, (_, _, end) = _dims(wanted), str(wanted.plane).partition(":")
    if dims == 2 and end in ("", "both"):
        ends = both_ends(curvature, tol=_EIGENVECTORS, seed=wanted.seed)
        found = [(ends.largest, 0, "largest"), (ends.smallest, 0, "smallest")]
    else:
        # One more than are drawn, to see whether the last of these is the only one of its value.
        asked = min(dims + 1, curvature.size)
        pairs = eigenpairs(curvature, asked, end or "largest", tol=_EIGENVECTORS, seed=wanted.seed)
        names = [end or "largest", f"second {end or 'largest'}"]
        found = [(pairs, place, names[place]) for place in range(dims)]
    axes, numbers = [], []
    for own, place, name in found:
        value, sure = float(own.values[place]), bool(own.converged[place])
        turned = own.turned(place)
        doubt = "" if sure else ", not converged"
        doubt += ", one of several so near" if turned > _TURNED else ""
        label = f"eigenvector of \u03bb = {value:.3g}{doubt}".replace("-", "\u2212")
        axes.append({"label": label, "unit": "weight distance"})
        residual = float(own.residuals[place])
        entry = {"name": name, "eigenvalue": value, "residual": residual, "converged": sure}
        numbers.append(entry | {"largest_sine": turned})
    directions = [_signed(curvature, own.vectors[:, place], snapshot) for own, place, _ in found]
    meta = {"axes": axes, "equal_aspect": True, "hessian": numbers}
    return Plane(_held(snapshot, wanted), directions, kind="hessian", meta=meta)


def _signed(curvature: Curvature, vector: torch.Tensor, snapshot: Snapshot) -> Tensors:
    """A vector as a dictionary in the element types of the weights; its largest coefficient is positive."""
    sign = float(torch.sign(vector[vector.abs().argmax()])) or 1.0
    tensors = curvature.unflatten((sign * vector).cpu())
    return {name: tensor.to(snapshot.weights[name].dtype) for name, tensor in tensors.items()}


def gradient_plane(walk: Trajectory, objective: Objective, wanted: Slice) -> Plane:
    """Along the negative gradient of the training loss at the last snapshot, and the update that led to it."""
    snapshot = walk[-1]
    steps: dict[str, Tensors] = {}
    if wanted.plane != "update":
        curvature = Curvature(objective, snapshot, parameters=wanted.parameters)
        steps["negative gradient"] = curvature.unflatten(-curvature.gradient().cpu())
    if wanted.plane != "gradient":
        if len(walk) < 2:
            raise LandscapeError(
                "an update takes two snapshots",
                where=walk.path,
                got=len(walk),
                mend="choose a later step with --at",
            )
        moving = [info.name for info in walk.layout.moving()]
        before = walk[-2]
        steps["last update"] = {
            name: cast(snapshot.weights[name], torch.float64) - cast(before.weights[name], torch.float64)
            for name in moving
        }
    held = _held(snapshot, wanted)
    if len(steps) == 1:
        return _line_along(held, *next(iter(steps.items())))
    axes = [
        {"label": "negative gradient", "unit": "weight distance"},
        {"label": "last update, orthogonalised", "unit": "weight distance"},
    ]
    plane = projection.orthonormal_plane(held, *steps.values(), kind="gradient-update", meta={"axes": axes})
    back = [-dot(steps["last update"], direction) for direction in plane.directions]
    plane.meta["marks"] = [
        {"label": f"step {snapshot.step}", "x": 0.0, "y": 0.0},
        {"label": f"step {walk[-2].step}", "x": back[0], "y": back[1]},
    ]
    return plane


def _line_along(held: Held, name: str, step: Tensors) -> Plane:
    length = dot(step, step) ** 0.5
    if length == 0:
        raise LandscapeError(f"the {name} is zero", mend="choose another step with --at")
    direction = {key: (tensor / length).to(held.weights[key].dtype) for key, tensor in step.items()}
    axes = [{"label": name, "unit": "weight distance"}]
    return Plane(held, [direction], kind="gradient-update", meta={"axes": axes})


def _held(snapshot: Snapshot, wanted: Slice) -> Held:
    """The snapshot, of which the chosen parameters move."""
    return Held.of(snapshot, wanted.parameters)


def plane_from_file(snapshot: Snapshot, wanted: Slice) -> Plane:
    """Along the directions of a file.

    Raises:
        LandscapeError: If they cannot be read, or are not of this model.
    """
    file = Path(str(wanted.directions))
    theirs = goldstein_kind(file) == "directions"
    arrays = goldstein_directions(file, snapshot.layout) if theirs else read_directions(file, _dims(wanted))
    arrays = arrays[: _dims(wanted)]
    if wanted.parameters is not None:
        raise LandscapeError(
            "directions from a file say themselves what moves", where="parameters", mend="leave --parameters out"
        )
    directions = [{name: torch.from_numpy(values) for name, values in own.items()} for own in arrays]
    axes = [{"label": f"direction {axis} of {file.name}", "unit": ""} for axis in "xy"[: len(arrays)]]
    try:
        return Plane(snapshot, directions, kind="custom", meta={"axes": axes, "file": file.name})
    except LandscapeError as error:
        raise LandscapeError(f"the directions do not fit the model: {error}", where=file) from None
