"""`landscape probe perturb`: noise on the weights, radii of the basin, and perturbed copies trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import click

from landscape import LandscapeError

from .plotting import SectionedCommand, option
from .probing import (
    names_from,
    number,
    objective_from,
    problem_options,
    put_picture,
    require_outputs,
    settings_from,
    stem_of,
    table_option,
    training_options,
)
from .shared import Interrupted, kept_until_done, model_lines, progress_bar, say

_DEFAULTS = {
    "epochs": "20",
    "lr": "0.1",
    "batch_size": "128",
    "momentum": "0.9",
    "schedule": "constant",
    "warmup_epochs": "0",
}
_of_training = option("Training")


@click.command(
    cls=SectionedCommand,
    help="Put noise on the weights of snapshots of RUN: loss and error against its scale, and the distance to a "
    "given rise of the training loss along random, filter-normalised, gradient and top-eigenvector directions. "
    "With --retrain, train perturbed copies on, into the branches of a new trajectory file. RUN is FILE or "
    "FILE:BRANCH.",
    epilog="Example: landscape probe perturb run.h5 --noise mean-abs:0.01 -o basin.png or: landscape probe "
    "perturb run.h5 --noise mean-abs:0.01 --retrain gd --epochs 40 --branches 4 -o branches.h5",
)
@click.argument("run")
@click.option(
    "-o", "--output", metavar="PICTURE|BRANCHES.h5", help="A picture; with --retrain the file of the branches."
)
@click.option("--picture", metavar="PICTURE", help="With --retrain: what became of the branches. [default: none]")
@table_option
@click.option("--at", metavar="STEP,...|all", help="Which snapshots: steps, first, last or all. [default: last]")
@click.option(
    "--noise",
    multiple=True,
    metavar="MODE:SCALE",
    help="mean-abs, layer-std, relative or absolute, and the largest scale; with --retrain repeatable. "
    "[default: mean-abs:0.01]",
)
@click.option("--draws", type=int, help="Draws of the noise, and random directions. [default: 20]")
@click.option("--scales", type=int, help="How many scales, from 0 to the largest. [default: 11]")
@click.option("--rise", type=float, help="The rise of the training loss that ends a basin. [default: 0.1]")
@click.option(
    "--directions", metavar="KIND,...", help="random, filter, gradient, top, or none. [default: all four]"
)
@click.option("--seed", type=int, default=0, help="Draws noise and directions. [default: 0]")
@_of_training("--retrain", metavar="gd|sgd|adam", help="Train perturbed copies on by this optimizer.")
@_of_training("--branches", type=int, help="Perturbed copies per step and noise. [default: 4]")
@_of_training("--no-control", is_flag=True, help="No branch without noise beside them.")
@training_options("of each branch", _DEFAULTS)
@_of_training("--every", metavar="N[epochs]", help="Snapshots every N steps, or epochs. [default: 1epochs]")
@_of_training("--resume", is_flag=True, help="Go on with BRANCHES.h5 if it is there; finished branches stay.")
@_of_training("--overwrite", is_flag=True, help="Replace BRANCHES.h5 if it is there.")
@problem_options
def command(
    run: str,
    output: str | None,
    picture: str | None,
    table: str | None,
    at: str | None,
    noise: tuple[str, ...],
    retrain: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Perturb, and say how wide the basin is, or what became of the branches."""
    from landscape.pipeline.addresses import run_at
    from landscape.training import Noise

    noises = [Noise.parse(text) for text in noise or ("mean-abs:0.01",)]
    held, step = run_at(run)
    steps = names_from(at, "--at") if at is not None else [step]
    if retrain is None:
        _refuse(given, ("branches", "no_control", "resume", "overwrite", "every", *_DEFAULTS), "--retrain")
        if picture is not None:
            raise LandscapeError("without --retrain, -o is the picture", where="--picture", mend="pass -o PICTURE")
        require_outputs(output, table)
        with kept_until_done(stem_of((held.path,), "perturb")) as (store,):
            document, lines = _probe(held, steps, noises, output, table, given | {"save": store})
    else:
        _refuse(given, ("draws", "scales", "rise", "directions"), None)
        require_outputs(picture, table)
        document, lines = _grow(held, steps, noises, retrain, output, picture, table, given)
    say(document, lines, as_json)


def _refuse(given: dict[str, Any], names: tuple[str, ...], needed: str | None) -> None:
    """Options that mean nothing here."""
    for name in names:
        if given.pop(name) not in (None, False):
            why = f"is of the training of branches; pass {needed} too" if needed else "is not of branches"
            raise LandscapeError(why, where=f"--{name.replace('_', '-')}", mend="or leave it out")


def _probe(
    run: Any, steps: list[str], noises: list[Any], output: str | None, table: str | None, given: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    from landscape.pipeline.probing import perturb_run
    from landscape.probes.table import perturbation_columns, profile_columns, save_table

    if len(noises) > 1:
        raise LandscapeError("one noise at a time", where="--noise", got=len(noises), mend="or pass --retrain")
    objective = objective_from(run, given)
    kinds = given.pop("directions")
    ways = {name: value for name, value in given.items() if value is not None}
    if kinds is not None:
        ways["directions"] = () if kinds == "none" else tuple(names_from(kinds, "--directions"))
    with progress_bar("perturb", "draw") as update:
        basins = perturb_run(run, objective, noises[0], at=steps, progress=update, **ways)
    if output is not None:
        from landscape import render

        put_picture(render.perturbation(basins), output)
    columns = profile_columns(basins[0]) if len(basins) == 1 else perturbation_columns(basins)
    if table is not None:
        save_table(columns, table, {**basins[0].meta, "noise": noises[0].to_json()})
    rows = perturbation_columns(basins)
    document = {
        "run": str(run.path),
        "noise": noises[0].to_json(),
        "rise": basins[0].rise,
        "snapshots": [{name: rows[name][place] for name in rows} for place in range(len(basins))],
        "infinite": [[n for n, r in basin.radii.items() if math.isinf(r.median)] for basin in basins],
        "profile": profile_columns(basins[0]) if len(basins) == 1 else None,
        "picture": output,
        "table": table,
        **{key: basins[0].meta[key] for key in ("buffers", "notes") if key in basins[0].meta},
    }
    return document, [*_basin_words(basins, objective), *(f"  written  {p}" for p in (output, table) if p)]


def _basin_words(basins: list[Any], objective: Any) -> list[str]:
    said = []
    for basin in basins:
        profile = basin.profile
        said.append(f"step {basin.meta.get('step')}: noise {profile.mode}:{profile.scales[-1]:g}")
        for field in profile.fields:
            factor, unit = (100, "%") if field.endswith("error") else (1, objective.units.get("loss", ""))
            before, after = factor * profile[field][0, 0], factor * profile.mean(field)[-1]
            error = factor * profile.standard_error(field)[-1]
            said.append(f"  {field:<12} {before:.4g} -> {after:.4g} ± {error:.2g} {unit}".rstrip())
        for name, radius in basin.radii.items():
            share = f" ({radius.median / basin.norm:.2g} of the norm)" if math.isfinite(radius.median) else ""
            said.append(f"  radius along {name:<9} {number(radius.median)}{share}{_ways(radius)}")
    return said + model_lines(basins[0].meta)


def _ways(radius: Any) -> str:
    """Both ways of a single direction; of random ones neither way is before the other."""
    if len(radius.forward) != 1:
        return ""
    return f", {number(radius.forward[0])} along it and {number(radius.backward[0])} against it"


def _grow(
    run: Any,
    steps: list[str],
    noises: list[Any],
    retrain: str,
    output: str | None,
    picture: str | None,
    table: str | None,
    given: dict[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    from landscape import probes
    from landscape.storage import require_writable

    if output is None:
        raise LandscapeError("branches need a file", where="--retrain", mend="give -o BRANCHES.h5")
    require_writable(output, [".h5", ".hdf5"])
    objective = objective_from(run, given)
    settings = settings_from(given, optimizer=retrain, epochs=20)
    count = given.pop("branches")
    chosen = [str(step) for step in run.steps] if steps == ["all"] else steps
    design = probes.Design(
        at=tuple(chosen),
        noises=tuple(noises),
        repeats=4 if count is None else count,
        control=not given.pop("no_control"),
        settings=settings,
        seed=given["seed"],
    )
    modes = {"resume": given["resume"], "overwrite": given["overwrite"]}
    try:
        with progress_bar("retrain", "step") as update:

            def show(done: int, total: int, metrics: Mapping[str, float]) -> None:
                update(done, total, {name: metrics[name] for name in metrics if name == "train_loss"})

            grown = probes.retrain(objective, run, design, output, progress=show, **modes)
    except KeyboardInterrupt:
        raise Interrupted(f"finished branches are kept in {output}; go on with --resume") from None
    found = probes.examine(objective, grown)
    _draw_branches(found, picture, table)
    return _branch_document(found, output, picture, table), _branch_words(found, output, picture, table)


def _draw_branches(found: Any, picture: str | None, table: str | None) -> None:
    if picture is not None:
        from landscape import render

        put_picture(render.retraining(found), picture)
    if table is not None:
        from landscape.probes.table import retraining_columns, save_table

        save_table(retraining_columns(found), table, dict(found.meta))


def _branch_document(found: Any, output: str, picture: str | None, table: str | None) -> dict[str, Any]:
    return {
        "branches": output,
        "epochs": found.epochs.tolist(),
        "names": list(found.names),
        "noise": list(found.noises),
        "noise_distance": found.kicks.tolist(),
        "values": {name: values.tolist() for name, values in found.fields.items()},
        "moved": found.moved.tolist(),
        "pairs": [[found.names[i], found.names[j]] for i, j in found.pairs],
        "between": found.between.tolist(),
        "midpoints": {name: values.tolist() for name, values in found.midpoints.items()},
        "picture": picture,
        "table": table,
    }


def _branch_words(found: Any, output: str, picture: str | None, table: str | None) -> list[str]:
    said = [f"{output}: {len(found.names)} branches, {found.epochs[-1]:g} epochs each"]
    field = "train_error" if "train_error" in found.fields else "train_loss"
    factor, unit = (100, " %") if field == "train_error" else (1, "")
    for place, name in enumerate(found.names):
        values = found.fields[field][place]
        said.append(
            f"  {name:<28} {field} {factor * values[0]:.4g}{unit} -> {factor * values[-1]:.4g}{unit}, "
            f"noise {found.kicks[place]:.4g}, moved {found.moved[place, -1]:.4g}"
        )
    for pair, (i, j) in enumerate(found.pairs):
        if not found.with_control[pair]:
            worst = factor * found.midpoints[field][pair].max()
            said.append(
                f"  {found.names[i]} and {found.names[j]}: {found.between[pair, -1]:.4g} apart at the end, "
                f"midpoint {field} at most {worst:.4g}{unit}"
            )
    return said + [f"  written  {path}" for path in (picture, table) if path is not None]
