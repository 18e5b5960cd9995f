"""Factors by which an element multiplies every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from landscape.params import Tensors, real_view
from landscape.symmetry.axes import Joint, length, place_along, places_of
from landscape.symmetry.elements import SCALINGS, Element, Scaling, Slices


def factors_of(element: Element, weights: Mapping[str, Tensor]) -> Tensors | None:
    """Return the factors by which an element multiplies every parameter; None where it does more than that.

    Name -> float64 tensor, shaped as `real_view` has it.

    An element is linear in the parameters, given the buffers; so its factors are what becomes of ones.
    """
    if any(generator.kind not in (*SCALINGS, "sign") for generator, _ in element.factors):
        return None
    ones = {
        name: tensor if _is_statistic(name, element) else torch.ones_like(real_view(tensor), dtype=torch.float64)
        for name, tensor in weights.items()
    }
    return element.apply(ones)


def _is_statistic(name: str, element: Element) -> bool:
    norms = [norm for generator, _ in element.factors for norm in getattr(generator, "norms", ())]
    return any(name in (norm.mean, norm.variance) for norm in norms)


def plain_slices(
    scalings: Sequence[Scaling], shapes: Mapping[str, Sequence[int]]
) -> tuple[list[Scaling], set[str]]:
    """Scalings whose slices lie along single dimensions, and the tensors that are taken flat for that."""
    flat = {one.tensor for scaling in scalings for one in scaling.slices if isinstance(one.dim, Joint)}

    def plain(one: Slices) -> Slices:
        if one.tensor not in flat:
            return one
        along = place_along(places_of(shapes[one.tensor]), one.dim).expand(tuple(shapes[one.tensor]))
        elements = (
            along.reshape(-1).argsort(stable=True).reshape(length(shapes[one.tensor], one.dim), -1)[one.places]
        )
        units, powers = (part.repeat_interleave(elements.shape[1]) for part in (one.units, one.powers))
        return Slices(one.tensor, 0, elements.reshape(-1), units, powers)

    return [replace(scaling, slices=tuple(map(plain, scaling.slices))) for scaling in scalings], flat
