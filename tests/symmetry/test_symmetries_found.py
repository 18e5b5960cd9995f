"""What the search for symmetries finds in the small architectures of `architectures.py`, as the page of it says.

Run as a program it writes the page: ``python tests/symmetry/test_symmetries_found.py``. It takes about 2 minutes.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from architectures import ARCHITECTURES
from conftest import ROOT
from reference import made
from torch import nn

from landscape.objective import Objective
from landscape.symmetry import Symmetries
from landscape.symmetry.search import _elsewhere, symmetries_of

PAGE = ROOT / "docs" / "symmetries-found.md"
HEAD = """# Symmetries found

Kinds of symmetries, and of how many units, in small architectures of every kind (`tests/architectures.py`).
Made by `tests/symmetry/test_symmetries_found.py`.

- *dimension*: the continuous parameters of what was found, as the rank of its tangents at random weights. Kinds
  overlap: a factor for each coordinate of a head is a change of its basis, too.
- *flat*: the directions of weight space along which no output changes to first order: the nullity of the
  Jacobian in float64, over many random inputs, the buffers that symmetries change counted with the weights.
- *unexplained*: those that neither a symmetry found nor a weight that no input reaches explains. Behind batch
  normalisation with gains two for each channel are left out on purpose: a stored mean or variance that moves with
  the gain and bias behind it, which recalibration would undo. A weight that reads a constant can move against the
  bias beside it: `conv_transpose2d` (180) and `paddings` (21) have places that no input reaches. Others belong to
  networks too small for their data: a table of 7 tokens can take any values whatever computes them.
- "?" where singular values do not say clearly which of them are 0, and "-" where the Jacobian cannot be taken.
- *not settled*: where rescalings may have been missed.

| architecture | found | dimension | flat | unexplained | not settled |
|---|---|---|---|---|---|
"""
# Beyond so many weights the Jacobian takes seconds; the page has it, the test leaves it out.
QUICK = 320
# How far apart the singular values must be on either side of the rank.
CLEAR = 1e3
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
]


def row_of(name: str, most: int = QUICK) -> list[str]:
    """The cells of a row of the page; a family that a trial contradicts would have left a note."""
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
    return [name, kinds, *counted(found, model, most), "; ".join(doubts)]


def counted(found: Symmetries, model: nn.Module, most: int) -> list[str]:
    """Dimension, flat and unexplained directions at weights near by; nothing where there are too many."""
    if sum(parameter.numel() for parameter in model.parameters()) > most:
        return ["", "", ""]
    if any(tensor.is_complex() for tensor in found.complete(model).values()):
        return ["-", "-", "-"]
    source = torch.Generator().manual_seed(1)
    weights = {key: _elsewhere(key, tensor, source) for key, tensor in found.complete(model).items()}
    count = found.dimension(weights)
    if count.nullity is None:
        return [str(count.found), "-", "-"]
    clear = count.gap is not None and count.gap > CLEAR
    return [str(count.found), *((str(count.nullity), str(count.unexplained)) if clear else ("?", "?"))]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_found_is_what_the_page_says(name):
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"| {name} | "))
    said = [cell.strip() for cell in line.strip("|").split(" |")]
    cells = row_of(name)
    assert [cell or there for cell, there in zip(cells[:5], said, strict=False)] == said[:5]
    assert cells[5:] == said[5:]


if __name__ == "__main__":
    ROWS = (" | ".join(row_of(name, most=2_000)) for name in ARCHITECTURES)
    PAGE.write_text(HEAD + "\n".join(f"| {row} |" for row in ROWS) + "\n", encoding="utf-8")
