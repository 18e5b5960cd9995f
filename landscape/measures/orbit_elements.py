"""The columns of an audit: symmetry elements under which a measure may change, and what theory says it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature import SymmetricOperator
from landscape.measures.congruence import scaled
from landscape.measures.context import MeasureContext
from landscape.params import Tensors, from_real, real_view
from landscape.symmetry import Element, Flattest, Symmetries
from landscape.symmetry.elements import KINDS, SCALINGS
from landscape.symmetry.factors import factors_of

# Rescalings that leave the statistics of batch normalisation alone.
_FREE = tuple(kind for kind in SCALINGS if kind != "batchnorm")
# Where there are more than rescalings, permutations and signs, they are tried together too.
_BEYOND = ("basis", "turn", "rotation", "shift", "mean")
# Symmetries of the registry that the elements of an audit belong to, by the kind of their generators.
CLASS_OF = {
    "batchnorm": "batchnorm-scale",
    "sign": "sign-flip",
    "permutation": "permutation",
    "basis": "basis-change",
    "turn": "basis-change",
    "rotation": "stream-rotation",
    "shift": "shift",
    "mean": "shift",
}
# Dinh et al. 2017 let alpha run over all positive numbers; ten is what a picture still shows.
ALPHAS = (0.1, 10.0)
# The standard deviation of the logarithms of random factors: most lie within 1/5 and 5.
_SPREAD = 0.8
# Draws of an element until one moves something, and what is added to the seed for the next.
_ATTEMPTS, _STRIDE = 20, 7919
# Of the largest weight of a tensor: what a weight must move for a measure to be tried elsewhere.
_MOVED = 1e-4


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


def columns(symmetries: Symmetries, seed: int = 0, *, few: bool = False) -> list[Column]:
    """The elements that an audit tries, for what the model has; the flattest point is added by the audit.

    Args:
        symmetries: Those of the model.
        seed: Draws the random ones.
        few: Permute and flip signs at once: neither changes what is orthogonal, and each column takes its time.
    """
    made = []
    if symmetries.of_kind(*_FREE):
        for alpha in ALPHAS:
            element = symmetries.scaling(alpha)
            made.append(
                Column(f"alpha = {alpha:g}", f"hidden units times {alpha:g}", ("layer-rescaling",), element)
            )
        element = _drawn(symmetries, seed, _present(symmetries, _FREE), _SPREAD)
        made.append(Column("per unit", "a random factor for each unit", ("unit-rescaling",), element))
    if free := symmetries.of_kind("batchnorm"):
        tenfold = Element(tuple((one, torch.full((one.units,), 10.0, dtype=torch.float64)) for one in free))
        made.append(
            Column("BatchNorm x 10", "filters before batch normalisation times 10", ("batchnorm-scale",), tenfold)
        )
    words = {"sign": "sign flips", "permutation": "permutation", "basis": "basis change", "turn": "rotary turn"}
    words |= {"rotation": "stream rotation", "shift": "shift of biases", "mean": "shift of means"}
    single = [[kind] for kind in words if symmetries.of_kind(kind)]
    if few and ["sign"] in single and ["permutation"] in single:
        single[:2] = [["sign", "permutation"]]
    for kinds in single:
        name = " and ".join(words[kind] for kind in reversed(kinds))
        classes = tuple(CLASS_OF[kind] for kind in kinds)
        made.append(Column(name, f"a random {name}", classes, _drawn(symmetries, seed, kinds)))
    if symmetries.of_kind(*_BEYOND):
        kinds = _present(symmetries, KINDS)
        classes = tuple(dict.fromkeys(CLASS_OF.get(kind, "unit-rescaling") for kind in kinds))
        made.append(
            Column("all at once", "a random element of all symmetries", classes, _drawn(symmetries, seed, kinds))
        )
    return made


def _drawn(symmetries: Symmetries, seed: int, kinds: list[str], spread: float = 0.5) -> Element:
    """A random element that moves something of every kind: of two units a permutation leaves both at their places
    as often as not.
    """
    for attempt in range(_ATTEMPTS):
        element = symmetries.draw(seed + attempt * _STRIDE, kinds=kinds, spread=spread)
        if {one.kind for one, value in element.factors if not _is_identity(value)} == set(kinds):
            break
    return element


def _is_identity(value: Tensor) -> bool:
    if value.dtype == torch.int64:
        return bool((value == torch.arange(len(value))).all())
    return value.ndim == 1 and bool((value == 1).all())


def moves(context: MeasureContext, there: MeasureContext) -> bool:
    """Return whether weights differ between two places by more than rounding."""
    before, after = context.weights.weights, there.weights.weights
    return any(
        bool(((after[name] - tensor).abs() > _MOVED * tensor.abs().max()).any())
        for name, tensor in before.items()
        if tensor.numel() and tensor.is_floating_point()
    )


def flattest_column(found: Flattest) -> Column:
    """The column of the flattest point."""
    kinds = dict.fromkeys(generator.kind for generator, _ in found.element.factors)
    also = dict.fromkeys(CLASS_OF[kind] for kind in kinds if kind in CLASS_OF)
    return Column("flattest", "the flattest point of the orbit", ("unit-rescaling", *also), found.element)


def _present(symmetries: Symmetries, kinds: Iterable[str]) -> list[str]:
    return [kind for kind in kinds if symmetries.of_kind(kind)]


@dataclass(frozen=True, eq=False)
class Foreseen(MeasureContext):
    """The place that an element leads to, as theory sees it from here: H there is H here between D^-1 and D^-1.

    Every product is one at the weights before, so what is measured here is foreseen, not recomputed (Dinh et al.
    2017, theorem 3 and section 4.2).
    """

    factors: Mapping[str, Tensor] | None = None

    def operator(self, kind: str = "hessian") -> SymmetricOperator:  # type: ignore[override]
        """The curvature there, from that here."""
        here = super().operator(kind)
        return scaled(here, 1 / here.flatten(self.factors or {}).abs())

    def gauss_newton_exact(self, dtype: torch.dtype | None = None) -> Tensors | None:
        """The diagonal of the Gauss-Newton matrix there, from that here."""
        here, factors = super().gauss_newton_exact(dtype), self.factors or {}
        return here and {name: values / factors[name].to(values) ** 2 for name, values in here.items()}


def foreseen(context: MeasureContext, column: Column) -> Foreseen | None:
    """Where a column leads as theory sees it; None where its element does more than multiply."""
    state = {**context.weights.weights, **context.weights.buffers}
    factors = factors_of(column.element, state)
    if factors is None:
        return None
    own = {name: getattr(context, name) for name in MeasureContext.__dataclass_fields__}
    # What is measured there is not what is measured here.
    return Foreseen(**{**own, "_shared": {}, "guesses": {}}, factors=factors)


def led_to(context: MeasureContext, column: Column, left: MeasureContext | None = None) -> MeasureContext:
    """The place that a column really leads to, with operators of its own; guesses are carried along.

    Args:
        context: From where.
        column: The column.
        left: A place that is not used any more, whose operators move there.
    """
    state = {**context.weights.weights, **context.weights.buffers}
    moved = column.element.apply(state)
    over = _covectors(context, column, state)
    guesses = {} if over is None else {kind: guess.carried(over) for kind, guess in context.guesses.items()}
    return context.at(moved, left, guesses)


def _covectors(
    context: MeasureContext, column: Column, state: Mapping[str, Tensor]
) -> Callable[[Tensor], Tensor] | None:
    """Return the map of derivatives at the weights to those where a column leads: shape (P, m) to the same.

    With w' = D w they are divided by D; orders and signs of units change alike in both. None for
    elements that do more.
    """
    moving = context.weights.layout.moving()
    sizes = [info.numbers for info in moving]
    factors = factors_of(column.element, state)
    if factors is not None:
        whole = torch.cat([factors[info.name].flatten() for info in moving])
        return lambda columns: columns / whole.to(columns)[:, None]
    if any(generator.kind not in ("permutation", "sign") for generator, _ in column.element.factors):
        return None

    def over(columns: Tensor) -> Tensor:
        changed = []
        for vector in columns.T:
            parts = zip(moving, vector.split(sizes), strict=True)
            tensors = {
                info.name: from_real(part.reshape(info.real_shape), state[info.name]) for info, part in parts
            }
            there = column.element.apply({**state, **tensors})
            changed.append(torch.cat([real_view(there[info.name]).flatten() for info in moving]))
        return torch.stack(changed, 1)

    return over
