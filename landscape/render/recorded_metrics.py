"""Metrics that runs recorded in training: one panel for each, over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.composition import compose
from landscape.render.labels import parts
from landscape.render.look import current, width_or
from landscape.render.panels import Panel
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet
from landscape.render.training_curves import RECORDED
from landscape.values.surface import Surface

_SPLITS = ("train", "val", "test")
# What grows evenly with the steps says nothing as a curve.
_PLAIN = ("gradient_evaluations",)


class Recorded(Protocol):
    """A trajectory, or what has its steps and metrics."""

    @property
    def steps(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def metrics(self) -> Mapping[str, NDArray[np.float64]]: ...  # noqa: D102


def recorded(
    runs: Mapping[str, Recorded],
    names: Sequence[str] | None = None,
    *,
    units: Mapping[str, str] | None = None,
    about: str | None = None,
    style: str | None = None,
) -> Sheet:
    """Draw what runs recorded: loss and error of all splits, then what optimizers record, such as gamma.

    Args:
        runs: Name -> trajectory; branches are trajectories too.
        names: Which numbers: ``"loss"``, ``"error"``, ``"gamma"``, ``"replica_distance"``, ...; by default all but
            the count of gradients.
        units: Name -> unit.
        about: Words for the foot.
        style: ``"paper"``, ``"talk"`` or ``"dark"``; by default that of the look in use.

    Returns:
        A new figure; a run that lacks a number is not in its panel.

    Raises:
        LandscapeError: If no run recorded one of the names, or nothing at two snapshots or more.

    Example:
        >>> recorded({"centre": run, **run.branches}).savefig("training.pdf")  # doctest: +SKIP
    """
    found: dict[str, dict[str, Surface]] = {}
    for run, trajectory in runs.items():
        for name, fields in _by_name(trajectory.metrics).items():
            if len(trajectory.steps) > 1:
                found.setdefault(name, {})[run] = _surface(trajectory, name, fields, units or {})
    if not found:
        raise LandscapeError("there is nothing to draw", got="no run with metrics at two snapshots or more")
    chosen = [name for name in found if name not in _PLAIN] if names is None else list(names)
    for name in chosen:
        if name not in found:
            raise LandscapeError(f"no run recorded '{name}'", mend=did_you_mean(name, found))
    chosen.sort(key=lambda name: {"loss": 0, "error": 1}.get(name, 2))
    panels = [Panel(found[name], title="") for name in chosen]
    width = width_or(ONE_COLUMN if len(panels) == 1 else TWO_COLUMNS)
    words = "\n".join(part for part in (current().words, about) if part)
    return compose(panels, width=width, style=style, share=False, caption=words or about)


def _by_name(metrics: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name -> the metrics of it: those of all splits, or the one of no split."""
    found: dict[str, list[str]] = {}
    for metric in sorted(metrics, key=lambda one: [one.startswith(split) for split in _SPLITS], reverse=True):
        split, name = parts(metric)
        found.setdefault(name if split in _SPLITS else metric, []).append(metric)
    return found


def _surface(run: Recorded, name: str, fields: Sequence[str], units: Mapping[str, str]) -> Surface:
    splits = fields != [name]
    meta: dict[str, Any] = {
        "kind": "curve",
        "along": "training",
        "axes": [{"label": "step"}],
        "units": {name: units.get(name, "")},
        "titles": {} if splits else {name: RECORDED.get(name, name.replace("_", " "))},
    }
    values = {field if splits else f"run_{name}": np.asarray(run.metrics[field]) for field in fields}
    return Surface(run.steps.astype(float), None, values, meta=meta)
