"""Measures of recorded steps against closed forms, in float64."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape import LandscapeError
from landscape.curvature import Curvature
from landscape.measures import step_measures
from landscape.measures.critical import MOST_PASSES, crossing
from landscape.optimizers import Step, threshold
from landscape.optimizers.norms import dual_norm, steepest
from landscape.training.sam import SAM
from landscape.trajectory import Recorder, open_trajectory

X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(24, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TERMS = ["step_gain", "step_penalty", "step_remainder"]


def linear() -> nn.Module:
    """A model whose squared error is a quadratic of its weights."""
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


def curved() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def recorded(path, model, make, steps=3, **options):
    """A run with its objective, full batch."""
    objective = ls.Objective(model, loss=F.mse_loss, train=(X, Y), test=(X[:7], Y[:7]))
    optimizer = make(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    with Recorder(path, model, optimizer=optimizer, **options) as recorder:
        for step in range(steps):
            recorder.snapshot(step, train_loss=F.mse_loss(model(X), Y).item())
            optimizer.step(closure)
        recorder.snapshot(steps, train_loss=F.mse_loss(model(X), Y).item())
    return open_trajectory(path), objective


MAKERS = {
    "sgd": lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.5),
    "adam": lambda w: torch.optim.Adam(w, lr=0.02),
    "adamw": lambda w: torch.optim.AdamW(w, lr=0.02, weight_decay=0.1),
    "sam": lambda w: SAM(w, lr=0.1, rho=0.05),
    "unknown": lambda w: torch.optim.Rprop(w, lr=0.02),
}


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("build", [linear, curved])
def test_gain_penalty_and_remainder_add_up_to_the_recorded_change(tmp_path, name, build):
    run, objective = recorded(tmp_path / "run.h5", build(), MAKERS[name])
    table = ls.measures.along(run, objective, TERMS)
    gain, penalty, rest = (table[one].values[:-1] for one in TERMS)
    np.testing.assert_allclose(penalty - gain + rest, np.diff(run.metrics["train_loss"]), rtol=1e-10, atol=1e-14)
    if build is linear:
        np.testing.assert_allclose(rest, 0, atol=1e-13 * np.abs(penalty).max() + 1e-14)
    else:
        assert (np.abs(rest) > 1e-9).all()
    assert np.isfinite(table["step_gain"].standard_errors[:-1]).all()
    # Nothing follows the last snapshot.
    assert all(math.isnan(table[one].values[-1]) for one in TERMS)


def test_standard_errors_are_those_of_the_examples(tmp_path):
    """On a quadratic the terms of single examples are known, and their spread is the error."""
    run, objective = recorded(tmp_path / "run.h5", linear(), MAKERS["sgd"])
    found = ls.measures.measure(objective, run[0], TERMS)
    model = linear()
    run.load_into(model, 0)
    update = run[0].next_step.update
    residual, moved = model(X) - Y, F.linear(X, update["weight"], update["bias"])
    gain, penalty = -(2 * residual * moved).mean(dim=1), (moved**2).mean(dim=1)
    for name, each in (("step_gain", gain), ("step_penalty", penalty)):
        assert found[name].value == pytest.approx(each.mean().item(), rel=1e-10)
        assert found[name].standard_error == pytest.approx(each.std().item() / len(X) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("name", list(MAKERS))
def test_critical_sharpness_of_a_quadratic_is_the_closed_form(tmp_path, name):
    run, objective = recorded(tmp_path / "run.h5", linear(), MAKERS[name])
    matrix = Curvature(objective, run[0]).dense()
    found = ls.measures.measure(objective, run[0], ["critical_sharpness", "directional_sharpness"])
    operator = Curvature(objective, run[0])
    update = operator.flatten(run[0].next_step.update)
    along, slope = update @ matrix @ update, operator.gradient() @ update
    rate = run[0].next_step.lr
    # 2 / eta_c with eta_c = 2 g.d / d.H d along d = -D / lr.
    assert found["critical_sharpness"].value == pytest.approx((-along / slope / rate).item(), rel=1e-6)
    assert found["critical_sharpness"].details["forward_passes"] <= MOST_PASSES
    assert found["directional_sharpness"].value == pytest.approx((along / update.square().sum()).item(), rel=1e-9)


def test_the_step_is_compared_with_the_top_eigenvectors(tmp_path):
    run, objective = recorded(tmp_path / "run.h5", curved(), MAKERS["adam"])
    operator = Curvature(objective, run[0])
    values, vectors = torch.linalg.eigh(operator.dense())
    update, gradient = operator.flatten(run[0].next_step.update), operator.gradient()
    settings = {"directional_sharpness": {"k": 2, "tol": 1e-8}}
    details = ls.measures.measure(objective, run[0], settings)["directional_sharpness"].details
    assert details["eigenvalues"] == pytest.approx(values[[-1, -2]].tolist(), rel=1e-6)
    assert details["ratio"] == pytest.approx(
        (update @ operator.dense() @ update / update.square().sum() / values[-1]).item(), rel=1e-6
    )
    for name, of in (("update_alignment", update), ("gradient_alignment", gradient)):
        aligned = (vectors[:, [-1, -2]].T @ of).abs() / of.norm()
        assert details[name] == pytest.approx(aligned.tolist(), abs=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 0.3, 0.999, 1.001, 4.0, 60.0])
def test_the_crossing_of_a_parabola_is_found_in_ten_passes_from_anywhere(scale):
    """-t + t^2 / scale rises beyond 0 at t = scale."""
    calls = []
    found = crossing(lambda t: calls.append(t) or -t + t * t / scale, 0.01)
    assert found.at == pytest.approx(scale, rel=1e-2)
    assert len(calls) + 1 == found.passes <= MOST_PASSES


@pytest.mark.parametrize("scale", [0.05, 0.7, 3.0, 20.0])
def test_the_crossing_of_other_curves_is_within_the_tolerance(scale):
    for curve in (
        lambda s: -s + s**4,
        lambda s: -s + 0.3 * s**2 + 0.7 * s**3,
        lambda s: math.expm1(s) - 1.718 * s,
    ):
        root = max(float(r) for r in np.geomspace(0.5, 2, 100001) if curve(float(r)) < 0)
        found = crossing(lambda t, curve=curve: curve(t / scale), 0.01)
        assert found.at == pytest.approx(root * scale, rel=2e-2)
        assert found.passes <= MOST_PASSES


def test_a_step_uphill_has_no_rate_and_a_flat_one_no_end():
    assert crossing(lambda t: t + t * t, 0.01).at == 0
    far = crossing(lambda t: -t, 0.01)
    assert math.isnan(far.at)
    assert far.low == 2 ** (MOST_PASSES - 2)


def test_critical_sharpness_is_relative_on_other_data(tmp_path):
    run, objective = recorded(tmp_path / "run.h5", linear(), MAKERS["sgd"])
    other = ls.Objective(linear(), loss=F.mse_loss, train=(X[:7], Y[:7]))
    of_test = ls.measures.along(run, objective, "critical_sharpness", split="test", at=0)
    of_other = ls.measures.along(run, other, "critical_sharpness", at=0)
    own = ls.measures.along(run, objective, "critical_sharpness", at=0)
    values = [table["critical_sharpness"].values[0] for table in (of_test, of_other, own)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)
    assert values[0] != pytest.approx(values[2], rel=1e-3)


def largest(matrix: torch.Tensor) -> float:
    return torch.linalg.eigvals(matrix).real.max().item()


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "sam"])
def test_what_the_optimizer_sees_is_the_dense_eigenvalue(tmp_path, name):
    run, objective = recorded(tmp_path / "run.h5", curved(), MAKERS[name])
    step, operator = run[1].next_step, Curvature(objective, run[1])
    matrix = operator.dense()
    scale = operator.flatten(step.preconditioner) if step.preconditioner else torch.ones(len(matrix))
    sharpness = largest(matrix / scale[:, None])
    size = operator.gradient().norm().item()
    edge = threshold(step.kind, step.uniform, gradient_norm=size)
    found = ls.measures.measure(
        objective, run[1], ["preconditioned_sharpness", "sharpness_threshold", "lr_headroom", "norm_sharpness"]
    )
    assert found["preconditioned_sharpness"].value == pytest.approx(sharpness, rel=1e-4)
    assert found["norm_sharpness"].value == pytest.approx(sharpness, rel=1e-4)
    assert found["sharpness_threshold"].value == pytest.approx(edge, rel=1e-10)
    assert found["lr_headroom"].value == pytest.approx(edge / sharpness, rel=1e-4)


def test_coupled_decay_and_rates_of_groups_are_part_of_what_is_seen(tmp_path):
    def make(_parameters):
        groups = [{"params": [model[0].weight, model[0].bias], "weight_decay": 0.5}]
        return torch.optim.SGD([*groups, {"params": model[2].parameters(), "lr": 0.05}], lr=0.1)

    model = curved()
    run, objective = recorded(tmp_path / "run.h5", model, make)
    operator = Curvature(objective, run[0])
    rates = operator.flatten(
        {n: torch.full_like(w, 0.1 if n[0] == "0" else 0.05) for n, w in run[0].weights.items()}
    )
    decay = operator.flatten(
        {n: torch.full_like(w, 0.5 if n[0] == "0" else 0.0) for n, w in run[0].weights.items()}
    )
    matrix = rates[:, None] * (operator.dense() + decay.diag())
    found = ls.measures.measure(objective, run[0], ["preconditioned_sharpness", "lr_headroom"])
    assert found["preconditioned_sharpness"].value == pytest.approx(largest(matrix) / 0.1, rel=1e-4)
    # The steps w <- w - rates g grow from the eigenvalue 2 on.
    assert found["lr_headroom"].value == pytest.approx(2 / largest(matrix), rel=1e-4)


def test_head_room_without_a_theory_is_how_far_the_step_could_go(tmp_path):
    run, objective = recorded(tmp_path / "run.h5", linear(), MAKERS["unknown"])
    found = ls.measures.measure(objective, run[0], ["lr_headroom", "critical_sharpness", "sharpness_threshold"])
    assert found["lr_headroom"].value == pytest.approx(found["critical_sharpness"].details["headroom"])
    assert "no threshold is known of Rprop" in found["lr_headroom"].details["note"]
    assert math.isnan(found["sharpness_threshold"].value)


def step_with(kind, update, **settings):
    own = {"lr": 0.1, **settings}
    return Step(0, kind, kind, (own,), dict.fromkeys(update, 0), update)


class Lion(torch.optim.SGD):
    """Named as sign methods are; its step is not looked at."""


def test_the_largest_curvature_over_signs_is_found_by_enumeration(tmp_path):
    run, objective = recorded(tmp_path / "run.h5", linear(), lambda w: Lion(w, lr=0.1))
    assert run[0].next_step.kind == "sign"
    matrix = Curvature(objective, run[0]).dense()
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=len(matrix))), dtype=torch.float64)
    best = ((corners @ matrix) * corners).sum(dim=1).max().item()
    gradient = Curvature(objective, run[0]).gradient()
    found = ls.measures.measure(objective, run[0], ["norm_sharpness", "sharpness_threshold", "lr_headroom"])
    assert found["norm_sharpness"].value == pytest.approx(best, rel=1e-10)
    assert found["norm_sharpness"].details["exact"]
    assert found["sharpness_threshold"].value == pytest.approx(2 * gradient.abs().sum().item() / 0.1, rel=1e-10)
    assert found["lr_headroom"].value == pytest.approx(found["sharpness_threshold"].value / best, rel=1e-10)


def test_an_ascent_in_the_largest_entry_is_a_lower_bound_that_is_reached(tmp_path):
    model = curved()
    run, objective = recorded(tmp_path / "run.h5", model, lambda w: Lion(w, lr=0.1))
    operator = Curvature(objective, run[0])
    matrix = operator.dense()
    found = ls.measures.measure(objective, run[0], ["norm_sharpness"])["norm_sharpness"]
    assert found.bound == "lower"
    assert not found.details["exact"]
    # |d.H d| <= sum |H_ij| for any signs; random ones are below what the ascents find.
    assert found.value <= matrix.abs().sum().item()
    signs = torch.randn(4000, len(matrix), generator=torch.Generator().manual_seed(0), dtype=torch.float64).sign()
    assert found.value >= ((signs @ matrix) * signs).sum(dim=1).max().item()


def test_steepest_directions_have_norm_one_and_reach_the_dual_norm():
    generator = torch.Generator().manual_seed(3)
    tensors = {"a": torch.randn(4, 2, generator=generator, dtype=torch.float64), "b": torch.randn(3).double()}
    muon = step_with("muon", tensors, adjustment=0.0)
    best = steepest(muon, tensors)
    assert torch.linalg.matrix_norm(best["a"], 2).item() == pytest.approx(math.sqrt(2))
    assert dual_norm(muon, tensors) == pytest.approx(
        math.sqrt(2) * torch.linalg.matrix_norm(tensors["a"], "nuc").item() + tensors["b"].abs().sum().item()
    )
    sign = step_with("sign", tensors)
    assert dual_norm(sign, tensors) == pytest.approx(sum(one.abs().sum().item() for one in tensors.values()))


def test_muon_is_measured_in_the_spectral_norm(tmp_path):
    """On |X W^T - Y|^2 with one output the largest d.H d over |d| <= 1 is the top eigenvalue of its block."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1, bias=False).double()
    objective = ls.Objective(model, loss=F.mse_loss, train=(X, Y[:, :1]))
    optimizer = torch.optim.Muon(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.h5", model, optimizer=optimizer) as recorder:
        recorder.snapshot(0)
        F.mse_loss(model(X), Y[:, :1]).backward()
        optimizer.step()
    run = open_trajectory(tmp_path / "run.h5")
    top = torch.linalg.eigvalsh(Curvature(objective, run[0]).dense())[-1].item()
    found = ls.measures.measure(objective, run[0], ["norm_sharpness"])["norm_sharpness"]
    assert found.value == pytest.approx(top, rel=1e-3)
    assert found.value <= top * (1 + 1e-12)


def test_along_a_run_there_is_a_row_for_each_step_and_measure(tmp_path):
    run, objective = recorded(tmp_path / "run.h5", linear(), MAKERS["sgd"])
    frame = ls.measures.along(run, objective, ["step_gain", "hessian_top"]).to_dataframe()
    assert list(frame.columns) == ["step", "measure", "value", "standard_error"]
    assert len(frame) == 2 * len(run)
    assert frame[frame.measure == "hessian_top"].value.notna().all()


@pytest.mark.parametrize("products", ["auto", "finite-difference"])
def test_every_measure_is_taken_with_either_kind_of_products(tmp_path, products):
    run, objective = recorded(tmp_path / "run.h5", curved(), MAKERS["adam"])
    exact = ls.measures.along(run, objective, list(step_measures()), at=1)
    found = ls.measures.along(run, objective, list(step_measures()), at=1, products=products)
    for name in step_measures():
        tolerance = 1e-4 * abs(exact["step_penalty"].values[0]) if name == "step_remainder" else 0
        assert found[name].values[0] == pytest.approx(exact[name].values[0], rel=1e-3, abs=tolerance), name


def test_what_cannot_be_measured_is_said_in_a_line(tmp_path):
    objective = ls.Objective(linear(), loss=F.mse_loss, train=(X, Y))
    with Recorder(tmp_path / "plain.h5", linear()) as recorder:
        recorder.snapshot(0)
    plain = open_trajectory(tmp_path / "plain.h5")
    only, _ = recorded(tmp_path / "only.h5", linear(), MAKERS["adam"], record=("lr",))
    updates, _ = recorded(tmp_path / "updates.h5", linear(), MAKERS["adam"], record=("update",))
    cases = [
        (plain[0], "step_gain", "no recorded updates.*--record"),
        (linear(), "step_gain", "come without a recorded update"),
        (only[0], "step_gain", "only settings"),
        (updates[0], "preconditioned_sharpness", "preconditioner of Adam was not recorded"),
    ]
    for weights, name, words in cases:
        with pytest.raises(LandscapeError, match=words) as error:
            ls.measures.measure(objective, weights, name)
        assert "\n" not in str(error.value)


def test_steps_that_say_nothing_are_undefined_with_a_reason(tmp_path):
    still, objective = recorded(tmp_path / "still.h5", linear(), lambda w: torch.optim.SGD(w, lr=0.0))
    broken, _ = recorded(tmp_path / "broken.h5", linear(), lambda w: torch.optim.SGD(w, lr=math.nan))
    cases = [
        (still[0], "critical_sharpness", "zero as its learning rate is 0"),
        (still[0], "lr_headroom", "learning rate of the step is 0"),
        (broken[0], "step_gain", "update of step 0 is not finite"),
        (still[-1], "step_gain", "no update follows this snapshot"),
    ]
    for weights, name, words in cases:
        found = ls.measures.measure(objective, weights, name)[name]
        assert math.isnan(found.value)
        assert words in found.details["note"]


class Moved:
    """A snapshot and its step, both taken along a symmetry of the network."""

    def __init__(self, snapshot, change):
        self.layout, self.buffers, step = snapshot.layout, snapshot.buffers, snapshot.next_step
        self.weights = change(snapshot.weights, 1)
        moved = {"update": change(step.update, 1)}
        if step.preconditioner is not None:
            # A scale of a weight acts on its square.
            moved["preconditioner"] = change(step.preconditioner, -1)
        self._step = replace(step, **moved)

    @property
    def next_step(self):
        return self._step


def permuted(tensors, _sign):
    order = torch.tensor([2, 0, 3, 1])
    return {
        "0.weight": tensors["0.weight"][order],
        "0.bias": tensors["0.bias"][order],
        "2.weight": tensors["2.weight"][:, order],
        "2.bias": tensors["2.bias"],
    }


def flipped(tensors, sign):
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64) if sign > 0 else torch.ones(4).double()
    return {
        "0.weight": signs[:, None] * tensors["0.weight"],
        "0.bias": signs * tensors["0.bias"],
        "2.weight": tensors["2.weight"] * signs,
        "2.bias": tensors["2.bias"],
    }


@pytest.mark.parametrize("name", list(step_measures()))
@pytest.mark.parametrize("change", [permuted, flipped])
def test_measures_claim_no_more_than_holds_where_weights_and_update_move_together(tmp_path, name, change):
    run, objective = recorded(tmp_path / "run.h5", curved(), MAKERS["adam"])
    before, after = (
        ls.measures.measure(objective, at, name)[name].value for at in (run[1], Moved(run[1], change))
    )
    assert after == pytest.approx(before, rel=1e-3 if "sharpness" in name or "headroom" in name else 1e-8)


def test_a_rescaling_changes_what_the_optimizer_sees(tmp_path):
    """The control: layers of a network that is linear in each, times a factor and divided by it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Identity(), nn.Linear(4, 2)).double()
    run, objective = recorded(tmp_path / "run.h5", model, MAKERS["sgd"])

    def scaled(tensors, _sign):
        factors = {"0.weight": 3.0, "0.bias": 3.0, "2.weight": 1 / 3}
        return {name: factors.get(name, 1.0) * one for name, one in tensors.items()}

    name = "preconditioned_sharpness"
    before, after = (
        ls.measures.measure(objective, at, name)[name].value for at in (run[1], Moved(run[1], scaled))
    )
    assert abs(after / before - 1) > 0.5
