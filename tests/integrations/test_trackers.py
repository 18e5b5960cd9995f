"""Figures in the trackers, offline, where these are installed."""

import copy

import numpy as np
import pytest
from PIL import Image

import landscape as ls
from landscape.integrations import trackers

# What the packages of others warn of is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def figure():
    x = np.linspace(-1, 1, 5)
    return ls.render.contour(ls.Surface(x, x, {"train_loss": x[:, None] ** 2 + 2 * x**2}))


@pytest.fixture
def untouched(figure):
    before = copy.deepcopy([figure.get_size_inches().tolist(), figure.dpi, len(figure.axes)])
    yield
    assert [figure.get_size_inches().tolist(), figure.dpi, len(figure.axes)] == before


def only(folder, pattern):
    (found,) = folder.rglob(pattern)
    return found


def test_tensorboard(figure, untouched, tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(tmp_path) as writer:
        trackers.to_tensorboard(writer, "surface", figure, step=3)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path)).Reload().Images("surface")
    assert [event.step for event in events] == [3]
    width, height = figure.get_size_inches() * figure.dpi
    assert (events[0].width, events[0].height) == pytest.approx((width, height), abs=1)


def test_wandb(figure, untouched, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with wandb.init(project="landscape", dir=str(tmp_path)) as run:
        trackers.to_wandb(run, "surface", figure, step=3)
        assert run.step == 3
    assert only(tmp_path, "surface_*.png").stat().st_size > 5_000


def test_trackio(figure, untouched, tmp_path, monkeypatch):
    trackio = pytest.importorskip("trackio")
    run = FakeRun()
    trackers.to_trackio(run, "surface", figure, step=3)
    assert run.step == 3
    assert isinstance(run.logged["surface"], trackio.Image)


class FakeRun:
    """Of Trackio, whose runs want a server."""

    def log(self, logged, step=None):
        self.logged, self.step = logged, step


def test_mlflow(figure, untouched, tmp_path, monkeypatch):
    # A folder needs no database.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        trackers.to_mlflow(run, "surface", figure, step=3)
    assert Image.open(only(tmp_path, "3.png")).size[0] > 100


def test_what_is_not_installed_is_told_of(figure, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ls.LandscapeError, match=r"^to_wandb: wandb is not installed; pip install wandb$"):
        trackers.to_wandb(FakeRun(), "surface", figure)
