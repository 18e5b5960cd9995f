"""What measures claim not to change under: every claim tried, each beside a measure that does change."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from conftest import make_convnet, make_data
from curvature_cases import Block, case
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.curvature import Curvature
from landscape.measures import measure, measure_named
from landscape.objective import Objective
from landscape.projection.directions import random_direction

NAMES = (
    *("hessian_top", "hessian_bottom", "hessian_trace", "hessian_frobenius", "gauss_newton_trace"),
    *("gauss_newton_top", "fisher_trace", "filter_normalized_curvature", "relative_flatness", "fisher_rao_norm"),
)
# Another function of the same kind than the claim of the measure: the Hessian trace sees every rescaling.
CONTROL = "hessian_trace"


def double_mlp(bias: bool = True, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    widths = (6, 5, 4, 3)
    layers = [nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(layers[0], activation(), layers[1], activation(), layers[2]).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.6)
    return model


def layers_scaled(model: nn.Sequential, alphas: tuple[float, float, float] = (5.0, 0.5, 0.4)) -> nn.Module:
    """T_alpha with the product of all alphas 1; biases by the product so far, the last not at all."""
    assert math.prod(alphas) == pytest.approx(1)
    scaled, so_far = copy.deepcopy(model), 1.0
    with torch.no_grad():
        for layer, alpha in zip((scaled[0], scaled[2], scaled[4]), alphas, strict=True):
            so_far *= alpha
            layer.weight *= alpha
            if layer.bias is not None and layer is not scaled[4]:
                layer.bias *= so_far
    return scaled


def units_scaled(model: nn.Sequential) -> nn.Module:
    scaled = copy.deepcopy(model)
    factors = torch.tensor([0.3, 1.0, 2.0, 4.0, 0.5], dtype=torch.float64)
    with torch.no_grad():
        scaled[0].weight *= factors[:, None]
        scaled[0].bias *= factors
        scaled[2].weight /= factors
    return scaled


def units_permuted(model: nn.Sequential) -> nn.Module:
    permuted, order = copy.deepcopy(model), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        permuted[0].weight.copy_(model[0].weight[order])
        permuted[0].bias.copy_(model[0].bias[order])
        permuted[2].weight.copy_(model[2].weight[:, order])
    return permuted


def signs_flipped(model: nn.Sequential) -> nn.Module:
    flipped, signs = copy.deepcopy(model), torch.tensor([1.0, -1, -1, 1, -1], dtype=torch.float64)
    with torch.no_grad():
        flipped[0].weight *= signs[:, None]
        flipped[0].bias *= signs
        flipped[2].weight *= signs
    return flipped


def filters_scaled(model: nn.Module) -> nn.Module:
    """(w, b, m, v, gamma) -> (c w, c b, c m, c^2 v, gamma sqrt(c^2 v + eps) / (c sqrt(v + eps)))."""
    scaled = copy.deepcopy(model)
    conv, norm = scaled[0], scaled[1]
    factors = torch.tensor([0.5, 2.0, 3.0, 1.0], dtype=torch.float64)
    with torch.no_grad():
        conv.weight *= factors[:, None, None, None]
        conv.bias *= factors
        before = norm.running_var.clone()
        norm.running_mean *= factors
        norm.running_var *= factors**2
        norm.weight *= ((norm.running_var + norm.eps) / (before + norm.eps)).sqrt() / factors
    return scaled


def basis_changed(model: nn.Module) -> nn.Module:
    """Queries and values of the first head by A, its keys by the inverse transpose, what reads values back."""
    changed = copy.deepcopy(model)
    attention = changed.block.self_attn
    matrix = torch.tensor([[2.0, 0.5], [0.0, 0.7]], dtype=torch.float64)
    inverse = torch.linalg.inv(matrix).T
    with torch.no_grad():
        for tensor in (attention.in_proj_weight, attention.in_proj_bias):
            tensor[0:2] = matrix @ tensor[0:2]
            tensor[4:6] = inverse @ tensor[4:6]
            tensor[8:10] = matrix @ tensor[8:10]
        attention.out_proj.weight[:, 0:2] = attention.out_proj.weight[:, 0:2] @ inverse.T
    return changed


def objective_of(model: nn.Module) -> Objective:
    if isinstance(model, Block):
        held = case("transformer")
        return Objective(model, loss=F.cross_entropy, train=(held.x, held.y))
    x, y = make_data((1, 4, 4) if isinstance(model[0], nn.Conv2d) else (6,), count=20)
    return Objective(model, loss=F.cross_entropy, train=(x.double(), y))


PAIRS = {
    "layer-rescaling": lambda: (double_mlp(), layers_scaled(double_mlp())),
    "unit-rescaling": lambda: (double_mlp(), units_scaled(double_mlp())),
    "permutation": lambda: (double_mlp(), units_permuted(double_mlp())),
    "sign-flip": lambda: (double_mlp(activation=nn.Tanh), signs_flipped(double_mlp(activation=nn.Tanh))),
    "batchnorm-scale": lambda: (make_convnet().double().eval(), filters_scaled(make_convnet().double().eval())),
    "basis-change": lambda: (case("transformer").model, basis_changed(case("transformer").model)),
}
# Orthogonal maps leave the control as it is.
RESCALING = ("layer-rescaling", "unit-rescaling", "batchnorm-scale", "basis-change")


@pytest.fixture(scope="module")
def before_and_after():
    """Symmetry -> measure -> (value before, value after), all measures taken exactly."""
    found = {}
    for symmetry, make in PAIRS.items():
        one, other = make()
        objective = objective_of(one)
        assert objective.value(one) == pytest.approx(objective_of(other).value(other), rel=1e-12), symmetry
        exact = {name: {"method": "exact"} for name in NAMES if "method" in measure_named(name).settings}
        sharp = {name: {"tol": 1e-10} for name in NAMES if "tol" in measure_named(name).settings}
        taken = [measure(objective_of(m), m, NAMES, settings=exact | sharp) for m in (one, other)]
        found[symmetry] = {name: tuple(values[name].value for values in taken) for name in NAMES}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_claims_hold(name, before_and_after):
    for symmetry in measure_named(name).invariant:
        before, after = before_and_after[symmetry][name]
        assert after == pytest.approx(before, rel=1e-8), symmetry


@pytest.mark.parametrize("symmetry", RESCALING)
def test_the_control_changes(symmetry, before_and_after):
    before, after = before_and_after[symmetry][CONTROL]
    assert after != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_claimed_does_change(name, before_and_after):
    for symmetry in set(PAIRS) - set(measure_named(name).invariant):
        before, after = before_and_after[symmetry][name]
        assert after != pytest.approx(before, rel=1e-4), symmetry


def hessian_of(model: nn.Module) -> tuple[Curvature, Tensor]:
    operator = Curvature(objective_of(model), model)
    return operator, operator.dense()


def test_filter_normalised_curvature_is_the_mean_along_the_directions_of_the_plots():
    model = double_mlp()
    operator, dense = hessian_of(model)
    value = measure(objective_of(model), model, ["filter_normalized_curvature"])[
        "filter_normalized_curvature"
    ].value
    drawn = [operator.flatten(random_direction(model, seed=seed)[0]) for seed in range(800)]
    along = np.array([float(d @ dense @ d) for d in drawn])
    error = along.std(ddof=1) / math.sqrt(len(along))
    assert value == pytest.approx(along.mean(), abs=3 * error)
    assert error < 0.08 * value


@pytest.mark.parametrize("one_d", ["ignore", "norm"])
def test_filter_normalised_curvature_by_its_formula(one_d):
    model = double_mlp()
    operator, dense = hessian_of(model)
    blocks, total = operator.unflatten(dense.diagonal()), 0.0
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            for row, own in zip(weight, blocks[name], strict=True):
                total += (row.square().sum() * own.sum() / len(row)).item()
        elif one_d == "norm":
            total += (weight.square().sum() * blocks[name].sum() / len(weight)).item()
    how = {"filter_normalized_curvature": {"one_d": one_d}}
    found = measure(objective_of(model), model, list(how), settings=how)["filter_normalized_curvature"]
    assert found.value == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("convention", ["sum", "max", "last", "first"])
def test_relative_flatness_by_its_double_sum(convention):
    model = double_mlp()
    _, dense = hessian_of(model)
    start, kappas = 0, []
    for weight in model.parameters():
        if weight.ndim > 1:
            units, inputs = weight.shape
            block = dense[start : start + weight.numel(), start : start + weight.numel()]
            block = block.reshape(units, inputs, units, inputs)
            traces = torch.einsum("sitj,ij->st", block, torch.eye(inputs, dtype=torch.float64))
            kappas.append((weight @ weight.T * traces).sum().item())
        start += weight.numel()
    wanted = {"sum": sum(kappas), "max": max(kappas), "last": kappas[-1], "first": kappas[0]}[convention]
    how = {"relative_flatness": {"layers": convention}}
    found = measure(objective_of(model), model, list(how), settings=how)["relative_flatness"]
    assert found.value == pytest.approx(wanted, rel=1e-9)
    told = list(found.details["layers"].values())
    assert told == pytest.approx({"last": kappas[-1:], "first": kappas[:1]}.get(convention, kappas), rel=1e-9)


def test_the_fisher_rao_norm_of_a_homogeneous_network():
    # Liang et al. 2019, theorem 3.1: L hidden layers without biases give (L + 1)^2 mean (f . dl/df)^2.
    model = double_mlp(bias=False)
    objective = objective_of(model)
    x, y = objective.data["train"].inputs, objective.data["train"].targets
    f = model(x).detach()
    slopes = f.softmax(1) - F.one_hot(y, 3)
    by_data = 9 * float((f * slopes).sum(1).square().mean())
    p = f.softmax(1)
    by_model = 9 * float(((p * f.square()).sum(1) - (p * f).sum(1).square()).mean())
    for labels, wanted in (("data", by_data), ("model", by_model)):
        how = {"fisher_rao_norm": {"labels": labels}}
        assert measure(objective, model, list(how), settings=how)["fisher_rao_norm"].value == pytest.approx(
            wanted, rel=1e-10
        )
    root = measure(objective, model, ["fisher_rao_norm"], settings={"fisher_rao_norm": {"squared": False}})
    assert root["fisher_rao_norm"].value == pytest.approx(math.sqrt(by_data), rel=1e-10)


@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh", "transformer"])
def test_the_fisher_rao_norm_of_dense_matrices(name):
    held = case(name)
    found = measure(held.objective, held.model, ["fisher_rao_norm"])["fisher_rao_norm"]
    assert found.value == pytest.approx(float(held.weights @ held.empirical_fisher @ held.weights), rel=1e-10)
