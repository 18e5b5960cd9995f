"""Panels that show a measure along training: how they are read and made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from landscape.pipeline import Along
from landscape.recipe.reader import TABLE, TEXT, WHOLE, Form, Reader, one_of
from landscape.recipe.source import KeyPath

if TYPE_CHECKING:
    from landscape.recipe.cache import Cache
    from landscape.recipe.making import Progress
    from landscape.recipe.steps import Step
    from landscape.surface import Surface

KIND = "measure"
FORMS: dict[str, Form] = {
    "measure": TEXT,
    "split": one_of("train", "test"),
    "seed": WHOLE,
    "dtype": TEXT,
    "parameters": TEXT,
    "settings": TABLE,
}
"""Keys of a panel of this kind."""
# What a run records by itself: drawn, not taken.
_RECORDED = ("loss", "error", "gamma", "replica_distance", "gradient_evaluations")


def read_along(reader: Reader, key: KeyPath, where: Any, entries: Mapping[str, Any]) -> tuple[str, Along] | None:
    """The measure of a panel and how it is taken; what is wrong with it is noted, every key by itself.

    Args:
        reader: The recipe.
        key: The panel.
        where: Name of a key -> its path.
        entries: Those of the panel and what all panels share.
    """
    if "measure" not in entries:
        reader.fault(key, "a panel of this kind needs a measure", mend="such as hessian_top, or loss")
        return None
    name = entries["measure"]
    taken = () if name in _RECORDED else (name,)
    fields: dict[str, Any] = {}
    with reader.noting(where("measure")):
        Along(taken)
        fields["measures"] = taken
    if "measures" not in fields:
        return None
    for entry in (entry for entry in entries if entry in FORMS and entry != "measure"):
        before = len(reader.faults)
        value: Any = {name: entries[entry]} if entry == "settings" else entries[entry]
        with reader.noting(where(entry)):
            Along(taken, **{entry: value})
        if len(reader.faults) == before:
            fields[entry] = value
    return name, Along(**fields)


def make_measures(step: Step, cache: Cache, progress: Progress) -> list[str]:
    """Take measures along a run; those that an earlier attempt took are kept."""
    from landscape.errors import LandscapeError
    from landscape.pipeline import measures_along, objective_of
    from landscape.trajectory import open_trajectory

    places = step.places
    how, found = places["run"]
    run = open_trajectory(found if how == "file" else cache.path(how, found))
    told = {name: places[name] for name in ("problem", "data", "device")}
    objective = objective_of(run, settings=places["options"], **told)
    entries = step.settings["along"]
    wanted = Along(**{**entries, "measures": tuple(entries["measures"]), "at": tuple(entries["at"])})
    path = cache.path(step.kind, step.key)
    try:
        measures_along(run, objective, wanted, save=path, progress=progress)
    except LandscapeError:
        if not path.exists():
            raise
        # What another version of torch or another device began is not gone on with.
        path.unlink()
        measures_along(run, objective, wanted, save=path, progress=progress)
    return [".h5"]


def measure_at(cache: Cache, key: str, name: str) -> Surface:
    """A measure, or a recorded metric, of a step that is done, as a curve over the steps of its run."""
    from landscape.render.training_curves import curve_of
    from landscape.sharpness.table_store import read_table

    return curve_of(read_table(cache.path("measures", key)), name)


def over_epochs(cache: Cache, key: str, name: str) -> Surface:
    """A metric that a branch recorded, as a curve over the epochs since the branching."""
    from landscape.render.training_curves import curve_of
    from landscape.sharpness.table_store import read_table

    table = read_table(cache.path("measures", key))
    curve = curve_of(table, name)
    return replace(curve, x=table.epochs, meta={**curve.meta, "axes": [{"label": "epochs since branching"}]})
