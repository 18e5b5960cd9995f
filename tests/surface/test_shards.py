"""Parts of slices: joined they are what one process writes; foreign, unequal and missing ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT, make_data, make_mlp
from torch.nn import functional as F

from landscape.errors import LandscapeError
from landscape.files.result import load
from landscape.objective import Objective
from landscape.projection import random_lines, random_plane
from landscape.surface import evaluate, grid
from landscape.surface.shards import merge
from landscape.surface.store import SURFACE, save_surface

RUN = str(ROOT / "checkpoints" / "digits-mlp.h5")


@pytest.fixture
def objective():
    return Objective(make_mlp(), loss=F.cross_entropy, train=make_data())


def parts_of(objective, plane, points, folder, count, **options):
    files = [folder / f"part{part}.h5" for part in range(count)]
    for part, file in enumerate(files):
        evaluate(objective, plane, grid(points), save=file, shard=(part, count), **options)
    return files


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_joined_parts_are_the_file_of_one_process(objective, tmp_path, engine):
    plane = random_plane(objective.model)
    files = parts_of(objective, plane, 7, tmp_path, 3, engine=engine)
    done = sum(load(SURFACE, file).value.done.astype(int) for file in files)
    assert (done == 1).all()
    merge(files[::-1], tmp_path / "merged.h5")
    evaluate(objective, plane, grid(7), save=tmp_path / "whole.h5", engine=engine, tune=tuning(files[0]))
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def tuning(file):
    engine = dict(load(SURFACE, file).value.meta["engine"])
    return {name: engine[name] for name in ("batch_size", "rewrite", "chunk") if name in engine}


def test_repeats_in_parts(objective, tmp_path):
    lines = random_lines(objective.model, repeats=3)
    files = parts_of(objective, lines, 5, tmp_path, 2)
    merge(files, tmp_path / "merged.h5")
    evaluate(objective, lines, grid(5), save=tmp_path / "whole.h5", engine="sequential", tune=tuning(files[0]))
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_an_interrupted_part_goes_on(objective, tmp_path):
    plane = random_plane(objective.model)
    (whole,) = parts_of(objective, plane, 5, tmp_path, 1)

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(objective, plane, grid(5), save=tmp_path / "cut.h5", shard=(0, 2), progress=interrupt)
    computed = []
    evaluate(
        *(objective, plane, grid(5)),
        save=tmp_path / "cut.h5",
        shard=(0, 2),
        progress=lambda done, total: computed.append(done),
    )
    assert computed[-1] == 13
    assert len(computed) == 10
    assert merge([whole, tmp_path / "cut.h5"], tmp_path / "merged.h5").done.all()


def test_what_is_no_part_or_lacks_one_is_refused(objective, tmp_path):
    plane = random_plane(objective.model)
    files = parts_of(objective, plane, 4, tmp_path, 3)
    target = tmp_path / "merged.h5"
    with pytest.raises(LandscapeError, match=r"5 of 16 points are missing: \(x -0\.33.*no part --shard 1/3"):
        merge([files[0], files[2]], target)
    foreign = tmp_path / "foreign.h5"
    evaluate(objective, random_plane(objective.model, seed=1), grid(4), save=foreign, shard=(1, 3))
    with pytest.raises(
        LandscapeError, match=r"foreign\.h5: is a part of another slice than .*; it differs in .*seed"
    ):
        merge([files[0], foreign, files[2]], target)
    held = load(SURFACE, files[1])
    held.value.fields["train_loss"][held.value.done] += 1
    save_surface(held.value, tmp_path / "other.h5", identity=held.identity)
    with pytest.raises(LandscapeError, match=r"other\.h5: has other values than the parts before at 5 points"):
        merge([*files, tmp_path / "other.h5"], target)
    assert not target.exists()
    assert not np.isnan(merge(files, target).values).any()


def test_a_part_needs_a_file(objective):
    with pytest.raises(LandscapeError, match="shard: a part needs a file; name it with save"):
        evaluate(objective, random_plane(objective.model), grid(3), shard=(0, 2))


def test_parts_from_the_command_to_the_picture(landscape, tmp_path):
    for part in range(2):
        kept = tmp_path / f"k{part}.h5"
        done = landscape(
            "plot", RUN, "--kind", "trajectory", "--points", "4", "--shard", f"{part}/2", "--save", kept
        )
        assert (done.code, done.out) == (
            0,
            f"{kept}: part {part} of 2, 8 of 16 points; landscape merge joins all parts\n",
        )
    target = tmp_path / "k.h5"
    lost = landscape("merge", tmp_path / "k0.h5", "-o", target)
    assert (lost.code, lost.err.count("\n")) == (2, 1)
    joined = landscape("merge", tmp_path / "k0.h5", tmp_path / "k1.h5", "-o", target)
    assert "its paths or gradients are missing" in joined.out
    again = landscape("merge", tmp_path / "k0.h5", tmp_path / "k1.h5", "-o", target)
    assert (again.code, "the file exists" in again.err) == (2, True)
    drawn = ("plot", RUN, "--kind", "trajectory", "--points", "4", "-o", tmp_path / "k.png", "--save", target)
    assert landscape(*drawn).code == 0
    assert load(SURFACE, target).complete
