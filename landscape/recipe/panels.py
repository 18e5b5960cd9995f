"""The panels of a recipe, and the figure that they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.errors import did_you_mean
from landscape.pipeline import COMMON, KINDS, Slice
from landscape.recipe import branches, embedding, exhibits, measuring
from landscape.recipe.reader import (
    COUNT,
    NUMBER,
    POSITIVE,
    TEXT,
    TEXTS,
    TRUTH,
    WHOLE,
    Form,
    Reader,
    either,
    list_of,
    one_of,
)
from landscape.recipe.source import KeyPath
from landscape.recipe.values import Figure, Panel, Run
from landscape.render.pictures import VIEWS
from landscape.render.widths import WIDTHS

_METRICS = ("loss", "error", "penalty", "total")
_RANGE = Form("[low, high]", lambda v: list_of(NUMBER, "", low=2).fits(v) and len(v) == 2)
_POINTS = either(WHOLE, Form("[nx, ny]", lambda v: list_of(WHOLE, "", low=2).fits(v) and len(v) == 2))
_VALUES = list_of(NUMBER, "a list of at least 2 numbers", low=2)

# Keys that are fields of `Slice` as they are.
_SLICE: dict[str, Form] = {
    **dict.fromkeys(
        ("plane", "normalize", "one_d", "bn", "dtype", "engine", "tune", "memory", "parameters", "center"), TEXT
    ),
    "directions": TEXT,
    **dict.fromkeys(("seed", "repeats", "subset"), WHOLE),
    **dict.fromkeys(("radius", "preview"), NUMBER),
    "at": either(WHOLE, one_of("last")),
    "nearest": either(WHOLE, one_of("first", "last")),
    "gradient": TRUTH,
    "points": _POINTS,
}
_AXES: dict[str, Form] = {"x_range": _RANGE, "y_range": _RANGE, "x_values": _VALUES, "y_values": _VALUES}
_DRAWN: dict[str, Form] = {
    "metric": one_of(*_METRICS),
    "split": one_of("train", "test"),
    "view": one_of(*VIEWS),
}
_KINDS = (*KINDS, measuring.KIND, embedding.KIND, branches.KIND, *exhibits.EXHIBITS)
_ANY: dict[str, Form] = {"kind": one_of(*_KINDS), "runs": TEXTS, "title": TEXT}
_PANEL: dict[str, Form] = {**_ANY, **_DRAWN, **_SLICE, **_AXES}
# What is no slice has keys of its own.
_OTHERS: dict[str, dict[str, Form]] = {
    measuring.KIND: {**_ANY, **measuring.FORMS},
    embedding.KIND: {**_ANY, **embedding.FORMS},
    branches.KIND: {**_ANY, **branches.FORMS},
    **{kind: {**_ANY, **exhibits.forms_of(kind)} for kind in exhibits.EXHIBITS},
}
_FORMATS = ("png", "pdf", "svg")
_STYLES = ("paper", "talk", "dark")


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
    shared = reader.sound(("panels",), common, _forms({}, common) | _of_any_kind(common))
    tables = document.get("panel", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        reader.fault(("panel",), "every panel has a table of its own", mend="write [[panel]] with two brackets")
        return ()
    if not tables:
        reader.fault((), "there is no panel", mend="write [[panel]] with a kind")
    found = [_read(reader, ("panel", place), table, shared, runs, named) for place, table in enumerate(tables)]
    if found and all(panel is not None for panel in found) and len(runs) == len(named):
        drawn = {name for panel in found if panel for name in panel.runs}
        drawn |= {run.base.name for run in runs.values() if run.base is not None}
        for name in [name for name in runs if name not in drawn]:
            reader.fault(("run", name), "no panel draws this run", mend="name it in the runs of a panel")
    kinds = [None if panel is None else panel.kind for panel in found]
    for alone, what in {embedding.KIND: "embeddings are", **exhibits.ALONE}.items():
        if alone in kinds and any(kind not in (alone, None) for kind in kinds):
            said = f"{what} drawn in a figure of their own"
            reader.fault(("panel", kinds.index(alone)), said, mend="write two recipes")
    return tuple(panel for panel in found if panel is not None)


def _read(
    reader: Reader,
    key: KeyPath,
    table: Mapping[str, Any],
    shared: Mapping[str, Any],
    runs: Mapping[str, Run],
    named: Mapping[str, Any],
) -> Panel | None:
    before = len(reader.faults)
    forms = _forms(table, shared)
    own = reader.sound(key, table, forms)
    entries = {name: value for name, value in shared.items() if name in forms} | own

    def where(name: str) -> KeyPath:
        return (*key, name) if name in own else ("panels", name)

    if "kind" not in {**shared, **table}:
        reader.fault(key, "a panel needs a kind", mend="choose from " + ", ".join(_KINDS))
    chosen = entries.get("runs", _all_of(entries.get("kind"), runs, named))
    for name in chosen:
        if name not in named:
            mend = did_you_mean(name, named) if named else "there are no runs"
            reader.fault(where("runs"), f"there is no run '{name}'", mend=mend)
    if len(set(chosen)) < len(chosen):
        reader.fault(where("runs"), "a run is named twice", got=", ".join(chosen))
    there = {name: runs[name] for name in chosen if name in runs}
    if entries.get("kind") == measuring.KIND:
        return _measure(reader, key, where, entries, there, before)
    if entries.get("kind") == branches.KIND:
        # A run with faults is no branch yet, and says so itself.
        grown = None if len(there) < len(chosen) else branches.read_grown(reader, key, where, entries, there)
        sound = grown is not None and len(reader.faults) == before
        return Panel(Slice(), there, title=entries.get("title"), grown=grown) if sound else None
    if entries.get("kind") in exhibits.EXHIBITS:
        exhibit = exhibits.read_exhibit(reader, key, where, entries, there)
        sound = len(reader.faults) == before and len(there) == len(chosen)
        return Panel(Slice(), there, title=entries.get("title"), exhibit=exhibit) if sound else None
    embed = embedding.read_embed(reader, key, where, entries) if entries.get("kind") == embedding.KIND else None
    wanted = Slice() if embed is not None else _slice(reader, key, where, entries)
    if wanted is None:
        return None
    if embed is None:
        _check_drawing(reader, where, entries, wanted, len(chosen))
    if len(reader.faults) > before or not all(name in runs for name in chosen):
        return None
    return Panel(
        slice=wanted,
        embed=embed,
        runs={name: runs[name] for name in chosen},
        title=entries.get("title"),
        metric=entries.get("metric"),
        split=entries.get("split"),
        view=entries.get("view", "contour"),
    )


def _all_of(kind: Any, runs: Mapping[str, Run], named: Mapping[str, Any]) -> list[str]:
    """The runs of a panel that names none."""
    return [name for name in named if kind != branches.KIND or (name in runs and runs[name].kind == "branch")]


def _forms(table: Any, shared: Any) -> dict[str, Form]:
    """The keys that a panel of this kind may have."""
    tables = [given for given in (shared, table) if isinstance(given, Mapping)]
    kinds = [given["kind"] for given in tables if "kind" in given]
    return _OTHERS.get(kinds[-1], _PANEL) if kinds and isinstance(kinds[-1], str) else _PANEL


def _of_any_kind(common: Any) -> dict[str, Form]:
    """What all panels may share where each says its own kind."""
    if not isinstance(common, Mapping) or "kind" in common:
        return {}
    return {name: form for forms in _OTHERS.values() for name, form in forms.items() if name not in _PANEL}


def _measure(
    reader: Reader, key: KeyPath, where: Any, entries: Mapping[str, Any], runs: Mapping[str, Run], before: int
) -> Panel | None:
    found = measuring.read_along(reader, key, where, entries)
    if found is None or len(reader.faults) > before:
        return None
    measure, along = found
    # A measure has no plane; the slice is there for those who ask every panel for one.
    return Panel(Slice(), runs, title=entries.get("title"), measure=measure, along=along)


def _slice(reader: Reader, key: KeyPath, where: Any, entries: Mapping[str, Any]) -> Slice | None:
    """What is evaluated: every key is tried by itself, so that each fault is told with its own line."""
    if entries.get("kind") in (None, *_OTHERS):
        return None
    for axis in "xy":
        if f"{axis}_range" in entries and f"{axis}_values" in entries:
            reader.fault(where(f"{axis}_values"), f"an axis has either {axis}_range or {axis}_values")
    if "directions" in entries:
        file = reader.beside(entries["directions"])
        if not file.is_file():
            reader.missing(where("directions"), entries["directions"])
        entries = {**entries, "directions": str(file)}
    fields: dict[str, Any] = {"kind": entries["kind"]}
    for name in (name for name in entries if name in _SLICE or name in _AXES):
        field, value = _field(name, entries[name])
        before = len(reader.faults)
        with reader.noting(where(name)):
            Slice(**{"kind": entries["kind"], field: value})
        if len(reader.faults) == before:
            fields[field] = value
    with reader.noting(key):
        return Slice(**fields, splits=(entries["split"],) if "split" in entries else ())
    return None


def _field(name: str, value: Any) -> tuple[str, Any]:
    """The field of a slice that a key stands for, and its value: a tuple of two is a range."""
    if name in _AXES:
        return name[0], tuple(map(float, value)) if name.endswith("_range") else [float(v) for v in value]
    return name, tuple(value) if isinstance(value, list) else value


def _check_drawing(reader: Reader, where: Any, entries: Mapping[str, Any], wanted: Slice, count: int) -> None:
    """What goes together in a picture."""
    if wanted.kind == "curve" and entries.get("view", "contour") != "contour":
        reader.fault(where("view"), "a curve has one view only", got=f"'{entries['view']}'", mend="leave it out")
    if any(":" in words for words in wanted.snapshots):
        reader.fault(where("plane"), "a plane goes through steps of one run", mend="or write plane = 'runs'")
    if wanted.plane == COMMON and count < 2:
        reader.fault(where("plane"), f"a common plane is of two runs or more, got {count}")
    if wanted.kind == "trajectory" and entries.get("view", "contour") not in ("contour", "levels"):
        reader.fault(where("view"), "a path is drawn on contours", got=f"'{entries['view']}'", mend="leave it out")
    needed = 2 if wanted.kind == "curve" else 3
    if wanted.plane == "runs" and count != needed:
        reader.fault(where("plane"), f"a {wanted.kind} goes through {needed} runs, got {count}")


def read_figure(reader: Reader) -> Figure:
    """How the panels become one picture; what is wrong with it is noted.

    Args:
        reader: The recipe.

    Returns:
        The figure, with the defaults of what is missing or wrong.
    """
    formats = Form(f"a list out of {', '.join(_FORMATS)}", lambda v: TEXTS.fits(v) and set(v) <= set(_FORMATS))
    forms = {
        "columns": COUNT,
        "style": one_of(*_STYLES),
        "width": either(TEXT, POSITIVE),
        "height": POSITIVE,
        "share": TRUTH,
        "caption": TRUTH,
        "formats": formats,
    }
    entries = reader.sound(("figure",), reader.source.document.get("figure", {}), forms)
    width = entries.get("width")
    if isinstance(width, str) and width not in WIDTHS:
        mend = did_you_mean(width, WIDTHS)
        reader.fault(("figure", "width"), f"there is no width '{width}'", mend=f"{mend} (or give inches)")
    # Pictures in the gallery are PNG; the other formats come beside.
    chosen = ("png", *(name for name in _FORMATS[1:] if name in entries.pop("formats", [])))
    return Figure(**{**entries, "formats": chosen})
