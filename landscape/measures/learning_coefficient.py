"""The local learning coefficient by Markov chains (Lau et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.measures.adaptive import units_of
from landscape.measures.context import MeasureContext
from landscape.measures.hmc import Chain, Plan, Slopes, Target, run_chains
from landscape.measures.local_loss import LocalLoss, Stream
from landscape.measures.mcmc_diagnostics import Mixed, mixed
from landscape.measures.registry import Found

# An estimate that is below 0 by more standard errors than that says that the loss falls around the weights.
_BELOW = 2.0


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


def local_learning_coefficient(context: MeasureContext, settings: Mapping[str, Any]) -> Found:
    """n beta times the mean rise of the loss over the distribution that chains sample."""
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
