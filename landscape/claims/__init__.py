"""Claims: what the source papers say, and verdicts on it from the numbers of recipes. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from landscape.claims.baldassi2020 import PAPER as _baldassi2020
from landscape.claims.card import Row, card, counts, pages, spoken_number, stale_pages, write_pages
from landscape.claims.claim import VERDICTS, Claim, Numbers, Paper, Reading
from landscape.claims.cohen2021 import PAPER as _cohen2021
from landscape.claims.cohen2024 import PAPER as _cohen2024
from landscape.claims.dinh2017 import PAPER as _dinh2017
from landscape.claims.entezari2021 import PAPER as _entezari2021
from landscape.claims.garipov2018 import PAPER as _garipov2018
from landscape.claims.keskar2017 import PAPER as _keskar2017
from landscape.claims.lau2023 import PAPER as _lau2023
from landscape.claims.li2018 import PAPER as _li2018
from landscape.claims.liao2017 import PAPER as _liao2017
from landscape.claims.pittorino2021 import PAPER as _pittorino2021
from landscape.claims.theus2025 import PAPER as _theus2025
from landscape.claims.vardhan2026 import PAPER as _vardhan2026
from landscape.claims.wen2023 import PAPER as _wen2023

PAPERS: Mapping[str, Paper] = MappingProxyType(
    {
        paper.name: paper
        for paper in (
            *(_dinh2017, _liao2017, _pittorino2021, _baldassi2020, _vardhan2026, _li2018),
            *(_keskar2017, _cohen2021, _cohen2024, _entezari2021, _theus2025, _garipov2018, _lau2023, _wen2023),
        )
    }
)
"""Name -> paper, in the order of the report card."""

__all__ = [
    "PAPERS",
    "VERDICTS",
    "Claim",
    "Numbers",
    "Paper",
    "Reading",
    "Row",
    "card",
    "counts",
    "pages",
    "spoken_number",
    "stale_pages",
    "write_pages",
]
