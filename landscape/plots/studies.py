"""Studies: what measures predict over many networks, drawn from what `landscape study` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.forms import FILE, TEXT
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone
from landscape.plots.source import Source
from landscape.plots.study_words import study_words
from landscape.values.archive import read_value
from landscape.values.correlations import Correlated
from landscape.vocabulary import PAGE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look


@dataclass(frozen=True)
class StudyOptions(Options):
    """Which study is drawn, and how."""

    study: str | None = option(None, "NAME.npz, which `landscape study` keeps beside its pictures", form=FILE)
    scatter: bool = option(False, "A panel for each measure, a point for each network", decides=False, shows=True)
    target: str | None = option(
        None, "With scatter, what is upwards", form=TEXT, unset="the first target", decides=False, shows=True
    )
    hue: str | None = option(
        None,
        "With scatter, the hyperparameter that colours tell",
        form=TEXT,
        unset="the family",
        decides=False,
        shows=True,
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what means nothing without a scatter picture."""
        for name in ("target", "hue"):
            if getattr(self, name) is not None and not self.scatter:
                yield name, f"{name} is of a scatter picture; ask for scatter too"


def read_study(path: Path) -> Correlated:
    """Read what `landscape study` kept.

    Raises:
        LandscapeError: If the file is damaged, or holds something else.
    """
    found = read_value(path)
    if not isinstance(found, Correlated):
        raise LandscapeError("holds no study", where=path, mend="give NAME.npz that landscape study wrote")
    return found


def _compute(source: Source, wanted: StudyOptions) -> Parts:
    if wanted.study is None:
        raise LandscapeError("there is no study to draw", where="study", mend="give NAME.npz of landscape study")
    found = read_study(Path(wanted.study))
    return {str(found.meta.get("name", Path(wanted.study).stem)): found}


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    wanted: StudyOptions = shown.options
    if wanted.scatter:
        return render.scatters(shown.first, target=wanted.target, colour=wanted.hue)
    return render.correlations(shown.first)


def _report(shown: Shown) -> Document:
    found: Correlated = shown.first
    return {"kind": "study", "networks": len(found.nets), **found.to_json()}


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    found: Correlated = shown.first
    numbers: dict[str, NDArray[Any]] = {**found.nets.results, **found.nets.measures}
    for target in found.targets:
        each = [row.correlations[target] for row in found.rows]
        numbers[f"kendall with {target}"] = np.array([[one.kendall, *one.kendall_interval] for one in each])
        numbers[f"spearman with {target}"] = np.array([[one.spearman, *one.spearman_interval] for one in each])
    return numbers


STUDY = Kind(
    name="study",
    summary="what measures predict over the networks of a study",
    options=StudyOptions,
    compute=_compute,
    draw=alone("study", _draw),
    report=_report,
    words=lambda shown: study_words(shown.first),
    numbers=_numbers,
    loss=False,
    file="study",
    heeds=lambda options: PAGE_OPTIONS,
    title="Study",
)
