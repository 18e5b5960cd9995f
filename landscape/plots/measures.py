"""Measures along training: a panel for each, a colour for each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.measures.along_options import Along
from landscape.plots.kind import Document, Kind, Parts, Shown
from landscape.plots.measure_options import MeasureOptions
from landscape.plots.measure_words import table_document, table_lines
from landscape.plots.slices import composed, numbers_of
from landscape.plots.source import Source
from landscape.vocabulary import PAGE_OPTIONS, PANEL_OPTIONS, SCALE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.render.panels import Panel
    from landscape.values.measure_table import Table


def _faults(wanted: MeasureOptions, runs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not wanted.names:
        yield "measure", "a panel of this kind needs a measure; such as hessian_top, or loss"


def _compute(source: Source, wanted: MeasureOptions) -> Parts:
    from landscape.measures.run_table import measures_along

    if not wanted.names:
        raise LandscapeError("this picture needs a measure", mend="such as measures=hessian_top, or loss")
    name = source.names[0]
    run, save = source.runs[name], source.place(name)
    for step in wanted.at:
        run.index_of(step)
    along = Along(**{**{field: getattr(wanted, field) for field in Along().plain()}, "measures": wanted.taken})
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
    return composed(parts, "one-column" if len(parts) == 1 else "two-columns")


def report_of_tables(kind: str, shown: Shown) -> Document:
    """The document of the first table, with those of all under ``runs`` where there are several."""
    documents = {name: table_document(table) for name, table in shown.parts.items()}
    first = next(iter(documents.values()))
    several = {} if len(documents) == 1 else {"runs": documents}
    return {"kind": kind, "run": next(iter(documents)), **first, **several}


def lines_of_tables(document: Mapping[str, Any]) -> list[str]:
    """The same in lines for a person."""
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


def read_kept(path: Path) -> Table:
    """Read measures that were kept before."""
    from landscape.measures.table_store import read_table

    return read_table(path)


MEASURE = Kind(
    name="measure",
    summary="measures along training, or what runs recorded of one split",
    options=MeasureOptions,
    compute=_compute,
    draw=_draw,
    report=partial(report_of_tables, "measure"),
    lines=lines_of_tables,
    numbers=_numbers,
    each=lambda options: True,
    faults=_faults,
    panels=_panels,
    heeds=lambda options: (*PAGE_OPTIONS, *PANEL_OPTIONS, *SCALE_OPTIONS),
    deciding=lambda options: options.to_json(),
    step="measures",
    stored=("landscape/measures", read_kept),
    title="Measures (--kind measure)",
    unit="value",
    saved="table",
)
