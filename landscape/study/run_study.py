"""From a study to what it found: train, measure and correlate, each thing once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.errors import LandscapeError, MachineError
from landscape.plots import measure
from landscape.problems import short_name
from landscape.recipe import Event
from landscape.recipe.cache import CACHE, Cache
from landscape.recipe.graph import Graph, Where
from landscape.recipe.report import StepReport
from landscape.recipe.schedule import make_planned, survey
from landscape.recipe.trial import Trial
from landscape.study.collection import Keys, gather
from landscape.study.correlation import correlate_nets
from landscape.study.values import Study
from landscape.values.correlations import Correlated
from landscape.values.result import Result
from landscape.vocabulary import DEVICE

Target = str | os.PathLike[str]


@dataclass(frozen=True)
class StudyReport(Result):
    """Outcome of a study.

    Attributes:
        study: The study.
        steps: Key -> outcome of a training, or of a measure of a network.
        found: The correlations; None after a dry run.
        cache: Where results are kept.
        seconds: That it took now.
    """

    study: Study
    steps: Mapping[str, StepReport]
    found: Correlated | None
    cache: Path
    seconds: float = 0.0

    def count(self, *states: str) -> int:
        """Number of steps in one of these states."""
        return sum(step.state in states for step in self.steps.values())

    @property
    def work(self) -> float:
        """Seconds that all steps took when they were made."""
        return sum(step.seconds or 0.0 for step in self.steps.values())

    @property
    def failures(self) -> list[StepReport]:
        """Steps that failed for reasons that are not the user's: faults of this package, and dead processes."""
        found = [step for step in self.steps.values() if step.failure is not None and not step.failure.expected]
        return sorted(found, key=lambda step: step.step.title)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "study": str(self.study.path),
            "networks": len(self.study.nets),
            "seconds": self.seconds,
            "work_seconds": self.work,
            "cache": str(self.cache),
            "made": self.count("made"),
            "cached": self.count("cached", "shared"),
            "planned": self.count("planned"),
            "failed": [{"title": step.step.title, "error": _said(step)} for step in self._failed()],
            "found": None if self.found is None else self.found.to_json(),
        }

    def _failed(self) -> list[StepReport]:
        return [step for step in self.steps.values() if step.state == "failed"]


def _said(step: StepReport) -> str:
    return "" if step.failure is None else step.failure.message


def run(
    study: Study,
    *,
    cache: Target | None = None,
    data: Target | None = None,
    device: str = DEVICE,
    jobs: int = 1,
    force: bool = False,
    dry_run: bool = False,
    notify: Callable[[Event], None] | None = None,
) -> StudyReport:
    """Train the networks of a study, measure them at the end of training, and correlate.

    Every training and every measure of a network is a step of its own, with one thread; what is in the cache is
    not made again, and an interrupted study goes on where it was. What fails costs one network, or one value; it
    is in the result, with the reason.

    Args:
        study: The study.
        cache: The folder that results are kept in; by default ``.landscape-cache`` beside the recipe.
        data: The folder of the data for networks that name none.
        device: Where networks are trained and measured: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
        jobs: So many steps at once, each in a process of its own if there are several.
        force: Make again what is made.
        dry_run: Make nothing, and report what would be made and how long it may take, as in `landscape render`.
        notify: Told what happens; see `Event`.

    Returns:
        What became of the steps, and what was found.

    Raises:
        LandscapeError: If there is nothing to correlate.

    Example:
        >>> run(load("study.toml"), jobs=2).found["hessian_trace"].correlations["test_error"]  # doctest: +SKIP
        Correlation(kendall=0.21, ...)
    """
    began = time.monotonic()
    if jobs < 1:
        raise LandscapeError("at least one job is needed", where="jobs", got=jobs)
    kept = Cache(Path(cache) if cache is not None else study.path.parent / CACHE)
    graph, keys = _planned(study, Where(None if data is None else Path(data).expanduser(), device))
    steps = survey(graph.steps, kept, list(graph.steps), force, **({"pace": Trial().pace} if dry_run else {}))
    if dry_run:
        return StudyReport(study, steps, None, kept.folder, time.monotonic() - began)
    graph.where.require(steps)
    with _one_thread(jobs):
        make_planned(steps, kept, jobs, force, notify, threads=1)
    nets = gather(study, keys, steps, kept)
    if not nets.results:
        ours = all(step.failure is None or step.failure.expected for step in steps.values())
        kind = LandscapeError if ours else MachineError
        raise kind("no network could be trained", where=study.path, got=next(iter(nets.faults.values())))
    statistics = study.statistics
    found = correlate_nets(
        nets,
        statistics.targets,
        resamples=statistics.resamples,
        level=statistics.level,
        seed=statistics.seed,
        over=statistics.over,
        meta=_about(study),
    )
    return StudyReport(study, steps, found, kept.folder, time.monotonic() - began)


def _planned(study: Study, where: Where) -> tuple[Graph, Keys]:
    """All steps, and for each network the key of its training and of each measure.

    Trainings come first, then measure by measure: what an interrupted study leaves is whole columns.
    """
    graph = Graph(where)
    keys: Keys = {net.name: (graph.add_training(net.run), {}) for net in study.nets}
    for name, along in study.measures.items():
        for net in study.nets:
            keys[net.name][1][name] = graph.add_value(measure, along, {net.name: net.run}, f"{name} of {net.name}")
    return graph, keys


@contextmanager
def _one_thread(jobs: int) -> Iterator[None]:
    """Work in this process has one thread too: the number of jobs shall not decide the rounding."""
    if jobs > 1:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _about(study: Study) -> dict[str, Any]:
    run = study.nets[0].run
    along = next(iter(study.measures.values()))
    targets = {net.run.training.target_loss for net in study.nets if net.run.training is not None}
    return {
        "name": study.name,
        "caption": study.caption,
        "problem": ", ".join(dict.fromkeys(short_name(net.run.problem or "") for net in study.nets)),
        "options": {name: value for name, value in run.options.items() if _is_common(study, name)},
        "split": along.split,
        "target_loss": targets.pop() if len(targets) == 1 else None,
    }


def _is_common(study: Study, option: str) -> bool:
    return len({repr(net.run.options.get(option)) for net in study.nets}) == 1
