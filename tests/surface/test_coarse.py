"""A coarse slice first: points of the final grid, and in the end the same bytes."""

import numpy as np
import pytest
from conftest import make_data, make_mlp
from matplotlib.text import Text
from torch.nn import functional as F
from walks import record

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.projection import pca_plane, project_path, random_line, random_lines, random_plane
from landscape.render import trajectory
from landscape.render.labels import preview_words
from landscape.surface import evaluate, grid, read_surface
from landscape.surface.coarse import coarse

TUNE = {"batch_size": 64, "rewrite": False}


@pytest.fixture
def objective():
    return Objective(make_mlp(), loss=F.cross_entropy, train=make_data())


def whole(objective, plane, points, path):
    surface = evaluate(objective, plane, grid(points), save=path, engine="sequential", tune=TUNE)
    return surface, path.read_bytes()


@pytest.mark.parametrize("dims", [1, 2])
def test_coarse_points_are_those_of_the_final_grid(objective, tmp_path, dims):
    plane = (random_line if dims == 1 else random_plane)(objective.model)
    points = 51 if dims == 1 else 17
    seen = []
    found = evaluate(objective, plane, grid(points), save=tmp_path / "s.h5", early=seen.append, tune=TUNE)
    direct, content = whole(objective, plane, points, tmp_path / "direct.h5")
    (first,) = seen
    assert 0.05 * found.values.size < first.values.size <= 0.1 * found.values.size
    at = [np.searchsorted(axis, part) for axis, part in zip(found.axes.values(), first.axes.values(), strict=True)]
    for name, values in first.fields.items():
        np.testing.assert_array_equal(values, found[name][np.ix_(*at)])
    assert (first.x[0], first.x[-1]) == (found.x[0], found.x[-1])
    assert 0.0 in first.x
    assert first.meta["coarse"] == {"computed": first.values.size, "points": found.values.size}
    assert preview_words(first.meta) == f"coarse: {first.values.size} of {found.values.size} points so far"
    assert "coarse" not in found.meta
    np.testing.assert_array_equal(found.values, direct.values)
    assert (tmp_path / "s.h5").read_bytes() == content


def test_a_picture_stopped_at_the_coarse_slice_goes_on(objective, tmp_path):
    plane, path = random_plane(objective.model), tmp_path / "s.h5"

    def stop(surface):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(objective, plane, grid(17), save=path, early=stop, tune=TUNE)
    held = read_surface(path)
    rows, columns = coarse(grid(17))
    wanted = np.zeros((17, 17), bool)
    wanted[np.ix_(rows, columns)] = True
    np.testing.assert_array_equal(held.done, wanted)
    assert np.isnan(held.values[~wanted]).all()
    # The same command, without the coarse picture.
    evaluate(objective, plane, grid(17), save=path, tune=TUNE)
    assert path.read_bytes() == whole(objective, plane, 17, tmp_path / "direct.h5")[1]


def test_of_a_small_grid_all_points_come_at_once(objective):
    assert coarse(grid(9)) is None
    assert coarse(grid(15)) is None
    assert [part.tolist() for part in coarse(grid(17))] == [[0, 4, 8, 12, 16]] * 2
    evaluate(objective, random_plane(objective.model), grid(5), early=lambda surface: pytest.fail("called"))


def test_scattered_points_need_an_engine_of_single_points(objective):
    with pytest.raises(
        LandscapeError, match=r"^fast: a coarse picture computes scattered points; use --engine seq"
    ):
        evaluate(objective, random_plane(objective.model), grid(17), early=print, engine="batched")
    with pytest.raises(LandscapeError, match=r"^fast: a coarse picture is of one line or plane; got 3 of them$"):
        evaluate(objective, random_lines(objective.model, repeats=3), grid(51), early=print)


def test_the_path_lies_on_the_coarse_map_before_its_losses_are_known(objective, tmp_path):
    run = record(tmp_path / "run.h5", 1, 5, model=make_mlp())
    plane = pca_plane(run)
    seen = []
    found = evaluate(
        objective, plane, grid(17), path=(run, project_path(plane, run)), early=seen.append, engine="sequential"
    )
    (first,) = seen
    for name in ("step", "x", "y", "off_plane"):
        np.testing.assert_array_equal(getattr(first.path, name), getattr(found.path, name))
    assert np.isnan(first.path.loss).all()
    assert np.isfinite(found.path.loss).all()
    texts = [text.get_text() for text in trajectory(first).findobj(Text)]
    assert "not computed yet" in texts
    assert "coarse: 25 of 289 points so far" in " ".join(texts).replace("\n", " ")
