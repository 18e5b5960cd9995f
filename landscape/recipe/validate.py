"""From the text of a recipe to its value, with all faults at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from landscape.errors import LandscapeError, did_you_mean
from landscape.recipe.faults import Fault, RecipeError
from landscape.recipe.panel import Recipe
from landscape.recipe.panels import read_figure, read_panels
from landscape.recipe.reader import Reader
from landscape.recipe.runs import read_runs
from landscape.recipe.toml_lines import FULL, SIZES, Source, faults_of_the_text, read_source
from landscape.recipe.values import Panel

_TABLES = ("run", "runs", "panel", "panels", "figure")


def load(path: str | os.PathLike[str], *, size: str = FULL) -> Recipe:
    """Read and check a recipe.

    Args:
        path: A TOML file of at most 25 lines: ``[run.NAME]`` tables, ``[[panel]]`` tables and ``[figure]``,
            after a comment that is the caption; without one the caption says what the panels show. Keys of
            tables ``[small]`` and ``[paper]`` at the end replace those above in the version of that size.
        size: ``"full"``, ``"small"`` or ``"paper"``; without a table of that size it is the recipe itself.

    Returns:
        The recipe. Nothing is trained, evaluated or drawn, and no code of the user's is run.

    Raises:
        LandscapeError: With every fault of the recipe: its line, its key, what is wrong and the nearest name.

    Example:
        >>> load("figures/digits.toml").panels[0].kind  # doctest: +SKIP
        'curve'
    """
    source = read_source(Path(path))
    if size not in (FULL, *SIZES):
        raise LandscapeError(f"there is no size '{size}'", mend=did_you_mean(size, (FULL, *SIZES)))
    read = {one: _read(source.version(one)) for one in (FULL, *(one for one in SIZES if one in source.document))}
    faults = [*faults_of_the_text(source), *(fault for _, found in read.values() for fault in found)]
    for one in SIZES:
        if not isinstance(source.document.get(one, {}), dict):
            faults.append(Fault(source.line_of((one,)), one, "must be a table"))
    if faults:
        raise RecipeError(source.path, dict.fromkeys(faults))
    return replace(read.get(size, read[FULL])[0], size=size)


def _read(source: Source) -> tuple[Recipe, list[Fault]]:
    """One version of a recipe, and what is wrong with it."""
    reader = Reader(source)
    for name in source.document:
        if name in ("study", "family"):
            reader.fault((name,), "this belongs to a study", mend="use landscape study")
        elif name not in _TABLES:
            reader.fault((name,), "there is no such key", mend=did_you_mean(name, _TABLES))
    runs = read_runs(reader)
    written = source.document.get("run", {})
    panels = read_panels(reader, runs, written if isinstance(written, dict) else {})
    figure = read_figure(reader, panels)
    recipe = Recipe(source.path, source.text, source.caption or _caption(panels), runs, panels, figure)
    return recipe, reader.faults


def _caption(panels: Sequence[Panel]) -> str:
    """Write the caption of a figure whose recipe has none."""
    shown = dict.fromkeys(
        f"{panel.kind} of {', '.join(name for members in panel.members.values() for name in members)}"
        for panel in panels
    )
    said = "; ".join(shown)
    return f"{said[:1].upper()}{said[1:]}."
