"""Measures along training as values: NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.values.result import Tabular

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Column(Tabular):
    """One measure at the steps of a table.

    Attributes:
        values: Shape (T,), NaN where it is not taken or did not converge.
        standard_errors: Shape (T,), NaN where the value is no estimate.
        converged: Shape (T,), whether the computation reached its tolerance.
        done: Shape (T,), whether it is taken.
        about: What it is: title, unit, formula, source, invariant_claimed, settings. Plain JSON values.
    """

    values: Array
    standard_errors: Array
    converged: Flags
    done: Flags
    about: Mapping[str, Any]

    @classmethod
    def blank(cls, count: int, about: Mapping[str, Any]) -> Column:
        """A measure that is not taken yet at any of so many steps."""
        return cls(
            np.full(count, np.nan),
            np.full(count, np.nan),
            np.zeros(count, bool),
            np.zeros(count, bool),
            dict(about),
        )

    def put(self, row: int, value: float, standard_error: float | None, converged: bool) -> None:
        """Take in one value."""
        self.values[row] = value
        self.standard_errors[row] = np.nan if standard_error is None else standard_error
        self.converged[row] = converged
        self.done[row] = True

    def _table(self) -> Mapping[str, Any]:
        names = ("values", "standard_errors", "converged", "done")
        return {name.removesuffix("s") if name != "done" else name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Table(Tabular):
    """Measures at several snapshots of a run.

    Attributes:
        steps: Shape (T,), optimizer updates, increasing.
        epochs: Shape (T,), NaN where they are not known.
        columns: Name of a measure -> its values.
        metrics: Name -> shape (T,), what the run itself recorded at these steps, such as ``train_loss``.
        meta: What this is: problem, split, seed, parameters, dtype, training, threshold. Plain JSON values.

    Example:
        >>> table = Table(np.array([0, 5]), np.array([0.0, 1.0]), {"m": Column.blank(2, {"unit": "nats"})})
        >>> table.complete, len(table)
        (False, 2)
    """

    steps: NDArray[np.int64]
    epochs: Array
    columns: Mapping[str, Column]
    metrics: Mapping[str, Array] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, name: str) -> Column:
        if name not in self.columns:
            raise LandscapeError(f"the table has no measure '{name}'", mend="it has " + ", ".join(self.columns))
        return self.columns[name]

    @property
    def complete(self) -> bool:
        """Return whether every measure is taken at every step."""
        return all(bool(column.done.all()) for column in self.columns.values())

    @property
    def taken(self) -> int:
        """Number of values taken so far."""
        return sum(int(column.done.sum()) for column in self.columns.values())

    @property
    def size(self) -> int:
        """Number of values when complete."""
        return len(self) * len(self.columns)

    def _table(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {"step": self.steps, "epoch": self.epochs, **self.metrics}
        for name, column in self.columns.items():
            found[name] = column.values
            if np.isfinite(column.standard_errors).any():
                found[f"{name}_standard_error"] = column.standard_errors
        return found


class LongTable(Table):
    """The same, a row of its pandas table for each step and measure: step, measure, value, standard_error."""

    def _table(self) -> Mapping[str, Any]:
        columns = list(self.columns.items())
        return {
            "step": np.tile(self.steps, len(columns)),
            "measure": [name for name, _ in columns for _ in self.steps],
            "value": np.concatenate([np.empty(0), *(one.values for _, one in columns)]),
            "standard_error": np.concatenate([np.empty(0), *(one.standard_errors for _, one in columns)]),
        }
