"""Audits: which measures mean anything, by the same function elsewhere on its orbit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.forms import NAMES, NESTED, STEP, TEXT, WHOLE
from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, alone
from landscape.plots.measure_words import audit_lines
from landscape.plots.source import Source
from landscape.vocabulary import DTYPES, SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.sharpness.audited import Audit
    from landscape.surface.values import Surface


@dataclass(frozen=True)
class AuditOptions(Options):
    """Which audit is made."""

    measures: tuple[str, ...] | None = option(
        None, "Which measures; landscape measure --list says which there are", form=NAMES, unset="a dozen"
    )
    at: int | str = option("last", "The snapshot: a step, first or last", form=STEP)
    split: str = option("train", "The data", choices=SPLITS)
    parameters: str | None = option(None, "Parameters that count, e.g. 'fc.*,!*.bias'", form=TEXT, unset="all")
    seed: int = option(0, "Of all draws, the same everywhere on the orbit", low=0)
    dtype: str | None = option(
        None, "The type of numbers", form=TEXT, choices=DTYPES, unset="float64 where that is quick"
    )
    subset: int | None = option(None, "So many examples", form=WHOLE, low=1, unset="all, 128 if large")
    settings: Mapping[str, Mapping[str, Any]] = option(
        {}, "A setting of a measure, such as hessian_trace.samples=100; repeatable", form=NESTED
    )


@dataclass(frozen=True)
class DrawnAudit:
    """An audit with the slices that show what it found.

    Attributes:
        audit: The audit.
        slices: Normalisation -> ``"before"`` and ``"after"`` a rescaling -> the curve; empty without rescalings.
    """

    audit: Audit
    slices: Mapping[str, Mapping[str, Surface]]


def _compute(source: Source, wanted: AuditOptions) -> Parts:
    from landscape.plots.audit_values import audit_of, slices_before_and_after

    run, wanted = source.only("an audit"), source.placed(wanted)
    objective = source.objective()
    tell = source.progress
    found = audit_of(
        run, objective, wanted, save=source.parts, progress=lambda what, done, total: tell(done, total)
    )
    return {source.names[0]: DrawnAudit(found, slices_before_and_after(run, objective, wanted))}


def _draw(shown: Shown, look: Look) -> Figure:
    from landscape import render

    return render.audit(shown.first.audit, dict(shown.first.slices) or None)


def _report(shown: Shown) -> Document:
    return {"kind": "audit", "file": next(iter(shown.parts)), **shown.first.audit.to_json()}


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    document = shown.first.audit.to_json()
    found = {
        f"{row['name']}/{entry}": np.array(
            [cell[entry] if cell[entry] is not None else np.nan for cell in row["cells"]]
        )
        for row in document["measures"]
        for entry in ("value", "ratio")
    }
    for norm, pair in shown.first.slices.items():
        for when, curve in pair.items():
            found |= {
                f"slices/{norm}/{when}/{name}": values for name, values in {"x": curve.x, **curve.fields}.items()
            }
    return found


AUDIT = Kind(
    name="audit",
    summary="which measures mean anything",
    options=AuditOptions,
    compute=_compute,
    draw=alone("audit", _draw),
    report=_report,
    lines=audit_lines,
    numbers=_numbers,
    title="Audits (--kind audit)",
    unit="value",
)
