"""Types of numbers in models that hide modules and tensors, or force a type as they run."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import landscape as ls
from landscape.copies import copied, hidden_in
from landscape.surface import accuracy, evaluation

X = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (48,), generator=torch.Generator().manual_seed(1))


class Listed(nn.Module):
    """Hides a module in a list, one in a closure, and a tensor in a dictionary."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 5)
        self.hidden = [nn.Linear(5, 5)]
        inner = nn.Linear(5, 3)
        self.head = lambda x: inner(torch.tanh(self.hidden[0](x))) + self.constants["shift"]
        self.constants = {"shift": torch.randn(3)}

    def forward(self, x):
        return self.head(torch.tanh(self.first(x)))


class Forced(nn.Module):
    """Computes in single precision whatever it is given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 5), nn.Tanh())
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.body(x).to(torch.float32))


def objective_of(model, loss=F.cross_entropy):
    return ls.Objective(model, loss=loss, train=(X, Y))


def exact(model):
    """The loss of `Listed` in float64, by hand."""
    inner = model.head.__closure__[0].cell_contents
    h = torch.tanh(F.linear(X.double(), model.first.weight.double(), model.first.bias.double()))
    h = torch.tanh(F.linear(h, model.hidden[0].weight.double(), model.hidden[0].bias.double()))
    h = F.linear(h, inner.weight.double(), inner.bias.double()) + model.constants["shift"].double()
    return F.cross_entropy(h, Y).item()


def test_hidden_modules_closures_and_tensors_are_computed_in_the_type_asked_for():
    model = Listed()
    inner = model.head.__closure__[0].cell_contents
    before = [tensor.clone() for tensor in (*inner.parameters(), *model.hidden[0].parameters())]
    surface = ls.evaluate(objective_of(model), ls.random_line(model), ls.grid(3), dtype=torch.float64)
    assert surface.values[1] == pytest.approx(exact(model), rel=1e-14)
    with torch.no_grad():
        moved = ls.random_line(model).point(1.0)
        model.first.weight.copy_(moved["first.weight"])
        model.first.bias.copy_(moved["first.bias"])
    assert surface.values[2] == pytest.approx(exact(model), rel=1e-6)
    after = [*inner.parameters(), *model.hidden[0].parameters()]
    assert all(map(torch.equal, before, after))
    assert {tensor.dtype for tensor in after} == {torch.float32}
    assert model.head.__closure__[0].cell_contents is inner


def test_parameters_that_are_not_registered_are_said_to_stay():
    objective = objective_of(Listed())
    (note,) = objective.notes
    assert note.startswith("48 numbers in 4 parameters are used but not registered (")
    assert ls.evaluate(objective, ls.random_line(objective.model), ls.grid(3)).meta["notes"] == [note]
    assert ls.probes.interpolate(objective, Listed(), _moved(Listed()), points=2).meta["notes"] == [note]
    # The control: what is hidden and not used needs no word.
    plain = nn.Linear(4, 3)
    plain.spare = [nn.Linear(4, 3)]
    assert objective_of(plain).notes == ()


def _moved(model):
    with torch.no_grad():
        model.first.weight.add_(0.1)
    return model


def test_a_forced_type_is_refused_by_name_and_ends_no_run_unasked(monkeypatch):
    objective = objective_of(Forced())
    line = ls.random_line(objective.model)
    message = r"^module 'head' \(Linear\) cannot be computed in float64; got mat1 and mat2 .*leave --dtype out$"
    with pytest.raises(ls.LandscapeError, match=message):
        ls.evaluate(objective, line, ls.grid(3), dtype=torch.float64)
    monkeypatch.setattr(evaluation, "_LONG_SECONDS", 0.0)
    monkeypatch.setattr(accuracy, "_SECONDS", 60.0)
    surface = ls.evaluate(objective, line, ls.grid(3))
    assert np.isfinite(surface.values).all()
    assert surface.meta["dtype_error"]["unchecked"].startswith(
        "module 'head' (Linear) cannot be computed in float64"
    )
    # The control: where float64 can be had, the error is known.
    well = ls.evaluate(objective_of(Listed()), ls.random_line(Listed()), ls.grid(3))
    assert well.meta["dtype_error"]["largest_relative"] < 1e-5


@pytest.mark.parametrize("kind", ["partial", "closure", "object"])
def test_constants_of_a_loss_follow_the_type(kind):
    weights = torch.tensor([1.0, 2.0, 3.0])

    class Weighted:
        def __init__(self):
            self.weights = weights

        def __call__(self, output, target):
            return F.cross_entropy(output, target, weight=self.weights, reduction="none")

    def each(output, target):
        return F.cross_entropy(output, target, weight=weights, reduction="none")

    loss = {"partial": functools.partial(F.cross_entropy, weight=weights), "closure": each, "object": Weighted()}[
        kind
    ]
    model = nn.Linear(4, 3)
    surface = ls.evaluate(objective_of(model, loss), ls.random_line(model), ls.grid(3), dtype=torch.float64)
    output = F.linear(X.double(), model.weight.double(), model.bias.double())
    reduction = "mean" if kind == "partial" else "none"
    wanted = F.cross_entropy(output, Y, weight=weights.double(), reduction=reduction).mean().item()
    assert surface.values[1] == pytest.approx(wanted, rel=1e-14)
    assert weights.dtype == torch.float32


def test_a_copy_shares_nothing_even_where_hooks_and_closures_hold_results():
    model = Listed()
    prune.random_unstructured(model.first, "weight", 0.5)
    model(X)
    (other,) = copied(model)
    own = {id(tensor) for tensor in hidden_in(model).tensors.values()}
    assert not own & {id(tensor) for tensor in hidden_in(other).tensors.values()}
    assert torch.equal(other(X), model(X))
    with torch.no_grad():
        other.hidden[0].weight.zero_()
        other.head.__closure__[0].cell_contents.weight.zero_()
    assert not torch.equal(other(X), model(X))
    assert torch.equal(copied(model)[0](X), model(X))
    assert objective_of(model).value(model) == pytest.approx(F.cross_entropy(model(X), Y).item(), rel=1e-6)


def test_a_function_with_a_module_as_default_follows_the_weights():
    class Default(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(4, 3)
            self.head = lambda x, map=self.map: map(x)

        def forward(self, x):
            return self.head(x)

    model = Default()
    twice = {name: 2 * tensor for name, tensor in model.state_dict().items()}
    value = objective_of(model).value(twice)
    model.load_state_dict(twice)
    assert value == pytest.approx(F.cross_entropy(model(X), Y).item(), rel=1e-6)
