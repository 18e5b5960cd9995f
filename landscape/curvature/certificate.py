"""A check, made once for an objective, that the function that is differentiated is the function that is drawn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from landscape.curvature.derivatives import CURES, Derivatives
from landscape.curvature.diagnosis import refusal, words_of
from landscape.curvature.finite_differences import apart, filled, inner, norm
from landscape.curvature.graphs import Graph, HessianGraph
from landscape.curvature.passes import Passes
from landscape.curvature.trial import BALANCED, POWERS, SHORT, Fault, Trial, trial_of, wide_trial_of
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.findings import Origin

# Vectors along which derivatives are compared, and as many more where one of them is wrong: a kink within a step
# makes one comparison fail, a wrong derivative nearly all.
_VECTORS, _MORE = 2, 7
# Differences between types of real numbers that rounding does not explain, by which float32 is said to be inexact.
_INEXACT = 0.02
_INFINITE = "the gradient is not finite"
# Products by differences that are farther off than this say nothing.
_USELESS = 0.3


@dataclass(frozen=True)
class _Key:
    """The parameters, type and matrix that a certificate is for."""

    names: frozenset[str]
    asked: torch.dtype | None
    kind: str
    differenced: bool

    def covers(self, other: _Key) -> bool:
        """Return whether a check of more parameters, or of more derivatives, answers for these too."""
        more = other.kind in (self.kind, "gradient")
        same = self.asked == other.asked and (self.differenced == other.differenced or other.kind == "gradient")
        return more and same and self.names >= other.names


_known: WeakKeyDictionary[Origin, dict[_Key, Derivatives | str]] = WeakKeyDictionary()


def certify(passes: Passes, kind: str, *, differenced: bool = False) -> None:
    """Let derivatives be taken only as they have been checked.

    On a few examples, in float64 where the model runs in it, the gradient is compared with central differences of
    the loss that slices draw, and products with the matrix with differences of that gradient and with each other
    (u . H v = v . H u). Where they differ, plain arithmetic takes the place of fused kernels, reentrant
    checkpoints are bypassed, or products are made of differences of gradients; each is checked in turn. The
    outcome is kept as long as the objective lives, and answers for its subsets.

    Args:
        passes: Where derivatives are needed; told how to take them.
        kind: ``"gradient"``, the matrix that products are taken with, or ``"jacobian"`` where vectors are pulled
            back from the model's outputs.
        differenced: Make products of differences of gradients in any case.

    Raises:
        LandscapeError: With the cause, the layer and the remedy, if nothing helps.
    """
    if (kind, differenced) in passes.checked:
        return
    held = _known.setdefault(passes.objective.origins[0], {})
    key = _Key(frozenset(passes.vectors.names), passes.asked, kind, differenced)
    found = held.get(key) or _covering(passes.objective, key)
    if found is None:
        base = _covering(passes.objective, replace(key, kind="gradient"))
        try:
            with warnings.catch_warnings():
                # Of ways that are tried, and of what is then found to be wrong.
                warnings.simplefilter("ignore")
                found = _Certificate(passes, kind, differenced, base).derivatives()
        except LandscapeError as error:
            held[key] = str(error)
            raise
        if found is None:
            # The loss is not finite here, which whoever asked will say.
            return
        held[key] = found
    if isinstance(found, str):
        raise LandscapeError(found)
    passes.derivatives = found
    passes.checked.add((kind, differenced))


def _covering(objective: Objective, wanted: _Key) -> Derivatives | None:
    """The outcome of a check that answers for more: on examples from all over the data it answers for some."""
    held = [item for origin in objective.origins for item in _known.get(origin, {}).items()]
    return next((own for known, own in held if known.covers(wanted) and isinstance(own, Derivatives)), None)


@dataclass
class _Outcome:
    """The outcome of a way to take derivatives."""

    first: Fault | None = None
    second: Fault | None = None
    gradient: Sequence[Tensor] = ()
    image: Sequence[Tensor] = ()


class _Certificate:
    """The checks of one objective, at the weights that some passes hold."""

    def __init__(self, passes: Passes, kind: str, differenced: bool, base: Derivatives | None) -> None:
        self._passes, self._kind, self._forced, self._base = passes, kind, differenced, base
        self._order = 1 if kind == "gradient" else 2
        narrow = passes.dtype != torch.float64 and passes.evaluator.device.type != "mps"
        wide = wide_trial_of(passes) if narrow else None
        self._trial, self._wide = wide or trial_of(passes), wide is not None
        self._vectors: list[Sequence[Tensor]] = []

    @cached_property
    def _own(self) -> Trial:
        """The trial in the type in which derivatives will be used."""
        return trial_of(self._passes) if self._wide else self._trial

    def derivatives(self) -> Derivatives | None:
        """The plainest way that is right; None where the loss is not finite."""
        trial = self._trial
        with torch.random.fork_rng(devices=[]):
            if not trial.move_away(self._passes.dtype):
                return None
            trial.survey()
            if trial.doubt:
                return Derivatives(doubt=trial.doubt)
            self._vectors = [trial.direction() for _ in range(_VECTORS)]
            right = self._first_right()
            if right is None:
                return None
            found, outcome = right
            if self._wide and not found.differenced:
                found = self._in_own_type(found, outcome)
            return found

    def _first_right(self) -> tuple[Derivatives, _Outcome] | None:
        usual: _Outcome | None = None
        base: tuple[Derivatives, _Outcome] | None = None
        first = next((place for place, cure in enumerate(CURES) if self._is_confirmed(cure)), 0)
        for cure in CURES[first:]:
            outcome = self._outcome(self._trial, cure, usual)
            usual = usual or outcome
            if outcome.first is not None:
                continue
            if self._order == 1 or (outcome.second is None and not self._forced):
                fault = usual.first or usual.second
                return replace(cure, reason="" if fault is None else fault.text), outcome
            base = base or (cure, outcome)
        if base is None and usual is not None and usual.first is not None and usual.first.text == _INFINITE:
            return None
        if base is None:
            raise refusal(self._trial, usual.first)  # type: ignore[union-attr,arg-type]
        return self._differenced(*base), base[1]

    def _outcome(self, trial: Trial, cure: Derivatives, usual: _Outcome | None) -> _Outcome:
        """Try derivatives; they count as no better than the usual ones where they give the same gradient."""
        outcome = _Outcome()
        trial.passes.derivatives = cure
        with trial.passes.kernels():
            graph = self._graph(trial, outcome) if self._order == 2 and not self._forced else None
            try:
                outcome.gradient = _gradient(trial, graph)
            except (RuntimeError, NotImplementedError) as error:
                outcome.first = Fault(1, words_of(error))
                return outcome
            if usual is not None and usual.first is not None and usual.gradient:
                same = _apart(outcome.gradient, usual.gradient) <= math.sqrt(trial.epsilon)
                outcome.first = usual.first if same else None
            if outcome.first is None and not self._is_confirmed(cure):
                outcome.first = self._confirmed(trial, outcome.gradient)
            if outcome.first is None and self._kind in ("gauss-newton", "fisher", "jacobian"):
                # Differences of outputs are no cure for a loss that is differentiated wrongly by them.
                outcome.first = self._wrong_separation(trial, outcome.gradient)
            if graph is not None and outcome.first is None and outcome.second is None:
                outcome.second = self._second(trial, graph, outcome)
        return outcome

    def _wrong_separation(self, trial: Trial, gradient: Sequence[Tensor]) -> Fault | None:
        try:
            return trial.wrong_separation(gradient)
        except (RuntimeError, NotImplementedError) as error:
            return Fault(2, words_of(error))

    def _is_confirmed(self, cure: Derivatives) -> bool:
        """Return whether the gradient was checked already, for another matrix."""
        base = self._base
        return base is not None and (base.plain, base.unchecked) == (cure.plain, cure.unchecked)

    def _graph(self, trial: Trial, outcome: _Outcome) -> Graph | None:
        if self._kind == "jacobian":
            return None
        try:
            return trial.graph(self._kind)
        except (RuntimeError, NotImplementedError) as error:
            outcome.second = Fault(2, words_of(error))
            return None

    def _confirmed(self, trial: Trial, gradient: Sequence[Tensor]) -> Fault | None:
        if not math.isfinite(norm(gradient)):
            return Fault(1, _INFINITE)
        if (fault := trial.wrong_value()) is not None:
            return fault
        # That a loss jumps shows along any vector.
        powers = [POWERS, *[(BALANCED,)] * len(self._vectors[1:])]
        pairs = zip(self._vectors, powers, strict=True)
        if all(trial.wrong_slope(gradient, vector, own) is None for vector, own in pairs):
            return None
        more = [trial.wrong_slope(gradient, trial.direction()) for _ in range(_MORE)]
        faults = [fault for fault in more if fault is not None]
        return faults[0] if 2 * len(faults) > len(more) else None

    def _second(self, trial: Trial, graph: Graph, outcome: _Outcome) -> Fault | None:
        def tried(vectors: Sequence[Sequence[Tensor]]) -> tuple[Fault | None, Sequence[Tensor]]:
            return trial.wrong_product(self._kind, outcome.gradient, vectors, graph)

        try:
            fault, outcome.image = tried(self._vectors)
            faults = [fault]
            if fault is not None:
                faults = [tried((trial.direction(), trial.direction()))[0] for _ in range(_MORE)]
        except (RuntimeError, NotImplementedError) as error:
            return Fault(2, words_of(error))
        wrong = [fault for fault in faults if fault is not None]
        return wrong[0] if 2 * len(wrong) > len(faults) else None

    def _differenced(self, base: Derivatives, outcome: _Outcome) -> Derivatives:
        """Products as differences of gradients, with the step that leaves the smaller error."""
        trial, found = self._trial, []
        if self._passes.asked is not None and self._wide:
            # Steps and errors are those of the type asked for.
            trial = self._own
            trial.hold(self._trial)
            self._vectors = [trial.like(vector) for vector in self._vectors]
        trial.passes.derivatives = base
        with trial.passes.kernels():
            for power in (BALANCED, SHORT):
                graph = trial.differenced(self._kind, trial.epsilon**power)
                u, v = self._vectors
                image = trial.image(graph, u)
                other, size = inner(v, image), norm(v) * norm(image)
                image = trial.image(graph, v)
                error = norm(graph.errors) / max(norm(image), 1e-300)
                one, size = inner(u, image), norm(u) * norm(image) + size
                found.append((max(error, abs(one - other) / max(size, 1e-300)), trial.epsilon**power))
        error, step = min(found)
        fault = outcome.second
        if not error < _USELESS or (self._kind == "hessian" and not self._bends(trial, step)):
            raise refusal(trial, Fault(2, fault.text if fault else "the second derivative is not to be had"))
        return replace(
            base, differenced=True, wide=self._wide, error=error, step=step, reason=fault.text if fault else ""
        )

    def _bends(self, trial: Trial, step: float) -> bool:
        """Return whether differences of gradients are the curvature of the loss drawn, up to rounding."""
        vector = self._vectors[0]
        with trial.passes.kernels():
            graph = trial.differenced(self._kind, step)
            image = trial.image(graph, vector)
        bend, error = trial.bend(vector)
        return abs(inner(vector, image) - bend) <= error + norm(vector) * norm(graph.errors)

    def _in_own_type(self, found: Derivatives, reference: _Outcome) -> Derivatives:
        """Check derivatives that were right in float64 in the type in which they will be used."""
        own = self._own
        own.hold(self._trial)
        gap, words = self._gap(own, found, reference)
        if gap < _INEXACT:
            return found
        for cure in CURES:
            further = (cure.plain, cure.unchecked) > (found.plain, found.unchecked)
            if further and self._gap(own, cure, reference)[0] < _INEXACT:
                return replace(cure, reason=words)
        if math.isinf(gap):
            return self._without_kernels(found, words)
        return replace(found, doubt=f"{words}; use float64")

    def _without_kernels(self, found: Derivatives, words: str) -> Derivatives:
        """Where the type of the model itself lacks a kernel."""
        outcome = _Outcome(second=Fault(self._order, words))
        if self._order == 1:
            raise refusal(self._trial, Fault(1, words))
        return self._differenced(replace(found, reason=""), outcome)

    def _gap(self, own: Trial, cure: Derivatives, reference: _Outcome) -> tuple[float, str]:
        """Return how far derivatives in the model's type are from those in float64, relative to their size."""
        own.passes.derivatives = cure
        name = str(self._passes.dtype).removeprefix("torch.")
        try:
            with own.passes.kernels():
                graph = own.graph(self._kind) if reference.image else None
                gaps = [(0.0, "")]
                if self._base is None:
                    gaps.append((_apart(_gradient(own, graph), reference.gradient), "gradient"))
                if graph is not None:
                    image = own.image(graph, own.like(self._vectors[0]))
                    gaps.append((_apart(image, reference.image), "second derivative"))
        except (RuntimeError, NotImplementedError) as error:
            return math.inf, f"{words_of(error)} in {name}"
        if not all(math.isfinite(gap) for gap, _ in gaps):
            # The type is too short for the loss, which whoever asked will say.
            return 0.0, ""
        gap, what = max(gaps)
        return gap, f"{name} puts the {what} {gap:.1%} off"


def _gradient(trial: Trial, graph: Graph | None) -> list[Tensor]:
    """The gradient, from a graph that holds it already if there is one."""
    return filled(graph.gradient, trial.zero) if isinstance(graph, HessianGraph) else trial.gradient()


def _apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    size = norm(other)
    return apart(one, other) / size if size else 0.0
