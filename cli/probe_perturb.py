"""`landscape probe perturb`: noise on the weights, radii of the basin, and perturbed copies trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from landscape import LandscapeError
from landscape.options import fields_of, option, redeclared
from landscape.plots import Source, perturb
from landscape.plots.perturbations import PerturbOptions
from landscape.training.settings import Settings

from .command import subcommand
from .declared import given_in, options_in, spelled, taken
from .probe_options import probed, problem_options, put, require_outputs, source_from, stem_of, table_option
from .progress import progress_bar
from .shared import Interrupted, kept_until_done, say


@dataclass(frozen=True)
class RetrainOptions(Settings):
    """Options of the further training of perturbed copies."""

    optimizer: str = redeclared(
        Settings, "optimizer", "gd", "Train perturbed copies on by this optimizer", "no training"
    )
    epochs: int = redeclared(Settings, "epochs", 20)
    lr: float = redeclared(Settings, "lr", 0.1)
    branches: int = option(4, "Perturbed copies per step and noise", low=1)
    no_control: bool = option(False, "No branch without noise beside them")
    workers: int = option(1, "So many branches at once, in processes that share the cores", low=1)
    resume: bool = option(False, "Go on with BRANCHES.h5 if it is there; finished branches stay")
    overwrite: bool = option(False, "Replace BRANCHES.h5 if it is there")


_SPELLINGS = {"optimizer": ("--retrain",), "branches": ("--copies",), "directions": ("--along",)}
# The noise of branches (Liao & Poggio 2017).
_BRANCHED = "mean-abs:0.01"
# Of the probe of a basin, not of branches.
_OF_BASINS = ("draws", "scales", "rise", "directions")


@subcommand(
    common=("output", "noise", "at", "draws", "rise", "optimizer", "epochs", "lr", "branches", "table", "problem"),
    help="Put noise on the weights of snapshots of RUN: loss and error against its scale, and the distance to a "
    "given rise of the training loss along random, filter-normalised, gradient and top-eigenvector directions. "
    "With --retrain, train perturbed copies on, into the branches of a new trajectory file. RUN is FILE or "
    "FILE:BRANCH.",
    epilog="Example: landscape probe perturb run.h5 -o basin.png or: landscape probe "
    "perturb run.h5 --noise mean-abs:0.01 --retrain gd --epochs 40 --copies 4 -o branches.h5",
)
@click.argument("run")
@click.option(
    "-o", "--output", metavar="PICTURE|BRANCHES.h5", help="A picture; with --retrain the file of the branches."
)
@click.option("--picture", metavar="PICTURE", help="With --retrain: what became of the branches. [default: none]")
@table_option
@click.option(
    "--noise",
    multiple=True,
    metavar="MODE[:SCALE]",
    help="mean-abs, layer-std, relative or absolute, and the largest scale, as mean-abs:0.01; without one up to "
    "where the loss has risen by --rise. With --retrain repeatable. [default: mean-abs; with --retrain "
    "mean-abs:0.01]",
)
@options_in(
    {"Options": perturb.options, "Training": RetrainOptions},
    skip=["noise", "target_loss"],
    spellings=_SPELLINGS | {"nesterov": ("--nesterov/--no-nesterov",)},
    former={"branches": ("--branches",), "directions": ("--directions",)},
)
@problem_options
def command(
    run: str,
    output: str | None,
    picture: str | None,
    table: str | None,
    noise: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Perturb, and say how wide the basin is, or what became of the branches."""
    noises = list(noise or (_BRANCHED if given.get("optimizer") else PerturbOptions().noise,))
    source = source_from([run], given)
    asked = given_in(given)
    if "optimizer" not in asked:
        of_training = [name for name in fields_of(RetrainOptions) if name not in fields_of(PerturbOptions)]
        _refuse(asked, of_training, "is of the training of branches; pass --retrain too")
        if picture is not None:
            raise LandscapeError("without --retrain, -o is the picture", where="--picture", mend="pass -o PICTURE")
        if len(noises) > 1:
            raise LandscapeError("one noise at a time", where="--noise", got=len(noises), mend="or pass --retrain")
        require_outputs(output, table)
        with kept_until_done(stem_of(source, "perturb")) as (store,):
            shown = probed(perturb, source, asked | {"noise": noises[0]}, store, _spelled)
            put(perturb, shown, output, table)
        document = {**perturb.report(shown), "picture": output, "table": table}
        lines = perturb.say(shown, document)
    else:
        _refuse(asked, _OF_BASINS, "is not of branches")
        require_outputs(picture, table)
        document, lines = _grow(source, noises, output, picture, table, asked)
    say(document, lines, as_json)


def _spelled(name: str) -> str:
    return _SPELLINGS[name][0] if name in _SPELLINGS else spelled(name)


def _refuse(asked: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    """Options that mean nothing here."""
    for name in names:
        if name in asked:
            raise LandscapeError(why, where=_spelled(name), mend="or leave it out")


def _grow(
    source: Source,
    noises: list[str],
    output: str | None,
    picture: str | None,
    table: str | None,
    given: dict[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    from landscape import probes
    from landscape.storage import require_writable
    from landscape.training import Noise

    if output is None:
        raise LandscapeError("branches need a file", where="--retrain", mend="give -o BRANCHES.h5")
    require_writable(output, [".h5", ".hdf5"])
    # The seed is that of noise and directions; examples come in the order of the default.
    wanted = taken(PerturbOptions, given, spell=_spelled)
    how = taken(RetrainOptions, given, spell=_spelled)
    run, objective = source.first, source.objective()
    step = source.steps.get(source.names[0])
    at = (step,) if step is not None and wanted.at == ("last",) else wanted.at
    design = probes.Design(
        at=tuple(map(str, at or run.steps)),
        noises=tuple(map(Noise.parse, noises)),
        repeats=how.branches,
        control=not how.no_control,
        settings=Settings.of(how),
        seed=wanted.seed,
    )
    modes: dict[str, Any] = {"resume": how.resume, "overwrite": how.overwrite, "workers": how.workers}
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

        render.save(render.retraining(found), picture)
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
