"""Base classes of all results: a short text, a small picture or table in a notebook, and a pandas table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import optional
from landscape.values.brief import brief, cut, facts, short
from landscape.values.html import framed, grid_of, pairs

if TYPE_CHECKING:
    import pandas as pd

# Rows and columns of a table in a notebook.
_ROWS, _COLUMNS = 8, 10


class Result:
    """A result: a frozen dataclass that prints what it is, its sizes and its key numbers in ten lines at most."""

    def __init_subclass__(cls, **how: Any) -> None:
        super().__init_subclass__(**how)
        # A dataclass writes its own, unless the class itself has one.
        if "__repr__" not in cls.__dict__ and cls.__repr__ in (object.__repr__, brief):
            cls.__repr__ = brief  # type: ignore[method-assign]

    def _picture(self) -> str:
        """A small picture in HTML, with words on what it shows; an empty text where there is none."""
        return ""

    def _repr_html_(self) -> str:
        return framed(type(self).__name__, self._picture(), self._told())

    def _told(self) -> str:
        return pairs(facts(self)) if dataclasses.is_dataclass(self) else pairs({"": repr(self)})


class Tabular(Result):
    """A result that is a table, or has one."""

    def _table(self) -> Mapping[str, Any]:
        """Name -> column, all of the same length."""
        raise NotImplementedError

    def to_dataframe(self) -> pd.DataFrame:
        """The numbers as a pandas table, NaN where one is not computed or not defined.

        Raises:
            LandscapeError: If pandas is not installed.

        Example:
            >>> ls.open("run.h5").to_dataframe()["train_loss"].idxmin()  # doctest: +SKIP
            39
        """
        return optional("pandas", "to_dataframe").DataFrame(dict(self._table()))

    def _told(self) -> str:
        if self._picture():
            return super()._told()
        columns = {name: np.asarray(column) for name, column in self._table().items()}
        count = len(next(iter(columns.values()))) if columns else 0
        shown = {name: [_cell(entry) for entry in own[:_ROWS].tolist()] for name, own in columns.items()}
        more = [f"{count} rows"] if count > _ROWS else []
        more += [f"{len(columns)} columns: {', '.join(columns)}"] if len(columns) > _COLUMNS else []
        return grid_of(dict(list(shown.items())[:_COLUMNS]), "; ".join(more))


def _cell(entry: Any) -> str:
    if isinstance(entry, str):
        return cut(entry)
    return "" if entry is None else short(entry)
