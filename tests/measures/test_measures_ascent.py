"""Measures that climb: closed forms, bounds, and symmetries with a control that fails."""

import itertools
import math

import pytest
import torch
from measure_cases import confident_classes, hidden_net, quadratic_of, rescaled, spread_matrix, take
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from landscape.errors import LandscapeError
from landscape.measures.ascent import Ball, auto_climb, climb
from landscape.measures.context import MeasureContext
from landscape.measures.local_loss import LocalLoss
from landscape.objective import Objective
from landscape.params import Held


def row(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def field_of(objective, model, **options) -> LocalLoss:
    return LocalLoss(MeasureContext(objective, Held.of(model), dtype=torch.float64, **options))


# The field


def test_the_gradient_of_the_field_is_that_of_its_loss(objective, mlp):
    field = field_of(objective, mlp)
    at, direction = 0.1 * field.normal(0), field.normal(1)
    value, gradient = field.slope(at)
    assert value == pytest.approx(field.loss(at), rel=1e-14)
    around = (field.loss(at + 1e-6 * direction) - field.loss(at - 1e-6 * direction)) / 2e-6
    assert float(gradient @ direction) == pytest.approx(around, rel=1e-7)


def test_the_field_at_rest_is_the_objective(objective, mlp):
    found = field_of(objective, mlp).means(field_of(objective, mlp).zero())
    assert found["loss"] == pytest.approx(objective.value(mlp), rel=1e-6)
    assert found["error"] == objective.value(mlp, metric="error")


def test_batches_of_the_field_average_to_the_whole(objective, mlp):
    field = field_of(objective, mlp)
    step = 0.1 * field.normal(0)
    parts = [(part.loss(step), part.count) for part in field.batches(16)]
    assert [count for _, count in parts] == [16, 16, 16, 2]
    assert sum(loss * count for loss, count in parts) / 50 == pytest.approx(field.loss(step), rel=1e-14)


def test_draws_depend_on_seed_index_and_name_alone(objective, mlp):
    whole, part = field_of(objective, mlp), field_of(objective, mlp, parameters=("4.*",))
    assert torch.equal(whole.normal(3)[-part.size :], part.normal(3))
    assert not torch.equal(part.normal(3), part.normal(4))
    assert not torch.equal(part.normal(3), field_of(objective, mlp, parameters=("4.*",), seed=1).normal(3))


# Ascents


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_ball_holds_what_it_says(norm):
    ball, z = Ball(norm, 0.5), torch.randn(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = math.inf if norm == "linf" else 2
    assert float(torch.linalg.vector_norm(ball.project(9 * z), order)) == pytest.approx(0.5)
    assert torch.equal(ball.project(0.01 * z), 0.01 * z)
    # No other point of the ball does better on the linear function.
    dual = float(torch.linalg.vector_norm(z, 1 if norm == "linf" else 2))
    assert float(z @ ball.steepest(z)) == pytest.approx(0.5 * dual)


def test_an_ascent_never_goes_down_and_stops_at_a_maximum_inside():
    def hill(u):
        return float(-(u - 0.1).square().sum()), -2 * (u - 0.1)

    found = climb(hill, Ball("l2", 1.0), row(-0.5, 0.2), 100, 1e-9)
    assert found.arrived
    assert found.at.tolist() == pytest.approx([0.1, 0.1], abs=1e-4)
    assert auto_climb(hill, Ball("linf", 1.0), row(-0.5, 0.2), 60).value == pytest.approx(0.0, abs=1e-3)


def test_a_ball_needs_a_norm_and_a_radius():
    with pytest.raises(LandscapeError, match="unknown norm 'l3'"):
        Ball("l3", 1.0)
    with pytest.raises(LandscapeError, match="must be positive"):
        Ball("l2", 0.0)


# Epsilon-sharpness


@pytest.mark.parametrize("epsilon", [1e-3, 1.0])
def test_epsilon_sharpness_of_a_quadratic_is_the_closed_form(epsilon):
    objective, model = quadratic_of(spread_matrix(8, 0.1, 5.0), offset=0.5)
    found = take(objective, model, "epsilon_sharpness", epsilon=epsilon)
    exact = 5.0 * epsilon**2 / (2 * (1 + 0.5))
    assert found.converged
    assert exact * 0.99 <= found.value <= exact * (1 + 1e-9)
    assert found.details["disagreement"] < 0.01


def test_epsilon_sharpness_is_not_below_ten_thousand_random_points():
    objective, model = hidden_net()
    found = take(objective, model, "epsilon_sharpness", epsilon=0.5)
    field = field_of(objective, model)
    z = torch.randn(10_000, field.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    radii = torch.rand(10_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** (
        1 / field.size
    )
    inputs, targets = objective.data["train"].inputs.double(), objective.data["train"].targets

    def loss(step):
        names = dict(zip((info.name for info in field.infos), field.cut(field.origin + step), strict=True))
        return F.cross_entropy(functional_call(model, names, inputs), targets)

    best = float(vmap(loss)(0.5 * radii * z / z.norm(dim=1, keepdim=True)).max())
    base = field.loss(field.zero())
    assert found.value >= (best - base) / (1 + base)
    assert found.details["highest"] == pytest.approx(base + found.value * (1 + base))


@pytest.mark.parametrize(("classes", "bound"), [(2, 0.6764), (10, 2.2699), (100, 4.5497)])
def test_a_rescaled_layer_that_fits_into_the_ball_makes_it_as_sharp_as_no_network(classes, bound):
    objective, model = confident_classes(classes)
    assert objective.value(model) == pytest.approx(0.01, rel=1e-9)
    exact = (math.log(classes) - 0.01) / 1.01
    assert exact == pytest.approx(bound, abs=5e-5)
    for epsilon in (1e-3, 1e-6):
        weights = rescaled(model, epsilon / float(model[0].weight.detach().norm()))
        found = take(objective, weights, "epsilon_sharpness", epsilon=epsilon, iterations=8, restarts=1)
        assert found.value >= exact * (1 - 1e-6)
    # The control: the same function with its layers in balance.
    assert take(objective, model, "epsilon_sharpness", iterations=8).value < 0.001


def test_epsilon_sharpness_in_a_subspace_is_that_of_the_restricted_quadratic():
    matrix = spread_matrix(8, 0.1, 5.0)
    objective, model = quadratic_of(matrix, offset=0.5)
    basis = torch.linalg.qr(
        torch.stack([field_of(objective, model).normal(f"subspace/{k}") for k in range(3)], 1)
    ).Q
    exact = float(torch.linalg.eigvalsh(basis.T @ matrix @ basis)[-1]) * 0.01 / 3
    found = take(objective, model, "epsilon_sharpness", epsilon=0.1, subspace=3)
    assert exact * 0.99 <= found.value <= exact * (1 + 1e-9)
    with pytest.raises(LandscapeError, match="not a subspace"):
        take(objective, model, "epsilon_sharpness", subspace=9)


def test_seeds_reproduce_and_differ(objective, mlp):
    def rises(seed):
        return take(objective, mlp, "epsilon_sharpness", epsilon=0.5, seed=seed, iterations=5).details["restarts"]

    assert rises(0) == rises(0) != rises(1)


# Keskar's box


def test_the_box_on_a_quadratic_ends_in_its_best_corner():
    matrix = spread_matrix(6, 0.1, 5.0)
    centre = row(1.0, -2.0, 0.5, 0.0, 3.0, -1.0)
    objective, model = quadratic_of(matrix, offset=0.5, at=centre)
    sides = 0.01 * (centre.abs() + 1)
    corners = (sides * row(*signs) for signs in itertools.product((-1.0, 1.0), repeat=6))
    exact = max(100 * float(corner @ matrix @ corner) / 2 / 1.5 for corner in corners)
    found = take(objective, model, "keskar_sharpness", epsilon=0.01, restarts=6)
    assert found.value == pytest.approx(exact, rel=1e-6)
    assert found.details["at_edges"] == 1.0


def test_the_box_of_a_diagonal_quadratic_is_a_sum_from_every_start():
    curvatures = row(0.1, 1.0, 5.0)
    objective, model = quadratic_of(torch.diag(curvatures), offset=0.5, at=row(1.0, -2.0, 0.0))
    sides = 0.01 * row(2.0, 3.0, 1.0)
    found = take(objective, model, "keskar_sharpness", epsilon=0.01)
    assert found.value == pytest.approx(float(100 * (curvatures * sides**2).sum() / 2 / 1.5), rel=1e-9)
    assert found.details["disagreement"] < 1e-9


def test_the_box_in_a_subspace_follows_the_coordinates_there():
    objective, model = quadratic_of(spread_matrix(6, 0.1, 5.0), offset=0.5)
    found = take(objective, model, "keskar_sharpness", epsilon=0.01, subspace=1)
    basis = field_of(objective, model).normal("subspace/0")
    basis /= basis.norm()
    exact = 100 * 0.01**2 * float(basis @ spread_matrix(6, 0.1, 5.0) @ basis) / 2 / 1.5
    assert found.value == pytest.approx(exact, rel=1e-6)


# SAM


def test_one_step_of_sam_is_its_formula(objective, mlp):
    field = field_of(objective, mlp)
    rises = {"l2": [], "linf": []}
    for part in field.batches(25):
        _, gradient = part.slope(part.zero())
        for norm, step in (("l2", gradient / gradient.norm()), ("linf", gradient.sign())):
            rises[norm].append(part.loss(0.05 * step) - part.loss(part.zero()))
    for norm, both in rises.items():
        found = take(objective, mlp, "sam_sharpness", norm=norm, batch=25)
        assert found.value == pytest.approx(sum(both) / 2, rel=1e-12)
        assert found.standard_error == pytest.approx(abs(both[0] - both[1]) / 2, rel=1e-12)


def test_more_steps_of_sam_reach_the_maximum_of_a_quadratic():
    objective, model = quadratic_of(spread_matrix(8, 0.1, 5.0), offset=0.5)
    found = take(objective, model, "sam_sharpness", rho=0.1, batch=0, iterations=60, restarts=3)
    assert 0.99 * 5 * 0.005 <= found.value <= 5 * 0.005 * (1 + 1e-9)
    # At the minimum itself the gradient is rounding, and one step along it no maximum.
    assert take(objective, model, "sam_sharpness", rho=0.1, batch=0).value < 0.9 * found.value


def test_more_steps_of_sam_never_find_less(objective, mlp):
    one, five = (take(objective, mlp, "sam_sharpness", iterations=steps).value for steps in (1, 5))
    assert five >= one


# Adaptive sharpness


@pytest.mark.parametrize("name", ["adaptive_sharpness_worst", "adaptive_sharpness_average"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_rescaling_units_does_not_change_adaptive_sharpness_but_that_of_sam(name, norm):
    objective, model = hidden_net()
    factors = torch.logspace(-1, 1, 8)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights["0.weight"] *= factors[:, None]
    weights["0.bias"] *= factors
    weights["2.weight"] /= factors
    settings = {"batch": 16} if name.endswith("worst") else {"draws": 10}
    before, after = (take(objective, at, name, norm=norm, **settings).value for at in (model, weights))
    assert after == pytest.approx(before, rel=1e-4)
    sam = [take(objective, at, "sam_sharpness", norm=norm).value for at in (model, weights)]
    assert abs(sam[1] / sam[0] - 1) > 0.1


def test_units_of_filters_are_invariant_to_layers_and_not_to_units():
    objective, model = hidden_net()
    whole, uneven = rescaled(model, 8.0), {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for key, factor in (("0.weight", 8.0), ("0.bias", 8.0)):
        uneven[key][0] *= factor
    uneven["2.weight"][:, 0] /= 8
    values = [
        take(objective, at, "adaptive_sharpness_worst", units="filter").value for at in (model, whole, uneven)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-6)
    assert abs(values[2] / values[0] - 1) > 1e-3


def test_the_worst_case_of_a_quadratic_is_its_top_eigenvalue_in_units():
    matrix, centre = spread_matrix(6, 0.1, 5.0), row(1.0, -2.0, 0.5, 1.5, 3.0, -1.0)
    objective, model = quadratic_of(matrix, offset=0.5, at=centre)
    exact = 0.01 * float(torch.linalg.eigvalsh(centre[:, None] * matrix * centre)[-1]) / 2
    found = take(objective, model, "adaptive_sharpness_worst", rho=0.1, batch=0, iterations=60, restarts=4)
    assert 0.99 * exact <= found.value <= exact * (1 + 1e-9)
    assert found.converged


def test_the_average_of_a_quadratic_is_its_trace_in_units():
    matrix, centre = spread_matrix(6, 0.1, 5.0), row(1.0, -2.0, 0.5, 1.5, 3.0, -1.0)
    objective, model = quadratic_of(matrix, offset=0.5, at=centre)
    exact = 0.01 * float((centre**2 * matrix.diagonal()).sum()) / 2
    for norm, share in (("l2", 1.0), ("linf", 1 / 3)):
        found = take(objective, model, "adaptive_sharpness_average", norm=norm, draws=400)
        assert abs(found.value - share * exact) < 3 * found.standard_error < 0.5 * found.value


def test_the_average_with_units_of_elements_is_local_energy():
    objective, model = hidden_net()
    average = take(objective, model, "adaptive_sharpness_average", rho=0.2, draws=5, dtype=None)
    energy = take(objective, model, "local_energy", sigma=0.2, draws=5, points=1, dtype=None)
    assert average.value == pytest.approx(energy.value, rel=1e-5)


def test_normalised_logits_do_not_feel_the_scale_of_the_last_layer():
    objective, model = hidden_net()
    weights = {key: tensor * (10 if key.startswith("2.") else 1) for key, tensor in model.state_dict().items()}
    values = [
        take(objective, at, "adaptive_sharpness_average", draws=5, normalise_logits=normalise).value
        for normalise in (True, False)
        for at in (model, weights)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-6)
    assert abs(values[3] / values[2] - 1) > 0.1


def test_logits_of_a_loss_that_takes_the_model_are_hidden(mlp):
    def loss(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])

    data = (torch.randn(8, 6, generator=torch.Generator().manual_seed(0)), torch.zeros(8, dtype=torch.int64))
    with pytest.raises(LandscapeError, match="hides its outputs"):
        take(Objective(mlp, loss=loss, train=data), mlp, "adaptive_sharpness_average", normalise_logits=True)


def test_gradients_at_the_weights_are_shared_by_parts_and_are_those_of_each_part():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(300, 3, dtype=torch.float64), torch.randint(0, 2, (300,))
    place = MeasureContext(Objective(model, loss=F.cross_entropy, train=(x, y)), Held.of(model))
    field = LocalLoss(place)
    spans = [slice(0, 300), slice(0, 128), slice(128, 256), slice(256, 300)]
    for part, rows in zip([field, *field.batches(128)], spans, strict=True):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        wanted = torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))])
        for _ in range(2):
            value, gradient = part.slope(part.zero())
            assert [value, part.loss(part.zero())] == pytest.approx([loss.item()] * 2, rel=1e-12)
            torch.testing.assert_close(gradient, wanted, rtol=1e-11, atol=1e-14)
    # Another step is not what is held.
    assert field.loss(field.zero() + 0.1) != pytest.approx(field.loss(field.zero()), rel=1e-6)
