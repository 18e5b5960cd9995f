"""Going on with a run: with its settings, or for more epochs where its updates are the first of the longer run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.training.plan import Plan
from landscape.training.settings import Settings
from landscape.training.start import Start
from landscape.trajectory import Trajectory


def require_same_run(
    held: Trajectory, objective: Objective, settings: Settings, start: Start | None, plan: Plan
) -> bool:
    """Check that a run can go on, and return whether it shall have more epochs than it was to have.

    Args:
        held: The run in the file.
        objective: What is trained.
        settings: What is asked for.
        start: Where the run starts if it is a branch.
        plan: The updates that are asked for.

    Raises:
        LandscapeError: If the run was made with other settings, another problem or other data, or if it would have
            made other updates had it been as long from the start.
    """
    wanted = {
        "problem": objective.problem,
        **{f"option {key}": value for key, value in objective.problem_args.items()},
        **_flat(settings.to_json()),
        "data": objective.data_digest("train"),
        **({} if start is None else _chosen(start.about)),
    }
    stored = {
        "problem": held.problem,
        **{f"option {key}": value for key, value in held.problem_args.items()},
        **_flat(held.training),
        **_chosen(held.parent),
    }
    differing = [key for key in wanted if wanted[key] != stored.get(key)]
    if differing == ["epochs"] and settings.epochs > stored.get("epochs", math.inf):
        _require_same_updates(held, settings, plan)
        return True
    if differing:
        shown = ", ".join(
            f"{key} ({_short(stored.get(key))} in the file, {_short(wanted[key])} now)" for key in differing
        )
        raise LandscapeError(
            f"the run in the file was made with other settings: {shown}",
            where=held.path,
            mend="leave them out, or train again with --overwrite or another name",
        )
    return False


def _require_same_updates(held: Trajectory, settings: Settings, plan: Plan) -> None:
    """Check that the updates in a file are the first ones of a longer run."""
    before = replace(settings, epochs=held.training["epochs"])
    steps, done = plan.steps_per_epoch, int(held.steps[-1]) if len(held) else 0
    mend = "train again with --overwrite; schedules that end (step, cosine, linear) are spread over all epochs"
    for step in range(done):
        rates = [one.rate_at(step, steps * one.epochs, steps) for one in (before, settings)]
        if rates[0] != rates[1]:
            words = f"learning rate {rates[0]:.4g} in the file, {rates[1]:.4g} now"
            raise _other_updates(held, settings, words, step, mend)
    mend = "train again with --overwrite; gamma grows over all epochs unless gamma_rate is given"
    schedules = [_gamma(one, steps) for one in (before, settings)]
    for step in range(done if schedules[0] is not None else 0):
        factors = [one.at(1.0, step) for one in schedules]
        if factors[0] != factors[1]:
            words = f"gamma has grown by {factors[0]:.4g} in the file, by {factors[1]:.4g} now"
            raise _other_updates(held, settings, words, step, mend)


def _gamma(settings: Settings, steps_per_epoch: int) -> Any:
    """Return the schedule of gamma without a limit; None for optimizers that have none."""
    if not hasattr(settings.choices, "schedule"):
        return None
    return replace(settings.choices.schedule(settings.epochs, steps_per_epoch, settings.rate), limit=math.inf)


def _other_updates(held: Trajectory, settings: Settings, got: str, step: int, mend: str) -> LandscapeError:
    return LandscapeError(
        f"a run of {settings.epochs} epochs does not begin as this one of {held.training['epochs']}",
        where=held.path,
        got=f"update {step + 1}: {got}",
        mend=mend,
    )


def _chosen(parent: Mapping[str, Any]) -> dict[str, Any]:
    """Origin of a branch without the length of its noise, which is measured: its last digits depend on threads."""
    noise = parent.get("perturbation")
    if not isinstance(noise, Mapping):
        return dict(parent)
    return {**parent, "perturbation": {name: value for name, value in noise.items() if name != "distance"}}


def _flat(training: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the options of the optimizer beside the others."""
    own = training.get("optimizer_options", {})
    others = {key: value for key, value in training.items() if key != "optimizer_options"}
    return {"target_loss": None, **others, **{f"optimizer option {key}": value for key, value in own.items()}}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = " ".join(str(item) for item in value.values())
    text = str(value)
    return text if len(text) <= 20 else text[:8] + "..."
