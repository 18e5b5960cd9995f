"""The symmetries of one model: what was found, and its use on weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Objective
from landscape.params import Tensors, Weights, resolve
from landscape.symmetry.alignment import aligned_to_mean, aligning_element
from landscape.symmetry.canonical import balance_element, unit_norm_element
from landscape.symmetry.construction import Blocked
from landscape.symmetry.dimension import Dimension, dimension
from landscape.symmetry.elements import KINDS, Element, Generator, Scaling, element_from_json
from landscape.symmetry.flattest import Flattest, flattest
from landscape.symmetry.representative import representative_element
from landscape.symmetry.same_function import Check, Runner, require_same
from landscape.values.result import Result


@dataclass(frozen=True, eq=False)
class Symmetries(Result):
    """Symmetries that leave the function of a model unchanged, for all weights; see `find`.

    Weights are a snapshot, a model, or a name -> tensor dictionary (buffers that it lacks are the model's). What
    comes back is a dictionary of name -> tensor, buffers included, of the same element types. Every method that
    returns weights compares the outputs on the example input and refuses if rounding does not explain what they
    differ by.

    Attributes:
        generators: Families of symmetries, in the order of the forward pass within each kind.
        blocked: What refuses positive factors, and of which units.
        notes: What was seen and not used.
        runner: Runs a private copy of the model on the example input.

    Example:
        >>> symmetries = ls.symmetry.find(model, x)
        >>> sharp = symmetries.rescale(model, alpha=10.0)
        >>> symmetries.check(model, sharp).passed
        True
    """

    generators: tuple[Generator, ...]
    blocked: tuple[Blocked, ...]
    notes: tuple[str, ...]
    runner: Runner

    def __repr__(self) -> str:
        kinds = Counter(generator.kind for generator in self.generators)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none found"
        return f"Symmetries({found}; {len(self.blocked)} blocked, {len(self.notes)} notes)"

    def __getitem__(self, name: str) -> Generator:
        for generator in self.generators:
            if generator.name == name:
                return generator
        names = [generator.name for generator in self.generators]
        raise LandscapeError(f"no symmetry is named '{name}'", mend=did_you_mean(name, names) if names else None)

    def of_kind(self, *kinds: str) -> tuple[Generator, ...]:
        """The generators of some kinds.

        Args:
            *kinds: Of ``"rescale"``, ``"gain"``, ``"query-key"``, ``"batchnorm"``, ``"sign"``,
                ``"permutation"``, ``"basis"``, ``"turn"``, ``"shift"``, ``"mean"``, ``"rotation"``.

        Raises:
            LandscapeError: At the first that does not exist.
        """
        for kind in kinds:
            if kind not in KINDS:
                raise LandscapeError(f"there is no kind of symmetry '{kind}'", mend=did_you_mean(kind, KINDS))
        return tuple(generator for generator in self.generators if generator.kind in kinds)

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        """The rescalings, with the exponents of every element of every tensor in their `slices`."""
        return tuple(generator for generator in self.generators if isinstance(generator, Scaling))

    def dimension(self, weights: Weights) -> Dimension:
        """Count the continuous parameters at some weights, and the directions in which the function is flat.

        Args:
            weights: The weights; at special ones (a gain of 0, a dead unit) both counts differ from those
            elsewhere.

        Returns:
            The counts; `unexplained` is how many flat directions were missed.
        """
        return dimension(self.generators, self.runner, self.complete(weights))

    def describe(self) -> dict[str, Any]:
        """Describe what was found, as plain values."""
        return {
            "generators": [
                {
                    "name": generator.name,
                    "kind": generator.kind,
                    "units": generator.units,
                    "dimension": generator.dimension,
                    "description": generator.description,
                    "tensors": list(generator.tensors),
                }
                for generator in self.generators
            ],
            "blocked": [str(block) for block in self.blocked],
            "notes": list(self.notes),
        }

    def complete(self, weights: Weights) -> Tensors:
        """Weights with the model's own buffers where they lack some."""
        given = resolve(weights)[1]
        own = dict(self.runner.model.named_buffers())
        needed = {name for generator in self.generators for name in generator.tensors}
        missing = sorted(needed - given.keys() - own.keys())
        if missing:
            raise LandscapeError(f"tensor '{missing[0]}' is missing", where="weights", mend="pass all parameters")
        return given | {name: own[name] for name in sorted(needed - given.keys())}

    def check(self, weights: Weights, other: Weights, x: Any = None) -> Check:
        """Measure how far two sets of weights differ in their outputs, and what rounding explains.

        Args:
            weights: Some weights.
            other: Others.
            x: Inputs; None is the example input.
        """
        runner = self.runner if x is None else Runner(self.runner.model, x)
        return runner.compare(self.complete(weights), self.complete(other))

    def element(self, entries: list[dict[str, Any]]) -> Element:
        """The element that `Element.to_json` wrote."""
        return element_from_json(entries, {generator.name: generator for generator in self.generators})

    def apply(self, weights: Weights, element: Element, what: str = "symmetry") -> Tensors:
        """Weights after an element, once it is seen that they give the same function.

        Raises:
            LandscapeError: If rounding does not explain how the outputs differ.
        """
        state = self.complete(weights)
        other = element.apply(state)
        require_same(self.runner.compare(state, other), what)
        return other

    def scaling(
        self,
        alpha: float | None = None,
        *,
        alphas: Sequence[float] | None = None,
        scales: Mapping[str, float | Sequence[float] | Tensor] | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Element:
        """A rescaling as an element; see `rescale`."""
        given = [
            name for name, value in (("alpha", alpha), ("alphas", alphas), ("scales", scales)) if value is not None
        ]
        if len(given) != 1:
            raise LandscapeError("give one of alpha, alphas, scales", got=" and ".join(given) or "none")
        if scales is not None:
            chosen: dict[str, Any] = dict(scales)
        else:
            layers = self._layers(kinds)
            chosen = dict(zip((layer.name for layer in layers), self._factors(alpha, alphas, layers), strict=True))
        factors: list[tuple[Generator, Tensor]] = []
        for name, value in chosen.items():
            generator = self[name]
            if not isinstance(generator, Scaling):
                raise LandscapeError("is not a rescaling", where=name, got=generator.kind)
            wanted = torch.as_tensor(value, dtype=torch.float64)
            wanted = wanted.expand(generator.units) if wanted.ndim == 0 else wanted
            if not bool((wanted > 0).all() and wanted.isfinite().all()):
                raise LandscapeError("factors must be positive and finite", where=name, got=float(wanted.min()))
            factors.append((generator, generator.require(wanted)))
        return Element(tuple(factors))

    def _layers(self, kinds: Sequence[str] | None) -> tuple[Generator, ...]:
        """Rescalings that a factor per layer means: by default all but those in front of batch normalisation."""
        chosen = self.of_kind(*kinds) if kinds is not None else self.of_kind("rescale", "gain", "query-key")
        if kinds is None and not chosen:
            chosen = self.of_kind("batchnorm")
        if not chosen:
            reasons = "; ".join(map(str, self.blocked[:3])) or "it has no hidden units"
            raise LandscapeError("this model has no rescaling symmetry", got=reasons)
        return chosen

    def _factors(
        self, alpha: float | None, alphas: Sequence[float] | None, layers: Sequence[Generator]
    ) -> list[float]:
        if alpha is not None:
            return [float(alpha)] * len(layers)
        given = torch.tensor(list(alphas or ()), dtype=torch.float64)
        if len(given) != len(layers) + 1:
            raise LandscapeError(
                "alphas has a factor for each layer", got=len(given), expected=f"{len(layers) + 1} factors"
            )
        product = float(given.prod())
        if not abs(product - 1) <= len(given) * torch.finfo(torch.float64).eps:
            raise LandscapeError("the product of alphas must be 1", got=product, mend="or the function changes")
        return [float(value) for value in given.cumprod(0)[:-1]]

    def rescale(self, weights: Weights, alpha: float | None = None, **choice: Any) -> Tensors:
        """Rescaled weights of the same function.

        Args:
            weights: The weights.
            alpha: The scale that all hidden units take: of a chain, the first layer is multiplied by it, the last
                one divided, and the biases between are multiplied.
            **choice: Instead of `alpha`, ``alphas``: a factor for each layer of a chain, their product 1
            (T_alpha in
                its deep form); or ``scales``: the name of a generator -> a factor, or one for each of its units.
                ``kinds`` chooses the rescalings; by default all, but those in front of batch normalisation only
                where there are no others.

        Raises:
            LandscapeError: If the model has no such symmetry, naming what refuses, or the outputs change.

        Source:
            Dinh et al. 2017, definition 5, section 4.2 and appendix B.
        """
        return self.apply(weights, self.scaling(alpha, **choice), "rescaling")

    def draw(self, seed: int, *, kinds: Sequence[str] = KINDS, spread: float = 0.5) -> Element:
        """A random element.

        Args:
            seed: Draws it.
            kinds: Which generators take part.
            spread: The standard deviation of the logarithms of factors.

        Raises:
            LandscapeError: If the model has no such symmetry.
        """
        chosen = self.of_kind(*kinds)
        if not chosen:
            raise LandscapeError(f"this model has no symmetry of kind {' or '.join(kinds)}")
        source = torch.Generator().manual_seed(seed)
        return Element(tuple((generator, generator.draw(source, spread)) for generator in chosen))

    def random(self, weights: Weights, seed: int, *, kinds: Sequence[str] = KINDS, spread: float = 0.5) -> Tensors:
        """Weights after a random element of some kinds; see `draw`."""
        return self.apply(weights, self.draw(seed, kinds=kinds, spread=spread), "random symmetry")

    def permute(self, weights: Weights, seed: int) -> Tensors:
        """Weights with hidden units, channels and heads in another order."""
        return self.apply(weights, self.draw(seed, kinds=["permutation"]), "permutation")

    def balancing(self, weights: Weights) -> Element:
        """The element that balances some weights; see `balance`."""
        layers = [one for one in self._layers(None) if isinstance(one, Scaling)]
        if layers[0].kind == "batchnorm":
            raise LandscapeError(
                "the norms of filters in front of batch normalisation are free, and nothing balances them"
            )
        return balance_element(layers, self.complete(weights))

    def balance(self, weights: Weights) -> Tensors:
        """Weights whose squared norms have the least sum that one factor per layer can give.

        In a chain of layers all weight matrices then have the same norm. Filters in front of batch normalisation
        keep their norm.

        Raises:
            LandscapeError: If the model has no rescaling, or no sum is the least.
        """
        return self.apply(weights, self.balancing(weights), "balancing")

    def flattening(self, objective: Objective, weights: Weights, **settings: Any) -> Flattest:
        """The smallest Gauss-Newton trace on the orbit, and the element that leads there; see `flattest.flattest`.

        Args:
            objective: Model, data and loss.
            weights: The weights.
            **settings: ``split``, ``parameters``, ``seed``, ``samples``, ``dtype``, ``kinds``, ``draws``, ``met``
                and ``progress``.
        """
        return flattest(self, objective, self.complete(weights), **settings)

    def flattest(self, objective: Objective, weights: Weights, **settings: Any) -> Tensors:
        """The weights of the orbit whose Gauss-Newton trace is smallest; see `flattening`.

        Raises:
            LandscapeError: If the model has no rescaling, or the outputs change.

        Source:
            Vardhan, Taheri & Mazumdar 2026.
        """
        return self.apply(weights, self.flattening(objective, weights, **settings).element, "flattening")

    def normalising(self, weights: Weights) -> Element:
        """The element that gives incoming weights norm 1; see `unit_norm`."""
        if not self.scalings:
            self._layers(None)
        return unit_norm_element(self.scalings, self.complete(weights))

    def unit_norm(self, weights: Weights) -> Tensors:
        """Weights in which what comes into every hidden unit has norm 1, the scale pushed forward.

        All rescalings of the same weights have the same such weights. Biases do not count towards the norm.

        Source:
            Pittorino et al. 2022, "Deep Networks on Toroids".
        """
        return self.apply(weights, self.normalising(weights), "normalisation")

    def canonising(self, weights: Weights) -> Element:
        """The element that brings weights to their representative; see `canonical`."""
        return representative_element(self.generators, self.complete(weights))

    def canonical(self, weights: Weights) -> Tensors:
        """The representative of all symmetries of some weights, for distances between orbits.

        What comes into a unit has norm 1, and, where its sign is free, a gain of 0 or more behind a normalisation
        and a sum of cubes of 0 or more elsewhere; units stand in an order that their weights say; see
        `representative.representative_element` for bases, rotations and shifts. Bases of layers that follow one
        another without anything between are settled one after the other, which depends on where one starts.
        """
        return self.apply(weights, self.canonising(weights), "normalisation")

    def align_all(
        self, weights: Sequence[Weights], seed: int = 0, sweeps: int = 10, *, data: Any = None
    ) -> list[Tensors]:
        """Several sets of weights brought near to one another: each in turn to the mean of the others.

        The first stays where it is; the others are aligned to it, then to the mean of all others, until no sweep
        brings them nearer together.

        Args:
            weights: At least two.
            seed: Draws the order in which layers are matched.
            sweeps: At most so many.
            data: As of `align`.

        Source:
            Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", appendix A.10 (merging many).
        """
        return aligned_to_mean(
            [self.complete(one) for one in weights], partial(self.align, data=data), seed, sweeps
        )

    def aligning(
        self, a: Weights, b: Weights, seed: int = 0, *, kinds: Sequence[str] = KINDS, data: Any = None
    ) -> Element:
        """The element that brings b near to a; see `align`."""
        runner = None if data is None else Runner(self.runner.model, data, torch.float64)
        return aligning_element(self.of_kind(*kinds), self.complete(a), self.complete(b), seed, runner)

    def align(
        self, a: Weights, b: Weights, seed: int = 0, *, kinds: Sequence[str] = KINDS, data: Any = None
    ) -> Tensors:
        """Weights b, of the same function as before, brought near to a by all symmetries.

        Both are brought to representatives of all but the order of units, as `canonical` does; b's units are
        matched to a's, its bases and streams rotated onto a's by Procrustes; the result takes the scales, bases
        and shifts of a. A copy of a that symmetries have moved comes back as a, up to rounding.

        Args:
            a: The weights to come near to.
            b: The weights that move along their orbit.
            seed: Draws the order of the sweeps.
            kinds: Which generators take part.
            data: Inputs on which units are matched by their activations; None matches them by weights.

        Source:
            Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", sections 3.1 and 3.2, for permutations; Schönemann
            1966 for rotations; cf. Theus et al. 2025 for transformers.
        """
        return self.apply(b, self.aligning(a, b, seed, kinds=kinds, data=data), "alignment")
