import functools
import math
import random

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data, make_mlp
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.projection import random_line
from landscape.surface import Grid, axis, evaluate


def test_the_loss_is_the_mean_over_examples_in_float64():
    model, (x, y) = make_mlp(), make_data()
    exact = F.cross_entropy(make_mlp().double()(x.double()), y).item()
    ours = Objective(model, loss=F.cross_entropy, train=(x, y)).value(model)
    assert ours == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 50, 1000])
def test_the_micro_batch_does_not_matter(batch_size):
    model, data = make_convnet().eval(), make_data((1, 4, 4))
    whole = Objective(model, loss=F.cross_entropy, train=data, batch_size=50).values(model)
    cut = Objective(model, loss=F.cross_entropy, train=data, batch_size=batch_size).values(model)
    assert cut == pytest.approx(whole, rel=1e-6)


def test_a_loss_without_reduction_is_weighted_by_the_size_of_the_micro_batch():
    model, (x, y) = make_mlp(), make_data()

    def plain(output, target):
        return F.cross_entropy(output, target)

    ours = Objective(model, loss=plain, train=(x, y), batch_size=16)
    assert ours.value(model) == pytest.approx(
        Objective(model, loss=F.cross_entropy, train=(x, y)).value(model), rel=1e-6
    )


@pytest.mark.parametrize("batch_size", [7, 50])
@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 9.0])),
        nn.CrossEntropyLoss(ignore_index=1),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 9.0]), ignore_index=2, label_smoothing=0.1),
        functools.partial(F.cross_entropy, weight=torch.tensor([1.0, 5.0, 9.0])),
        nn.MultiMarginLoss(),
    ],
)
def test_weights_of_classes_and_ignored_targets_count_as_in_torch_whatever_the_micro_batch(loss, batch_size):
    model, (x, y) = make_mlp(), make_data()
    objective = Objective(model, loss=loss, train=(x, y), batch_size=batch_size)
    with torch.no_grad():
        assert objective.value(model) == pytest.approx(loss(model(x), y).item(), rel=1e-6)


def test_targets_that_are_ignored_late_in_the_data_are_not_examples():
    model, (x, y) = make_mlp(), make_data()
    y[40:] = -100
    objective = Objective(model, loss=F.cross_entropy, train=(x, y), batch_size=10)
    with torch.no_grad():
        assert objective.value(model) == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-6)
        wrong = (model(x[:40]).argmax(1) != y[:40]).double().mean().item()
    assert objective.value(model, metric="error") == pytest.approx(wrong)
    measured = objective.evaluator().measure(["train"], ["loss"])["train_loss"]
    kept = Objective(model, loss=F.cross_entropy, train=(x[:40], y[:40])).evaluator().measure(["train"], ["loss"])
    assert measured.standard_error == pytest.approx(kept["train_loss"].standard_error, rel=0.02)


def test_an_unknown_weighting_has_no_standard_error():
    model, (x, y) = make_mlp(), make_data()

    def halved(output, target, reduction="mean"):
        return F.cross_entropy(output, target, reduction=reduction) * (0.5 if reduction == "mean" else 1.0)

    objective = Objective(model, loss=halved, train=(x, y))
    with torch.no_grad():
        assert objective.value(model) == pytest.approx(halved(model(x), y).item(), rel=1e-6)
    assert math.isnan(objective.evaluator().measure(["train"], ["loss"])["train_loss"].standard_error)


class Heads(nn.Module):
    """Two outputs, as a tuple."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(6, 1)

    def forward(self, x):
        return self.map(x), -self.map(x)


@pytest.mark.parametrize(
    ("model", "loss", "targets"),
    [
        (Heads(), lambda o, t: F.mse_loss(o[0], t[0]) + F.mse_loss(o[1], t[1]), lambda y: (y[:, None] * 1.0,) * 2),
        (nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)), F.mse_loss, lambda y: y),
        (nn.Linear(6, 1), lambda o, t: F.poisson_nll_loss(o, t), lambda y: y[:, None]),
    ],
)
def test_tuples_and_counts_have_a_loss_and_no_error(model, loss, targets):
    x, y = make_data()
    objective = Objective(model, loss=loss, train=(x, targets(y)))
    with torch.no_grad():
        assert objective.value(model) == pytest.approx(loss(model(x), targets(y)).item(), rel=1e-6)
    assert objective.metrics == ("loss", "penalty", "total")


def test_standard_errors_are_those_of_the_mean():
    model, (x, y) = make_mlp(), make_data()
    evaluator = Objective(model, loss=F.cross_entropy, train=(x, y)).evaluator()
    losses = F.cross_entropy(model(x), y, reduction="none").detach().double().numpy()
    estimate = evaluator.measure(["train"], ["loss"])["train_loss"]
    assert estimate.standard_error == pytest.approx(losses.std(ddof=1) / np.sqrt(len(losses)), rel=1e-6)


def test_the_error_is_the_share_of_wrong_classes():
    model, (x, y) = make_mlp(), make_data()
    wrong = (model(x).argmax(1) != y).double().mean().item()
    assert Objective(model, loss=F.cross_entropy, train=(x, y)).value(model, metric="error") == pytest.approx(
        wrong
    )


def test_scores_that_are_not_numbers_count_as_wrong():
    model = make_mlp()
    objective = Objective(model, loss=F.cross_entropy, train=make_data())
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    assert math.isnan(objective.value(model))
    assert objective.value(model, metric="error") == 1.0


def test_several_targets_per_example_are_averaged():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 5)

        def forward(self, x):
            return self.table(x).transpose(1, 2)

    model = Tokens()
    x = torch.randint(0, 5, (9, 4))
    objective = Objective(model, loss=F.cross_entropy, train=(x, x.roll(1, 1)), batch_size=2)
    assert objective.value(model) == pytest.approx(F.cross_entropy(model(x), x.roll(1, 1)).item(), rel=1e-6)


def test_the_penalty_is_kept_apart_from_the_loss():
    model = make_mlp()
    objective = Objective(model, loss=F.cross_entropy, train=make_data(), weight_decay=0.01)
    penalty = 0.005 * sum((p.double() ** 2).sum().item() for p in model.parameters())
    assert objective.value(model, metric="penalty") == pytest.approx(penalty, rel=1e-12)
    total = objective.value(model, metric="total")
    assert total == pytest.approx(objective.value(model) + penalty, rel=1e-12)
    assert objective.penalised(0.02).value(model, metric="penalty") == pytest.approx(2 * penalty, rel=1e-12)
    assert objective.value(model, metric="penalty") == pytest.approx(penalty, rel=1e-12)


def test_frozen_parameters_are_not_penalised():
    model = make_mlp()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    objective = Objective(model, loss=F.cross_entropy, train=make_data(), weight_decay=2.0)
    moving = sum((p.double() ** 2).sum().item() for p in model.parameters() if p.requires_grad)
    assert objective.value(model, metric="penalty") == pytest.approx(moving, rel=1e-12)


def test_the_model_is_untouched():
    model = make_convnet().train()
    model[0].weight.requires_grad_(False)
    untouched = Untouched(model)
    objective = Objective(model, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    objective.values(model)
    objective.evaluator(torch.float64).measure(["train"], ["loss"])
    untouched.check()


def test_weights_may_be_a_dictionary_and_missing_buffers_are_the_models():
    model = make_convnet()
    objective = Objective(model, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    other = {name: value * 2 for name, value in model.named_parameters()}
    changed = make_convnet().eval()
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(2)
    assert objective.value(other) == objective.value(changed)
    assert objective.value(model) == objective.value(dict(model.state_dict()))


def test_inputs_may_be_tuples_and_dictionaries():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(6, 3)

        def forward(self, left, right):
            return self.map(left - right)

    model, (x, y) = Two(), make_data()
    as_tuple = Objective(model, loss=F.cross_entropy, train=((x, x / 2), y)).value(model)
    as_names = Objective(model, loss=F.cross_entropy, train=({"right": x / 2, "left": x}, y)).value(model)
    assert as_tuple == as_names == pytest.approx(F.cross_entropy(model(x, x / 2), y).item(), rel=1e-6)


def test_datasets_and_loaders_are_collected_once():
    model, (x, y) = make_mlp(), make_data()
    from_tensors = Objective(model, loss=F.cross_entropy, train=(x, y))
    states = torch.get_rng_state(), random.getstate()
    for source in (TensorDataset(x, y), DataLoader(TensorDataset(x, y), batch_size=8)):
        objective = Objective(model, loss=F.cross_entropy, train=source)
        assert objective.data_digest("train") == from_tensors.data_digest("train")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


class LiveDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(6, 3)

    def forward(self, x):
        return F.dropout(self.map(x))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.map(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            LiveDropout(),
            r"^the model gives different outputs for the same weights and inputs; got .*F\.dropout",
        ),
        (
            Counting(),
            r"^a forward pass in evaluation mode changes the buffer 'calls'; update it in training mode only$",
        ),
        (
            nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)),
            r"^an example's output depends on the other examples in its micro-batch; give normalisation layers",
        ),
    ],
)
def test_a_model_that_is_no_function_of_its_weights_is_refused_with_the_reason(model, message):
    random = torch.get_rng_state()
    with pytest.raises(LandscapeError, match=message):
        Objective(model, loss=F.cross_entropy, train=make_data())
    assert torch.equal(torch.get_rng_state(), random)


def test_dropout_layers_are_switched_off_not_refused():
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)).train()
    x, y = make_data()
    value = Objective(model, loss=F.cross_entropy, train=(x, y)).value(model)
    assert value == pytest.approx(F.cross_entropy(model[0](x), y).item(), rel=1e-6)
    assert model.training


class Noisy(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.randn(6), 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: DataLoader(TensorDataset(*make_data()), shuffle=True),
            r"^the train loader: shuffles, so the same weights would meet other examples .*; pass shuffle=False",
        ),
        (
            lambda: DataLoader(TensorDataset(*make_data()), batch_size=8, drop_last=True),
            r"^the train loader: drops the last examples; pass drop_last=False, or the Dataset itself$",
        ),
        (
            lambda: Noisy(),
            r"^the train loader: gives other examples on a second pass .*pass a dataset without augmentation$",
        ),
        (
            lambda: (torch.zeros(3, 6), torch.zeros(4)),
            r"^inputs and targets of the train data differ in length; got \[3, 4\]; .*pass a DataLoader",
        ),
        (lambda: (torch.zeros(0, 6), torch.zeros(0)), r"^the train data are empty$"),
        (lambda: 3, r"^the train data are of a kind that cannot be read; got int; expected"),
        (lambda: ([1, 2], torch.zeros(2)), r"^data must be tensors; got int; collate it into tensors first$"),
    ],
)
def test_data_that_change_or_do_not_fit_are_refused(source, message):
    with pytest.raises(LandscapeError, match=message):
        Objective(make_mlp(), loss=F.cross_entropy, train=source())


def test_what_does_not_exist_is_refused_with_the_nearest_name(objective, mlp):
    with pytest.raises(LandscapeError, match=r"^this objective has no split 'tset'; did you mean 'test'\?$"):
        objective.value(mlp, split="tset")
    with pytest.raises(LandscapeError, match=r"^this objective has no metric 'accuracy'; choose from loss, error"):
        objective.value(mlp, metric="accuracy")
    with pytest.raises(LandscapeError, match=r"^weights: tensor '0\.weight' is missing$"):
        objective.value({"0.bias": mlp[0].bias})
    with pytest.raises(LandscapeError, match=r"^weights: the model has no tensor 'w'$"):
        objective.value({"w": torch.zeros(2)})
    shape = r"^weights: tensor '0\.weight' has another shape; got \(2, 2\); expected \(12, 6\)$"
    with pytest.raises(LandscapeError, match=shape):
        objective.value({**dict(mlp.named_parameters()), "0.weight": torch.zeros(2, 2)})


def test_a_loss_of_another_shape_is_refused():
    message = (
        r"^the loss must give the mean of a batch, one number per example, or sums and counts per example; "
        r"got shape \(\d+, 3\)$"
    )
    with pytest.raises(LandscapeError, match=message):
        Objective(make_mlp(), loss=lambda output, target: output, train=make_data(), batch_size=50)


class _Scaled(nn.Module):
    """A network with settings that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.options = {"scale": [1.0]}
        self.act = torch.tanh
        self.register_buffer("shift", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.inner(x)) * self.options["scale"][0] + self.shift


def _scale(model: _Scaled) -> None:
    model.options["scale"][0] = 2.0


def _activation(model: _Scaled) -> None:
    model.act = torch.relu


def _hook(model: _Scaled) -> None:
    model.inner.register_forward_hook(lambda module, given, out: out**2)


def _constant(model: _Scaled) -> None:
    model.shift.fill_(0.5)


def _module(model: _Scaled) -> None:
    model.inner = nn.Sequential(model.inner)
    model.inner.weight, model.inner.bias = model.inner[0].weight, model.inner[0].bias
    del model.inner[0].weight, model.inner[0].bias
    model.inner[0] = nn.Identity()


@pytest.mark.parametrize("change", [_scale, _activation, _hook, _constant, _module])
def test_what_no_state_dict_holds_is_that_of_the_model_now(change):
    torch.manual_seed(0)
    model, x, y = _Scaled(), torch.randn(20, 3), torch.randn(20, 3)
    objective = Objective(model, loss=F.mse_loss, train=(x, y))
    part, before = objective.subset(10), objective.value(model)
    change(model)
    with torch.no_grad():
        now = F.mse_loss(model(x), y).item()
    assert abs(now - before) > 1e-3
    assert objective.value(model) == pytest.approx(now, rel=1e-6)
    drawn = Objective(model, loss=F.mse_loss, train=(x, y)).subset(10).value(model)
    assert part.value(model) == pytest.approx(drawn, rel=1e-6)
    surface = evaluate(objective, random_line(model), Grid(axis(3, -1.0, 1.0)))
    assert surface["train_loss"][1] == pytest.approx(now, rel=1e-6)


def test_a_model_that_becomes_random_is_refused_then():
    model, (x, y) = make_mlp(), make_data()
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    model.register_forward_hook(lambda module, given, out: out + torch.randn_like(out))
    with pytest.raises(LandscapeError, match="random"):
        objective.value(model)


def test_other_parameters_than_at_first_are_refused():
    model, (x, y) = make_mlp(), make_data()
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    model.extra = nn.Linear(2, 2)
    with pytest.raises(LandscapeError, match="other parameters or buffers than when its objective was made"):
        objective.value(model)


def test_training_and_modes_are_no_change_of_the_model(monkeypatch):
    model, (x, y) = make_convnet(), make_data((1, 4, 4))
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    monkeypatch.setattr(Objective, "_examine", lambda self: pytest.fail("examined again"))
    model.train()(x)
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    model.requires_grad_(False)
    model.zero_grad()
    objective.value(model)
