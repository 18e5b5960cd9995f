"""What the search for symmetries finds in the small architectures of `architectures.py`, as the page of it says.

Run as a program it writes the page: ``python tests/symmetry/test_symmetries_found.py``. It takes about 12 s.
"""

from __future__ import annotations

from collections import Counter

import pytest
from architectures import ARCHITECTURES
from conftest import ROOT
from reference import made

from landscape.objective import Objective
from landscape.symmetry.search import symmetries_of

PAGE = ROOT / "docs" / "symmetries-found.md"
HEAD = """# Symmetries found

Kinds of symmetries, and of how many units, in small architectures of every kind (`tests/architectures.py`).
"Not settled" says where rescalings may have been missed. Made by `tests/symmetry/test_symmetries_found.py`.

| architecture | found | not settled |
|---|---|---|
"""
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
]


def row_of(name: str) -> str:
    """The row of the page; a family that a trial contradicts would have left a note."""
    row = ARCHITECTURES[name]
    model, inputs, targets = made(row)
    data = inputs if isinstance(targets, tuple) else (inputs, targets)
    found = symmetries_of(Objective(model, loss=row.loss, train=data, batch_size=4))
    assert found.notes == ()
    units: Counter[str] = Counter()
    for generator in found.generators:
        units[generator.kind] += generator.units
    kinds = ", ".join(f"{kind} {count}" for kind, count in units.items()) or "none"
    doubts = dict.fromkeys(block.operation for block in found.blocked if not block.settled)
    return f"| {name} | {kinds} | {'; '.join(doubts)} |"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_found_is_what_the_page_says(name):
    assert row_of(name) in PAGE.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    PAGE.write_text(HEAD + "\n".join(map(row_of, ARCHITECTURES)) + "\n", encoding="utf-8")
