"""Which measures are taken along training: options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from landscape.errors import LandscapeError
from landscape.forms import NAMES, NESTED, STEPS, TEXT, Form
from landscape.options import Options, option
from landscape.vocabulary import DTYPES, SPLITS

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
        from landscape.measures.computation import settled_settings

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
        from landscape.measures.computation import settled_settings

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
