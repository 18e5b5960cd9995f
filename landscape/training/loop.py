"""The training loop: every update a function of the seed and the state before it."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.errors import LandscapeError
from landscape.objective import Objective, Split
from landscape.training.plan import Plan
from landscape.training.settings import Settings
from landscape.training.start import Start, open_run
from landscape.trajectory import Recorder, Trajectory, open_trajectory

Progress = Callable[[int, int, Mapping[str, float]], None]


def train(
    objective: Objective,
    path: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    start: Start | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Trajectory:
    """Train an objective's model from the weights it has, or from those of another run, and record the trajectory.

    The objective's model is not changed. The order of the examples depends on (seed, epoch) alone, so a run
    that was killed and resumed ends with the same bits as one that was not. A last batch of a single
    example joins the batch before it, since normalisation needs two.

    Args:
        objective: Model, data and loss.
        path: The trajectory file to write.
        settings: What decides the run.
        start: Where a branch of another run starts; it may be written into a file that exists, beside others.
        resume: Go on with the file if there is one; a finished run is left as it is.
        overwrite: Replace the file if there is one.
        progress: Called with (updates done, updates in all, metrics of the newest snapshot).

    Returns:
        The finished trajectory.

    Raises:
        LandscapeError: If the file exists and neither `resume` nor `overwrite` is given, or the run in it
            was made with other settings, another problem or other data.
    """
    chosen = settings or Settings()
    file = Path(path)
    branch = None if start is None else start.branch
    resumed = resume and file.exists() and (branch is None or branch in open_trajectory(file).branches)
    if resumed:
        held = open_run(file, branch)
        _require_same_run(held, objective, chosen, start)
        if held.finished:
            return held
    model = copy.deepcopy(objective.model).train()
    if start is not None:
        start.load_into(model)
    optimizer = _make_optimizer(model, chosen)
    plan = Plan.of(objective.data["train"], chosen)
    if plan.batch_size < 2 and any(isinstance(m, _BatchNorm) for m in model.modules()):
        raise LandscapeError(
            "BatchNorm cannot be trained on single examples",
            where="training",
            got=f"{plan.source.count} examples in batches of {plan.batch_size}",
            expected="batches of at least 2",
        )
    recorder = Recorder(
        file,
        model,
        problem=objective.problem,
        problem_args=objective.problem_args,
        seed=chosen.seed,
        training={**chosen.to_json(), "data": objective.data_digest("train")},
        overwrite=overwrite,
        resume=resumed,
        branch=branch,
        **({} if start is None else start.about),
    )
    with recorder, _own_random_state(chosen.seed):
        _run(objective, model, optimizer, recorder, chosen, plan, progress, branch)
    return open_run(file, branch)


def _require_same_run(held: Trajectory, objective: Objective, settings: Settings, start: Start | None) -> None:
    wanted = {
        "problem": objective.problem,
        **{f"option {key}": value for key, value in objective.problem_args.items()},
        **settings.to_json(),
        "data": objective.data_digest("train"),
        **({} if start is None else start.about),
    }
    stored = {
        "problem": held.problem,
        **{f"option {key}": value for key, value in held.problem_args.items()},
        **held.training,
        **held.parent,
    }
    differing = [key for key in wanted if wanted[key] != stored.get(key)]
    if differing:
        shown = ", ".join(
            f"{key} ({_short(stored.get(key))} in the file, {_short(wanted[key])} now)" for key in differing
        )
        raise LandscapeError(f"the run in the file was made with other settings: {shown}", where=held.path)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = " ".join(str(item) for item in value.values())
    text = str(value)
    return text if len(text) <= 20 else text[:8] + "..."


@contextmanager
def _own_random_state(seed: int) -> Iterator[None]:
    """Draw what a model draws while it trains (dropout) from the seed; leave the global state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield


def _make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adam":
        return torch.optim.Adam(trained, lr=settings.rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        trained,
        lr=settings.rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def _run(
    objective: Objective,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recorder: Recorder,
    settings: Settings,
    plan: Plan,
    progress: Progress | None,
    branch: str | None,
) -> None:
    every = settings.every.steps(plan.steps_per_epoch)
    start, earlier = _restore(recorder, model, optimizer, branch)
    began = time.monotonic()
    metrics: dict[str, float] = {}

    def take_snapshot(step: int) -> None:
        nonlocal metrics
        metrics = objective.values(model)
        recorder.snapshot(
            step,
            epoch=step / plan.steps_per_epoch,
            seconds=earlier + time.monotonic() - began,
            weights=model,
            resume_state=None if step == plan.total else _state(optimizer, earlier + time.monotonic() - began),
            hold=False,
            **metrics,
        )

    if start is None:
        take_snapshot(0)
    for step in range(start or 0, plan.total):
        _update(
            objective, model, optimizer, plan.batch(step), settings.rate_at(step, plan.total, plan.steps_per_epoch)
        )
        if (step + 1) % every == 0 or step + 1 == plan.total:
            take_snapshot(step + 1)
        if progress is not None:
            progress(step + 1, plan.total, metrics)


def _update(
    objective: Objective, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Split, rate: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    objective.mean_loss(model, batch).backward()
    optimizer.step()


def _state(optimizer: torch.optim.Optimizer, seconds: float) -> dict[str, Any]:
    moments = {str(index): dict(state) for index, state in optimizer.state_dict()["state"].items()}
    return {"optimizer": moments, "random": torch.get_rng_state(), "seconds": seconds}


def _restore(
    recorder: Recorder, model: nn.Module, optimizer: torch.optim.Optimizer, branch: str | None
) -> tuple[int | None, float]:
    """Put model, optimizer and random state back to the newest snapshot; its step, and the seconds before it."""
    if len(recorder) == 0:
        return None, 0.0
    run = open_run(recorder.path, branch)
    run.load_into(model, -1)
    state = recorder.load_resume_state()
    if state is None:
        raise LandscapeError("the run holds no state to resume from", where=recorder.path, mend="train anew")
    held = optimizer.state_dict()
    held["state"] = {int(index): moments for index, moments in state["optimizer"].items()}
    optimizer.load_state_dict(held)
    torch.set_rng_state(state["random"])
    return run[-1].step, state["seconds"]
