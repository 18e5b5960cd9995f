import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data, make_mlp
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.projection import Plane, line_through, random_line, random_plane
from landscape.surface import Grid, evaluate, grid, read_surface
from landscape.values.surface import axis


class Quadratic(nn.Module):
    """A linear map whose half squared error is an exact quadratic of its weights."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.3, -0.2]]))

    def forward(self, x):
        return x @ self.w.T


def half_squares(output, target, reduction="mean"):
    losses = (output - target) ** 2 / 2
    return losses.mean() if reduction == "mean" else losses.mean(1)


ROWS = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.5, 1.0], [0.5, 1.0]], dtype=torch.float64)
# Targets scatter by +-0.7 about the plane, so that the minimum is 0.245 at (1, 2).
TARGETS = (
    ROWS @ torch.tensor([[1.0], [2.0]]).double() + 0.7 * torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).double()
)


def closed_form(points_x, points_y):
    hessian = (ROWS.T @ ROWS / 4).numpy()
    values = np.empty((len(points_y), len(points_x)))
    for row, y in enumerate(points_y):
        for column, x in enumerate(points_x):
            difference = np.array([0.3 + x, -0.2 + 2 * y]) - np.array([1.0, 2.0])
            values[row, column] = 0.245 + difference @ hessian @ difference / 2
    return values


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_a_quadratic_is_exact_with_rows_along_y(dtype, tolerance):
    model = Quadratic().to(dtype)
    with torch.no_grad():
        model.w.copy_(torch.tensor([[0.3, -0.2]], dtype=torch.float64))
    objective = Objective(model, loss=half_squares, train=(ROWS.to(dtype), TARGETS.to(dtype)))
    plane = Plane(model, [{"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[0.0, 2.0]])}])
    surface = evaluate(objective, plane, grid((9, 5), x=(-1.0, 2.0), y=(-0.5, 2.0)))
    assert surface.values.shape == (5, 9)
    assert surface.values == pytest.approx(closed_form(surface.x, surface.y), rel=tolerance)


@given(st.integers(2, 60), st.floats(1e-3, 1e3))
def test_an_axis_is_symmetric_and_holds_its_middle(points, radius):
    coordinates = axis(points, -radius, radius)
    assert np.array_equal(coordinates, -coordinates[::-1])
    if points % 2:
        assert coordinates[points // 2] == 0.0
    assert coordinates[-1] == radius


def test_li_and_others_grid_holds_0_at_index_25_with_spacing_004():
    coordinates = grid(51).x
    assert coordinates[25] == 0.0
    assert np.diff(coordinates) == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: grid((3, 4, 5), dims=2),
            r"^points along the axes; got 3 numbers; expected one number, or one for each of 2 axes$",
        ),
        (lambda: grid(5, dims=0), r"^dims: a grid has at least 1 dimension; got 0$"),
        (lambda: grid(5, dims=2, more=[(0, 1)]), r"^more: more axes than dimensions; got 3; expected at most 2$"),
        (lambda: grid(5, x=[0, 0.5, 0.5]), r"^x: coordinates must increase strictly; got 0\.5 after 0\.5$"),
        (lambda: grid(5, y=[0, np.nan]), r"^y: coordinates must be finite; got nan$"),
        (lambda: grid(5, y=[1]), r"^y: an axis is a row of at least 2 coordinates; got an array of shape \(1,\)$"),
        (
            lambda: grid(5, more=[np.eye(2)]),
            r"^z: an axis is a row of at least 2 coordinates; got an array of shape \(2, 2\)$",
        ),
        (lambda: grid(5, x=["a", "b"]), r"^x: coordinates must be numbers; got \['a', 'b'\]$"),
        (lambda: Grid([0, 1], more=([0, 1],)), r"^a grid with further axes needs y; pass y, or leave more out$"),
        (
            lambda: grid((2**9, 2**9, 2**9)),
            r"^a grid of so many points does not fit into memory; got \(512, 512, 512\); try 51$",
        ),
        (lambda: grid(2.5), r"^a grid needs at least 2 points along each axis; got 2\.5; try 51$"),
        (lambda: grid(5, 1e308), r"^the range of an axis must be finite and not empty; got"),
        (lambda: grid(1), r"^a grid needs at least 2 points along each axis; got 1; try 51$"),
        (lambda: grid(5, 0.0), r"^the radius must be positive and finite; got 0\.0; try 1$"),
        (lambda: grid(5, float("nan")), r"^the radius must be positive and finite; got nan; try 1$"),
        (
            lambda: grid(5, x=(2.0, 1.0)),
            r"^the range of an axis must be finite and not empty; got \[2\.0, 1\.0\];",
        ),
    ],
)
def test_bad_grids_are_refused(call, message):
    with pytest.raises(LandscapeError, match=message):
        call()


@pytest.mark.parametrize("make", [make_mlp, make_convnet])
def test_the_centre_is_the_models_own_loss_bit_for_bit(make):
    model = make()
    objective = Objective(model, loss=F.cross_entropy, train=make_data((6,) if make is make_mlp else (1, 4, 4)))
    surface = evaluate(objective, random_plane(model), grid(3))
    assert surface["train_loss"][1, 1] == objective.value(model)
    assert surface["train_error"][1, 1] == objective.value(model, metric="error")


def test_every_point_is_the_loss_at_the_plane_s_point(objective, mlp):
    plane = random_plane(mlp)
    surface = evaluate(objective, plane, grid((4, 3), radius=0.7))
    for row, y in enumerate(surface.y):
        for column, x in enumerate(surface.x):
            assert surface.values[row, column] == pytest.approx(objective.value(plane.point(x, y)), rel=1e-6)


def test_buffers_move_where_a_line_interpolates_them():
    a, b = make_convnet(0), make_convnet(1)
    objective = Objective(a, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    curve = evaluate(objective, line_through(a, b, buffers="interpolate"), grid(3, x=(0.0, 1.0), dims=1))
    assert curve.values[0] == objective.value(a)
    assert curve.values[-1] == pytest.approx(objective.value(b), rel=1e-5)
    frozen = evaluate(objective, line_through(a, b), grid(3, x=(0.0, 1.0), dims=1))
    assert frozen.values[-1] != pytest.approx(objective.value(b), rel=1e-3)


def test_the_model_and_the_random_state_are_untouched(tmp_path):
    model = make_convnet().train()
    untouched = Untouched(model)
    objective = Objective(model, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    evaluate(objective, random_plane(model), grid(3), save=tmp_path / "s.h5")
    untouched.check()


def scaled(model: nn.Module, alpha: float) -> nn.Module:
    """The same function with the first layer alpha times larger (Dinh et al. 2017, definition 5)."""
    other = make_mlp()
    with torch.no_grad():
        other[0].weight.copy_(model[0].weight * alpha)
        other[0].bias.copy_(model[0].bias * alpha)
        other[2].weight.copy_(model[2].weight / alpha)
    return other


@pytest.mark.parametrize(
    ("normalize", "survives"), [("filter", True), ("layer", True), ("weight", True), ("none", False)]
)
def test_scaling_by_16_changes_no_bit_of_a_normalised_slice(normalize, survives):
    # In the second layer the weights shrink and the bias stays, so only the biases' direction 0 keeps this exact.
    slices = []
    for model in (make_mlp(), scaled(make_mlp(), 16.0)):
        objective = Objective(model, loss=F.cross_entropy, train=make_data())
        slices.append(evaluate(objective, random_plane(model, normalize=normalize), grid(11)).values)
    assert np.array_equal(*slices) == survives


def test_a_slice_is_the_same_in_float64(objective, mlp):
    plane = random_plane(mlp)
    single, double = (evaluate(objective, plane, grid(5), dtype=dtype) for dtype in (None, torch.float64))
    assert single.values == pytest.approx(double.values, rel=1e-5)
    assert double.meta["dtype"] == "float64"


def test_nan_weights_give_nan_and_are_counted_as_computed(mlp):
    with torch.no_grad():
        mlp[0].weight[0, 0] = float("nan")
    objective = Objective(mlp, loss=F.cross_entropy, train=make_data())
    surface = evaluate(objective, random_plane(mlp), grid(3))
    assert np.isnan(surface.values).all()
    assert surface.complete


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Stopped(Exception):
    pass


def stop_after(points: int):
    def progress(done, total):
        if done == points:
            raise Stopped

    return progress


def test_an_interrupted_slice_computes_only_what_is_missing_and_ends_with_the_same_bytes(objective, mlp, tmp_path):
    whole, cut = tmp_path / "whole.h5", tmp_path / "cut.h5"
    evaluate(objective, random_plane(mlp), grid(7), save=whole)
    for points in (10, 30):
        with pytest.raises(Stopped):
            evaluate(objective, random_plane(mlp), grid(7), save=cut, progress=stop_after(points))
        assert read_surface(cut).done.sum() == points
        assert np.isnan(read_surface(cut).values).sum() == 49 - points
    seen = []
    evaluate(objective, random_plane(mlp), grid(7), save=cut, progress=lambda done, total: seen.append(done))
    assert seen == list(range(31, 50))
    assert sha(cut) == sha(whole)


def test_a_curve_is_resumed_too(objective, mlp, tmp_path):
    whole, cut = tmp_path / "whole.h5", tmp_path / "cut.h5"
    evaluate(objective, random_line(mlp), grid(9, dims=1), save=whole)
    with pytest.raises(Stopped):
        evaluate(objective, random_line(mlp), grid(9, dims=1), save=cut, progress=stop_after(4))
    assert read_surface(cut).done.sum() == 4
    evaluate(objective, random_line(mlp), grid(9, dims=1), save=cut)
    assert sha(cut) == sha(whole)


def test_a_finished_slice_is_read_not_computed(objective, mlp, tmp_path):
    first = evaluate(objective, random_plane(mlp), grid(5), save=tmp_path / "s.h5")

    def never(done, total):
        raise AssertionError("computed again")

    again = evaluate(objective, random_plane(mlp), grid(5), save=tmp_path / "s.h5", progress=never)
    assert np.array_equal(first.values, again.values)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"plane": lambda m: random_plane(m, seed=1)}, "directions"),
        ({"plane": lambda m: random_plane(make_mlp(5))}, "weights"),
        ({"grid": grid(5, 2.0)}, "x, y"),
        ({"splits": ("test",)}, "train data|test data"),
        ({"dtype": torch.float64}, r"dtype \(float32 in the file, float64 now\)"),
        ({"metrics": "loss"}, r"fields \(train_loss, train_error in the file, train_loss now\)"),
    ],
)
def test_another_slice_is_refused_with_what_differs(objective, mlp, tmp_path, change, named):
    file = tmp_path / "s.h5"
    evaluate(objective, random_plane(mlp), grid(5), save=file)
    before = sha(file)
    options = {"plane": random_plane, "grid": grid(5), **change}
    plane = options.pop("plane")(mlp)
    with pytest.raises(LandscapeError, match=rf"the file holds another slice; it differs in .*({named}).*--save"):
        evaluate(objective, plane, options.pop("grid"), save=file, **options)
    assert sha(file) == before


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda m: Objective(m, loss=lambda o, t: 7 * F.cross_entropy(o, t), train=make_data()), "loss"),
        (lambda m: Objective(nn.Sequential(*[nn.Tanh() if isinstance(x, nn.ReLU) else x for x in m]),
                             loss=F.cross_entropy, train=make_data()), "model"),
    ],
)  # fmt: skip
def test_another_function_of_the_same_weights_is_refused(mlp, tmp_path, other, named):
    objective = Objective(mlp, loss=F.cross_entropy, train=make_data())
    evaluate(objective, random_plane(mlp), grid(3), save=tmp_path / "s.h5")
    with pytest.raises(LandscapeError, match=rf"it differs in ({named}).*loss at the origin"):
        evaluate(other(mlp), random_plane(mlp), grid(3), save=tmp_path / "s.h5")


def test_a_slice_needs_data_and_a_place(objective, mlp, tmp_path):
    with pytest.raises(LandscapeError, match=r"^at least one split is needed; choose from train, test$"):
        evaluate(objective, random_plane(mlp), grid(3), splits=())
    (tmp_path / "file").write_text("")
    with pytest.raises(LandscapeError, match=r"file"):
        evaluate(objective, random_plane(mlp), grid(3), save=tmp_path / "file" / "s.h5")


def test_a_stored_slice_reads_back_as_it_was(objective, mlp, tmp_path):
    made = evaluate(objective, random_plane(mlp), grid((4, 3)), save=tmp_path / "s.h5", splits=("train", "test"))
    read = read_surface(tmp_path / "s.h5")
    assert list(read.fields) == ["train_loss", "train_error", "test_loss", "test_error"]
    for name in read.fields:
        assert np.array_equal(read[name], made[name])
        assert np.array_equal(read.standard_errors[name], made.standard_errors[name])
    assert read.meta["plane"]["seed"] == 0
    assert read.meta["plane"]["report"]["normalized"]["count"] == 3


def test_the_file_is_plain_hdf5_with_dimension_scales(objective, mlp, tmp_path):
    plane = random_plane(mlp)
    evaluate(objective, plane, grid((4, 3)), save=tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["train_loss"].shape == (3, 4)
        assert file["train_loss"].dims[0][0].name == "/y"
        assert file["train_loss"].dims[1][0].name == "/x"
        assert file["standard_error/train_loss"].shape == file["done"].shape == (3, 4)
        assert np.array_equal(file["directions/y/0.weight"], plane.directions[1]["0.weight"])


def test_a_line_takes_one_side_of_a_square_grid(objective, mlp):
    assert evaluate(objective, random_line(mlp), grid(5)).values.shape == (5,)
    with pytest.raises(LandscapeError, match=r"^grid and plane differ in dimension; got 2; expected 1$"):
        evaluate(objective, random_line(mlp), grid((5, 4)))


def test_grid_and_plane_must_agree(objective, mlp):
    with pytest.raises(LandscapeError, match=r"^grid and plane differ in dimension; got 1; expected 2$"):
        evaluate(objective, random_plane(mlp), grid(5, dims=1))
    with pytest.raises(
        LandscapeError, match=r"^engine: unknown engine 'fast'; choose from auto, sequential, batched, in-place$"
    ):
        evaluate(objective, random_plane(mlp), grid(5), engine="fast")
    surface = evaluate(objective, random_plane(mlp), grid(2))
    with pytest.raises(LandscapeError, match=r"^the surface has no field 'loss'; it has train_error, train_loss$"):
        _ = surface["loss"]
