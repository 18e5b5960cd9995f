"""Several random planes through the same weights, drawn one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from landscape.errors import LandscapeError
from landscape.params import Held, Weights
from landscape.projection.plane import Plane, random_line, random_plane
from landscape.projection.walks import Globs
from landscape.vocabulary import SPAN


class Repeats(Sequence[Plane]):
    """Random lines or planes through some weights, of seeds that count up from the first.

    A plane is drawn anew whenever it is asked for, so that only the one in use takes memory; the same seed
    gives the same plane, that of `random_line` or `random_plane`.

    Args:
        weights: A snapshot, a model, or a name -> tensor dictionary; copied.
        repeats: How many, at least 2.
        dims: 1 for lines, 2 for planes, or more.
        normalize: ``"filter"``, ``"layer"``, ``"weight"`` or ``"none"``; see `random_direction`.
        seed: Of the first.
        one_d: ``"ignore"`` or ``"norm"``, for parameters of at most one dimension.
        parameters: Globs that choose which parameters move; see `Layout.select`.
        generator: Draws the numbers; see `random_direction`.

    Attributes:
        seeds: The seed of each.
        dims: The number of directions of each.

    Raises:
        LandscapeError: If there are fewer than 2 or more than 1,000.
    """

    def __init__(
        self,
        weights: Weights,
        repeats: int = 20,
        *,
        dims: int,
        normalize: str = "filter",
        seed: int = 0,
        one_d: str = "ignore",
        parameters: Globs | None = None,
        generator: str | None = None,
    ) -> None:
        require_repeats(repeats)
        self.seeds = tuple(range(seed, seed + repeats))
        self.dims = dims
        self._weights = Held.of(weights, parameters, copy=True)
        self._how: dict[str, Any] = {"normalize": normalize, "one_d": one_d, "generator": generator}

    def __repr__(self) -> str:
        return f"Repeats({len(self)} of {self.dims} directions, seeds {self.seeds[0]} to {self.seeds[-1]})"

    def __len__(self) -> int:
        return len(self.seeds)

    @overload
    def __getitem__(self, index: int) -> Plane: ...
    @overload
    def __getitem__(self, index: slice) -> list[Plane]: ...
    def __getitem__(self, index: int | slice) -> Plane | list[Plane]:
        if isinstance(index, slice):
            return [self._drawn(seed) for seed in self.seeds[index]]
        return self._drawn(self.seeds[index])

    def __iter__(self) -> Iterator[Plane]:
        return (self._drawn(seed) for seed in self.seeds)

    def _drawn(self, seed: int) -> Plane:
        if self.dims == 1:
            return random_line(self._weights, seed=seed, **self._how)
        return random_plane(self._weights, seed=seed, dims=self.dims, **self._how)


def require_repeats(repeats: int) -> None:
    """Check a number of repeats.

    Raises:
        LandscapeError: If there are fewer than 2 or more than 1,000.
    """
    if not isinstance(repeats, int) or not SPAN[0] <= repeats <= SPAN[1]:
        raise LandscapeError(
            "repeats are planes to be compared", where="repeats", got=repeats, expected=f"{SPAN[0]} to {SPAN[1]:,}"
        )


def random_lines(
    weights: Weights,
    repeats: int = 20,
    *,
    normalize: str = "filter",
    seed: int = 0,
    one_d: str = "ignore",
    parameters: Globs | None = None,
    generator: str | None = None,
) -> Repeats:
    """Random lines through the same weights: `random_line` of the seeds seed, seed + 1, ...

    Example:
        >>> import torch
        >>> lines = random_lines(torch.nn.Linear(3, 2), repeats=5)
        >>> lines.seeds
        (0, 1, 2, 3, 4)
    """
    return Repeats(
        weights,
        repeats,
        dims=1,
        normalize=normalize,
        seed=seed,
        one_d=one_d,
        parameters=parameters,
        generator=generator,
    )


def random_planes(
    weights: Weights,
    repeats: int = 20,
    *,
    normalize: str = "filter",
    seed: int = 0,
    one_d: str = "ignore",
    parameters: Globs | None = None,
    generator: str | None = None,
) -> Repeats:
    """Random planes through the same weights: `random_plane` of the seeds seed, seed + 1, ..."""
    return Repeats(
        weights,
        repeats,
        dims=2,
        normalize=normalize,
        seed=seed,
        one_d=one_d,
        parameters=parameters,
        generator=generator,
    )
