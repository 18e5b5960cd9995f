"""The command as a user meets it: what it prints, where, and with which exit code."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import cifar_folder, without_torch
from spoiling import edited

from landscape.cli import threads
from landscape.cli.main import main
from landscape.surface import read_surface
from landscape.trajectory import Recorder, open_trajectory

COMMAND = Path(sys.executable).with_name("landscape")
INSPECT_KEYS = {
    *("format", "schema", "problem", "problem_args", "snapshots", "parameters"),
    *("steps", "metrics", "tensors", "branches", "finished"),
}


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    """A finished run of digits-mlp, small enough to be made once per module."""
    path = tmp_path_factory.mktemp("run") / "run.h5"
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                "train",
                "digits-mlp",
                "-o",
                str(path),
                "--epochs",
                "4",
                "--set",
                "width=16",
                "--weight-decay",
                "0.001",
            ]
        )
    assert stopped.value.code == 0
    return path


def test_inspect_has_the_keys_of_the_contract_and_says_it_in_words(landscape, run_file):
    said = landscape("inspect", run_file, "--json").json
    assert set(said) >= INSPECT_KEYS
    assert said["format"] == "landscape/trajectory"
    assert said["snapshots"] == len(said["steps"]) == 5
    assert said["parameters"] == 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    assert said["problem_args"]["width"] == 16
    assert set(said["metrics"]["train_loss"]) == {"first", "best", "last"}
    assert {"name", "shape", "dtype"} <= set(said["tensors"][0])
    assert said["finished"] is True
    text = landscape("inspect", run_file).out
    assert "digits-mlp" in text
    assert "train_loss" in text
    assert "16x64" in text


def test_inspect_counts_what_moves_and_says_how_it_was_recorded(landscape, tmp_path):
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 6), torch.nn.Linear(6, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 2)
    )
    model[1].weight = model[0].weight
    model[3].weight.requires_grad_(False)
    with Recorder(tmp_path / "run.h5", model, every=10, keep=4, dtype="bfloat16") as recorder:
        for step in range(101):
            recorder.snapshot(step)
    said = landscape("inspect", tmp_path / "run.h5", "--json").json
    moving = {"moving": 6, "moving_numbers": 36 + 6 + 6 + 6 + 6 + 2}
    assert said["counts"] == {**moving, "frozen": 1, "tied": 1, "buffers": 3}
    assert said["recording"] == {"every": 10, "keep": 4, "stride": 4, "dtype": "bfloat16"}
    assert said["steps"] == [0, 40, 80, 100]
    assert said["storage"]["types"] == ["bfloat16"]
    assert said["storage"]["rounded"] is True
    assert 0 < said["storage"]["rounding"] < 2**-8
    text = landscape("inspect", tmp_path / "run.h5").out
    assert "moves 6 tensors (62 numbers), frozen 1, tied 1, buffers 3\n" in text
    assert "stored as   bfloat16, relative rounding error at most 0.00" in text
    assert "recorded    every 10 steps, at most 4 kept, one in 4 of them\n" in text
    # What was not asked for is not spoken of.
    with Recorder(tmp_path / "plain.h5", model) as recorder:
        recorder.snapshot(0)
    text = landscape("inspect", tmp_path / "plain.h5").out
    assert "stored as" not in text
    assert "recorded" not in text


def test_inspect_is_quick_and_imports_no_torch(run_file):
    without_torch("inspect", run_file, "--json")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_plot_draws_a_surface_and_says_what_it_saw(landscape, run_file, tmp_path, suffix):
    picture = tmp_path / f"s.{suffix}"
    done = landscape("plot", run_file, "--points", 5, "-o", picture, "--save-surface", tmp_path / "s.h5", "--json")
    assert done.code == 0
    said = done.json
    assert picture.stat().st_size > 5000
    run = open_trajectory(run_file)
    assert said["center"]["train_loss"] == run.metrics["train_loss"][-1]
    assert said["plane"]["normalize"] == "filter"
    assert said["plane"]["report"]["zeroed"]["names"] == ["0.bias", "2.bias", "4.bias"]
    assert abs(said["plane"]["cosine"]) < 0.2
    assert said["fields"]["train_loss"]["nan"] == 0


@pytest.mark.fully_drawn
def test_a_stored_surface_is_drawn_without_torch_and_without_the_run(landscape, run_file, tmp_path):
    landscape("plot", run_file, "--points", 5, "-o", tmp_path / "a.png", "--save-surface", tmp_path / "s.h5")
    without_torch("plot", tmp_path / "s.h5", "-o", tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_a_curve_shows_train_and_test(landscape, run_file, tmp_path):
    said = landscape("plot", run_file, "--kind", "curve", "--points", 5, "-o", tmp_path / "c.png", "--json").json
    assert set(said["fields"]) == {"train_loss", "train_error", "test_loss", "test_error"}


def test_a_trajectory_tells_how_much_of_the_motion_its_plane_holds(landscape, run_file, tmp_path):
    done = landscape("plot", run_file, "--kind", "trajectory", "--points", 5, "-o", tmp_path / "t.png", "--json")
    path = done.json["path"]
    assert path["snapshots"] == 5
    assert re.match(
        r"the plane holds \d+ % of the motion; the path runs up to [\d.]+ off it; median", path["verdict"], re.I
    )
    assert 0 < path["motion_held"] <= 1
    plane = done.json["plane"]
    assert len(plane["explained_variance_ratio"]) == len(plane["null_ratio"]) == 2


def test_the_path_s_losses_are_real_and_its_coordinates_are_in_the_grid(landscape, run_file, tmp_path):
    landscape(
        "plot",
        run_file,
        "--kind",
        "trajectory",
        "--points",
        5,
        "-o",
        tmp_path / "t.png",
        "--save-surface",
        tmp_path / "t.h5",
    )
    surface, run = read_surface(tmp_path / "t.h5"), open_trajectory(run_file)
    path = surface.path
    assert list(path.step) == list(run.steps)
    assert path.loss == pytest.approx(run.metrics["train_loss"], rel=1e-6)
    assert path.plane_loss[-1] == path.loss[-1]
    assert path.off_plane[-1] == 0
    assert surface.x[0] < path.x.min() <= path.x.max() < surface.x[-1]
    assert surface.y[0] < path.y.min() <= path.y.max() < surface.y[-1]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["--kind", "curve", "--plane", "snapshots:0,last"], "snapshots"),
        (["--plane", "snapshots:0,24,last"], "snapshots"),
        (["--plane", "pca", "--radius", "3"], "pca"),
        (["--metric", "error", "--split", "test", "--normalize", "layer", "--one-d", "norm"], "random"),
        (["--metric", "penalty"], "random"),
        (["--at", "12", "--seed", "7", "--dtype", "float64", "--view", "3d"], "random"),
    ],
)
def test_other_planes_fields_and_views(landscape, run_file, tmp_path, arguments, kind):
    done = landscape("plot", run_file, "--points", 4, "-o", tmp_path / "p.png", "--json", *arguments)
    assert done.code == 0, done.err
    assert done.json["plane"]["kind"] == kind


def test_a_line_through_two_snapshots_ends_at_their_own_losses(landscape, run_file, tmp_path):
    landscape(
        *("plot", run_file, "--kind", "curve", "--plane", "snapshots:0,last", "--points", 5),
        *("-o", tmp_path / "p.png", "--save-surface", tmp_path / "l.h5"),
    )
    curve, run = read_surface(tmp_path / "l.h5"), open_trajectory(run_file)
    assert list(curve.x) == [-0.5, 0.0, 0.5, 1.0, 1.5]
    assert curve["train_loss"][[1, 3]] == pytest.approx(run.metrics["train_loss"][[0, -1]], rel=1e-6)


def test_nan_weights_are_drawn_as_masked_and_reported(landscape, run_file, tmp_path):
    broken = tmp_path / "nan.h5"
    shutil.copy(run_file, broken)
    with edited(broken) as file:
        file["weights/float32"][-1, 3] = np.nan
    done = landscape("plot", broken, "--points", 4, "-o", tmp_path / "n.png", "--json")
    assert done.code == 0
    assert done.json["fields"]["train_loss"]["nan"] == 16
    assert done.json["center"] is None
    assert "16 points are NaN" in landscape("plot", broken, "--points", 4, "-o", tmp_path / "n.png").out


def test_problems_lists_what_is_built_in(landscape):
    names = {entry["name"] for entry in landscape("problems", "--json").json}
    assert names >= {
        *("digits-mlp", "digits-cnn", "cifar10-cnn6", "cifar10-vgg9", "cifar10-resnet20"),
        *("cifar10-resnet20-noskip", "text-transformer", "toy-hyperbola", "toy-quadratic"),
    }
    assert "--set width=64" in landscape("problems", "digits-mlp").out


@pytest.mark.parametrize("command", [[], ["train"], ["inspect"], ["plot"], ["problems"], ["demo"]])
def test_help_has_an_example(landscape, command):
    done = landscape(*command, "-h")
    assert done.code == 0
    assert "Example:" in done.out or not command


def truncated(path: Path, run_file: Path) -> Path:
    path.write_bytes(run_file.read_bytes()[:3000])
    return path


def foreign(path: Path, run_file: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    return path


def newer(path: Path, run_file: Path) -> Path:
    shutil.copy(run_file, path)
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 9
    return path


def text(path: Path, run_file: Path) -> Path:
    path.write_text("not a file of ours")
    return path


@pytest.mark.parametrize("command", ["inspect", "plot"])
@pytest.mark.parametrize("make", [truncated, foreign, newer, text, lambda p, r: p, lambda p, r: p.parent])
def test_files_that_cannot_be_read_end_with_2_and_one_line(landscape, run_file, tmp_path, command, make):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    more = ["-o", tmp_path / "out" / "p.png"] if command == "plot" else []
    done = landscape(command, make(tmp_path / "in" / "x.h5", run_file), *more)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert "Traceback" not in done.err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--radius", "0"], "the radius must be positive and finite; got 0.0; try 1"),
        (["--points", "1"], "a grid needs at least 2 points along each axis; got 1; try 51"),
        (["--kind", "surfaces"], "unknown kind 'surfaces', did you mean 'surface'?"),
        (
            ["--normalize", "filtre"],
            "option '--normalize' has no such choice; got 'filtre'; did you mean 'filter'?",
        ),
        (["--metric", "los"], "this objective has no metric 'los'; did you mean 'loss'?"),
        (["--split", "val"], "option '--split' has no such choice; got 'val'; expected train or test"),
        (["--at", "13"], "no snapshot at step 13"),
        (["--plane", "snapshots:0,12"], "a surface goes through 3 snapshots, got 2"),
        (
            ["--plane", "randon"],
            "unknown plane 'randon', choose from random, pca, hessian, gradient-update, runs, "
            "snapshots:STEP,STEP[,STEP]",
        ),
        (["--engine", "fast"], "option '--engine' has no such choice; got 'fast'; expected auto or sequential"),
        (
            ["--bn", "xyz", "--seed", "-1"],
            "option '--seed' is out of range; got -1; expected at least 0 | "
            "option '--bn' has the wrong type; got 'xyz'; "
            "expected frozen, interpolate, recalibrate or recalibrate:EXAMPLES",
        ),
        (["--radius", "1e308"], "the range of an axis must be finite and not empty"),
        (["--points", "10000000"], "a grid of so many points does not fit into memory; got 10000000; try 51"),
        (["--kind", "curve", "--view", "3d"], "a curve has one view only; got '3d'; leave it out"),
        (
            ["--points", "many"],
            "option '--points' has the wrong type; got 'many'; expected a number of points, as 41 or 41x21",
        ),
        (
            ["--points", "3x"],
            "option '--points' has the wrong type; got '3x'; expected a number of points, as 41 or 41x21",
        ),
        (
            ["--points", "3x4x5"],
            "option '--points' has the wrong type; got '3x4x5'; expected a number of points, as 41 or 41x21",
        ),
        (["--points", "5x1"], "a grid needs at least 2 points along each axis; got 1; try 51"),
        (["--points", "5x5", "--kind", "curve"], "a curve has one axis, got 5x5 points"),
        (["--y-range", "0:1", "--kind", "curve"], "a curve has one axis, got coordinates of y"),
        (["--x-range", "1"], "option '--x-range' has the wrong type; got '1'; expected LOW:HIGH, such as -1:0.5"),
        (
            ["--x-range", "a:1"],
            "option '--x-range' has the wrong type; got 'a:1'; expected LOW:HIGH, such as -1:0.5",
        ),
        (["--x-range", "1:0"], "the range of an axis must be finite and not empty; got [1.0, 0.0]"),
        (
            ["--y-range", "0:inf"],
            "option '--y-range' has the wrong type; got '0:inf'; expected LOW:HIGH, such as -1:0.5",
        ),
        (["--x-values", "0,1,1"], "x: coordinates must increase strictly; got 1.0 after 1.0"),
        (["--y-values", "3"], "y: an axis is a row of at least 2 coordinates; got an array of shape (1,)"),
        (
            ["--y-values", "1,,2"],
            "option '--y-values' has the wrong type; got '1,,2'; expected numbers with commas between them",
        ),
        (
            ["--y-values", "1,nan"],
            "option '--y-values' has the wrong type; got '1,nan'; expected numbers with commas between them",
        ),
        (["--x-values", "0,1", "--x-range", "0:1"], "an axis has either x_range or x_values"),
        (["--repeats", "1"], "option '--repeats' is out of range; got 1; expected 2 to 1000"),
        (["--repeats", "3", "--plane", "pca"], "repeats are of random lines or planes, leave the others out"),
        (
            ["--repeats", "3", "--kind", "trajectory"],
            "repeats are of random lines or planes, leave the others out",
        ),
        (["--subset", "1"], "subset: a subset needs at least 2 examples, or its error is unknown; got 1"),
        (
            ["--subset", "5000"],
            "subset: the train split has 1,437 examples only; got 5,000; take fewer, or leave that split out",
        ),
        (["--pionts", "5"], "no such option '--pionts'; did you mean '--points'?"),
        (["--view", "2d"], "2d"),
        (["-o", "p.bmp"], "bmp"),
    ],
)
def test_wrong_options_end_with_2_one_line_and_nothing_behind(
    landscape, run_file, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    done = landscape("plot", run_file, "-o", "p.png", "--points", "4", *arguments)
    assert done.code == 2, done.out
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit-mlp"], "did you mean 'digits-mlp'?"),
        (["digits-mlp", "--set", "widht=3"], "did you mean 'width'?"),
        (["digits-mlp", "--set", "width"], "--set: not a setting; got 'width'; expected NAME=VALUE"),
        (
            ["digits-mlp", "--optimizer", "sdg"],
            "option '--optimizer' has no such choice; got 'sdg'; did you mean 'sgd'?",
        ),
        (
            ["digits-mlp", "--every", "often"],
            "option '--every': not an interval; got 'often'; expected 50, 50steps or 2epochs",
        ),
        (
            ["digits-mlp", "--epochs", "0", "--lr", "-1"],
            "option '--epochs' is out of range; got 0; expected at least 1 | "
            "option '--lr' is out of range; got -1; expected above 0",
        ),
        (["digits-mlp", "--resume", "--overwrite"], "--resume and --overwrite exclude each other; choose one"),
        (["cifar10-cnn6", "--data", "/nowhere"], "/nowhere"),
        (["digits-mlp", "--set", "width=1000000000000"], "digits-mlp: the problem does not fit into memory"),
        (["digits-cnn", "--batch-size", "1"], "training: BatchNorm cannot be trained on single examples"),
        (["digits-mlp", "--every", "9" * 400 + "epochs"], "option '--every': not an interval"),
    ],
)
def test_wrong_training_ends_with_2_one_line_and_nothing_behind(landscape, tmp_path, arguments, message):
    done = landscape("train", *arguments, "-o", tmp_path / "r.h5")
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_before_the_work(landscape, run_file, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "dir.png").mkdir()
    for picture in (tmp_path / "file" / "p.png", tmp_path / "dir.png", Path("/proc/p.png")):
        done = landscape("plot", run_file, "-o", picture)
        assert done.code == 2, picture
        assert len(done.err.strip().splitlines()) == 1
    assert landscape("train", "digits-mlp", "-o", tmp_path / "file" / "r.h5").code == 2


def test_a_file_that_exists_is_kept_unless_told_otherwise(landscape, run_file):
    before = run_file.read_bytes()
    done = landscape("train", "digits-mlp", "-o", run_file)
    assert done.code == 2
    assert done.err == f"landscape: {run_file}: the file exists; pass --resume, --overwrite or another name\n"
    assert landscape("train", "digits-mlp", "-o", run_file, "--resume").code == 0
    assert run_file.read_bytes() == before


def test_another_function_of_the_same_weights_is_another_surface(landscape, tmp_path):
    for name in ("relu", "tanh"):
        options = ["--epochs", 1, "--set", "width=8", "--set", f"activation={name}"]
        assert landscape("train", "digits-mlp", "-o", tmp_path / f"{name}.h5", *options).code == 0
    plot = ["--at", 0, "--points", 3, "-o", tmp_path / "p.png", "--save-surface", tmp_path / "s.h5"]
    assert landscape("plot", tmp_path / "relu.h5", *plot).code == 0
    done = landscape("plot", tmp_path / "tanh.h5", *plot)
    assert done.code == 2
    assert "it differs in options (" in done.err
    again = landscape("plot", tmp_path / "relu.h5", *plot, "--seed", 5)
    assert "seed (0 in the file, 5 now)" in again.err


def test_diverged_training_is_said(landscape, tmp_path):
    done = landscape("train", "digits-mlp", "-o", tmp_path / "r.h5", "--epochs", 2, "--lr", 1e30, "--json")
    assert done.code == 0
    assert done.json["diverged"] is True
    assert done.err == "warning: the loss is not finite; training diverged (try a smaller --lr)\n"


def test_a_run_of_another_loop_is_not_resumed(landscape, tmp_path):
    from landscape import Recorder, problems

    with Recorder(tmp_path / "r.h5", problems.build("toy-quadratic").model, problem="toy-quadratic") as recorder:
        recorder.snapshot(0)
    done = landscape("train", "toy-quadratic", "-o", tmp_path / "r.h5", "--resume")
    assert done.code == 2
    assert "the run was not made by `landscape train`, so it cannot be resumed here" in done.err


def test_a_stored_surface_cannot_be_changed_by_options(landscape, run_file, tmp_path):
    landscape("plot", run_file, "--points", 4, "-o", tmp_path / "a.png", "--save-surface", tmp_path / "s.h5")
    done = landscape("plot", tmp_path / "s.h5", "--points", 9, "--seed", 3, "-o", tmp_path / "b.png")
    assert done.code == 2
    assert "--points, --seed cannot change a stored surface; give the trajectory instead" in done.err
    assert "it has train_error, train_loss" in landscape("plot", tmp_path / "s.h5", "--split", "test").err


def test_repeats_of_a_curve_from_the_command_to_the_statistics(landscape, run_file, tmp_path):
    options = ["--kind", "curve", "--repeats", 4, "--seed", 2, "--points", 5]
    plot = ["plot", run_file, *options, "-o", tmp_path / "c.png", "--save-surface", tmp_path / "c.h5"]
    said = landscape(*plot, "--json").json
    assert said["shape"] == [4, 5]
    assert said["repeats"]["seeds"] == [2, 3, 4, 5]
    found = said["repeats"]["fields"]["train_loss"]
    assert found["directions"] == 4
    bent = found["curvature"]
    assert bent["positive"] + bent["negative"] + bent["undecided"] + bent["unknown"] == 4
    assert said["center"]["train_loss"] == open_trajectory(run_file).metrics["train_loss"][-1]
    text = landscape("plot", tmp_path / "c.h5", "-o", tmp_path / "again.png").out
    assert "4 random lines, direction seeds 2 to 5" in text
    assert re.search(r"train_loss +curvature at the centre positive along \d of 4 directions", text)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "c.png").read_bytes()
    inspected = landscape("inspect", tmp_path / "c.h5")
    assert "repeats     4 random lines of direction seeds 2 to 5" in inspected.out
    assert "x           5 from -1 to 1, evenly spaced" in inspected.out
    assert landscape("inspect", tmp_path / "c.h5", "--json").json["repeats"]["repeats"] == 4
    refused = landscape("plot", tmp_path / "c.h5", "--repeats", 9, "--x-range", "0:1")
    assert "--repeats, --x-range cannot change a stored curve" in refused.err


def test_repeats_of_a_plane_are_drawn_without_torch(landscape, run_file, tmp_path):
    options = ["--repeats", 2, "--points", 3, "--view", "both", "--json"]
    done = landscape("plot", run_file, *options, "-o", tmp_path / "p.png", "--save-surface", tmp_path / "s.h5")
    assert done.json["repeats"]["fields"]["train_loss"]["directions"] == 4
    without_torch("plot", tmp_path / "s.h5", "-o", tmp_path / "b.png")


def test_axes_of_their_own(landscape, run_file, tmp_path):
    options = ["--points", "4x3", "--x-range", "-0.5:0", "--y-values", "-1, 0,0.25,2"]
    done = landscape("plot", run_file, *options, "-o", tmp_path / "p.png", "--save-surface", tmp_path / "s.h5")
    assert done.code == 0, done.err
    surface = read_surface(tmp_path / "s.h5")
    assert surface.x[[0, -1]].tolist() == [-0.5, 0.0]
    assert len(surface.x) == 4
    assert surface.y.tolist() == [-1.0, 0.0, 0.25, 2.0]
    assert "centre" in done.out
    assert "y           4 from -1 to 2, not evenly spaced" in landscape("inspect", tmp_path / "s.h5").out
    assert landscape("plot", run_file, "--points", "4x3", "-o", tmp_path / "p.png", "--json").json["shape"] == [
        3,
        4,
    ]
    pca = ["--plane", "pca", "--points", "3", "--x-range", "0:1", "--json", "-o", tmp_path / "p.png"]
    assert landscape("plot", run_file, *pca).json["shape"] == [3, 3]
    line = ["--kind", "curve", "--plane", "snapshots:0,last", "--x-values", "0,1", "-o", tmp_path / "p.png"]
    run = open_trajectory(run_file)
    fields = landscape("plot", run_file, *line, "--json").json["fields"]["train_loss"]
    assert sorted([fields["min"], fields["max"]]) == pytest.approx(
        sorted(run.metrics["train_loss"][[0, -1]]), rel=1e-6
    )


def test_a_subset_and_the_error_it_costs(landscape, run_file, tmp_path):
    options = ["--points", 3, "--subset", 500, "-o", tmp_path / "p.png"]
    said = landscape("plot", run_file, *options, "--json").json
    assert said["examples"] == {"train": {"used": 500, "available": 1437}}
    assert 0 < said["subset_error"]["train_loss"] < 0.1
    text = landscape("plot", run_file, *options).out
    assert re.search(
        r"  subset of 500 of 1,437 train examples: ± [\d.]+ nats on the loss, ± [\d.]+ % on the error\n", text
    )
    both = landscape("plot", run_file, "--kind", "curve", *options, "--json").json
    assert both["examples"]["test"] == {"used": 360, "available": 360}
    assert both["subset_error"].keys() >= {"train_loss"}


def test_ctrl_c_keeps_what_is_done_and_exits_130(tmp_path):
    file = tmp_path / "r.h5"
    arguments = ["train", "digits-mlp", "-o", str(file), "--epochs", "5000", "--every", "10", "--set", "width=16"]
    child = subprocess.Popen(
        [COMMAND, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell has Ctrl-C switched off, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (file.exists() and len(open_trajectory(file))) and time.monotonic() < deadline:
        time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert re.fullmatch(r"landscape: interrupted; \d+ snapshots are kept in .*r\.h5; go on with --resume\n", err)
    assert len(open_trajectory(file)) > 0
    assert not open_trajectory(file).finished


@pytest.mark.cifar
@pytest.mark.skipif(cifar_folder() is None, reason="LANDSCAPE_DATA names no folder with cifar10/train")
def test_real_cifar_from_training_to_pictures(landscape, tmp_path):
    run = tmp_path / "r.h5"
    options = ["--set", "train_size=200", "--set", "test_size=100", "--set", "width=4", "--epochs", "2"]
    trained = landscape("train", "cifar10-resnet20", "--data", cifar_folder(), "-o", run, *options)
    assert trained.code == 0, trained.err
    surface = landscape("plot", run, "--points", 3, "-o", tmp_path / "s.png", "--json")
    assert surface.code == 0, surface.err
    assert surface.json["center"]["train_loss"] == open_trajectory(run).metrics["train_loss"][-1]
    assert landscape("plot", run, "--kind", "trajectory", "--points", 3, "-o", tmp_path / "t.png").code == 0


@pytest.mark.parametrize(("told", "policy"), [("0 0 0 9999/12 1", "PASSIVE"), ("9 9 9 1/12 1", None), ("", None)])
def test_threads_sleep_while_they_wait_only_where_others_want_the_cores(tmp_path, monkeypatch, told, policy):
    (tmp_path / "loadavg").write_text(told)
    monkeypatch.setattr(threads, "_RUNNING", tmp_path / "loadavg")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    threads.wait_for_others()
    assert os.environ.get("OMP_WAIT_POLICY") == policy
    monkeypatch.setattr(threads, "_RUNNING", tmp_path / "missing")
    threads.wait_for_others()
