"""Kinds of checkpoints that people have: each comes in bit for bit, or is refused with what to do."""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from conftest import make_convnet, state_of
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import Metadata
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from landscape.errors import LandscapeError
from landscape.params import digest, resolve
from landscape.trajectory import import_checkpoints
from landscape.trajectory.checkpoints.names import align, tree_of
from landscape.trajectory.checkpoints.readers import read_checkpoint

State = dict[str, Tensor]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def numbers_of(run: Path, file: Any, model: Any, **options: Any) -> tuple[str, Any]:
    """The digest of the first snapshot, and the report of its file."""
    imported, report = import_checkpoints(run, file, model, overwrite=True, **{"steps": [1], **options})
    return digest(resolve(imported[0])[1]), report.files[0]


def refusal(run: Path, file: Any, model: Any, **options: Any) -> str:
    with pytest.raises(LandscapeError) as caught:
        import_checkpoints(run, file, model, **{"steps": [1], **options})
    assert not run.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Named(nn.Module):
    """A network with a submodule that is called as wrappers are."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 3)
        self.weight = nn.Parameter(torch.randn(3, 3))
        self.inner = nn.Sequential(nn.Linear(3, 2))


WRAPPED: list[tuple[Callable[[], nn.Module], Callable[[str], str]]] = [
    (make_convnet, lambda name: f"module.{name}"),
    (make_convnet, lambda name: f"module._orig_mod.module.{name}"),
    (make_convnet, lambda name: name.replace(".", "._checkpoint_wrapped_module.", 1)),
    (make_convnet, lambda name: name.replace(".", "._fsdp_wrapped_module._checkpoint_wrapped_module.", 1)),
    (make_convnet, lambda name: f"_fsdp_wrapped_module.{name.replace('.', '._fsdp_wrapped_module.', 1)}"),
    (make_convnet, lambda name: f"net._orig_mod.{name.replace('.', '.module.', 1)}"),
    (make_convnet, lambda name: f"1.module.{name}"),
    (Named, lambda name: name),
    (Named, lambda name: f"module.{name}"),
    (Named, lambda name: f"_orig_mod.module.{name}"),
    (Named, lambda name: name.replace("module.", "module._orig_mod.").replace("inner.", "inner.module.")),
]


@pytest.mark.parametrize("case", range(len(WRAPPED)))
def test_wrappers_go_wherever_they_stand_and_submodules_stay(run: Path, tmp_path: Path, case: int) -> None:
    make, rename = WRAPPED[case]
    model, file = make(), tmp_path / "c.pt"
    torch.save({rename(name): tensor for name, tensor in model.state_dict().items()}, file)
    found, report = numbers_of(run, file, make())
    assert found == digest(state_of(model))
    assert not report.extra
    assert not report.missing


def test_the_failing_control_of_a_submodule_called_module() -> None:
    """Taking every wrapper's part out of all names gives two tensors one name."""
    names = {name: tuple(tensor.shape) for name, tensor in Named().state_dict().items()}
    taken = [".".join(part for part in name.split(".") if part != "module") for name in names]
    assert len(set(taken)) < len(taken)
    found = tree_of({name: f"module.{name}" for name in names}, names)
    assert align(found, tree_of({name: name for name in names}, names)).targets == {name: name for name in names}


def test_a_model_that_is_wrapped_takes_bare_names(run: Path, tmp_path: Path) -> None:
    model = make_convnet()
    torch.save(model.state_dict(), tmp_path / "c.pt")
    wrapped = {f"module.{n.replace('.', '._orig_mod.', 1)}": t for n, t in model.state_dict().items()}
    assert numbers_of(run, tmp_path / "c.pt", wrapped)[1].tensors == len(wrapped)


def test_names_of_any_depth_end(run: Path, tmp_path: Path) -> None:
    state = make_convnet().state_dict() | {"module." * 5000 + "x": torch.ones(1), "." * 3000: torch.ones(1)}
    torch.save(state, tmp_path / "c.pt")
    assert numbers_of(run, tmp_path / "c.pt", make_convnet())[1].extra.count == 2
    assert numbers_of(run, tmp_path / "c.pt", None)[1].tensors == len(state)


def test_the_counter_of_an_average_is_no_tensor_of_the_model(run: Path, tmp_path: Path) -> None:
    model = make_convnet()
    averaged = torch.optim.swa_utils.AveragedModel(make_convnet(), use_buffers=True)
    averaged.update_parameters(model)
    averaged.update_parameters(model)
    torch.save(averaged.state_dict(), tmp_path / "c.pt")
    for given in (make_convnet(), None):
        found, report = numbers_of(run, tmp_path / "c.pt", given, extra="refuse")
        assert found == digest(state_of(averaged.module))
        assert report.names == "'module.' stripped"
    assert numbers_of(run, tmp_path / "c.pt", model)[1].notes == ("an average of weights: n_averaged is 2",)


def normed(new: bool) -> nn.Module:
    weight = parametrizations.weight_norm if new else nn.utils.weight_norm
    spectral = parametrizations.spectral_norm if new else nn.utils.spectral_norm
    torch.manual_seed(0)
    return nn.Sequential(weight(nn.Linear(4, 6)), nn.Tanh(), spectral(nn.Linear(6, 5)), nn.Linear(5, 3))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("old_file", [True, False])
@pytest.mark.parametrize("wrapper", ["", "module._orig_mod."])
def test_normed_weights_are_the_same_function_under_old_and_new_names(
    run: Path, tmp_path: Path, old_file: bool, wrapper: str
) -> None:
    saved, model = normed(not old_file), normed(old_file)
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    torch.save({wrapper + name: t for name, t in saved.state_dict().items()}, tmp_path / "c.pt")
    imported, report = import_checkpoints(run, tmp_path / "c.pt", model, steps=[1])
    assert "read as" in report.files[0].names
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, tensor in resolve(imported[0])[1].items():
            own[name].copy_(tensor)
    x = torch.randn(7, 4)
    assert torch.equal(model.eval()(x), saved.eval()(x))


def test_parameters_that_are_called_so_are_no_norm(run: Path, tmp_path: Path) -> None:
    model = nn.ParameterDict({"w_g": nn.Parameter(torch.ones(2)), "w_v": nn.Parameter(torch.ones(3))})
    torch.save(model.state_dict(), tmp_path / "c.pt")
    for given in (model, None):
        found, report = numbers_of(run, tmp_path / "c.pt", given)
        assert (found, report.names) == (digest(state_of(model)), "")
    more = nn.ParameterDict({**model, "w_orig": nn.Parameter(torch.ones(1))})
    torch.save({f"module.{n}": t for n, t in more.state_dict().items()}, tmp_path / "c.pt")
    assert numbers_of(run, tmp_path / "c.pt", more)[0] == digest(state_of(more))


def test_counters_of_batchnorm_that_a_file_lacks(run: Path, tmp_path: Path) -> None:
    model, fresh = make_convnet(1), make_convnet()
    model(torch.randn(4, 1, 4, 4))
    state = {name: t for name, t in model.state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "old.pt")
    torch.save(model.state_dict(), tmp_path / "new.pt")
    found, report = numbers_of(run, tmp_path / "old.pt", fresh)
    # As torch itself loads such a file.
    fresh.load_state_dict(collections.OrderedDict(state))
    assert found == digest(state_of(fresh))
    assert report.notes == ("num_batches_tracked of 1 layers is not in the file: that of a new model",)
    imported, _ = import_checkpoints(run, [tmp_path / "new.pt", tmp_path / "old.pt"], steps=[1, 2], overwrite=True)
    assert [int(snapshot.buffers["1.num_batches_tracked"]) for snapshot in imported] == [1, 0]
    run.unlink()
    del state["1.running_var"]
    torch.save(state, tmp_path / "old.pt")
    assert "2 missing: 1.running_var 4, 1.num_batches" in refusal(run, tmp_path / "old.pt", make_convnet())


def other(state: State, factor: float = 0.5) -> State:
    return {name: tensor * factor if tensor.is_floating_point() else tensor for name, tensor in state.items()}


RAW = make_convnet().state_dict()
EMA = other(RAW)
PARAMETERS = [name for name, _ in make_convnet().named_parameters()]
TWO_SETS: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"model": RAW, "ema": {"ema_model": EMA, "decay": 0.9}}, ("model", "ema.ema_model")),
    ({"state_dict": RAW, "current_model_state": EMA}, ("state_dict", "current_model_state")),
    ({"best": {"weights": RAW}, "net": EMA}, ("best.weights", "net")),
    ({"model": {f"module.{n}": t for n, t in RAW.items()}, "x": {"shadow": EMA}}, ("model", "x.shadow")),
    ({f"model.{n}": t for n, t in RAW.items()} | {f"ema.{n}": t for n, t in EMA.items()}, ("model", "ema")),
    ({f"module.{n}": t for n, t in RAW.items()} | {f"ema.{n}": t for n, t in EMA.items()}, ("module", "ema")),
    # Averages of parameters alone, without statistics.
    ({"model": RAW, "ema": {name: EMA[name] for name in PARAMETERS}}, ("model", "ema")),
    (
        {"a": {f"net.{n}": t for n, t in RAW.items()} | {f"ema.{n}": EMA[n] for n in PARAMETERS}},
        ("a.net", "a.ema"),
    ),
]


@pytest.mark.parametrize("case", range(len(TWO_SETS)))
def test_between_two_sets_of_weights_none_is_guessed(run: Path, tmp_path: Path, case: int) -> None:
    held, keys = TWO_SETS[case]
    torch.save(held, tmp_path / "c.pt")
    said = refusal(run, tmp_path / "c.pt", make_convnet())
    got = said.split("got ")[1].split(";")[0].split(", ")
    assert set(got) == set(keys)
    assert said.endswith(f"choose one, such as --key {got[0]}")
    for key in keys:
        whole = numbers_of(run, tmp_path / "c.pt", make_convnet(), key=key, missing="initial")[1]
        assert whole.key == key
        assert whole.tensors >= len(PARAMETERS)
    # Where both are the same numbers there is nothing to choose.
    same = pickle.loads(pickle.dumps({"a": RAW, "b": dict(RAW)}))
    torch.save(same, tmp_path / "c.pt")
    assert numbers_of(run, tmp_path / "c.pt", make_convnet())[0] == digest(state_of(make_convnet()))


def test_without_a_model_two_sets_are_not_guessed_between_either(run: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": RAW, "averages": {"of": EMA}}, tmp_path / "c.pt")
    assert "got state_dict, averages.of" in refusal(run, tmp_path / "c.pt", None)


def test_what_is_not_taken_is_said(run: Path, tmp_path: Path) -> None:
    moments = {"exp_avg": dict(EMA), "state": {name: {"exp_avg": t, "step": t} for name, t in EMA.items()}}
    held = {"model": RAW, "ema": {"shadow_params": list(EMA.values())}, "optimizer": moments, "optim_ema": EMA}
    held["part"] = dict(list(EMA.items())[:4])
    torch.save(held, tmp_path / "c.pt")
    found, report = numbers_of(run, tmp_path / "c.pt", make_convnet())
    assert (found, report.key) == (digest(state_of(make_convnet())), "model")
    assert report.notes == (
        "other weights in the file, not taken: part (4 tensors of the model)",
        f"a list of {len(EMA)} tensors without names, not taken: ema.shadow_params",
    )
    run.unlink()
    torch.save({"shadow_params": list(EMA.values())}, tmp_path / "c.pt")
    said = refusal(run, tmp_path / "c.pt", make_convnet())
    assert "got a list of 9 tensors without names under shadow_params; copy them into the model" in said


def test_weights_among_numbers(run: Path, tmp_path: Path) -> None:
    torch.save({**RAW, "epoch": 3, "lr": 0.1, "name": "net"}, tmp_path / "c.pt")
    found, report = numbers_of(run, tmp_path / "c.pt", make_convnet(), steps=None)
    assert (found, report.step) == (digest(state_of(make_convnet())), 3)


SAID: list[tuple[dict[str, Any], int, str]] = [
    ({"iter_num": 250}, 250, "iter_num in the checkpoint"),
    ({"global_steps": 4, "step": 4}, 4, "global_steps in the checkpoint"),
    ({"step": 7, "global_step": 3}, 3, "global_step in the checkpoint, where step is 7"),
    ({"meta": {"iter": 9, "epoch": 2}}, 9, "meta.iter in the checkpoint"),
    ({"train_state": {"step": torch.tensor(5)}, "epoch": 1}, 5, "train_state.step in the checkpoint"),
    ({"global_step": np.int64(8)}, 8, "global_step in the checkpoint"),
    ({"epoch": np.float64(6)}, 6, "the epoch, as --steps-per-epoch is not given"),
]


@pytest.mark.parametrize(("says", "step", "source"), SAID)
def test_the_step_wherever_it_is(run: Path, tmp_path: Path, says: dict[str, Any], step: int, source: str) -> None:
    torch.save({"model": RAW, **says}, tmp_path / "c99.pt" if "epoch" not in says else tmp_path / "c.pt")
    _, report = numbers_of(run, tmp_path / ("c99.pt" if "epoch" not in says else "c.pt"), None, steps=None)
    assert (report.step, report.step_from) == (step, source)


@pytest.mark.parametrize(
    ("name", "step"),
    [("step_20/model.pt", 20), ("ckpt-30/weights.pt", 30), ("run7/iter_num_40.pt", 40), ("run7/best.pt", None)],
)
def test_the_step_in_names_of_files_and_folders(run: Path, tmp_path: Path, name: str, step: int | None) -> None:
    (tmp_path / name).parent.mkdir()
    torch.save(RAW, tmp_path / name)
    if step is None:
        assert "nothing says which step this is" in refusal(run, tmp_path / name, None, steps=None)
    else:
        assert numbers_of(run, tmp_path / name, None, steps=None)[1].step == step


def test_folders_of_one_name_each_tell_the_step(run: Path, tmp_path: Path) -> None:
    for number in (2, 10):
        (tmp_path / f"run{number}").mkdir()
        torch.save(RAW, tmp_path / f"run{number}" / "best.pt")
    imported, _ = import_checkpoints(run, str(tmp_path / "run*" / "best.pt"))
    assert imported.steps.tolist() == [2, 10]


def save_dcp(folder: Path, held: Any) -> Path:
    dcp.save(held, checkpoint_id=str(folder), no_dist=True)
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_folder_stands_for_what_is_in_it(run: Path, tmp_path: Path) -> None:
    states = [other(RAW, factor) for factor in (1.0, 0.5, 0.25)]
    for number, state in zip((2, 10, 30), states, strict=True):
        for folder in ("files", "hub", "speed", "dcp", "shards", "own"):
            (tmp_path / folder / f"step-{number}").mkdir(parents=True)
        torch.save(state, tmp_path / "files" / f"epoch{number}.pt")
        save_file(state, tmp_path / "hub" / f"step-{number}" / "model.safetensors")
        held = {
            "module": state,
            "global_steps": number,
            "ds_version": "0.12",
            "param_shapes": [{"a": torch.Size([1])}],
        }
        torch.save(held, tmp_path / "speed" / f"step-{number}" / "mp_rank_00_model_states.pt")
        torch.save(
            {"m": torch.ones(3)},
            tmp_path / "speed" / f"step-{number}" / "zero_pp_rank_0_mp_rank_00_optim_states.pt",
        )
        save_dcp(
            tmp_path / "dcp" / f"step-{number}",
            {"model": state, "optim": {"m": other(state, 3.0)}, "step": number},
        )
        names = list(state)
        for part in (1, 2):
            own = {name: state[name] for name in names[part - 1 :: 2]}
            save_file(own, tmp_path / "shards" / f"step-{number}" / f"diffusion-0000{part}-of-00002.safetensors")
            torch.save(own, tmp_path / "own" / f"step-{number}" / f"part{part}.pt")
        index = {"weight_map": {name: f"part{1 + i % 2}.pt" for i, name in enumerate(names)}}
        (tmp_path / "own" / f"step-{number}" / "mine.index.json").write_text(json.dumps(index))
    for folder in ("optimizer.pt", "rng_state_0.pth"):
        torch.save({"a": torch.ones(1)}, tmp_path / "files" / folder)
    for folder in ("files", "hub", "speed", "dcp", "shards", "own"):
        imported, report = import_checkpoints(run, tmp_path / folder, make_convnet(), overwrite=True)
        assert imported.steps.tolist() == [2, 10, 30], folder
        own = [state_of(make_convnet()) | state for state in states]
        assert [digest(resolve(one)[1]) for one in imported] == [digest(state) for state in own], folder
        formats = {"speed": "deepspeed", "dcp": "distributed", "files": "torch"}
        assert report.files[0].format == formats.get(folder, "huggingface")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_distributed_checkpoints_as_frameworks_lay_them_out(run: Path, tmp_path: Path) -> None:
    """Weights at the top level beside the optimizer's; folders for each of them; files without metadata."""
    moments = {"state": {name: {"exp_avg": tensor} for name, tensor in EMA.items()}}
    flat = {**RAW, "optimizer": moments, "train_state": {"step": torch.tensor(6)}}
    found, report = numbers_of(run, save_dcp(tmp_path / "flat", flat), make_convnet(), steps=None)
    assert (found, report.step, report.key) == (digest(state_of(make_convnet())), 6, "")
    folder = tmp_path / "checkpoint_5"
    save_dcp(folder / "pytorch_model_fsdp_0", {"model": RAW})
    save_dcp(folder / "optimizer_0", {"optimizer": moments})
    torch.save({"a": torch.ones(1)}, folder / "scheduler.bin")
    found, report = numbers_of(run, folder, make_convnet(), steps=None)
    assert (found, report.step) == (digest(state_of(make_convnet())), 5)
    run.unlink()
    (part,) = (folder / "pytorch_model_fsdp_0").glob("*.distcp")
    assert "one of the files of a distributed checkpoint; name its folder, " in refusal(run, part, None)
    (part.parent / ".metadata").unlink()
    assert "a distributed checkpoint without its .metadata" in refusal(run, part.parent, None)


def test_parts_that_only_their_framework_can_put_together(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "global_step5"
    folder.mkdir()
    zero = folder / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
    torch.save({"optimizer_state_dict": {"single_partition_of_fp32_groups": [torch.ones(9)]}}, zero)
    for file in (folder, zero):
        assert "zero_to_fp32.py" in refusal(run, file, make_convnet())
    empty = {"module": {name: torch.empty(0) for name in RAW}, "ds_version": "0.12"}
    torch.save(empty, folder / "mp_rank_00_model_states.pt")
    assert "zero_to_fp32.py" in refusal(run, folder, make_convnet())
    torch.save({"module": RAW}, folder / "mp_rank_01_model_states.pt")
    assert "2 parts of model parallelism" in refusal(run, folder, make_convnet())
    lone = tmp_path / "lone"
    lone.mkdir()
    save_file(RAW, lone / "model-00002-of-00003.safetensors")
    assert "not all files of a checkpoint" in refusal(run, lone, make_convnet())
    save_file(RAW, lone / "model-00001-of-00003.safetensors")
    save_file(RAW, lone / "model-00003-of-00003.safetensors")
    assert "tensors are in several files of the checkpoint" in refusal(run, lone, make_convnet())
    torch.save({"_fsdp_wrapped_module._flat_param": torch.ones(40)}, tmp_path / "flat.pt")
    assert "the flat parameters of FSDP" in refusal(run, tmp_path / "flat.pt", make_convnet())


def pickled(folder: Path, change: Callable[[Metadata], None]) -> None:
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    change(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_distributed_checkpoints_are_read_as_data(run: Path, tmp_path: Path) -> None:
    target, folder = tmp_path / "boom", tmp_path / "step-3"
    save_dcp(
        folder, {"model": RAW, "step": 7, "what": np.float64(2.0), "args": argparse.Namespace(a=Bomb(target))}
    )
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.key, checkpoint.said.step) == ("model", 7)
    assert not target.exists()
    pickled(folder, lambda held: setattr(held, "storage_meta", Bomb(target)))
    assert "needs more than weights, which could run any code, and is refused; got " in refusal(run, folder, None)
    assert not target.exists()
    # It is a real one: torch's own reader sets it off.
    pickle.loads((folder / ".metadata").read_bytes())
    assert target.exists()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_parts_of_distributed_tensors(run: Path, tmp_path: Path) -> None:
    """A tensor that two processes have saved halves of, and metadata that lie."""
    whole, folder = torch.arange(24.0).reshape(6, 4), tmp_path / "step-3"
    save_dcp(folder, {"a": whole[:2].clone(), "b": whole[2:].clone()})

    def join(held: Metadata) -> None:
        entries, stored = held.state_dict_metadata, held.storage_data
        first, second = entries["a"], entries.pop("b")
        first.size = whole.shape
        first.chunks += [type(first.chunks[0])(torch.Size([2, 0]), torch.Size([4, 4]))]
        del held.planner_data["b"], second
        (own,) = [index for index in stored if index.fqn == "b"]
        stored[type(own)("a", torch.Size([2, 0]), 1)] = stored.pop(own)

    pickled(folder, join)
    assert torch.equal(read_checkpoint(folder).tensors["a"], whole)

    def enlarge(held: Metadata) -> None:
        held.state_dict_metadata["a"].size = torch.Size([10**6, 10**6])

    def move(held: Metadata) -> None:
        next(iter(held.storage_data.values())).relative_path = "../elsewhere.distcp"

    before = (folder / ".metadata").read_bytes()
    for change, text in ((enlarge, "is not whole"), (move, "not one of weights in its own folder")):
        pickled(folder, change)
        assert text in refusal(run, folder, None)
        (folder / ".metadata").write_bytes(before)
    for content in (b"", before[:100], b"\x80\x04.", b"\x80\x04N."):
        (folder / ".metadata").write_bytes(content)
        assert "torch.distributed.checkpoint, or a damaged one" in refusal(run, folder, None)
    (folder / ".metadata").write_bytes(before)
    data = next(folder.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:900])
    assert "a damaged one" in refusal(run, folder, None)


def test_numbers_of_numpy_are_taken_and_nothing_else_of_it(run: Path, tmp_path: Path) -> None:
    numbers = {
        "epoch": np.int64(3), "best": np.float64(0.5), "flag": np.bool_(True), "small": np.float16(1.5),
        "swapped": np.dtype(">i4").type(5), "state": np.random.default_rng(0).bytes(3), "array": np.arange(4.0),
    }  # fmt: skip
    before = set(torch.serialization.get_safe_globals())
    for legacy in (False, True):
        torch.save({"model": RAW, **numbers}, tmp_path / "c.pt", _use_new_zipfile_serialization=not legacy)
        found, report = numbers_of(run, tmp_path / "c.pt", make_convnet(), steps=None)
        assert (found, report.epoch) == (digest(state_of(make_convnet())), 3)
    assert set(torch.serialization.get_safe_globals()) == before


class Forged:
    """A NumPy scalar as a hostile pickle makes it: objects read from bytes, of a type whose flags deny it."""

    def __init__(self, data: bytes, code: str = "O8", state: Any = (3, "|", None, None, None, -1, -1, 0)) -> None:
        self.data, self.code, self.state = data, code, state

    def __reduce__(self) -> tuple[Any, ...]:
        return np._core.multiarray.scalar, (_Type(self.code, self.state), self.data)


class _Type:
    def __init__(self, code: str, state: Any) -> None:
        self.code, self.state = code, state

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, (self.code, False, True), self.state


@pytest.mark.parametrize(
    "forged",
    [
        Forged(b"A" * 8),
        Forged(b"A" * 8, state=(3, "|", None, None, None, 8, 8, 27)),
        Forged(b"A" * 8, "V8", (3, "|", None, ("a",), {"a": (None, 0)}, 8, 1, 63)),
        Forged(b"A" * 3, "i8", (3, "<")),
        Forged(b"A" * 8, "i8", (3, "?!")),
    ],
)
def test_forged_numbers_make_nothing(run: Path, tmp_path: Path, forged: Forged) -> None:
    file = tmp_path / "c.pt"
    torch.save({"model": RAW, "epoch": forged}, file)
    with pytest.raises(LandscapeError, match=r"nothing says which step|damaged NumPy"):
        import_checkpoints(run, file, make_convnet())


def test_formats_of_old_and_of_others_are_refused_by_name(run: Path, tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    file = tmp_path / "model_10.t7"
    torch.save({"acc": 90.0, "epoch": 10, "state_dict": model.state_dict()}, file)
    assert numbers_of(run, file, model, steps=None)[1].step == 10
    run.unlink()
    for content in (
        b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\r\0\0\0nn.Sequential" + bytes(99),
        b"4\n1\n3\nV 1\n13\nnn.Sequential\n3\n2\n",
    ):
        file.write_bytes(content)
        assert "a file of Torch7 (Lua), which PyTorch no longer reads; convert it" in refusal(run, file, model)
    for names, text in (
        (["sys_info", "pickle", "tensors", "storages"], "written by PyTorch before 0.1.10"),
        (["a/1.pt"], "an archive of files; unpack it with tar -xf c1.pth.tar"),
    ):
        with tarfile.open(tmp_path / "c1.pth.tar", "w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        assert text in refusal(run, tmp_path / "c1.pth.tar", model)
    (tmp_path / "c1.pt").write_bytes(b"\x1f\x8b\x08" + bytes(40))
    assert "a compressed file; unpack it with gunzip c1.pt" in refusal(run, tmp_path / "c1.pt", model)
    torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(lr=0.1)}, tmp_path / "c1.pt")
    assert "got argparse.Namespace; load it where you trust it" in refusal(run, tmp_path / "c1.pt", model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_called_so(run: Path, tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "c1.pt"))
    said = refusal(run, tmp_path / "c1.pt", nn.Linear(2, 2))
    assert (
        "a TorchScript archive, which holds code; load it where you trust it: torch.save(torch.jit.load(" in said
    )


def test_the_content_says_the_format(run: Path, tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    torch.save(model.state_dict(), tmp_path / "one.weights")
    save_file(model.state_dict(), tmp_path / "two.pt")
    save_file(model.state_dict(), tmp_path / "three")
    for name, form in (("one.weights", "torch"), ("two.pt", "safetensors"), ("three", "safetensors")):
        found, report = numbers_of(run, tmp_path / name, model)
        assert (found, report.format) == (digest(state_of(model)), form)


def test_where_a_trajectory_is_wanted_a_checkpoint_says_how_to_become_one(tmp_path: Path, landscape: Any) -> None:
    (tmp_path / "ckpts").mkdir()
    for name in ("ckpts/epoch 1.pt", "plain"):
        torch.save(RAW, tmp_path / name)
    save_file(RAW, tmp_path / "c.safetensors")
    (tmp_path / "truncated.pt").write_bytes(b"PK\x03\x04")
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    for name in ("ckpts/epoch 1.pt", "ckpts", "plain", "c.safetensors"):
        for command in (["plot"], ["inspect"], ["measure"], ["audit"], ["export", "-o", str(tmp_path / "x.pt")]):
            code, _, err = landscape(*command, tmp_path / name)
            assert code == 2
            assert "not a trajectory; import it first: landscape import " in err
            assert " -o run.h5 --problem NAME" in err
            assert err.count("\n") == 1
    assert "not an HDF5 file" in landscape("inspect", tmp_path / "arrays.npz")[2]


def test_the_loss_of_what_was_imported_is_that_of_the_model(run: Path, tmp_path: Path) -> None:
    """An independent look: the numbers give the loss that the model had where it was saved."""
    model = make_convnet(3)
    x, y = torch.randn(8, 1, 4, 4), torch.randint(0, 3, (8,))
    want = F.cross_entropy(model.eval()(x), y)
    state = {
        f"module.{name.replace('.', '._orig_mod.', 1)}": tensor for name, tensor in model.state_dict().items()
    }
    torch.save({"ema": {"model": state}, "iter_num": 4}, tmp_path / "c.pt")
    imported, _ = import_checkpoints(run, tmp_path / "c.pt", make_convnet())
    fresh = make_convnet()
    imported.load_into(fresh, 0)
    assert torch.equal(F.cross_entropy(fresh.eval()(x), y), want)
