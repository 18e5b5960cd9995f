"""The flattest point of an orbit: closed forms, brute force, and the same value from everywhere on the orbit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
import torch
from architectures import ARCHITECTURES
from flattest_models import MODELS, made
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.params import resolve
from landscape.symmetry import Element, Symmetries, find, symmetries_of
from landscape.symmetry.canonical import incoming_norms
from landscape.symmetry.elements import SCALINGS
from landscape.symmetry.gauge import Gauge

# The symmetries that the minimum is over, or that are orthogonal maps.
MINIMISED = (*SCALINGS, "sign", "permutation")


def dense_trace(objective: Objective, weights: dict[str, Tensor]) -> float:
    """Sum over examples of tr(J' (diag p - p p') J) / n, from whole Jacobians."""
    model, inputs = objective.model, objective.data["train"].inputs
    trained = {name: weights[name] for name, _ in model.named_parameters()}
    rest = {name: weights[name] for name, _ in model.named_buffers()}

    def output(parameters: dict[str, Tensor]) -> Tensor:
        found: Tensor = torch.func.functional_call(model, {**parameters, **rest}, (inputs,))
        return found

    jacobians = torch.func.jacrev(output)(trained)
    flat = torch.cat([block.flatten(2) for block in jacobians.values()], dim=2)
    p = output(trained).softmax(1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return float(torch.einsum("ncd,nce,nde->", curvature, flat, flat)) / len(p)


@pytest.mark.parametrize("name", MODELS)
def test_the_trace_at_the_flattest_point_is_the_value(name: str) -> None:
    objective, symmetries = made(name)
    found = symmetries.flattening(objective, objective.model)
    flat = symmetries.flattest(objective, objective.model)
    assert found.standard_error is None
    assert dense_trace(objective, flat) == pytest.approx(found.value, rel=1e-12)
    # Idempotent.
    again = symmetries.flattening(objective, flat)
    assert again.value == pytest.approx(found.value, rel=1e-12)
    moved = again.element.apply(flat)
    # The gauge settles signs as well.
    assert all(torch.allclose(moved[name].abs(), one.abs(), rtol=1e-6, atol=1e-9) for name, one in flat.items())


@pytest.mark.parametrize("name", MODELS)
def test_the_value_is_the_same_from_every_rescaling(name: str) -> None:
    objective, symmetries = made(name)
    start = resolve(objective.model)[1]
    value = symmetries.flattening(objective, start).value
    traces = []
    for seed in range(5):
        moved = symmetries.draw(seed, kinds=MINIMISED, spread=1.0).apply(start)
        assert symmetries.flattening(objective, moved).value == pytest.approx(value, rel=1e-8)
        traces.append(dense_trace(objective, moved))
    # Control: the trace itself changes.
    assert max(traces) > 1.2 * min(traces)


def test_filters_in_front_of_batch_normalisation_are_among_them() -> None:
    objective, symmetries = made("batch normalisation")
    start = resolve(objective.model)[1]
    value = symmetries.flattening(objective, start)
    assert value.gauge == "running_var + eps = 1"
    moved = symmetries.draw(0, kinds=["batchnorm"], spread=2.0).apply(start)
    assert symmetries.flattening(objective, moved).value == pytest.approx(value.value, rel=1e-10)
    gauged = Gauge(symmetries.scalings, start).element().apply(start)
    for variance in ("1.running_var", "4.running_var"):
        torch.testing.assert_close(
            gauged[variance] + 1e-2, torch.ones_like(gauged[variance]), rtol=1e-14, atol=0.0
        )


def test_a_gauge_of_unit_norms_would_depend_on_where_one_starts() -> None:
    objective, symmetries = made("batch normalisation")
    start = resolve(objective.model)[1]

    def value_after_unit_norms(state: dict[str, Tensor]) -> float:
        factors = [(one, 1 / incoming_norms(one, state)) for one in symmetries.scalings if one.norms]
        unit = Element(tuple(factors)).apply(state)
        # The gauge in use would mend it: only what is no batch normalisation moves from here.
        movable = Symmetries(tuple(one for one in symmetries.scalings if not one.norms), (), (), symmetries.runner)
        return movable.flattening(objective, unit).value

    values = [value_after_unit_norms(symmetries.draw(seed, spread=1.0).apply(start)) for seed in range(4)]
    assert max(values) / min(values) - 1 > 1e-4


@pytest.mark.parametrize("name", ["two layers", "three layers with biases", "residual"])
def test_it_is_never_above_the_trace_without_normalisation(name: str) -> None:
    for seed in range(3):
        objective, symmetries = made(name, seed)
        found = symmetries.flattening(objective, objective.model)
        assert found.trace == pytest.approx(dense_trace(objective, resolve(objective.model)[1]), rel=1e-12)
        assert found.value < found.trace


def test_two_layers_have_the_closed_form() -> None:
    objective, symmetries = made("two layers")
    whole = resolve(objective.model)[1]
    # Moving unit j alone tells its two parts apart: tr(c) = rest + A c^-2 + B c^2.
    closed = 0.0
    for unit in range(6):

        def trace(c: float, unit: int = unit) -> float:
            scales = torch.ones(6, dtype=torch.float64)
            scales[unit] = c
            moved = symmetries.scaling(scales={"rescale:0.weight": scales}).apply(whole)
            return dense_trace(objective, moved)

        one, two, half = trace(1.0), trace(2.0), trace(0.5)
        system = np.array([[1, 1, 1], [1, 1 / 4, 4], [1, 4, 1 / 4]])
        _, incoming, outgoing = np.linalg.solve(system, [one, two, half])
        closed += 2 * np.sqrt(max(incoming, 0.0) * max(outgoing, 0.0))
    assert symmetries.flattening(objective, whole).value == pytest.approx(closed, rel=1e-8)


def test_three_layers_agree_with_brute_force() -> None:
    objective, symmetries = made("three layers with biases")
    whole = resolve(objective.model)[1]
    first, second = symmetries.scalings

    def trace(logarithms: np.ndarray) -> float:
        factors = torch.from_numpy(np.exp(logarithms))
        moved = Element(((first, factors[: first.units]), (second, factors[first.units :]))).apply(whole)
        return dense_trace(objective, moved)

    brute = minimize(trace, np.zeros(first.units + second.units), method="BFGS", options={"gtol": 1e-4})
    value = symmetries.flattening(objective, whole).value
    assert value <= brute.fun * (1 + 1e-12)
    assert value == pytest.approx(brute.fun, rel=1e-5)


def test_a_sampled_value_has_an_honest_error_and_the_same_invariance() -> None:
    objective, symmetries = made("residual")
    start = resolve(objective.model)[1]
    exact = symmetries.flattening(objective, start).value
    sampled = symmetries.flattening(objective, start, samples=40, seed=1)
    assert sampled.standard_error is not None
    assert abs(sampled.value - exact) < 3 * sampled.standard_error
    moved = symmetries.draw(0, spread=1.0).apply(start)
    assert symmetries.flattening(objective, moved, samples=40, seed=1).value == pytest.approx(
        sampled.value, rel=1e-8
    )


def test_dead_units_are_named() -> None:
    objective, symmetries = made("two layers")
    state = {name: tensor.clone() for name, tensor in resolve(objective.model)[1].items()}
    state["0.weight"][2] = 0.0
    state["2.weight"][:, 4] = 0.0
    found = symmetries.flattening(objective, state)
    # Without incoming weights the outgoing ones have no curvature, and the incoming ones lie on the kink.
    assert "rescale:0.weight[2]" in (*found.dead, *found.unattained)
    assert "rescale:0.weight[4]" in found.unattained
    assert np.isfinite(found.value)


def test_a_model_without_rescalings_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    objective = Objective(model, loss=F.cross_entropy, train=(x, torch.arange(5) % 2))
    with pytest.raises(LandscapeError, match=r"this model has no rescaling symmetry.*gelu"):
        find(model, x).flattening(objective, model)


@pytest.mark.parametrize("name", ["attention", "gpt2", "llama", "bert", "mobilenet_v3"])
def test_no_symmetry_of_an_architecture_changes_the_smallest_trace(name: str) -> None:
    row = ARCHITECTURES[name]
    model, inputs, targets = reference.made(row)
    data = inputs if isinstance(targets, tuple) else (inputs, targets)
    objective = Objective(model.double(), loss=row.loss, train=tree_map(precise, data), batch_size=4)
    symmetries = symmetries_of(objective)
    start = symmetries.complete(objective.model)
    found = symmetries.flattening(objective, start)
    moved = symmetries.draw(seed=1).apply(start)
    assert symmetries.flattening(objective, moved).value == pytest.approx(found.value, rel=1e-9)
    # The control: rescalings alone do not reach it.
    scales = symmetries.flattening(objective, moved, kinds=SCALINGS).value
    assert scales != pytest.approx(found.value, rel=1e-3)
    assert found.gradient < 1e-8


def precise(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
