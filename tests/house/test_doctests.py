"""The examples of all docstrings give what they say; those that need much are marked with ``+SKIP``."""

import doctest
import importlib
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import ROOT

import landscape as ls

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """All modules with an example."""
    found = pkgutil.walk_packages(ls.__path__, "landscape.")
    paths = {module.name: Path(importlib.util.find_spec(module.name).origin) for module in found}
    return [name for name, path in paths.items() if ">>>" in path.read_text()]


def nothing(*given: Any) -> None:
    """What an example leaves to its reader: an update, a training."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run, checkpoints and a surface, as examples name them."""
    home = tmp_path_factory.mktemp("examples")
    shutil.copy(ROOT / "checkpoints" / "digits-mlp.h5", home / "run.h5")
    state = {
        f"module.{name}": tensor for name, tensor in ls.problems.build("digits-mlp").model.state_dict().items()
    }
    (home / "ckpts").mkdir()
    for epoch in (1, 2):
        torch.save(state, home / f"ckpts/epoch{epoch}.pt")
    plane = ls.Plane({"w": torch.zeros(2)}, [{"w": torch.eye(2)[axis]} for axis in (0, 1)])
    ls.evaluate(quadratic(), plane, ls.grid(3), save=home / "surface.h5")
    return home


@pytest.fixture(scope="module")
def names(folder) -> dict[str, Any]:
    """What examples may use besides their own module."""
    run, model = ls.open(folder / "run.h5"), ls.problems.build("digits-mlp").model
    given = {"run": run, "run_a": run, "run_b": run, "model": model, "x": torch.zeros(3, 64)}
    given |= {"optimizer": torch.optim.SGD(model.parameters()), "update": nothing, "train": nothing}
    modules = {"ls": ls, "np": np, "torch": torch, "safetensors": safetensors, "Path": Path}
    return given | modules | {"Objective": ls.Objective}


def quadratic() -> ls.Objective:
    class Weights(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.w

    return ls.Objective(Weights(), loss=torch.nn.functional.mse_loss, train=(torch.eye(2), torch.zeros(2)))


@pytest.mark.parametrize("name", modules())
def test_examples_give_what_they_say(name, names, folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder().find(module, globs=names | vars(module)):
        runner.run(example, out=said.append, clear_globs=False)
    assert runner.failures == 0, "".join(said)
