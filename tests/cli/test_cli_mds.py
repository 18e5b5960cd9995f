"""`landscape plot --kind mds`: what it prints and draws, and that it needs no torch."""

import json
from functools import partial

import numpy as np
import pytest
from conftest import without_torch
from walks import net, record

from landscape.cli.main import main
from landscape.trajectory import Recorder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    one = record(folder / "one.h5", 1, 6)
    record(folder / "one.h5", 3, 3, branch="kick", parent_run_id=one.run_id, parent_step=20)
    record(folder / "two.h5", 2, 4)
    with Recorder(folder / "mute.h5", net()) as recorder:
        for step in range(3):
            recorder.snapshot(step)
    return folder


@pytest.fixture
def mds(landscape):
    return partial(landscape, "plot", "--kind", "mds")


def test_several_files_in_one_picture(files, tmp_path, mds):
    picture = tmp_path / "mds.png"
    given = (files / "one.h5", files / "two.h5", "-o", picture, "--method", "metric", "--branches", "--json")
    code, out, _ = mds(*given)
    told = json.loads(out)
    assert code == 0
    assert picture.stat().st_size > 10_000
    assert told["kind"] == "mds"
    embedding = told["embeddings"]["all layers"]
    assert [one["name"] for one in embedding["runs"]] == ["one", "one/kick", "two"]
    assert embedding["runs"][1]["parent"] == {"run": "one", "step": 20}
    assert np.shape(embedding["runs"][0]["coordinates"]) == (6, 2)
    assert 0 < embedding["stress"] < 1
    assert embedding["method"] == "metric"
    assert len(embedding["share"]) == 2
    assert len(embedding["eigenvalues"]) == embedding["snapshots"] == 13
    assert told["without_loss"] == []


def test_layer_by_layer_with_kept_distances(files, tmp_path, mds):
    given = (files / "one.h5", "-o", tmp_path / "m.svg", "--per-layer", "--save-distances", tmp_path / "d.h5")
    code, out, err = mds(*given, "--color", "step")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "6 snapshots of 1 run, classical MDS, euclidean"
    assert [line.split(":")[0] for line in lines[1:4]] == ["0", "2", "all layers"]
    assert lines[3].startswith("all layers: stress 0.")
    assert "axes hold" in lines[3]
    before = (tmp_path / "d.h5").stat().st_mtime_ns
    # Another dissimilarity comes from the same file.
    code, *_ = mds(*given, "--dissimilarity", "cosine-chord")
    assert (code, (tmp_path / "d.h5").stat().st_mtime_ns) == (0, before)
    code, _, err = mds(files / "two.h5", "-o", tmp_path / "m.svg", "--save-distances", tmp_path / "d.h5")
    assert code == 2
    assert "the file holds distances of other snapshots or layers" in err


@pytest.mark.parametrize("look", [("--dims", "3"), ("--view", "3d", "--color", "loss")])
def test_every_look_is_drawn(files, tmp_path, mds, look):
    code, out, _ = mds(files / "one.h5", files / "two.h5", "-o", tmp_path / "m.png", *look)
    assert code == 0
    assert "stress" in out


def test_a_file_without_a_loss_says_so(files, tmp_path, mds):
    code, out, _ = mds(files / "one.h5", files / "mute.h5", "-o", tmp_path / "m.png")
    assert code == 0
    assert "no loss is stored in mute" in out
    code, out, _ = mds(files / "mute.h5", "-o", tmp_path / "m.png", "--color", "loss")
    assert code == 0
    assert "no loss is stored in mute" in out
    code, _, err = mds(files / "mute.h5", "-o", tmp_path / "m.png", "--view", "3d")
    assert code == 2
    assert err == (
        "landscape: view 3d: the files hold no loss to be drawn as height; draw the map, or record a loss\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--color", "los"], "option '--color' has no such choice; got 'los'; did you mean 'loss'?"),
        (["--dims", "4"], "option '--dims' is out of range; got 4; expected 2 to 3"),
        (["--points", "9"], "--points cannot change a picture of kind mds; leave it out, or pass --kind curve"),
        (["--layers", "conv*"], "parameters: nothing is left to move; got conv*; "),
    ],
)
def test_wrong_options_are_told_in_one_line(files, tmp_path, mds, options, message):
    code, out, err = mds(files / "one.h5", "-o", tmp_path / "m.png", *options)
    assert (code, out) == (2, "")
    assert err.startswith(f"landscape: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "m.png").exists()


def test_options_of_embeddings_belong_to_them(files, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["plot", str(files / "one.h5"), "--kind", "surface", "--per-layer", "--dissimilarity", "euclidean"])
    assert stopped.value.code == 2
    said = "--per-layer, --dissimilarity cannot change a picture of kind surface; leave it out, or pass --kind mds"
    assert capsys.readouterr().err == f"landscape: {said}\n"


def test_one_file_twice_is_a_mistake(files, tmp_path, mds):
    code, _, err = mds(files / "one.h5", files / "one.h5", "-o", tmp_path / "m.png")
    assert code == 2
    assert "a file is named twice" in err


def test_an_embedding_is_drawn_without_torch(files, tmp_path):
    without_torch("plot", files / "one.h5", "--kind", "mds", "-o", tmp_path / "m.png", "--per-layer")
