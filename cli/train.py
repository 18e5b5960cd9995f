"""`landscape train`: train a built-in problem and record its trajectory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.options import read_options
from landscape.training.settings import Settings

from .command import subcommand
from .declared import given_in, options_in, spelled
from .progress import progress_bar
from .shared import Interrupted, data_option, device_option, json_option, parse_settings, print_json, set_option

_EXAMPLE = "landscape train digits-mlp -o run.h5 --epochs 40 --lr 0.1 --set width=32"


@subcommand(
    epilog=f"Example: {_EXAMPLE}",
    help="Train PROBLEM (see: landscape problems; or your own FILE.py:FUNCTION) and record its weights into a "
    "trajectory file.",
)
@click.argument("problem")
@click.option("-o", "--output", required=True, metavar="RUN.h5", help="The trajectory file to write.")
@options_in({"Options": Settings}, spellings={"nesterov": ("--nesterov/--no-nesterov",)})
@set_option
@device_option
@data_option
@click.option("--download", is_flag=True, help="Fetch missing data from the internet.")
@click.option(
    "--resume", is_flag=True, help="Go on with RUN.h5 if it is there; its settings hold, or more --epochs."
)
@click.option("--overwrite", is_flag=True, help="Replace RUN.h5 if it is there.")
@json_option
def command(
    problem: str,
    output: str,
    problem_options: tuple[str, ...],
    device: str,
    data: str | None,
    download: bool,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train and say what came out."""
    from landscape import problems, training
    from landscape.storage import require_writable
    from landscape.trajectory import Trajectory, open_trajectory

    if resume and overwrite:
        raise LandscapeError("--resume and --overwrite exclude each other", mend="choose one")
    if not problems.is_file_problem(problem):
        problems.get(problem)
    require_writable(output, [".h5", ".hdf5"])
    held: Trajectory | None = None
    if Path(output).exists() and not overwrite:
        if not resume:
            raise LandscapeError(
                "the file exists", where=output, mend="pass --resume, --overwrite or another name"
            )
        held = open_trajectory(output)
    chosen = _settings(given_in(given), held)
    options: dict[str, Any] = {
        **(held.problem_args if held and held.problem == problems.short_name(problem) else {}),
        **parse_settings(problem_options),
    }
    objective = problems.build(problem, options, seed=chosen.seed, data=data, download=download, device=device)
    if chosen.record:
        click.echo(training.cost_of_steps(objective, chosen).words, err=True)
    try:
        with progress_bar(problem, "step") as update:

            def show(done: int, total: int, metrics: Mapping[str, float]) -> None:
                update(done, total, {name: metrics[name] for name in metrics if name == "train_loss"})

            run = training.train(objective, output, chosen, resume=resume, overwrite=overwrite, progress=show)
    except KeyboardInterrupt:
        raise Interrupted(_kept(output)) from None
    _report(run, output, as_json)


def _settings(asked: dict[str, Any], held: Any) -> Settings:
    """The settings asked for; those not given come from the file that is resumed, or are the defaults."""
    stored: dict[str, Any] = {}
    if held is not None:
        training = {name: value for name, value in held.training.items() if name != "data"}
        stored = Settings.from_json(training).plain()
        own = parse_settings(asked.get("optimizer_options", ()), "option '--optimizer-option'")
        same = asked.get("optimizer", stored["optimizer"]) == stored["optimizer"]
        asked["optimizer_options"] = {**(stored["optimizer_options"] if same else {}), **own}
    return read_options(Settings, {**stored, **asked}, None, spelled)


def _kept(output: str) -> str:
    from landscape.trajectory import summary

    if not Path(output).exists():
        return "nothing was recorded yet"
    count = summary(output).to_json()["snapshots"]
    if not count:
        return "nothing was recorded yet"
    return f"{count} snapshots are kept in {output}; go on with --resume"


def _report(run: Any, output: str, as_json: bool) -> None:
    last = {name: float(values[-1]) for name, values in run.metrics.items()}
    first, final = float(run.metrics["train_loss"][0]), last["train_loss"]
    diverged = not all(math.isfinite(value) for value in last.values())
    if diverged or final > first:
        words = "is not finite" if diverged else f"rose from {first:.4g} to {final:.4g}"
        click.echo(f"warning: the loss {words}; training diverged (try a smaller --lr)", err=True)
    if as_json:
        print_json(
            {
                "trajectory": output,
                "problem": run.problem,
                "snapshots": len(run),
                "steps": int(run.steps[-1]),
                "seconds": float(run[-1].seconds),
                "metrics": last,
                "diverged": diverged,
                "run_id": run.run_id,
            }
        )
        return
    click.echo(f"{output}: {len(run)} snapshots of {run.problem}, {run.steps[-1]} steps, {run[-1].seconds:.1f} s")
    click.echo("  " + "  ".join(f"{name} {value:.4g}" for name, value in last.items()))
