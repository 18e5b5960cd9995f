"""Grids of any number of axes, even or not, and slices at a coordinate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import make_mlp
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.projection import Plane, random_plane
from landscape.surface import Grid, Surface, evaluate, grid, read_surface, save_surface
from landscape.surface.summary import describe_surface
from landscape.values.grid import axis, axis_names


class Dot(torch.nn.Module):
    """The sum of w * x over one example: its half square is a quadratic of w."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w


def own_value(output: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    losses = output * target
    return losses.mean() if reduction == "mean" else losses


# A plane of four directions on which the loss is x + 10 y + 100 z + 1000 d4: every axis is told from every other.
SCALES = torch.tensor([[1.0, 10.0, 100.0, 1000.0]], dtype=torch.float64)


def linear(dims: int) -> tuple[Objective, Plane]:
    model = Dot()
    ones = torch.ones(1, dtype=torch.float64)
    objective = Objective(model, loss=own_value, train=(SCALES, ones))
    return objective, Plane(model, [{"w": row} for row in torch.eye(4, dtype=torch.float64)[:dims]])


def closed_form(net: Grid) -> np.ndarray:
    mesh = np.meshgrid(*net.axes.values(), indexing="ij")
    return sum(scale * along for scale, along in zip(SCALES[0].tolist(), reversed(mesh), strict=False))


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
def test_values_stand_at_their_coordinates_along_every_axis(dims: int) -> None:
    objective, plane = linear(dims)
    net = grid((5, 4, 3, 2)[:dims], radius=2.0)
    surface = evaluate(objective, plane, net)
    assert surface.values.shape == net.shape == (2, 3, 4, 5)[-dims:]
    assert list(surface.axes) == ["d4", "z", "y", "x"][-dims:]
    np.testing.assert_allclose(surface.values, closed_form(net), rtol=1e-14)


def test_uneven_coordinates_are_evaluated_as_they_are_given() -> None:
    objective, plane = linear(2)
    net = grid(x=[-3.0, 0.0, 0.1, 7.0], y=np.array([0.0, 2.0, 2.5]))
    surface = evaluate(objective, plane, net)
    assert surface.x.tolist() == [-3.0, 0.0, 0.1, 7.0]
    np.testing.assert_allclose(surface.values, closed_form(net), rtol=1e-14)


def test_a_pair_is_a_range_and_any_other_row_is_its_coordinates() -> None:
    assert len(grid(5, x=(0.0, 1.0)).x) == 5
    assert grid(5, x=[0.0, 1.0]).x.tolist() == [0.0, 1.0]
    net = grid(5, x=(0, 1, 3), more=[None, (0, 1)])
    assert net.shape == (5, 5, 5, 3)
    assert net.more[0].tolist() == axis(5, -1, 1).tolist()
    assert net.more[1].tolist() == axis(5, 0, 1).tolist()


def test_the_number_of_axes_is_what_the_arguments_say() -> None:
    assert grid(3).dims == 2
    assert grid((3, 4, 5)).shape == (5, 4, 3)
    assert grid((3,)).shape == (3,)
    assert grid(3, dims=4).shape == (3, 3, 3, 3)
    assert axis_names(5) == ["x", "y", "z", "d4", "d5"]


@given(st.integers(2, 40), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_an_axis_ends_where_it_was_asked_to(points: int, low: float, extent: float) -> None:
    made = axis(points, low, low + extent)
    assert made[0] == low
    assert made[-1] == low + extent
    assert (np.diff(made) > 0).all()


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.7), (-0.3, 0.0), (-0.1, 0.2), (-0.3, 0.6)])
def test_0_is_exact_at_an_end_and_between(low: float, high: float) -> None:
    assert 0.0 in axis(4, low, high)


@pytest.mark.parametrize("dims", [3, 4])
def test_more_axes_survive_the_file_as_dimension_scales(tmp_path: Path, dims: int) -> None:
    objective, plane = linear(dims)
    made = evaluate(objective, plane, grid((4, 3, 2, 2)[:dims]), save=tmp_path / "s.h5")
    read = read_surface(tmp_path / "s.h5")
    assert np.array_equal(read.values, made.values)
    assert [a.tolist() for a in read.more] == [a.tolist() for a in made.more]
    with h5py.File(tmp_path / "s.h5") as file:
        assert [dim[0].name for dim in file["train_loss"].dims] == ["/d4", "/z", "/y", "/x"][-dims:]
        assert file["directions/z/w"].shape == (4,)
    said = describe_surface(tmp_path / "s.h5")
    json.dumps(said, allow_nan=False)
    assert said["axes"]["z"] == {"points": 2, "low": -1.0, "high": 1.0, "even": True}


class Stopped(Exception):
    pass


def test_a_volume_is_resumed_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    objective, plane = linear(3)
    evaluate(objective, plane, grid((4, 3, 2)), save=tmp_path / "whole.h5")

    def stop(done: int, total: int) -> None:
        if done == 15:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate(objective, plane, grid((4, 3, 2)), save=tmp_path / "cut.h5", progress=stop)
    part = read_surface(tmp_path / "cut.h5")
    assert part.done is not None
    assert part.done.ravel().tolist() == [True] * 15 + [False] * 9
    evaluate(objective, plane, grid((4, 3, 2)), save=tmp_path / "cut.h5")
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_another_coordinate_along_z_is_another_slice(tmp_path: Path) -> None:
    objective, plane = linear(3)
    evaluate(objective, plane, grid((3, 2, 2)), save=tmp_path / "s.h5")
    with pytest.raises(LandscapeError, match=r"it differs in z; give another name"):
        evaluate(objective, plane, grid((3, 2, 2), more=[(0, 1)]), save=tmp_path / "s.h5")


def test_a_stored_axis_that_does_not_increase_is_damage(tmp_path: Path) -> None:
    bad = Surface(np.array([0.0, 0.0]), None, {"train_loss": np.zeros(2)})
    save_surface(bad, tmp_path / "s.h5")
    with pytest.raises(LandscapeError, match=r"dataset 'x' does not increase; restore it from a copy$"):
        read_surface(tmp_path / "s.h5")


def volume() -> Surface:
    objective, plane = linear(3)
    return evaluate(objective, plane, grid((5, 4, 3), radius=0.3))


def test_at_takes_a_plane_out_of_a_volume() -> None:
    whole = volume()
    # 0.1 + 0.2 is not 0.3, but within its rounding.
    for place, z in enumerate((-0.3, 0.0, 0.1 + 0.2)):
        plane = whole.at(z=z)
        assert np.array_equal(plane.values, whole.values[place])
        assert np.array_equal(
            plane.standard_errors["train_loss"], whole.standard_errors["train_loss"][place], True
        )
        assert list(plane.axes) == ["y", "x"]
        assert plane.meta["at"] == [{"label": "direction 3", "value": z}]
        assert len(plane.meta["axes"]) == 2
        assert plane.complete
    side = whole.at(x=0.15)
    assert np.array_equal(side.values, whole.values[:, :, 3])
    assert [own["label"] for own in side.meta["axes"]] == ["direction 2", "direction 3"]
    line = whole.at(x=0.0, z=0.3)
    assert np.array_equal(line.values, whole.values[2, :, 2])
    assert (line.y, line.meta["kind"]) == (None, "curve")
    assert line.x.tolist() == whole.axes["y"].tolist()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"z": 0.1}, "z: the grid has no such coordinate; got 0.1; the nearest is 0.0"),
        ({"w": 0}, "the surface has no axis 'w'; it has z, y, x"),
        ({"x": 0, "y": -0.3, "z": 0}, "at: a slice needs an axis; leave one of x, y, ... out"),
        ({"z": float("nan")}, "z: the grid has no such coordinate; got nan; the nearest is -0.3"),
    ],
)
def test_a_coordinate_that_is_not_there(where: dict[str, float], message: str) -> None:
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        volume().at(**where)


def test_a_random_plane_of_three_directions_begins_with_the_plane_of_two() -> None:
    model = make_mlp()
    two, three = random_plane(model, seed=4), random_plane(model, seed=4, dims=3)
    for a, b in zip(two.directions, three.directions, strict=False):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert three.dims == len(three.meta["axes"]) == 3
