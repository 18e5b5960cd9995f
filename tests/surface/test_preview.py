"""Previews: honest about their error, exact where computed, and whole where a slice is too rough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import ROOT, make_mlp
from hypothesis import given, settings
from hypothesis import strategies as st

import landscape as ls
from landscape.cli.main import main
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.pipeline import Slice, objective_of
from landscape.surface import Grid, Surface, evaluate, grid, read_surface, save_surface
from landscape.surface.polyharmonic import Polyharmonic
from landscape.surface.preview import Preview, preview

CHECKPOINT = ROOT / "checkpoints" / "digits-mlp.h5"
Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


def full(function: Function, over: Grid) -> np.ndarray:
    return function(*np.meshgrid(over.x, [0.0] if over.y is None else over.y)).reshape(over.shape)


def foretell(values: np.ndarray, over: Grid, tolerance: float = 0.01, places=((0.0, 0.0),)) -> Preview:
    flat = values.ravel()
    return preview(over, lambda points: {"train_loss": flat[points]}, tolerance, places=places)


def true_error(found: Preview, values: np.ndarray) -> float:
    scale = values if (values > 0).all() else np.ptp(values)
    return float((abs(found.fields["train_loss"] - values) / scale).max())


def scattered(count: int, dims: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, dims))


@pytest.mark.parametrize("dims", [1, 2])
def test_a_spline_goes_through_its_nodes_and_reproduces_quadratics_but_no_cubic(dims):
    nodes, points = scattered(25, dims), scattered(50, dims)[25:]
    quadratic, cubic = (lambda p, n=n: (1 + p.sum(axis=1) ** n)[:, None] for n in (2, 3))
    assert Polyharmonic(nodes, cubic(nodes))(nodes) == pytest.approx(cubic(nodes), abs=1e-9)
    assert Polyharmonic(nodes, quadratic(nodes))(points) == pytest.approx(quadratic(points), abs=1e-9)
    assert Polyharmonic(nodes, cubic(nodes))(points) != pytest.approx(cubic(points), abs=1e-9)


def test_left_out_errors_are_those_of_splines_through_the_others():
    nodes = scattered(20, 2)
    values = np.stack([np.exp(nodes[:, 0]), np.sin(3 * nodes[:, 1])], axis=1)
    for left in range(20):
        rest = np.arange(20) != left
        missed = values[left] - Polyharmonic(nodes[rest], values[rest])(nodes[[left]])[0]
        assert Polyharmonic(nodes, values).left_out[left] == pytest.approx(missed, rel=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=5), st.floats(-2, 2))
@settings(max_examples=20, deadline=None)
def test_a_quadratic_is_foretold_to_rounding_whatever_its_sign(coefficients, offset):
    a, b, c, d, e = coefficients
    over = grid((31, 23))
    values = full(lambda x, y: offset + a * x + b * y + c * x * x + d * x * y + e * y * y, over)
    found = foretell(values, over)
    assert abs(found.fields["train_loss"] - values).max() <= 1e-9 * abs(values).max()


SMOOTH: dict[str, Function] = {
    "exp of a cubic": lambda x, y: np.exp(x**3 - 2 * x * x * y + y * y + x / 2),
    "steep": lambda x, y: np.exp(6 * x - 3 * x * y),
    "a ridge": lambda x, y: 1 + 3 * np.exp(-(((x - 0.7 * y - 0.1) / 0.3) ** 2)),
    "of both signs": lambda x, y: np.sin(2 * x + y) + 0.3 * y,
    "a crater at the centre": lambda x, y: 2 - 1.99 * np.exp(-(x * x + y * y) / 0.05**2),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_slices_are_foretold_within_the_tolerance_from_few_points(name):
    over = grid((51, 41))
    values = full(SMOOTH[name], over)
    found = foretell(values, over)
    report = found.report
    assert not report["rough"]
    assert report["computed"] == found.computed.sum() < 0.25 * report["points"]
    assert true_error(found, values) <= 2 * report["reported_error"] <= 0.02
    assert np.array_equal(found.fields["train_loss"][found.computed], values[found.computed])


def test_rows_are_y():
    over = grid((41, 31), x=(-1.0, 2.0), y=(0.0, 1.0))
    values = full(lambda x, y: np.exp(x) + 3 * y**3, over)
    found = foretell(values, over)
    assert true_error(found, values) < 0.01
    assert true_error(found, values[::-1, ::-1]) > 0.1


def test_a_curve():
    over = grid(101, dims=1)
    values = full(lambda x, _: np.exp(x**3 - x), over)
    found = foretell(values, over, places=[(0.0,)])
    assert found.computed.shape == (101,)
    assert found.computed.sum() < 40
    assert true_error(found, values) <= 2 * found.report["reported_error"] <= 0.02


ROUGH: dict[str, Function] = {
    "noise": lambda x, y: np.exp(0.3 * np.random.default_rng(0).standard_normal(x.shape)),
    "a little noise": lambda x, y: 1 + x * x + 0.05 * np.random.default_rng(0).standard_normal(x.shape),
    "ever finer waves": lambda x, y: 1.5 + np.sin(30 * x * x + 4 * y),
}


@pytest.mark.parametrize("name", ROUGH)
def test_rough_slices_are_computed_whole_and_say_so(name):
    over = grid(31)
    values = full(ROUGH[name], over)
    found = foretell(values, over)
    assert found.report["rough"]
    assert found.report["reason"].startswith("the slice is too rough: ")
    assert found.computed.all()
    assert np.array_equal(found.fields["train_loss"], values)


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        (grid(13), "the grid is too small for a preview"),
        (grid((300, 4)), "the grid is too small for a preview"),
        (grid(25, dims=1), "the grid is too small for a preview"),
    ],
)
def test_grids_without_room_for_a_preview(over, reason):
    values = full(lambda x, y: 1 + x * x, over)
    found = foretell(values, over, places=[])
    assert (found.report["rough"], found.report["reason"]) == (True, reason)
    assert np.array_equal(found.fields["train_loss"], values)


@pytest.mark.parametrize("worst", [np.nan, np.inf, 1e200])
def test_values_that_no_spline_can_go_through(worst):
    over = grid(31)
    values = full(lambda x, y: np.where(x > 0.5, worst, 1 + x * x), over)
    found = foretell(values, over)
    assert found.report["reason"] == "some values are not finite, or out of all proportion"
    assert np.array_equal(found.fields["train_loss"], values, equal_nan=True)


def test_a_named_place_is_looked_at_and_would_be_missed_unnamed():
    over = grid(51)
    values = full(
        lambda x, y: np.exp(x + y**3) - 0.3 * np.exp(-((x - 0.36) ** 2 + (y + 0.44) ** 2) / 0.03**2), over
    )
    assert true_error(foretell(values, over, places=[(0.36, -0.44)]), values) < 0.01
    assert true_error(foretell(values, over, places=[]), values) > 0.1


def test_an_error_rate_is_never_below_zero():
    # Flat at 0 and then a corner, over which a spline swings.
    over = grid(31)
    loss, error = (
        full(SMOOTH["exp of a cubic"], over),
        full(lambda x, y: np.maximum(0.0, x + y - 0.5) ** 0.5, over),
    )
    flat = {"train_error": error.ravel(), "train_loss": loss.ravel()}
    how = {"judge": "train_loss"}
    free = preview(over, lambda p: {n: v[p] for n, v in flat.items()}, 0.01, **how)
    kept = preview(over, lambda p: {n: v[p] for n, v in flat.items()}, 0.01, bounds={"train_error": (0, 1)}, **how)
    assert free.fields["train_error"].min() < -1e-3
    assert kept.fields["train_error"].min() == 0
    assert np.array_equal(kept.fields["train_loss"], free.fields["train_loss"])


def test_a_preview_of_a_network_keeps_its_errors_in_bounds(objective, mlp):
    plane = ls.random_plane(mlp)
    found = evaluate(objective, plane, grid(31, 2.0), metrics=("loss", "error"), preview=0.05)
    assert not found.meta["preview"]["rough"]
    assert found.computed.sum() < found.computed.size
    assert found["train_error"].min() >= 0
    assert found["train_error"].max() <= 1


def test_other_fields_go_along():
    over = grid(31)
    loss, error = full(SMOOTH["exp of a cubic"], over), full(lambda x, y: (x * x + y * y) / 2, over)
    flat = {"train_error": error.ravel(), "train_loss": loss.ravel()}
    found = preview(over, lambda p: {n: v[p] for n, v in flat.items()}, 0.01, judge="train_loss")
    assert found.fields["train_error"] == pytest.approx(error, abs=1e-9)
    assert found.report["judge"] == "train_loss"


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, 1.5, float("nan"), True, "1%"])
def test_bad_tolerances_are_refused(objective, mlp, tolerance):
    message = r"^the tolerance of a preview must be above 0 and below 1; got .*; try 0\.01 for 1 %$"
    with pytest.raises(LandscapeError, match=message):
        evaluate(objective, ls.random_plane(mlp), grid(31), preview=tolerance)
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool) and tolerance == tolerance
    with pytest.raises(LandscapeError, match=message if number else "option 'preview' has the wrong type"):
        Slice(preview=tolerance)


@pytest.fixture(scope="module")
def digits() -> tuple[ls.Trajectory, Objective]:
    run = ls.open(CHECKPOINT)
    return run, objective_of(run)


def test_the_digits_to_1_percent_from_10_percent_of_the_points(digits):
    run, objective = digits
    plane = ls.random_plane(run[-1], seed=0)
    # Settled, for what takes long may be done in another way each time.
    how = {"engine": "sequential", "tune": "batch_size=2000,streams=1,threads=1,rewrite=no"}
    whole = evaluate(objective, plane, grid(51), **how)
    few = evaluate(objective, plane, grid(51), preview=0.01, **how)
    computed = few.computed
    assert computed.mean() <= 0.1
    assert abs(few.values / whole.values - 1).max() < 0.01
    assert few.complete
    assert np.isnan(few.standard_errors["train_loss"][~computed]).all()
    for name in whole.fields:
        assert np.array_equal(few[name][computed], whole[name][computed])
        assert np.array_equal(few.standard_errors[name][computed], whole.standard_errors[name][computed])


@pytest.mark.parametrize(
    ("seed", "radius", "normalize", "step"),
    [(1, 1.0, "filter", -1), (2, 0.5, "layer", -1), (3, 0.5, "none", -1), (4, 2.0, "filter", 0)],
)
def test_the_reported_error_is_at_least_half_of_the_true_one(digits, seed, radius, normalize, step):
    run, objective = digits
    plane = ls.random_plane(run[step], seed=seed, normalize=normalize)
    whole = evaluate(objective, plane, grid(27, radius), metrics="loss")
    found = foretell(whole.values, grid(27, radius))
    assert true_error(found, whole.values) <= 2 * found.report["reported_error"] <= 0.02


def test_a_rough_preview_is_the_plain_slice(objective, mlp):
    plain = evaluate(objective, ls.random_plane(mlp), grid(9))
    found = evaluate(objective, ls.random_plane(mlp), grid(9), preview=0.01)
    assert found.computed.all()
    for name in plain.fields:
        assert np.array_equal(found[name], plain[name])
        assert np.array_equal(found.standard_errors[name], plain.standard_errors[name])


class Stopped(Exception):
    pass


@pytest.mark.parametrize("over", [grid(25), grid(101, dims=1)])
def test_a_stopped_preview_ends_with_the_same_bytes(objective, mlp, tmp_path, over):
    plane = ls.random_plane(mlp) if over.y is not None else ls.random_line(mlp)
    whole, cut = tmp_path / "whole.h5", tmp_path / "cut.h5"
    # Under load it may take so long that an engine is chosen, which is done by timing.
    how = {"tune": "batch_size=100,streams=1,threads=1,rewrite=no"}
    evaluate(objective, plane, over, save=whole, preview=0.05, **how)
    assert not read_surface(whole).meta["preview"]["rough"]
    for points in (7, 20):

        def stop(done: int, total: int, last: int = points) -> None:
            if done == last:
                raise Stopped

        with pytest.raises(Stopped):
            evaluate(objective, plane, over, save=cut, preview=0.05, progress=stop, **how)
        part = read_surface(cut)
        assert part.done.sum() == points
        assert part.computed is None
    seen: list[int] = []
    evaluate(objective, plane, over, save=cut, preview=0.05, progress=lambda done, _: seen.append(done), **how)
    assert seen[0] == 21
    assert seen[-1] == over.x.size * (1 if over.y is None else over.y.size)
    assert hashlib.sha256(cut.read_bytes()).digest() == hashlib.sha256(whole.read_bytes()).digest()


@pytest.mark.parametrize(("first", "second", "named"), [(0.05, None, "0.05 in the file, null now"),
    (None, 0.05, "null in the file, 0.05 now"), (0.05, 0.02, "0.05 in the file, 0.02 now")])  # fmt: skip
def test_a_preview_is_another_slice(objective, mlp, tmp_path, first, second, named):
    file = tmp_path / "s.h5"
    evaluate(objective, ls.random_plane(mlp), grid(5), save=file, preview=first)
    with pytest.raises(LandscapeError, match=rf"it differs in preview \({named}\); give another name"):
        evaluate(objective, ls.random_plane(mlp), grid(5), save=file, preview=second)


def stored(tmp_path: Path) -> tuple[Path, Surface]:
    over = grid(31)
    found = foretell(full(SMOOTH["exp of a cubic"], over), over)
    meta = {"kind": "surface", "problem": "analytic", "splits": ["train"], "preview": found.report}
    surface = Surface(over.x, over.y, found.fields, meta=meta, computed=found.computed)
    save_surface(surface, tmp_path / "s.h5")
    return tmp_path / "s.h5", surface


def test_what_is_computed_is_kept_in_the_file_and_guarded(tmp_path):
    file, surface = stored(tmp_path)
    read = read_surface(file)
    assert np.array_equal(read.computed, surface.computed)
    assert read.done.all()
    with h5py.File(file, "a") as opened:
        assert opened["computed"].dims[0][0].name == "/y"
        opened["computed"][0, :] = True
    with pytest.raises(LandscapeError, match="something in it is not what was written"):
        read_surface(file)


def test_a_map_says_that_it_is_a_preview_and_dots_what_is_computed(tmp_path):
    _, surface = stored(tmp_path)
    figure = ls.render.contour(surface)
    report = surface.meta["preview"]
    share, error = 100 * report["computed"] / 961, 100 * report["reported_error"]
    words = f"preview: {share:.2g} % of points computed, the rest interpolated; error of the training loss on 48 "
    assert words + f"kept-aside points at most {error:.2g} %" in ls.render.caption(surface.meta)
    assert " ".join(figure.get_supxlabel().split()).endswith(f"at most {error:.2g} %")
    dots = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == report["computed"])
    places = {(x, y) for x, y in zip(*dots.get_data(), strict=True)}
    row, column = np.argwhere(surface.computed)[7]
    assert (surface.x[column], surface.y[row]) in places
    assert "computed points" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_whole_slice_is_drawn_as_ever(objective, mlp):
    surface = evaluate(objective, ls.random_plane(mlp), grid(9), preview=0.01)
    assert "preview" not in ls.render.caption(surface.meta)
    legend = ls.render.contour(surface).axes[0].get_legend()
    assert "computed points" not in [text.get_text() for text in legend.get_texts()]


def test_a_curve_dots_what_is_computed_with_its_standard_errors(objective):
    surface = evaluate(objective, ls.random_line(make_mlp()), grid(101, dims=1), preview=0.05)
    panel = ls.render.curve(surface).axes[0]
    assert surface.computed.sum() in [len(line.get_xdata()) for line in panel.lines]
    assert "computed points" in [text.get_text() for text in panel.get_legend().get_texts()]


def test_the_command_line_says_what_is_interpolated(tmp_path, monkeypatch, capsys):
    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        assert stopped.value.code == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    drawn = run("plot", str(CHECKPOINT), "--kind", "curve", "--points", "101", "--preview", "0.02",
                "--save-surface", "c.h5", "-o", "c.png", "--json")  # fmt: skip
    document = json.loads(drawn)
    report = document["preview"]
    assert document["computed"] == report["computed"] < document["points"] == 101
    line = f"preview: {report['computed']} of 101 points computed, the rest interpolated; error on 16 kept-aside"
    assert line in run("inspect", "c.h5")
    assert line in run("plot", "c.h5", "-o", "again.png")
    assert json.loads(run("inspect", "c.h5", "--json"))["computed"] == report["computed"]
