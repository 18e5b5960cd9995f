"""What the toolkit claims, end to end through its public names, each against a closed form."""

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data
from torch.nn import functional as F

import landscape as ls
from landscape.problems.toys import QuadraticOptions, quadratic


def quadratic_values(plane: ls.Plane, form, x, y) -> np.ndarray:
    """The closed form over a grid, in float64, from the float32 origin and directions."""
    origin, dx, dy = (t["weight"].double().numpy()[0] for t in (plane.origin, *plane.directions))
    return np.array([[form.value(origin + a * dx + b * dy) for a in x] for b in y])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("seed", range(3))
def test_the_toy_quadratic_is_its_closed_form(dtype, tolerance, seed):
    objective = ls.problems.build("toy-quadratic", {"dtype": dtype}, seed=seed)
    form = quadratic(QuadraticOptions(dtype=dtype))
    plane = ls.random_plane(objective.model, seed=seed)
    surface = ls.evaluate(objective, plane, ls.grid((31, 21), x=(-1.0, 2.0), y=(-3.0, 1.0)))
    assert surface.values.shape == (21, 31)
    assert surface.values == pytest.approx(quadratic_values(plane, form, surface.x, surface.y), rel=tolerance)


def test_the_minimum_is_where_it_is_with_rows_along_y():
    # Along two eigenvectors of unlike curvature the minimum is at known coordinates, far from the diagonal.
    objective = ls.problems.build("toy-quadratic", {"dtype": "float64", "dim": 2}, seed=1)
    form = quadratic(QuadraticOptions(dtype="float64", dim=2))
    directions = [{"weight": torch.from_numpy(form.eigenvectors[:, [k]].T.copy())} for k in range(2)]
    start = form.minimiser - 0.5 * form.eigenvectors[:, 0] + 0.25 * form.eigenvectors[:, 1]
    plane = ls.Plane({"weight": torch.from_numpy(start[None])}, directions)
    surface = ls.evaluate(objective, plane, ls.grid((9, 17), radius=1.0))
    row, column = np.unravel_index(surface.values.argmin(), surface.values.shape)
    assert (surface.x[column], surface.y[row]) == (0.5, -0.25)
    assert surface.values.min() == pytest.approx(form.offset, rel=1e-12)


def test_the_toy_hyperbola_is_its_closed_form():
    objective = ls.problems.build("toy-hyperbola")
    names = [info.name for info in objective.layout]
    one = torch.ones(1, 1)
    plane = ls.Plane({name: torch.zeros(1, 1) for name in names}, [{names[0]: one}, {names[1]: one}])
    surface = ls.evaluate(objective, plane, ls.grid((5, 7), x=(0.5, 2.0), y=(-1.0, 3.0)))
    assert surface.values == pytest.approx((surface.x * surface.y[:, None] - 1) ** 2, rel=1e-6, abs=1e-7)


def test_a_recorded_random_walk_has_the_shares_of_the_null(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {"w": torch.zeros(50, 100)}
    with ls.Recorder(tmp_path / "walk.h5", weights) as recorder:
        for step in range(300):
            weights["w"] = weights["w"] + torch.randn(50, 100, generator=generator)
            recorder.snapshot(step, weights=weights)
    plane = ls.pca_plane(ls.open(tmp_path / "walk.h5"))
    assert plane.explained_variance_ratio == pytest.approx([0.6079, 0.1520], rel=0.03)
    assert plane.meta["null_ratio"] == pytest.approx([0.6079, 0.1520], rel=0.01)


def test_no_public_function_changes_the_model_or_the_random_state(tmp_path):
    model, other, third = make_convnet().train(), make_convnet(1), make_convnet(2)
    model[0].bias.requires_grad_(False)
    untouched = Untouched(model)
    objective = ls.Objective(model, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    objective.value(model)
    with ls.Recorder(tmp_path / "r.h5", model) as recorder:
        for step, weights in enumerate((other, third, model)):
            recorder.snapshot(step, weights=weights)
    run = ls.open(tmp_path / "r.h5")
    for plane in (
        ls.random_plane(model),
        ls.pca_plane(run),
        ls.plane_through(model, other, third, buffers="interpolate"),
        ls.Plane(model, [{"0.weight": torch.ones(4, 1, 3, 3)}, {"5.weight": torch.ones(3, 16)}]),
    ):
        surface = ls.evaluate(objective, plane, ls.grid(3, 0.1), save=tmp_path / f"{plane.kind}.h5")
        ls.render.contour(surface)
    for line in (ls.random_line(model), ls.line_through(model, other)):
        ls.render.curve(ls.evaluate(objective, line, ls.grid(3, 0.1, dims=1)))
    untouched.check()


def test_what_is_recorded_is_what_is_read(tmp_path):
    model, copy = make_convnet(), make_convnet(3)
    with ls.Recorder(tmp_path / "r.h5", model) as recorder:
        recorder.snapshot(0, train_loss=1.5)
    run = ls.open(tmp_path / "r.h5")
    assert run[-1].step == 0
    assert list(run.metrics["train_loss"]) == [1.5]
    run.load_into(copy, -1)
    for name, tensor in model.state_dict().items():
        assert torch.equal(copy.state_dict()[name], tensor), name
    narrow = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    with pytest.raises(
        ls.LandscapeError, match=r"'0\.weight'.*\(2, 1, 3, 3\).*\(4, 1, 3, 3\)|\(4, 1, 3, 3\).*\(2, 1, 3, 3\)"
    ):
        run.load_into(narrow, -1)
