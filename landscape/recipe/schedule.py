"""Plan of the steps to make, and their making: as many at once as asked for, in the order of their needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from landscape.executor import Event, Executor, Failure, Progress, executor
from landscape.recipe.cache import Cache
from landscape.recipe.report import StepReport
from landscape.recipe.steps import Step
from landscape.recipe.tasks import Made, make


def survey(
    steps: Mapping[str, Step],
    cache: Cache,
    goals: Iterable[str],
    force: bool,
    pace: Callable[[Step], float | None] = lambda step: None,
) -> dict[str, StepReport]:
    """Tell which steps are done and which to make; what only done steps need is not made.

    Args:
        steps: Key -> step; whatever a step needs stands before it.
        cache: Where results are kept.
        goals: The keys of what is wanted.
        force: Count what is made already as to be made.
        pace: Seconds per unit of a step that the cache has not seen the like of.

    Returns:
        Key -> ``"cached"`` or ``"planned"``, with the seconds that it took or may take.
    """
    records = {key: None if force else cache.record(step) for key, step in steps.items()}
    wanted = set(goals)
    for key in reversed(list(steps)):
        if key in wanted and records[key] is None:
            wanted |= set(steps[key].needs)
    planned = {key for key in wanted if records[key] is None}
    paces = cache.paces() if planned else {}
    found = {}
    for key, step in steps.items():
        record = records[key]
        if key not in planned:
            found[key] = StepReport(step, "cached", None if record is None else record["seconds"])
        else:
            seconds = paces[step.pace] if step.pace in paces else pace(step)
            found[key] = StepReport(step, "planned", estimate=None if seconds is None else seconds * step.units)
    return found


@dataclass(frozen=True)
class Making:
    """The work of an executor: makes steps.

    Attributes:
        cache: Where results are kept.
        force: Make what is made already.
    """

    cache: Cache
    force: bool

    def __call__(self, step: Step, progress: Progress) -> Made:
        """Make a step."""
        return make(step, self.cache, progress, force=self.force)


def make_planned(
    steps: dict[str, StepReport],
    cache: Cache,
    jobs: int,
    force: bool,
    notify: Callable[[Event], None] | None = None,
    ended: Callable[[str], None] | None = None,
    threads: int | None = None,
) -> None:
    """Make what is planned as soon as what it needs is there.

    Args:
        steps: What `survey` said; is told what became of each.
        cache: Where results are kept.
        jobs: So many at once: one is made in this process, several in processes of their own.
        force: Make what is made already.
        notify: Told what happens.
        ended: Called with the key of each step that is made.
        threads: Of each of several processes; None shares the cores among them.
    """
    told = notify or (lambda event: None)
    workers = executor(Making(cache, force), jobs, told, threads)
    _make(steps, workers, told, ended or (lambda key: None))
    left = {key: replace(step, state="skipped") for key, step in steps.items() if step.state == "planned"}
    steps.update(left)


def _make(
    steps: dict[str, StepReport], workers: Executor, notify: Callable[[Event], None], ended: Callable[[str], None]
) -> None:
    waiting = [key for key, step in steps.items() if step.state == "planned"]
    notify(Event("plan", total=len(waiting)))
    running = 0
    try:
        while waiting or running:
            ready = [key for key in waiting if all(is_done(steps[need]) for need in steps[key].step.needs)]
            while ready and workers.free():
                waiting.remove(ready[0])
                workers.give(steps[ready.pop(0)].step)
                running += 1
            if not running:
                # What is left needs something that failed.
                return
            for step, outcome in workers.finished():
                running -= 1
                steps[step.key] = _outcome(steps[step.key], outcome)
                if isinstance(outcome, Made):
                    ended(step.key)
    finally:
        workers.close()


def is_done(step: StepReport) -> bool:
    """Return whether the result of a step is in the cache."""
    return step.state in ("cached", "made", "shared")


def _outcome(planned: StepReport, outcome: Made | Failure) -> StepReport:
    if isinstance(outcome, Failure):
        return replace(planned, state="failed", failure=outcome)
    return replace(planned, state=outcome.state, seconds=outcome.seconds)
