"""How `landscape plot` evaluates: engines, devices, precision, memory and policies from the command line."""

import numpy as np
import pytest
from test_cli import run_file  # noqa: F401 - a fixture

from landscape import render
from landscape.surface import accuracy, read_surface


@pytest.mark.parametrize(
    "arguments",
    [
        ["--engine", "sequential", "--tune", "batch_size=64,streams=2,threads=1,rewrite=yes"],
        ["--engine", "batched", "--tune", "chunk=3"],
        ["--memory", "1GB", "--device", "cpu"],
    ],
)
def test_every_way_gives_the_surface(landscape, run_file, tmp_path, arguments):  # noqa: F811
    plain = landscape(
        "plot", run_file, "--points", 5, "-o", tmp_path / "p.png", "--save-surface", tmp_path / "p.h5"
    )
    other = landscape(
        "plot", run_file, "--points", 5, "-o", tmp_path / "o.png", "--save-surface", tmp_path / "o.h5", *arguments
    )
    assert (plain.code, other.code) == (0, 0)
    wanted, got = read_surface(tmp_path / "p.h5"), read_surface(tmp_path / "o.h5")
    assert got.values == pytest.approx(wanted.values, rel=1e-5)
    assert got.values[2, 2] == wanted.values[2, 2]


def test_the_choice_is_said_before_long_work_on_stderr(landscape, run_file, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("landscape.cli.plot._SHORT_SECONDS", 0.0)
    done = landscape("plot", run_file, "--points", 5, "-o", tmp_path / "p.png", "--json")
    assert done.err.startswith("sequential engine on cpu: micro-batches of ")
    assert "; 25 points in about " in done.err
    assert done.json["engine"]["engine"] == "sequential"
    assert done.json["engine"]["rewrite"] is False


def test_the_error_of_the_type_is_told(landscape, run_file, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(accuracy, "has_bfloat16", lambda device: True)
    options = ["--points", 5, "--dtype", "bfloat16", "-o", tmp_path / "p.png"]
    said = landscape("plot", run_file, *options, "--json").json
    assert 1e-5 < said["dtype_error"]["largest_relative"] < 0.1
    assert "  bfloat16 is within " in landscape("plot", run_file, *options).out


@pytest.mark.parametrize("kind", ["surface", "curve"])
def test_a_coarse_picture_is_refined_in_place(landscape, run_file, tmp_path, kind, monkeypatch):  # noqa: F811
    drawn = []
    save = render.save
    monkeypatch.setattr(render, "save", lambda figure, path: drawn.append(figure) or save(figure, path))
    points = 51 if kind == "curve" else 17
    options = ["--kind", kind, "--points", points, "--engine", "sequential", "--tune", "rewrite=no,batch_size=64"]
    fast = landscape("plot", run_file, *options, "--fast", "-o", tmp_path / "f.png", "--save", tmp_path / "f.h5")
    assert (fast.code, len(drawn)) == (0, 2)
    assert f"{tmp_path / 'f.png'}: coarse so far, it is refined in place" in fast.err
    assert landscape("plot", run_file, *options, "-o", tmp_path / "d.png", "--save", tmp_path / "d.h5").code == 0
    assert (tmp_path / "f.h5").read_bytes() == (tmp_path / "d.h5").read_bytes()
    assert (tmp_path / "f.png").read_bytes() == (tmp_path / "d.png").read_bytes()
    assert len(drawn) == 3


def test_a_preview_says_how_much_is_computed(landscape, run_file, tmp_path):  # noqa: F811
    options = ["--points", 41, "--preview", 0.05, "-o", tmp_path / "p.png", "--save-surface", tmp_path / "s.h5"]
    said = landscape("plot", run_file, *options, "--json").json
    computed = read_surface(tmp_path / "s.h5").computed
    assert said["preview"]["computed"] == computed.sum() < 41 * 41
    assert np.isnan(read_surface(tmp_path / "s.h5").standard_errors["train_loss"][~computed]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "fast"], "option '--engine' has no such choice; got 'fast'"),
        (["--tune", "batch=3"], "option '--tune': there is no option 'batch'; did you mean 'batch_size'?"),
        (["--memory", "lots"], "option '--memory': not a size of memory; got lots; write it like 4GB or 500MB"),
        (["--memory", "1kB"], "memory: one example at one point needs more than the memory that may be used"),
        (["--device", "tpu"], "device: unknown device 'tpu'; did you mean 'cpu'?"),
        (["--dtype", "int8"], "option '--dtype' has no such choice; got 'int8'"),
        (["--bn", "recalibrate:x"], "option '--bn' has the wrong type; got 'recalibrate:x'"),
        (["--bn", "frozen:3"], "option '--bn' has the wrong type; got 'frozen:3'"),
        (["--preview", "2"], "the tolerance of a preview must be above 0 and below 1; got 2.0; try 0.01 for 1 %"),
        (
            ["--fast", "--preview", "0.1"],
            "fast draws a coarse picture before a whole slice of one plane, leave preview out",
        ),
        (["--preview", "0.1", "--repeats", "3"], "preview: a preview is of one line or plane; got 3 of them"),
        (
            ["--preview", "0.1", "--engine", "batched"],
            "preview: a preview computes scattered points; use --engine sequential",
        ),
    ],
)
def test_wrong_settings_end_with_2_one_line_and_nothing_behind(
    landscape,
    run_file,  # noqa: F811
    tmp_path,
    arguments,
    message,
):
    done = landscape("plot", run_file, "--points", 5, "-o", tmp_path / "p.png", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
