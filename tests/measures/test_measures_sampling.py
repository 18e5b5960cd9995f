"""Measures that average over draws: closed forms, honest errors, and symmetries with a control that fails."""

import json
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from measure_cases import Drawn, hidden_net, quadratic_of, rescaled, spread_matrix, take
from torch import nn
from torch.nn import functional as F

from landscape.errors import LandscapeError
from landscape.measures.computation import measure
from landscape.measures.context import MeasureContext
from landscape.measures.draws import log_mean_exp
from landscape.measures.local_entropy import by_chains, clenshaw_curtis
from landscape.measures.volume import first_crossing, log_unit_ball
from landscape.objective import Objective
from landscape.params import Held

CENTRE = torch.tensor([1.0, -2.0, 0.5, 1.5, 3.0, -1.0], dtype=torch.float64)


def away_from_the_minimum(matrix):
    """A quadratic at weights that are no minimum."""
    objective, _ = quadratic_of(matrix, offset=0.5)
    return objective, {"weight": CENTRE[None]}


class Power(nn.Module):
    """The output w^2, so that the squared error to 0 is w^4."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return x * self.w**2


def chain_of_two(first, second):
    """The output x times two weights."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.fill_(first)
        model[1].weight.fill_(second)
    return model


def squared(model, target):
    ones = torch.ones(2, 1, dtype=torch.float64)
    return Objective(model, loss=F.mse_loss, train=(ones, target * ones))


# Local energy


@pytest.mark.parametrize("antithetic", [False, True])
def test_local_energy_of_a_quadratic_anywhere(antithetic):
    matrix = spread_matrix(6, 0.1, 5.0)
    objective, weights = away_from_the_minimum(matrix)
    for noise, sum_of_curvatures in (
        ("multiplicative", float((CENTRE**2 * matrix.diagonal()).sum())),
        ("additive", float(matrix.trace())),
    ):
        found = take(
            objective, weights, "local_energy", noise=noise, sigma=0.2, draws=400, points=1, antithetic=antithetic
        )
        exact = 0.02 * sum_of_curvatures
        assert abs(found.value - exact) < 3 * found.standard_error
        # Without pairs the slope decides the scatter; with pairs it is gone.
        assert (found.standard_error < 0.1 * exact) == antithetic


@pytest.mark.parametrize(
    ("name", "times", "how"),
    [
        ("local_energy", 500, {"sigma": 0.2, "points": 1, "draws": 20, "antithetic": False}),
        ("adaptive_sharpness_average", 100, {"rho": 0.2, "draws": 20}),
    ],
)
def test_intervals_cover_the_mean_at_their_nominal_rate(name, times, how):
    matrix = spread_matrix(6, 0.1, 5.0)
    objective, weights = away_from_the_minimum(matrix)
    exact = 0.02 * float((CENTRE**2 * matrix.diagonal()).sum())
    # Without pairs the rise of the loss is skewed by little, and draws are independent.
    found = [take(objective, weights, name, seed=seed, **how) for seed in range(times)]
    # Of Student's t with 19 degrees of freedom.
    covered = sum(abs(one.value - exact) <= 2.093 * one.standard_error for one in found)
    # Of a binomial with 0.95: four standard deviations.
    assert abs(covered - 0.95 * times) <= 4 * (times * 0.95 * 0.05) ** 0.5
    # The failing control: half of the interval covers far less.
    half = sum(abs(one.value - exact) <= 1.0 * one.standard_error for one in found)
    assert half < 0.8 * times


def test_multiplicative_noise_does_not_feel_a_rescaling_to_the_bit_and_additive_noise_does():
    objective, model = hidden_net()
    profiles = {
        noise: [
            take(objective, at, "local_energy", noise=noise, draws=5, dtype=None).details
            for at in (model, rescaled(model, 2.0**7))
        ]
        for noise in ("multiplicative", "additive")
    }
    assert profiles["multiplicative"][0] == profiles["multiplicative"][1]
    assert profiles["additive"][1]["loss_rise"][-1] > 10 * abs(profiles["additive"][0]["loss_rise"][-1])


def test_the_profile_has_loss_and_error_at_every_size_of_the_noise():
    objective, model = hidden_net()
    found = take(objective, model, "local_energy", sigmas=[0.05, 0.3], sigma=0.1, draws=4, metric="error")
    assert found.details["sigmas"] == [0.05, 0.1, 0.3]
    assert found.value == found.details["error_rise"][1]
    assert found.standard_error == found.details["error_standard_error"][1]
    assert len(found.details["loss_rise"]) == 3


def test_biases_can_be_left_where_they_are():
    objective, model = hidden_net()
    only = take(objective, model, "local_energy", draws=3, parameters="*.weight")
    kept = take(objective, model, "local_energy", draws=3, one_d="ignore")
    assert kept.details["loss_rise"] == pytest.approx(only.details["loss_rise"], rel=1e-12)
    assert kept.value != take(objective, model, "local_energy", draws=3).value


@pytest.mark.parametrize("name", ["local_energy", "local_entropy"])
def test_models_get_the_same_draws_with_the_same_seed(name):
    """A loss 1.1 times as steep rises 1.1 times as far, draw for draw; at 1.1 times gamma it is the same again."""
    matrix = spread_matrix(6, 0.1, 5.0)
    settings = [{"noise": "additive"}] * 2 if name == "local_energy" else [{"gamma": 2.0}, {"gamma": 2.2}]
    factor = 1.1 if name == "local_energy" else 1.0
    objectives = [quadratic_of(scale * matrix) for scale in (1.0, 1.1)]

    def values(seeds):
        taken = zip(objectives, settings, seeds, strict=True)
        return [take(*one, name, draws=50, seed=seed, **own).value for one, own, seed in taken]

    first, second = values((3, 3))
    assert second / first == pytest.approx(factor, rel=1e-9)
    # The control: other draws differ by far more than the models do.
    first, second = values((3, 4))
    assert abs(second / first - factor) > 0.02


def test_local_energy_refuses_what_it_does_not_know():
    objective, weights = away_from_the_minimum(spread_matrix(6, 0.1, 5.0))
    with pytest.raises(LandscapeError, match="unknown value 'error'"):
        take(objective, weights, "local_energy", metric="error")
    with pytest.raises(LandscapeError, match="got 'multiplicativ'; did you mean 'multiplicative'"):
        take(objective, weights, "local_energy", noise="multiplicativ")


# Local entropy


@pytest.mark.parametrize("gamma", [1.0, 10.0])
def test_local_entropy_of_a_quadratic_is_the_closed_form(gamma):
    matrix = spread_matrix(3, 0.1, 10.0)
    objective, model = quadratic_of(matrix, offset=0.5)
    curvatures = torch.linalg.eigvalsh(matrix)
    found = take(objective, model, "local_entropy", gamma=gamma, draws=1500)
    assert abs(found.value + float(torch.log1p(curvatures / gamma).sum()) / 2) < 3 * found.standard_error < 0.2
    integral = -0.5 + 1.5 * math.log(2 * math.pi) - float(torch.log(curvatures + gamma).sum()) / 2
    assert abs(found.details["log_integral"] - integral) < 3 * found.standard_error


def test_a_flat_direction_beats_a_sharp_one_by_the_known_amount():
    """-1/2 log(h + gamma) at gamma = 1: .01 beats 100 by 2.3026."""
    values = []
    for curvature in (0.01, 100.0):
        objective, model = quadratic_of(torch.tensor([[curvature]]))
        values.append(take(objective, model, "local_entropy", gamma=1.0, draws=1000))
    error = math.hypot(*(found.standard_error for found in values))
    assert abs(values[0].value - values[1].value - 2.3026) < 3 * error < 0.3


@pytest.mark.parametrize(("curvature", "softened"), [(0.01, 0.00990), (1.0, 0.5), (100.0, 0.990)])
def test_the_curvature_of_local_entropy_is_that_of_a_softened_quadratic(curvature, softened):
    """At w the entropy of a quadratic is -gamma h / (h + gamma) w^2 / 2 - log(h + gamma) / 2 plus a constant."""
    objective, _ = quadratic_of(torch.tensor([[curvature]]))
    found = take(objective, {"weight": torch.tensor([[0.7]])}, "local_entropy", gamma=1.0, draws=1000)
    exact = -softened * 0.49 / 2 - math.log(curvature + 1) / 2 + math.log(2 * math.pi) / 2
    assert abs(found.details["log_integral"] - exact) < 3 * found.standard_error + 1e-4 < 0.4


class Bowl:
    """A field whose loss is a sum of h d^2 / 2."""

    def __init__(self, curvatures):
        self.curvatures, self.size = curvatures, len(curvatures)

    def zero(self):
        return torch.zeros_like(self.curvatures)

    def loss(self, step):
        return float((self.curvatures * step * step).sum()) / 2

    def slopes(self, steps):
        return [(self.loss(step), self.curvatures * step) for step in steps]

    def walking(self):
        return nullcontext()

    def noise(self, index):
        return Drawn([5, int(index.removeprefix("chain/"))], self.size)


def test_chains_find_the_local_entropy_of_a_quadratic_too(objective, mlp):
    curvatures = torch.tensor([0.5, 20.0], dtype=torch.float64)
    settings = {"gamma": 1.0, "beta": 2.0, "chains": 3, "chain_draws": 200, "burn_in": 60, "leapfrog": 3}
    found = by_chains(MeasureContext(objective, Held.of(mlp)), Bowl(curvatures), {**settings, "gammas": [10.0]})
    assert found.converged, found.details["not_converged"]
    # The profile: the closed form at the other gamma, to its own error and that of the rule.
    assert found.details["gammas"] == [1.0, 10.0]
    assert found.details["local_entropy"][0] == found.value
    wide = -float(torch.log1p(curvatures / 10.0).sum()) / 2
    assert (
        abs(found.details["local_entropy"][1] - wide) < 3 * found.details["local_entropy_standard_error"][1] < 0.3
    )
    exact = -float(torch.log1p(curvatures).sum()) / 2
    rule = abs(found.value - found.details["coarse_rule"])
    assert abs(found.value - exact) < 3 * found.standard_error + rule < 0.5
    # Dividing out the Gaussian leaves the integral itself.
    integral = exact + math.log(2 * math.pi / 2.0)
    assert found.details["log_integral"] - found.value == pytest.approx(integral - exact)


def test_curvatures_that_the_first_rule_over_strengths_misses_are_found(objective, mlp):
    # Curvatures of 100,000 gamma: by 8 intervals the integral is off by 0.25 for each, and chains have no doubts.
    curvatures = torch.tensor([1e5, 1e5], dtype=torch.float64)
    settings = {"gamma": 1.0, "beta": 1.0, "chains": 3, "chain_draws": 80, "burn_in": 40, "leapfrog": 3}
    found = by_chains(MeasureContext(objective, Held.of(mlp)), Bowl(curvatures), {**settings, "gammas": None})
    exact = -float(torch.log1p(curvatures).sum()) / 2
    strengths = np.array(found.details["strengths"]) ** 0.25
    points, weights = clenshaw_curtis(8)
    first = -float(weights @ np.interp(points, strengths, found.details["integrand"]))
    assert abs(first - exact) > 0.3
    assert len(strengths) > 9
    assert found.converged, found.details["not_converged"]
    assert abs(found.value - exact) < found.standard_error < 0.1


def test_chains_run_where_the_measure_is_asked_for(objective, mlp):
    settings = {"method": "chains", "chains": 2, "chain_draws": 8, "burn_in": 4, "leapfrog": 1, "gamma": 1e6}
    found = take(objective, mlp, "local_entropy", **settings)
    assert len(found.details["integrand"]) == len(found.details["strengths"]) == 9


def test_local_entropy_gives_no_number_where_few_draws_decide():
    objective, model = quadratic_of(spread_matrix(40, 50.0, 500.0))
    found = take(objective, model, "local_entropy", gamma=1.0, draws=50)
    assert math.isnan(found.value)
    assert not found.converged
    assert found.details["counting_draws"][0] < 20
    # More gammas cost more draws, and those near the weights count.
    profile = take(objective, model, "local_entropy", gamma=1e5, gammas=[1e4], draws=50)
    assert profile.details["gammas"] == [1e4, 1e5]
    assert profile.details["local_entropy"][0] < profile.value < 0
    assert profile.details["local_entropy_converged"] == [True, True]


def test_the_rule_of_the_strengths_is_exact_for_polynomials():
    points, weights = clenshaw_curtis(8)
    for power in range(9):
        assert float(weights @ points**power) == pytest.approx(1 / (power + 1), rel=1e-12)


def test_the_logarithm_of_a_mean_of_exponentials_knows_how_many_count():
    value, error, counting = log_mean_exp(np.log([1.0, 2.0, 3.0]))
    assert value == pytest.approx(math.log(2.0))
    assert error == pytest.approx(1.0 / 2.0 / math.sqrt(3))
    assert counting == pytest.approx(36 / 14)
    assert log_mean_exp(np.array([0.0, -800.0]))[2] == pytest.approx(1.0)


# Local learning coefficient

QUICK = {"chains": 4, "draws": 120, "burn_in": 60, "leapfrog": 3}


def test_the_learning_coefficient_of_a_regular_minimum_is_half_its_dimension():
    objective, model = quadratic_of(spread_matrix(6, 0.3, 3.0), offset=0.5)
    found = take(objective, model, "local_learning_coefficient", n=1e6, **QUICK)
    assert found.converged, found.details["not_converged"]
    low, high = found.details["interval_95"]
    # gamma takes gamma / (n beta h) / 2 off each dimension.
    temper = 1e6 / math.log(1e6)
    exact = sum(temper * h / (temper * h + 1) / 2 for h in np.geomspace(0.3, 3, 6))
    assert low < exact < high
    assert found.value == pytest.approx(3.0, abs=0.01)


def test_the_learning_coefficient_of_the_fourth_power_is_a_quarter():
    model = Power()
    found = take(squared(model, 0.0), model, "local_learning_coefficient", n=1e8, **QUICK)
    assert found.converged, found.details["not_converged"]
    low, high = found.details["interval_95"]
    assert low - 1e-3 < 0.25 < high + 1e-3
    assert found.value == pytest.approx(0.25, abs=0.005)


def valley_exact(alpha, temper, gamma):
    """E temper (x y - 1)^2 under exp(-temper (x y - 1)^2 - gamma/2 |(x, y) - (alpha, 1 / alpha)|^2), on a grid."""
    x, y = (
        np.linspace(centre - 7 / math.sqrt(gamma), centre + 7 / math.sqrt(gamma), 1501)
        for centre in (alpha, 1 / alpha)
    )
    rises = temper * (x[:, None] * y - 1) ** 2
    far = gamma / 2 * ((x[:, None] - alpha) ** 2 + (y - 1 / alpha) ** 2)
    density = np.exp(-rises - far)
    return float((rises * density).sum() / density.sum())


def test_the_learning_coefficient_does_not_feel_a_rescaling_that_changes_the_curvature():
    temper, gamma, found, exact = 300 / math.log(300), 20.0, [], []
    for alpha in (1.0, 2.0):
        model = chain_of_two(alpha, 1 / alpha)
        settings = {"n": 300, "gamma": gamma, "draws": 120, "burn_in": 60, "leapfrog": 3}
        found.append(take(squared(model, 1.0), model, "local_learning_coefficient", **settings))
        exact.append(valley_exact(alpha, temper, gamma))
        assert found[-1].converged, found[-1].details["not_converged"]
        low, high = found[-1].details["interval_95"]
        assert low < exact[-1] < high
        # A curve of minima in the plane: one dimension counts, up to what gamma takes off.
        assert exact[-1] == pytest.approx(0.5, abs=0.05)
    error = math.hypot(*(one.standard_error for one in found))
    assert abs(found[0].value - found[1].value) < abs(exact[0] - exact[1]) + 3 * error
    # The control: additive noise of one size feels it.
    energies = [
        take(squared(model, 1.0), model, "local_energy", noise="additive", draws=50, points=1).value
        for model in (chain_of_two(1.0, 1.0), chain_of_two(4.0, 0.25))
    ]
    assert energies[1] > 3 * energies[0]


def test_chains_that_have_not_converged_give_no_number():
    model = chain_of_two(0.0, 0.0)
    settings = {"n": 1e8, "chains": 2, "draws": 40, "burn_in": 5, "leapfrog": 1}
    found = take(squared(model, 0.0), model, "local_learning_coefficient", **settings)
    assert math.isnan(found.value)
    assert found.standard_error is None
    assert not found.converged
    assert found.details["not_converged"]
    assert found.details["note"].startswith(found.details["not_converged"][0])
    assert isinstance(found.details["estimate"], float)


def test_weights_that_are_no_minimum_are_told():
    objective, weights = away_from_the_minimum(spread_matrix(6, 0.3, 3.0))
    found = take(objective, weights, "local_learning_coefficient", n=100, **QUICK)
    assert math.isnan(found.value)
    assert "they are no local minimum" in found.details["not_converged"][-1]


def test_batches_cannot_decide_about_acceptance(objective, mlp):
    with pytest.raises(LandscapeError, match="cannot decide about acceptance"):
        take(objective, mlp, "local_learning_coefficient", batch=10)
    found = take(
        objective,
        mlp,
        "local_learning_coefficient",
        batch=10,
        adjusted=False,
        step=1e-3,
        leapfrog=1,
        chains=2,
        draws=20,
        burn_in=0,
    )
    assert found.details["acceptance"] is None


def test_the_noise_of_chains_follows_the_names_of_tensors(objective, mlp):
    settings = {"chains": 2, "draws": 8, "burn_in": 0, "leapfrog": 1, "step": 1e-3}
    one, two, other = (
        take(objective, mlp, "local_learning_coefficient", seed=seed, **settings).details["plain_mean"]
        for seed in (0, 0, 1)
    )
    assert one == two != other


# Epsilon-flat volume


def ellipsoid(curvatures, level):
    """The logarithm of the volume of sum of h x^2 / 2 < level."""
    size = len(curvatures)
    return log_unit_ball(size) + size / 2 * math.log(2 * level) - float(torch.log(curvatures).sum()) / 2


def test_the_volume_of_a_quadratic_is_that_of_its_ellipsoid():
    matrix = spread_matrix(4, 0.3, 3.0)
    objective, model = quadratic_of(matrix, offset=0.5)
    found = take(objective, model, "epsilon_volume", epsilon=0.1)
    exact = ellipsoid(torch.linalg.eigvalsh(matrix), 0.1)
    assert found.converged
    assert abs(found.value - exact) < 3 * found.standard_error < 0.5
    details = found.details
    error = details["extrapolation_standard_error"] + details["extrapolation_third_term"]
    assert abs(details["extrapolated_log_volume"] - exact) < 3 * error
    assert details["returning"] == details["unbounded"] == 0


def test_the_volume_of_a_ball_is_exact_in_any_dimension():
    objective, model = quadratic_of(2.0 * torch.eye(50), offset=0.5)
    found = take(objective, model, "epsilon_volume", epsilon=0.25, directions=20, tolerance=1e-9)
    assert found.value == pytest.approx(log_unit_ball(50) + 25 * math.log(0.25), abs=1e-6)


def test_many_dimensions_give_no_volume_but_an_extrapolation():
    matrix = spread_matrix(60, 0.1, 10.0)
    objective, model = quadratic_of(matrix, offset=0.5)
    found = take(objective, model, "epsilon_volume", directions=60)
    assert math.isnan(found.value)
    details, exact = found.details, ellipsoid(torch.linalg.eigvalsh(matrix), 0.1)
    error = details["extrapolation_standard_error"] + details["extrapolation_third_term"]
    assert abs(details["extrapolated_log_volume"] - exact) < 3 * error
    # Few directions miss the large radii: what they give directly is too small.
    assert details["direct_log_volume"] < exact


def test_units_of_elements_move_the_volume_by_their_logarithms_and_radii_not_at_all():
    objective, model = hidden_net()
    found = [
        take(objective, at, "epsilon_volume", directions=10, units="element").details
        for at in (model, rescaled(model, 4.0))
    ]
    assert found[1]["mean_log_radius"] == pytest.approx(found[0]["mean_log_radius"], abs=1e-6)
    # 48 numbers of the first layer times 4, 24 of the second divided by it.
    shift = found[1]["extrapolated_log_volume"] - found[0]["extrapolated_log_volume"]
    assert shift == pytest.approx(24 * math.log(4.0), abs=1e-3)
    plain = [
        take(objective, at, "epsilon_volume", directions=10).details["mean_log_radius"]
        for at in (model, rescaled(model, 4.0))
    ]
    assert abs(plain[1] - plain[0]) > 0.1


def test_the_first_of_several_crossings_counts_and_the_return_is_told():
    def waves(radius):
        return math.sin(radius)

    found = first_crossing(waves, 0.5, 0.1, 100.0, 1e-9)
    assert found.radius == pytest.approx(math.pi / 6)
    assert not first_crossing(lambda radius: radius, 0.5, 0.1, 100.0, 1e-9).returns
    assert first_crossing(waves, 0.9, 0.1, 100.0, 1e-9).returns
    assert first_crossing(lambda radius: 0.0, 0.5, 1.0, 100.0, 1e-9).radius == math.inf
    inward = first_crossing(lambda radius: radius**2, 1e-10, 1.0, 100.0, 1e-9)
    assert inward.radius == pytest.approx(1e-5)


def test_a_direction_without_end_gives_no_volume():
    model = chain_of_two(1.0, 1.0)
    objective = squared(model, 1.0)
    found = take(objective, model, "epsilon_volume", parameters="0.*", epsilon=1e9, largest=10.0, directions=2)
    assert math.isnan(found.value)
    assert found.details["unbounded"] == 2


# All of them

SMALL = {
    "epsilon_sharpness": {"iterations": 3, "restarts": 2},
    "keskar_sharpness": {"iterations": 2, "restarts": 2},
    "sam_sharpness": {"batch": 20},
    "adaptive_sharpness_worst": {"iterations": 3, "batch": 20},
    "adaptive_sharpness_average": {"draws": 4},
    "local_energy": {"draws": 3},
    "local_entropy": {"draws": 4, "gammas": [10.0]},
    "local_learning_coefficient": {"chains": 2, "draws": 8, "burn_in": 2, "leapfrog": 1},
    "epsilon_volume": {"directions": 3},
}


@pytest.mark.parametrize("name", SMALL)
def test_progress_comes_to_its_end_and_results_are_plain_and_models_stay(name, objective, mlp):
    before = {key: tensor.clone() for key, tensor in mlp.state_dict().items()}
    told = []
    found = measure(
        objective,
        mlp,
        [name],
        settings={name: SMALL[name]},
        progress=lambda what, done, total: told.append((what, done, total)),
    )[name]
    again = measure(objective, mlp, [name], settings={name: SMALL[name]})[name]
    assert told[-1][:1] == (name,)
    assert told[-1][1] == told[-1][2]
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert json.loads(json.dumps(found.to_json()))["details"].keys() == found.details.keys()
    assert repr(again.details) == repr(found.details)
    assert all(torch.equal(tensor, before[key]) for key, tensor in mlp.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in mlp.parameters())
