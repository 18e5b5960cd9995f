"""The training loop: every update a function of the seed and the state before it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.copies import copied
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.remnants import remove_remnants
from landscape.training.extension import require_same_run
from landscape.training.plan import Plan
from landscape.training.random_state import draws, on_device, own_draws, restore_draws
from landscape.training.settings import Settings
from landscape.training.start import Start, open_run
from landscape.training.update import Way, way_of
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
        resume: Go on with the file if there is one. A finished run is left as it is, unless the settings ask for
            more epochs: then it goes on to what a run of so many would have been from the start, bit for bit.
        overwrite: Replace the file if there is one.
        progress: Called with (updates done, updates in all, metrics of the newest snapshot).

    Returns:
        The finished trajectory.

    Raises:
        LandscapeError: If the file exists and neither `resume` nor `overwrite` is given, or the run in it
            was made with other settings, another problem or other data, or its schedule would have made other
            updates in a run of more epochs.
    """
    chosen = settings or Settings()
    file = Path(path)
    branch = None if start is None else start.branch
    resumed = resume and file.exists() and (branch is None or branch in open_trajectory(file).branches)
    plan = Plan.of(objective.data["train"], chosen)
    longer = False
    if resumed:
        held = open_run(file, branch)
        longer = require_same_run(held, objective, chosen, start, plan)
        if held.finished and (not longer or _has_reached(held, chosen)):
            # A process that was killed after it had finished the run may have left a file behind.
            remove_remnants(file)
            return held
    model = on_device(copied(objective.model)[0], objective.model, objective.device).train()
    if start is not None:
        start.load_into(model)
    if plan.batch_size < 2 and any(isinstance(m, _BatchNorm) for m in model.modules()):
        raise LandscapeError(
            "BatchNorm cannot be trained on single examples",
            where="training",
            got=f"{plan.source.count} examples in batches of {plan.batch_size}",
            expected="batches of at least 2",
        )
    way = way_of(objective, model, chosen, plan)
    about: dict[str, Any] = {
        "problem": objective.problem,
        "problem_args": objective.problem_args,
        "seed": chosen.seed,
        "training": {**chosen.to_json(), "data": objective.data_digest("train")},
        "resume": resumed,
        "reopen": longer,
    }
    if chosen.record:
        about |= {"optimizer": way.optimizer, "record": chosen.record, "record_dtype": chosen.record_dtype}
    if way.replicas and branch is not None:
        raise LandscapeError(
            "replicas are branches themselves", where="training", mend="give them a file of their own"
        )
    own = {} if start is None else start.about
    recorder = Recorder(file, model, overwrite=overwrite, branch=branch, **about, **own)
    with recorder, ExitStack() as stack, own_draws(chosen.seed, objective.device):
        branches = {
            name: stack.enter_context(
                Recorder(
                    file,
                    replica,
                    branch=name,
                    parent_run_id=recorder.run_id,
                    parent_step=0,
                    perturbation={"kind": "replica", "number": number},
                    **{**about, "resume": True},
                )
            )
            for number, (name, replica) in enumerate(way.replicas.items())
            if longer or not _is_complete(file, name)
        }
        _run(objective, way, recorder, branches, chosen, plan, progress, branch)
        # The run comes last, with what more epochs would go on from.
        for one in branches.values():
            one.finish()
        recorder.finish(keep_state=True)
    return open_run(file, branch)


def _has_reached(held: Trajectory, settings: Settings) -> bool:
    """Return whether a run came to its end by the training loss."""
    losses = held.metrics.get("train_loss")
    return losses is not None and len(losses) > 0 and settings.reached(float(losses[-1]))


def _is_complete(file: Path, branch: str) -> bool:
    """Return whether a branch was finished, and the process then killed before the run was."""
    held = open_trajectory(file).branches
    return branch in held and held[branch].finished


def _run(
    objective: Objective,
    way: Way,
    recorder: Recorder,
    branches: Mapping[str, Recorder],
    settings: Settings,
    plan: Plan,
    progress: Progress | None,
    branch: str | None,
) -> None:
    every = settings.every.steps(plan.steps_per_epoch)
    start, earlier = _restore(recorder, branches, way, branch, objective.device)
    if start is not None and start % every and start < plan.total:
        # The last snapshot of a shorter run, which a longer one does not have: the next takes its place.
        for one in (recorder, *branches.values()):
            one.rewind(start - 1)
    began = time.monotonic()
    metrics: dict[str, float] = {}

    def take_snapshot(step: int) -> bool:
        """Record a snapshot; return whether it is the last one."""
        nonlocal metrics
        way.ready()
        seconds = earlier + time.monotonic() - began
        metrics = {**objective.values(way.model), **way.metrics(step)}
        state = {**way.state(), **draws(objective.device), "seconds": seconds}
        about: dict[str, Any] = {"epoch": step / plan.steps_per_epoch, "seconds": seconds, "hold": False}
        # The run comes last: what it has, its branches have.
        for name, kept in branches.items():
            replica = way.replicas[name]
            found: dict[str, Any] = {**objective.values(replica), **way.metrics_of(name)}
            kept.snapshot(step, weights=replica, **about, **found)
        recorder.snapshot(step, weights=way.model, resume_state=state, **{**about, **metrics})
        return step == plan.total or settings.reached(metrics["train_loss"])

    if take_snapshot(0) if start is None else _has_reached(open_run(recorder.path, branch), settings):
        return
    for step in range(start or 0, plan.total):
        way.update(step, settings.rate_at(step, plan.total, plan.steps_per_epoch))
        last = ((step + 1) % every == 0 or step + 1 == plan.total) and take_snapshot(step + 1)
        if progress is not None:
            progress(step + 1, plan.total, metrics)
        if last:
            return


def _restore(
    recorder: Recorder, replicas: Mapping[str, Recorder], way: Way, branch: str | None, device: torch.device
) -> tuple[int | None, float]:
    """Put all back to the snapshot that has a state to go on from; its step, and the seconds before it."""
    if len(recorder) == 0:
        for replica in replicas.values():
            replica.rewind(-1)
        return None, 0.0
    state = recorder.load_resume_state()
    if state is None:
        raise LandscapeError(
            "the run holds no state to go on from, as those that an earlier version finished",
            where=recorder.path,
            mend="train again with --overwrite, or another name",
        )
    step = recorder.last_step or 0
    for replica in replicas.values():
        replica.rewind(step)
    run = open_run(recorder.path, branch)
    run.load_into(way.model, run.index_of(step))
    way.restore(state)
    restore_draws(state, device)
    return step, state["seconds"]
