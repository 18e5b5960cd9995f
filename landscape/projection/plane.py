"""Planes and lines in weight space: an origin, directions, and what made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.params import Held, Tensors, Weights, combine, dot, is_number, norm, resolve, scale, subtract
from landscape.projection.block_direction import BlockDirection
from landscape.projection.directions import DirectionReport, block_direction, generator_for, random_direction
from landscape.projection.walks import Globs
from landscape.values.result import Result
from landscape.vocabulary import GENERATORS

BUFFER_POLICIES = ("frozen", "interpolate")
_FILTER_UNITS = {
    "filter": "filter norms",
    "layer": "layer norms",
    "weight": "weights",
    "none": "standard normal",
}


class Plane(Result):
    """An affine subspace of weight space: the points origin + a * d1 + b * d2.

    Args:
        origin: A snapshot, a model, or a name -> tensor dictionary; copied.
        directions: One (a line), two (a plane) or more dictionaries name -> tensor; a name that is missing
            does not move. Buffers of real numbers may be among the names.
        kind: ``"random"``, ``"pca"``, ``"snapshots"`` or ``"custom"``.
        meta: What made it, as plain JSON values.
        others: Of each other network that it goes through, the buffers that differ from those of the origin and do
            not move.

    Attributes:
        origin: Name -> tensor, buffers included.
        directions: The directions.
        layout: The layout of the origin.

    Raises:
        LandscapeError: If a direction names a tensor that the origin lacks, has another shape, moves
            integers, or is zero throughout.

    Example:
        >>> plane = Plane({"w": torch.zeros(2, 2)}, [{"w": torch.eye(2)}])
        >>> plane.point(3.0)["w"].tolist()
        [[3.0, 0.0], [0.0, 3.0]]
    """

    def __init__(
        self,
        origin: Weights,
        directions: Sequence[Mapping[str, Tensor]],
        *,
        kind: str = "custom",
        meta: Mapping[str, Any] | None = None,
        others: Sequence[Mapping[str, Tensor]] = (),
    ) -> None:
        self.layout, tensors = resolve(origin)
        self.origin: Tensors = {name: self._kept(tensor) for name, tensor in tensors.items()}
        self.directions = [self._checked(direction, i) for i, direction in enumerate(directions)]
        if not self.directions:
            raise LandscapeError("a plane needs at least one direction")
        self.kind = kind
        self.others = tuple(dict(other) for other in others)
        self.meta = {
            "kind": kind,
            "axes": _plain_axes(len(directions)),
            "equal_aspect": False,
            "tensors": self.layout.describe(self._moving()),
            **({"parameters": list(self.layout.selected)} if self.layout.selected else {}),
            **(meta or {}),
        }

    @staticmethod
    def _kept(tensor: Tensor) -> Tensor:
        """A tensor of the origin as the plane holds it."""
        return tensor.clone()

    def _moving(self) -> set[str]:
        """The names of the tensors that some direction moves."""
        return {name for direction in self.directions for name, tensor in direction.items() if tensor.any()}

    def _checked(self, direction: Mapping[str, Tensor], index: int) -> Any:
        where = f"direction {index + 1}"
        for name, tensor in direction.items():
            if name not in self.origin:
                raise LandscapeError(f"the origin has no tensor '{name}'", where=where)
            if tensor.shape != self.origin[name].shape:
                raise LandscapeError(
                    f"tensor '{name}' has another shape",
                    where=where,
                    got=tuple(tensor.shape),
                    expected=tuple(self.origin[name].shape),
                )
            if not is_number(self.origin[name]):
                raise LandscapeError(f"tensor '{name}' holds integers, which cannot move", where=where)
            if tensor.is_complex() and not self.origin[name].is_complex():
                raise LandscapeError(f"tensor '{name}' is real, but its direction complex", where=where)
        if all(not tensor.any() for tensor in direction.values()):
            raise LandscapeError("is zero throughout", where=where)
        return {name: tensor.detach().to(self.origin[name].device) for name, tensor in direction.items()}

    def __repr__(self) -> str:
        moving = dict.fromkeys(name for direction in self.directions for name in direction)
        numbers = sum(self.origin[name].numel() for name in moving)
        what = "line" if len(self.directions) == 1 else f"plane of {len(self.directions)} directions"
        return f"Plane({self.kind} {what}, moves {len(moving)} tensors of {numbers:,} numbers)"

    @property
    def between(self) -> bool:
        """Return whether it goes through several networks, or as near to them as a plane can."""
        return self.kind in ("snapshots", "pca")

    @property
    def dims(self) -> int:
        """The number of directions."""
        return len(self.directions)

    @property
    def explained_variance_ratio(self) -> list[float] | None:
        """The share of the variance along each direction, for a plane found by PCA."""
        return self.meta.get("explained_variance_ratio")

    def point(self, *coordinates: float) -> Tensors:
        """The weights at some coordinates, computed afresh from the origin.

        Args:
            coordinates: One number per direction.

        Returns:
            Name -> tensor in the dtype of the origin, buffers included.
        """
        if len(coordinates) != self.dims:
            raise LandscapeError("one coordinate per direction", got=len(coordinates), expected=self.dims)
        moved = {name: tensor.clone() for name, tensor in self.origin.items()}
        for coordinate, direction in zip(coordinates, self.directions, strict=True):
            for name, tensor in direction.items():
                moved[name].add_(tensor.to(moved[name].dtype), alpha=coordinate)
        return moved


class DrawnPlane(Plane):
    """A random plane that shares its origin and stores no directions; see `drawn_plane`."""

    directions: list[BlockDirection]

    @staticmethod
    def _kept(tensor: Tensor) -> Tensor:
        return tensor

    def _checked(self, direction: Any, index: int) -> Any:
        if not direction.moving():
            raise LandscapeError("is zero throughout", where=f"direction {index + 1}")
        return direction

    def _moving(self) -> set[str]:
        return {name for direction in self.directions for name in direction.moving()}


def _plain_axes(dims: int) -> list[dict[str, str]]:
    return [{"label": f"direction {i + 1}", "unit": ""} for i in range(dims)]


def _random(weights: Weights, dims: int, parameters: Globs | None, generator: str | None, **how: Any) -> Plane:
    held = Held.of(weights, parameters)
    generator = generator_for(held.layout, generator)
    made = [random_direction(held, index=index, generator=generator, **how) for index in range(dims)]
    directions = [direction for direction, _ in made]
    # Files from before there was a choice of generators name none.
    named = how if generator == GENERATORS[0] else {**how, "generator": generator}
    meta = _random_meta(made[0][1], dims, named)
    if dims == 2:
        meta["cosine"] = _cosine(*directions)
    return Plane(held, directions, kind="random", meta=meta)


def _random_meta(report: DirectionReport, dims: int, how: Mapping[str, Any]) -> dict[str, Any]:
    unit = _FILTER_UNITS[how["normalize"]]
    return {
        **how,
        "report": report.to_json(),
        "axes": [{"label": f"random direction {i + 1}", "unit": unit} for i in range(dims)],
        "equal_aspect": True,
    }


def _cosine(a: Tensors, b: Tensors) -> float:
    return dot(a, b) / (norm(a) * norm(b))


def random_plane(
    weights: Weights,
    *,
    normalize: str = "filter",
    seed: int = 0,
    one_d: str = "ignore",
    dims: int = 2,
    parameters: Globs | None = None,
    generator: str | None = None,
) -> Plane:
    """The plane through some weights along two random directions (Li et al. 2018), or along more.

    The directions are not orthogonalised; their cosine, about 1 / sqrt(number of parameters), is in
    ``meta["cosine"]``.

    Args:
        weights: A snapshot, a model, or a name -> tensor dictionary.
        normalize: ``"filter"``, ``"layer"``, ``"weight"`` or ``"none"``; see `random_direction`.
        seed: Draws the directions.
        one_d: ``"ignore"`` or ``"norm"``, for parameters of at most one dimension.
        dims: How many directions; the first ones do not depend on it.
        parameters: Globs that choose which parameters move, such as ``"lora_*"``; see `Layout.select`.
        generator: ``"streams"`` or ``"blocks"``, which is faster and draws others; None chooses by size, see
            `random_direction`.

    Returns:
        The plane; ``meta["report"]`` says what was normalised, zeroed and skipped.
    """
    return _random(weights, dims, parameters, generator, normalize=normalize, one_d=one_d, seed=seed)


def random_line(
    weights: Weights,
    *,
    normalize: str = "filter",
    seed: int = 0,
    one_d: str = "ignore",
    parameters: Globs | None = None,
    generator: str | None = None,
) -> Plane:
    """The line through some weights along one random direction: the first of `random_plane`."""
    return _random(weights, 1, parameters, generator, normalize=normalize, one_d=one_d, seed=seed)


def drawn_plane(
    weights: Weights,
    *,
    normalize: str = "filter",
    seed: int = 0,
    one_d: str = "ignore",
    dims: int = 2,
    parameters: Globs | None = None,
) -> DrawnPlane:
    """The plane of ``random_plane(..., generator="blocks")`` in the memory of the weights themselves.

    The weights are shared, and directions are drawn where they are needed. Of 1 direction it is a line. Of a model
    whose parameters are distributed tensors (FSDP2, tensor parallelism) each process draws the part that it holds.
    """
    held = Held.of(weights, parameters, sharded=True)
    how: dict[str, Any] = {"normalize": normalize, "one_d": one_d, "seed": seed}
    made = [block_direction(held, index=index, **how) for index in range(dims)]
    directions = [direction for direction, _ in made]
    meta = _random_meta(made[0][1], dims, {**how, "generator": "blocks"})
    if dims == 2:
        meta["cosine"] = directions[0].cosine(directions[1])
    return DrawnPlane(held, directions, kind="random", meta=meta)


def line_through(a: Weights, b: Weights, *, buffers: str = "frozen", parameters: Globs | None = None) -> Plane:
    """The line a + t (b - a): t = 0 is a and t = 1 is b (linear interpolation).

    Args:
        a: The weights at 0.
        b: The weights at 1, of the same model.
        buffers: ``"frozen"`` keeps the buffers of a all along; ``"interpolate"`` moves those of real
            numbers (normalisation statistics and others) with the weights, so that both ends are the models
            themselves.
        parameters: Globs that choose which parameters move; the others stay at those of a.

    Returns:
        A line in units of the distance between a and b.
    """
    a = Held.of(a, parameters)
    difference = _difference(a, b, buffers)
    meta = {
        "axes": [{"label": "interpolation from a to b", "unit": "distance of a and b"}],
        "bn": buffers,
        "marks": [{"label": "a", "x": 0.0}, {"label": "b", "x": 1.0}],
        "distance": _parameter_norm(a, difference),
    }
    return Plane(a, [difference], kind="snapshots", meta=meta, others=[_staying(a, b, [difference])])


def plane_through(
    a: Weights, b: Weights, c: Weights, *, buffers: str = "frozen", parameters: Globs | None = None
) -> Plane:
    """The plane through three weights, with orthonormal directions: a at (0, 0), b on the first axis.

    Args:
        a: The origin.
        b: Lies along the first axis.
        c: Lies in the half-plane of positive second coordinate.
        buffers: ``"frozen"`` or ``"interpolate"``, as in `line_through`.
        parameters: Globs that choose which parameters move; the others stay at those of a.

    Returns:
        A plane in Euclidean units; ``meta["marks"]`` has the coordinates of the three.

    Raises:
        LandscapeError: If the three lie on a line.
    """
    a = Held.of(a, parameters)
    to_b, to_c = _difference(a, b, buffers), _difference(a, c, buffers)
    moving = [info.name for info in resolve(a)[0].moving()]
    along = {name: to_b[name] for name in moving}
    length = norm(along)
    first = scale(to_b, 1 / length)
    shift = dot({n: to_c[n] for n in moving}, {n: first[n] for n in moving})
    across = combine([(1.0, to_c), (-shift, first)])
    height = norm({name: across[name] for name in moving})
    if height <= 1e-6 * max(length, abs(shift)):
        raise LandscapeError(
            "the three snapshots lie on a line", mend="choose others, or draw a curve through two"
        )
    marks = [
        {"label": "a", "x": 0.0, "y": 0.0},
        {"label": "b", "x": length, "y": 0.0},
        {"label": "c", "x": shift, "y": height},
    ]
    axes = [
        {"label": "from a towards b", "unit": "weight distance"},
        {"label": "orthogonal, towards c", "unit": "weight distance"},
    ]
    meta = {"axes": axes, "equal_aspect": True, "bn": buffers, "marks": marks}
    others = [_staying(a, other, [to_b, to_c]) for other in (b, c)]
    return Plane(a, [first, scale(across, 1 / height)], kind="snapshots", meta=meta, others=others)


def _difference(a: Weights, b: Weights, buffers: str) -> Tensors:
    if buffers not in BUFFER_POLICIES:
        raise LandscapeError(f"unknown value '{buffers}'", where="buffers", expected=" or ".join(BUFFER_POLICIES))
    layout, start = resolve(a)
    _, end = resolve(b)
    names = [info.name for info in layout.moving()]
    if buffers == "interpolate":
        # Equal ones stay: masks are infinite, and the difference would be no number.
        real = [info.name for info in layout.stored("buffer") if info.floating]
        names += [name for name in real if name not in end or not torch.equal(start[name], end[name])]
    for name in names:
        if name not in end or end[name].shape != start[name].shape:
            raise LandscapeError(
                f"tensor '{name}' differs between the two models",
                got=tuple(end[name].shape) if name in end else "none",
                expected=tuple(start[name].shape),
            )
    difference = subtract(end, start, names)
    if all(not torch.any(tensor) for tensor in difference.values()):
        raise LandscapeError("the two sets of weights are the same", mend="choose two different snapshots")
    return difference


def _staying(a: Weights, b: Weights, moves: Sequence[Tensors]) -> Tensors:
    """The buffers of b that differ from those of a, and that no direction moves."""
    layout, start = resolve(a)
    _, end = resolve(b)
    names = [info.name for info in layout.stored("buffer") if not any(info.name in move for move in moves)]
    return {name: end[name] for name in names if name in end and not torch.equal(start[name], end[name])}


def _parameter_norm(weights: Weights, tensors: Tensors) -> float:
    return norm({info.name: tensors[info.name] for info in resolve(weights)[0].moving()})
