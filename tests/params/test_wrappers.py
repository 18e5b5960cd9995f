"""Wrapped models under the names of the bare ones, and what they refuse."""

import warnings

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

import landscape as ls
from landscape.params import layout_of, resolve
from landscape.wrappers import unwrapped

X = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (48,), generator=torch.Generator().manual_seed(1))


def bare(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).eval()


WRAPPERS = {
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "averaged": AveragedModel,
    "checkpointed": checkpoint_wrapper,
    "inside": lambda model: nn.Sequential(
        checkpoint_wrapper(model[0]),
        nn.DataParallel(model[1]),
        model[2],
        checkpoint_wrapper(nn.DataParallel(model[3])),
    ),
}


def objective_of(model):
    return ls.Objective(model, loss=F.cross_entropy, train=(X, Y))


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapped_model_is_the_bare_one_under_its_names(kind, tmp_path):
    model = bare()
    wrapped = WRAPPERS[kind](model).eval()
    before = [(name, type(module)) for name, module in wrapped.named_modules()]
    objective, plain = objective_of(wrapped), objective_of(model)
    assert layout_of(wrapped) == layout_of(model) == objective.layout
    assert list(resolve(wrapped)[1]) == list(resolve(model)[1])
    assert objective.value(wrapped) == objective.value(model) == plain.value(wrapped)
    measured = [
        ls.measures.measure(one, other, ["hessian_top"])["hessian_top"].value
        for one, other in ((objective, wrapped), (plain, model))
    ]
    assert measured[0] == measured[1]
    surfaces = [
        ls.evaluate(one, ls.random_plane(other), ls.grid(3, 0.5))
        for one, other in ((objective, wrapped), (plain, model))
    ]
    assert (surfaces[0].values == surfaces[1].values).all()
    with ls.Recorder(tmp_path / "run.h5", wrapped) as recorder:
        recorder.snapshot(0)
    other, again = bare(1), WRAPPERS[kind](bare(1))
    run = ls.open(tmp_path / "run.h5")
    run.load_into(other)
    run.load_into(again)
    assert torch.equal(other(X), model(X))
    assert torch.equal(unwrapped(again).eval()(X), model(X))
    assert [(name, type(module)) for name, module in wrapped.named_modules()] == before


def test_what_wraps_and_computes_something_else_stays():
    class Doubling(nn.DataParallel):
        def forward(self, *inputs):
            return 2 * super().forward(*inputs)

    class Named(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            return 3 * self.module(x)

    model = bare()
    for wrapped, factor in ((Doubling(model), 2), (Named(model), 3)):
        assert unwrapped(wrapped) is wrapped
        assert objective_of(wrapped).value(wrapped) == pytest.approx(F.cross_entropy(factor * model(X), Y).item())


@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, X)])
def test_torchscript_is_drawn_and_differentiated_and_refuses_the_rest(make):
    model = bare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = make(model)
    objective, plain = objective_of(scripted), objective_of(model)
    assert objective.value(scripted) == plain.value(model)
    top = ls.measures.measure(objective, scripted, ["hessian_top"])["hessian_top"].value
    assert top == pytest.approx(ls.measures.measure(plain, model, ["hessian_top"])["hessian_top"].value, rel=1e-6)
    with pytest.raises(
        ls.LandscapeError, match="symmetries cannot be found in TorchScript; pass the Python model"
    ):
        ls.symmetry.find(scripted, X)
    with pytest.raises(ls.LandscapeError, match="the batched engine needs a model that is not TorchScript"):
        ls.evaluate(objective, ls.random_plane(scripted), ls.grid(3, 0.1), engine="batched")
    with pytest.raises(ls.LandscapeError, match="statistics of TorchScript modules cannot be re-estimated"):
        ls.evaluate(objective, ls.random_plane(scripted), ls.grid(3, 0.1), bn="recalibrate")


def test_frozen_torchscript_has_no_parameters():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.script(bare()))
    with pytest.raises(ls.LandscapeError, match=r"the model has no parameters; .* before torch\.jit\.freeze"):
        objective_of(frozen)


def test_sharded_parameters_are_refused_in_one_line(monkeypatch):
    # A stand-in: torch's own needs a group of processes.
    monkeypatch.setattr("landscape.wrappers.is_sharded", lambda tensor: tensor.shape == (6,))
    with pytest.raises(
        ls.LandscapeError, match=r"^0\.bias: the parameters of the model are sharded .*full_state_dict"
    ):
        layout_of(bare())


class Remembering(nn.Module):
    def __init__(self, as_buffer):
        super().__init__()
        self.map = nn.Linear(4, 3)
        if as_buffer:
            self.register_buffer("state", torch.zeros(3), persistent=False)
        else:
            self.state = torch.zeros(3)

    def forward(self, x):
        h = self.map(x) + 0.5 * self.state
        self.state = h.detach().mean(0)
        return h


class Drawing(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 3)

    def forward(self, x):
        return F.dropout(self.map(x))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Remembering(as_buffer=False), r"something is kept in an attribute from one pass for the next"),
        (Remembering(as_buffer=True), r"changes the buffer 'state'; update it in training mode only"),
        (Drawing(), r"something random is live"),
    ],
)
def test_what_remembers_is_not_taken_for_chance(model, reason):
    with pytest.raises(ls.LandscapeError, match=rf"^the model gives different outputs .*{reason}"):
        objective_of(model)
