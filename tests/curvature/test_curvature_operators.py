"""Products with curvature matrices, against dense ones that torch.func made."""

import copy
import functools
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from conftest import Untouched, make_data, make_mlp
from curvature_cases import NAMES, Block, case
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from landscape.curvature import Curvature
from landscape.curvature.convolution import Convolutions
from landscape.curvature.graphs import HessianGraph
from landscape.curvature.kernels import twice_differentiable
from landscape.errors import LandscapeError
from landscape.objective import Objective, next_token_loss

KINDS = {
    "hessian": "hessian",
    "gauss-newton": "gauss_newton",
    "fisher": "gauss_newton",
    "empirical-fisher": "empirical_fisher",
}


def close(got: Tensor, wanted: Tensor, tolerance: float = 1e-10) -> bool:
    return float((got - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [None, 4, 1])
def test_products_equal_the_dense_matrix_at_any_batch_size(name, kind, batch_size):
    wanted = getattr(case(name), KINDS[kind])
    operator = Curvature(case(name).objective, case(name).model, kind, batch_size=batch_size)
    vectors = torch.randn(operator.size, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert close(operator @ vectors, wanted @ vectors)
    assert close(operator @ vectors[:, 0], wanted @ vectors[:, 0])
    v = vectors[:, 0]
    assert operator.quadratic(v) == pytest.approx(float(v @ wanted @ v), rel=1e-9)
    assert operator.products == 7


@pytest.mark.parametrize("name", NAMES)
def test_gradient_value_and_matrix(name):
    operator = Curvature(case(name).objective, case(name).model, batch_size=4)
    assert close(operator.gradient(), case(name).gradient)
    assert operator.value() == pytest.approx(float(case(name).mean(case(name).weights)), rel=1e-12)
    assert close(operator.dense(), case(name).hessian)


def test_the_mean_of_batch_means_is_another_matrix():
    # The control: 11 examples in batches of 4, 4 and 3, each mean counting the same, as some tools do.
    tanh = case("tanh")
    parts = [
        Curvature(Objective(tanh.model, loss=tanh.loss, train=(x, y)), tanh.model).dense()
        for x, y in zip(tanh.x.split(4), tanh.y.split(4), strict=True)
    ]
    naive = torch.stack(parts).mean(0)
    weighted = sum(len(x) * part for x, part in zip(tanh.x.split(4), parts, strict=True)) / len(tanh.x)
    assert not close(naive, tanh.hessian, 1e-3)
    assert close(weighted, tanh.hessian)


class Unequal(nn.Module):
    """A language model whose sequences differ in length."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.block = nn.Embedding(5, 4), nn.TransformerEncoderLayer(4, 2, 5, 0.0, batch_first=True)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.block(self.embed(input_ids)))}


def reference(model: nn.Module, loss: Tensor) -> Tensor:
    """The Hessian by one backward pass per row; each parameter once."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [
        torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        for entry in gradient
    ]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def tokens() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(0, 5, (7, 6), generator=generator)
    return {
        "input_ids": numbers,
        "attention_mask": (torch.arange(6) < torch.tensor([[6], [2], [3]] * 3)[:7]).long(),
    }


@functools.cache
def language_model() -> tuple[nn.Module, Tensor]:
    """A model, and the Hessian of its mean loss per token."""
    model = Unequal().double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
    with twice_differentiable(torch.device("cpu"), model):
        sums, counts = next_token_loss(model, tokens())
        return model, reference(model, sums.sum() / counts.sum())


@pytest.mark.parametrize("batch_size", [7, 3, 1])
def test_the_mean_over_tokens_with_tied_weights(batch_size):
    model, wanted = language_model()
    objective = Objective(model, loss=next_token_loss, train=tokens())
    operator = Curvature(objective, model, batch_size=batch_size)
    assert operator.size == sum(parameter.numel() for parameter in model.parameters())
    assert close(operator.dense(), wanted)
    gauss_newton = Curvature(objective, model, "gauss-newton", batch_size=batch_size).dense()
    assert close(gauss_newton, Curvature(objective, model, "fisher", batch_size=7).dense())
    assert float(torch.linalg.eigvalsh(gauss_newton)[0]) > -1e-12
    # The two differ by the curvature of the outputs.
    assert not close(gauss_newton, wanted, 1e-3)


@pytest.mark.parametrize("batch_size", [None, 4, 1])
@pytest.mark.parametrize(
    "loss",
    [
        partial(F.cross_entropy, weight=torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)),
        nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        F.cross_entropy,
        lambda output, target: F.cross_entropy(output, target.clamp(0)),
        lambda output, target: F.cross_entropy(output, target.clamp(0), reduction="none"),
    ],
)
def test_weighted_ignored_and_plain_losses(loss, batch_size):
    tanh, target = case("tanh"), case("tanh").y.clone()
    target[4] = -100
    operator = Curvature(
        Objective(tanh.model, loss=loss, train=(tanh.x, target)), tanh.model, batch_size=batch_size
    )
    assert close(operator.dense(), reference(tanh.model, loss(tanh.model(tanh.x), target).mean()))


def test_log_probabilities_have_a_fisher_matrix_and_no_gauss_newton():
    tanh = case("tanh")
    model = nn.Sequential(copy.deepcopy(tanh.model), nn.LogSoftmax(1))
    objective = Objective(model, loss=F.nll_loss, train=(tanh.x, tanh.y))
    assert close(Curvature(objective, model, "fisher", batch_size=4).dense(), tanh.gauss_newton)
    with pytest.raises(
        LandscapeError, match="linear in the model's output, so that the Gauss-Newton matrix is zero"
    ):
        Curvature(objective, model, "gauss-newton")


def penalised(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    squares = sum((parameter**2).sum() for parameter in model.parameters())
    return F.cross_entropy(model(batch[0]), batch[1]) + 0.1 * squares


def test_a_loss_of_the_model_has_a_hessian_but_cannot_be_separated():
    tanh = case("tanh")
    objective = Objective(tanh.model, loss=penalised, train=(tanh.x, tanh.y))
    wanted = tanh.hessian + 0.2 * torch.eye(len(tanh.hessian), dtype=torch.float64)
    assert close(Curvature(objective, tanh.model, batch_size=4).dense(), wanted)
    with pytest.raises(LandscapeError, match="cannot be told apart; got the loss reads the weights"):
        Curvature(objective, tanh.model, "gauss-newton")
    with pytest.raises(LandscapeError, match="gives means of batches only"):
        Curvature(objective, tanh.model, "empirical-fisher")


def test_a_loss_that_calls_the_model_twice_cannot_be_separated():
    def twice(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return ((model(batch[0]) - model(-batch[0])) ** 2).mean(1)

    objective = Objective(case("tanh").model, loss=twice, train=(case("tanh").x, case("tanh").y))
    with pytest.raises(LandscapeError, match="got the loss calls the model 2 times; give a loss of"):
        Curvature(objective, case("tanh").model, "gauss-newton")


def test_a_loss_with_weights_predicts_no_known_distribution():
    tanh = case("tanh")
    loss = nn.CrossEntropyLoss(weight=torch.ones(3, dtype=torch.float64))
    objective = Objective(tanh.model, loss=loss, train=(tanh.x, tanh.y))
    with pytest.raises(LandscapeError, match="not known from this loss; got CrossEntropyLoss with weights"):
        Curvature(objective, tanh.model, "fisher")


def contrast(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Negatives come from the batch."""
    scores = model(batch[0]) @ model(batch[0]).T
    return F.cross_entropy(scores, torch.arange(len(scores)))


def test_batches_that_the_objective_fixes_are_kept():
    tanh = case("tanh")
    objective = Objective(tanh.model, loss=contrast, train=(tanh.x, tanh.y), batch_size=4)
    assert objective.fixed_batch == 4
    losses = [(len(x), contrast(tanh.model, (x, None))) for x in tanh.x.split(4)]
    wanted = reference(tanh.model, sum(count * loss for count, loss in losses) / 11)
    assert close(Curvature(objective, tanh.model).dense(), wanted)
    with pytest.raises(LandscapeError, match="batch_size: the loss depends on how the data are cut"):
        Curvature(objective, tanh.model, batch_size=3)


def test_selected_parameters_are_a_principal_block():
    cnn = case("cnn")
    operator = Curvature(cnn.objective, cnn.model, parameters="0.*, 5.bias")
    places = torch.cat([torch.arange(40), torch.arange(len(cnn.hessian))[-3:]])
    assert operator.names == ("0.weight", "0.bias", "5.bias")
    assert close(operator.dense(), cnn.hessian[places][:, places])


@pytest.mark.parametrize("products", ["auto", "finite-difference"])
@pytest.mark.parametrize("name", ["tanh", "transformer"])
def test_products_within_a_parameter_are_those_of_its_block(name, products):
    held = case(name)
    whole = Curvature(held.objective, held.model, products=products)
    start = 0
    for parameter in whole.names:
        stop = start + held.objective.layout[parameter].numbers
        vectors = torch.zeros(whole.size, 2, dtype=torch.float64)
        vectors[start:stop] = torch.randn(stop - start, 2, generator=torch.Generator().manual_seed(0)).double()
        found = (whole.within(parameter) @ vectors)[start:stop]
        wanted = (held.hessian @ vectors)[start:stop]
        tolerance = 1e-10 if products == "auto" else 1e-4
        assert float((found - wanted).abs().max()) <= tolerance * float((held.hessian @ vectors).abs().max())
        start = stop


def test_frozen_parameters_are_left_out():
    model = make_mlp().double()
    model[2].requires_grad_(False)
    inputs, targets = make_data()
    objective = Objective(model, loss=F.cross_entropy, train=(inputs.double(), targets))
    operator = Curvature(objective, model)
    untouched = Untouched(model)
    assert operator.size == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    x, y = objective.data["train"].inputs, objective.data["train"].targets
    assert close(operator.dense(), reference(model, F.cross_entropy(model(x), y)))
    untouched.check()


def test_flatten_follows_the_layout():
    operator = Curvature(case("cnn").objective, case("cnn").model, parameters="weight")
    vector = torch.arange(operator.size, dtype=torch.float64)
    tensors = operator.unflatten(vector)
    assert list(tensors) == ["0.weight", "1.weight", "5.weight"]
    assert torch.equal(operator.flatten({**tensors, "other": vector}), vector)
    with pytest.raises(LandscapeError, match=r"tensor '1.weight' is missing or misshapen"):
        operator.flatten({"0.weight": tensors["0.weight"]})


def test_loading_moves_a_private_copy():
    tanh = case("tanh")
    elsewhere = {name: 1.5 * parameter.detach() for name, parameter in tanh.model.named_parameters()}
    operator, moved = (Curvature(tanh.objective, weights) for weights in (tanh.model, elsewhere))
    before = operator @ torch.ones(operator.size, dtype=torch.float64)
    operator.load(elsewhere)
    after = operator @ torch.ones(operator.size, dtype=torch.float64)
    assert torch.equal(after, moved @ torch.ones(operator.size, dtype=torch.float64))
    operator.load(tanh.model)
    assert torch.equal(operator @ torch.ones(operator.size, dtype=torch.float64), before)
    assert not close(before, after, 1e-2)


def test_nothing_global_changes():
    block = Block().eval()
    x, y = make_data((3, 4))
    objective = Objective(block, loss=F.cross_entropy, train=(x, y))

    def flags() -> tuple[bool, ...]:
        cuda = torch.backends.cuda
        return (
            torch.backends.mha.get_fastpath_enabled(),
            *(cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()),
            torch.is_grad_enabled(),
        )

    before, untouched = flags(), Untouched(block)
    with torch.no_grad():
        for kind in KINDS:
            operator = Curvature(objective, block, kind)
            assert operator @ torch.ones(operator.size) @ torch.ones(operator.size) != 0
    untouched.check()
    assert flags() == before
    model = nn.Sequential(copy.deepcopy(block), nn.Threshold(0, 0))
    model[0].head.weight.data.fill_(torch.inf)
    with pytest.raises(LandscapeError, match="not finite"):
        Curvature(Objective(model, loss=F.cross_entropy, train=(x, y)), model).gradient()
    assert flags() == before


def test_what_is_not_finite_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    objective = Objective(model, loss=F.mse_loss, train=(torch.ones(3, 2), torch.ones(3, 2)))
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    weights["1.weight"] *= 1e38
    operator = Curvature(objective, weights)
    with pytest.raises(LandscapeError, match=r"0.weight: the gradient is not finite; the loss has no curvature"):
        operator.gradient()
    with pytest.raises(LandscapeError, match="a product with the curvature matrix is not finite"):
        operator @ torch.ones(operator.size)


def test_the_penalty_adds_its_multiple_of_the_identity():
    tanh = case("tanh")
    with_penalty = Curvature(tanh.objective, tanh.model, penalty=True)
    assert close(with_penalty.dense(), tanh.hessian + 0.1 * torch.eye(with_penalty.size, dtype=torch.float64))
    assert close(with_penalty.gradient(), tanh.gradient + 0.1 * tanh.weights)
    assert with_penalty.value() == pytest.approx(tanh.objective.value(tanh.model, metric="total"), rel=1e-12)


def test_graphs_that_take_too_much_are_made_anew(monkeypatch):
    tanh = case("tanh")
    monkeypatch.setattr("landscape.curvature.operator._GRAPH_BYTES", 2000)
    monkeypatch.setattr("landscape.curvature.operator.free_memory", lambda device: 8000)
    operator = Curvature(tanh.objective, tanh.model)
    assert operator.batch_size < 11
    assert close(operator.dense(), tanh.hessian)
    assert operator._kept is None


def test_streamed_data_give_the_same():
    tanh = case("tanh")
    loader = DataLoader(TensorDataset(tanh.x, tanh.y), batch_size=4)
    streamed = Objective(tanh.model, loss=tanh.loss, train=loader, stream=True)
    assert close(Curvature(streamed, tanh.model).dense(), tanh.hessian)


def test_element_types():
    single = copy.deepcopy(case("tanh").model).float()
    x, y = case("tanh").x.float(), case("tanh").y
    objective = Objective(single, loss=F.cross_entropy, train=(x, y))
    wanted = case("tanh").hessian
    assert Curvature(objective, single).dtype == torch.float32
    assert close(Curvature(objective, single).dense(), wanted, 1e-5)
    assert close(Curvature(objective, single, dtype=torch.float64).dense(), wanted, 1e-5)
    ones = torch.ones(len(wanted), dtype=torch.float64)
    assert (Curvature(objective, single) @ ones).dtype == torch.float64
    half = Objective(copy.deepcopy(single).bfloat16(), loss=F.cross_entropy, train=(x.bfloat16(), y))
    assert Curvature(half, half.model).dtype == torch.float32
    with pytest.raises(LandscapeError, match=r"dtype: must be torch.float32 or torch.float64; got torch.bfloat16"):
        Curvature(objective, single, dtype=torch.bfloat16)


def test_recurrent_nets():
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.net(x)[0][:, -1])

    model = Recurrent().double()
    x, y = make_data((4, 2), 6)
    objective = Objective(model, loss=F.cross_entropy, train=(x.double(), y))
    wanted = reference(model, F.cross_entropy(model(x.double()), y))
    assert close(Curvature(objective, model).dense(), wanted)


def test_faults_are_said():
    tanh = case("tanh")
    with pytest.raises(LandscapeError, match="unknown kind 'hesian'; did you mean 'hessian'"):
        Curvature(tanh.objective, tanh.model, "hesian")
    with pytest.raises(LandscapeError, match="no split 'test'"):
        Curvature(tanh.objective, tanh.model, split="test")
    with pytest.raises(LandscapeError, match="nothing is left to move"):
        Curvature(tanh.objective, tanh.model, parameters="conv*")
    operator = Curvature(tanh.objective, tanh.model)
    with pytest.raises(LandscapeError, match=r"cannot be multiplied by this matrix; got \(3,\)"):
        operator @ torch.ones(3)


def test_a_matrix_too_large_is_not_written_out():
    model = nn.Linear(100, 100)
    objective = Objective(model, loss=F.mse_loss, train=(torch.ones(2, 100), torch.ones(2, 100)))
    with pytest.raises(LandscapeError, match="too large to be written out; got 10,100 rows; expected 8,192"):
        Curvature(objective, model).dense()


class _Convolutions(nn.Module):
    """All that convolutions in two dimensions may meet: strides, groups, dilation, sharing, changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.normal, self.plain = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)
        self.shared = nn.Conv2d(4, 4, 3, padding=(1, 2), dilation=(1, 2), groups=2, bias=False)
        self.same = nn.Conv2d(4, 4, 3, padding="same")
        self.once, self.twice = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, bias=False)
        self.alone = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.normal(self.first(x)))
        x = self.plain(self.shared(x)) + self.shared(x).relu_()
        changed = self.shared(x)
        changed.add_(1.0)
        x = torch.sigmoid(self.normal(changed)) * self.alone(x)
        once = self.alone(self.once(x))
        twice = self.twice(x)
        x = once + self.normal(twice) + twice
        return self.head(self.plain(self.same(x)).mean((2, 3)))


def test_replaced_convolutions_have_the_derivatives_of_torchs_own() -> None:
    torch.manual_seed(0)
    model = _Convolutions().double().eval()
    x, y = torch.randn(5, 2, 6, 7, dtype=torch.float64), torch.arange(5) % 3
    variables = list(model.parameters())
    directions = [torch.randn_like(one) for one in variables]
    convolutions = Convolutions(torch.device("cpu"), model)

    def product(quick: bool) -> list[Tensor]:
        with convolutions.replaced() if quick else nullcontext():
            total = F.cross_entropy(model(x), y, reduction="sum")
        graph = HessianGraph(total, variables)
        return [total, *graph.gradient, *graph.apply(directions, False)]

    wanted = product(False)
    # The second time normalisations are foreseen, of which some do not come.
    for _ in range(3):
        for got, own in zip(product(True), wanted, strict=True):
            torch.testing.assert_close(got, own, rtol=1e-12, atol=1e-12)
