"""Gaussian directions and their normalisation (Li, Xu, Taylor, Studer & Goldstein 2018, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError, did_you_mean
from landscape.layout import Layout, TensorInfo
from landscape.params import (
    Tensors,
    Weights,
    filter_rows,
    from_real,
    gaussian,
    real_view,
    resolve,
    spread_over_filters,
    wide,
)
from landscape.projection.block_direction import BlockDirection
from landscape.projection.blocks import BlockTensor
from landscape.values.result import Result
from landscape.vocabulary import GENERATORS, MANY_NUMBERS, NORMALIZATIONS, ONE_D_POLICIES
from landscape.wrappers import gathered


@dataclass(frozen=True)
class DirectionReport(Result):
    """Report of a direction: its treatment of every tensor of a model.

    Attributes:
        normalized: Tensors that move, normalised as asked (or not at all under ``"none"``).
        zeroed: Biases, gains and scalars (at most one dimension) that do not move under ``"ignore"``.
        frozen: Parameters that training does not move; nor does the direction.
        tied: Other names of a tensor that is listed under its first name, and moves with it.
        buffers: Tensors that are not parameters; they stay.
        zero_filters: How many filters have norm 0, and so direction 0.
        filters: How many filters the normalised tensors have.
    """

    normalized: tuple[str, ...]
    zeroed: tuple[str, ...]
    frozen: tuple[str, ...]
    tied: tuple[str, ...]
    buffers: tuple[str, ...]
    zero_filters: int
    filters: int

    def to_json(self) -> dict[str, Any]:
        """Counts and names, as plain values."""
        groups = ("normalized", "zeroed", "frozen", "tied", "buffers")
        listed = {
            group: {"count": len(getattr(self, group)), "names": list(getattr(self, group))} for group in groups
        }
        return {**listed, "filters": self.filters, "zero_filters": self.zero_filters}


def random_direction(
    weights: Weights,
    *,
    normalize: str = "filter",
    seed: int = 0,
    index: int = 0,
    one_d: str = "ignore",
    generator: str | None = None,
) -> tuple[Tensors, DirectionReport]:
    """A Gaussian direction d, rescaled to the size of the weights w.

    With f running over filters: ``filter`` d_f <- d_f |w_f| / |d_f|; ``layer`` likewise over whole tensors;
    ``weight`` d_i <- d_i w_i; ``none`` leaves it standard normal. Norms are taken in float64. A filter of
    norm 0 gets direction 0. A filter is a slice of the first axis: an output channel of a convolution, a
    row of a linear map, of a fused query-key-value matrix (one unit) or of an embedding (one token); it is
    a slice of axis 1 where layers store (in, out), as transposed convolutions do.

    Every tensor is drawn by itself from (seed, index, name), so a direction does not depend on which other
    tensors the model has.

    Args:
        weights: A snapshot, a model, or a name -> tensor dictionary.
        normalize: ``"filter"``, ``"layer"``, ``"weight"`` or ``"none"``.
        seed: A number that is not negative.
        index: 0 for the first axis, 1 for the second, and so on.
        one_d: What to do with parameters of at most one dimension: ``"ignore"`` gives them direction 0,
            ``"norm"`` treats each as one filter.
        generator: ``"streams"`` draws each tensor from one stream (Philox); ``"blocks"`` draws blocks of it, each
            by itself, in threads, several times as fast; see `blocks`. They give different directions. None takes
            streams below 16,777,216 moving numbers, and blocks from there on.

    Returns:
        Name -> direction for every parameter that is trained, in the dtype of the weights; and a report.

    Raises:
        LandscapeError: If an option does not exist, or nothing would move.
    """
    layout, tensors = resolve(weights)
    generator = generator_for(layout, generator)
    _require_options(normalize, one_d, generator, seed)
    report = _report(layout, tensors, one_d)
    direction = {}
    for info in layout.moving():
        weight = tensors[info.name]
        if len(info.shape) <= 1 and one_d == "ignore":
            direction[info.name] = torch.zeros_like(weight)
        elif generator == "blocks":
            drawn = BlockTensor.of(info, weight, normalize, seed, index, held=True)
            direction[info.name] = drawn.whole(weight)
        else:
            numbers = gaussian(info, seed, index)
            direction[info.name] = from_real(_rescale(numbers, wide(weight).cpu(), info, normalize), weight)
    return direction, report


def generator_for(layout: Layout, given: str | None) -> str:
    """The generator of random directions: the one given, or the faster one where many numbers move."""
    if given is not None:
        return given
    return GENERATORS[sum(info.numbers for info in layout.moving()) >= MANY_NUMBERS]


def block_direction(
    weights: Weights, *, normalize: str = "filter", seed: int = 0, index: int = 0, one_d: str = "ignore"
) -> tuple[BlockDirection, DirectionReport]:
    """A direction that is never stored: `random_direction` by blocks, whose tensors are drawn when asked for.

    The weights are held, not copied.
    """
    _require_options(normalize, one_d, "blocks", seed)
    layout, tensors = resolve(weights)
    report = _report(layout, tensors, one_d)
    still = set(report.zeroed)
    return BlockDirection(layout.moving(), tensors, normalize, seed, index, still), report


def _require_options(normalize: str, one_d: str, generator: str, seed: int) -> None:
    _require_option("normalize", normalize, NORMALIZATIONS)
    _require_option("one_d", one_d, ONE_D_POLICIES)
    _require_option("generator", generator, GENERATORS)
    if seed < 0:
        raise LandscapeError("must not be negative", where="seed", got=seed)


def _require_option(where: str, given: str, known: Iterable[str]) -> None:
    if given not in known:
        raise LandscapeError(f"unknown value '{given}'", where=where, mend=did_you_mean(given, known))


def _rescale(drawn: Tensor, weight: Tensor, info: TensorInfo, normalize: str) -> Tensor:
    if normalize == "none":
        return drawn
    if normalize == "weight":
        return drawn * weight
    if normalize == "layer" or len(info.shape) <= 1:
        return drawn * _ratio(weight.norm(), drawn.norm())
    ratios = _ratio(filter_rows(weight, info).norm(dim=1), filter_rows(drawn, info).norm(dim=1))
    return drawn * spread_over_filters(ratios, info)


def _ratio(wanted: Tensor, present: Tensor) -> Tensor:
    return torch.where(present > 0, wanted / present.clamp_min(torch.finfo(present.dtype).tiny), 0.0)


def _report(layout: Layout, tensors: Tensors, one_d: str) -> DirectionReport:
    moving = layout.moving()
    held = [len(info.shape) <= 1 and one_d == "ignore" for info in moving]
    normalized = [info for info, zero in zip(moving, held, strict=True) if not zero]
    if not normalized:
        raise LandscapeError(
            "no parameter would move: all are frozen or have at most one dimension",
            mend='pass one_d="norm" (--one-d norm) to move biases and gains',
        )
    # Counted at once: small tensors that stay keep the allocator from using what large ones between them leave.
    counts = [_filters_of(gathered(tensors[info.name]), info) for info in normalized]
    return DirectionReport(
        normalized=tuple(info.name for info in normalized),
        zeroed=tuple(info.name for info, zero in zip(moving, held, strict=True) if zero),
        frozen=tuple(info.name for info in layout.stored("parameter") if not info.moves),
        tied=tuple(info.name for info in layout if info.tied_to is not None),
        buffers=tuple(info.name for info in layout.stored("buffer")),
        zero_filters=sum(zero for _, zero in counts),
        filters=sum(count for count, _ in counts),
    )


def _filters_of(weight: Tensor, info: TensorInfo) -> tuple[int, int]:
    """Return how many filters there are, and how many of them are zero throughout."""
    numbers = real_view(weight)
    rows = filter_rows(numbers, info) if len(info.shape) > 1 else numbers.reshape(1, numbers.numel())
    return len(rows), int((~rows.any(dim=1)).sum())
