"""Built-in models: parameter counts, shapes, initial weights, second derivatives."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from landscape import params
from landscape.errors import LandscapeError
from landscape.problems.activations import activation
from landscape.problems.catalogue import ACTIVATIONS
from landscape.problems.convnets import cnn6, digits_cnn, vgg9
from landscape.problems.initial import construct, initialise
from landscape.problems.mlp import mlp
from landscape.problems.pyramidnet import PyramidNet
from landscape.problems.resnet import ResNet, Shortcut
from landscape.problems.transformer import Transformer

BYTES = torch.arange(24).reshape(2, 12) * 7 % 256
CASES = {
    "mlp": (lambda: mlp(64, 64, 2, 10), 64 * 64 + 64 + 64 * 64 + 64 + 650, (3, 64)),
    "mlp, no bias, linear": (lambda: mlp(64, 8, 0, 10, bias=False), 640, (3, 64)),
    "digits-cnn": (digits_cnn, 14_538, (3, 1, 8, 8)),
    # Liao & Poggio 2017 report this count.
    "cnn6": (cnn6, 188_810, (3, 3, 32, 32)),
    "vgg9": (vgg9, 2_789_706, (2, 3, 32, 32)),
    # 270k in He et al. 2016, table 6; with and without shortcuts alike.
    "resnet20": (ResNet, 269_722, (2, 3, 32, 32)),
    "resnet20-noskip": (lambda: ResNet(skip=False), 269_722, (2, 3, 32, 32)),
    "resnet56": (lambda: ResNet(56), 853_018, (2, 3, 32, 32)),
    # 1.7M in Han et al. 2017, table 4.
    "pyramidnet": (PyramidNet, 1_772_706, (2, 3, 32, 32)),
}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("case", CASES)
def test_parameter_count_and_output_shape(case):
    make, parameters, shape = CASES[case]
    model = construct(make, seed=0).eval()
    assert count(model) == parameters
    assert params.layout_of(model).parameter_count == parameters
    assert model(torch.zeros(shape)).shape == (shape[0], 10)


@pytest.mark.parametrize(("depth", "layers"), [(20, 20), (32, 32), (56, 56), (110, 110)])
def test_resnet_depth_counts_weight_layers(depth, layers):
    model = construct(lambda: ResNet(depth, width=2), seed=0)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers


@pytest.mark.parametrize(("depth", "alpha", "parameters"), [(164, 270, 27_216_021), (272, 200, 26_210_842)])
def test_pyramidnet_with_bottlenecks(depth, alpha, parameters):
    # 27.0M and 26.0M in Han et al. 2017, table 4.
    with torch.device("meta"):
        model = PyramidNet(depth, alpha, bottleneck=True)
    assert count(model) == parameters
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_cnn6_normalisation_has_nothing_to_learn():
    norms = [m for m in cnn6().modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == 4
    assert all(norm.weight is None and norm.bias is None for norm in norms)


def test_shortcut_keeps_pixels_and_pads_with_zeros():
    x = torch.arange(2.0 * 16).reshape(1, 2, 4, 4)
    y = Shortcut(2, 4, 2)(x)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert not y[:, 0].any()
    assert not y[:, 3].any()


def test_skips_change_the_function_and_not_the_weights():
    plain, skip = (construct(lambda s=s: ResNet(width=4, skip=s), seed=0).eval() for s in (False, True))
    x = torch.ones(1, 3, 32, 32)
    assert params.digest(params.resolve(plain)[1]) == params.digest(params.resolve(skip)[1])
    assert not torch.allclose(plain(x), skip(x))


@pytest.mark.parametrize("tied", [True, False])
def test_transformer_ties_its_output_to_the_embedding(tied):
    model = construct(lambda: Transformer(width=32, tied=tied), seed=0)
    assert (model.head.weight is model.token.weight) == tied
    assert count(model) == 256 * 32 * (1 if tied else 2) + 64 * 32 + 2 * (12 * 32 * 32 + 13 * 32) + 2 * 32
    assert params.layout_of(model)["head.weight"].tied_to == ("token.weight" if tied else None)
    assert model(BYTES).shape == (2, 256, 12)


def test_transformer_sees_no_byte_that_follows():
    model = construct(lambda: Transformer(width=16), seed=0).eval()
    changed = BYTES.clone()
    changed[:, 6] += 1
    before, after = model(BYTES), model(changed)
    assert torch.equal(before[..., :6], after[..., :6])
    assert not torch.allclose(before[..., 6:], after[..., 6:])


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: Transformer(layers=1, width=8, heads=2), BYTES),
        (lambda: ResNet(width=2, nonlinearity="gelu"), torch.ones(2, 3, 32, 32)),
        (lambda: vgg9(width=2), torch.ones(2, 3, 32, 32)),
        (lambda: cnn6(width=2), torch.ones(2, 3, 32, 32)),
    ],
)
def test_models_can_be_differentiated_twice(make, x):
    model = construct(make, seed=0).double().eval()
    x = x.double() if x.is_floating_point() else x
    weights = list(model.parameters())
    gradient = torch.autograd.grad(model(x).logsumexp(1).mean(), weights, create_graph=True)
    squared = sum((g * g).sum() for g in gradient)
    second = torch.autograd.grad(squared, weights, allow_unused=True)
    assert any(g is not None and g.abs().sum() > 0 for g in second)
    assert all(g is None or g.isfinite().all() for g in second)


@pytest.mark.parametrize("make", [lambda: mlp(4, 3, 1, 2), lambda: cnn6(2), lambda: Transformer(width=8)])
def test_initial_weights_are_those_of_the_seed_and_leave_the_global_state(make):
    before = torch.get_rng_state()
    first = params.digest(params.resolve(construct(make, seed=3))[1])
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    try:
        assert params.digest(params.resolve(construct(make, seed=3))[1]) == first
        assert params.digest(params.resolve(construct(make, seed=4))[1]) != first
    finally:
        torch.set_rng_state(before)


def test_initialise_resets_everything_a_training_step_moves():
    model = construct(lambda: cnn6(2), seed=1)
    fresh = params.digest(params.resolve(model)[1])
    model(torch.ones(4, 3, 32, 32))
    assert params.digest(params.resolve(model)[1]) != fresh
    assert params.digest(params.resolve(initialise(model, seed=1))[1]) == fresh


def deviation(tensor: torch.Tensor) -> float:
    return tensor.detach().std().item()


def test_initial_scales():
    model = construct(lambda: Transformer(width=128), seed=0)
    assert deviation(model.token.weight) == pytest.approx(0.02, rel=0.02)
    assert deviation(model.layers[0].up.weight) == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    assert not model.layers[0].up.bias.any()
    assert deviation(construct(cnn6, seed=0)[3].weight) == pytest.approx((2 / 288) ** 0.5, rel=0.02)
    assert deviation(cnn6()[3].weight) != pytest.approx((2 / 288) ** 0.5, rel=0.02), "what torch draws differs"


def test_initialise_refuses_layers_it_has_no_rule_for():
    message = (
        "0: no rule to draw the parameters weight; got PReLU; "
        "expected linear, convolutional, embedding and normalisation layers"
    )
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        initialise(nn.Sequential(nn.PReLU()), seed=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_leave_their_input(name):
    x = torch.linspace(-2, 2, 9)
    activation(name)(x)
    assert torch.equal(x, torch.linspace(-2, 2, 9))


def test_unknown_activation():
    with pytest.raises(LandscapeError, match=r"^there is no activation 'rulu'; did you mean 'relu'\?$"):
        activation("rulu")
