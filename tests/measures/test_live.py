"""Watching the head-room of a training that runs."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape import LandscapeError
from landscape.measures.live import HeadroomError

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(40, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def parts(rate: float = 0.05) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    return model, torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()


def test_the_head_room_of_a_quadratic_is_the_closed_form():
    model, optimizer = parts()
    watched = ls.watch(model, optimizer, F.mse_loss, (X, Y), every=3)
    matrix = (
        2 * torch.cat([X, torch.ones(40, 1).double()], 1).T @ torch.cat([X, torch.ones(40, 1).double()], 1) / 40
    )
    expected = []
    for step in range(7):
        before = torch.cat([one.detach().flatten().clone() for one in model.parameters()])
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        slope = torch.cat([one.grad.flatten().clone() for one in model.parameters()])
        optimizer.step()
        update = torch.cat([one.detach().flatten() for one in model.parameters()]) - before
        if step % 3 == 0:
            expected.append((-2 * slope @ update / (update @ matrix @ update)).item())
    assert [one.step for one in watched.readings] == [0, 3, 6]
    for reading, room in zip(watched.readings, expected, strict=True):
        assert reading.headroom == pytest.approx(max(room, 0.0), rel=2e-2)
        assert reading.passes <= 10
        if room > 0:
            assert reading.critical_sharpness == pytest.approx(2 / (reading.headroom * 0.05))
    watched.remove()
    train(model, optimizer, 3)
    assert len(watched.readings) == 3


def test_nothing_of_the_training_changes():
    ends = []
    for watching in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)).double()
        model[1].eval()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if watching:
            ls.watch(model, optimizer, F.mse_loss, (X, Y), every=1)
        train(model, optimizer, 4)
        ends.append([*model.state_dict().values(), torch.rand(2), *(one.training for one in model.modules())])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_readings_go_to_any_logger(capsys, caplog):
    class Writer:
        def __init__(self):
            self.seen = []

        def add_scalar(self, name, value, step):
            self.seen.append((name, step))

    writer, called = Writer(), []
    for log in (print, writer, lambda numbers, step: called.append((numbers, step)), None):
        model, optimizer = parts()
        with caplog.at_level("INFO", logger="landscape.watch"):
            ls.watch(model, optimizer, F.mse_loss, (X, Y), every=2, log=log)
            train(model, optimizer, 3)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0].startswith("step 0: head-room ")
    assert "forward passes" in said[1]
    assert "% of the time" in said[1]
    assert ("landscape/headroom", 2) in writer.seen
    assert [step for _, step in called] == [0, 2]
    assert set(called[0][0]) >= {"landscape/headroom", "landscape/critical_sharpness"}
    assert len(caplog.records) == 2


def test_a_limit_warns_or_stops():
    model, optimizer = parts(rate=2.0)
    ls.watch(model, optimizer, F.mse_loss, (X, Y), every=1, limit=1.0)
    with pytest.warns(UserWarning, match="head-room of the learning rate is below 1: step 0"):
        train(model, optimizer, 1)
    model, optimizer = parts(rate=2.0)
    ls.watch(model, optimizer, F.mse_loss, (X, Y), every=1, limit=1.0, action="stop")
    with pytest.raises(HeadroomError, match="below 1: step 0"):
        train(model, optimizer, 1)
    model, optimizer = parts(rate=1e-3)
    ls.watch(model, optimizer, F.mse_loss, (X, Y), every=1, limit=1.0, action="stop")
    train(model, optimizer, 2)


def test_what_says_nothing_is_said():
    model, optimizer = parts(rate=0.0)
    watched = ls.watch(model, optimizer, F.mse_loss, (X, Y), limit=5.0, action="stop")
    train(model, optimizer, 1)
    assert math.isnan(watched.last.headroom)
    assert "the step is zero" in watched.last.words
    model, optimizer = parts()
    watched = ls.watch(model, optimizer, F.mse_loss, (X * math.nan, Y))
    train(model, optimizer, 1)
    assert "the loss is not finite" in watched.last.words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "not a number of steps"),
        ({"action": "shout"}, "not an action"),
        ({"data": X}, "not data"),
        ({"log": 3}, "takes no readings"),
        ({"model": nn.Linear(1, 1)}, "moves no parameter of the model"),
    ],
)
def test_mistakes_are_said_in_a_line(options, words):
    model, optimizer = parts()
    given = {"model": model, "optimizer": optimizer, "loss": F.mse_loss, "data": (X, Y), **options}
    with pytest.raises(LandscapeError, match=words) as error:
        ls.watch(**given)
    assert "\n" not in str(error.value)
