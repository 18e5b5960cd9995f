"""Which audit is made: options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.forms import NAMES, NESTED, STEP, TEXT, WHOLE
from landscape.options import Options, option
from landscape.vocabulary import DTYPES, SPLITS


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
