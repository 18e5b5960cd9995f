"""Checkpoints of other tools become snapshots bit for bit, or are refused in one line with nothing written."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from conftest import make_convnet, make_mlp, state_of
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.params import digest, layout_of, resolve
from landscape.trajectory import Recorder, import_checkpoints, open_trajectory
from landscape.trajectory.checkpoints.element_types import widens
from landscape.trajectory.checkpoints.files import natural_order
from landscape.trajectory.checkpoints.names import without_wrappers
from landscape.trajectory.checkpoints.readers import read_checkpoint


class Mixed(nn.Module):
    """Every element type that counts, tied parameters, buffers of all kinds, a name beyond ASCII."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator).to(dtype))

        self.first = nn.Linear(3, 4, bias=False)
        self.first.weight = numbers(4, 3)
        self.brain = numbers(5, dtype=torch.bfloat16)
        self.narrow = numbers(2, 2, dtype=torch.float16)
        self.wide = numbers(2, dtype=torch.float64)
        self.last = nn.Linear(3, 4, bias=False)
        self.last.weight = self.first.weight
        self.scalar = numbers()
        self.register_parameter("größe_λ", numbers(3))
        self.norm = nn.BatchNorm1d(4)
        self.norm.running_mean.copy_(torch.randn(4, generator=generator))
        self.register_buffer("mask", torch.rand(6, generator=generator) > 0.5)
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("count", torch.tensor(3 + seed))
        self.register_buffer("passing", torch.zeros(2), persistent=False)


def save_pt(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def save_legacy(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path.with_suffix(".pth"), _use_new_zipfile_serialization=False)
    return path.with_suffix(".pth")


def save_lightning(path: Path, state: dict[str, Tensor]) -> Path:
    held = {"pytorch-lightning_version": "2.6.6", "state_dict": state, "global_step": 9, "epoch": 1, "loops": {}}
    torch.save(held, path.with_suffix(".ckpt"))
    return path.with_suffix(".ckpt")


def save_plain_safetensors(path: Path, state: dict[str, Tensor]) -> Path:
    # Tied names are stored once: the second of them is left out.
    own = {name: tensor.detach().clone() for name, tensor in state.items() if name != "last.weight"}
    save_file(own, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def save_folder(path: Path, state: dict[str, Tensor]) -> Path:
    path.mkdir()
    names = [name for name in state if name != "last.weight"]
    halves = {"model-00001-of-00002.safetensors": names[:4], "model-00002-of-00002.safetensors": names[4:]}
    for file, held in halves.items():
        save_file({name: state[name].detach().clone() for name in held}, path / file)
    weight_map = {name: file for file, held in halves.items() for name in held}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path


def save_bin_folder(path: Path, state: dict[str, Tensor]) -> Path:
    path.mkdir()
    torch.save(state, path / "pytorch_model.bin")
    (path / "trainer_state.json").write_text('{"global_step": 9, "epoch": 0.5}')
    return path


SAVERS = [save_pt, save_legacy, save_lightning, save_plain_safetensors, save_folder, save_bin_folder]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def refused(run: Path, text: str, *arguments: Any, **options: Any) -> None:
    """The whole message, and that nothing is left of the attempt."""
    before = sorted(run.parent.rglob("*"))
    with pytest.raises(LandscapeError, match=f"^{re.escape(text)}$"):
        import_checkpoints(run, *arguments, **options)
    assert sorted(run.parent.rglob("*")) == before


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("dtype", [None, torch.float64, torch.bfloat16, torch.float16])
def test_every_format_comes_back_bit_for_bit(
    run: Path, save: Callable[..., Path], dtype: torch.dtype | None
) -> None:
    model = Mixed().to(dtype)
    model.scalar.data.fill_(float("nan"))
    file = save(run.with_name("checkpoint9"), model.state_dict())
    for given in (model, layout_of(model), None):
        imported, report = import_checkpoints(run, file, given, overwrite=True)
        snapshot = imported[0]
        assert snapshot.step == 9
        assert digest(resolve(snapshot)[1]) == digest(state_of(model))
        assert report.kinds_guessed is (given is None)
        assert not report.files[0].extra
        assert not report.files[0].conversions
        assert imported.finished
        tensors = {**snapshot.weights, **snapshot.buffers}
        assert tensors["scalar"].shape == tensors["count"].shape == ()
        assert tensors["empty"].shape == (0, 3)


def test_an_imported_run_is_what_a_recorder_writes(run: Path) -> None:
    model = Mixed()
    other = run.with_name("recorded.h5")
    with Recorder(other, model, problem="p", problem_args={"a": 1}) as recorder:
        for step in (2, 10):
            recorder.snapshot(step, weights=Mixed(step), epoch=step / 2)
            torch.save({"model": Mixed(step).state_dict(), "epoch": step / 2}, run.with_name(f"c{step}.pt"))
    imported, _ = import_checkpoints(run, str(run.with_name("c*.pt")), model, problem="p", problem_args={"a": 1})
    recorded = open_trajectory(other)
    assert imported.layout == recorded.layout
    assert imported.steps.tolist() == recorded.steps.tolist() == [2, 10]
    assert imported.epochs.tolist() == recorded.epochs.tolist()
    assert [s.digest for s in imported] == [s.digest for s in recorded]
    assert (imported.problem, imported.problem_args) == ("p", {"a": 1})
    with h5py.File(run, "r") as a, h5py.File(other, "r") as b:
        assert set(a.attrs) == set(b.attrs)
        assert set(a) == {*b, "imported"}
        for group in ("weights", "buffers"):
            assert {n: (d.shape, d.chunks, d.dtype) for n, d in a[group].items()} == {
                n: (d.shape, d.chunks, d.dtype) for n, d in b[group].items()
            }
        said = [json.loads(line) for line in a["imported"].asstr()[()]]
    assert [entry["key"] for entry in said] == ["model", "model"]
    assert said[1]["file"] == str(run.with_name("c10.pt"))


def test_tensors_wider_than_a_chunk(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landscape.trajectory.schema.CHUNK", 7)
    torch.save(Mixed(1).state_dict(), run.with_name("c1.pt"))
    imported, _ = import_checkpoints(run, run.with_name("c1.pt"), Mixed())
    assert imported[0].digest == digest(state_of(Mixed(1)))


def test_kinds_are_told_by_name_and_type_and_ties_by_memory(run: Path) -> None:
    model = Mixed()
    torch.save({f"module._orig_mod.{name}": t for name, t in model.state_dict().items()}, run.with_name("c1.pt"))
    imported, report = import_checkpoints(run, run.with_name("c1.pt"))
    kinds = {info.name: (info.kind, info.tied_to) for info in imported.layout}
    assert kinds["last.weight"] == ("parameter", "first.weight")
    assert kinds["norm.running_mean"] == kinds["count"] == kinds["mask"] == ("buffer", None)
    # Only the model knows that this one is a buffer.
    assert kinds["empty"] == ("parameter", None)
    assert report.files[0].names == "'module.' stripped, '_orig_mod.' stripped"
    layer = {"model.weight": torch.ones(2), "model.bias": torch.ones(2)}
    torch.save(layer, run.with_name("c1.pt"))
    imported, _ = import_checkpoints(run, run.with_name("c1.pt"), overwrite=True)
    assert [info.name for info in imported.layout] == ["model.weight", "model.bias"]


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        (lambda name: name, ""),
        (lambda name: f"module.{name}", "'module.' stripped"),
        (lambda name: f"_orig_mod.{name}", "'_orig_mod.' stripped"),
        (lambda name: name.replace(".", "._orig_mod.", 1), "'_orig_mod.' stripped"),
        (lambda name: f"_orig_mod.module.{name}", "'module.' stripped, '_orig_mod.' stripped"),
        (lambda name: f"model.{name}", "'model.' stripped"),
        (lambda name: f"some.student.{name}", "'some.student.' stripped"),
        (lambda name: f"net._orig_mod.{name}", "'_orig_mod.' stripped, 'net.' stripped"),
    ],
)
def test_what_wrappers_put_before_names_is_found_and_said(
    run: Path, rename: Callable[[str], str], words: str
) -> None:
    model = make_convnet()
    state = {rename(name): tensor for name, tensor in model.state_dict().items()}
    torch.save(state | {"optimizer_state": torch.ones(3)}, run.with_name("c1.pt"))
    imported, report = import_checkpoints(run, run.with_name("c1.pt"), model)
    assert report.files[0].names == words
    assert report.files[0].extra.first == ("optimizer_state",)
    assert imported[0].digest == digest(state_of(model))


class Headed(nn.Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.base = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4))
        self.head = nn.Linear(4, 7, bias=False)
        if tied:
            self.head.weight = self.base[0].weight


def test_a_base_model_goes_into_one_with_a_head_and_back(run: Path) -> None:
    model = Headed()
    torch.save(model.base.state_dict(), run.with_name("c1.pt"))
    imported, report = import_checkpoints(run, run.with_name("c1.pt"), model)
    assert report.files[0].names == "'base.' added"
    assert imported[0].digest == digest(state_of(model))
    torch.save(model.state_dict(), run.with_name("c1.pt"))
    imported, report = import_checkpoints(run, run.with_name("c1.pt"), model.base, overwrite=True)
    assert report.files[0].names == "'base.' stripped"
    assert report.files[0].extra.first == ("head.weight",)
    with_head = model.base.state_dict() | {"head.weight": model.head.weight}
    torch.save(with_head, run.with_name("c1.pt"))
    assert import_checkpoints(run, run.with_name("c1.pt"), model, overwrite=True)[1].files[0].tensors == 3


def test_an_exact_match_wins_and_a_tie_is_refused(run: Path) -> None:
    model = nn.Linear(2, 2)
    own, others = model.state_dict(), nn.Linear(2, 2).state_dict()
    file = run.with_name("c1.pt")
    torch.save(own | {f"ema.{name}": t for name, t in others.items()}, file)
    imported, report = import_checkpoints(run, file, model)
    assert imported[0].digest == digest(state_of(model))
    assert report.files[0].notes == ("other weights in the file fit too: --key ema",)
    run.unlink()
    both = {f"student.{n}": t for n, t in own.items()} | {f"teacher.{n}": t for n, t in others.items()}
    torch.save({"model": both, "epoch": 3}, file)
    refused(
        run,
        f"{file}: several sets of weights in the file fit the model; got model.student, model.teacher; "
        "choose one, such as --key model.student",
        file,
        model,
    )
    imported, _ = import_checkpoints(run, file, model, key="model.student")
    assert imported[0].digest == digest(state_of(model))
    assert torch.equal(
        import_checkpoints(run, file, model, key="model.teacher", overwrite=True)[0][0].weights["bias"],
        others["bias"],
    )


def test_the_state_dict_is_found_or_chosen(run: Path) -> None:
    model, file = nn.Linear(2, 2), run.with_name("c1.pt")
    state, other = model.state_dict(), nn.Linear(2, 2).state_dict()
    for held, key in (
        (state, ""),
        ({"model_state_dict": state, "optimizer": {"state": {}, "param_groups": []}}, "model_state_dict"),
        ({"mine": state, "args": {"lr": 0.1}}, "mine"),
        ({"state": {"model": state, "lr": 0.1}}, "state.model"),
        ({"net": state | {"_extra_state": {"a": 1}}, "buffers": {"x": torch.ones(1)}}, "net"),
    ):
        torch.save(held, file)
        imported, report = import_checkpoints(run, file, model, overwrite=True)
        assert report.files[0].key == key
        assert imported[0].digest == digest(state_of(model))
    torch.save({"model": other, "ema": {"shadow.of": state}, "lr": 0.1}, file)
    imported, _ = import_checkpoints(run, file, model, key="ema.shadow.of", overwrite=True)
    assert imported[0].digest == digest(state_of(model))
    run.unlink()
    torch.save({"model": other, "ema": state, "lr": 0.1}, file)
    refused(
        run,
        f"{file}: several dictionaries of tensors are in the file; got model, ema; "
        "choose one, such as --key model",
        file,
        model,
    )
    refused(
        run,
        f"{file}: no tensors are under this key; got --key emma; expected model, ema",
        file,
        model,
        key="emma",
    )
    for held, got in (([1], "a list"), ({}, "an empty dictionary"), ({"a": 1, "b": {}}, "a dictionary of a, b")):
        torch.save(held, file)
        refused(run, f"{file}: no dictionary of name -> tensor is in the file; got {got}", file, model)


def test_what_does_not_fit_is_told_in_one_line(run: Path) -> None:
    model, file = make_mlp(), run.with_name("c1.pt")
    state = dict(model.state_dict())
    state["4.weight"] = torch.zeros(5, 12)
    state["head"] = state.pop("0.weight")
    del state["0.bias"]
    torch.save(state, file)
    refused(
        run,
        f"{file}: the tensors are not those of the model; got 2 missing: 0.weight 12x6, 0.bias 12 | "
        "1 of another shape: 4.weight is 5x12, not 3x12 | 1 extra: head",
        file,
        model,
    )
    torch.save({"a": torch.ones(2)}, file)
    refused(
        run,
        f"{file}: no tensor of the model is in the file; got a; expected 0.weight, 0.bias, 2.weight, 2.bias and 2 "
        "more; choose the problem and the options that the checkpoint was trained with",
        file,
        model,
        missing="initial",
    )


def test_missing_tensors_from_the_initial_model(run: Path) -> None:
    model, trained = make_convnet(0), make_convnet(1)
    file = run.with_name("c1.pt")
    torch.save({n: t for n, t in trained.state_dict().items() if "num_batches" not in n and n != "5.bias"}, file)
    refused(
        run,
        f"{file}: the tensors are not those of the model; got 1 missing: 5.bias 3; "
        "--missing initial takes missing ones from the problem's initial model",
        file,
        model,
    )
    imported, report = import_checkpoints(run, file, model, missing="initial")
    expected = state_of(trained) | {n: state_of(model)[n] for n in ("5.bias", "1.num_batches_tracked")}
    assert imported[0].digest == digest(expected)
    assert report.files[0].missing.first == ("5.bias",)
    assert report.files[0].notes == ("num_batches_tracked of 1 layers is not in the file: that of a new model",)
    run.unlink()
    refused(
        run,
        "--missing initial: missing tensors can be taken from a model only; pass --problem, or a model",
        file,
        missing="initial",
    )


def test_extra_tensors_can_be_refused(run: Path) -> None:
    model, file = nn.Linear(2, 2), run.with_name("c1.pt")
    torch.save(model.state_dict() | {"x": torch.ones(1), "y": torch.ones(1)}, file)
    refused(run, f"{file}: tensors are not in the model; got x, y", file, model, extra="refuse")


def test_tied_names_may_come_in_any_number_but_must_agree(run: Path) -> None:
    model, file = Headed(), run.with_name("c1.pt")
    state = model.state_dict()
    for left_out in ("head.weight", "base.0.weight", None):
        torch.save({name: t.clone() for name, t in state.items() if name != left_out}, file)
        imported, _ = import_checkpoints(run, file, model, overwrite=True)
        assert imported[0].digest == digest(state_of(model))
    run.unlink()
    torch.save(Headed(tied=False).state_dict(), file)
    refused(
        run,
        f"{file}: names that are one tensor in the model have different values in the file; got base.0.weight "
        "(float32) and head.weight (float32); build the problem without tied weights",
        file,
        model,
    )


def test_ties_that_safetensors_notes_are_put_back(run: Path) -> None:
    model, file = Headed(), run.with_name("c1.safetensors")
    save_model(model, str(file))
    imported, _ = import_checkpoints(run, file)
    ties = {info.name: info.tied_to for info in imported.layout if info.tied_to}
    assert ties in ({"head.weight": "base.0.weight"}, {"base.0.weight": "head.weight"})


def test_narrow_types_widen_exactly(run: Path) -> None:
    model, file = make_mlp(), run.with_name("c1.pt")
    narrow = {
        name: t.to(torch.bfloat16 if "weight" in name else torch.float16) for name, t in model.state_dict().items()
    }
    torch.save(narrow, file)
    imported, report = import_checkpoints(run, file, model)
    assert imported[0].digest == digest({name: t.float() for name, t in narrow.items()})
    changes = {change.source: change for change in report.files[0].conversions}
    assert changes["bfloat16"].tensors.count == changes["float16"].tensors.count == 3
    assert all(change.target == "float32" and change.rounding == 0 for change in changes.values())


def test_rounding_needs_leave_and_is_measured(run: Path) -> None:
    model, file = nn.Linear(300, 5), run.with_name("c1.pt")
    wide = nn.Linear(300, 5).double().state_dict()
    torch.save(wide, file)
    refused(
        run, f"{file}: tensor 'weight' would be rounded; got float64; expected float32; pass --cast", file, model
    )
    imported, report = import_checkpoints(run, file, model, cast=True)
    assert torch.equal(imported[0].weights["weight"], wide["weight"].float())
    off = torch.cat([(t - t.float().double()).flatten() for t in wide.values()]).norm()
    norm = torch.cat([t.flatten() for t in wide.values()]).norm()
    assert report.files[0].conversions[0].rounding == pytest.approx(float(off / norm), rel=1e-12)
    run.unlink()
    torch.save(wide | {"bias": torch.full((5,), 1e300, dtype=torch.float64)}, file)
    refused(
        run,
        f"{file}: tensor 'bias' has numbers that would become infinite in the model's element type; "
        "got float64; expected float32",
        file,
        model,
        cast=True,
    )
    torch.save(nn.Linear(300, 5).state_dict() | {"bias": torch.ones(5, dtype=torch.int64)}, file)
    refused(
        run,
        f"{file}: tensor 'bias' has another kind of element; got int64; expected float32",
        file,
        model,
        cast=True,
    )


@pytest.mark.parametrize(("source", "target"), [("float8_e4m3fn", "bfloat16"), ("float8_e5m2", "float16"),
                                                ("float16", "float32"), ("bfloat16", "float32")])  # fmt: skip
def test_widening_keeps_every_value(source: str, target: str) -> None:
    bits = torch.arange(2 ** (8 if "8" in source else 16), dtype=torch.int32)
    values = bits.to(torch.uint8 if "8" in source else torch.uint16).view(getattr(torch, source))
    finite = values.to(torch.float32).isfinite()
    assert widens(source, target)
    assert torch.equal(values.to(getattr(torch, target)).double()[finite], values.double()[finite])
    assert not widens(target, source)
    assert not widens("bfloat16", "float16")
    assert not widens("float16", "bfloat16")
    assert widens("int32", "int64")
    assert not widens("int64", "int32")
    assert not widens("uint8", "int8")
    assert not widens("bool", "uint8")


def steps_of(run: Path, files: Any, **options: Any) -> list[tuple[int, float | None, str]]:
    _, report = import_checkpoints(run, files, overwrite=True, **options)
    return [(file.step, file.epoch, file.step_from) for file in report.files]


def saved(folder: Path, name: str, **says: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    state = nn.Linear(2, 2).state_dict()
    torch.save({"state_dict": state, **says} if says else state, path)
    return path


def test_steps_from_the_checkpoint_the_name_or_the_user(run: Path) -> None:
    folder = run.parent
    by_epoch = "the epoch, as --steps-per-epoch is not given"
    for name, says, expected in (
        ("last.ckpt", {"global_step": 30, "epoch": 2}, (30, 2, "global_step in the checkpoint")),
        ("a7.pt", {"step": torch.tensor(40)}, (40, None, "step in the checkpoint")),
        ("a7.pt", {"iteration": 50.0}, (50, None, "iteration in the checkpoint")),
        ("epoch=3-step=400-loss=0.25.pt", {}, (400, 3, "in the name")),
        ("net_iter_12.pt", {}, (12, None, "in the name")),
        ("epoch-4.pt", {}, (4, 4, by_epoch)),
        ("best.pt", {"epoch": 5}, (5, 5, by_epoch)),
        ("resnet18_600_loss0.25.pth", {}, (600, None, "the last number in the name")),
        ("resnet18_600.pth.tar", {"epoch": 6}, (600, 6, "the last number in the name")),
    ):
        file = saved(folder, name, **says)
        assert steps_of(run, file) == [expected], name
    assert steps_of(run, saved(folder, "epoch-4.pt"), steps_per_epoch=10) == [(40, 4, "epoch 4 of 10 steps")]
    assert steps_of(run, saved(folder, "best.pt", epoch=5), steps_per_epoch=3) == [(15, 5, "epoch 5 of 3 steps")]
    assert steps_of(run, saved(folder, "epoch-4.pt"), steps=[77]) == [(77, 4, "given")]
    # Where all files are named alike, the folder says which it is.
    model = nn.Linear(2, 2)
    for step in (500, 1500):
        (folder / f"checkpoint-{step}").mkdir()
        save_file(model.state_dict(), folder / f"checkpoint-{step}" / "model.safetensors")
    assert [step for step, _, _ in steps_of(run, str(folder / "checkpoint-*"))] == [500, 1500]
    assert [step for step, _, _ in steps_of(run, str(folder / "checkpoint-*" / "*.safetensors"))] == [500, 1500]
    (folder / "checkpoint-1500" / "trainer_state.json").write_text('{"global_step": 1501, "epoch": 2.5}')
    assert steps_of(run, str(folder / "checkpoint-*"))[1] == (1501, 2.5, "global_step in the checkpoint")


def test_files_come_in_natural_order(run: Path) -> None:
    names = ["e/epoch10.pt", "e/epoch2.pt", "e/epoch1.pt"]
    paths = [saved(run.parent, name) for name in names]
    for given in (paths, str(run.parent / "e" / "*.pt"), str(run.parent / "**" / "epoch*.pt")):
        assert [step for step, _, _ in steps_of(run, given)] == [1, 2, 10]
    assert natural_order([Path("b/1"), Path("a/10"), Path("a/9")]) == [Path("a/9"), Path("a/10"), Path("b/1")]
    # Names that are not numbered are taken as they are given.
    late, early = saved(run.parent, "best.pt", step=300), saved(run.parent, "start.pt", step=0)
    assert [step for step, _, _ in steps_of(run, [early, late])] == [0, 300]
    # A name with a bracket in it is no pattern if there is such a file.
    assert steps_of(run, saved(run.parent, "a[1]7.pt"))[0][0] == 7


def test_steps_that_say_nothing_sensible_are_refused(run: Path) -> None:
    give = (
        "--steps with one number per checkpoint, in the order in which they are named, such as --steps 0,100,200"
    )
    folder = run.parent
    late, early = saved(folder, "late.pt", step=300), saved(folder, "start.pt", step=0)
    refused(
        run,
        f"{early}: steps must grow from checkpoint to checkpoint; got step 0 (step in the checkpoint) after step "
        "300 of late.pt (step in the checkpoint); quote a pattern, which then expands in natural order, or pass "
        f"{give}",
        [late, early],
    )
    again = saved(folder, "again.pt", step=300)
    refused(
        run,
        f"{again}: two checkpoints are of step 300; got again.pt (step in the checkpoint) after late.pt (step in "
        f"the checkpoint); leave one out, or pass {give}",
        [late, again],
    )
    plain = saved(folder, "plain.pt")
    refused(run, f"{plain}: nothing says which step this is; pass {give}", plain)
    refused(run, "--steps: the wrong number of steps; got 1; expected one for each of 2 checkpoints",
            [late, plain], steps=[1])  # fmt: skip
    refused(run, "--steps: steps must be at least 0 and grow; got 5,5", [late, plain], steps=[5, 5])
    refused(run, "--steps: steps must be at least 0 and grow; got -1,5", [late, plain], steps=[-1, 5])
    refused(
        run, "--steps and --steps-per-epoch exclude each other; choose one", plain, steps=[1], steps_per_epoch=2
    )
    refused(run, "--steps-per-epoch: must be positive; got 0", plain, steps_per_epoch=0)
    first, tenth = saved(folder, "n2.pt"), saved(folder, "n10.pt")
    refused(
        run,
        "--steps: the checkpoints are not in the order of the numbers in their names; got n10.pt first, n2.pt "
        "last; quote the pattern, which then expands in that order",
        [tenth, first],
        steps=[1, 2],
    )


def test_a_failure_leaves_what_was_there(run: Path) -> None:
    for step in range(1, 6):
        saved(run.parent, f"c{step}.pt")
    (run.parent / "c5.pt").write_bytes(b"PK\x03\x04 and no more")
    pattern = str(run.parent / "c*.pt")
    with pytest.raises(
        LandscapeError, match=r"c5\.pt: not a file of weights that torch can read, or a damaged one"
    ):
        import_checkpoints(run, pattern)
    assert not run.exists()
    assert not list(run.parent.glob(".*"))
    import_checkpoints(run, pattern.replace("*", "[1-4]"))
    held = run.read_bytes()
    refused(run, f"{run}: the file exists; pass --overwrite to replace it, or another name", pattern)
    with pytest.raises(LandscapeError):
        import_checkpoints(run, pattern, overwrite=True)
    assert run.read_bytes() == held
    assert not list(run.parent.glob(".*"))


def test_what_is_asked_for_wrongly_is_told_together(run: Path) -> None:
    refused(
        run,
        "--missing must be refuse or initial, got no | --extra must be ignore or refuse, got keep",
        "x.pt",
        missing="no",
        extra="keep",
    )
    refused(run, f"{run.parent}/no.pt: no such file or folder", run.parent / "no.pt")
    refused(run, f"'{run.parent}/no*.pt': no file matches this pattern", str(run.parent / "no*.pt"))
    refused(run, "no checkpoints are given; name some, such as 'ckpts/epoch*.pt'", [])


def test_the_model_is_left_alone(run: Path) -> None:
    model = make_convnet()
    before = digest(state_of(model))
    torch.save(make_convnet(1).state_dict(), run.with_name("c1.pt"))
    import_checkpoints(run, run.with_name("c1.pt"), model)
    assert digest(state_of(model)) == before


def test_memory_is_that_of_one_checkpoint(run: Path) -> None:
    """Anonymous memory grows by less than one checkpoint, however many there are and whatever their type."""
    resource = pytest.importorskip("resource")
    # 64 MB as float32: far above what an allocator keeps in reserve.
    count = 2**24
    for step in range(3):
        torch.save({"w": torch.full((count,), float(step), dtype=torch.bfloat16)}, run.with_name(f"c{step}.pt"))
    model = nn.Module()
    model.w = nn.Parameter(torch.zeros(count))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    imported, _ = import_checkpoints(run, str(run.with_name("c*.pt")), model)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    # The mapped file of 32 MB, a chunk of 4 MB in two copies, and some room.
    assert grown < 2 * 2**25
    assert float(imported[2].weights["w"][-1]) == 2.0


@pytest.mark.parametrize("save", [save_legacy, save_pt, save_plain_safetensors])
def test_a_checkpoint_is_gone_before_the_next_is_read(
    run: Path, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []

    def read(path: Path, *more: Any) -> Any:
        assert [held() for held in alive] == [None] * len(alive)
        checkpoint = read_checkpoint(path, *more)
        alive.extend(weakref.ref(tensor.untyped_storage()) for tensor in checkpoint.tensors.values())
        alive.extend(map(weakref.ref, checkpoint.tensors.values()))
        return checkpoint

    monkeypatch.setattr("landscape.trajectory.checkpoints.imports.read_checkpoint", read)
    files = [save(run.with_name(f"c{step}"), make_mlp(step).state_dict()) for step in range(3)]
    import_checkpoints(run, files)
    assert len(alive) == 3 * 2 * 6


def test_names_without_wrappers() -> None:
    assert without_wrappers("module.module.a.module.b") == "a.module.b"
    assert without_wrappers("module") == "module"


class Adapted(nn.Module):
    """A linear map with an adapter, under the names that peft gives."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer = nn.Linear(4, 3)
        self.lora_A = nn.ModuleDict({"style": nn.Linear(4, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"style": nn.Linear(2, 3, bias=False)})


def test_an_adapter_is_read_under_the_name_that_its_file_leaves_out(run: Path) -> None:
    model = Adapted()
    own = {"lora_A.weight": torch.randn(2, 4), "lora_B.weight": torch.randn(3, 2)}
    file = save_pt(run.parent / "adapter-1", own)
    with pytest.raises(
        LandscapeError, match=r"got 2 missing: base_layer\.weight .*'\.style' added; --missing initial"
    ):
        import_checkpoints(run, file, model, steps=[1])
    held, report = import_checkpoints(run, file, model, steps=[1], missing="initial")
    assert report.files[0].names == "'.style' added"
    assert torch.equal(held[0].weights["lora_B.style.weight"], own["lora_B.weight"])
    assert torch.equal(held[0].weights["base_layer.weight"], model.base_layer.weight)
    message = r"the file holds an adapter, without the weights that it adapts; .*merge_and_unload"
    with pytest.raises(LandscapeError, match=message):
        import_checkpoints(run, file, nn.Linear(4, 3), steps=[1], overwrite=True)
