"""`landscape study`: a family of networks, all measures, and what goes with the test error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .command import option, subcommand
from .progress import step_bars
from .shared import Interrupted, data_option, device_option, go_on, json_option, say, spoken_estimate, spoken_time

_SUFFIXES = [".png", ".pdf", ".svg"]


@subcommand(
    epilog="Example: landscape study figures/studies/digits.toml --jobs 2; docs/study.md says what a recipe is.",
    help="Train the family of networks that a RECIPE (TOML) describes, take measures of each, and say how they "
    "correlate with the test error. What is made already is not made again; an interrupted study goes on where it "
    "was.",
)
@click.argument("recipe")
@click.option("--jobs", type=int, default=1, metavar="N", help="So many processes, one thread each. [default: 1]")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and how long it may take.")
@click.option("--force", is_flag=True, help="Make again what is made already.")
@click.option(
    "--cache",
    metavar="DIR",
    help="Where results are kept; may be deleted. [default: .landscape-cache beside the recipe]",
)
@click.option(
    "-o",
    "--output",
    metavar="PICTURE",
    help="png, pdf or svg; scatter pictures and tables go beside it. [default: gallery/NAME.png by the recipe]",
)
@option(former=("--colour",))(
    "--color", metavar="NAME", help="The hyperparameter that colours tell. [default: the family]"
)
@device_option
@data_option
@json_option
def command(
    recipe: str,
    output: str | None,
    color: str | None,
    jobs: int,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Make the study, and say what it found."""
    if jobs < 1:
        raise LandscapeError("at least one job is needed", where="--jobs", got=jobs)
    from landscape import study
    from landscape.storage import require_writable

    if output is not None:
        require_writable(output, _SUFFIXES)
    wanted = study.load(recipe)
    varying = list(wanted.nets[0].levels)
    if color is not None and color not in varying:
        mend = "there are " + ", ".join(varying)
        raise LandscapeError(f"no hyperparameter '{color}' varies", where="--color", mend=mend)
    finished: list[str] = []
    try:
        with step_bars(jobs, finished) as notify:
            report = study.run(wanted, jobs=jobs, dry_run=dry_run, notify=notify, **given)
    except KeyboardInterrupt:
        raise Interrupted(go_on(len(finished))) from None
    files = [] if report.found is None else _deliver(report.found, _place(wanted, output), color)
    lines = _plan(report) if report.found is None else _lines(report, files)
    say({**report.to_json(), "files": files}, lines, as_json)
    for step in report.failures:
        click.echo(step.failure.trace if step.failure else "", err=True)
    return 1 if report.failures else 0


def _place(wanted: Any, output: str | None) -> Path:
    return Path(output) if output is not None else wanted.path.parent / "gallery" / f"{wanted.name}.png"


def _deliver(found: Any, picture: Path, colour: str | None) -> list[str]:
    """Draw and write all that came out; where."""
    from landscape import render, study
    from landscape.recipe.gallery import save_png
    from landscape.values.archive import save_value

    stem = picture.with_suffix("")
    pages = {
        picture: render.correlations(found),
        stem.with_name(f"{stem.name}-scatter{picture.suffix}"): render.scatters(found, colour=colour),
    }
    for path, figure in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            save_png(figure, path)
        else:
            render.save(figure, path)
    kept = stem.with_suffix(".npz")
    save_value(found, kept)
    return [str(path) for path in [*pages, *study.save_tables(found, stem), kept]]


def _plan(report: Any) -> list[str]:
    planned = [step for step in report.steps.values() if step.state == "planned"]
    count = len(report.study.nets)
    lines = [f"{report.study.name}: {count} networks, {len(report.study.measures)} measures of each"]
    said = spoken_estimate([step.estimate for step in planned])
    lines.append(f"{len(planned)} steps to make, {report.count('cached')} in {report.cache}")
    return [*lines[:-1], lines[-1] + (f"; {said}" if planned else "")]


def _lines(report: Any, files: Sequence[str]) -> list[str]:
    from landscape.plots.study_words import study_words

    made = f"{report.count('made')} steps made, {report.count('cached', 'shared')} in {report.cache}"
    return [
        *study_words(report.found),
        f"{made}; {spoken_time(report.work)} of computing in all",
        *(f"  {file}" for file in files),
    ]
