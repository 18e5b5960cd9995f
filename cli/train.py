"""`landscape train`: train a built-in problem and record its trajectory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .shared import (
    Interrupted,
    data_option,
    json_option,
    parse_settings,
    print_json,
    progress_bar,
    set_option,
)

_EXAMPLE = "landscape train digits-mlp -o run.h5 --epochs 40 --lr 0.1 --set width=32"


@click.command(
    epilog=f"Example: {_EXAMPLE}",
    help="Train PROBLEM (see: landscape problems; or your own FILE.py:FUNCTION) and record its weights into a "
    "trajectory file.",
)
@click.argument("problem")
@click.option("-o", "--output", required=True, metavar="RUN.h5", help="The trajectory file to write.")
@click.option(
    "--optimizer",
    help="sgd, gd (all examples in one step), adam, sam, entropy-sgd or replicated-sgd. [default: sgd]",
)
@click.option(
    "--optimizer-option",
    "optimizer_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of sam (rho, adaptive), entropy-sgd (L, gamma, noise, ...) or replicated-sgd (replicas, "
    "gamma, ...); repeatable; see docs/optimizers.md.",
)
@click.option(
    "--epochs", type=int, help="Passes over the training data; of entropy-sgd, L passes each. [default: 10]"
)
@click.option("--lr", type=float, help="Learning rate. [default: 0.1; adam 0.001]")
@click.option("--batch-size", type=int, help="Examples per update. [default: 128]")
@click.option("--momentum", type=float, help="Momentum of all but adam. [default: 0.9]")
@click.option("--nesterov/--no-nesterov", default=None, help="Nesterov's momentum. [default: no]")
@click.option("--weight-decay", type=float, help="Penalty lambda/2 |weights|^2. [default: 0]")
@click.option(
    "--target-loss", type=float, help="End at the first snapshot with no more training loss. [default: none]"
)
@click.option("--schedule", help="constant, step, cosine or linear. [default: constant]")
@click.option("--warmup-epochs", type=float, help="Epochs of linear warm-up. [default: 0]")
@click.option("--seed", type=int, help="Draws the initial weights and the order of examples. [default: 0]")
@click.option("--every", metavar="N[epochs]", help="Snapshots every N steps, or epochs. [default: 1epochs]")
@set_option
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
    optimizer_options: tuple[str, ...],
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
    own = parse_settings(optimizer_options, "--optimizer-option")
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
    chosen = _settings(given | ({"optimizer_options": own} if own else {}), held)
    options: dict[str, Any] = {
        **(held.problem_args if held and held.problem == problems.short_name(problem) else {}),
        **parse_settings(problem_options),
    }
    objective = problems.build(problem, options, seed=chosen.seed, data=data, download=download)
    try:
        with progress_bar(problem, "step") as update:

            def show(done: int, total: int, metrics: Mapping[str, float]) -> None:
                update(done, total, {name: metrics[name] for name in metrics if name == "train_loss"})

            run = training.train(objective, output, chosen, resume=resume, overwrite=overwrite, progress=show)
    except KeyboardInterrupt:
        raise Interrupted(_kept(output)) from None
    _report(run, output, as_json)


def _settings(given: dict[str, Any], held: Any) -> Any:
    """The settings asked for; those not given come from the file that is resumed, or are the defaults."""
    from landscape.training import Every, Settings

    asked = {name: value for name, value in given.items() if value is not None}
    if "every" in asked:
        asked["every"] = Every.parse(asked["every"])
    if held is None:
        return Settings(**asked)
    stored = {name: value for name, value in held.training.items() if name != "data"}
    if asked.get("optimizer", stored.get("optimizer")) != stored.get("optimizer"):
        stored.pop("optimizer_options", None)
    elif "optimizer_options" in asked:
        asked["optimizer_options"] = {**stored.get("optimizer_options", {}), **asked["optimizer_options"]}
    return replace(Settings.from_json(stored), **asked)


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
    diverged = not all(math.isfinite(value) for value in last.values())
    if diverged:
        click.echo("warning: the loss is not finite; training diverged (try a smaller --lr)", err=True)
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
