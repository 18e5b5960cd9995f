"""`landscape render`: figures from recipes, each thing made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from landscape import LandscapeError

from .command import subcommand
from .progress import step_bars
from .shared import (
    Interrupted,
    data_option,
    device_option,
    go_on,
    json_option,
    say,
    spoken_estimate,
    spoken_time,
    together,
)

_STATES = {
    "made": "made",
    "current": "up to date",
    "failed": "failed",
    "faulty": "wrong",
    "planned": "to be made",
}

rendering_options = together(
    [
        click.option("--jobs", type=int, default=1, metavar="N", help="So many steps at once. [default: 1]"),
        click.option("--dry-run", is_flag=True, help="Say what would be made, and how long it may take."),
        click.option(
            "--small",
            "size",
            flag_value="small",
            help="Make the small versions of recipes that have one, for a look in a fraction of the time, into "
            "gallery-small/.",
        ),
        click.option(
            "--paper-size",
            "size",
            flag_value="paper",
            help="Make the versions of recipes with the settings of their papers, for a bigger machine, into "
            "gallery-paper/.",
        ),
        click.option("--force", is_flag=True, help="Make again what is made already."),
        click.option(
            "--cache",
            metavar="DIR",
            help="Where results are kept; may be deleted. [default: .landscape-cache beside the recipes]",
        ),
        device_option,
        data_option,
    ]
)


@subcommand(
    epilog="Example: landscape render figures/ --jobs 2; docs/recipes.md says what a recipe is.",
    help="Make the figures of recipes (TOML files, or folders of them) into gallery/ beside each, from training "
    "to picture. What is made already is not made again; an interrupted run goes on where it was.",
)
@click.argument("targets", nargs=-1, required=True, metavar="FOLDER|RECIPE...")
@click.option("--only", metavar="PATTERN", help="Only recipes whose names match, such as 'li2018-*'.")
@rendering_options
@click.option("-o", "--output", metavar="DIR", help="Where pictures go. [default: gallery/ beside each recipe]")
@json_option
def command(targets: tuple[str, ...], **given: Any) -> int:
    """Render, and say what became of each recipe."""
    return rendered(targets, **given)


def rendered(
    targets: Sequence[str], jobs: int, dry_run: bool, as_json: bool, size: str | None, **given: Any
) -> int:
    """Render, say what became of each recipe, and return the exit code."""
    if jobs < 1:
        raise LandscapeError("at least one job is needed", where="--jobs", got=jobs)
    from landscape.recipe import render

    finished: list[str] = []
    try:
        with step_bars(jobs, finished) as notify:
            report = render(targets, jobs=jobs, dry_run=dry_run, notify=notify, size=size or "full", **given)
    except KeyboardInterrupt:
        raise Interrupted(go_on(len(finished))) from None
    lines = [*(_plan(report) if dry_run else []), *_outcome(report), *_summary(report, dry_run)]
    say(report.to_json(), lines, as_json)
    for recipe in report.recipes:
        for error in recipe.errors:
            click.echo(f"landscape: {recipe.path}: {error}", err=True)
        for failure in recipe.failures:
            if failure.trace:
                click.echo(failure.trace, err=True)
    if report.done:
        return 0
    return 2 if report.expected else 1


def _plan(report: Any) -> list[str]:
    """Every step: whether it is there, and how long it may take."""
    lines = []
    for step in report.steps.values():
        if step.state == "planned":
            said = "time unknown" if step.estimate is None else f"about {spoken_time(step.estimate)}"
        else:
            said = "up to date"
        lines.append(f"  {step.step.title:<48} {said}")
    return lines


def _outcome(report: Any) -> list[str]:
    width = max(len(recipe.name) for recipe in report.recipes)
    lines = []
    for recipe in report.recipes:
        files = ", ".join(str(file) for file in recipe.files if file.suffix != ".npz")
        lines.append(f"{_STATES[recipe.state]:<10}  {recipe.name:<{width}}  {files}".rstrip())
    return lines


def _summary(report: Any, dry_run: bool) -> list[str]:
    states = [recipe.state for recipe in report.recipes]
    counts = ", ".join(f"{states.count(state)} {word}" for state, word in _STATES.items() if state in states)
    total = f"{len(states)} recipe{'s' if len(states) > 1 else ''}: {counts}"
    if not dry_run:
        failed = report.count("failed")
        steps = f"{report.count('made')} steps made, {report.count('cached', 'shared')} in {report.cache}"
        return [f"{total}; {steps}{f', {failed} failed' if failed else ''}, {spoken_time(report.seconds)}"]
    planned = [step.estimate for step in report.steps.values() if step.state == "planned"]
    said = spoken_estimate(planned)
    steps = f"{len(planned)} steps to make, {report.count('cached')} in {report.cache}"
    return [f"{total}; {steps}{f', {said}' if planned else ''}"]
