"""The columns of an audit: symmetry elements under which a measure may change, and what theory says it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from landscape.curvature import SymmetricOperator
from landscape.params import Held, Tensors
from landscape.sharpness.congruent import scaled
from landscape.sharpness.place import Place
from landscape.symmetry import Element, Flattest, Symmetries
from landscape.symmetry.elements import SCALINGS

# Rescalings that leave the statistics of batch normalisation alone.
_FREE = tuple(kind for kind in SCALINGS if kind != "batchnorm")
# Symmetries of the registry that the elements of an audit belong to, by the kind of their generators.
_CLASS_OF = {
    "batchnorm": "batchnorm-scale",
    "sign": "sign-flip",
    "permutation": "permutation",
    "basis": "basis-change",
}
# Dinh et al. 2017 let alpha run over all positive numbers; ten is what a picture still shows.
ALPHAS = (0.1, 10.0)
# The standard deviation of the logarithms of random factors: most lie within 1/5 and 5.
_SPREAD = 0.8


@dataclass(frozen=True, eq=False)
class Column:
    """A symmetry element of an audit.

    Attributes:
        name: Its name in tables.
        description: In words.
        symmetries: Names of the registry's symmetries that it is made of.
        element: The element.
    """

    name: str
    description: str
    symmetries: tuple[str, ...]
    element: Element


def columns(symmetries: Symmetries, weights: Tensors, seed: int = 0) -> list[Column]:
    """The elements that an audit tries, for what the model has; the flattest point is added by the audit.

    Args:
        symmetries: Those of the model.
        weights: The weights that are audited.
        seed: Draws the random ones.
    """
    made = []
    if symmetries.of_kind(*_FREE):
        for alpha in ALPHAS:
            element = symmetries.scaling(alpha)
            made.append(
                Column(f"alpha = {alpha:g}", f"hidden units times {alpha:g}", ("layer-rescaling",), element)
            )
        element = symmetries.draw(seed, kinds=_present(symmetries, _FREE), spread=_SPREAD)
        made.append(Column("per unit", "a random factor for each unit", ("unit-rescaling",), element))
    if free := symmetries.of_kind("batchnorm"):
        tenfold = Element(tuple((one, torch.full((one.units,), 10.0, dtype=torch.float64)) for one in free))
        made.append(
            Column("BatchNorm x 10", "filters before batch normalisation times 10", ("batchnorm-scale",), tenfold)
        )
    words = {"sign": "sign flips", "permutation": "permutation", "basis": "basis change"}
    for kind, name in words.items():
        if symmetries.of_kind(kind):
            element = symmetries.draw(seed, kinds=[kind])
            made.append(Column(name, f"a random {name}", (_CLASS_OF[kind],), element))
    return made


def flattest_column(found: Flattest) -> Column:
    """The column of the flattest point."""
    also = ("batchnorm-scale",) if found.gauge else ()
    return Column("flattest", "the flattest point of the orbit", ("unit-rescaling", *also), found.element)


def _present(symmetries: Symmetries, kinds: Iterable[str]) -> list[str]:
    return [kind for kind in kinds if symmetries.of_kind(kind)]


def factors_of(element: Element, weights: Mapping[str, Tensor]) -> Tensors | None:
    """What an element multiplies every parameter by: name -> float64 tensor; None where it does more than that.

    An element is linear in the parameters, given the buffers; so its factors are what becomes of ones.
    """
    if any(generator.kind not in (*SCALINGS, "sign") for generator, _ in element.factors):
        return None
    ones = {
        name: tensor if _is_statistic(name, element) else torch.ones_like(tensor, dtype=torch.float64)
        for name, tensor in weights.items()
    }
    return element.apply(ones)


def _is_statistic(name: str, element: Element) -> bool:
    norms = [norm for generator, _ in element.factors for norm in getattr(generator, "norms", ())]
    return any(name in (norm.mean, norm.variance) for norm in norms)


@dataclass(frozen=True, eq=False)
class Foreseen(Place):
    """The place that an element leads to, as theory sees it from here: H there is H here between D^-1 and D^-1.

    Every product is one at the weights before, so what is measured here is foreseen, not recomputed (Dinh et al.
    2017, theorem 3 and section 4.2).
    """

    factors: Mapping[str, Tensor] | None = None

    def operator(self, kind: str = "hessian") -> SymmetricOperator:  # type: ignore[override]
        """The curvature there, from that here."""
        here = super().operator(kind)
        return scaled(here, 1 / here.flatten(self.factors or {}).abs())


def foreseen(place: Place, column: Column) -> Foreseen | None:
    """Where a column leads as theory sees it; None where its element does more than multiply."""
    state = {**place.weights.weights, **place.weights.buffers}
    factors = factors_of(column.element, state)
    if factors is None:
        return None
    own = {name: getattr(place, name) for name in Place.__dataclass_fields__}
    return Foreseen(**own, factors=factors)


def led_to(place: Place, column: Column) -> Place:
    """The place that a column really leads to, with operators of its own."""
    state = {**place.weights.weights, **place.weights.buffers}
    moved = column.element.apply(state)
    layout = place.weights.layout
    held = Held(
        layout,
        {info.name: moved[info.name] for info in layout.stored("parameter")},
        {info.name: moved[info.name] for info in layout.stored("buffer")},
    )
    return replace(place, weights=held, _operators={})
