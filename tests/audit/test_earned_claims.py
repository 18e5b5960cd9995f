"""Claims that must be earned: each beside a control on which the naive criterion passes and the claim is wrong."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import landscape as ls
from landscape.audit import audit, compare
from landscape.curvature import both_ends, eigenpairs, kinks
from landscape.errors import LandscapeError
from landscape.measures import measure, registry
from landscape.measures.registry import Found, Measure, register
from landscape.objective import Objective
from landscape.plots.measure_words import measured_lines
from landscape.symmetry import find
from landscape.training import SAM


def seeded(make, seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def classified(model: nn.Module, x: Tensor, classes: int = 3) -> Objective:
    return Objective(model, loss=F.cross_entropy, train=(x, torch.arange(len(x)) % classes))


class Last(nn.Module):
    """A recurrent layer, and a linear one behind its last state."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.hidden_size, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


class Unknown(nn.Module):
    """A network whose rescaling hides behind an operation that is not followed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(F.relu(self.first(x)).cumsum(0).diff(dim=0, prepend=torch.zeros(1, 5, dtype=x.dtype)))


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.c, self.f = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(4, 3)

    def forward(self, x):
        return self.f(torch.fft.rfft(self.c(self.a(x).relu()).relu()).abs())


# --- what is found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "kinds", "shifts"),
    [
        (lambda: nn.RNN(2, 4, nonlinearity="relu", batch_first=True), {"rescale", "permutation"}, 4),
        (lambda: nn.RNN(2, 4, batch_first=True), {"sign", "permutation"}, 4),
        # Between the two biases of the reset and update gates; that of the new state is multiplied by a gate.
        (lambda: nn.GRU(2, 4, batch_first=True), {"sign", "permutation"}, 8),
        (lambda: nn.LSTM(2, 4, batch_first=True), {"sign", "permutation"}, 16),
        (lambda: nn.LSTM(2, 4, num_layers=2, bidirectional=True, batch_first=True), None, 0),
    ],
)
def test_recurrent_layers_are_followed(layer, kinds, shifts):
    x = seeded(lambda: torch.randn(6, 5, 2, dtype=torch.float64))
    if kinds is None:
        model = seeded(lambda: nn.Sequential(layer())).double()
        assert find(model, x).notes == ()
        return
    model = seeded(lambda: Last(layer())).double()
    symmetries = find(model, x)
    assert ({one.kind for one in symmetries.generators}, symmetries.notes) == ({*kinds, "shift"}, ())
    assert all(one.units == (shifts if one.kind == "shift" else 4) for one in symmetries.generators)
    symmetries.random(model, seed=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Unfold(2, padding=1), nn.Flatten(), nn.Linear(400, 3)
        ),
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.PReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        ),
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
        ),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout_padding_and_slopes_hide_nothing(make, layout):
    model = seeded(make).double().to(memory_format=layout)
    x = seeded(lambda: torch.randn(4, 3, 6, 6, dtype=torch.float64)).contiguous(memory_format=layout)
    symmetries = find(model, x)
    assert [one.units for one in symmetries.of_kind("rescale")][:1] == [4]
    assert [one.units for one in symmetries.of_kind("permutation")][:1] == [4]
    assert symmetries.notes == ()


def test_networks_with_slopes_are_audited():
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 3))).double()
    x = seeded(lambda: torch.randn(12, 4, dtype=torch.float64))
    report = audit(classified(model, x), model, ["hessian_top", "orbit_min_trace"])
    assert (report["orbit_min_trace"].verdict, report["hessian_top"].kind) == ("invariant", "unbounded")


def test_a_norm_that_computes_in_a_narrower_type_is_allowed_its_rounding():
    class Narrow(nn.Module):
        def forward(self, x):
            low = x.float()
            return (low * torch.rsqrt(low.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)

    model = seeded(
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), Narrow(), nn.Linear(5, 3))
    ).double()
    x = seeded(lambda: torch.randn(8, 4, dtype=torch.float64))
    symmetries = find(model, x)
    check = symmetries.check(model, symmetries.random(model, seed=0))
    assert check.passed
    # The control: another function is told apart all the same.
    other = {name: tensor * 1.001 for name, tensor in model.state_dict().items()}
    assert not symmetries.check(model, other).passed


def test_representatives_of_fused_attention_do_not_depend_on_the_start():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.f = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.f(self.a(x, x, x, need_weights=False)[0].mean(1))

    model = seeded(Attention).double()
    x = seeded(lambda: torch.randn(4, 5, 8, dtype=torch.float64))
    symmetries = find(model, x)
    moved = symmetries.random(model, seed=3, kinds=["rescale", "query-key"])
    for made in (symmetries.unit_norm, symmetries.canonical):
        one, other = made(model), made(moved)
        assert all(torch.allclose(one[name], other[name], atol=1e-12) for name in one)
        assert any(not torch.allclose(one[name], tensor) for name, tensor in moved.items())


# --- what is called invariant ------------------------------------------------------------------------------------


def test_nothing_is_called_invariant_without_a_trial():
    x = seeded(lambda: torch.randn(12, 4, dtype=torch.float64))
    linear = seeded(lambda: nn.Linear(4, 3)).double()
    row = audit(classified(linear, x), linear, ["hessian_top"])["hessian_top"]
    assert (row.verdict, row.tested) == ("not tested", ())
    assert row.reason == "no symmetry of this model was found that moves its weights"
    assert compare(*[audit(classified(linear, x), linear, ["hessian_top"])] * 2)[0].verdict == "not tested"


def test_a_rescaling_that_may_have_been_missed_leaves_measures_untested():
    x = seeded(lambda: torch.randn(12, 4, dtype=torch.float64))
    model = seeded(Unknown).double()
    found = audit(classified(model, x), model, ["hessian_top"])
    assert any("may have been missed" in one for one in found.blocked)
    assert found["hessian_top"].kind == "not tested"
    assert "cumsum" in found["hessian_top"].reason
    # The control: where tanh is known to refuse factors nothing is missed, and the permutation was tried.
    tanh = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).double()
    row = audit(classified(tanh, x), tanh, ["hessian_top"])["hessian_top"]
    assert (row.verdict, set(row.tested)) == ("invariant", {"permutation", "sign-flip"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("no kernel for this\nand more"), "no kernel for this"), (IndexError(), "IndexError")],
)
def test_a_measure_that_cannot_be_computed_does_not_end_an_audit(error, reason):
    def broken(place, settings):
        raise error

    about = {"title": "", "formula": "", "unit": "1", "source": ""}
    register(Measure("broken", invariant=(), compute=broken, **about))
    try:
        x = seeded(lambda: torch.randn(12, 4, dtype=torch.float64))
        model = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))).double()
        found = audit(classified(model, x), model, ["broken", "fisher_rao_norm"])
        assert (found["broken"].verdict, found["broken"].reason) == ("not computed", reason)
        assert found["fisher_rao_norm"].verdict == "invariant"
        with pytest.raises(LandscapeError, match=reason):
            audit(classified(model, x), model, ["broken"])
    finally:
        registry._REGISTRY.pop("broken")


def test_a_false_claim_is_withdrawn_by_its_own_trial():
    def squares(place, settings):
        return Found(sum(float(part.double().square().sum()) for part in place.weights.weights.values()))

    about = {"title": "", "formula": "", "unit": "1", "source": ""}
    register(Measure("squares", invariant=("layer-rescaling", "unit-rescaling"), compute=squares, **about))
    try:
        x = seeded(lambda: torch.randn(12, 4, dtype=torch.float64))
        model = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))).double()
        found = measure(classified(model, x), model, ["squares", "fisher_rao_norm"])
        assert found["squares"].invariant_claimed == ()
        assert "it is not invariant here" in found["squares"].notes[0]
        assert found["squares"].details["invariance"]["difference"] > 0.01
        assert found["fisher_rao_norm"].details["invariance"]["passed"] is True
        assert found["fisher_rao_norm"].notes == ()
        assert "unit-rescaling" in found["fisher_rao_norm"].invariant_claimed
    finally:
        registry._REGISTRY.pop("squares")


def test_an_orbit_minimum_with_missed_scales_says_so():
    x = seeded(lambda: torch.randn(12, 4, dtype=torch.float64))
    model = seeded(Spectral).double()
    found = measure(classified(model, x), model, ["orbit_min_trace"])["orbit_min_trace"]
    assert any("fft_r2c is not known to commute" in note for note in found.notes)


def test_an_einsum_of_weights_is_a_linear_map():
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(5, 3))

        def forward(self, x):
            return torch.einsum("hj,nh->nj", self.b, torch.einsum("ni,ih->nh", x, self.a).relu())

    model = seeded(Sums).double()
    symmetries = find(model, seeded(lambda: torch.randn(4, 6, dtype=torch.float64)))
    assert [(one.kind, one.units) for one in symmetries.generators] == [("rescale", 5), ("permutation", 5)]


# --- certificates ------------------------------------------------------------------------------------------------


class Diagonal:
    """A diagonal matrix."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.size = values.double(), len(values)

    def __matmul__(self, v: Tensor) -> Tensor:
        return self.values.to(v)[:, None] * v if v.ndim > 1 else self.values.to(v) * v


def test_a_small_residual_is_no_certificate_of_the_smallest_eigenvalue():
    # One large eigenvalue and a cluster around 0, of which any vector has a small residual beside the largest.
    values = torch.cat([torch.linspace(-1e-4, 1e-4, 2999), torch.tensor([1.0])])
    naive = both_ends(Diagonal(values), tol=1e-3)
    assert bool(naive.smallest.converged)
    assert float(naive.smallest.values) > -0.9e-4
    assert not naive.certified
    few = Diagonal(values[::10])
    sure = both_ends(few, tol=1e-3, certify=True)
    assert sure.certified
    assert float(sure.smallest.values) == pytest.approx(-1e-4, rel=1e-6)


def test_what_a_search_may_have_missed_covers_the_truth():
    source = torch.Generator().manual_seed(0)
    missed = 0
    for seed in range(100):
        values = torch.randn(400, generator=source, dtype=torch.float64)
        found = eigenpairs(Diagonal(values), tol=1e-4, seed=seed)
        assert math.isfinite(found.beyond)
        missed += float(found.values[0]) + found.beyond < float(values.max())
    assert missed == 0


def test_data_on_a_kink_are_seen_and_said():
    x = seeded(lambda: torch.randn(40, 4))
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    objective = classified(model, x)
    assert not kinks(objective, model).met
    assert measure(objective, model, ["hessian_top"])["hessian_top"].notes == ()
    with torch.no_grad():
        model[0].bias.copy_(-(model[0].weight @ x[:8].T).diagonal())
    on = kinks(objective, model)
    assert on.met
    found = measure(objective, model, ["hessian_top", "orbit_min_trace", "fisher_rao_norm"])
    assert on.note in found["hessian_top"].notes
    assert [one.converged for one in found.values()] == [False, False, True]
    assert find(model, x[:2]).flattening(objective, model).note == on.note
    assert audit(objective, model, ["hessian_top"]).notes == (on.note,)


def test_kinks_are_sought_on_all_of_few_examples_and_it_is_said_where_not(monkeypatch):
    x = seeded(lambda: torch.randn(600, 4))
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    with torch.no_grad():
        # On kinks lie examples that the first 256 do not show.
        model[0].bias.copy_(-(model[0].weight @ x[-8:].T).diagonal())
    objective = classified(model, x)
    assert kinks(objective, model).met
    assert "kinks_sought_on" not in measure(objective, model, ["hessian_top"])["hessian_top"].details
    monkeypatch.setattr(sys.modules["landscape.curvature.kinks"], "_NUMBERS", 10)
    few = kinks(objective, model)
    assert (few.met, few.examples, few.available) == (False, 256, 600)
    assert measure(objective, model, ["hessian_top"])["hessian_top"].details["kinks_sought_on"] == 256


def test_small_gauss_newton_traces_are_exact():
    x = seeded(lambda: torch.randn(40, 10))
    model = seeded(lambda: nn.Sequential(nn.Linear(10, 40), nn.Tanh(), nn.Linear(40, 6)))
    objective = classified(model, x, 6)
    assert sum(part.numel() for part in model.parameters()) > 600
    auto, exact = (
        measure(objective, model, {"gauss_newton_trace": {"method": method}}, dtype=torch.float64)[
            "gauss_newton_trace"
        ]
        for method in ("auto", "exact")
    )
    assert (auto.standard_error, auto.details["method"]) == (None, "exact")
    assert auto.value == pytest.approx(exact.value, rel=1e-9)


def test_two_maxima_are_not_called_converged():
    # L(w + d) - L(w) with a high and a low maximum at the ends of the ball, and a start that leads to the low one.
    one = torch.ones(1, 1, dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(one)

    def loss(output, target):
        d = output - 1.0
        return (d**2 * (1.0 - 0.5 * d) - 1e-3 * d).mean()

    objective = Objective(model, loss=loss, train=(one, one))
    settings = {"rho": 1.0, "units": "none", "batch": 0}
    both, alone = (
        measure(objective, model, {"adaptive_sharpness_worst": {**settings, "restarts": restarts}})
        for restarts in (2, 1)
    )
    assert alone["adaptive_sharpness_worst"].bound == "lower"
    found = both["adaptive_sharpness_worst"]
    assert found.value == pytest.approx(1.501, rel=1e-6)
    assert not found.converged
    assert "one ascent alone" in found.details["note"]


def test_batches_count_alike_as_the_formula_says():
    x = seeded(lambda: torch.randn(50, 4, dtype=torch.float64))
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).double()
    y = torch.arange(50) % 3
    found = measure(Objective(model, loss=F.cross_entropy, train=(x, y)), model, {"sam_sharpness": {"batch": 40}})
    rises = []
    for part in (slice(0, 40), slice(40, 50)):
        loss = F.cross_entropy(model(x[part]), y[part])
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        length = math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
        state = {n: p + 0.05 * s / length for (n, p), s in zip(model.named_parameters(), slopes, strict=True)}
        with torch.no_grad():
            there = F.cross_entropy(torch.func.functional_call(model, state, (x[part],)), y[part])
            rises.append(float(there) - float(loss))
    assert found["sam_sharpness"].value == pytest.approx(np.mean(rises), rel=1e-9)
    assert found["sam_sharpness"].value != pytest.approx(np.average(rises, weights=[40, 10]), rel=1e-6)


def test_streams_that_draw_at_random_are_refused():
    class Noisy(torch.utils.data.Dataset):
        def __init__(self, noise: float) -> None:
            self.noise = noise

        def __len__(self) -> int:
            return 6

        def __getitem__(self, place):
            return torch.full((2,), float(place)) + self.noise * torch.randn(2), place % 2

    model = seeded(lambda: nn.Linear(2, 2))
    Objective(model, loss=F.cross_entropy, train=Noisy(0.0), stream=True)
    with pytest.raises(LandscapeError, match="gives other examples on a second pass"):
        Objective(model, loss=F.cross_entropy, train=Noisy(0.1), stream=True)


def test_sam_moves_running_statistics_once():
    x = seeded(lambda: torch.randn(20, 3)) + 1
    model, twin = (seeded(lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))) for _ in range(2))
    optimizer = SAM(model.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), torch.arange(20) % 2)
        loss.backward()
        return loss

    optimizer.step(closure)
    twin(x)
    assert int(model[0].num_batches_tracked) == 1
    assert torch.equal(model[0].running_mean, twin[0].running_mean)
    # The control: both passes would have moved them.
    closure()
    assert int(model[0].num_batches_tracked) == 2


def test_interpolated_statistics_are_refused_where_there_is_nothing_between():
    with pytest.raises(LandscapeError, match="bn interpolate is of planes through snapshots or runs, got pca"):
        ls.pipeline.Slice(kind="trajectory", bn="interpolate")
    ls.pipeline.Slice(plane="snapshots:0,1,2", bn="interpolate")


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "frobenius"])
def test_standard_errors_cover_at_their_nominal_rate(method):
    # Of a known matrix, 500 times: 95 % intervals cover 92 to 98 % (binomial, 3 sigma).
    from landscape.curvature import frobenius, trace

    values = torch.linspace(0.0, 2.0, 300) ** 3
    truth, covered = float(values.sum()), 0
    matrix = seeded(lambda: torch.linalg.qr(torch.randn(300, 300, dtype=torch.float64))[0])
    whole = matrix * values.double() @ matrix.T

    class Dense:
        size = 300

        def __matmul__(self, v: Tensor) -> Tensor:
            return whole.to(v) @ v

    if method == "frobenius":
        truth = float(values.double().square().sum().sqrt())
    for seed in range(500):
        if method == "frobenius":
            found = frobenius(Dense(), "hutchinson", samples=60, seed=seed)
        else:
            found = trace(Dense(), method, samples=60, seed=seed)
        covered += abs(found.value - truth) <= 2.0 * found.standard_error
    assert 0.92 <= covered / 500 <= 0.98


def test_vectors_of_two_eigenvalues_within_the_tolerance_are_not_told_apart():
    values = torch.linspace(0.0, 0.5, 300)
    for gap, known in ((0.3, True), (1e-9, False)):
        found = eigenpairs(Diagonal(torch.cat([values, torch.tensor([1.0, 1.0 + gap]).double()])), 2, tol=1e-4)
        # The naive criterion passes for both: residuals are small, and the values right.
        assert bool(found.converged.all())
        assert found.values.tolist() == pytest.approx([1.0 + gap, 1.0], rel=1e-6)
        assert (found.turned(0) < 0.1) == known
        if known:
            assert float(found.vectors[-1, 0].abs()) > math.cos(math.asin(found.turned(0))) - 1e-12


@pytest.mark.parametrize(("heavy", "doubted"), [(True, True), (False, False)])
def test_a_mean_that_few_draws_make_is_doubted(heavy, doubted):
    # L(w + d) - L(w) = exp(9 d_1) or d_1^2 of 50 parameters: the mean of the first is e^(40.5 sigma^2), which no
    # fifty draws come near to, and its standard error says nothing of that.
    model = nn.Linear(50, 1, bias=False).double()
    one = torch.eye(50, dtype=torch.float64)[:1] if heavy else torch.eye(50, dtype=torch.float64)
    with torch.no_grad():
        model.weight.zero_()

    def loss(output, target):
        return torch.exp(9 * output).mean() if heavy else output.square().mean()

    objective = Objective(model, loss=loss, train=(one, torch.zeros(len(one), 1, dtype=torch.float64)))
    settings = {"noise": "additive", "sigma": 0.5, "points": 1, "draws": 50}
    found = measure(objective, model, {"local_energy": settings})["local_energy"]
    truth = math.exp(0.5 * (9 * 0.5) ** 2) - 1 if heavy else 0.25
    assert (abs(found.value - truth) > 3 * found.standard_error) == doubted
    assert (not found.converged) == doubted
    assert ("too skewed" in found.details.get("note", "")) == doubted


def test_parameters_that_are_not_registered_are_named_beside_measures_and_audits():
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = nn.Linear(4, 5), [nn.Linear(5, 3)]

        def forward(self, x):
            return self.rest[0](self.first(x).relu())

    x = seeded(lambda: torch.randn(12, 4))
    model = seeded(Hidden)
    objective = classified(model, x)
    (note,) = objective.notes
    found = measure(objective, model, ["hessian_trace", "hessian_top"])
    assert all(note in one.notes for one in found.values())
    assert note in audit(objective, model, ["hessian_top"]).notes
    document = {"file": "r", "step": 0, "measures": {name: one.to_json() for name, one in found.items()}}
    assert sum(note in line for line in measured_lines(document)) == 1
    alone = {**document, "measures": {"hessian_top": document["measures"]["hessian_top"]}}
    assert sum(note in line for line in measured_lines(alone)) == 1
