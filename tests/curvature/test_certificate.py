"""The function that is differentiated is the function that is drawn: checked, cured or refused."""

import functools
from collections.abc import Callable

import derivative_models as models
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.curvature import Curvature, certificate, eigenpairs, frobenius, gauss_newton_diagonal, trace
from landscape.curvature.derivatives import Derivatives
from landscape.curvature.passes import Passes
from landscape.errors import LandscapeError
from landscape.measures import measure
from landscape.objective import Objective
from landscape.probes import connect
from landscape.projection import random_plane
from landscape.surface import evaluate, grid
from landscape.surface.hessian_map import hessian_map
from landscape.surface.slopes import gradient_field
from landscape.training import Settings

# Of torch, of models that are wrong.
pytestmark = pytest.mark.filterwarnings(
    "ignore:None of the inputs", "ignore:.*weight_norm", "ignore:Converting a t"
)
TYPES = (torch.float32, torch.float64)


def data(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 4, generator=generator), torch.randint(0, 3, (40,), generator=generator)
    return x.to(dtype), y


def built(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float32) -> tuple[Objective, nn.Module]:
    torch.manual_seed(1)
    model = make().to(dtype).eval()
    return Objective(model, loss=F.cross_entropy, train=data(dtype)), model


@functools.cache
def reference(name: str) -> Tensor:
    """The Hessian as differences of the loss alone, float64: right for whatever the loss drawn is."""
    x, y = data(torch.float64)
    model = built(models.CURED[name][0])[1].double()
    parameters = list(model.parameters())
    start = torch.cat([p.detach().flatten() for p in parameters])

    def loss(flat: Tensor) -> float:
        for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.data.copy_(part.view_as(p))
        with torch.no_grad():
            return float(F.cross_entropy(model(x), y))

    h = torch.finfo(torch.float64).eps ** 0.25
    moves = torch.eye(len(start), dtype=torch.float64) * h
    found = torch.zeros(len(start), len(start), dtype=torch.float64)
    for i, a in enumerate(moves):
        for j, b in enumerate(moves[: i + 1]):
            four = loss(start + a + b) - loss(start + a - b) - loss(start - a + b) + loss(start - a - b)
            found[i, j] = found[j, i] = four / (4 * h * h)
    loss(start)
    return found


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", models.RIGHT)
def test_what_is_right_is_left_alone(name, dtype):
    objective, model = built(models.RIGHT[name], dtype)
    operator = Curvature(objective, model)
    operator @ torch.ones(operator.size)
    assert operator.derivatives == Derivatives()
    assert "derivatives" not in measure(objective, model, "sam_sharpness")["sam_sharpness"].details


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", models.CURED)
def test_what_is_wrong_is_cured_and_said(name, dtype):
    make, cure = models.CURED[name]
    objective, model = built(make, dtype)
    operator = Curvature(objective, model)
    found = operator.dense()
    assert getattr(operator.derivatives, cure)
    truth = reference(name)
    assert float((found - truth).norm()) < 1e-4 * float(truth.norm())
    measured = measure(objective, model, "hessian_top")["hessian_top"]
    assert measured.details["derivatives"] == operator.derivatives.note != ""
    assert abs(measured.value - float(torch.linalg.eigvalsh(truth)[-1])) < 1e-4 * measured.value


def test_torch_alone_gets_those_wrong():
    # The controls: without the check the same products are wrong, or end in an error of torch.
    for name, (make, cure) in models.CURED.items():
        objective, model = built(make, torch.float64)
        operator = Curvature(objective, model)
        operator._ready = True
        truth = reference(name)
        try:
            gap = float((operator.dense() - truth).norm() / truth.norm())
        except RuntimeError:
            continue
        assert gap > 1e-2, (name, cure)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", models.REFUSED)
def test_what_nothing_helps_is_refused_and_drawn(name, dtype):
    make, words = models.REFUSED[name]
    objective, model = built(make, dtype)
    operator = Curvature(objective, model)
    with pytest.raises(LandscapeError, match=words):
        operator @ torch.ones(operator.size)
    for kind in ("sam_sharpness", "hessian_top", "gauss_newton_trace", "fisher_rao_norm"):
        with pytest.raises(LandscapeError, match=words):
            measure(objective, model, kind)
    assert measure(objective, model, "local_energy")["local_energy"].value > 0
    assert objective.value(model) > 0


@pytest.mark.parametrize("seed", range(50))
def test_kinks_are_no_fault(seed):
    # Some 2,500 units that have one each, inputs exactly on them, biases of zero and a dead layer.
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    width = 40 + seed % 3 * 30
    kinked = [nn.ReLU, nn.LeakyReLU, nn.Hardtanh][seed % 3]
    layers: list[nn.Module] = [
        nn.Linear(4, width),
        kinked(),
        nn.Linear(width, width),
        kinked(),
        nn.Linear(width, 3),
    ]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        model[0].bias.zero_()
        model[2].weight[: seed % 7] = 0
    x = torch.randn(60, 4, generator=generator)
    x[::5] = 0
    objective = Objective(model, loss=F.cross_entropy, train=(x, torch.randint(0, 3, (60,), generator=generator)))
    operator = Curvature(objective, model)
    operator @ torch.ones(operator.size)
    assert operator.derivatives.note == ""


@pytest.mark.parametrize("kind", ["module", "function", "bag"])
def test_sparse_gradients_are_dense_here(kind):
    torch.manual_seed(0)
    words, dense = models.Words(kind), models.Words("module")
    if kind != "bag":
        dense.load_state_dict(words.state_dict())
    x, y = torch.randint(0, 9, (40, 3)), torch.randint(0, 3, (40,))
    objective = Objective(words, loss=F.cross_entropy, train=(x, y))
    operator = Curvature(objective, words, dtype=torch.float64)
    found, slope = operator.dense(), operator.gradient()
    if kind != "bag":
        dense.words.sparse = False
        other = Curvature(Objective(dense, loss=F.cross_entropy, train=(x, y)), dense, dtype=torch.float64)
        torch.testing.assert_close(found, other.dense())
        torch.testing.assert_close(slope, other.gradient())
    assert 0 < float(found.norm()) < 100
    assert measure(objective, words, "sam_sharpness")["sam_sharpness"].value > 0
    assert words.words.sparse == (kind != "function")


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton", "fisher", "empirical-fisher"])
@pytest.mark.parametrize("dtype", TYPES)
def test_differences_are_as_far_off_as_they_say(kind, dtype):
    objective, model = built(models.RIGHT["tanh"], dtype)
    exact = Curvature(objective, model, kind, dtype=torch.float64)
    differenced = Curvature(objective, model, kind, dtype=dtype, products="finite-difference")
    generator = torch.Generator().manual_seed(0)
    honest = 0
    for _ in range(40):
        vector = torch.randn(exact.size, generator=generator, dtype=torch.float64)
        truth, found = exact @ vector, differenced @ vector
        error = differenced.error * float(found.norm())
        honest += float((found - truth).norm()) <= error
        assert error < (1e-7 if dtype is torch.float64 else 2e-2) * float(truth.norm())
    assert honest >= 38
    assert "finite differences" in differenced.derivatives.note


def test_differences_are_as_far_off_as_they_say_in_95_of_100_trials():
    objective, model = built(models.RIGHT["tanh"], torch.float64)
    exact = Curvature(objective, model, dtype=torch.float64)
    differenced = Curvature(objective, model, dtype=torch.float64, products="finite-difference")
    generator, trials, honest = torch.Generator().manual_seed(1), 1000, 0
    for _ in range(trials):
        vector = torch.randn(exact.size, generator=generator, dtype=torch.float64)
        found = differenced @ vector
        honest += float((found - exact @ vector).norm()) <= differenced.error * float(found.norm())
    assert honest >= 0.95 * trials


def test_spectral_measures_take_differences():
    objective, model = built(models.RIGHT["tanh"])
    exact, other = Curvature(objective, model), Curvature(objective, model, products="finite-difference")
    assert other.dtype == torch.float64
    assert float(eigenpairs(other).values[0]) == pytest.approx(float(eigenpairs(exact).values[0]), rel=1e-4)
    assert trace(other, method="exact").value == pytest.approx(trace(exact, method="exact").value, rel=1e-4)
    assert frobenius(other).value == pytest.approx(frobenius(exact).value, rel=1e-4)
    vector = torch.ones(exact.size)
    assert other.quadratic(vector) == pytest.approx(exact.quadratic(vector), rel=1e-4)
    with pytest.raises(LandscapeError, match="unknown products 'finite'"):
        Curvature(objective, model, products="finite")


def test_one_check_for_an_objective(monkeypatch):
    made, passes = [], []
    check, score = certificate._Certificate.derivatives, Passes.loss_of
    monkeypatch.setattr(certificate._Certificate, "derivatives", lambda self: made.append(1) or check(self))
    monkeypatch.setattr(Passes, "loss_of", lambda self, batch: passes.append(self._tried) or score(self, batch))
    objective, model = built(models.RIGHT["tanh"])
    for _ in range(2):
        measure(objective, model, ["hessian_top", "hessian_trace", "sam_sharpness"])
        Curvature(objective, model, parameters="0.*").gradient()
    assert len(made) == 1
    # Of 8 examples, without gradients: the loss at the weights and away from them, and at four steps of two sizes
    # along one vector and of one size along another. With a graph: the type it goes through, the value, the
    # Hessian in both types, and five for differences of gradients.
    assert sum(passes) == (2 + 8 + 4) + (1 + 1 + 2 + 5)


def test_a_check_answers_for_subsets_and_for_nothing_else(monkeypatch):
    made: list[int] = []
    check = certificate._Certificate.derivatives
    monkeypatch.setattr(certificate._Certificate, "derivatives", lambda self: made.append(1) or check(self))
    objective, model = built(models.RIGHT["tanh"])
    few = objective.subset(4)
    Curvature(few, model).require()
    Curvature(objective, model).require()
    Curvature(objective.subset(5).subset(4), model).require()
    assert len(made) == 2
    Curvature(objective.penalised(0.1), model).require()
    assert len(made) == 3


def pinn(model: nn.Module, batch: Tensor) -> Tensor:
    z = batch.clone().requires_grad_()
    u = model(z)
    slope = torch.autograd.grad(u.sum(), z, create_graph=True, allow_unused=True)[0]
    return ((slope if slope is not None else 0 * z) + u).square().mean(1)


def strict_pinn(model: nn.Module, batch: Tensor) -> Tensor:
    z = batch.clone().requires_grad_()
    u = model(z)
    return (torch.autograd.grad(u.sum(), z, create_graph=True)[0] + u).square().mean(1)


@pytest.mark.parametrize("loss", [pinn, strict_pinn])
def test_losses_that_differentiate_have_no_gauss_newton_matrix(loss):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))
    objective = Objective(model, loss=loss, train=torch.linspace(0, 1, 40)[:, None])
    assert measure(objective, model, "hessian_top")["hessian_top"].value > 0
    # From gradients of single examples, without outputs.
    assert measure(objective, model, "fisher_rao_norm")["fisher_rao_norm"].value > 0
    for name in ("gauss_newton_trace", "gauss_newton_top"):
        with pytest.raises(LandscapeError, match="output and the loss cannot be told apart; got the loss d"):
            measure(objective, model, name)


def test_a_loss_with_a_wrong_second_derivative_has_no_gauss_newton_matrix():
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return models.HalfSecond.apply(output - F.one_hot(target, 3)).sum(1)

    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    objective = Objective(model, loss=loss, train=data())
    assert "finite differences" in measure(objective, model, "hessian_top")["hessian_top"].details["derivatives"]
    with pytest.raises(LandscapeError, match="second derivative of the loss by the model's output"):
        Curvature(objective, model, "gauss-newton") @ torch.ones(43)
    with pytest.raises(LandscapeError, match="second derivative of the loss by the model's output"):
        gauss_newton_diagonal(objective, model)


def test_fast_attention_is_left_where_it_is_wrong():
    class Masked(nn.Module):
        def __init__(self, kind: torch.dtype) -> None:
            super().__init__()
            self.block, self.head = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), nn.Linear(4, 3)
            self.mask = torch.ones(3, 3).triu(1).bool() if kind is torch.bool else nn.Parameter(torch.randn(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(torch.stack([x, x.roll(1, 1), -x], 1), src_mask=self.mask)[:, 0])

    for kind in (torch.bool, torch.float32):
        objective, model = built(lambda kind=kind: Masked(kind))
        x, y = data()
        assert objective.value(model) == pytest.approx(float(F.cross_entropy(model(x), y)), rel=1e-6)
        operator = Curvature(objective, model)
        operator @ torch.ones(operator.size)
        assert operator.derivatives.note == ""
        with torch.inference_mode():
            # The control: torch's own answer in evaluation mode.
            assert bool(model(x).isfinite().all()) == (kind is torch.bool)


def test_curves_are_trained_through_checkpoints_and_sparse_embeddings():
    for make, inputs in ((lambda: models.Checkpointed(True), data()[0]), (lambda: models.Words("module"), None)):
        torch.manual_seed(0)
        x = torch.randint(0, 9, (40, 3)) if inputs is None else inputs
        a, b = make(), make()
        objective = Objective(a, loss=F.cross_entropy, train=(x, data()[1]))
        found = connect(objective, a, b, settings=Settings(epochs=2, batch_size=20, lr=0.1))
        assert bool(torch.tensor(found.curve.fields["train_loss"]).isfinite().all())


def stable(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy with a detached maximum, which changes nothing."""
    output = model(batch[0])
    most = output.max(1, keepdim=True).values.detach()
    return (output - most).exp().sum(1).log() + most[:, 0] - output.gather(1, batch[1][:, None])[:, 0]


@pytest.mark.parametrize("factor", [1.0, 6.0, 9.0, 14.0])
def test_what_changes_nothing_is_no_fault_nor_is_a_loss_near_zero(factor):
    # Fitted, and then the more certain: losses from 1e-3 down to what rounding leaves of 0.
    torch.manual_seed(0)
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Linear(30, 3))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        model[2].weight *= factor
    for objective in (
        Objective(model, loss=F.cross_entropy, train=(x, y)),
        Objective(model, loss=stable, train=(x, y)),
    ):
        for kind in ("hessian", "gauss-newton"):
            operator = Curvature(objective, model, kind, dtype=torch.float64)
            operator @ torch.ones(operator.size)
            assert operator.derivatives == Derivatives(doubt=operator.derivatives.doubt)
            assert factor > 6 or operator.derivatives.doubt == ""


def test_a_quantised_map_is_refused_as_a_whole():
    objective, model = built(models.REFUSED["quantised weights"][0])
    plane = random_plane(model, seed=0)
    for draw in (hessian_map, gradient_field):
        with pytest.raises(LandscapeError, match="moves in jumps"):
            draw(objective, plane, grid(3))
    assert evaluate(objective, plane, grid(3)).values.min() > 0
