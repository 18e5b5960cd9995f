"""Measures along training: a panel for each, a colour for each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.forms import NAMES, NESTED, STEPS, TEXT, Form
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown
from landscape.plots.measure_words import table_document, table_lines
from landscape.plots.slices import composed, numbers_of
from landscape.plots.source import Source
from landscape.vocabulary import DTYPES, SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.render.panels import Panel
    from landscape.sharpness.table import Table

# What a run records by itself: drawn, not taken.
RECORDED = ("loss", "error", "gamma", "replica_distance", "gradient_evaluations")


@dataclass(frozen=True)
class Along(Options):
    """Which measures are taken, where, and how."""

    measures: tuple[str, ...] = option(
        (), "Which measures; landscape measure --list says which there are", form=NAMES
    )
    at: tuple[int | str, ...] = option(
        (), "Snapshots: steps with commas, first, last or all", form=STEPS, unset="all"
    )
    split: str = option("train", "The data", choices=SPLITS)
    seed: int = option(0, "Of all draws; the same at all snapshots", low=0)
    parameters: str | None = option(None, "Parameters that count, e.g. 'fc.*,!*.bias'", form=TEXT, unset="all")
    dtype: str | None = option(None, "The type of numbers", form=TEXT, choices=DTYPES, unset="the model's own")
    settings: Mapping[str, Any] = option(
        {},
        "A setting of a measure, such as hessian_top.k=5 or local_energy.sigmas=0.1,0.3; repeatable",
        form=NESTED,
    )

    @property
    def taken(self) -> tuple[str, ...]:
        """The measures that are computed."""
        return self.measures

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield measures and settings that do not exist."""
        if len(set(self.taken)) < len(self.taken):
            yield "measures", f"a measure is named twice; got {', '.join(self.taken)}"
        yield from self._unknown()

    def _unknown(self) -> Iterator[tuple[str, str]]:
        if not self.taken and not self.settings:
            return
        from landscape.sharpness.measuring import settled_settings

        for name in self.taken:
            try:
                settled_settings([name])
            except LandscapeError as fault:
                yield "measures", str(fault)
                return
        try:
            settled_settings(self.taken, self.settings)
        except LandscapeError as fault:
            yield "settings", str(fault)

    def to_json(self) -> dict[str, Any]:
        """As plain values, with all settings."""
        from landscape.sharpness.measuring import settled_settings

        names = list(asdict(Along()))
        own = {name: getattr(self, name) for name in names} | {"measures": self.taken}
        return {**own, "settings": settled_settings(self.taken, self.settings)}


def _flat_or_nested(given: Any) -> Any:
    """Settings by measure, or, of a lone measure, by themselves."""
    return dict(given) if isinstance(given, Mapping) else NESTED.read(given)


@dataclass(frozen=True)
class MeasureOptions(Along):
    """Which measures are drawn along training: those of the toolkit, and what runs recorded."""

    measure: str | None = option(None, "One measure, or a recorded metric such as loss", form=TEXT)
    settings: Mapping[str, Any] = option(
        {},
        "A setting of a measure, such as hessian_top.k=5; repeatable",
        form=Form("a table", _flat_or_nested, "MEASURE.NAME=VALUE", repeats=True),
    )

    def __post_init__(self) -> None:
        if self.measure is not None and self.settings:
            plain = not all(isinstance(value, Mapping) for value in self.settings.values())
            object.__setattr__(self, "settings", {self.measure: dict(self.settings)} if plain else self.settings)
        super().__post_init__()

    @property
    def names(self) -> tuple[str, ...]:
        """What is drawn, a panel each."""
        return (*(() if self.measure is None else (self.measure,)), *self.measures)

    @property
    def taken(self) -> tuple[str, ...]:
        """Of these, the measures that are computed."""
        return tuple(name for name in self.names if name not in RECORDED)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what is missing or does not exist."""
        for name, what in super().conflicts():
            yield ("measure" if name == "measures" and self.measure is not None else name), what


def _faults(wanted: MeasureOptions, runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not wanted.names:
        yield "measure", "a panel of this kind needs a measure; such as hessian_top, or loss"


def _compute(source: Source, wanted: MeasureOptions) -> Parts:
    from landscape.plots.measure_values import measures_along

    if not wanted.names:
        raise LandscapeError("this picture needs a measure", mend="such as measures=hessian_top, or loss")
    name = source.names[0]
    run, save = source.runs[name], source.place(name)
    for step in wanted.at:
        run.index_of(step)
    along = Along(**{**{field: getattr(wanted, field) for field in asdict(Along())}, "measures": wanted.taken})
    return {name: measures_along(run, source.objective(name), along, save=save, progress=source.progress)}


def _panels(shown: Shown) -> list[Panel]:
    from landscape.render.panels import Panel
    from landscape.render.training_curves import curve_of

    names = shown.options.names or tuple(shown.first.columns)
    return [
        Panel(
            {run: curve_of(table, name) for run, table in shown.parts.items()},
            title=shown.title if len(names) == 1 else "",
        )
        for name in names
    ]


def _draw(panels: Sequence[Shown], look: Look) -> Figure:
    parts = [panel for shown in panels for panel in _panels(shown)]
    return composed(parts, look, "one-column" if len(parts) == 1 else "two-columns")


def _report(shown: Shown) -> Document:
    documents = {name: table_document(table) for name, table in shown.parts.items()}
    first = next(iter(documents.values()))
    return {"kind": "measure", "run": next(iter(documents)), **first} | (
        {} if len(documents) == 1 else {"runs": documents}
    )


def _lines(document: Mapping[str, Any]) -> list[str]:
    runs = document.get("runs") or {document["run"]: document}
    lines = [line for name, own in runs.items() for line in table_lines({**own, "file": name})]
    return [*lines, f"  drawn in {document['picture']}"]


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    return {
        f"{run}/{entry}": values
        for panel in _panels(shown)
        for run, curve in panel.surfaces.items()
        for entry, values in numbers_of(curve).items()
    }


def _read(path: Path) -> Table:
    from landscape.sharpness.table_store import read_table

    return read_table(path)


MEASURE = Kind(
    name="measure",
    summary="measures along training, or what runs recorded of one split",
    options=MeasureOptions,
    compute=_compute,
    draw=_draw,
    report=_report,
    lines=_lines,
    numbers=_numbers,
    each=lambda options: True,
    faults=_faults,
    panels=_panels,
    deciding=lambda options: options.to_json(),
    step="measures",
    stored=("landscape/measures", _read),
    title="Measures (--kind measure)",
    unit="value",
    saved="table",
)
