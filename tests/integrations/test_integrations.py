"""Callbacks in real training loops: what they record is what the loop has at that optimizer step."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from landscape.errors import LandscapeError
from landscape.params import digest, resolve
from landscape.trajectory import open_trajectory

with warnings.catch_warnings():
    # Both libraries warn while they are imported; their warnings are theirs to mend.
    warnings.simplefilter("ignore")
    import lightning.pytorch as pl
    import transformers

    from landscape.integrations.huggingface import RecorderCallback as TransformersRecorder
    from landscape.integrations.lightning import RecorderCallback as LightningRecorder
    from landscape.integrations.session import chosen, plain

pytestmark = [
    # Advice that is not for trainings of this size, and a name that Lightning still uses.
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`.*"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty.*"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def message(text: str) -> str:
    return f"^{re.escape(text)}$"


class Examples(Dataset[Any]):
    """24 examples of a linear map."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        x = torch.randn(3, generator=generator)
        return {"x": x, "labels": x.sum().reshape(1)}


def loader() -> DataLoader[Any]:
    return DataLoader(Examples(), batch_size=4)


class Module(pl.LightningModule):
    """A linear map under the name ``net``, that notes its weights after every update."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.stop_at = stop_at
        self.seen: dict[int, str] = {}

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.seen[self.trainer.global_step] = digest(resolve(self.net)[1])
        if self.stop_at is not None and self.trainer.global_step >= self.stop_at:
            raise ZeroDivisionError
        loss = (self.net(batch["x"]) - batch["labels"]).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", (self.net(batch["x"]) - batch["labels"]).square().mean())

    def on_train_end(self) -> None:
        self.seen[self.trainer.global_step] = digest(resolve(self.net)[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def trainer(folder: Path, *callbacks: Any, **options: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    defaults = {"accelerator": "cpu", "max_epochs": 2, "enable_checkpointing": False, **quiet}
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **{**defaults, **options})


def found(path: Path) -> dict[int, str]:
    return {snapshot.step: snapshot.digest for snapshot in open_trajectory(path)}


@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("background", [False, True])
def test_lightning_records_by_optimizer_step(path: Path, accumulate: int, background: bool) -> None:
    module = Module()
    callback = LightningRecorder(
        path, model="net", problem="mine", problem_args={"a": 1}, seed=3, background=background
    )
    trainer(path.parent, callback, accumulate_grad_batches=accumulate).fit(module, loader())
    run = open_trajectory(path)
    updates = 2 * -(-6 // accumulate)
    assert run.finished
    assert run.steps.tolist() == list(range(updates + 1))
    assert found(path) == module.seen
    assert [info.name for info in run.layout] == [name for name, _ in module.net.named_parameters()]
    assert (run.problem, run.problem_args, run.seed) == ("mine", {"a": 1}, 3)
    assert run.epochs[-1] == 2.0
    assert set(run.metrics) == {"train_loss"}
    assert run.metrics["train_loss"][1:].min() > 0
    assert (run.seconds[1:] >= run.seconds[:-1]).all()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning_records_the_steps_of_its_optimizer(path: Path, accumulate: int) -> None:
    callback = LightningRecorder(path, model="net", record=("update", "preconditioner"), record_dtype="bfloat16")
    trainer(path.parent, callback, accumulate_grad_batches=accumulate).fit(Module(), loader())
    run = open_trajectory(path)
    require_steps(run)
    assert run.optimizer["dtype"] == "bfloat16"


def require_steps(run: Any) -> None:
    """Every snapshot but the last has the Adam step that leads to the next."""
    assert run[-1].next_step is None
    for before, after in itertools.pairwise(run):
        step = before.next_step
        assert (step.kind, set(step.preconditioner)) == ("adam", set(before.weights))
        for name, update in step.update.items():
            torch.testing.assert_close(update, after[name] - before[name], rtol=1e-2, atol=1e-6)


def test_lightning_thins_rounds_and_records_the_last_state(path: Path) -> None:
    module = Module()
    callback = LightningRecorder(path, model="net", every=2, keep=3, dtype="float16")
    trainer(path.parent, callback, max_steps=11, max_epochs=-1).fit(module, loader(), loader())
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 8, 11]
    assert run.recording == {"every": 2, "keep": 3, "stride": 4, "dtype": "float16"}
    assert torch.equal(run[-1].weights["0.weight"], module.net[0].weight.detach().half().float())
    # The last validation was at step 6: its loss is not that of step 8 or 11.
    assert set(run.metrics) == {"train_loss"}


def test_lightning_stores_metrics_with_the_very_step_they_are_of(path: Path) -> None:
    class Sometimes(Module):
        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            self.log("constant", 1.0)
            if index % 3 == 0:
                self.log("third", float(index))
            return super().training_step(batch, index)

    callback = LightningRecorder(path, model="net")
    module = Sometimes()
    trainer(path.parent, callback, val_check_interval=3).fit(module, loader(), loader())
    run = open_trajectory(path)
    validated = run.steps % 3 == 0
    validated[0] = False
    for snapshot, value in zip(run, run.metrics["val_loss"], strict=True):
        batches = list(loader())
        out = [torch.func.functional_call(module.net, dict(snapshot.weights), batch["x"]) for batch in batches]
        own = [(o - batch["labels"]).square().mean() for o, batch in zip(out, batches, strict=True)]
        if validated[snapshot.step]:
            assert value == pytest.approx(float(torch.stack(own).mean()), rel=1e-6)
    assert (~np.isnan(run.metrics["val_loss"])).tolist() == validated.tolist()
    assert (run.metrics["constant"][1:] == 1.0).all()
    assert (~np.isnan(run.metrics["third"])).tolist() == [step % 3 == 1 for step in range(13)]


class Averaging(pl.Callback):
    """Puts other weights into the model when the training ends, as weight averaging does."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with torch.no_grad():
            for parameter in pl_module.parameters():
                parameter.zero_()


def test_lightning_records_the_last_state_of_the_training_not_what_comes_after(path: Path) -> None:
    module = Module()
    callback = LightningRecorder(path, model="net", every=5)
    trainer(path.parent, Averaging(), callback).fit(module, loader())
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 5, 10, 12]
    assert run[-1].weights["0.weight"].abs().sum() > 0


def test_lightning_leaves_an_interrupted_run_unfinished_and_goes_on(path: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = Module()
    trainer(tmp_path, LightningRecorder(tmp_path / "whole.h5", every=2), max_epochs=3).fit(whole, loader())

    def saver() -> pl.Callback:
        return pl.callbacks.ModelCheckpoint(dirpath=tmp_path / "saved", save_last=True, every_n_epochs=1)

    options: dict[str, Any] = {"enable_checkpointing": True, "max_epochs": 3}
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, LightningRecorder(path, every=2), saver(), **options).fit(Module(stop_at=9), loader())
    part = open_trajectory(path)
    assert not part.finished
    assert part.steps.tolist() == [0, 2, 4, 6, 8]
    # The checkpoint is of step 6: step 8 gives way and is recorded again.
    checkpoint = str(tmp_path / "saved" / "last.ckpt")
    callback = LightningRecorder(path, every=2)
    trainer(tmp_path, callback, saver(), **options).fit(Module(), loader(), ckpt_path=checkpoint)
    run = open_trajectory(path)
    assert run.finished
    assert run.run_id == part.run_id
    assert found(path) == found(tmp_path / "whole.h5")
    mend = "give the callback another path"
    expected = f"{path}: the run in the file is finished, and the training goes on; {mend}"
    with pytest.raises(LandscapeError, match=message(expected)):
        trainer(tmp_path, LightningRecorder(path), saver(), **{**options, "max_epochs": 4}).fit(
            Module(), loader(), ckpt_path=checkpoint
        )


def test_lightning_does_not_replace_a_file_unasked(path: Path) -> None:
    trainer(path.parent, LightningRecorder(path), max_epochs=1).fit(Module(), loader())
    mend = "pass overwrite=True to replace it, or give another path"
    expected = f"{path}: the file exists, and the training begins at step 0; {mend}"
    with pytest.raises(LandscapeError, match=message(expected)):
        trainer(path.parent, LightningRecorder(path), max_epochs=1).fit(Module(), loader())
    trainer(path.parent, LightningRecorder(path, overwrite=True, every=3)).fit(Module(), loader())
    assert open_trajectory(path).steps.tolist() == [0, 3, 6, 9, 12]


def test_lightning_names_a_submodule_that_is_not_there(path: Path) -> None:
    with pytest.raises(LandscapeError, match=message("model: no such submodule; got 'nett'; expected one of net")):
        trainer(path.parent, LightningRecorder(path, model="nett")).fit(Module(), loader())
    assert not path.exists()


def test_lightning_records_in_the_first_process_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Trainer, "is_global_zero", property(lambda self: False))
    trainer(path.parent, LightningRecorder(path)).fit(Module(), loader())
    assert not path.exists()


class Model(nn.Module):
    """A linear map as the Hugging Face Trainer wants it, that notes its weights at every call for training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        out = self.net(x)
        return {"logits": out} if labels is None else {"loss": (out - labels).square().mean(), "logits": out}


class Notes(transformers.TrainerCallback):
    """The digest of the weights after every update, and an exception at one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.seen: dict[int, str] = {}
        self.stop_at = stop_at

    def note(self, state: Any, model: nn.Module) -> None:
        self.seen[state.global_step] = digest(resolve(model)[1])

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.note(state, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.note(state, kwargs["model"])
        if self.stop_at == state.global_step:
            raise ZeroDivisionError


def hugging_trainer(folder: Path, model: nn.Module, *callbacks: Any, **options: Any) -> transformers.Trainer:
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        **{
            "per_device_train_batch_size": 4,
            "num_train_epochs": 2,
            "learning_rate": 0.01,
            "report_to": [],
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            "dataloader_pin_memory": False,
            "logging_strategy": "steps",
            "logging_steps": 2,
            "seed": 5,
            **options,
        },
    )
    trainer = transformers.Trainer(
        model, arguments, train_dataset=Examples(), eval_dataset=Examples(), callbacks=list(callbacks)
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize("background", [False, True])
def test_transformers_record_by_optimizer_step(path: Path, accumulate: int, background: bool) -> None:
    notes = Notes()
    callback = TransformersRecorder(path, problem="mine", seed=3, background=background)
    hugging_trainer(path.parent, Model(), notes, callback, gradient_accumulation_steps=accumulate).train()
    run = open_trajectory(path)
    updates = 2 * -(-6 // accumulate)
    assert run.finished
    assert run.steps.tolist() == list(range(updates + 1))
    assert found(path) == notes.seen
    assert (run.problem, run.seed) == ("mine", 3)
    assert run.epochs[-1] == 2.0
    # Logged at every second step, and at no other.
    assert [step for step, loss in zip(run.steps, run.metrics["train_loss"], strict=True) if loss > 0] == list(
        range(2, updates + 1, 2)
    )
    assert {"train_loss", "grad_norm", "learning_rate"} == set(run.metrics)


def test_transformers_record_the_steps_of_their_optimizer(path: Path) -> None:
    callback = TransformersRecorder(path, record=("update", "preconditioner"))
    hugging_trainer(path.parent, Model(), callback, gradient_accumulation_steps=2).train()
    run = open_trajectory(path)
    require_steps(run)
    # The schedule of the Trainer goes to 0.
    assert run.rates[0] == pytest.approx(0.01)
    assert (run.rates[1:-1] < run.rates[:-2]).all()


def test_transformers_thin_round_and_record_the_last_state(path: Path) -> None:
    model = Model()
    callback = TransformersRecorder(path, model="net", every=2, keep=3, dtype="bfloat16")
    hugging_trainer(path.parent, model, callback, max_steps=11).train()
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 8, 11]
    assert torch.equal(run[-1].weights["0.weight"], model.net[0].weight.detach().bfloat16().float())


def test_transformers_record_the_last_state_where_the_best_is_loaded(path: Path) -> None:
    notes = Notes()
    trained = hugging_trainer(
        path.parent,
        Model(),
        notes,
        TransformersRecorder(path, every=5),
        # The larger the loss, the better: the best model is not the last.
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,
    )
    trained.train()
    run = open_trajectory(path)
    assert run.steps.tolist() == [0, 5, 10, 12]
    assert run[-1].digest == notes.seen[12]
    assert digest(resolve(trained.model)[1]) == notes.seen[6]
    assert run.metrics["eval_loss"][-1] > 0


def test_transformers_leave_an_interrupted_run_unfinished_and_go_on(path: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 5}
    whole = TransformersRecorder(tmp_path / "whole.h5", every=2)
    hugging_trainer(tmp_path / "whole", Model(), whole, **options).train()
    with pytest.raises(ZeroDivisionError):
        hugging_trainer(
            tmp_path, Model(), TransformersRecorder(path, every=2), Notes(stop_at=9), **options
        ).train()
    part = open_trajectory(path)
    assert not part.finished
    assert part.steps.tolist() == [0, 2, 4, 6, 8]
    callback = TransformersRecorder(path, every=2)
    resumed = hugging_trainer(tmp_path, Model(), callback, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-5"))
    run = open_trajectory(path)
    assert run.finished
    assert run.run_id == part.run_id
    assert found(path) == found(tmp_path / "whole.h5")


def test_transformers_record_in_the_first_process_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.Trainer, "is_world_process_zero", lambda self: False)
    hugging_trainer(path.parent, Model(), TransformersRecorder(path)).train()
    assert not path.exists()


def test_a_submodule_is_found_behind_a_compiled_one() -> None:
    model = Model()
    compiled = torch.compile(model)
    assert chosen(compiled, None) is model
    assert chosen(compiled, "net.0") is model.net[0]
    assert chosen(model, "net") is model.net


def test_names_of_metrics_that_cannot_be_stored() -> None:
    assert plain({"train/loss": torch.tensor(1.0), "epoch": 2, "val_loss": 3.0}) == {
        "train_loss": 1.0,
        "logged_epoch": 2.0,
        "val_loss": 3.0,
    }


@pytest.mark.parametrize("module", ["landscape", "landscape.integrations"])
def test_neither_library_is_imported_unasked(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'lightning', 'transformers', 'torch'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("module", "library", "name", "extra"),
    [
        ("lightning", "lightning", "Lightning", "lightning"),
        ("huggingface", "transformers", "transformers", "transformers"),
    ],
)
def test_a_library_that_is_missing(module: str, library: str, name: str, extra: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import landscape.integrations.{module}"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"landscape.errors.LandscapeError: {name} cannot be imported; got ")
    assert last.endswith(f"pip install loss-landscape-toolkit[{extra}]")
