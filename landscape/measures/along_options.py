"""Options of measures along training: which are taken, where, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from landscape.errors import LandscapeError
from landscape.forms import NAMES, NESTED, STEPS, TEXT
from landscape.measures.registry import settled_settings
from landscape.options import Options, option
from landscape.vocabulary import DTYPES, PRODUCTS, SPLITS


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
    products: str = option(
        "auto",
        "How products with curvature matrices are taken; finite-difference needs no second derivatives",
        choices=PRODUCTS,
    )
    settings: Mapping[str, Any] = option(
        {},
        "A setting of a measure, such as hessian_top.k=5 or local_energy.sigmas=0.1,0.3; repeatable",
        form=NESTED,
    )
    workers: int = option(1, "So many processes share the snapshots and the cores", low=1, decides=False)

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
        names = Along().plain(deciding=True)
        own = {name: getattr(self, name) for name in names} | {"measures": self.taken}
        if self.products == "auto":
            # Tables of before say nothing of it.
            del own["products"]
        return {**own, "settings": settled_settings(self.taken, self.settings)}
