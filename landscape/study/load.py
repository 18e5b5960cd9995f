"""From the text of a study to its value, with all faults at once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.measures import measures
from landscape.options import fields_of
from landscape.plots.measure_options import MeasureOptions as Along
from landscape.recipe import Run
from landscape.recipe.faults import RecipeError
from landscape.recipe.reader import ANYTHING, TABLE, TEXTS, Form, Reader, either, one_of
from landscape.recipe.runs import PROBLEM, TABLES, TRAINING, read_trained
from landscape.recipe.toml_lines import KeyPath, faults_of_the_text, read_source
from landscape.study.values import Net, Statistics, Study

_KNOWN = ("study", "family", "measures", "correlation")
# A family of many kinds still fits on a page.
_MOST_LINES = 60
# Fewer have no rank correlation.
_FEWEST = 3
# Of every network, in this order, before what else varies.
_TOLD = ("optimizer", "lr", "batch_size", "weight_decay", "seed")
_FIXED = ("every", *TABLES)
_MEASURES: dict[str, Form] = {
    "names": either(one_of("all"), TEXTS),
    **dict.fromkeys(("split", "seed", "dtype", "parameters"), ANYTHING),
    "settings": TABLE,
}
_SOME = Form("a value or a list of values", lambda v: v != [])


@dataclass(frozen=True)
class _Choice:
    """A key with several values.

    Attributes:
        table: ``"options"`` for an option of the problem, otherwise empty.
        name: The key.
        values: Its values.
        own: Whether the family says so, and not all have it in common.
    """

    table: str
    name: str
    values: tuple[Any, ...]
    own: bool

    @property
    def axis(self) -> str:
        """Name of the hyperparameter."""
        return f"{self.table}.{self.name}" if self.table else self.name


def load(path: str | os.PathLike[str]) -> Study:
    """Read and check a study.

    Args:
        path: A TOML file that begins with a comment, the caption: ``[study]`` for what all networks have in
            common, ``[family.NAME]`` tables, whose lists multiply, ``[measures]`` and ``[correlation]``.

    Returns:
        The study. Nothing is trained, and no code of the user's is run.

    Raises:
        LandscapeError: With every fault of the recipe: its line, its key, what is wrong and the nearest name.

    Example:
        >>> len(load("figures/studies/digits.toml").nets) >= 60  # doctest: +SKIP
        True
    """
    source = read_source(Path(path))
    reader = Reader(source)
    reader.faults += faults_of_the_text(source, _MOST_LINES)
    for name in source.document:
        if name in ("run", "runs", "panel", "panels", "figure"):
            reader.fault((name,), "this belongs to the recipe of a figure", mend="use landscape render")
        elif name not in _KNOWN:
            reader.fault((name,), "there is no such key", mend=did_you_mean(name, _KNOWN))
    nets = _read_nets(reader)
    wanted = _read_measures(reader)
    statistics = _read_statistics(reader)
    if reader.faults:
        raise RecipeError(source.path, dict.fromkeys(reader.faults))
    return Study(source.path, source.caption or f"The study {source.path.stem}.", nets, wanted, statistics)


def _read_nets(reader: Reader) -> tuple[Net, ...]:
    document, before = reader.source.document, len(reader.faults)
    shared = reader.sound(("study",), document.get("study", {}), _forms())
    _check_lists(reader, ("study",), shared)
    tables = document.get("family", {})
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        reader.fault(("family",), "every family has a table of its own", mend="write [family.NAME]")
        return ()
    if not tables:
        reader.fault((), "there is no family", mend="write [family.NAME] with an optimizer")
    found = [net for name, table in tables.items() for net in _read_family(reader, name, table, shared)]
    if len(reader.faults) > before:
        return ()
    _refuse_twins(reader, found)
    if tables and len(found) < _FEWEST:
        reader.fault((), f"a correlation needs at least {_FEWEST} networks, got {len(found)}")
    return _described(found, len(tables) > 1)


def _forms() -> dict[str, Form]:
    """Keys of a family: those of a run, most of which may be lists."""
    return {**PROBLEM, **TRAINING, **dict.fromkeys((name for name in TRAINING if name not in _FIXED), _SOME)}


def _check_lists(reader: Reader, key: KeyPath, table: Mapping[str, Any]) -> None:
    entries = [(name, value) for name, value in table.items() if name not in TABLES]
    entries += [(f"options.{name}", value) for name, value in table.get("options", {}).items()]
    for name, value in entries:
        if isinstance(value, list) and len({repr(one) for one in value}) < len(value):
            reader.fault((*key, *name.split(".")), "a value is there twice", got=repr(value))


def _read_family(reader: Reader, name: str, table: Mapping[str, Any], shared: Mapping[str, Any]) -> list[Net]:
    key = ("family", name)
    own = reader.sound(key, table, _forms())
    _check_lists(reader, key, own)
    if "problem" not in {**shared, **table}:
        reader.fault(("study",), "'problem' is missing", mend="say in [study] what is trained")
        return []
    choices = _choices(own, shared)
    found = []
    for places in itertools.product(*(range(len(choice.values)) for choice in choices)):
        chosen = list(zip(choices, places, strict=True))
        before = len(reader.faults)
        run = read_trained(reader, key, _with(own, chosen, True), _with(shared, chosen, False), "study")
        if run is not None and len(reader.faults) == before:
            found.append(_net(run, name, chosen))
    return found


def _choices(own: Mapping[str, Any], shared: Mapping[str, Any]) -> list[_Choice]:
    """List what varies in a family, the seed last."""
    found = []
    for name in dict.fromkeys([*shared, *own]):
        value = own.get(name, shared.get(name))
        if name not in _FIXED and isinstance(value, list):
            found.append(_Choice("", name, tuple(value), name in own))
    inner, outer = own.get("options", {}), shared.get("options", {})
    for name in dict.fromkeys([*outer, *inner]):
        value = inner.get(name, outer.get(name))
        if isinstance(value, list):
            found.append(_Choice("options", name, tuple(value), name in inner))
    return sorted(found, key=lambda choice: choice.name == "seed")


def _with(table: Mapping[str, Any], chosen: list[tuple[_Choice, int]], own: bool) -> dict[str, Any]:
    """A table in which every list is one of its values."""
    found = dict(table)
    for choice, place in chosen:
        value = choice.values[place]
        if choice.table and choice.own == own:
            found["options"] = {**found["options"], choice.name: value}
        elif not choice.table and choice.name in found:
            found[choice.name] = value
    return found


def _net(run: Run, family: str, chosen: list[tuple[_Choice, int]]) -> Net:
    said = " ".join(f"{choice.name}={_short(choice.values[place])}" for choice, place in chosen)
    values = {choice.axis: choice.values[place] for choice, place in chosen}
    training = run.training
    told = {} if training is None else {**training.to_json(), "lr": training.rate}
    settings = {"family": family, **{name: told.get(name) for name in _TOLD}, **values}
    levels = {"family": family, **{choice.axis: str(place) for choice, place in chosen}}
    return Net(replace(run, name=f"{family} {said}".strip()), levels, settings)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _refuse_twins(reader: Reader, nets: list[Net]) -> None:
    """Two networks that are trained alike are one, and would count twice."""
    seen: dict[str, Net] = {}
    for net in nets:
        what = repr((net.run.problem, sorted(net.run.options.items()), net.run.training, net.run.data))
        if what in seen:
            told = f"'{net.name}' is trained as '{seen[what].name}' is"
            reader.fault(("family", net.levels["family"]), told, mend="leave one of them out")
            return
        seen[what] = net


def _described(nets: list[Net], several: bool) -> tuple[Net, ...]:
    """All networks with the same hyperparameters, those that vary; what one family has not is ``-`` there."""
    axes = dict.fromkeys(axis for net in nets for axis in net.levels)
    varying = [axis for axis in axes if len({net.levels.get(axis, "-") for net in nets}) > 1]
    varying = [axis for axis in varying if several or axis != "family"]
    names = dict.fromkeys(name for net in nets for name in net.settings)
    return tuple(
        replace(
            net,
            levels={axis: net.levels.get(axis, "-") for axis in varying},
            settings={name: net.settings.get(name) for name in names},
        )
        for net in nets
    )


def _read_measures(reader: Reader) -> dict[str, Along]:
    """One `Along` for each measure, so that each is kept, refused or made again by itself."""
    key = ("measures",)
    entries = reader.sound(key, reader.source.document.get("measures", {}), _MEASURES)
    names = entries.pop("names", "all")
    chosen = list(measures()) if names == "all" else list(names)
    for name in chosen:
        if name not in measures():
            reader.fault((*key, "names"), f"there is no measure '{name}'", mend=did_you_mean(name, measures()))
    if len(set(chosen)) < len(chosen):
        reader.fault((*key, "names"), "a measure is named twice", got=", ".join(chosen))
    settings = _read_settings(reader, (*key, "settings"), entries.pop("settings", {}), chosen)
    sound = reader.options(lambda name: (*key, name), Along, entries) or Along()
    common = {name: getattr(sound, name) for name in entries}
    return {
        name: Along((name,), settings={name: settings[name]} if name in settings else {}, at=("last",), **common)
        for name in chosen
        if name in measures()
    }


def _read_settings(
    reader: Reader, key: KeyPath, tables: Mapping[str, Any], chosen: list[str]
) -> dict[str, Mapping[str, Any]]:
    found = {}
    for name, table in tables.items():
        if name not in chosen:
            mend = did_you_mean(name, chosen) if name not in measures() else "name it in 'names' too"
            reader.fault((*key, name), f"'{name}' is not taken", mend=mend)
        elif not isinstance(table, Mapping):
            reader.fault((*key, name), "must be a table", got=repr(table))
        else:
            try:
                Along((name,), settings={name: table})
                found[name] = table
            except LandscapeError as error:
                reader.fault((*key, name), str(error))
    return found


def _read_statistics(reader: Reader) -> Statistics:
    key = ("correlation",)
    known = dict.fromkeys(fields_of(Statistics), ANYTHING)
    entries = reader.sound(key, reader.source.document.get("correlation", {}), known)
    return reader.options(lambda name: (*key, name), Statistics, entries) or Statistics()
