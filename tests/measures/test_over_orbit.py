"""Measures over the orbit: the same from everywhere on it, where the measure itself is not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape import LandscapeError
from landscape.measures import measure
from landscape.objective import Objective
from landscape.symmetry import find


class Attention(nn.Module):
    """One head of attention and a ReLU layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(F.relu(self.first(x + self.attention(x, x, x)[0]))).mean(1)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Attention().double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        x, y = torch.randn(8, 3, 4, dtype=torch.float64), torch.arange(8) % 3
    return Objective(model, loss=F.cross_entropy, train=(x, y)), find(model, x)


@pytest.mark.parametrize("over", ["orbit-minimum", "orbit-range"])
def test_a_measure_over_the_orbit_is_the_same_from_everywhere(network, over):
    objective, symmetries = network
    names = {"hessian_trace": {"over": over, "elements": 3}}
    plain = {name: {} for name in names}
    here = measure(objective, objective.model, names)
    controls = measure(objective, objective.model, plain)
    moved = symmetries.random(objective.model, seed=1)
    there, moves = measure(objective, moved, names), measure(objective, moved, plain)
    found = here["hessian_trace"]
    assert there["hessian_trace"].value == pytest.approx(found.value, rel=1e-7)
    # The control: the measure itself is not.
    assert moves["hessian_trace"].value != pytest.approx(controls["hessian_trace"].value, rel=1e-2)
    assert found.details["invariance"]["passed"]
    values = found.details["values"]
    assert {"representative", "flattest", "random 0", "random 2"} <= values.keys()
    least, greatest = min(values.values()), max(values.values())
    assert found.value == (least if over == "orbit-minimum" else greatest - least)
    assert found.bound == ("upper" if over == "orbit-minimum" else "lower")
    assert least < controls["hessian_trace"].value


def test_settings_over_the_orbit_are_checked(network):
    objective, _ = network
    with pytest.raises(LandscapeError, match=r"hessian_trace\.over"):
        measure(objective, objective.model, {"hessian_trace": {"over": "everywhere"}})
    plain = measure(objective, objective.model, {"fisher_rao_norm": {"over": "weights"}})["fisher_rao_norm"]
    assert "over" not in plain.settings
    assert plain.bound == ""
