"""Where things are computed: one option and one default, in commands, recipes and Python."""

import functools
import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape.copies import copied
from landscape.objective.devices import pick_device, placed
from landscape.options import device_named
from landscape.plots.objectives import objective_of
from landscape.training.random_state import draws, on_device, own_draws, restore_draws
from landscape.vocabulary import DEVICE

RECIPE = """# A caption.
[run.base]
problem = "toy-quadratic"
epochs = 2
lr = 0.05
[[panel]]
kind = "metrics"
"""
STUDY = """# A study.
[study]
problem = "toy-quadratic"
epochs = 2
seed = [0, 1, 2]
[family.sgd]
lr = [0.01, 0.02]
[measures]
names = ["hessian_top"]
"""
COMMANDS = {
    "train": ("train", "toy-quadratic", "-o", "new.h5", "--epochs", 1),
    "transform": ("transform", "run.h5", "-o", "new.h5", "--permute", 0),
    "plot": ("plot", "run.h5", "--kind", "curve", "--points", 3, "-o", "a.png"),
    "measure": ("measure", "run.h5", "--measures", "hessian_top"),
    "audit": ("audit", "run.h5", "--measures", "hessian_top"),
    "perturb": ("probe", "perturb", "run.h5"),
    "retrain": ("probe", "perturb", "run.h5", "--retrain", "sgd", "--epochs", 1, "-o", "new.h5"),
    "interpolate": ("probe", "interpolate", "run.h5:first", "run.h5"),
    "connect": ("probe", "connect", "run.h5:first", "run.h5", "-o", "new.h5", "--epochs", 1),
    "render": ("render", "recipe.toml"),
    "study": ("study", "study.toml"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch, landscape):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "study.toml").write_text(STUDY)
    assert landscape("train", "digits-mlp", "-o", "run.h5", "--epochs", 1, "--set", "width=4").code == 0
    return tmp_path


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_not_here_is_refused_in_one_line(landscape, folder, command):
    done = landscape(*COMMANDS[command], "--device", "cuda")
    assert done.code == 2
    assert [line for line in done.err.splitlines() if line] == [
        "landscape: device: there is no device 'cuda' here; use cpu or auto"
    ]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["meta", "cdua", "cuda:x", "cpu:0", ""])
def test_what_is_no_device_is_refused_before_anything_is_read(landscape, tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    done = landscape(*COMMANDS[command], "--device", name)
    assert done.code == 2
    lines = [line for line in done.err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith(f"landscape: --device: unknown device '{name}'; ")


def test_auto_and_the_processor_are_the_same_without_another_device(landscape, folder):
    if pick_device("auto").type != "cpu":
        pytest.skip("there is another device here")
    for name in ("auto", "cpu"):
        command = ("train", "digits-mlp", "-o", f"{name}.h5", "--epochs", 1, "--set", "width=4", "--device", name)
        assert landscape(*command).code == 0
    left, right = (ls.open_trajectory(folder / f"{name}.h5")[-1] for name in ("auto", "cpu"))
    assert left.digest == right.digest
    done = landscape("render", "recipe.toml", "--device", "cpu")
    assert done.code == 0, done.err


def test_one_default_everywhere():
    from landscape.problems.userfile import build_from_file
    from landscape.recipe.graph import Where

    takers = (ls.Objective, objective_of, build_from_file, ls.recipe.render, ls.study.run, Where)
    for taker in (*takers, ls.recipe.Panel.shown):
        parameters = inspect.signature(taker).parameters
        if "device" in parameters:
            assert parameters["device"].default == DEVICE == "auto", taker
    assert all("device" in inspect.signature(taker).parameters for taker in takers)


@pytest.mark.parametrize(("name", "right"), [("auto", True), ("cuda:1", True), ("cuda:-1", False), ("xpu", False)])
def test_names_of_devices(name, right):
    if right:
        assert device_named(name) == name
        return
    with pytest.raises(ls.LandscapeError, match=rf"^unknown device '{name}'; "):
        device_named(name)


# The device "meta" has shapes and no numbers, so that what goes to a device can be seen without having one.
META = torch.device("meta")
WEIGHT = torch.ones(2)


def test_a_model_that_is_trained_goes_to_the_device_whole():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    moved = on_device(copied(model)[0], model, META)
    assert {tensor.device.type for tensor in (*moved.parameters(), *moved.buffers())} == {"meta"}
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cpu"}


def weighted(output, target, weight=WEIGHT):
    return F.cross_entropy(output, target) * weight.sum().to(output.device)


@pytest.mark.parametrize(
    "loss",
    [
        functools.partial(F.cross_entropy, weight=torch.ones(2)),
        nn.CrossEntropyLoss(weight=torch.ones(2)),
        weighted,
    ],
    ids=["partial", "module", "function"],
)
def test_a_loss_and_its_examples_go_to_the_device(loss):
    from landscape.objective import Split

    split = Split(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64))
    moved, examples = placed(loss, split, nn.Linear(2, 2, device=META), torch.device("cpu"))
    assert {tensor.device.type for tensor in examples.tensors()} == {"meta"}
    assert moved(examples.inputs, examples.targets).device.type == "meta"
    # On the processor nothing is copied.
    assert placed(loss, split, nn.Linear(2, 2), META) == (loss, split)
    # A model without parameters is where the objective computes.
    assert placed(loss, split, nn.Identity(), META)[1].inputs.device.type == "meta"


def test_draws_of_a_training_are_its_own_and_go_on():
    cpu, before = torch.device("cpu"), torch.get_rng_state()
    with own_draws(3, cpu):
        first = torch.rand(2)
        state = draws(cpu)
        second = torch.rand(2)
        restore_draws(state, cpu)
        assert torch.equal(torch.rand(2), second)
    assert torch.equal(torch.get_rng_state(), before)
    with own_draws(3, cpu):
        assert torch.equal(torch.rand(2), first)
    np.testing.assert_array_equal(first, torch.rand(2, generator=torch.Generator().manual_seed(3)))
