"""From a trajectory's own words to the objective that it was trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from landscape import problems
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.problems.problem import is_file_problem
from landscape.trajectory import Trajectory
from landscape.trajectory.checkpoints.model_weights import load_weights
from landscape.vocabulary import DEVICE


def objective_of(
    run: Trajectory,
    *,
    problem: str | None = None,
    settings: Mapping[str, Any] | None = None,
    data: str | os.PathLike[str] | None = None,
    other_data: bool = False,
    device: str = DEVICE,
) -> Objective:
    """Rebuild the objective of a trajectory: from what its file says if its problem is built in.

    A file never brings code to run: a problem of the user's own must be named when the file is opened.

    Args:
        run: The trajectory.
        problem: A built-in problem or ``path/file.py:function``; None is the one that the file names.
        settings: Options of the problem that differ from those stored in the file.
        data: The folder of the data, for problems that need one.
        other_data: Go on if the data are not those of the training.
        device: Where to compute, as in `Objective`.

    Returns:
        The objective, with the penalty of the training.

    Raises:
        LandscapeError: If the problem is not built in and none is given, its model has other tensors than the
            run, the data are missing, or are other data.
    """
    name = problem or run.problem
    if problem is None and not problems.is_known(run.problem):
        told = f"the problem '{run.problem}' is not built in" if run.problem else "the file names no problem"
        raise LandscapeError(
            f"{told}, and a file never brings code to run",
            where=run.path,
            mend="pass --problem FILE.py:function (landscape init problem FILE.py writes one to begin with), or "
            "build the Objective in Python and call landscape.evaluate",
        )
    # Options that were stored for another problem mean nothing to this one.
    same = problems.short_name(name) == run.problem
    options = {**(run.problem_args if same else {}), **(settings or {})}
    objective = problems.build(name, options, seed=run.seed or 0, data=data, device=device)
    _require_same_tensors(run, objective, name)
    trained_on = run.training.get("data")
    if trained_on is not None and trained_on != objective.data_digest("train") and not other_data:
        raise LandscapeError(
            "the training data are not those of the run",
            where=run.path,
            got=objective.data_digest("train")[:12],
            expected=trained_on[:12],
            mend="pass the same data with --data, or --other-data to draw on these",
        )
    return objective.penalised(run.training.get("weight_decay", objective.weight_decay))


def objective_in_place(
    checkpoint: str | os.PathLike[str],
    problem: str | None,
    settings: Mapping[str, Any] | None = None,
    data: str | os.PathLike[str] | None = None,
) -> Objective:
    """The objective of a checkpoint whose model is in memory once.

    Args:
        checkpoint: A file, or a folder of Hugging Face's.
        problem: ``path/file.py:function``, which gives (model, loss, train[, test]) or a dictionary of them.
        settings: Options of the problem.
        data: The folder of the data.

    Raises:
        LandscapeError: If the problem is another, or the checkpoint does not fit.
    """
    if problem is None or not is_file_problem(problem):
        raise LandscapeError(
            "a checkpoint is drawn with the model, loss and data of a file of yours",
            where="--problem",
            got=problem or "none",
            expected="FILE.py:FUNCTION (landscape init problem FILE.py writes one to begin with)",
        )

    def loaded(model: nn.Module) -> None:
        load_weights(model, checkpoint)

    return problems.build(problem, settings, data=data, prepare=loaded, in_place=True)


def _require_same_tensors(run: Trajectory, objective: Objective, problem: str) -> None:
    ours = {info.name: info.shape for info in objective.layout}
    theirs = {info.name: info.shape for info in run.layout}
    differing = [name for name in (*theirs, *ours) if ours.get(name) != theirs.get(name)]
    if differing:
        name = differing[0]
        raise LandscapeError(
            f"tensor '{name}' is not the same in the run and in the model of {problem}",
            where=run.path,
            got=theirs.get(name, "none in the run"),
            expected=ours.get(name, "none in the model"),
            mend="give the options it was trained with by --set NAME=VALUE",
        )
