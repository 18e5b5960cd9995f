"""Turns, shifts, means and rotations: closed forms, the Jacobian's nullity, and a way back from anywhere."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from architectures import ARCHITECTURES
from reference import made
from symmetry_models import MODELS, build
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import moved_copies
from landscape import LandscapeError, symmetry
from landscape.params import cast
from landscape.symmetry import Element, Rotation, Shift
from landscape.symmetry.representative import representative_element

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

# Small enough for minutes, of every kind there is.
ORBITS = (
    *("digits-mlp", "mlp-tanh", "digits-cnn", "cifar10-cnn6", "cifar10-resnet20", "text-transformer"),
    *("untied-transformer", "torchvision-vit", "gpt2", "llama", "tied", "multi-head"),
)
# Of `architectures.py`, those whose every flat direction is a symmetry that was found.
EXPLAINED = (
    *("identity_chain", "conv_depthwise", "max_pools", "layer_norm", "layer_norm_wide", "embedding_bag_sum"),
    *("rnn", "gru", "lstm", "lstm_projected", "attention", "attention_crossed"),
    *("scaled_dot_product", "prelu", "prelu_channels", "in_place", "linear", "conv2d", "conv_grouped"),
    "llama",
)


def double(name: str):
    """A model and its symmetries in float64, and its weights."""
    model, x = build(name)
    x = x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
    symmetries = symmetry.find(model.double(), x)
    return symmetries, symmetries.complete(model)


def apart(a, b) -> float:
    """The distance of two sets of weights, relative to the norm of the first."""
    kept = [name for name in a if a[name].is_floating_point()]
    gap = sum(float((a[name].double() - b[name].double()).square().sum()) for name in kept)
    return (gap / sum(float(a[name].double().square().sum()) for name in kept)) ** 0.5


def largest(a, b) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a if a[name].is_floating_point())


@pytest.mark.parametrize("name", ORBITS)
def test_a_copy_moved_by_all_symmetries_comes_back(name):
    model, x = build(name)
    symmetries = symmetry.find(model, x)
    state = symmetries.complete(model)
    moved = symmetries.random(model, seed=3)
    assert apart(state, moved) > 0.3
    assert apart(state, symmetries.align(model, moved)) <= 1e-5


# Norms of queries, streams that flip with the filters that write them, recurrent layers, depthwise convolutions.
@pytest.mark.parametrize("name", ["Qwen 3", "MobileNet 2", "LSTM", "ConvNeXt"])
def test_nothing_lies_between_a_copy_that_came_back_and_the_original(name):
    model, x = moved_copies.made(name)
    found = moved_copies.returned(model, x, symmetry.find(model, x[:4]), seed=1)
    assert found.is_back
    # The control: before it was aligned.
    assert found.before > 1
    assert found.moved_barrier > 1e4 * found.error


@pytest.mark.parametrize("name", ORBITS)
def test_the_representative_is_the_same_from_everywhere_on_the_orbit(name):
    symmetries, state = double(name)
    first = symmetries.canonical(state)
    for seed in (5, 6):
        assert largest(first, symmetries.canonical(symmetries.random(state, seed=seed))) <= 1e-10
    assert largest(first, symmetries.canonical(first)) <= 1e-10
    # The control: what settles only scales and signs does not.
    if symmetries.of_kind("basis"):
        plain = [one for one in symmetries.generators if one.kind not in ("basis", "rotation", "turn")]
        ends = [
            representative_element(plain, one).apply(one)
            for one in (state, symmetries.random(state, seed=5, kinds=["basis"]))
        ]
        assert largest(*ends) > 1e-2


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_flat_direction_is_a_symmetry_that_was_found(name):
    model, inputs, _ = made(ARCHITECTURES[name])
    symmetries = symmetry.find(model, inputs)
    # Weights that are 0 or alike, as fresh ones may be, have symmetries of their own.
    source = torch.Generator().manual_seed(0)
    state = {
        key: cast(tensor, torch.float64) + 0.1 * torch.randn(tensor.shape, generator=source)
        for key, tensor in symmetries.complete(model).items()
    }
    found = symmetries.dimension(state)
    assert found.unexplained == 0
    assert found.found <= found.nullity
    assert found.gap > 1e3
    # The control: without its largest family something is left.
    continuous = [one for one in symmetries.generators if one.dimension]
    if continuous:
        widest = max(continuous, key=lambda one: one.dimension)
        rest = tuple(one for one in symmetries.generators if one is not widest and one.kind not in ("rescale",))
        assert dataclasses.replace(symmetries, generators=rest).dimension(state).unexplained > 0


def test_dimensions_of_an_attention_layer_add_up():
    # Two heads of width 2 with biases: two bases of 4 each, key biases, values' biases, and the maps to the
    # stream.
    model, inputs, _ = made(ARCHITECTURES["scaled_dot_product"])
    symmetries = symmetry.find(model, inputs)
    (shift,) = symmetries.of_kind("shift")
    assert {one.units for one in symmetries.of_kind("basis")} == {4}
    # One head of width 4: 16 of queries and keys, 16 of values, 4 of key biases, 4 of value biases.
    assert symmetries.dimension(model).found == 16 + 16 + 4 + 4
    assert shift.units == 8


@pytest.mark.parametrize(("draws", "beyond"), [(32, 0), (1, 1)])
def test_flat_directions_are_those_of_many_inputs(draws, beyond, monkeypatch):
    """Of one example with 400 outputs three draws suffice for 804 rows; they leave one of four inputs unseen."""
    monkeypatch.setattr("landscape.symmetry.dimension._LEAST_DRAWS", draws)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 400))
    assert symmetry.find(model, torch.randn(1, 3)).dimension(model).unexplained == beyond


class Attention(nn.Module):
    """One head with biases, with or without rotary positions, whose angles may be a matrix product."""

    def __init__(self, rotary: bool, product: bool) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(4, 4) for _ in range(4))
        self.register_buffer("rates", torch.tensor([1.0, 0.3]), persistent=False)
        self.rotary, self.product = rotary, product

    def turned(self, x):
        if not self.rotary:
            return x
        positions = torch.arange(x.shape[1])[:, None]
        rates = self.rates[None].float()
        angles = positions.float() @ rates if self.product else positions * rates
        cos, sin = torch.cat([angles, angles], 1).cos(), torch.cat([angles, angles], 1).sin()
        half = torch.cat([-x[..., 2:], x[..., :2]], -1)
        return x * cos + half * sin

    def forward(self, x):
        return self.o(F.scaled_dot_product_attention(self.turned(self.q(x)), self.turned(self.k(x)), self.v(x)))


def attention(rotary: bool, product: bool = False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = Attention(rotary, product).double(), torch.randn(3, 5, 4, dtype=torch.float64)
    return model, symmetry.find(model, x)


@pytest.mark.parametrize("product", [False, True], ids=["", "by a matrix product"])
def test_rotary_positions_leave_a_complex_factor_for_each_pair(product):
    model, symmetries = attention(True, product)
    (turn,), (scale,) = symmetries.of_kind("turn"), symmetries.of_kind("query-key")
    assert (turn.units, scale.units) == (2, 2)
    # The first position is 0, and so are all products with it; the others tie the two elements of a pair.
    signs = {one.tensors: one.units for one in symmetries.of_kind("sign")}
    assert signs["q.weight", "q.bias", "k.weight", "k.bias"] == 2
    assert symmetries.dimension(model).unexplained == 0
    assert not any("q.weight" in one.tensors for one in symmetries.of_kind("basis"))
    angles = torch.tensor([0.7, -2.0], dtype=torch.float64)
    moved = symmetries.apply(model, Element(((turn, angles),)))
    pair = model.q.weight[0] + 1j * model.q.weight[2]
    turned = moved["q.weight"][0] + 1j * moved["q.weight"][2]
    assert torch.allclose(turned, pair * torch.exp(torch.tensor(0.7j, dtype=torch.complex128)), rtol=1e-12)
    # The control: pairs of coordinates that turn at different rates.
    columns = tuple(dataclasses.replace(one, places=torch.tensor([[0, 1], [2, 3]])) for one in turn.columns)
    wrong = Element(((dataclasses.replace(turn, columns=columns), angles),))
    assert not symmetries.check(model, wrong.apply(model)).passed


@pytest.mark.parametrize("kernels", [[SDPBackend.MATH], [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]])
def test_a_key_bias_is_free_without_rotary_positions_and_not_with_them(kernels):
    for rotary in (False, True):
        with sdpa_kernel(kernels):
            model, symmetries = attention(rotary)
        shifts = {one.name for one in symmetries.of_kind("shift")}
        assert ("shift:k.bias" in shifts) is not rotary
        assert "shift:v.bias" in shifts
        state = symmetries.complete(model)
        moved = state | {"k.bias": state["k.bias"] + 1.0}
        assert symmetries.check(state, moved).passed is not rotary
    (value,) = (one for one in symmetries.of_kind("shift") if one.name == "shift:v.bias")
    assert isinstance(value, Shift)
    c = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    moved = Element(((value, c),)).apply(model)
    assert torch.allclose(moved["o.bias"], model.o.bias - model.o.weight @ c, rtol=1e-12)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_stream_turns_through_normalisation_with_its_gains(norm):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm, self.last = nn.Embedding(9, 6), norm(6), norm(6)
            self.up, self.down, self.head = nn.Linear(6, 7), nn.Linear(7, 6), nn.Linear(6, 3)

        def forward(self, tokens):
            stream = self.embed(tokens)
            stream = stream + self.down(F.gelu(self.up(self.norm(stream))))
            return self.head(self.last(stream))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, tokens = Block().double(), torch.randint(0, 9, (4, 5))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    symmetries = symmetry.find(model, tokens)
    (rotation,) = symmetries.of_kind("rotation")
    assert isinstance(rotation, Rotation)
    mean = norm is nn.LayerNorm
    assert (rotation.keeps_mean, rotation.dimension) == (mean, 10 if mean else 15)
    value = rotation.draw(torch.Generator().manual_seed(0), 0.5)
    moved = symmetries.apply(model, Element(((rotation, value),)))
    assert torch.allclose(moved["embed.weight"], model.embed.weight @ value.T, rtol=1e-11)
    gain = model.norm.weight
    assert torch.equal(moved["norm.weight"], gain)
    read = model.up.weight * gain @ value.T / gain
    assert torch.allclose(moved["up.weight"], read, rtol=1e-9)
    # The control: a rotation that moves the vector of ones, or no rotation at all.
    other = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    assert symmetries.check(model, Element(((rotation, other),)).apply(model)).passed is not mean
    for wrong in (other, 2 * value) if mean else (2 * value,):
        with pytest.raises(LandscapeError, match="is no rotation of this stream"):
            rotation.require(wrong)
    spoilt = dict(moved) | {"up.weight": model.up.weight @ value.T}
    assert not symmetries.check(model, spoilt).passed


def test_no_stream_turns_where_table_and_head_are_one():
    for name in ("gpt2", "text-transformer"):
        assert not symmetry.find(*build(name)).of_kind("rotation"), name
    assert set(ORBITS) <= set(MODELS)


def test_a_gain_of_zero_lets_no_rotation_through():
    symmetries, state = double("torchvision-vit")
    (rotation,) = symmetries.of_kind("rotation")
    gain = next(name for one in rotation.columns for name, _, _ in one.gains)
    dead = state | {gain: state[gain].clone().index_fill_(0, torch.tensor([2]), 0.0)}
    with pytest.raises(LandscapeError, match="a gain next to 0 cannot be divided by"):
        symmetries.random(dead, seed=0, kinds=["rotation"])


@pytest.mark.parametrize("name", ["digits-cnn", "text-transformer"])
def test_activations_bring_a_moved_copy_back(name):
    model, x = build(name)
    symmetries = symmetry.find(model, x)
    own = symmetries.complete(model)
    moved = symmetries.random(model, seed=3)
    back = symmetries.align(model, moved, data=x)
    assert distance(own, back) < 1e-5
    # The control: activations that say nothing, those of one token or constant picture, leave units unmatched.
    blind = symmetries.align(model, moved, data=torch.zeros_like(x[:1, :1]))
    assert distance(own, blind) > 0.05


def distance(a, b):
    real = [name for name, tensor in a.items() if tensor.is_floating_point()]
    apart = sum(float((a[name] - b[name]).double().square().sum()) for name in real)
    return (apart / sum(float(a[name].double().square().sum()) for name in real)) ** 0.5
