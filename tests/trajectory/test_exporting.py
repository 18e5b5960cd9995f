"""Snapshots as state dicts that other tools load bit for bit; surfaces as arrays and tables."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_convnet, state_of, without_torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model
from test_importing import Headed, Mixed

from landscape.errors import LandscapeError
from landscape.exports import export_surface
from landscape.params import digest
from landscape.surface.store import save_surface
from landscape.trajectory import Recorder, export_snapshot, import_checkpoints, open_trajectory
from landscape.values.surface import Path as SurfacePath
from landscape.values.surface import Surface


def recorded(path: Path, model: torch.nn.Module) -> Path:
    with Recorder(path, model, problem="p") as recorder:
        recorder.snapshot(3, epoch=0.5)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_there_and_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    model, other = Mixed(1), Mixed(2)
    run = open_trajectory(recorded(tmp_path / "run.h5", model))
    said = export_snapshot(run, 0, tmp_path / f"out{suffix}")
    assert said["step"] == 3
    assert said["parameters"] == run.layout.parameter_count
    if suffix == ".safetensors":
        missing, unexpected = load_model(other, tmp_path / "out.safetensors")
        assert (list(missing), list(unexpected)) == ([], [])
        with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
            assert file.metadata() == {
                "format": "pt",
                "step": "3",
                "epoch": "0.5",
                "run_id": run.run_id,
                "problem": "p",
                "last.weight": "first.weight",
            }
            assert "last.weight" not in file.keys()  # noqa: SIM118, it is no dictionary
    else:
        state = torch.load(tmp_path / f"out{suffix}", weights_only=True)
        other.load_state_dict(state)
        assert state["last.weight"].data_ptr() == state["first.weight"].data_ptr()
    assert digest(state_of(other)) == digest(state_of(model))
    again, report = import_checkpoints(tmp_path / "again.h5", tmp_path / f"out{suffix}", model, steps=[3])
    assert again[0].digest == run[0].digest
    assert not report.files[0].extra


def test_import_then_export_then_load(tmp_path: Path) -> None:
    model = make_convnet(1)
    torch.save({f"module.{name}": t for name, t in model.state_dict().items()}, tmp_path / "c7.pt")
    run, _ = import_checkpoints(tmp_path / "run.h5", tmp_path / "c7.pt", model)
    export_snapshot(run, -1, tmp_path / "out.safetensors")
    other = make_convnet(2)
    other.load_state_dict(load_file(tmp_path / "out.safetensors"))
    assert digest(state_of(other)) == digest(state_of(model))
    # Without a name that has a number, the step comes from what the export noted.
    again, report = import_checkpoints(tmp_path / "again.h5", tmp_path / "out.safetensors")
    assert again.steps.tolist() == [7]
    assert report.files[0].step_from == "step in the checkpoint"


def test_ties_survive_without_a_model(tmp_path: Path) -> None:
    run = open_trajectory(recorded(tmp_path / "run.h5", Headed()))
    export_snapshot(run, 0, tmp_path / "out.safetensors")
    again, _ = import_checkpoints(tmp_path / "again.h5", tmp_path / "out.safetensors")
    assert again[0].digest == run[0].digest
    assert {info.name: info.tied_to for info in again.layout if info.tied_to} == {"head.weight": "base.0.weight"}


def test_what_exists_is_kept(tmp_path: Path) -> None:
    run = open_trajectory(recorded(tmp_path / "run.h5", Headed()))
    for name in ("out.pt", "out.safetensors"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(
            LandscapeError, match="the file exists; pass --overwrite to replace it, or another name"
        ):
            export_snapshot(run, 0, tmp_path / name)
        assert (tmp_path / name).read_text() == "mine"
        export_snapshot(run, 0, tmp_path / name, overwrite=True)


def volume() -> Surface:
    """Two repeats of a volume of 2 x 3 x 2 points, with NaN, infinity and points that are not computed."""
    shape = (2, 2, 3, 2)
    values = np.arange(24, dtype=np.float64).reshape(shape) / 3
    values[0, 0, 1, 1], values[1, 1, 2, 0] = np.nan, np.inf
    done = np.ones(shape, bool)
    done[1, 0] = False
    return Surface(
        x=np.array([0.0, 0.1]),
        y=np.array([-1.0, 0.0, 1e-30]),
        more=(np.array([5.0, 6.0]),),
        repeat=np.array([7, 8]),
        fields={"train_loss": np.where(done, values, np.nan), "test_error": np.where(done, values / 100, np.nan)},
        standard_errors={"train_loss": values, "test_error": values},
        done=done,
        meta={"problem": "p", "kind": "surface"},
    )


def test_a_table_has_a_row_per_point_and_the_same_numbers(tmp_path: Path) -> None:
    surface = volume()
    said = export_surface(surface, tmp_path / "s.csv")
    assert said["points"] == 24
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == said["columns"] == [
        *("repeat", "z", "y", "x", "train_loss", "test_error"),
        *("standard_error/train_loss", "standard_error/test_error", "done"),
    ]  # fmt: skip
    axes = surface.axes
    for row, index in zip(rows, np.ndindex(*surface.values.shape), strict=True):
        for (name, values), place in zip(axes.items(), index, strict=True):
            assert float(row[name]) == values[place]
        for name, field in surface.fields.items():
            np.testing.assert_equal(float(row[name]), field[index])
        assert row["done"] == str(int(surface.done[index]))
    assert {row["train_loss"] for row in rows if row["done"] == "0"} == {"NaN"}
    assert "inf" in {row["train_loss"] for row in rows}


def test_arrays_are_those_of_the_surface(tmp_path: Path) -> None:
    surface = volume()
    surface = replace(surface, computed=surface.done)
    export_surface(surface, tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz", allow_pickle=False) as held:
        for name, values in {**surface.axes, **surface.fields, "done": surface.done}.items():
            np.testing.assert_array_equal(held[name], values)
        np.testing.assert_array_equal(held["standard_error/train_loss"], surface.standard_errors["train_loss"])
        assert held["computed"].dtype == bool
        assert json.loads(str(held["meta"])) == surface.meta
        assert not [name for name in held if name.startswith("path/")]


def test_the_path_goes_with_the_arrays(tmp_path: Path) -> None:
    line = np.array([0.0, 1.0])
    path = SurfacePath(step=np.array([0, 1]), x=line, y=line, off_plane=line, loss=line, plane_loss=line)
    export_surface(Surface(line, line, {"train_loss": np.eye(2)}, path=path), tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as held:
        np.testing.assert_array_equal(held["path/x"], line)
        assert held["path/step"].dtype == np.int64


def test_the_command_exports_snapshots(tmp_path: Path, landscape: Any) -> None:
    with Recorder(tmp_path / "run.h5", Headed(), problem="p") as recorder:
        for step in (3, 9):
            recorder.snapshot(step)
    out = tmp_path / "o.safetensors"
    code, said, _ = landscape("export", tmp_path / "run.h5", "-o", out)
    assert (code, said) == (0, f"{out}: step 9, 3 tensors, 48 parameters\n")
    code, said, _ = landscape("export", tmp_path / "run.h5", "-o", out, "--at", 3, "--overwrite", "--json")
    document = json.loads(said)
    assert document["step"] == 3
    assert document["bytes"] == out.stat().st_size
    for arguments, text in (
        (["-o", out], f"{out}: the file exists; pass --overwrite to replace it, or another name"),
        (
            ["-o", tmp_path / "o.csv"],
            "a trajectory is not written so; got .csv; expected .safetensors or .pt or .pth",
        ),
        (["-o", tmp_path / "o.pt", "--at", 4], "no snapshot at step 4; the nearest are 3, 9"),
        (["-o", tmp_path / "o.vts"], "a trajectory is not written so; got .vts"),
        (["-o", tmp_path / "o.pt", "--log"], "--log cannot change a snapshot; leave it out"),
    ):
        code, _, err = landscape("export", tmp_path / "run.h5", *arguments)
        assert code == 2
        assert text in err
        assert err.count("\n") == 1


def test_the_command_exports_surfaces_without_torch(tmp_path: Path, landscape: Any) -> None:
    save_surface(volume(), tmp_path / "s.h5")
    code, said, _ = landscape("export", tmp_path / "s.h5", "-o", tmp_path / "s.csv")
    assert code == 0
    assert "24 points, columns repeat, z, y, x, train_loss" in said
    code, _, err = landscape("export", tmp_path / "s.h5", "-o", tmp_path / "s.pt")
    assert "a surface is not written so; got .pt; expected .npz or .csv" in err
    code, _, err = landscape("export", tmp_path / "s.h5", "-o", tmp_path / "s.npz", "--at", 3)
    assert (code, err) == (2, "landscape: --at: a surface has no steps to choose from; leave it out\n")
    without_torch("export", tmp_path / "s.h5", "-o", tmp_path / "s.npz")


def test_help_shows_an_example_and_only_what_is_there(landscape: Any) -> None:
    code, said, _ = landscape("export", "-h")
    assert code == 0
    assert "Example: landscape export run.h5 -o last.safetensors --at last" in said
    assert ".vts" in said
    assert "html" not in said
