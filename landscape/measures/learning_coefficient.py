"""The local learning coefficient by Markov chains (Lau et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.forms import NUMBER
from landscape.measures.adaptive import UNITS, units_of
from landscape.measures.context import MeasureContext
from landscape.measures.hmc import FEWEST, Chain, Plan, Slopes, Target, run_chains
from landscape.measures.local_loss import LocalLoss, Stream
from landscape.measures.mcmc_diagnostics import Mixed, mixed
from landscape.measures.registry import Found, Measure, register
from landscape.options import Options, option

# An estimate that is below 0 by more standard errors than that says that the loss falls around the weights.
_BELOW = 2.0


@dataclass(frozen=True)
class LearningOptions(Options):
    """The distribution, and the chains that sample it."""

    gamma: float = option(1.0, "How strongly chains are pulled back to the weights", low=0)
    n: float | None = option(None, "Examples that count", form=NUMBER, above=1, unset="all")
    beta: float | None = option(None, "Inverse temperature", form=NUMBER, above=0, unset="1 / log n")
    chains: int = option(4, "Chains", low=1)
    draws: int = option(250, "Draws of every chain", low=FEWEST)
    burn_in: int = option(150, "Draws of every chain before these", low=0)
    rounds: int = option(3, "Tries, each with paths twice as long, until chains have converged", low=1)
    leapfrog: int = option(4, "Steps of every draw", low=1)
    adjusted: bool = option(True, "Accept or refuse every draw, so that step lengths leave no bias")
    acceptance: float | None = option(
        None,
        "Share of draws to accept, by which the step length is found",
        form=NUMBER,
        above=0,
        below=1,
        unset="0.8; of one leapfrog step 0.574",
    )
    step: float | None = option(None, "Length of a step", form=NUMBER, above=0, unset="found during burn_in")
    preconditioner: str = option(
        "none", "Of steps; rmsprop finds during burn_in how far each weight moves", choices=("none", "rmsprop")
    )
    batch: int = option(0, "Examples of the batch of every step; 0 takes all", low=0)
    units: str = option("none", "Of distances: 1, each weight itself, or the norm of its filter", choices=UNITS)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what chains cannot do."""
        if self.batch and self.adjusted:
            why = "batch: losses of batches cannot decide about acceptance"
            yield "batch", f"{why}; set adjusted=False and give a step, or leave batch out"
        elif not self.adjusted and self.step is None:
            yield "step", "step: without acceptance nothing tells how long a step may be; give its length"


def _temperature(count: int, settings: Mapping[str, Any]) -> tuple[float, float]:
    """n and beta."""
    n = float(count if settings["n"] is None else settings["n"])
    if n <= 1:
        raise LandscapeError("the learning coefficient needs more examples than one", where="n", got=n)
    return n, 1 / math.log(n) if settings["beta"] is None else float(settings["beta"])


def _plan(settings: Mapping[str, Any]) -> Plan:
    return Plan(
        draws=int(settings["draws"]),
        burn_in=int(settings["burn_in"]),
        step=None if settings["step"] is None else float(settings["step"]),
        leapfrog=int(settings["leapfrog"]),
        adjusted=bool(settings["adjusted"]),
        acceptance=settings["acceptance"],
        rounds=int(settings["rounds"]),
        preconditioned=settings["preconditioner"] == "rmsprop",
    )


def _slopes(field: LocalLoss, units: Tensor, noises: Sequence[Stream], size: int) -> Slopes:
    """The loss of steps in units; with a size, of another batch at every step of every chain."""

    def slopes(asked: Mapping[int, Tensor]) -> list[tuple[float, Tensor]]:
        steps = [units * step for step in asked.values()]
        if size:
            parts = [field.sample(noises[chain].choice(field.count, size)) for chain in asked]
            found = [part.slope(step) for part, step in zip(parts, steps, strict=True)]
        else:
            found = field.slopes(steps)
        return [(loss, units * slope) for loss, slope in found]

    return slopes


def _local_learning_coefficient(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    field, plan = LocalLoss(context), _plan(settings)
    n, beta = _temperature(field.count, settings)
    number, base = int(settings["chains"]), field.loss(field.zero())
    total = number * (plan.burn_in + plan.draws)
    noises = [field.noise(f"chain/{index}") for index in range(number)]
    target, checked = Target(base, n * beta, float(settings["gamma"])), not settings["batch"]

    def met_by(chains: Sequence[Chain]) -> Mixed:
        return mixed(chains, n * beta, plan.adjusted, checked=checked)

    with field.walking():
        chains = run_chains(
            _slopes(field, units_of(field, settings["units"]), noises, settings["batch"]),
            [target] * number,
            plan,
            [field.zero()] * number,
            noises,
            enough=lambda chains: met_by(chains).settled,
            told=lambda done: context.tell(min(done, total), total),
        )
    met = met_by(chains)
    doubts = met.doubts
    if met.mean < -_BELOW * met.standard_error:
        doubts = [*doubts, "the loss is lower around the weights than at them: they are no local minimum"]
    return Found(
        value=math.nan if doubts else met.mean,
        standard_error=None if doubts else met.standard_error,
        converged=not doubts,
        details={
            "estimate": met.mean if math.isfinite(met.mean) else None,
            "interval_95": None if met.interval is None else list(met.interval),
            "not_converged": doubts,
            **(
                {"note": f"{'; '.join(doubts)}; more draws and burn_in, or a larger gamma, help"} if doubts else {}
            ),
            "n": n,
            "beta": beta,
            "loss": base,
            **met.diagnostics,
        },
    )


register(
    Measure(
        name="local_learning_coefficient",
        title="local learning coefficient",
        formula=(
            "n beta (E L(w') - L(w)), beta = 1 / log n, w' ~ exp(-n beta L(w') - gamma/2 |w' - w|^2) (units = "
            "element: |(w' - w) / w|^2, filter: norms of filters); d/2 at a regular minimum of d parameters"
        ),
        unit="1",
        source="Lau et al. 2023, definition 1 and algorithm 1; beta: Watanabe 2013",
        # Chains that are pulled back alike in all directions see every rescaling of the directions.
        invariant=("permutation", "sign-flip"),
        compute=_local_learning_coefficient,
        options=LearningOptions,
        misleads=(
            "The quantity that is estimated does not change under any reparametrisation, but gamma, which "
            "keeps chains near, does: where n beta times a curvature is not far above gamma the estimate "
            "is too low, and rescaling moves it; with units = element distances are measured in units of "
            "each weight, and it does not. Chains that have not converged give NaN and say why; "
            "chains that all miss a narrow valley look converged. At "
            "weights that are no local minimum it can be negative."
        ),
    )
)
