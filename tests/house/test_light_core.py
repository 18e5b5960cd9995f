"""The core without the packages of extras: what needs one says so in a line, everything else works."""

import sys

import pytest
from conftest import ROOT

from landscape.cli.main import main

EXTRAS = ("sklearn", "torchvision", "pandas", "xarray", "lightning", "transformers", "timm", "ray")


@pytest.fixture
def core(monkeypatch, tmp_path):
    """A process in which no package of an extra can be imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] in EXTRAS]:
        monkeypatch.delitem(sys.modules, name)
    for name in EXTRAS:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(one) for one in arguments])
    return stopped.value.code or 0


def test_training_and_pictures_need_no_extra(core, tmp_path):
    assert run("train", "digits-mlp", "-o", "run.h5", "--epochs", 1, "--set", "train_size=200") == 0
    assert run("plot", "run.h5", "--kind", "curve", "--points", 5, "-o", "curve.png") == 0
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_what_needs_an_extra_says_so(core, tmp_path, capsys):
    file = ROOT / "checkpoints" / "digits-mlp.h5"
    assert run("plot", file, "--kind", "mds", "--method", "metric", "-o", "mds.png") == 2
    assert capsys.readouterr().err == (
        "landscape: metric scaling: scikit-learn is not installed; pip install scikit-learn\n"
    )
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert run("train", "cifar10-cnn6", "--data", tmp_path, "-o", "run.h5") == 2
    assert "torchvision is not installed; pip install torchvision" in capsys.readouterr().err
