"""Planes of every kind, what is drawn in them, and how far it can be believed."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.numpy import save_file
from torch import nn
from torch.func import functional_call

import landscape as ls
from landscape import projection, render
from landscape.curvature import Curvature
from landscape.errors import LandscapeError
from landscape.exports import export_surface
from landscape.params import dot, norm, resolve
from landscape.pipeline import Slice, hessian_slice_of, slice_common, slice_of
from landscape.projection import Plane
from landscape.render.contours import plane_field
from landscape.surface import read_surface
from landscape.surface.convergence import unconverged
from landscape.surface.hessian_map import hessian_map
from landscape.surface.slopes import gradient_field, some_of
from landscape.training import Settings, train
from landscape.trajectory import open_trajectory

OPTIONS = {"dim": 6, "dtype": "float64"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three short runs of a quadratic function, from different starts and with different rates."""
    place = tmp_path_factory.mktemp("planes")
    for seed, rate in ((1, 0.05), (2, 0.2), (3, 0.1)):
        objective = ls.problems.build("toy-quadratic", OPTIONS, seed=seed)
        train(objective, place / f"r{seed}.h5", Settings(epochs=6, lr=rate, seed=seed, batch_size=4))
    return place


@pytest.fixture(scope="module")
def quadratic():
    return ls.problems.build("toy-quadratic", OPTIONS, seed=1)


@pytest.fixture
def runs(folder):
    return {f"r{seed}": ls.open(folder / f"r{seed}.h5") for seed in (1, 2, 3)}


class Crooked(nn.Module):
    """A function of two weights that is symmetric in nothing."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))


def crooked(model, batch):
    a, b = model.w
    return (batch * (torch.sin(2 * a) + 3 * b + a * b**2 + 0.5 * a**2)).mean()


def saddle(model, batch):
    a, b = model.w
    return (batch * (1.5 * a**2 - 0.5 * b**2)).mean()


def of_two(loss):
    return ls.Objective(Crooked(), loss=loss, train=torch.ones(4, 1, dtype=torch.float64), batch_size=4)


def tilted() -> Plane:
    """Directions that are neither orthogonal nor of one length."""
    x, y = torch.tensor([1.0, 0.2], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    return Plane(Crooked(), [{"w": x}, {"w": y}])


def test_slopes_are_finite_differences_of_the_drawn_surface():
    objective, plane, grid = of_two(crooked), tilted(), ls.grid((5, 4), x=(-1.0, 0.6), y=(-0.5, 1.0))
    found, step = gradient_field(objective, plane, grid), 1e-5

    def height(x, y):
        return objective.value(plane.point(x, y))

    for row, y in enumerate(grid.y):
        for column, x in enumerate(grid.x):
            slope_x = (height(x + step, y) - height(x - step, y)) / (2 * step)
            slope_y = (height(x, y + step) - height(x, y - step)) / (2 * step)
            assert found["slope_x"][row, column] == pytest.approx(slope_x, abs=1e-8)
            assert found["slope_y"][row, column] == pytest.approx(slope_y, abs=1e-8)
    # Control: with x and y swapped it would not hold.
    assert np.abs(found["slope_x"] - found["slope_y"]).min() > 0.01


def test_arrows_are_the_coordinates_of_the_projected_negative_gradient():
    # The plane is all of the space: the projection is the negative gradient itself.
    objective, plane, grid = of_two(crooked), tilted(), ls.grid(3)
    found = gradient_field(objective, plane, grid)
    for row, y in enumerate(grid.y):
        for column, x in enumerate(grid.x):
            gradient = Curvature(objective, plane.point(x, y)).gradient()
            back = sum(
                found[f"step_{a}"][row, column] * d["w"] for a, d in zip("xy", plane.directions, strict=True)
            )
            assert back.numpy() == pytest.approx(-gradient.numpy(), abs=1e-12)
            assert found["norm"][row, column] == pytest.approx(float(gradient.norm()))
    assert found["share"] == pytest.approx(np.ones((3, 3)), abs=1e-12)
    # Control: slopes are no coordinates where directions are not orthonormal.
    assert np.abs(found["step_x"] + found["slope_x"]).max() > 0.1


def test_gradients_are_taken_on_a_part_of_the_grid_that_keeps_its_middle():
    assert some_of(51, 16)[6] == 25
    surface = ls.evaluate(of_two(crooked), tilted(), ls.grid(9), gradient=3)
    known = np.isfinite(surface.gradient["norm"])
    assert known.sum() == 9
    assert known[4, 4]


def test_gradients_and_paths_survive_their_file_and_the_exports(tmp_path, runs, quadratic):
    wanted = Slice(kind="trajectory", plane="common", points=5, gradient=True)
    made = slice_common(runs, quadratic, wanted, save=tmp_path / "s.h5")
    held = read_surface(tmp_path / "s.h5")
    assert list(held.paths) == ["r1", "r2", "r3"]
    for name, path in made.paths.items():
        assert held.paths[name].motion_held == path.motion_held
        assert np.array_equal(held.paths[name].off_plane, path.off_plane)
    for name, values in made.gradient.items():
        assert np.array_equal(held.gradient[name], values, equal_nan=True)
    assert "gradient/slope_x" in export_surface(held, tmp_path / "s.csv")["columns"]
    export_surface(held, tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as arrays:
        assert np.array_equal(arrays["paths/r2/off_plane"], made.paths["r2"].off_plane)
        assert np.array_equal(arrays["gradient/step_y"], made.gradient["step_y"], equal_nan=True)
    assert held.at(y=float(held.y[2])).gradient == {}


def test_the_ratio_of_a_saddle_is_one_third_everywhere():
    made = hessian_map(of_two(saddle), tilted(), ls.grid((4, 3)))
    assert made["train_hessian_ratio"] == pytest.approx(np.full((3, 4), 1 / 3), rel=1e-9)
    assert made["train_hessian_max"] == pytest.approx(np.full((3, 4), 3.0), rel=1e-9)
    assert made["train_hessian_min"] == pytest.approx(np.full((3, 4), -1.0), rel=1e-9)
    assert unconverged(made) == {"unconverged": 0, "bounds": 0, "undefined": 0}


def test_the_ends_of_the_spectrum_are_those_of_the_dense_hessian_of_a_network():
    objective = ls.problems.build("digits-mlp", {"width": 4}).subset(48)
    plane = projection.random_plane(objective.model, seed=1)
    grid = ls.grid((2, 2), x=[-0.5, 0.5], y=[-0.25, 0.75])
    made = hessian_map(objective, plane, grid, dtype=torch.float64, tol=1e-9, max_products=1000)
    layout, _ = resolve(objective.model)
    x, y = (objective.data["train"].inputs.double(), objective.data["train"].targets)
    model = objective.model.double()

    for row, column in ((0, 1),):
        tensors = {
            name: tensor.double() + float(grid.x[column]) * plane.directions[0][name].double()
            + float(grid.y[row]) * plane.directions[1][name].double()
            for name, tensor in plane.origin.items()
        }  # fmt: skip
        flat = torch.cat([tensors[info.name].flatten() for info in layout])

        def loss(vector):
            parts = vector.split([info.numel for info in layout])
            named = {info.name: part.reshape(info.shape) for info, part in zip(layout, parts, strict=True)}
            return nn.functional.cross_entropy(functional_call(model, named, (x,)), y)

        flat.requires_grad_()
        slope = torch.autograd.grad(loss(flat), flat, create_graph=True)[0]
        dense = torch.stack([torch.autograd.grad(own, flat, retain_graph=True)[0] for own in slope])
        values = torch.linalg.eigvalsh(dense)
        assert values[0] < -1e-3
        assert made["train_hessian_max"][row, column] == pytest.approx(float(values[-1]), rel=1e-6)
        assert made["train_hessian_min"][row, column] == pytest.approx(float(values[0]), rel=1e-6)
        assert made["train_hessian_converged"][row, column] == 1


def test_points_that_do_not_converge_are_counted_and_marked():
    objective = ls.problems.build("digits-mlp", {"width": 4}).subset(48)
    plane = projection.random_plane(objective.model, seed=1)
    made = hessian_map(objective, plane, ls.grid(2), tol=1e-7, max_products=4)
    assert unconverged(made)["unconverged"] == 4
    assert np.isfinite(made["train_hessian_ratio"]).all()
    words = [text.get_text() for text in render.contour(made).axes[0].legend_.texts]
    assert "not converged: 4 of 4 points" in words


def test_a_map_that_was_interrupted_ends_in_the_same_bytes(tmp_path):
    def stop(done, _):
        if done == 5:
            raise KeyboardInterrupt

    how = (of_two(saddle), tilted(), ls.grid(3))
    hessian_map(*how, save=tmp_path / "whole.h5")
    with pytest.raises(KeyboardInterrupt):
        hessian_map(*how, save=tmp_path / "part.h5", progress=stop)
    assert not read_surface(tmp_path / "part.h5").complete
    hessian_map(*how, save=tmp_path / "part.h5")
    assert (tmp_path / "part.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    with pytest.raises(LandscapeError, match="it differs in hessian"):
        hessian_map(*how, save=tmp_path / "part.h5", tol=1e-5)


def test_colours_of_a_ratio_follow_its_values(tmp_path):
    made = hessian_map(of_two(saddle), tilted(), ls.grid(3))
    bar = render.contour(made).axes[0].child_axes[0]
    # Of this saddle the ratio is the same everywhere.
    low, high = bar.get_ylim()
    assert low < 1 / 3 < high
    assert high - low < 0.01
    assert bar.get_ylabel().startswith("training Hessian |λmin / λmax|")


def test_the_axes_along_the_hessian_are_the_eigenvectors_of_a_quadratic(runs, quadratic):
    from landscape.problems.toys import QuadraticOptions
    from landscape.problems.toys import quadratic as closed

    form = closed(QuadraticOptions(**OPTIONS))
    for plane, places in (("hessian", (-1, 0)), ("hessian:largest", (-1, -2)), ("hessian:smallest", (0, 1))):
        made = slice_of(runs["r1"], quadratic, Slice(plane=plane, points=3))
        told = made.meta["plane"]["hessian"]
        assert [own["eigenvalue"] for own in told] == pytest.approx(
            [form.eigenvalues[k] for k in places], rel=1e-6
        )
        # Along an eigenvector of length 1 the second difference is the eigenvalue.
        along = made["train_loss"][1]
        assert along[2] - 2 * along[1] + along[0] == pytest.approx(form.eigenvalues[places[0]], rel=1e-6)
    line = slice_of(runs["r1"], quadratic, Slice(kind="curve", plane="hessian:smallest", points=3))
    second = line["train_loss"] @ [1, -2, 1]
    assert second == pytest.approx(form.eigenvalues[0], rel=1e-5)


def test_the_plane_of_gradient_and_update_has_both_and_the_snapshot_before(runs, quadratic):
    from landscape.plots.planes import plane_of

    run = runs["r1"]
    plane = plane_of(run, run, quadratic, Slice(plane="gradient-update"))
    assert [norm(d) for d in plane.directions] == pytest.approx([1, 1], rel=1e-12)
    assert dot(*plane.directions) == pytest.approx(0, abs=1e-12)
    gradient = Curvature(quadratic, run[-1]).gradient()
    flat = torch.cat([tensor.flatten() for tensor in plane.directions[0].values()])
    assert float(flat @ gradient) == pytest.approx(-float(gradient.norm()), rel=1e-12)
    mark = plane.meta["marks"][1]
    before = plane.point(mark["x"], mark["y"])
    for name, tensor in run[-2].weights.items():
        assert torch.allclose(before[name], tensor, rtol=0, atol=1e-12)


def test_a_plane_through_snapshots_of_several_files_contains_them(folder, runs, quadratic):
    words = f"snapshots:{folder}/r1.h5:last,{folder}/r2.h5:0,last"
    made = slice_of(runs["r3"], quadratic, Slice(plane=words, points=3, dtype="float64"))
    marks = made.meta["plane"]["marks"]
    assert [mark["label"] for mark in marks] == [f"r1 step {runs['r1'][-1].step}", "r2 step 0", "step 18"]
    plane = projection.plane_through(runs["r1"][-1], runs["r2"][0], runs["r3"][-1])
    for mark, snapshot in zip(marks, (runs["r1"][-1], runs["r2"][0], runs["r3"][-1]), strict=True):
        there = plane.point(mark["x"], mark["y"])
        for name, tensor in snapshot.weights.items():
            assert torch.allclose(there[name], tensor, rtol=0, atol=1e-12)
        at = projection.project_path(plane, ls.open(snapshot._header.path)[snapshot.index : snapshot.index + 1])
        assert at.off_plane == pytest.approx([0.0], abs=1e-7)


def test_the_nearest_plane_goes_through_the_chosen_snapshot(runs, quadratic):
    run = runs["r1"]
    before = slice_of(run, quadratic, Slice(kind="trajectory", points=3))
    after = slice_of(run, quadratic, Slice(kind="trajectory", points=3, nearest=int(run[2].step)))
    assert after.path.off_plane[2] == pytest.approx(0, abs=1e-7)
    assert after.path.plane_loss[2] == pytest.approx(run[2].metrics["train_loss"], rel=1e-9)
    assert after.path.x == pytest.approx(before.path.x, abs=1e-9)
    # Control: in the plane through the last snapshot it is not.
    assert before.path.off_plane[2] > 1e-3
    assert after.path.off_plane[-1] == pytest.approx(before.path.off_plane[2], rel=1e-6)
    assert after.meta["plane"]["moved_to"]["step"] == run[2].step


def test_in_a_common_plane_each_path_has_the_coordinates_of_its_projection(runs, quadratic):
    made = slice_common(runs, quadratic, Slice(kind="trajectory", plane="common", points=3))
    plane = projection.pca_plane(list(runs.values()))
    for name, run in runs.items():
        alone = projection.project_path(plane, run)
        assert np.array_equal(made.paths[name].x, alone.coordinates[:, 0])
        assert np.array_equal(made.paths[name].y, alone.coordinates[:, 1])
        assert made.paths[name].motion_held == alone.motion_held
        assert made.paths[name].loss[-1] == pytest.approx(run.metrics["train_loss"][-1], rel=1e-12)
    figure = render.picture(made)
    assert [words.split(":")[0] for words in figure.get_suptitle().split("\n")] == ["r1", "r2", "r3"]
    plt.close("all")


def test_maps_of_one_plane_with_an_objective_each_share_their_colours(runs):
    made = {}
    for name, decay in (("r1", 0.0), ("r2", 1.0)):
        own = ls.problems.build("toy-quadratic", OPTIONS, seed=1).penalised(decay)
        wanted = Slice(kind="trajectory", plane="common", points=3, metrics=("total",))
        made[name] = slice_common({n: runs[n] for n in ("r1", "r2")}, own, wanted, only=name)
    assert np.array_equal(made["r1"].x, made["r2"].x)
    assert np.nanmax(made["r1"].values) < np.nanmax(made["r2"].values)
    figure = render.compose([render.Panel(made)])
    filled = [c for ax in figure.axes for c in ax.collections if getattr(c, "filled", False)]
    assert len({c.get_clim() for c in filled}) == 1
    assert list(made["r2"].paths) == ["r2"]


def test_directions_from_a_file_give_the_surface_that_they_came_from(tmp_path, runs, quadratic):
    first = slice_of(runs["r1"], quadratic, Slice(points=5, seed=3, one_d="norm"), save=tmp_path / "s.h5")
    plane = projection.random_plane(runs["r1"][-1], seed=3, one_d="norm")
    arrays = {
        f"{axis}/{name}": tensor.numpy()
        for axis, direction in zip("xy", plane.directions, strict=True)
        for name, tensor in direction.items()
    }
    np.savez(tmp_path / "d.npz", **arrays)
    save_file(arrays, tmp_path / "d.safetensors")
    for name in ("s.h5", "d.npz", "d.safetensors"):
        again = slice_of(runs["r1"], quadratic, Slice(points=5, directions=str(tmp_path / name)))
        assert np.array_equal(again["train_loss"], first["train_loss"]), name


def test_level_lines_have_no_colours_and_say_their_values(runs, quadratic):
    made = slice_of(runs["r1"], quadratic, Slice(plane="pca", points=9))
    figure = render.picture(made, view="levels")
    assert not any(getattr(c, "filled", False) for c in figure.axes[0].collections)
    assert any("training loss" in text.get_text() for text in figure.axes[0].legend_.texts)
    assert plane_field(made, None) == "train_loss"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"plane": "hesian"}, "unknown plane 'hesian', choose from random, pca, hessian, gradient-update, runs"),
        ({"plane": "common"}, "a common plane is of trajectories, got a surface"),
        ({"nearest": 3}, "the nearest plane is that of a trajectory, got a surface"),
        ({"kind": "curve", "plane": "hessian:both"}, "a curve has one direction, got plane hessian:both"),
        ({"kind": "curve", "gradient": True}, "gradients are drawn on a surface, got a curve"),
        ({"plane": "gradient"}, "a surface has two directions: plane gradient-update"),
        ({"plane": "pca", "directions": "d.npz"}, "directions from a file are a plane of their own"),
        ({"kind": "trajectory", "plane": "common", "nearest": 3}, "the nearest plane is that of one trajectory"),
        ({"center": "middle"}, "option 'center' has no such choice; got 'middle'"),
    ],
)
def test_what_does_not_go_together_is_refused(how, message):
    with pytest.raises(LandscapeError, match=message.replace("(", r"\(")):
        Slice(**how)


def test_what_cannot_be_mapped_is_refused(runs, quadratic, tmp_path):
    with pytest.raises(LandscapeError, match="the Hessian is mapped over a surface or along a curve; got a traj"):
        hessian_slice_of(runs["r1"], quadratic, Slice(kind="trajectory"))
    (tmp_path / "d.txt").write_text("x")
    with pytest.raises(LandscapeError, match=r"directions cannot be read from this type of file; got \.txt"):
        slice_of(runs["r1"], quadratic, Slice(directions=str(tmp_path / "d.txt")))
    np.savez(tmp_path / "d.npz", **{"x/weight": np.ones((1, 6))})
    with pytest.raises(LandscapeError, match=r"the file has no direction 'y'"):
        slice_of(runs["r1"], quadratic, Slice(directions=str(tmp_path / "d.npz")))
    with pytest.raises(LandscapeError, match="an update takes two snapshots"):
        slice_of(runs["r1"], quadratic, Slice(plane="gradient-update", at=0))


def test_the_command_draws_components_common_planes_and_nearest_planes(folder, tmp_path, landscape):
    files = [folder / f"r{seed}.h5" for seed in (1, 2)]
    code, out, _ = landscape("plot", *files, "--kind", "path", "--json", "-o", tmp_path / "a.png")
    found = json.loads(out)
    assert code == 0
    assert found["snapshots"] == {"r1": 7, "r2": 7}
    assert sum(found["explained_variance_ratio"]) == pytest.approx(1)
    small = ["--points", 3, "--json", "-o", tmp_path / "b.png", "--kind", "trajectory"]
    code, out, _ = landscape("plot", *files, "--common-plane", *small)
    assert (code, list(json.loads(out)["paths"])) == (0, ["r1", "r2"])
    code, out, _ = landscape("plot", files[0], "--nearest", 6, "--save-surface", tmp_path / "n.h5", *small)
    assert (code, list(json.loads(out)["panels"])) == (0, ["plane through step 18", "moved to step 6"])
    assert read_surface(tmp_path / "n-step6.h5").path.off_plane[2] == pytest.approx(0, abs=1e-7)
    options = ["--metric", "hessian-ratio", "--points", 3, "--json", "-o", tmp_path / "c.png"]
    code, out, _ = landscape("plot", files[0], *options)
    assert (code, json.loads(out)["hessian"]["unconverged"]) == (0, 0)


def test_runs_in_one_plane_are_told_by_name_and_seed(folder, tmp_path, landscape):
    files = [folder / f"r{seed}.h5" for seed in (1, 2)]
    small = ["--points", 3, "-o", tmp_path / "b.svg", "--kind", "trajectory", "--save", tmp_path / "s.h5"]
    seeds = [open_trajectory(file).seed for file in files]
    assert seeds[0] != seeds[1]
    done = landscape("plot", *files, "--plane", "common", *small)
    assert done.code == 0
    surface = read_surface(tmp_path / "s.h5")
    labels = [handle.get_text() for handle in ls.render.picture(surface).axes[0].get_legend().get_texts()]
    for name, seed in zip(("r1", "r2"), seeds, strict=True):
        assert f"  {name}, seed {seed}: the plane holds " in done.out
        assert any(label.startswith(f"{name}, seed {seed}") for label in labels)


def test_frozen_statistics_that_tell_more_than_the_weights_are_told_of(landscape, tmp_path, monkeypatch):
    """A network whose statistics have moved far: losses off by more than the path went down."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch, landscape as ls\n"
        "x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))\n"
        "model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))\n"
        "make = lambda: ls.Objective(model, loss=torch.nn.functional.mse_loss, train=(x, x[:, :2]))\n"
    )
    names: dict = {}
    exec((tmp_path / "mine.py").read_text(), names)
    model, x = names["model"], names["x"]
    with ls.Recorder(tmp_path / "run.h5", model, problem="mine.py:make") as recorder:
        for step in range(4):
            with torch.no_grad():
                # Inputs of BatchNorm grow tenfold: only with their own statistics is the function the same.
                model[0].weight.mul_(1 if step == 0 else 10)
                model[0].bias.mul_(1 if step == 0 else 10)
                model[1].running_var.copy_(model[0](x).var(0))
                model[1].running_mean.copy_(model[0](x).mean(0))
                model[2].weight.add_(0.01)
            recorder.snapshot(step)
    plot = ["plot", "run.h5", "--problem", "mine.py:make", "--kind", "trajectory", "--points", 3, "-o", "p.png"]
    frozen, anew = landscape(*plot), landscape(*plot, "--bn", "recalibrate")
    assert (frozen.code, anew.code) == (0, 0)
    assert re.search(r"real and in-plane losses are up to [\d.]+ \S* ?apart \(step \d\): statistics", frozen.out)
    assert "hint     --bn recalibrate re-estimates them at every point" in frozen.out
    # The remedy holds.
    assert "apart" not in anew.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plane", "runs"], "a surface goes through 3 runs; got 2"),
        (["--kind", "path", "--points", "5"], "--points cannot change a picture of kind path"),
        (
            ["--kind", "path", "--components", "1"],
            "option '--components' is out of range; got 1; expected at least 2",
        ),
        (["--common-plane"], "a common plane is of trajectories, got a surface"),
        (["--components", "3"], "--components cannot change a picture of kind surface"),
    ],
)
def test_the_command_refuses_in_one_line(folder, options, message, landscape):
    code, _, err = landscape("plot", folder / "r1.h5", folder / "r2.h5", *options)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_the_page_about_planes_runs(folder, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "planes.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.h5").write_bytes((folder / f"r{seed}.h5").read_bytes())
    names = {"ls": ls}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    assert (tmp_path / "both.png").stat().st_size > 0
    assert names["ratio"].shape == (3, 3)
    assert capsys.readouterr().out.endswith("%\n")
    # Every option that the page names is one of the command.
    assert set(re.findall(r"--[a-z][a-z-]+", page)) <= set(re.findall(r"--[a-z][a-z-]+", help_of_plot()))


def help_of_plot() -> str:
    from click.testing import CliRunner

    from landscape.cli.plot import command

    return CliRunner().invoke(command, ["--help-all"]).output
