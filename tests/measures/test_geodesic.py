"""Geodesic sharpness: the same along orbits, closed forms on the hyperbola, and the ball's highest point."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.measures import measure
from landscape.measures.geodesic import highest
from landscape.objective import Objective
from landscape.symmetry import symmetries_of


class Head(nn.Module):
    """One head of attention over five tokens, and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(4, 4) for _ in range(4))
        self.read = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        shares = (self.query(x) @ self.key(x).transpose(-2, -1) / 2).softmax(-1)
        mixed: Tensor = self.read(torch.tanh(self.out(shares @ self.value(x))).mean(1))
        return mixed


@pytest.fixture(scope="module")
def head() -> Objective:
    torch.manual_seed(0)
    x, y = torch.randn(12, 5, 4, dtype=torch.float64), torch.randint(0, 2, (12,))
    return Objective(Head().double(), loss=F.cross_entropy, train=(x, y), batch_size=12)


def test_it_is_the_same_along_the_orbit_and_euclidean_curvature_is_not(head):
    names = ["geodesic_sharpness", "hessian_top"]
    settings = {"geodesic_sharpness": {"products": 60}}
    symmetries = symmetries_of(head)
    places = [head.model, *(symmetries.random(head.model, seed) for seed in range(3))]
    found = [measure(head, place, names, settings=settings, dtype=torch.float64) for place in places]
    geodesic, euclidean = (torch.tensor([one[name].value for one in found]) for name in names)
    assert float((geodesic / geodesic[0] - 1).abs().max()) < 1e-6
    off = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in head.model.state_dict().items()}
    other = measure(head, off, names[:1], settings=settings, dtype=torch.float64)[names[0]]
    assert abs(other.value / float(geodesic[0]) - 1) > 0.01, "it is no constant"
    assert float((euclidean / euclidean[0] - 1).abs().max()) > 0.01


def test_the_highest_point_of_a_ball_is_that_of_a_fine_grid():
    matrix, gradient = torch.tensor([[2.0, 0.3], [0.3, -1.0]]).double(), torch.tensor([0.2, 0.7]).double()
    angles = torch.linspace(0, 2 * torch.pi, 20_001, dtype=torch.float64)
    circle = 0.4 * torch.stack([angles.cos(), angles.sin()])
    rises = gradient @ circle + (circle * (matrix @ circle)).sum(0) / 2
    point = highest(matrix, gradient, 0.4)
    assert float(gradient @ point + point @ matrix @ point / 2) == pytest.approx(float(rises.max()), abs=1e-7)
    assert float(point.norm()) == pytest.approx(0.4)
