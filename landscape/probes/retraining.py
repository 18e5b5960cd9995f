"""Branches: snapshots of a run, perturbed and trained on, side by side in one trajectory file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from landscape.errors import LandscapeError
from landscape.executor import results, several
from landscape.objective import Objective
from landscape.params import norm
from landscape.progress import portion
from landscape.training import Noise, Settings, Start, train
from landscape.trajectory import Recorder, Snapshot, Trajectory, open_trajectory
from landscape.trajectory.run_file import adopt_branch
from landscape.values.result import Result

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Design(Result):
    """Which branches there are, and how each is trained.

    Attributes:
        at: Steps of the parent at which branches start, or ``"first"`` and ``"last"``.
        noises: What is done to the weights there; each step meets each noise.
        repeats: How many branches per step and noise; the k-th has the k-th draw of the noise.
        control: Whether a branch without noise starts from each step too.
        settings: Of the training of every branch; the order of examples in the k-th is that of seed + k.
        seed: Draws the noise.

    Raises:
        LandscapeError: If there would be no branches.
    """

    at: Sequence[int | str] = ("last",)
    noises: Sequence[Noise] = (Noise("mean-abs", 0.01),)
    repeats: int = 4
    control: bool = True
    settings: Settings = field(default_factory=lambda: Settings(optimizer="gd", epochs=20))
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.at or not self.noises or self.repeats < 1:
            raise LandscapeError(
                "a design needs a step, a noise and a repeat",
                where="branches",
                got=f"{len(self.at)} steps, {len(self.noises)} noises, {self.repeats} repeats",
            )
        if self.seed < 0:
            raise LandscapeError("must not be negative", where="seed", got=self.seed)


@dataclass(frozen=True, eq=False)
class Branch:
    """One branch of a design.

    Attributes:
        name: Such as ``"800-mean-abs-0.01-1"``, or ``"800-control"``.
        snapshot: Where it starts.
        noise: What is done there; None for a control.
        number: From 1; 0 for a control.
    """

    name: str
    snapshot: Snapshot
    noise: Noise | None
    number: int

    @property
    def key(self) -> str:
        """Key that identifies it in a design."""
        return self.name

    @property
    def title(self) -> str:
        """Title for people."""
        return f"branch {self.name}"


def branches_of(run: Trajectory, design: Design) -> list[Branch]:
    """The branches of a design, in the order in which they are made.

    Raises:
        LandscapeError: If the run has no snapshot at a step.
    """
    return list(_branches(run, design))


def _branches(run: Trajectory, design: Design) -> Iterator[Branch]:
    for step in design.at:
        snapshot = run[run.index_of(step)]
        if design.control:
            yield Branch(f"{snapshot.step}-control", snapshot, None, 0)
        for noise in design.noises:
            for number in range(1, design.repeats + 1):
                name = f"{snapshot.step}-{noise.mode}-{noise.scale:g}-{number}"
                yield Branch(name, snapshot, noise, number)


def retrain(
    objective: Objective,
    run: Trajectory,
    design: Design,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> Trajectory:
    """Perturb snapshots of a run and train each copy on, into branches of a new trajectory file.

    The file's own run holds the snapshots that branches start from; every branch says its parent, step, noise,
    seed and the length of the noise. Steps and epochs of a branch count from the branching. Killed and resumed,
    the file ends with the same bits in every branch; finished ones are not touched.

    Args:
        objective: That of the run.
        run: The parent; a branch of another file, too.
        design: Which branches.
        path: The file of the branches.
        resume: Go on with the file if there is one, adding what is missing.
        overwrite: Replace the file if there is one.
        workers: So many branches are trained at once, each by a process with its share of the threads, which last
            digits may depend on; until all are done they lie in a folder beside the file, ``PATH.parts``.
        progress: Called with (updates done, updates in all, metrics of the newest snapshot), over all branches;
            with several workers at the end of each branch.

    Returns:
        The file's run, whose ``branches`` these are.

    Raises:
        LandscapeError: If the file exists and neither `resume` nor `overwrite` is given, or holds branches of
            another run, noise or training.

    Source:
        Liao & Poggio 2017, section 5: noise of 0.01 mean |w|, then gradient descent on all training data.
    """
    file = Path(path)
    wanted = branches_of(run, design)
    _write_starts(objective, run, wanted, file, resume, overwrite)
    if workers != 1:
        _train_apart(
            BranchTraining(objective, run, design, Path(f"{file}.parts")), wanted, file, workers, progress
        )
    for place, branch in enumerate(wanted):
        shown = None if progress is None else portion(progress, place, len(wanted))
        _train(objective, run, design, branch, file, branch.name, shown)
    return open_trajectory(file)


def _train(
    objective: Objective,
    run: Trajectory,
    design: Design,
    branch: Branch,
    file: Path,
    name: str | None,
    progress: Progress | None = None,
) -> Trajectory:
    """Train a branch, or go on with it, under a name in a file; None gives it the file to itself."""
    start = replace(_start(run, branch, design), branch=name)
    chosen = replace(design.settings, seed=design.settings.seed + branch.number)
    return train(objective, file, chosen, start=start, resume=True, progress=progress)


@dataclass(frozen=True)
class BranchTraining:
    """The work on branches that are trained side by side: each in a file of its own.

    Attributes:
        objective: That of the run.
        run: The parent.
        design: Which branches, and how they are trained.
        folder: Of the files.
    """

    objective: Objective
    run: Trajectory
    design: Design
    folder: Path

    def file_of(self, branch: Branch) -> Path:
        """The file of a branch."""
        return self.folder / f"{branch.name}.h5"

    def __call__(self, branch: Branch, progress: Callable[[int, int], None]) -> dict[str, float]:
        """Train a branch; its metrics at the end."""
        file = self.file_of(branch)
        if file.exists() and open_trajectory(file).finished:
            return open_trajectory(file)[-1].metrics
        return _train(self.objective, self.run, self.design, branch, file, None)[-1].metrics


def _train_apart(
    work: BranchTraining, wanted: Sequence[Branch], file: Path, workers: int, progress: Progress | None
) -> None:
    """Train the branches that the file has not, several at once; this process alone writes them into it."""
    held = open_trajectory(file).branches
    missing = [branch for branch in wanted if branch.name not in held]
    work.folder.mkdir(exist_ok=True)
    with several(work, workers) as shared:
        for done, (branch, metrics) in enumerate(zip(missing, results(work, missing, shared), strict=True), 1):
            adopt_branch(file, branch.name, work.file_of(branch))
            work.file_of(branch).unlink()
            if progress is not None:
                progress(len(wanted) - len(missing) + done, len(wanted), metrics)
    with suppress(OSError):
        work.folder.rmdir()


def _start(run: Trajectory, branch: Branch, design: Design) -> Start:
    snapshot, noise = branch.snapshot, branch.noise
    tensors = {**snapshot.weights, **snapshot.buffers}
    perturbation: dict[str, Any] | None = None
    if noise is not None:
        step = noise.draw(snapshot, design.seed, branch.number)
        perturbation = {
            **noise.to_json(),
            "seed": design.seed,
            "draw": branch.number,
            "distance": noise.scale * norm(step),
        }
        tensors |= noise.perturb(snapshot, design.seed, branch.number)
    return Start(tensors, run.run_id, snapshot.step, perturbation, branch.name)


def _write_starts(
    objective: Objective, run: Trajectory, wanted: Sequence[Branch], file: Path, resume: bool, overwrite: bool
) -> None:
    """The file's own run: the snapshots that branches start from, as they are."""
    starts = {branch.snapshot.step: branch.snapshot for branch in wanted}
    chosen = [starts[step] for step in sorted(starts)]
    if resume and file.exists():
        held = open_trajectory(file)
        if held.parent.get("parent_run_id") != run.run_id:
            raise LandscapeError("the file holds no branches of this run", where=file, mend="give another name")
        if held.finished and [*held.steps] == [snapshot.step for snapshot in chosen]:
            return
        if held.finished:
            raise LandscapeError(
                "the branches in the file start from other steps",
                where=file,
                got=", ".join(str(step) for step in held.steps),
                expected=", ".join(str(snapshot.step) for snapshot in chosen),
            )
    # One that was not finished has no branches yet, and is rewritten in no time.
    recorder = Recorder(
        file,
        chosen[0],
        problem=run.problem,
        problem_args=run.problem_args,
        seed=run.seed,
        training=run.training,
        parent_run_id=run.run_id,
        parent_step=chosen[0].step,
        overwrite=overwrite or resume,
    )
    with recorder:
        for snapshot in chosen:
            metrics: dict[str, Any] = objective.values(snapshot)
            recorder.snapshot(snapshot.step, epoch=snapshot.epoch, weights=snapshot, **metrics)
