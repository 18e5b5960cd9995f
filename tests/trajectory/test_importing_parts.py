"""Weights in parts or as NumPy's arrays, written here as DeepSpeed, FSDP and NumPy write them."""

from __future__ import annotations

import enum
import math
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.trajectory import import_checkpoints
from landscape.trajectory.checkpoints.readers import read_checkpoint


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3, bias=False))


@pytest.fixture
def scaler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What DeepSpeed pickles beside numbers, of its own classes; they are gone when the file is read."""
    config = types.ModuleType("deepspeed.runtime.zero.config")
    config.ZeroStageEnum = enum.IntEnum("ZeroStageEnum", {"gradients": 2, "weights": 3})  # type: ignore[attr-defined]
    config.ZeroStageEnum.__module__ = config.__name__
    config.LossScaler = type("LossScaler", (), {"__module__": config.__name__})  # type: ignore[attr-defined]
    for name in ("deepspeed", "deepspeed.runtime", "deepspeed.runtime.zero"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, config.__name__, config)
    return config


def groups_of(network: nn.Module) -> list[dict[str, Tensor]]:
    """Two groups of parameters, as weight decay makes them."""
    named = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return [{n: p for n, p in named.items() if (p.dim() > 1) is matrix} for matrix in (True, False)]


def write_zero(folder: Path, network: nn.Module, stage: int, processes: int, scaler: Any, **beside: Any) -> Path:
    """The files of a checkpoint of ZeRO, with weights of half precision in the model's where the stage has any."""
    groups = groups_of(network)
    flat: list[list[Tensor]] = [[] for _ in range(processes)]
    for group in groups:
        if stage == 3:
            shares = [padded(p.flatten(), processes).chunk(processes) for p in group.values()]
            for rank in range(processes):
                flat[rank].append(torch.cat([share[rank] for share in shares]))
        else:
            whole = padded(torch.cat([p.flatten() for p in group.values()]), 2 * processes)
            for rank, part in enumerate(whole.chunk(processes)):
                flat[rank].append(part)
    folder.mkdir(exist_ok=True)
    key = "fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"
    for rank in range(processes):
        held = {
            "zero_stage": scaler.ZeroStageEnum(stage) if stage > 1 else stage,
            "partition_count": processes if stage == 3 else [processes] * len(groups),
            "loss_scaler": scaler.LossScaler(),
            key: [part.clone() for part in flat[rank]],
        }
        name = f"zero_pp_rank_{rank}_mp_rank_00"
        torch.save({"optimizer_state_dict": held}, folder / f"{name}_optim_states.pt")
        state = {
            name: tensor.half() if stage < 3 or name in dict(network.named_buffers()) else torch.empty(0)
            for name, tensor in network.state_dict().items()
        }
        buffers = dict(network.named_buffers())
        saved = {
            "module": state | buffers,
            "buffer_names": list(buffers),
            "param_shapes": [OrderedDict((n, p.shape) for n, p in group.items()) for group in groups],
            "shared_params": {},
            "global_steps": 40,
            **beside,
        }
        prefix = f"{name}_" if stage == 3 else "mp_rank_00_"
        torch.save(saved, folder / f"{prefix}model_states.pt")
    return folder


def padded(flat: Tensor, multiple: int) -> Tensor:
    return torch.cat([flat, torch.full((math.ceil(len(flat) / multiple) * multiple - len(flat),), 9.0)])


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("processes", [1, 3])
def test_parts_of_zero_are_put_together(tmp_path: Path, scaler: Any, stage: int, processes: int) -> None:
    network = model()
    write_zero(tmp_path / "global_step40", network, stage, processes, scaler)
    run, report = import_checkpoints(tmp_path / "run.h5", tmp_path / "global_step40", model())
    want = network.state_dict()
    found = {**run[0].weights, **run[0].buffers}
    assert found.keys() == want.keys()
    assert all(torch.equal(found[name], want[name]) for name in want)
    assert run.steps.tolist() == [40]
    note = f"put together from {processes} parts of ZeRO stage {stage}, in full precision"
    assert (report.files[0].format, report.files[0].notes) == ("deepspeed", (note,))


def test_frozen_and_shared_parameters_of_zero(tmp_path: Path, scaler: Any) -> None:
    frozen = torch.arange(7.0)
    shares = padded(frozen, 2).chunk(2)
    folder = tmp_path / "step1"
    for stage, fragments in ((2, [frozen, frozen]), (3, list(shares))):
        write_zero(folder, model(), stage, 2, scaler)
        for path in folder.glob("*model_states.pt"):
            held = torch.load(path)
            rank = 1 if "rank_1_" in path.name else 0
            held |= {
                "frozen_param_shapes": {"fixed": torch.Size([7])},
                "frozen_param_fragments": {"fixed": fragments[rank]},
                "shared_params": {"tied": "0.weight"},
            }
            torch.save(held, path)
        tensors = read_checkpoint(folder).tensors
        assert torch.equal(tensors["fixed"], frozen)
        assert torch.equal(tensors["tied"], model()[0].weight)
        for path in folder.iterdir():
            path.unlink()


@pytest.mark.parametrize("stage", [2, 3])
def test_parts_of_zero_that_do_not_fit_are_refused(tmp_path: Path, scaler: Any, stage: int) -> None:
    folder = write_zero(tmp_path / "step1", model(), stage, 3, scaler)
    lone = folder / "zero_pp_rank_1_mp_rank_00_optim_states.pt"
    with pytest.raises(
        LandscapeError, match=r"one of the parts in which ZeRO keeps weights; name its folder, .*step1"
    ):
        read_checkpoint(lone)
    held = torch.load(lone, weights_only=False)
    key = next(name for name in held["optimizer_state_dict"] if "fp32" in name)
    held["optimizer_state_dict"][key] = [part[:-1] for part in held["optimizer_state_dict"][key]]
    torch.save(held, lone)
    with pytest.raises(LandscapeError, match=r"cannot be put together; got .*zero_to_fp32.py"):
        read_checkpoint(folder)
    lone.unlink()
    with pytest.raises(
        LandscapeError, match=r"cannot be put together; got 2 of 3 parts; merge them with .*zero_to"
    ):
        read_checkpoint(folder)


class Hostile:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_parts_of_zero_run_no_code(tmp_path: Path, scaler: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_zero(tmp_path / "step1", model(), 2, 1, scaler, client=Hostile())
    with pytest.raises(LandscapeError, match="the file needs more than weights"):
        read_checkpoint(folder)
    assert "run" not in capsys.readouterr().out


def test_a_share_of_split_weights_says_how_to_save_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "torch.distributed._shard.sharded_tensor.api"
    module = types.ModuleType(name)
    module.Share = type("Share", (), {"__module__": name})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    torch.save({"weight": module.Share()}, tmp_path / "c1.pt")
    with pytest.raises(LandscapeError, match=r"split among several; got .*FULL_STATE_DICT"):
        read_checkpoint(tmp_path / "c1.pt")


def arrays() -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in model().state_dict().items()}


def saved_arrays(folder: Path, kind: str) -> Path:
    held = arrays()
    path = folder / f"epoch3.{'pt' if kind.startswith('pt') else kind.split('-')[0]}"
    if kind == "npz":
        np.savez(path, **held)
    elif kind == "npz-compressed":
        np.savez_compressed(path, **held)
    elif kind == "npy":
        np.save(path, held, allow_pickle=True)  # type: ignore[arg-type]
    elif kind == "pt-turned":
        turned = {name: np.array(a, a.dtype.newbyteorder(">"), order="F") for name, a in held.items()}
        torch.save({"model": turned, "epoch": torch.tensor(3)}, path)
    else:
        beside = {"losses": np.arange(4.0), "state": np.array([None])}
        torch.save({"model": held, **beside}, path, _use_new_zipfile_serialization=kind == "pt")
    return path


@pytest.mark.parametrize("kind", ["npz", "npz-compressed", "npy", "pt", "pt-legacy", "pt-turned"])
def test_weights_as_arrays_are_read(tmp_path: Path, kind: str) -> None:
    run, report = import_checkpoints(tmp_path / "run.h5", saved_arrays(tmp_path, kind), model())
    found, want = {**run[0].weights, **run[0].buffers}, model().state_dict()
    assert all(torch.equal(found[name], want[name]) for name in want)
    assert (run.steps.tolist(), report.files[0].format) == ([3], "numpy")


def test_arrays_beside_tensors_are_no_weights(tmp_path: Path) -> None:
    torch.save({"net": model().state_dict(), "stats": {"mean": np.ones(3)}}, tmp_path / "c1.pt")
    read = read_checkpoint(tmp_path / "c1.pt")
    assert (read.format, read.key) == ("torch", "net")


def test_arrays_that_cannot_be_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    with pytest.raises(LandscapeError, match=r"one array without a name; got float64 \(2, 3\); save all of them"):
        read_checkpoint(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array(Hostile()), allow_pickle=True)
    with pytest.raises(LandscapeError, match=r"needs more than weights.*got .*print"):
        read_checkpoint(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", words=np.array(["a"]))
    with pytest.raises(LandscapeError, match="not a file of weights"):
        read_checkpoint(tmp_path / "c.npz")
    content = bytearray(saved_arrays(tmp_path, "npz").read_bytes())
    content[content.index(arrays()["0.weight"].tobytes()) + 9] ^= 4
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(LandscapeError, match=r"the checksum of '0\.weight\.npy' in it does not match"):
        read_checkpoint(tmp_path / "d.npz")


def test_an_array_with_fewer_bytes_than_its_shape_says(tmp_path: Path) -> None:
    class Short:
        def __reduce__(self) -> Any:
            made, arguments, (version, _, dtype, order, data) = np.ones(4).__reduce__()
            return made, arguments, (version, (2**40,), dtype, order, data)

    (tmp_path / "a.npy").write_bytes(b"")
    np.save(tmp_path / "a.npy", np.array(None), allow_pickle=True)
    content = (tmp_path / "a.npy").read_bytes()
    inner = np.array(None)
    inner[()] = {"weight": Short()}
    (tmp_path / "a.npy").write_bytes(content[: content.index(b"\n") + 1] + pickle.dumps(inner))
    with pytest.raises(LandscapeError, match="a damaged NumPy array"):
        read_checkpoint(tmp_path / "a.npy")
