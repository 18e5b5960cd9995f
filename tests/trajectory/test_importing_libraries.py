"""Checkpoints that other libraries write themselves: Lightning, transformers, torchvision, torch.compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_data, make_mlp, state_of
from torch import nn
from torch.nn import functional as F

from landscape.params import digest, resolve
from landscape.trajectory import export_snapshot, import_checkpoints


# Lightning asks torch for what torch has by another name now.
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")
def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Module(lightning.LightningModule):
        def __init__(self, width: int = 12) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = make_mlp(0, width)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    seen: dict[int, str] = {}

    class Watch(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            seen[trainer.global_step] = digest(state_of(pl_module.net))

    every = ModelCheckpoint(dirpath=tmp_path / "ckpts", save_top_k=-1, filename="{epoch}-{step}")
    trainer = lightning.Trainer(
        max_epochs=12,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Watch(), every],
        default_root_dir=tmp_path,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*make_data(count=8)), 4))
    run, report = import_checkpoints(tmp_path / "run.h5", str(tmp_path / "ckpts" / "*.ckpt"), make_mlp())
    assert run.steps.tolist() == list(seen) == list(range(2, 26, 2))
    assert [snapshot.digest for snapshot in run] == list(seen.values())
    assert run.epochs.tolist() == list(range(12))
    first = report.files[0]
    assert (first.format, first.key, first.step_from) == (
        "lightning",
        "state_dict",
        "global_step in the checkpoint",
    )
    assert first.names == "'net.' stripped"


@pytest.fixture(scope="module")
def gpt2() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=53, n_positions=8)
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(config)


@pytest.mark.parametrize("sharded", [False, True])
def test_transformers(tmp_path: Path, gpt2: Any, sharded: bool) -> None:
    folder = tmp_path / "checkpoint-40"
    gpt2.save_pretrained(folder, **({"max_shard_size": "20KB"} if sharded else {}))
    assert (folder / "model.safetensors.index.json").exists() is sharded
    run, report = import_checkpoints(tmp_path / "run.h5", folder, gpt2)
    assert (report.files[0].format, report.files[0].names, run.steps.tolist()) == ("huggingface", "", [40])
    assert run[0].digest == digest(state_of(gpt2))
    # The base model inside it, and the file of the base model in the whole one.
    inner, report = import_checkpoints(tmp_path / "inner.h5", folder, gpt2.transformer)
    assert report.files[0].names == "'transformer.' stripped"
    assert inner[0].digest == digest(state_of(gpt2.transformer))
    gpt2.transformer.save_pretrained(tmp_path / "base-41")
    whole, report = import_checkpoints(tmp_path / "whole.h5", tmp_path / "base-41", gpt2)
    assert report.files[0].names == "'transformer.' added"
    assert whole[0].digest == digest(state_of(gpt2))
    export_snapshot(run, 0, tmp_path / "out.pt")
    gpt2.load_state_dict(torch.load(tmp_path / "out.pt", weights_only=True))


def test_a_bfloat16_folder_widens(tmp_path: Path, gpt2: Any) -> None:
    transformers = pytest.importorskip("transformers")
    narrow = transformers.GPT2LMHeadModel(gpt2.config).to(torch.bfloat16)
    narrow.save_pretrained(tmp_path / "c-1")
    run, report = import_checkpoints(tmp_path / "run.h5", tmp_path / "c-1", gpt2)
    assert run[0].digest == digest({name: t.float() for name, t in state_of(narrow).items()})
    assert report.files[0].conversions[0].rounding == 0
    own, report = import_checkpoints(tmp_path / "own.h5", tmp_path / "c-1")
    assert own[0].digest == digest(state_of(narrow))
    assert report.kinds_guessed


def test_the_trainer_of_transformers(tmp_path: Path, gpt2: Any) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    tokens = torch.randint(0, 53, (8, 8), generator=torch.Generator().manual_seed(0))
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=4,
        save_steps=2,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    examples = [{"input_ids": row, "labels": row} for row in tokens]
    transformers.Trainer(gpt2, arguments, train_dataset=examples).train()
    run, report = import_checkpoints(tmp_path / "run.h5", str(tmp_path / "out" / "checkpoint-*"), gpt2)
    assert run.steps.tolist() == [2, 4]
    assert run.epochs.tolist() == [1, 2]
    assert run[1].digest == digest(state_of(gpt2))
    assert run[0].digest != run[1].digest
    assert report.files[0].step_from == "global_step in the checkpoint"


def test_a_resnet_in_data_parallel(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    model = resnet18(weights=None, num_classes=10)
    torch.save({"state_dict": nn.DataParallel(model).state_dict(), "epoch": 4}, tmp_path / "checkpoint.pth.tar")
    run, report = import_checkpoints(tmp_path / "run.h5", tmp_path / "checkpoint.pth.tar", model)
    assert report.files[0].names == "'module.' stripped"
    assert run[0].digest == digest(state_of(model))
    guessed, _ = import_checkpoints(tmp_path / "guessed.h5", tmp_path / "checkpoint.pth.tar")
    assert guessed[0].digest == run[0].digest
    kinds = {info.name: info.kind for info in run.layout}
    assert {info.name: info.kind for info in guessed.layout} == kinds


def test_compiled_modules(tmp_path: Path) -> None:
    model = make_mlp()
    torch.save(torch.compile(model).state_dict(), tmp_path / "c1.pt")
    run, report = import_checkpoints(tmp_path / "run.h5", tmp_path / "c1.pt", model)
    assert report.files[0].names == "'_orig_mod.' stripped"
    assert run[0].digest == digest(state_of(model))
    # The other way round: the model at hand is the compiled one.
    torch.save(model.state_dict(), tmp_path / "c1.pt")
    run, _ = import_checkpoints(tmp_path / "run.h5", tmp_path / "c1.pt", torch.compile(model), overwrite=True)
    assert list(run[0].weights) == list(resolve(torch.compile(model))[1])


def test_averaged_models(tmp_path: Path) -> None:
    model = make_mlp()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save(averaged.state_dict(), tmp_path / "c1.pt")
    run, report = import_checkpoints(tmp_path / "run.h5", tmp_path / "c1.pt", model)
    assert not report.files[0].extra
    assert report.files[0].notes[0].startswith("an average of weights: n_averaged is ")
    assert run[0].digest == digest(state_of(model))
