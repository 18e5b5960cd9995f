"""The flattest point over rescalings and bases: closed form, brute force, the same value from everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape import LandscapeError, symmetry
from landscape.curvature import gauss_newton_diagonal
from landscape.objective import Objective
from landscape.symmetry import Element
from landscape.symmetry.elements import SCALINGS
from landscape.symmetry.flattest_basis import balanced

D, H = 6, 3
BOTH = (*SCALINGS, "basis")


class Head(nn.Module):
    """One head of attention with biases, class scores from the mean of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(D, H), nn.Linear(D, H), nn.Linear(D, H), nn.Linear(H, D)

    def forward(self, x):
        return self.o(F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))).mean(1)


@pytest.fixture(scope="module")
def head():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Head().double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        x, y = torch.randn(12, 5, D, dtype=torch.float64), torch.randint(0, D, (12,))
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    return objective, symmetry.find(model, x)


def trace(objective, weights) -> float:
    diagonal = gauss_newton_diagonal(objective, weights, exact=True, dtype=torch.float64)
    return sum(float(part.sum()) for part in diagonal.values())


def test_balanced_sides_are_the_geometric_mean():
    source = torch.Generator().manual_seed(0)
    made, read = (torch.randn(4, 9, generator=source, dtype=torch.float64) for _ in range(2))
    x, y = balanced(made, read)
    assert torch.allclose(x @ y.T, torch.eye(4, dtype=torch.float64), atol=1e-13)
    both = (x @ made @ made.T @ x.T, y @ read @ read.T @ y.T)
    assert torch.allclose(*both, rtol=1e-11, atol=1e-12)
    mean = y.T @ y
    assert torch.allclose(mean @ read @ read.T @ mean, made @ made.T, rtol=1e-11)


def test_the_trace_at_the_point_is_the_value_and_the_certificate_vanishes(head):
    objective, symmetries = head
    found = symmetries.flattening(objective, objective.model, kinds=BOTH)
    start = symmetries.complete(objective.model)
    assert found.trace == pytest.approx(trace(objective, start), rel=1e-12)
    there = symmetries.apply(start, found.element)
    assert trace(objective, there) == pytest.approx(found.value, rel=1e-11)
    assert symmetries.check(start, there).relative < 1e-12
    assert found.gradient <= 1e-9
    assert found.unattained == ()
    assert found.value < found.trace
    # Idempotent.
    again = symmetries.flattening(objective, there, kinds=BOTH)
    assert again.value == pytest.approx(found.value, rel=1e-11)


def test_the_minimum_is_the_same_from_every_basis_and_scales_alone_miss_it(head):
    objective, symmetries = head
    found = symmetries.flattening(objective, objective.model, kinds=BOTH)
    for seed in range(3):
        moved = symmetries.random(objective.model, seed=seed, kinds=["basis", "query-key", "rescale", "sign"])
        assert symmetries.flattening(objective, moved, kinds=BOTH).value == pytest.approx(found.value, rel=1e-10)
    # The controls: the trace itself moves, and rescaling of coordinates stays above.
    assert trace(objective, moved) != pytest.approx(found.trace, rel=1e-2)
    scales = symmetries.flattening(objective, objective.model, kinds=SCALINGS).value
    assert found.value * (1 + 1e-3) < scales < found.trace
    assert symmetries.flattening(objective, moved, kinds=SCALINGS).value != pytest.approx(scales, rel=1e-3)


def test_no_basis_near_the_point_is_flatter(head):
    objective, symmetries = head
    found = symmetries.flattening(objective, objective.model, kinds=BOTH)
    there = symmetries.apply(symmetries.complete(objective.model), found.element)
    source = torch.Generator().manual_seed(0)
    for one in symmetries.of_kind("basis"):
        for size in (1e-1, 1e-2):
            near = torch.eye(one.units, dtype=torch.float64)
            near = near + size * torch.randn(one.units, one.units, generator=source, dtype=torch.float64)
            assert trace(objective, Element(((one, near),)).apply(there)) > found.value * (1 + 1e-12)


def test_a_model_without_either_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    objective = Objective(model, loss=F.cross_entropy, train=(x, torch.arange(5) % 2))
    with pytest.raises(LandscapeError, match="no rescaling symmetry, and no free basis"):
        symmetry.find(model, x).flattening(objective, model)
