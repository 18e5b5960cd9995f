"""Every code block of the pages about files and recording is run, on files that the package made."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, make_data, make_mlp
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape import papers

with warnings.catch_warnings():
    # Both libraries warn while they are imported; their warnings are theirs to mend.
    warnings.simplefilter("ignore")
    import lightning
    import transformers

DOCS = ROOT / "docs"
# What one recipe may take.
MOST_LINES = 15


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def run(page: str, index: int, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(blocks(page)[index], f"{page}[{index}]", "exec"), names)
    return names


class Tied(nn.Module):
    """A tied weight, and parameters of all types that a file may have."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.last = nn.Linear(3, 3)
        self.last.weight = self.first.weight
        self.brain = nn.Parameter(torch.randn(2, 2).to(torch.bfloat16))
        self.narrow = nn.Parameter(torch.randn(5).to(torch.float16))
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("count", torch.tensor(7))


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_a_trajectory_is_read_with_h5py_alone(tmp_path, monkeypatch, dtype, capsys):
    monkeypatch.chdir(tmp_path)
    model = Tied()
    with ls.Recorder("run.h5", model, dtype=dtype) as recorder:
        for step in range(3):
            with torch.no_grad():
                model.first.weight += 0.1
            recorder.snapshot(step)
    read = run("files.md", 0, {})["read_weights"]
    assert "(3, 3)" in capsys.readouterr().out
    for index in (0, 1, -1):
        snapshot = ls.open("run.h5")[index]
        state = {**snapshot.weights, **snapshot.buffers}
        found = read("run.h5", index)
        assert set(found) == set(state)
        assert {"last.weight", "first.weight", "count"} <= set(found)
        for name, tensor in state.items():
            exact = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
            np.testing.assert_array_equal(found[name], exact, err_msg=name)
    recipe = blocks("files.md")[0].split("\n\n\n")[1]
    assert len(recipe.strip().splitlines()) <= MOST_LINES
    assert "landscape" not in blocks("files.md")[0]


def test_a_surface_opens_in_xarray(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    objective = ls.Objective(make_mlp(), loss=F.cross_entropy, train=make_data())
    plane = ls.random_plane(objective.model, seed=0)
    surface = ls.evaluate(objective, plane, ls.grid((5, 3), radius=1.0), save="surface.h5")
    run("files.md", 1, {})
    assert "('y', 'x')" in capsys.readouterr().out
    import xarray

    with xarray.open_dataset("surface.h5", engine="h5netcdf") as opened:
        np.testing.assert_array_equal(opened["train_loss"].values, surface.values)
        np.testing.assert_array_equal(opened["x"].values, surface.x)


def test_steps_and_metrics_come_as_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with ls.Recorder("run.h5", nn.Linear(2, 1)) as recorder:
        for step in range(4):
            recorder.snapshot(step, train_loss=step / 4)
    table = run("files.md", 2, {})["table"]
    assert table["train_loss"].tolist() == [0.0, 0.25, 0.5, 0.75]
    assert "train_loss" in capsys.readouterr().out


def update(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Any) -> None:
    for x, y in batches:
        update(model, optimizer, x, y)


@pytest.fixture
def names(tmp_path, monkeypatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    model = make_mlp()
    x, y = make_data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    own = {"ls": ls, "model": model, "optimizer": optimizer, "x": x, "y": y, "batches": [(x, y)] * 120}
    return {**own, "update": update, "train": train}


def test_a_loop_of_ones_own(names):
    run("recording.md", 0, names)
    held = ls.open("run.h5")
    assert held.steps.tolist() == [0, 50, 100]
    assert held.finished
    assert np.isfinite(held.metrics["train_loss"][1:]).all()


def test_a_loop_that_is_stopped_and_goes_on(names, capsys):
    run("recording.md", 1, names)
    assert capsys.readouterr().out == "100 ['optimizer']\n"


def test_a_loop_that_is_watched(names):
    run("recording.md", 2, names)
    assert ls.open("watched.h5").steps.tolist() == [0, 50, 100, 120]


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = make_mlp()

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


# Advice that is not for trainings of this size, and a name that Lightning still uses.
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_a_training_by_lightning(names):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(names["x"], names["y"]), batch_size=10)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
        "log_every_n_steps": 1,
    }
    run("recording.md", 3, {**names, "lightning": lightning, "quiet": quiet, "module": Module(), "loader": loader})
    held = ls.open("lightning.h5")
    assert held.steps.tolist() == [0, 5, 10]
    assert held.layout.tensors[0].name == "0.weight"


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = make_mlp()

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": F.cross_entropy(self.net(x), labels)}


def test_a_training_by_transformers(names, tmp_path):
    examples = [{"x": x, "labels": y} for x, y in zip(names["x"], names["y"], strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        num_train_epochs=1,
    )
    more = {"transformers": transformers, "hf_model": Classifier(), "arguments": arguments, "examples": examples}
    run("recording.md", 4, {**names, **more})
    assert ls.open("transformers.h5").steps.tolist() == [0, 5, 7]


def test_how_much_is_recorded(names, capsys):
    run("recording.md", 5, names)
    said = capsys.readouterr().out
    held = ls.open("small.h5")
    assert held.steps.tolist() == [0, 160, 320, 400]
    assert held.recording == {"every": 10, "keep": 5, "stride": 16, "dtype": "bfloat16"}
    assert 0 < held.rounding.max() < 0.004
    assert "'stride': 16" in said


def test_all_blocks_are_run():
    assert (len(blocks("files.md")), len(blocks("recording.md"))) == (3, 6)


def test_objectives_of_ones_own():
    names: dict[str, Any] = {}
    for index, block in enumerate(blocks("own-models.md")):
        run("own-models.md", index, names)
        objective = names["objective"]
        assert np.isfinite(objective.value(objective.model)), block


def test_symmetries_are_found_and_used(capsys):
    names: dict[str, Any] = {}
    for index in range(len(blocks("symmetries.md"))):
        run("symmetries.md", index, names)
    said = capsys.readouterr().out
    assert "rescale:0.weight positive factors of 8 units made by 0.weight" in said
    assert "1 (GELU): gelu refuses positive factors of 8 units of 0.weight" in said
    for name, tensor in names["model"].state_dict().items():
        torch.testing.assert_close(names["back"][name], tensor)
        torch.testing.assert_close(names["same"].apply(names["model"])[name], names["moved"][name])


def test_an_audit_and_other_coordinates(capsys):
    names: dict[str, Any] = {}
    for index in range(len(blocks("audit.md"))):
        run("audit.md", index, names)
    assert capsys.readouterr().out.startswith("unbounded [")
    assert names["after"] / names["before"] == pytest.approx(36, rel=1e-4)
    assert names["report"]["orbit_min_trace"].verdict == "invariant"
    assert names["flat"].value == pytest.approx(names["report"].orbit_min_trace, rel=1e-6)


def test_optimizers_in_a_loop_of_ones_own(names, capsys):
    x, y = names["x"], names["y"]
    more = {"F": F, "batches": iter([(x, y)] * 200), "replicas": [make_mlp(seed) for seed in range(3)]}
    run("optimizers.md", 0, names | more)
    assert capsys.readouterr().out.startswith("1.01")
    middle = run("optimizers.md", 1, names | more)["middle"]
    assert set(middle) == set(make_mlp().state_dict())
    objective = ls.Objective(make_mlp(), loss=F.cross_entropy, train=(x, y))
    ls.training.train(objective, "run.h5", ls.training.Settings(epochs=1, optimizer="replicated-sgd"))
    run("optimizers.md", 2, names)
    assert capsys.readouterr().out.startswith("['replica-0', 'replica-1', 'replica-2'] 1 ")


def test_what_an_optimizer_sees(names, capsys):
    x, y = names["x"], names["y"]
    more = {"F": F, "batches": iter([(x, y)] * 200), "model": make_mlp(), "torch": torch}
    own = run("optimizers.md", 3, names | more)
    assert own["step"].words == "38/lr"
    capsys.readouterr()
    watched = run("optimizers.md", 4, own)["watched"]
    assert [one.step for one in watched.readings] == [0, 5]
    assert capsys.readouterr().out.startswith("step 0: head-room ")


def test_profiles_of_local_energy(names, capsys):
    objective = ls.Objective(make_mlp(), loss=F.cross_entropy, train=(names["x"], names["y"]))
    run("measures/local_energy.md", 0, {"ls": ls, "objective": objective, "run": [make_mlp()]})
    assert capsys.readouterr().out.startswith("[0.05 0.1")


def test_every_option_of_an_optimizer_is_told_of():
    page = (DOCS / "optimizers.md").read_text()
    for choices in ls.training.CHOICES.values():
        for name in choices.__dataclass_fields__:
            assert re.search(rf"\b{name}\b", page), name


def test_laboratories(names, capsys):
    run("laboratories.md", 0, names)
    assert capsys.readouterr().out.startswith("0.666")
    found = run("laboratories.md", 1, names | {"papers": papers})["found"]
    assert (found.train_loss < 1e-20).all()
    teacher, line, bumps, elsewhere = found.least_trace
    assert elsewhere == pytest.approx(teacher)
    assert min(line, bumps) > 100 * teacher
    assert found.trace[3] > 30 * found.trace[0]
    capsys.readouterr()
    run("laboratories.md", 2, {"papers": papers})
    assert [float(word) for word in capsys.readouterr().out.split()] == pytest.approx([12, 2, 12, 2, 12])
    near = run("laboratories.md", 3, {"papers": papers, "np": np})["near"]
    assert capsys.readouterr().out.startswith("1.0\n")
    assert (near.entropy < near.bound).all()


def test_the_page_about_embeddings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("one.h5", "two.h5")):
        model = make_mlp(seed)
        with ls.Recorder(name, model) as recorder:
            for step in range(4):
                recorder.snapshot(step, train_loss=1 / (1 + step))
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter *= 1.1
    names: dict[str, Any] = {}
    for index in range(len(blocks("projections.md"))):
        run("projections.md", index, names)
    assert Path("mds.png").stat().st_size > 0
    assert list(names["by_layer"]) == ["0", "2", "4", "all layers"]
    assert Path("distances.h5").is_file()


def test_probes_of_basins(names, capsys):
    run_held = ls.training.train(
        ls.problems.build("digits-mlp", {"width": 8, "train_size": 100}),
        "run.h5",
        ls.training.Settings(epochs=2, batch_size=50),
    )
    objective = ls.pipeline.objective_of(run_held)
    other = ls.problems.build("digits-mlp", {"width": 8, "train_size": 100}, seed=1).model
    own = {"objective": objective, "run": run_held, "model": objective.model, "other": other}
    page = blocks("probes.md")
    assert len(page) == 6
    for index in range(len(page)):
        run("probes.md", index, own)
    assert own["side"].distance.tolist() == own["grown"].between[-1].tolist()
    assert own["side"].midpoints["train_loss"].tolist() == own["grown"].midpoints["train_loss"][-1].tolist()
    assert own["flat"].zero >= own["flat"].bound
    assert own["line"].barrier == own["line"].barrier_of("train_loss")
    assert Path("curve.h5").exists()
    assert "(3, 4)" in capsys.readouterr().out
