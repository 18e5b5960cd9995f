"""What is found in models of many kinds keeps their functions, and says what is blocked."""

import dataclasses

import pytest
import torch
from conftest import Untouched
from symmetry_models import LARGE, MODELS, build
from torch import nn

from landscape import LandscapeError, symmetry
from landscape.symmetry import KINDS, Element, Mean, Scaling
from landscape.symmetry.same_function import Runner

SMALL = [name for name in MODELS if name not in LARGE]
FOUND: dict[str, tuple] = {}


def found(name: str):
    """A model, its example input and its symmetries, found once for all tests."""
    if name not in FOUND:
        model, x = build(name)
        FOUND[name] = (model, x, symmetry.find(model, x))
    return FOUND[name]


def units(symmetries, kind: str) -> list[int]:
    return [generator.units for generator in symmetries.of_kind(kind)]


def gap(symmetries, a, b) -> float:
    """The greatest difference of two dictionaries, relative to the greatest element of each tensor."""
    return max(
        float((a[name].double() - b[name].double()).abs().max() / a[name].double().abs().max().clamp(min=1e-30))
        for name in a
        if a[name].is_floating_point() and a[name].numel()
    )


def precise(name: str):
    """A runner in float64, and the weights in float64."""
    model, x, symmetries = found(name)
    weights = {key: t.double() if t.is_floating_point() else t for key, t in symmetries.complete(model).items()}
    return Runner(symmetries.runner.model, x, torch.float64), weights, symmetries


# Kind -> units of each generator. Written down from the architectures, not from what is found.
EXPECTED = {
    "digits-mlp": {"rescale": [12, 12], "permutation": [12, 12]},
    "mlp-leaky": {"rescale": [9, 9, 9], "permutation": [9, 9, 9]},
    "mlp-tanh": {"sign": [9, 9], "permutation": [9, 9]},
    "toy-hyperbola": {"rescale": [1], "sign": [1]},
    "digits-cnn": {"rescale": [4, 8, 8], "batchnorm": [4, 8, 8], "sign": [4, 8, 8], "permutation": [4, 8, 8]},
    # Without gains nothing is free behind the normalisation, and a sign cannot be undone.
    "cifar10-cnn6": {"batchnorm": [4, 8, 8, 16], "permutation": [4, 8, 8, 16]},
    # Behind normalisation: the inner channels of each block, and the stream of each stage; that of the first
    # stage goes on in the middle of the next ones.
    "cifar10-resnet20": {"batchnorm": [4] * 7 + [8] * 6 + [16] * 6, "rescale": [4] * 5 + [8] * 3 + [16] * 3 + [8]},
    "text-transformer": {
        "gain": [16, 16],
        "query-key": [16],
        "rescale": [16],
        "permutation": [16, 2, 64],
        "basis": [8] * 4,
    },
    "untied-transformer": {
        "gain": [16, 16, 16],
        "query-key": [16],
        "rescale": [16, 64],
        "permutation": [16, 2, 64],
        "basis": [8] * 4,
    },
    "torchvision-vit": {
        "gain": [16] * 5,
        "query-key": [16, 16],
        "rescale": [16, 16],
        "permutation": [16, 2, 24, 2, 24],
        "basis": [8] * 8,
    },
    "gpt2": {
        "gain": [16] * 4,
        "query-key": [16, 16],
        "rescale": [16, 16],
        "permutation": [16, 2, 64, 2, 64],
        "basis": [8] * 8,
    },
    # Rotary positions turn pairs of coordinates; two queries share a key and a value.
    "llama": {"gain": [16] * 3, "query-key": [4], "rescale": [8, 12], "basis": [4, 4]},
    "tied": {"rescale": [], "permutation": [8], "sign": []},
    "multi-head": {"query-key": [8], "rescale": [8, 12], "permutation": [2, 12], "basis": [4] * 4},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_found_is_what_the_architecture_has(name):
    symmetries = found(name)[2]
    assert symmetries.notes == ()
    for kind, expected in EXPECTED[name].items():
        assert sorted(units(symmetries, kind)) == sorted(expected), kind


@pytest.mark.parametrize("name", MODELS)
def test_any_factor_keeps_the_function_in_either_precision(name):
    model, _, symmetries = found(name)
    if symmetries.scalings:
        check = symmetries.check(model, symmetries.scaling(7.0).apply(symmetries.complete(model)))
        assert check.passed
        assert check.relative <= 1e-5
    runner, weights, _ = precise(name)
    element = symmetries.draw(seed=1)
    assert runner.compare(weights, element.apply(weights)).relative <= 1e-12


# The network without skip connections has two generators for every layer, each of a kind that others have too.
FEW = [name for name in SMALL if name != "cifar10-resnet20-noskip"]


@pytest.mark.parametrize("name", FEW)
def test_elements_are_a_group(name):
    _, weights, symmetries = precise(name)
    for generator in symmetries.generators:
        source = torch.Generator().manual_seed(0)
        one, other = (Element(((generator, generator.draw(source, 0.5)),)) for _ in range(2))
        moved = one.apply(weights)
        assert set(moved) == set(weights)
        assert gap(symmetries, weights, one.inverse().apply(moved)) <= 1e-12
        assert gap(symmetries, one.then(other).apply(weights), other.apply(moved)) == 0
        assert gap(symmetries, weights, one.then(one.inverse()).apply(weights)) <= 1e-12
        again = symmetries.element(one.to_json())
        assert gap(symmetries, moved, again.apply(weights)) == 0
    assert gap(symmetries, weights, Element().apply(weights)) == 0


@pytest.mark.parametrize("name", FEW)
def test_each_generator_keeps_the_function_and_a_spoilt_one_does_not(name):
    runner, weights, symmetries = precise(name)
    # Of the many blocks of a ResNet-20 every third, of each stage some.
    for generator in symmetries.generators[:: 3 if name == "cifar10-resnet20" else 1]:
        value = generator.draw(torch.Generator().manual_seed(2), 0.5)
        if generator.kind == "sign":
            value = -torch.ones_like(value)
        if generator.kind == "permutation":
            value = torch.arange(generator.units).roll(1)
        right = Element(((generator, value),))
        assert runner.compare(weights, right.apply(weights)).passed, generator.name
        if isinstance(generator, Mean):
            # One feature left out.
            spoilt = right.apply(weights)
            spoilt[generator.tensor].select(generator.dim, 0)[...] = weights[generator.tensor].select(
                generator.dim, 0
            )
            assert not runner.compare(weights, spoilt).passed, generator.name
            continue
        # A bias of keys that nothing sees has a test of its own.
        field = next(name for name in ("slices", "sinks", "columns") if hasattr(generator, name))
        if field == "sinks" and not generator.sinks:
            continue
        # Without what makes the units; the last part may be a bias of keys, which softmax does not see.
        parts = getattr(generator, field)[1:]
        wrong = Element(((dataclasses.replace(generator, **{field: parts}), value),))
        assert not runner.compare(weights, wrong.apply(weights)).passed, generator.name


@pytest.mark.parametrize("name", ["digits-mlp", "mlp-leaky", "toy-hyperbola", "torchvision-vgg11"])
@pytest.mark.parametrize("power", [-12, -3, 5, 12])
def test_powers_of_two_give_the_same_bits(name, power):
    model, _, symmetries = found(name)
    if name == "mlp-leaky":
        # A slope of 0.01 is rounded; the product with a power of 2 is not.
        power = power // 3
    moved = symmetries.scaling(2.0**power).apply(model)
    before, after = symmetries.runner.outputs(symmetries.complete(model)), symmetries.runner.outputs(moved)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert any(not torch.equal(moved[key], tensor) for key, tensor in symmetries.complete(model).items())


def test_the_model_and_the_random_state_stay_as_they_are():
    model, x = build("digits-cnn")
    model.train()
    model[0].weight.requires_grad_(False)
    untouched = Untouched(model)
    symmetries = symmetry.find(model, x)
    symmetries.random(model, seed=3)
    symmetries.rescale(model, alpha=3.0)
    symmetries.unit_norm(model)
    symmetries.align(model, symmetries.permute(model, seed=1))
    untouched.check()


def test_what_blocks_is_named():
    model = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2))
    symmetries = symmetry.find(model, torch.ones(2, 3))
    assert str(symmetries.blocked[0]) == "1 (GELU): gelu refuses positive factors of 5 units of 0.weight"
    with pytest.raises(LandscapeError) as refused:
        symmetries.rescale(model, alpha=10.0)
    assert str(refused.value) == (
        "this model has no rescaling symmetry; got 1 (GELU): gelu refuses positive factors of 5 units of 0.weight"
    )
    for activation in (nn.Softplus(), nn.Sigmoid(), nn.SiLU(), nn.Tanh(), nn.ReLU6(), nn.ELU()):
        model[1] = activation
        symmetries = symmetry.find(model, torch.ones(2, 3))
        assert symmetries.scalings == ()
        assert symmetries.blocked[0].layer == "1"
        assert units(symmetries, "permutation") == [5]
        assert units(symmetries, "sign") == ([5] if isinstance(activation, nn.Tanh) else [])


def test_gelu_blocks_the_hidden_units_of_a_transformer_and_nothing_else():
    symmetries = found("gpt2")[2]
    blocked = {tensor for block in symmetries.blocked for tensor in block.tensors}
    assert {"transformer.h.0.mlp.c_fc.weight", "transformer.h.1.mlp.c_fc.weight"} <= blocked
    assert not any(tensor.endswith("c_attn.weight") for tensor in blocked)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalisation_with_a_large_eps_is_exact(affine):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4, eps=1e-2, affine=affine),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16, 3),
        ).double()
        x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        model[1].running_mean += torch.arange(4)
        model[1].running_var += torch.arange(4)
    model.eval()
    symmetries = symmetry.find(model, x)
    (generator,) = symmetries.of_kind("batchnorm")
    scales = {generator.name: [0.2, 0.9, 3.0, 1e3] if affine else [1.0, 1.1, 3.0, 1e3]}
    moved = symmetries.rescale(model, scales=scales)
    assert symmetries.check(model, moved).relative <= 1e-13
    assert not torch.allclose(moved["1.running_var"], model[1].running_var)
    # The control: without the change of the gain (or with that of the affine form) eps shows.
    spoilt = dict(moved)
    if affine:
        spoilt["1.weight"] = model[1].weight.detach()
    else:
        spoilt["1.running_var"] = model[1].running_var * torch.tensor(scales[generator.name]) ** 2
    assert not symmetries.check(model, spoilt).passed


# Torch warns of itself when it first builds a Hessian.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_gradient_and_hessian_transform_as_theorem_3_says():
    """Dinh et al. 2017, theorem 3: the gradient is D g and the Hessian D H D, with D the reciprocal factors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
        x, y = torch.randn(7, 3, dtype=torch.float64), torch.randint(0, 2, (7,))
    symmetries = symmetry.find(model, x)
    state = {name: tensor.detach() for name, tensor in model.named_parameters()}
    moved = symmetries.random(model, seed=0, kinds=["rescale"])
    sizes = [tensor.numel() for tensor in state.values()]

    def loss(flat):
        parts = (part.view(t.shape) for part, t in zip(flat.split(sizes), state.values(), strict=True))
        weights = dict(zip(state, parts, strict=True))
        return nn.functional.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)

    a, b = (torch.cat([tensors[name].flatten() for name in state]) for tensors in (state, moved))
    d = a / b
    assert float((d - 1).abs().max()) > 0.1
    assert torch.allclose(torch.func.grad(loss)(b), d * torch.func.grad(loss)(a), rtol=1e-10, atol=1e-14)
    hessian = torch.func.hessian(loss)
    wanted = d[:, None] * hessian(a) * d
    assert float((hessian(b) - wanted).abs().max() / wanted.abs().max()) <= 1e-10
    assert float((hessian(b) - hessian(a)).abs().max() / wanted.abs().max()) > 1e-2


def test_exponents_say_what_every_factor_does():
    """The product of factor ** power over the slices: what a minimum over all rescalings needs."""
    _, weights, symmetries = precise("digits-mlp")
    element = symmetries.draw(seed=4, kinds=["rescale"])
    logs = {generator.name: value.log() for generator, value in element.factors}
    moved = element.apply(weights)
    for name, tensor in weights.items():
        total = torch.zeros_like(tensor)
        for generator in symmetries.scalings:
            assert isinstance(generator, Scaling)
            for one in generator.slices:
                if one.tensor == name:
                    along = torch.zeros(tensor.shape[one.dim], dtype=torch.float64)
                    along.index_add_(0, one.places, one.powers * logs[generator.name][one.units])
                    total += along.view([-1 if axis == one.dim else 1 for axis in range(tensor.ndim)])
        assert torch.allclose(moved[name], tensor * total.exp(), rtol=1e-13, atol=0)


def test_kinds_and_names_that_do_not_exist_are_refused():
    model, _, symmetries = found("digits-mlp")
    assert set(KINDS) >= {generator.kind for generator in symmetries.generators}
    with pytest.raises(LandscapeError, match="there is no kind of symmetry 'permutations'; did you mean"):
        symmetries.of_kind("permutations")
    with pytest.raises(LandscapeError, match=r"no symmetry is named 'rescale:1.weight'; did you mean"):
        symmetries.rescale(model, scales={"rescale:1.weight": 2.0})
    with pytest.raises(LandscapeError, match="give one of alpha, alphas, scales; got none"):
        symmetries.rescale(model)
    with pytest.raises(LandscapeError, match="factors must be positive and finite; got -1"):
        symmetries.rescale(model, alpha=-1.0)
    with pytest.raises(LandscapeError, match="the product of alphas must be 1; got 2"):
        symmetries.rescale(model, alphas=[2.0, 1.0, 1.0])
    with pytest.raises(LandscapeError, match=r"alphas has a factor for each layer; got 2; expected 3 factors"):
        symmetries.rescale(model, alphas=[2.0, 0.5])


def test_what_rounding_does_not_explain_is_refused():
    model, _, symmetries = found("digits-mlp")
    (first, *_) = symmetries.of_kind("rescale")
    spoilt = dataclasses.replace(first, slices=first.slices[:-1])
    with pytest.raises(LandscapeError, match="the rescaling changes the output by more than float32 explains"):
        symmetries.apply(model, Element(((spoilt, torch.full((12,), 1.001)),)), "rescaling")
    with pytest.raises(LandscapeError, match="changes the output by more than float32 explains; got inf"):
        symmetries.rescale(model, alpha=1e45)


class Beside(nn.Module):
    """A hidden layer, and beside it a product without elements, as of a rotary part of no width."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        hidden = self.into(x)
        none = hidden[:, :0, None] @ hidden[:, None, :1]
        return self.out(torch.cat([hidden.relu(), none.flatten(1)], 1))


def test_a_product_without_elements_hinders_nothing():
    names = {one.name for one in symmetry.find(Beside(), torch.randn(5, 3)).generators}
    assert names == {"rescale:into.weight", "permutation:into.weight"}
