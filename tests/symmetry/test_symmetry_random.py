"""Invented symmetries are worse than missed ones: architectures put together at random, and traps."""

import dataclasses

import pytest
import torch
from symmetry_models import WIDTH, RandomNet, shake
from torch import nn
from torch.nn import functional as F

from landscape import LandscapeError, symmetry
from landscape.symmetry import Element
from landscape.symmetry.axes import multiplied, reordered


def random_net(seed: int):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return shake(RandomNet(seed).double(), seed), torch.randn(5, WIDTH, dtype=torch.float64)


# In 198 heads of attention are exchanged whose outputs an index puts into another order each.
@pytest.mark.parametrize("seed", [*range(20), 198])
def test_no_symmetry_of_a_random_architecture_is_invented(seed):
    net, x = random_net(seed)
    symmetries = symmetry.find(net, x)
    # Nothing had to be thrown away by the trial: what the walk says is right by itself.
    assert symmetries.notes == ()
    weights = symmetries.complete(shake(net, seed + 100))
    for generator in symmetries.generators:
        element = Element(((generator, generator.draw(torch.Generator().manual_seed(seed), 0.5)),))
        check = symmetries.runner.compare(weights, element.apply(weights))
        assert check.passed, (generator.name, check)
        assert check.relative < 1e-11


def test_the_random_architectures_have_symmetries_of_most_kinds_and_spoilt_ones_show():
    kinds: dict[str, int] = {}
    caught = tried = 0
    for seed in range(12):
        net, x = random_net(seed)
        symmetries = symmetry.find(net, x)
        weights = symmetries.complete(net)
        for generator in symmetries.generators:
            kinds[generator.kind] = kinds.get(generator.kind, 0) + 1
            if generator.kind != "rescale":
                continue
            without = weights | {generator.incoming[0]: torch.zeros_like(weights[generator.incoming[0]])}
            if not symmetries.runner.compare(weights, without).passed:
                tried += 1
                wrong = dataclasses.replace(generator, slices=generator.slices[:1])
                element = Element(((wrong, torch.full((generator.units,), 1.1, dtype=torch.float64)),))
                caught += not symmetries.runner.compare(weights, element.apply(weights)).passed
    assert {"rescale", "sign", "permutation", "basis"} <= set(kinds)
    # Layers that the output does not depend on were left out.
    assert caught == tried > 0


class Trap(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self.first(x), self))


TRAPS = {
    "a constant is added": (lambda h, net: F.relu(h + 0.5), {"rescale": [], "permutation": [6]}),
    "a vector is multiplied": (
        lambda h, net: F.relu(h * torch.arange(1.0, 7.0)),
        {"rescale": [6], "permutation": []},
    ),
    "a vector is added": (lambda h, net: F.relu(h) + torch.arange(1.0, 7.0), {"rescale": [], "permutation": []}),
    "halves are swapped": (lambda h, net: F.relu(h).roll(3, -1) + F.relu(h), {"rescale": [3], "permutation": [3]}),
    # One more is not used at all, and may have any scale.
    "one unit is used twice": (
        lambda h, net: torch.cat([F.relu(h[:, :1]), F.relu(h[:, :1]), F.relu(h[:, 2:])], 1),
        {"rescale": [6], "permutation": [4]},
    ),
    # One factor for all units, which comes out squared.
    "the weight is used outside": (
        lambda h, net: F.relu(h) * net.first.weight.norm(),
        {"rescale": [1]},
    ),
    "the weight is used outside, and its size counts": (
        lambda h, net: F.relu(h) * (1 + net.first.weight.norm()),
        {"rescale": []},
    ),
    "the number decides": (lambda h, net: F.relu(h) if h.sum() > 0 else h, {"rescale": []}),
    "a maximum over units": (lambda h, net: F.relu(h) - h.amax(1, keepdim=True), {"rescale": [1], "basis": []}),
    "sorted": (lambda h, net: F.relu(h).sort(1).values, {"rescale": [], "permutation": []}),
    "cubed": (lambda h, net: h**3, {"rescale": [6], "sign": [6], "permutation": [6]}),
    "squared": (lambda h, net: h.square(), {"permutation": [6]}),
    "nothing": (lambda h, net: h, {"rescale": [6], "sign": [6], "permutation": [6], "basis": [6]}),
    "dropout": (lambda h, net: F.relu(F.dropout(h, training=net.training)), {"rescale": [6]}),
    "in place": (lambda h, net: F.relu_(h.add_(h)), {"rescale": [6]}),
}


@pytest.mark.parametrize("name", TRAPS)
def test_traps(name):
    between, expected = TRAPS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model, x = Trap(between), torch.randn(5, 4)
    symmetries = symmetry.find(model, x)
    assert symmetries.notes == ()
    for kind, units in expected.items():
        assert [generator.units for generator in symmetries.of_kind(kind)] == units, kind


def test_a_shared_layer_has_the_constraints_of_both_uses():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.first, self.last = nn.Linear(4, 4), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(F.relu(self.inner(F.relu(self.inner(F.relu(self.first(x)))))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = Shared(), torch.randn(5, 3)
    symmetries = symmetry.find(model, x)
    assert symmetries.notes == ()
    # Three hidden layers, and the bias of the shared one ties their scales and their orders.
    assert [generator.units for generator in symmetries.of_kind("rescale")] == [4]
    assert [generator.units for generator in symmetries.of_kind("permutation")] == [4]


def test_a_model_that_writes_into_a_part_is_followed():
    class Writer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            made = self.layer(x)
            made[:, 0] = made[:, 1] * 2
            return self.last(F.relu(made))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        symmetries = symmetry.find(Writer(), torch.randn(2, 3))
    # Unit 0 is overwritten by twice unit 1, whose scale it takes: of four scales three are left.
    assert symmetries.notes == ()
    (scales,) = symmetries.of_kind("rescale")
    assert (scales.units, symmetries.blocked) == (4, ())
    moved = symmetries.random(symmetries.runner.model, seed=0, kinds=["rescale"])
    ratio = moved["last.weight"] / dict(symmetries.runner.model.named_parameters())["last.weight"].detach()
    assert torch.allclose(ratio[:, 0], ratio[:, 1])
    assert not torch.allclose(ratio[:, 0], ratio[:, 2])


def test_a_model_that_does_not_run_is_refused():
    with pytest.raises(LandscapeError, match="Linear: the model cannot be run on the example input; got"):
        symmetry.find(nn.Linear(3, 2), torch.ones(2, 5))


def test_searches_and_checks_leave_weights_of_double_precision_alone():
    """Weights are rounded, scaled and reordered in place: in copies of the model's only."""
    net, x = random_net(0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    symmetries = symmetry.find(net, x)
    weights = symmetries.complete(net)
    assert symmetries.runner.compare(weights, symmetries.random(net, seed=0)).passed
    for held in (net.state_dict(), weights):
        assert all(torch.equal(held[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_what_is_changed_in_pieces_is_what_is_changed_at_once(dim, monkeypatch):
    tensor = torch.randn(6, 5, 4, dtype=torch.float64)
    order, factors = torch.randperm(tensor.shape[dim]), torch.rand(tensor.shape[dim], dtype=torch.float64)
    monkeypatch.setattr("landscape.symmetry.axes._PIECE", 7)
    moved, scaled = tensor.clone(), tensor.clone()
    assert reordered(moved, dim, order, owned=True) is moved
    assert torch.equal(moved, tensor.index_select(dim, order))
    assert multiplied(scaled, dim, factors, owned=True) is scaled
    assert torch.equal(scaled, multiplied(tensor, dim, factors))
