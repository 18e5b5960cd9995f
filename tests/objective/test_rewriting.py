"""Rewrites of evaluation-mode models change no digit they should not."""

import pytest
import torch
from conftest import lived_in, make_convnet, make_mlp
from torch import nn
from torch.nn import functional as F

from landscape.objective import rewrites
from landscape.objective.chain import chain_of
from landscape.objective.rewrites import rewritten
from landscape.problems.convnets import cnn6, vgg9
from landscape.problems.resnet import ResNet
from landscape.problems.transformer import Transformer


class PreActivation(nn.Module):
    """Normalisation before each convolution, a projection beside them, and a sum that nothing follows."""

    def __init__(self):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.project = nn.Conv2d(3, 6, 1)

    def forward(self, x):
        inner = self.conv2(F.relu(self.bn2(self.conv1(torch.relu(self.bn1(x))))))
        return (inner + self.project(x)).mean((2, 3))


class Reused(nn.Module):
    """One convolution used twice, with a normalisation of its own each time."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn1, self.bn2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.bn2(self.conv(F.relu(self.bn1(self.conv(x))))).flatten(1)


class KeepsItsInput(nn.Module):
    """What a ReLU reads is needed again after it: nothing may be overwritten."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        inner = self.first(x)
        return self.second(torch.relu(inner) - inner + F.relu(x))


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x, scale=None, *, shift=0.0):
        found = self.bn(self.conv(x))
        if scale is not None:
            found = found * scale
        return (found + shift).mean((2, 3))


IMAGES = (3, 32, 32)
MODELS = {
    "convnet": (make_convnet, (1, 4, 4), {"normalisations folded": 1, "activations fused": 1}),
    "cnn6": (lambda: cnn6(8), IMAGES, {"normalisations folded": 4, "activations fused": 4}),
    "vgg9": (lambda: vgg9(4), IMAGES, {"normalisations folded": 8, "activations fused": 8, "maxima by pairs": 3}),
    "resnet20": (
        lambda: ResNet(20, 4),
        IMAGES,
        {"normalisations folded": 19, "activations fused": 19, "sums fused": 9},
    ),
    "no-shortcuts": (
        lambda: ResNet(20, 4, skip=False),
        IMAGES,
        {"normalisations folded": 19, "activations fused": 19},
    ),
    "pre-activation": (
        PreActivation,
        (3, 8, 8),
        {"normalisations folded": 1, "activations fused": 1, "sums fused": 1, "activations in place": 1},
    ),
    "optional arguments": (Optional, (3, 8, 8), {"normalisations folded": 1}),
    "mlp": (make_mlp, (6,), {"activations in place": 2}),
    "3-d": (
        lambda: nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten()),
        (2, 5, 5, 5),
        {"normalisations folded": 1, "activations fused": 1},
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", MODELS)
def test_the_rewritten_model_is_the_same_function(name, dtype):
    make, shape, counts = MODELS[name]
    torch.manual_seed(0)
    model = lived_in(make(), dtype)
    x = torch.randn(5, *shape, dtype=dtype)
    made = rewritten(model, x)
    assert made.counts == counts
    wanted, got = model(x), made.call(x)
    # Sums of up to 1,000 products, each rounded, through 20 layers.
    tolerance = {torch.float64: 1e-13, torch.float32: 1e-5}[dtype]
    assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (2, 3)])
def test_maxima_by_pairs_are_those_of_pooling_bit_for_bit(size):
    x = torch.randn(3, 2, *size)
    x[0, 0, 0, 0] = torch.nan
    x[1, 0, 1, 1] = torch.inf
    for layout in (torch.contiguous_format, torch.channels_last):
        image = x.contiguous(memory_format=layout)
        assert torch.equal(
            rewrites.maximum_of_quads(image).nan_to_num(7.0), F.max_pool2d(image, 2).nan_to_num(7.0)
        )


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(3), nn.MaxPool2d(2, stride=1), nn.MaxPool2d(2, padding=1), nn.MaxPool2d(2, ceil_mode=True)],
)
def test_other_poolings_are_left_alone(pool):
    model = lived_in(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), pool))
    x = torch.randn(3, 1, 7, 7, dtype=torch.float64)
    made = rewritten(model, x)
    assert "maxima by pairs" not in made.counts
    assert torch.allclose(made.call(x), model(x), rtol=1e-14)


def test_weights_and_statistics_that_move_are_folded_anew():
    model = lived_in(make_convnet())
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    made = rewritten(model, x)
    before = made.call(x)
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean, model[1].running_var):
            tensor.add_(0.1)
    assert torch.equal(made.call(x)[:, :0], before[:, :0])
    assert not torch.allclose(made.call(x), model(x), rtol=1e-6)
    made.refresh()
    assert torch.allclose(made.call(x), model(x), rtol=1e-13, atol=0)


def test_a_fold_without_the_eps_would_be_seen(monkeypatch):
    model = lived_in(make_convnet())
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    right = rewritten(model, x).call(x)
    # torch 2.11 refuses 0.
    model[1].eps = 1e-12
    wrong = rewritten(model, x).call(x)
    assert (right - wrong).abs().max() > 1e-7


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Reused(), id="a convolution used twice"),
        pytest.param(
            nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)), id="no statistics"
        ),
        pytest.param(
            nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(3)), id="reflected"
        ),
        pytest.param(nn.Sequential(nn.Conv2d(3, 3, 3, padding="same"), nn.BatchNorm2d(3)), id="padding by name"),
    ],
)
def test_what_cannot_be_folded_is_left_alone(model):
    made = rewritten(lived_in(model), torch.randn(4, 3, 8, 8, dtype=torch.float64))
    assert made is None or "normalisations folded" not in made.counts


def test_a_layer_with_a_hook_is_left_alone():
    model = lived_in(make_convnet())
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    x = torch.randn(4, 1, 4, 4, dtype=torch.float64)
    made = rewritten(model, x)
    assert "normalisations folded" not in made.counts
    assert torch.equal(made.call(x), model(x))


def test_a_linear_map_over_three_axes_is_not_folded_with_a_normalisation_of_the_second():
    model = lived_in(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(5)))
    assert rewritten(model, torch.randn(3, 5, 4, dtype=torch.float64)) is None


def test_nothing_is_overwritten_that_is_read_again():
    model = KeepsItsInput().double().eval().requires_grad_(False)
    x = torch.randn(5, 6, dtype=torch.float64)
    kept = x.clone()
    made = rewritten(model, x)
    assert made is None or torch.equal(made.call(x), model(x))
    assert torch.equal(x, kept)


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_model_that_branches_on_values_runs_as_it_is():
    assert rewritten(Branches(), torch.ones(3, 2)) is None


def test_a_rewrite_that_differs_is_thrown_away(monkeypatch):
    model = lived_in(make_convnet())
    monkeypatch.setattr(rewrites.Fused, "refresh", lambda self: None)
    assert rewritten(model, torch.randn(4, 1, 4, 4, dtype=torch.float64)) is None


def test_chains_are_recognised():
    assert len(chain_of(make_mlp(), torch.randn(2, 6)).steps) == 5
    flat = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 4), nn.GELU(), nn.Linear(4, 2)).eval()
    assert chain_of(flat, torch.randn(2, 3, 4)).flatten


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (make_convnet(), torch.randn(2, 1, 4, 4)),
        (Transformer(1, 16, 2, 8), torch.zeros(2, 8, dtype=torch.long)),
        (KeepsItsInput(), torch.randn(2, 6)),
        (nn.Sequential(nn.ReLU(), nn.Linear(6, 2)), torch.randn(2, 6)),
        (nn.Sequential(nn.Linear(6, 6), nn.Softmax(1)), torch.randn(2, 6)),
    ],
)
def test_other_models_are_no_chains(model, x):
    assert chain_of(model.eval(), x) is None
