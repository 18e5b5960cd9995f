"""Table of what the steps of a study computed, with a reason for every value that is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from landscape.measures.table_store import read_table
from landscape.recipe.cache import Cache
from landscape.recipe.report import StepReport
from landscape.study.values import Net, Study
from landscape.trajectory import Trajectory, open_trajectory
from landscape.values.correlations import Nets

# Name of a network -> key of its training, and measure -> key of its values.
Keys: TypeAlias = "dict[str, tuple[str, dict[str, str]]]"

_RESULTS = ("train_loss", "train_error", "test_loss", "test_error")
_DONE = ("cached", "made", "shared")


def gather(study: Study, keys: Keys, steps: Mapping[str, StepReport], cache: Cache) -> Nets:
    """All networks of a study with what is known of them.

    Args:
        study: The study.
        keys: Of the steps.
        steps: What became of them.
        cache: Where their results are.

    Returns:
        The networks in the order of the study.
    """
    nets = study.nets
    results: list[dict[str, float]] = []
    faults: dict[str, str] = {}
    for net in nets:
        own, fault = _trained(net, steps[keys[net.name][0]], cache)
        results.append(own)
        if fault:
            faults[net.name] = fault
    taken = {name: _measured(study, name, keys, steps, cache, faults) for name in study.measures}
    known = dict.fromkeys(name for own in results for name in own)
    return Nets(
        names=tuple(net.name for net in nets),
        levels={axis: tuple(net.levels[axis] for net in nets) for axis in nets[0].levels},
        settings={name: tuple(net.settings[name] for net in nets) for name in nets[0].settings},
        results={name: np.array([own.get(name, np.nan) for own in results]) for name in known},
        measures={name: found["values"] for name, found in taken.items()},
        standard_errors={name: found["errors"] for name, found in taken.items()},
        about={name: found["about"] for name, found in taken.items()},
        faults=faults,
        missing={name: found["missing"] for name, found in taken.items()},
        rough={name: tuple(found["rough"]) for name, found in taken.items()},
    )


def _trained(net: Net, step: StepReport, cache: Cache) -> tuple[dict[str, float], str]:
    """Return the numbers that training left, and why the network does not count, if so."""
    if step.state not in _DONE:
        return {}, f"was not trained: {_reason(step)}"
    run = open_trajectory(cache.path("train", step.step.key))
    found = {name: float(run.metrics[name][-1]) for name in _RESULTS if name in run.metrics}
    for name in ("error", "loss"):
        if f"test_{name}" in found:
            found[f"{name}_gap"] = found[f"test_{name}"] - found[f"train_{name}"]
    found |= {"steps": float(run.steps[-1]), "epochs": float(run.epochs[-1]), "weight_norm": _norm(run)}
    training = net.run.training
    loss = found.get("train_loss", math.nan)
    if not math.isfinite(loss):
        return found, "diverged"
    if training is not None and training.target_loss is not None and not training.reached(loss):
        return found, f"did not reach a training loss of {training.target_loss:g} (ended at {loss:.3g})"
    return found, ""


def _norm(run: Trajectory) -> float:
    """The Euclidean norm of all weights at the end."""
    return math.sqrt(sum(float(tensor.abs().double().square().sum()) for tensor in run[-1].weights.values()))


def _measured(
    study: Study,
    name: str,
    keys: Keys,
    steps: Mapping[str, StepReport],
    cache: Cache,
    faults: Mapping[str, str],
) -> dict[str, Any]:
    """A measure of all networks: values, errors, about, missing and rough."""
    values, errors = np.full(len(study.nets), np.nan), np.full(len(study.nets), np.nan)
    about: dict[str, Any] = {}
    missing: dict[str, str] = {}
    rough: list[str] = []
    for place, net in enumerate(study.nets):
        step = steps[keys[net.name][1][name]]
        if step.state not in _DONE:
            missing[net.name] = faults.get(net.name) or _reason(step)
            continue
        column = read_table(cache.path("measures", step.step.key))[name]
        about = dict(column.about)
        values[place], errors[place] = column.values[-1], column.standard_errors[-1]
        if not math.isfinite(values[place]):
            missing[net.name] = _why(values[place], bool(column.converged[-1]))
        elif not column.converged[-1]:
            rough.append(net.name)
    return {"values": values, "errors": errors, "about": about, "missing": missing, "rough": rough}


def _why(value: float, converged: bool) -> str:
    if math.isinf(value):
        return "infinite"
    return "undefined here" if converged else "did not converge"


def _reason(step: StepReport) -> str:
    if step.failure is None:
        return step.state
    return step.failure.message.removeprefix(f"{step.step.title}: ")
