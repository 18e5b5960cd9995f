"""Factors by which an element multiplies every parameter."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from landscape.params import Tensors, real_view
from landscape.symmetry.elements import SCALINGS, Element


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
