"""Files of tomgoldstein/loss-landscape, written here in the way and order in which its code writes them."""

import json

import h5py
import numpy as np
import pytest
import torch
from conftest import make_data, make_mlp
from torch import nn

import landscape as ls
from landscape.cli.main import main
from landscape.surface import goldstein_directions, goldstein_surface


def crunch(path, value, x, y=None, skipped=()):
    """A surface file: an array of shape (nx, ny) that is filled by its flat index over meshgrid(x, y)."""
    losses = -np.ones((len(x),) if y is None else (len(x), len(y)))
    places = np.c_[[a.ravel() for a in np.meshgrid(x, y)]].T if y is not None else x[:, None]
    for index, place in enumerate(places):
        if index not in skipped:
            losses.ravel()[index] = value(*place)
    with h5py.File(path, "w") as file:
        file["dir_file"] = "net_weights_xignore=biasbn_xnorm=filter.h5"
        file["xcoordinates"] = x
        if y is not None:
            file["ycoordinates"] = y
        file["train_loss"] = losses
        file["train_acc"] = np.where(losses == -1, -1, 75.0)


def test_values_stand_at_their_coordinates_on_a_grid_that_is_not_square(tmp_path):
    x, y = np.linspace(-1, 1, 5), np.linspace(0, 3, 4)
    crunch(tmp_path / "s.h5", lambda a, b: 10 + a + 100 * b, x, y, skipped=(7,))
    surface = goldstein_surface(tmp_path / "s.h5")
    expected = 10 + x[None, :] + 100 * y[:, None]
    # Point 7 is y[1], x[2].
    assert not surface.done[1, 2]
    assert np.isnan(surface["train_loss"][1, 2])
    expected[1, 2] = np.nan
    np.testing.assert_array_equal(surface["train_loss"], expected)
    assert np.nanmax(surface["train_error"]) == 0.25
    # The control: the array as it is shaped in the file has values at other coordinates.
    with h5py.File(tmp_path / "s.h5") as file:
        assert not np.array_equal(file["train_loss"][...].T[surface.done], expected[surface.done])


def test_a_surface_is_imported_and_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.linspace(-1, 1, 5)
    crunch("theirs.h5", lambda a: a**2, x)
    for arguments in (
        ["import", "theirs.h5", "-o", "ours.h5", "--json"],
        ["plot", "ours.h5", "-o", "curve.png"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert not stopped.value.code
    said = capsys.readouterr().out
    assert json.loads(said[: said.index("\n}") + 2])["computed"] == 5
    np.testing.assert_array_equal(ls.open("ours.h5")["train_loss"], x**2)
    with pytest.raises(SystemExit):
        main(["import", "theirs.h5", "-o", "ours.h5"])
    assert "--overwrite" in capsys.readouterr().err


def directions(path, tensors):
    with h5py.File(path, "w") as file:
        for axis, sign in (("xdirection", 1), ("ydirection", -1)):
            for index, tensor in enumerate(tensors):
                file[f"{axis}/{index}"] = sign * tensor.detach().double().numpy()


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)


@pytest.mark.parametrize("states", [False, True], ids=["weights", "states"])
def test_directions_get_the_names_of_the_parameters(tmp_path, states):
    model = Normed()
    tensors = list(model.state_dict().values()) if states else list(model.parameters())
    directions(tmp_path / "d.h5", tensors)
    with ls.Recorder(tmp_path / "run.h5", model) as recorder:
        recorder.snapshot(0)
    x, y = goldstein_directions(tmp_path / "d.h5", ls.open(tmp_path / "run.h5").layout)
    assert list(x) == [name for name, _ in model.named_parameters()]
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(x[name], parameter.detach().numpy())
        np.testing.assert_array_equal(y[name], -x[name])
    other = ls.Recorder(tmp_path / "other.h5", nn.Linear(2, 2))
    with other:
        other.snapshot(0)
    with pytest.raises(ls.LandscapeError, match="not those of the model"):
        goldstein_directions(tmp_path / "d.h5", ls.open(tmp_path / "other.h5").layout)


def test_a_slice_is_drawn_along_their_directions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make_mlp()
    objective = ls.Objective(model, loss=nn.functional.cross_entropy, train=make_data())
    with ls.Recorder("run.h5", model) as recorder:
        recorder.snapshot(0)
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(parameter.shape, generator=generator) for parameter in model.parameters()]
    directions("theirs.h5", drawn)
    found = ls.plots.curve("run.h5", objective, directions="theirs.h5", points=3, save="slice.h5")
    assert found is not None
    moved = {name: w + d for (name, w), d in zip(model.named_parameters(), drawn, strict=True)}
    assert ls.open("slice.h5")["train_loss"][-1] == pytest.approx(objective.value(moved), rel=1e-6)
