"""Where measures are taken: an objective, weights, and what all measures of one call share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from landscape.curvature import Curvature, Kinks, kinks
from landscape.curvature.diagonal import exact_by, replicated_by
from landscape.curvature.passes import Passes
from landscape.measures.warm_start import WarmStart
from landscape.objective import Estimate, Objective
from landscape.optimizers import Step
from landscape.params import Held, Tensors, cast
from landscape.symmetry import Flattest, Symmetries, symmetries_of
from landscape.symmetry.flattest import moves_curvature
from landscape.vocabulary import SCATTERED

Shared = TypeVar("Shared")

# Every micro-batch is then a sample, and small ones give the smaller error for the same work; but small ones take
# longer, and more than so many samples are of little use.
_SMALLEST, _LARGEST, _SAMPLES = 16, 32, 40
# Up to so many numbers (examples x outputs x parameters) Gauss-Newton traces are exact: half a second's work.
EXACT_NUMBERS = 10**8


@dataclass(frozen=True, eq=False)
class MeasureContext:
    """Where measures are taken.

    Attributes:
        objective: What is measured.
        weights: Where.
        split: On which data.
        parameters: Globs that choose which parameters count; None is all that are trained.
        seed: Of all draws. Equal seeds draw equal numbers at every place, so that differences are differences.
        dtype: The type of real numbers; None is the model's own.
        progress: Called with (done, in all) within a measure.
        wanted: Name of a measure -> its settings, of all that are taken here, so that some may be taken together.
        guesses: Kind of a curvature -> what is known of its ends from elsewhere, where a search may begin.
        step: Reads the optimizer step that follows the weights, None where there is none after them; None where
            weights have no such thing.
        products: How products with curvature matrices are taken; see `Curvature`.
    """

    objective: Objective
    weights: Held
    split: str = "train"
    parameters: tuple[str, ...] | None = None
    seed: int = 0
    dtype: torch.dtype | None = None
    progress: Callable[[int, int], None] | None = None
    wanted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guesses: Mapping[str, WarmStart] = field(default_factory=dict)
    step: Callable[[], Step | None] | None = None
    products: str = "auto"
    _shared: dict[Any, Any] = field(default_factory=dict, repr=False)
    _operators: dict[str, Curvature] = field(default_factory=dict, repr=False)
    _passes: dict[Any, Passes] = field(default_factory=dict, repr=False)
    _found: list[Symmetries] = field(default_factory=list, repr=False)

    def telling(self, progress: Callable[[int, int], None]) -> MeasureContext:
        """The same place, which tells its progress to somebody; operators are shared."""
        return replace(self, progress=progress)

    def tell(self, done: int, total: int) -> None:
        """Tell how far a measure has come."""
        if self.progress is not None:
            self.progress(done, total)

    def moved(self, weights: Held, step: Callable[[], Step | None] | None = None) -> MeasureContext:
        """The same at other weights of the same model, and the step after them; operators move along, so that this
        place must not be used any more.
        """
        for operator in self._operators.values():
            operator.load(weights)
        return replace(self, weights=weights, step=step, _shared={})

    def fresh(self, **changes: Any) -> MeasureContext:
        """A place where nothing was taken yet, with some attributes changed; it shares the symmetries."""
        return replace(self, **{"guesses": {}, "_shared": {}, "_operators": {}, "_passes": {}, **changes})

    def elsewhere(
        self, weights: Held, guesses: Mapping[str, WarmStart], left: MeasureContext | None = None
    ) -> MeasureContext:
        """A place of its own at other weights of the same function, which shares the symmetries and the kinks.

        Args:
            weights: The weights.
            guesses: What is known of the ends of spectra there.
            left: A place that is not used any more, whose copies of the model move there.
        """
        shared = {key: found for key, found in self._shared.items() if key == "kinks"}
        moved = {} if left is None else {"_operators": left.moved(weights)._operators, "_passes": left._passes}
        return self.fresh(weights=weights, guesses=guesses, _shared=shared, **moved)

    def at(
        self,
        state: Mapping[str, Tensor],
        left: MeasureContext | None = None,
        guesses: Mapping[str, WarmStart] | None = None,
    ) -> MeasureContext:
        """The place of other weights of the same function; see `elsewhere`.

        Args:
            state: Name -> tensor, buffers included.
            left: A place that is not used any more, whose copies of the model move there.
            guesses: What is known of the ends of spectra there.
        """
        layout = self.weights.layout
        weights, buffers = (
            {info.name: state[info.name] for info in layout.stored(kind)} for kind in ("parameter", "buffer")
        )
        return self.elsewhere(Held(layout, weights, buffers), guesses or {}, left)

    def at_representative(self) -> MeasureContext:
        """The place of the representative of the orbit, in float64; see `Symmetries.canonical`."""
        state = {**self.weights.weights, **self.weights.buffers}
        wide = {name: cast(tensor, torch.float64) for name, tensor in state.items()}
        return replace(self.at(self.symmetries.canonising(wide).apply(wide)), dtype=torch.float64)

    def passes(self, purpose: str, dtype: torch.dtype | None = None) -> Passes:
        """Passes over the data at the weights: one copy of the model for each purpose, used by one at a time.

        Args:
            purpose: What it is for; whoever moves the weights, or cuts the data, has a purpose of its own.
            dtype: The type of real numbers; None is that of the place.
        """
        dtype = dtype or self.dtype
        if (held := self._passes.get((purpose, dtype))) is not None:
            held.load(self.weights)
            return held
        made = Passes(self.objective, self.weights, self.split, self.parameters, dtype, None)
        return self._passes.setdefault((purpose, dtype), made)

    def shared(self, key: Any, make: Callable[[], Shared]) -> Shared:
        """Return what several measures here need, made when the first of them does."""
        if key not in self._shared:
            self._shared[key] = make()
        made: Shared = self._shared[key]
        return made

    def gauss_newton_draws(self, samples: int | None, dtype: torch.dtype | None = None) -> list[Tensors]:
        """Diagonals of the Gauss-Newton matrix, from so many pairs of draws for every micro-batch."""
        return self.shared(
            ("gauss-newton draws", samples, dtype or self.dtype),
            lambda: replicated_by(self.passes("draws", dtype), samples, self.seed, progress=self.progress),
        )

    def gauss_newton_exact(self, dtype: torch.dtype | None = None) -> Tensors | None:
        """The exact diagonal of the Gauss-Newton matrix; None where it has too many numbers to be quick."""

        def make() -> Tensors | None:
            found = exact_by(self.passes("exact", dtype), EXACT_NUMBERS, self.progress)
            return None if found is None else found.entries

        return self.shared(("gauss-newton exact", dtype or self.dtype), make)

    def flattening(self, samples: int | None) -> Flattest:
        """The flattest point of the orbit, from the exact Gauss-Newton diagonal where samples are not given."""

        def make() -> Flattest:
            dtype = self.dtype or torch.float64 if samples is None else self.dtype
            draws = None
            # What bases do to the curvature its diagonal does not tell.
            if not any(map(moves_curvature, self.symmetries.generators)):
                exact = self.gauss_newton_exact(dtype) if samples is None else None
                draws = [exact] if exact is not None else self.gauss_newton_draws(samples, dtype)
            return self.symmetries.flattening(
                self.objective,
                self.weights,
                split=self.split,
                parameters=self.parameters,
                seed=self.seed,
                samples=samples,
                dtype=dtype,
                draws=draws,
                met=self.kinks,
                progress=self.progress,
            )

        return self.shared(("flattest", samples), make)

    def operator(self, kind: str = "hessian") -> Curvature:
        """The curvature here, of the kind asked for; measures of one call share it and its memory."""
        if kind not in self._operators:
            self._operators[kind] = Curvature(
                self.objective,
                self.weights,
                kind=kind,
                split=self.split,
                parameters=self.parameters,
                dtype=self.dtype,
                batch_size=self._batch if kind == "hessian" else None,
                products=self.products,
            )
        return self._operators[kind]

    @property
    def _batch(self) -> int | None:
        """Examples per micro-batch where traces are taken of each; otherwise None, and the curvature chooses."""
        scattered = any(settings.get("method") == SCATTERED for settings in self.wanted.values())
        if not scattered or self.objective.fixed_batch is not None:
            return None
        wanted = self.objective.examples([self.split])[self.split]["used"] // _SAMPLES
        return min(max(_SMALLEST, min(_LARGEST, wanted)), self.objective.batch_size)

    @property
    def kinks(self) -> Kinks:
        """Data that lie on kinks of the network here, where derivatives are those of one side."""
        return self.shared("kinks", lambda: kinks(self.objective, self.weights, self.split, self.parameters))

    @property
    def symmetries(self) -> Symmetries:
        """Symmetries of the model; found once for all weights of an objective."""
        if not self._found:
            self._found.append(symmetries_of(self.objective))
        return self._found[0]

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers that depend on the seed and the purpose alone."""
        key = hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:8]
        return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all measures here, as plain values."""
        return {
            "split": self.split,
            "seed": self.seed,
            "parameters": list(self.parameters or []),
            "dtype": None if self.dtype is None else str(self.dtype).removeprefix("torch."),
        }

    @cached_property
    def estimate(self) -> Estimate:
        """The mean loss here, with its standard error over examples."""
        return self.objective.estimates(self.weights, [self.split], ["loss"])[f"{self.split}_loss"]

    @property
    def loss(self) -> float:
        """The mean loss here."""
        return self.estimate.mean
