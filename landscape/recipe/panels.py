"""The panels of a recipe, and the figure that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from landscape.errors import did_you_mean
from landscape.forms import FILE
from landscape.options import fields_of
from landscape.plots import KINDS, Kind
from landscape.recipe.panel import Panel
from landscape.recipe.reader import ANYTHING, TEXT, TEXTS, WHOLE, Form, Reader, list_of, one_of
from landscape.recipe.toml_lines import KeyPath
from landscape.recipe.values import INTERACTIVE, Figure, Run

Where = Callable[[str], KeyPath]

_ANY: dict[str, Form] = {"kind": one_of(*KINDS), "runs": TEXTS, "title": TEXT}
_SEEDS: dict[str, Form] = {"seeds": list_of(WHOLE, "a list of whole numbers")}
_DEFAULT = "surface"


def read_panels(reader: Reader, runs: Mapping[str, Run], named: Mapping[str, Any]) -> tuple[Panel, ...]:
    """The panels of a recipe; what is wrong with them is noted.

    Args:
        reader: The recipe.
        runs: Name -> run, of those without faults.
        named: All names of runs that are written.

    Returns:
        The panels without faults.
    """
    document = reader.source.document
    common = document.get("panels", {})
    shared = reader.sound(("panels",), common, _shared_keys(common))
    tables = document.get("panel", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        reader.fault(("panel",), "every panel has a table of its own", mend="write [[panel]] with two brackets")
        return ()
    asked = [KINDS.get(str(table.get("kind", shared.get("kind")))) for table in tables]
    if not named and not (asked and all(kind is not None and kind.file for kind in asked)):
        reader.fault((), "there is no run", mend="write [run.NAME] with a problem or a file")
    if not tables:
        reader.fault((), "there is no panel", mend="write [[panel]] with a kind")
    found = [_read(reader, ("panel", place), table, shared, runs, named) for place, table in enumerate(tables)]
    if found and all(panel is not None for panel in found) and len(runs) == len(named):
        drawn = {name for panel in found if panel for name in panel.runs}
        drawn |= {run.base.name for run in runs.values() if run.base is not None}
        for name in [name for name in runs if name not in drawn]:
            reader.fault(("run", name), "no panel draws this run", mend="name it in the runs of a panel")
    kinds = [None if panel is None else panel.kind for panel in found]
    for alone in [name for name, kind in KINDS.items() if kind.panels is None]:
        if alone in kinds and any(kind not in (alone, None) for kind in kinds):
            said = f"panels of kind '{alone}' are drawn in a figure of their own"
            reader.fault(("panel", kinds.index(alone)), said, mend="write two recipes")
    return tuple(panel for panel in found if panel is not None)


def _keys(kind: Kind) -> dict[str, Form]:
    """The keys that a panel of a kind may have."""
    return {**_ANY, **(_SEEDS if kind.seeds else {}), **dict.fromkeys(fields_of(kind.options), ANYTHING)}


def _shared_keys(common: Any) -> dict[str, Form]:
    """The keys that all panels may share: of their kind, or of any where each says its own."""
    kind = common.get("kind") if isinstance(common, Mapping) else None
    kinds = [KINDS[kind]] if isinstance(kind, str) and kind in KINDS else list(KINDS.values())
    return {name: form for one in kinds for name, form in _keys(one).items()}


def _read(
    reader: Reader,
    key: KeyPath,
    table: Mapping[str, Any],
    shared: Mapping[str, Any],
    runs: Mapping[str, Run],
    named: Mapping[str, Any],
) -> Panel | None:
    before = len(reader.faults)
    written = table.get("kind", shared.get("kind"))
    kind = KINDS.get(written) if isinstance(written, str) else None
    keys = _keys(kind or KINDS[_DEFAULT])
    own = reader.sound(key, table, keys)
    entries = {name: value for name, value in shared.items() if name in keys} | own

    def where(name: str) -> KeyPath:
        return (*key, name) if name in own else ("panels", name) if name in entries else key

    if written is None:
        reader.fault(key, "a panel needs a kind", mend="choose from " + ", ".join(KINDS))
    there, whole = _runs(reader, where, entries, runs, named)
    seeds = tuple(entries.pop("seeds", ()))
    for seed in (seed for seed in seeds if seed < 0 or seeds.count(seed) > 1):
        reader.fault(where("seeds"), "seeds are different whole numbers from 0", got=seed)
        break
    if kind is None:
        return None
    options = _options(reader, where, kind, {name: entries[name] for name in entries if name not in _ANY})
    if options is not None and whole:
        for name, what in kind.faults(options, there):
            reader.fault(where(name), what)
    if options is None or not whole or len(reader.faults) > before:
        return None
    return Panel(kind.name, options, there, entries.get("title"), seeds)


def _runs(
    reader: Reader,
    where: Where,
    entries: Mapping[str, Any],
    runs: Mapping[str, Run],
    named: Mapping[str, Any],
) -> tuple[dict[str, Run], bool]:
    """The runs of a panel that are without faults, and whether all are."""
    kind = KINDS.get(str(entries.get("kind")))
    branches = kind is not None and kind.bases
    every = [name for name in named if not branches or (name in runs and runs[name].kind == "branch")]
    if kind is not None and kind.file:
        if entries.get("runs"):
            reader.fault(where("runs"), f"a panel of kind '{kind.name}' draws no runs", mend="leave it out")
        if not entries.get(kind.file):
            reader.fault(
                where("kind"), f"a panel of kind '{kind.name}' draws a file", mend=f"write {kind.file} = 'FILE'"
            )
        return {}, True
    chosen = [own for name in entries.get("runs", every) for own in _matching(name, named)]
    for name in chosen:
        if name not in named:
            mend = did_you_mean(name, named) if named else "there are no runs"
            reader.fault(where("runs"), f"there is no run '{name}'", mend=mend)
    if len(set(chosen)) < len(chosen):
        reader.fault(where("runs"), "a run is named twice", got=", ".join(chosen))
    there = {name: runs[name] for name in chosen if name in runs}
    return there, len(there) == len(chosen)


def _matching(name: str, named: Iterable[str]) -> list[str]:
    """The runs that a name with a ``*`` stands for; a name without one stands for itself."""
    return [own for own in named if fnmatchcase(own, name)] or [name] if "*" in name else [name]


def _options(reader: Reader, where: Where, kind: Kind, entries: dict[str, Any]) -> Any:
    """The options of a panel; each fault is told with its own line."""
    for name in [name for name in entries if fields_of(kind.options)[name].metadata["form"] is FILE]:
        file = reader.beside(str(entries[name]))
        if not file.is_file():
            reader.missing(where(name), entries[name])
        entries[name] = str(file)
    return reader.options(where, kind.options, entries)


def read_figure(reader: Reader, panels: Sequence[Panel]) -> Figure:
    """Read the options of the figure that joins the panels; note what is wrong with them.

    Args:
        reader: The recipe.
        panels: Those without faults.

    Returns:
        The figure, with the defaults where something is wrong.
    """
    keys = dict.fromkeys(fields_of(Figure), ANYTHING)
    entries = reader.sound(("figure",), reader.source.document.get("figure", {}), keys)
    figure = reader.options(lambda name: ("figure", name), Figure, entries) or Figure()
    heeded = {name for panel in panels for name in panel.plot.heeds(panel.options)}
    kinds = " and ".join(dict.fromkeys(panel.kind for panel in panels))
    for name in figure.chosen if panels else ():
        if name not in heeded:
            reader.fault(("figure", name), f"cannot change a picture of kind {kinds}", mend="leave it out")
    if INTERACTIVE in figure.formats and panels:
        if len(panels) > 1:
            reader.fault(
                ("figure", "formats"), f"a page is of one panel, got {len(panels)}", mend="leave html out"
            )
        elif panels[0].plot.page is None:
            reader.fault(("figure", "formats"), f"a {kinds} has no interactive page", mend="leave html out")
    return figure
