"""The Gauss-Newton diagonal against Jacobians that torch.func made."""

import copy
import math

import pytest
import torch
from curvature_cases import NAMES, case
from test_curvature_operators import close, contrast, language_model, tokens
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.curvature import Curvature, gauss_newton_blocks, gauss_newton_diagonal, gauss_newton_draws
from landscape.curvature.factors import factor_of
from landscape.curvature.linear_layers import squares_by_layer
from landscape.curvature.passes import Passes
from landscape.errors import LandscapeError
from landscape.objective import Objective, next_token_loss


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


@pytest.mark.parametrize("batch_size", [None, 4, 1])
@pytest.mark.parametrize("name", NAMES)
def test_exact_diagonals(name, batch_size):
    wanted = case(name).gauss_newton.diagonal()
    found = gauss_newton_diagonal(case(name).objective, case(name).model, batch_size=batch_size)
    assert found.exact
    assert close(flat(found), wanted)
    assert [tuple(tensor.shape) for tensor in found.values()] == [
        tuple(p.shape) for p in case(name).model.parameters()
    ]
    assert sum(trace.value for trace in found.traces.values()) == pytest.approx(float(wanted.sum()), rel=1e-10)
    assert float(flat(found.standard_errors).abs().max()) == 0


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_examples_one_by_one_give_the_same(name, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no rule for batches")

    monkeypatch.setattr("landscape.curvature.jacobians.squares_by_layer", broken)
    monkeypatch.setattr("landscape.curvature.jacobians.vmap", broken)
    found = gauss_newton_diagonal(case(name).objective, case(name).model, batch_size=4)
    assert close(flat(found), case(name).gauss_newton.diagonal())


def test_a_batched_kernel_that_is_wrong_is_not_trusted(monkeypatch):
    # With this one in the place of the right, squares of Jacobians come out twice as large.
    right = torch.func.vjp

    def wrong(function, *primals):
        output, pull = right(function, *primals)
        return output, lambda given: ({name: 2**0.5 * part for name, part in pull(given)[0].items()},)

    monkeypatch.setattr("landscape.curvature.jacobians.squares_by_layer", lambda *_: None)
    monkeypatch.setattr("landscape.curvature.jacobians.vjp", wrong)
    found = gauss_newton_diagonal(case("tanh").objective, case("tanh").model)
    assert close(flat(found), case("tanh").gauss_newton.diagonal())


def test_squares_by_layer_that_are_wrong_are_not_trusted(monkeypatch):
    monkeypatch.setattr(
        "landscape.curvature.jacobians.squares_by_layer",
        lambda *given: [2 * part for part in squares_by_layer(*given) or ()],
    )
    found = gauss_newton_diagonal(case("tanh").objective, case("tanh").model)
    assert close(flat(found), case("tanh").gauss_newton.diagonal())


class Twice(nn.Module):
    """A layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(torch.tanh(self.inner(x))))


class Borrowed(Twice):
    """Weights that are used outside of their layer too."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x) @ self.inner.weight))


LAYERED = {
    "linear layers": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)), True),
    "one of other layers": (lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), False),
    "a layer called twice": (Twice, False),
    "weights used elsewhere": (Borrowed, False),
    "changed in place": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU(), Scale(), nn.Linear(4, 2)), True),
    "its result changed in place": (lambda: nn.Sequential(nn.Linear(3, 4), Scale(), nn.Linear(4, 2)), False),
}


class Scale(nn.Module):
    """Doubles in place."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


@pytest.mark.parametrize("name", LAYERED)
def test_squares_are_taken_by_layer_only_where_layers_say_all(name):
    make, simple = LAYERED[name]
    torch.manual_seed(0)
    model = make().double()
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 2
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    passes = Passes(objective, model, "train", None, None, None)
    with passes.kernels():
        batch = passes.whole()
        covectors = torch.randn(5, 6, 2, dtype=torch.float64)
        found = squares_by_layer(passes, batch, [covectors])
        assert (found is not None) == simple
        outputs = passes.separated(batch)[0].outputs[0]
        wanted = [torch.zeros_like(variable) for variable in passes.variables]
        for row in covectors:
            for output, covector in zip(outputs, row, strict=True):
                slopes = torch.autograd.grad(output, passes.variables, covector, retain_graph=True)
                wanted = [total + slope**2 for total, slope in zip(wanted, slopes, strict=True)]
    for part, total in zip(found or wanted, wanted, strict=True):
        assert close(part.flatten(), total.flatten())
    exact = gauss_newton_diagonal(objective, model)
    dense = Curvature(objective, model, kind="gauss-newton").dense()
    assert close(flat(exact), dense.diagonal())


def test_sampled_diagonals_have_honest_errors():
    tanh = case("tanh")
    wanted = tanh.gauss_newton.diagonal()
    traces = [part.sum() for part in wanted.split([p.numel() for p in tanh.model.parameters()])]
    within, of_traces, draws = 0.0, 0, 20
    for seed in range(draws):
        found = gauss_newton_diagonal(tanh.objective, tanh.model, samples=24, seed=seed, batch_size=3)
        assert (found.exact, found.samples) == (False, 24)
        within += float(((flat(found) - wanted).abs() <= 3 * flat(found.standard_errors)).double().mean()) / draws
        of_traces += sum(
            abs(estimate.value - float(trace)) <= 3 * estimate.standard_error
            for estimate, trace in zip(found.traces.values(), traces, strict=True)
        )
    assert within >= 0.95
    assert of_traces >= 0.95 * draws * len(traces)


def test_samples_have_no_bias():
    cnn = case("cnn")
    found = gauss_newton_diagonal(cnn.objective, cnn.model, samples=400, batch_size=4)
    wanted = cnn.gauss_newton.diagonal()
    scaled = (flat(found) - wanted)[wanted > 0] / flat(found.standard_errors)[wanted > 0]
    assert float(scaled.abs().max()) < 5
    assert 0.7 < float(scaled.pow(2).mean()) < 1.4


def test_tokens_and_tied_weights():
    model, _ = language_model()
    objective = Objective(model, loss=next_token_loss, train=tokens())
    wanted = Curvature(objective, model, "gauss-newton").dense().diagonal()
    assert close(flat(gauss_newton_diagonal(objective, model, batch_size=3)), wanted)
    sampled = gauss_newton_diagonal(objective, model, samples=40, batch_size=1)
    assert abs(float(flat(sampled).sum()) / float(wanted.sum()) - 1) < 0.15


def hinge(output: Tensor, target: Tensor) -> Tensor:
    """Convex, smooth, and neither a softmax nor a sum over outputs."""
    return (output.pow(2).sum(1) + 1).sqrt() + F.mse_loss(
        output, F.one_hot(target, 3).double(), reduction="none"
    ).sum(1)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (hinge, case("tanh").y),
        (nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 3.0]).double(), label_smoothing=0.1), case("tanh").y),
        (nn.CrossEntropyLoss(), torch.where(torch.arange(11) < 3, -100, case("tanh").y)),
        (F.binary_cross_entropy_with_logits, F.one_hot(case("tanh").y, 3).double()),
        (F.huber_loss, F.one_hot(case("tanh").y, 3).double()),
    ],
)
def test_other_losses(loss, target):
    tanh = case("tanh")
    objective = Objective(tanh.model, loss=loss, train=(tanh.x, target))
    wanted = Curvature(objective, tanh.model, "gauss-newton").dense().diagonal()
    assert close(flat(gauss_newton_diagonal(objective, tanh.model, batch_size=4)), wanted)


def test_roots_of_confident_predictions_keep_their_digits():
    model = copy.deepcopy(case("tanh").model)
    with torch.no_grad():
        model[-1].weight.mul_(12)
    objective = Objective(model, loss=F.cross_entropy, train=(case("tanh").x, case("tanh").y))
    passes = Passes(objective, model, "train", None, None, None)
    parts, _ = passes.separated(passes.trial(11))
    p = parts.leaves[0].detach().softmax(1)
    assert float(p.max()) > 1 - 1e-7
    (root,) = factor_of(parts).multiply(torch.eye(3).double()[:, None, :].expand(-1, 11, -1))
    squared = torch.einsum("enc,end->ncd", root, root)
    wanted = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    assert float((squared - wanted).abs().max()) < 1e-14


def test_selected_parameters_and_blocks():
    cnn = case("cnn")
    blocks = gauss_newton_blocks(cnn.objective, cnn.model, parameters="0.*")
    assert list(blocks) == ["0.weight", "0.bias"]
    assert blocks["0.weight"].value == pytest.approx(float(cnn.gauss_newton.diagonal()[:36].sum()), rel=1e-10)


def test_what_has_no_diagonal_is_refused():
    tanh = case("tanh")

    def concave(output: Tensor, target: Tensor) -> Tensor:
        return output.sigmoid().pow(2).sum(1)

    objective = Objective(tanh.model, loss=concave, train=(tanh.x, tanh.y))
    with pytest.raises(LandscapeError, match="the loss is not convex in the model's outputs"):
        gauss_newton_diagonal(objective, tanh.model)
    objective = Objective(tanh.model, loss=contrast, train=(tanh.x, tanh.y), batch_size=4)
    with pytest.raises(LandscapeError, match="gives means of batches only"):
        gauss_newton_diagonal(objective, tanh.model)
    with pytest.raises(LandscapeError, match="samples: must be 2 at least"):
        gauss_newton_diagonal(tanh.objective, tanh.model, samples=1)


def test_replicates_tell_the_error_of_their_mean():
    held = case("tanh")
    exact = float(flat(gauss_newton_diagonal(held.objective, held.model)).sum())
    near, away = 0, []
    for seed in range(100):
        draws = gauss_newton_draws(held.objective, held.model, samples=4, seed=seed, batch_size=2)
        sums = torch.stack([flat(draw).sum() for draw in draws])
        error = float(sums.std()) / math.sqrt(len(sums))
        away.append((float(sums.mean()) - exact) / error)
        near += abs(away[-1]) <= 3
    assert near >= 95
    # Neither too small nor too large: with Student's t of seven degrees of freedom, give or take its own scatter.
    assert 0.7 <= sum(one**2 for one in away) / 100 <= 2.4


def test_an_affordable_diagonal_is_exact():
    held = case("tanh")
    (found,) = gauss_newton_draws(held.objective, held.model)
    assert torch.equal(flat(found), flat(gauss_newton_diagonal(held.objective, held.model)))
