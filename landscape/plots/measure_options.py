"""Which measures are taken along training: options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from landscape.forms import NESTED, TEXT, Form
from landscape.measures.along_options import Along
from landscape.options import option

# What a run records by itself: drawn, not taken.
RECORDED = ("loss", "error", "gamma", "replica_distance", "gradient_evaluations")


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
        """Names of the measures drawn, a panel each."""
        return (*(() if self.measure is None else (self.measure,)), *self.measures)

    @property
    def taken(self) -> tuple[str, ...]:
        """Of these, the measures that are computed."""
        return tuple(name for name in self.names if name not in RECORDED)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what is missing or does not exist."""
        for name, what in super().conflicts():
            yield ("measure" if name == "measures" and self.measure is not None else name), what
