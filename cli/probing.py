"""What the kinds of `landscape probe` share: the objective, where results go, how training is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .plotting import option
from .shared import json_option, objective_options, together, told_in

PICTURES = [".png", ".pdf", ".svg"]

problem_options = together(
    [
        objective_options,
        click.option("--device", default="cpu", help="cpu, cuda, mps or auto. [default: cpu]"),
        json_option,
    ]
)
table_option = click.option(
    "--table", metavar="T.h5|T.json|T.csv", help="Write the numbers as a table too. [default: none]"
)

_training = option("Training")


def training_options(of: str, defaults: Mapping[str, str]) -> Callable[..., Any]:
    """Options of a training; those that are not given are those of `defaults`."""

    def said(name: str, help: str) -> str:
        return f"{help} [default: {defaults[name]}]"

    return together(
        [
            _training("--epochs", type=int, help=said("epochs", f"Passes over the training data {of}.")),
            _training("--lr", type=float, help=said("lr", "Learning rate.")),
            _training("--batch-size", type=int, help=said("batch_size", "Examples per update of sgd.")),
            _training("--momentum", type=float, help=said("momentum", "Momentum.")),
            _training("--schedule", help=said("schedule", "constant, step, cosine or linear.")),
            _training("--warmup-epochs", type=float, help=said("warmup_epochs", "Epochs of linear warm-up.")),
        ]
    )


def settings_from(given: dict[str, Any], **defaults: Any) -> Any:
    """Take the options of a training out of what was given."""
    from landscape.training import Every, Settings

    names = ("epochs", "lr", "batch_size", "momentum", "schedule", "warmup_epochs", "every")
    asked = {name: given.pop(name) for name in names if name in given}
    asked = {name: value for name, value in asked.items() if value is not None}
    if isinstance(asked.get("every"), str):
        asked["every"] = Every.parse(asked["every"])
    return Settings(**{**defaults, **asked})


def objective_from(run: Any, given: dict[str, Any]) -> Any:
    """The objective of a run; what tells it is taken out of what was given."""
    from landscape.pipeline import objective_of

    return objective_of(run, **told_in(given), device=given.pop("device"))


def stem_of(addresses: Sequence[Any], probe: str) -> str:
    """What the name of a file of finished parts begins with: the files that are probed, and how."""
    names = dict.fromkeys(Path(str(address).split(":")[0]).stem for address in addresses)
    return "-".join([*list(names)[:2], probe])


def require_outputs(picture: str | None, table: str | None) -> None:
    """Check before long work that its results can be written."""
    from landscape.probes.table import SUFFIXES
    from landscape.storage import require_writable

    if picture is not None:
        require_writable(picture, PICTURES)
    if table is not None:
        require_writable(table, SUFFIXES)


def put_picture(figure: Any, picture: str | Path) -> None:
    """Write a picture."""
    from landscape.render import save

    save(figure, picture)


def names_from(text: str, where: str) -> list[str]:
    """``"a,b"`` as a list.

    Raises:
        LandscapeError: If it is empty.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise LandscapeError("nothing is named", where=where, got=f"'{text}'")
    return found


def number(value: float, unit: str = "") -> str:
    """A number for a line of a report: infinite and undefined ones are said plainly."""
    if value != value:
        return "undefined"
    if value in (float("inf"), float("-inf")):
        return "infinite"
    return f"{value:.4g} {unit}".strip()
