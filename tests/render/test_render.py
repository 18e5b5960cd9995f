"""Pictures, by their artists, words and bytes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path as File

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from landscape import render
from landscape.errors import LandscapeError, MachineError
from landscape.render.labels import axis_label, field_label, fit, fit_label
from landscape.values.surface import Array, Path, Surface, grid

PLANE = {"kind": "random", "normalize": "filter", "one_d": "ignore", "seed": 3, "cosine": 0.01}
META = {
    "problem": "digits-mlp",
    "step": 1800,
    "epoch": 40.0,
    "seed": 0,
    "splits": ["train", "test"],
    "units": {"loss": "nats", "error": ""},
    "plane": PLANE,
    "axes": [{"label": "direction 1", "unit": "filter norms"}, {"label": "direction 2", "unit": "filter norms"}],
    "bn": "frozen",
    "dtype": "float64",
}
PCA = {
    "kind": "pca",
    "explained_variance_ratio": [0.878, 0.093],
    "null_ratio": [0.608, 0.152],
    "motion_held": 0.83,
}


def bowl(x: Array, y: Array) -> Array:
    """Asymmetric in x and y: the minimum is at (0.6, -0.2)."""
    return 0.01 + 20 * (x - 0.6) ** 2 + 5 * (y + 0.2) ** 2


def plane(
    f: Callable[[Array, Array], Array] = bowl, points: tuple[int, int] = (21, 11), **meta: object
) -> Surface:
    net = grid(points)
    assert net.y is not None
    loss = f(*np.meshgrid(net.x, net.y))
    fields = {"train_loss": loss, "test_error": np.clip(loss / 40, 0, 1)}
    return Surface(net.x, net.y, fields, meta={**META, **meta})


def line(loss: Array | None = None, **extra: object) -> Surface:
    x = grid(21, dims=1).x
    loss = 1e-3 + 9 * x**2 if loss is None else loss
    fields = {"train_loss": loss, "test_loss": loss + 0.5, "train_error": loss / 20, "test_error": loss / 10}
    return Surface(x, None, fields, meta={**META, "kind": "curve"}, **extra)  # type: ignore[arg-type]


def path(count: int = 9) -> Path:
    t = np.linspace(0, 1, count)
    real = 2.3 * np.exp(-6 * t)
    return Path(np.arange(count) * 45, 0.9 * (1 - t), 0.5 * (1 - t) ** 2, 4.1 * (1 - t), real, real + 0.8)


def travelled(way: Path | None = None) -> Surface:
    return plane_with(path() if way is None else way)


def plane_with(way: Path | None) -> Surface:
    base = plane(points=(21, 21), plane=PCA, axes=[])
    return Surface(base.x, base.y, base.fields, meta=base.meta, path=way)


def filled(ax: Axes) -> QuadContourSet:
    return next(c for c in ax.collections if isinstance(c, QuadContourSet) and c.filled)


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def words(fig: Figure) -> str:
    texts = fig.findobj(mpl.text.Text)
    return " | ".join(" ".join(text.get_text().split()) for text in texts if text.get_text())


def fan(count: int = 5, **extra: object) -> Surface:
    """Lines of unlike curvature: losses (1 + k) x^2 for k = 0, 1, ..., whose median is the middle one."""
    x = grid(21, dims=1).x
    loss = np.array([1e-3 + (1 + k) * x**2 for k in range(count)])
    fields = {"train_loss": loss, "test_loss": loss + 0.5, "train_error": loss / 20, "test_error": loss / 10}
    meta = {**META, "kind": "curve", "plane": {**PLANE, "repeats": count}}
    return Surface(x, None, fields, meta=meta, repeat=3 + np.arange(count), **extra)  # type: ignore[arg-type]


def bundle(count: int = 5) -> Surface:
    """Planes of unlike height over an uneven, asymmetric grid."""
    x, y = np.array([-1.0, -0.9, -0.5, 0.0, 2.0]), np.array([-3.0, -0.1, 0.0, 1.0])
    loss = np.array([(1 + k) * bowl(*np.meshgrid(x, y)) for k in range(count)])
    meta = {**META, "kind": "surface", "splits": ["train"], "plane": {**PLANE, "repeats": count}}
    return Surface(x, y, {"train_loss": loss}, meta=meta, repeat=3 + np.arange(count))


def everything() -> dict[str, Callable[[], Figure]]:
    return {
        "contour": lambda: render.contour(plane()),
        "curve": lambda: render.curve(line()),
        "surface3d": lambda: render.surface3d(plane()),
        "trajectory": lambda: render.trajectory(travelled()),
        "overview": lambda: render.overview(
            line(), plane(), travelled(), {"test_error": 0.029, "explained": [0.9]}
        ),
        "picture": lambda: render.picture(plane(), view="both"),
        "a flat map": lambda: render.contour(
            Surface(np.arange(5.0), np.arange(2.0), {"a": np.eye(2, 5)}, meta=META)
        ),
        "repeats": lambda: render.picture(fan()),
        "repeated planes": lambda: render.picture(bundle(), view="both"),
    }


# --- orientation -----------------------------------------------------------------------------------------


def test_the_drawn_minimum_is_where_the_function_has_it() -> None:
    ax = render.contour(plane(points=(41, 31))).axes[0]
    innermost = next(p for p in filled(ax).get_paths() if len(p.vertices))
    centre = (innermost.vertices.min(axis=0) + innermost.vertices.max(axis=0)) / 2
    np.testing.assert_allclose(centre, [0.6, -0.2], atol=0.06)


def test_rows_are_y_on_a_grid_that_is_not_square() -> None:
    ax = render.contour(plane(lambda x, y: y + 0 * x, points=(7, 4))).axes[0]
    for cut in filled(ax).get_paths():
        # A function of y alone has bands that run across all of x.
        assert len(cut.vertices) == 0 or np.ptp(cut.vertices[:, 0]) == 2.0


def test_the_relief_stands_over_the_same_coordinates() -> None:
    ax = render.surface3d(plane(points=(41, 31))).axes[0]
    (relief,) = [c for c in ax.collections if isinstance(c, Poly3DCollection)]
    corners = np.asarray(relief._faces).reshape(-1, 3)
    np.testing.assert_allclose(corners[np.argmin(corners[:, 2]), :2], [0.6, -0.2], atol=0.06)
    assert corners[:, 2].min() == pytest.approx(-2.0)  # log10 of 0.01


# --- words -----------------------------------------------------------------------------------------------


def test_filled_maps_are_pixels_in_vector_files_so_that_no_seams_show() -> None:
    axes = render.contour(plane()).axes[0]
    filled, lines = axes.collections[0], axes.collections[1]
    assert filled.get_rasterized()
    assert not lines.get_rasterized()


def test_axes_and_colours_are_named_with_their_units_and_scale() -> None:
    said = words(render.contour(plane()))
    for expected in (
        "direction 1 (filter norms)",
        "direction 2 (filter norms)",
        "training loss (nats, log scale)",
        "trained weights (step 1800)",
        "digits-mlp · step 1800 (epoch 40) · random plane, filter-normalised, 1-D weights fixed, direction seed 3"
        " · training seed 0 · training data · BatchNorm frozen · float64",
    ):
        assert expected in said


def test_an_error_is_in_percent_and_linear() -> None:
    surface = plane()
    fig = render.contour(surface, "test_error")
    assert "test error (%)" in words(fig)
    assert filled(fig.axes[0]).zmax == pytest.approx(100 * surface["test_error"].max())


def test_a_picture_without_any_meta_has_sensible_words() -> None:
    bare = plane()
    fig = render.contour(Surface(bare.x, bare.y, {"train_loss": bare.values}))
    assert "direction 1" in words(fig)
    assert "training loss (log scale)" in words(fig)
    assert render.caption({}) == ""


def test_principal_components_are_named_with_their_share_and_the_null() -> None:
    meta = {"plane": PCA}
    assert axis_label(meta, 0) == "PC 1 (87.8 % of variance; random walk 60.8 %)"
    assert axis_label(meta, 1) == "PC 2 (9.3 % of variance; random walk 15.2 %)"
    assert axis_label({"plane": {"kind": "pca"}}, 1) == "PC 2"
    measured = {"plane": PCA, "axes": [{"label": "PC 1", "unit": "weight distance"}]}
    assert axis_label(measured, 0) == "PC 1, weight distance (87.8 % of variance; random walk 60.8 %)"
    assert axis_label(measured, 0, short=True) == "PC 1 (weight distance)"


def test_field_labels() -> None:
    assert field_label("val_loss", {"units": {"loss": "nats"}}) == "validation loss (nats)"
    assert field_label("train_top_margin", {}) == "training top margin"


def test_captions_say_what_is_unusual_about_a_plane() -> None:
    skewed = {"plane": {"kind": "custom", "normalize": "none", "cosine": 0.3}, "kind": "surface"}
    assert render.caption(skewed) == "custom plane, directions at cosine 0.30"
    assert render.caption({"plane": PLANE, "kind": "curve"}).startswith("random line, filter-normalised")
    # A run that says no epochs, as one that was imported.
    assert render.caption({"step": 100, "epoch": float("nan")}) == "step 100"
    assert render.caption({"plane": PCA}) == "PCA plane, 97.1 % of variance (random walk 76.0 %)"


def test_long_words_are_broken_where_they_can_be_read() -> None:
    text = "PC 1 (87.8 % of variance; random walk 60.8 %)"
    assert fit_label(text, 3.0, 8.0) == text
    assert fit_label(text, 2.6, 8.0) == "PC 1\n(87.8 % of variance; random walk 60.8 %)"
    assert fit_label(text, 1.4, 8.0) == "PC 1\n(87.8 % of variance;\nrandom walk 60.8 %)"
    assert max(map(len, fit("x" * 300, 3.4, 6.0).split("\n"))) < 80


# --- what has no value -----------------------------------------------------------------------------------


def holes(x: Array, y: Array) -> Array:
    values = bowl(x, y)
    values[2:4, 3:5] = np.nan
    values[0, 0] = np.inf
    return values


def test_gaps_are_hatched_and_counted_and_the_data_stay() -> None:
    surface = plane(holes)
    before = surface.values.copy()
    done = np.ones(surface.values.shape, bool)
    done[-1, :5] = False
    surface = Surface(surface.x, surface.y, surface.fields, done=done, meta=surface.meta)
    ax = render.contour(surface).axes[0]
    assert "undefined (NaN): 4 of 231 points" in legend(ax)
    assert "infinite: 1 of 231 points" in legend(ax)
    assert "not computed: 5 of 231 points" in legend(ax)
    hatches = [patch.get_hatch() for patch in ax.patches if isinstance(patch, PathPatch)]
    assert len(set(hatches)) == 3
    np.testing.assert_array_equal(surface.values, before)


def test_the_hatch_covers_exactly_the_squares_that_touch_the_gap() -> None:
    def one_hole(x: Array, y: Array) -> Array:
        return np.where((np.abs(x - 0.5) < 1e-9) & (np.abs(y + 0.4) < 1e-9), np.nan, bowl(x, y))

    ax = render.contour(plane(one_hole, points=(5, 11))).axes[0]
    (hatch,) = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    box = hatch.get_path().get_extents()
    np.testing.assert_allclose([box.x0, box.x1, box.y0, box.y1], [0.0, 1.0, -0.6, -0.2], atol=1e-12)


def test_colours_stop_at_the_gap() -> None:
    ax = render.contour(plane(lambda x, y: np.where(x > 0.45, np.nan, bowl(x, y)))).axes[0]
    assert max(p.vertices[:, 0].max() for p in filled(ax).get_paths() if len(p.vertices)) == pytest.approx(0.4)


@pytest.mark.parametrize("draw", [render.contour, render.surface3d])
@pytest.mark.parametrize("value", [np.nan, np.inf, 2.302585])
def test_a_slice_without_shape_is_drawn_all_the_same(draw: Callable[..., Figure], value: float) -> None:
    fig = draw(plane(lambda x, y: 0 * x + value))
    fig.draw_without_rendering()
    expected = {"nan": "undefined (NaN): 231 of 231 points", "inf": "infinite: 231 of 231 points"}
    assert expected.get(str(value), "training loss (nats), constant") in words(fig)
    if np.isfinite(value):
        assert "2.30259" in words(fig)


@pytest.mark.parametrize("points", [(2, 2), (3, 3), (2, 7)])
def test_tiny_grids(points: tuple[int, int]) -> None:
    render.contour(plane(points=points)).draw_without_rendering()
    render.surface3d(plane(points=points)).draw_without_rendering()


# --- clipping and scales ---------------------------------------------------------------------------------


def spike(x: Array, y: Array) -> Array:
    return np.where((x > 0.95) & (y > 0.95), 1e9, 1 + x**2 + 2 * y**2)


def test_clipping_is_said_on_the_colour_bar_and_changes_no_value() -> None:
    surface = plane(spike)
    ax = render.contour(surface).axes[0]
    (bar,) = ax.child_axes
    assert [label.get_text() for label in bar.get_yticklabels()][-1] == "> 5"
    assert filled(ax).extend == "max"
    assert filled(ax).zmax == 1e9
    assert surface.values.max() == 1e9


def test_a_clipped_relief_is_a_plateau_and_says_so() -> None:
    ax = render.surface3d(plane(spike)).axes[0]
    assert [label.get_text() for label in ax.get_zticklabels()][-1] == "> 5"
    assert ax.get_zlim()[1] == pytest.approx(5.0)


def test_heights_of_a_log_relief_are_named_by_real_values() -> None:
    ax = render.surface3d(plane()).axes[0]
    ticks = [label.get_text() for label in ax.get_zticklabels()]
    np.testing.assert_allclose(10 ** ax.get_zticks(), [float(tick) for tick in ticks])
    assert "log scale" in ax.get_zlabel()


def test_log_and_clip_can_be_forced() -> None:
    assert "log scale" not in words(render.contour(plane(), log=False))
    assert "log scale" in words(render.contour(plane(lambda x, y: 2 + x), log=True))
    assert filled(render.contour(plane(), clip=10.0).axes[0]).extend == "max"
    assert filled(render.contour(plane(spike), clip=np.inf).axes[0]).extend == "neither"


def test_axes_of_equal_units_have_equal_scales() -> None:
    assert render.contour(plane()).axes[0].get_aspect() == 1.0
    assert render.contour(plane(equal_aspect=False)).axes[0].get_aspect() == "auto"
    unlike = [{"label": "a", "unit": "filter norms"}, {"label": "b", "unit": "layer norms"}]
    assert render.contour(plane(axes=unlike)).axes[0].get_aspect() == "auto"


# --- marks -----------------------------------------------------------------------------------------------


def test_marks_stand_at_their_coordinates_and_the_origin_is_not_marked_twice() -> None:
    marks = [{"label": "step 0", "x": 0, "y": 0}, {"label": "step 9", "x": 0.5, "y": -0.25}]
    ax = render.contour(plane(plane={"kind": "snapshots", "marks": marks})).axes[0]
    assert {(float(dot.get_xdata()[0]), float(dot.get_ydata()[0])) for dot in ax.lines} == {(0, 0), (0.5, -0.25)}
    assert legend(ax) == []
    notes = {note.get_text(): note.xy for note in ax.texts if isinstance(note, mpl.text.Annotation)}
    assert notes == {"step 0": (0, 0), "step 9": (0.5, -0.25)}


def test_marks_outside_the_grid_are_left_out() -> None:
    ax = render.contour(plane(plane={"marks": [{"label": "far", "x": 5, "y": 0}]})).axes[0]
    assert "far" not in {text.get_text() for text in ax.texts}


# --- curves ----------------------------------------------------------------------------------------------


def test_losses_stand_above_errors_in_percent() -> None:
    surface = line()
    loss, error = render.curve(surface).axes
    assert (loss.get_ylabel(), error.get_ylabel()) == ("loss (nats, log scale)", "error (%)")
    assert (loss.get_yscale(), error.get_yscale()) == ("log", "linear")
    assert legend(loss) == ["training", "test", "trained weights (step 1800)"]
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), surface["train_loss"])
    np.testing.assert_allclose(error.lines[1].get_ydata(), 100 * surface["train_error"])


def test_two_decades_are_the_border_between_the_scales() -> None:
    x = grid(21, dims=1).x
    ax = render.curve(line(1.0 + 90 * np.abs(x)), splits=["train"], metrics=["loss"]).axes[0]
    assert ax.get_ylabel() == "training loss (nats)"
    assert ax.get_yscale() == "linear"


def test_given_axes_get_the_loss_only_and_nothing_else_is_drawn() -> None:
    fig = Figure()
    ax, other = fig.subplots(1, 2)
    assert render.curve(line(), ax) is fig
    assert len(fig.axes) == 2
    assert " ".join(ax.get_xlabel().split()) == "step α along direction 1 (filter norms)"
    assert not other.has_data()


def test_given_axes_of_a_subfigure_return_the_whole_figure() -> None:
    fig = Figure()
    left, right = fig.subfigures(1, 2)
    assert render.contour(plane(), ax=left.add_subplot()) is fig
    assert render.trajectory(travelled(), right) is fig


def test_a_curve_says_where_it_has_no_value() -> None:
    loss = 1 + grid(21, dims=1).x ** 2
    loss[3], loss[5], loss[-2:] = np.nan, np.nan, np.inf
    done = np.ones(21, bool)
    done[10] = False
    surface = Surface(grid(21, dims=1).x, None, {"train_loss": loss}, done=done, meta=META)
    ax = render.curve(surface).axes[0]
    assert "undefined (NaN): 2 of 21 points" in legend(ax)
    assert "infinite: 2 of 21 points" in legend(ax)
    assert "not computed: 1 of 21 points" in legend(ax)
    drawn = ax.lines[1].get_ydata()
    assert np.isnan(drawn[[3, 5, 10, 19, 20]]).all()
    # The point between two gaps is on no line, so it must be a dot.
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [surface.x[4]])


def test_bands_are_one_standard_error_in_the_unit_shown() -> None:
    width = np.full(21, 0.02)
    surface = line(standard_errors={"test_error": width})
    error = render.curve(surface).axes[1]
    assert "± standard error" in legend(error)
    (band,) = error.collections
    np.testing.assert_allclose(band.get_datalim(error.transData).y1, 100 * (0.9001 + 0.02))
    assert not render.curve(line(standard_errors={"test_error": width * np.nan})).axes[1].collections


# --- trajectories ----------------------------------------------------------------------------------------


def test_a_trajectory_shows_the_path_its_distance_and_both_losses() -> None:
    way = path()
    fig = render.trajectory(travelled(way))
    where, off, loss = fig.axes[:3]
    np.testing.assert_array_equal(where.lines[0].get_xydata(), np.column_stack([way.x, way.y]))
    np.testing.assert_array_equal(off.lines[0].get_ydata(), way.off_plane)
    assert [drawn.get_label() for drawn in loss.lines] == ["real", "in the plane"]
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), way.plane_loss)
    said = words(fig)
    assert "PC 1 (87.8 % of variance; random walk 60.8 %)" in said
    assert "off-plane distance (Euclidean)" in said
    assert "step 0" in said
    assert "step 360" in said
    assert (
        "The plane holds 83 % of the motion; the path runs up to 4.1 off it; "
        "median |real − in-plane| loss 0.8 nats" in said
    )


def test_snapshots_outside_the_picture_are_counted() -> None:
    way = path()
    far = Path(way.step, way.x * 3, way.y, way.off_plane, way.loss, way.plane_loss)
    outside = int((far.x > 1).sum())
    ax = render.trajectory(travelled(far)).axes[0]
    assert legend(ax)[0] == f"path of 9 snapshots, {outside} outside the picture"


@pytest.mark.parametrize("count", [1, 2])
def test_short_paths(count: int) -> None:
    render.trajectory(travelled(path(count))).draw_without_rendering()


def changed(**arrays: Array) -> Path:
    way = path()
    return Path(**{**{name: getattr(way, name) for name in way.__dataclass_fields__}, **arrays})


@pytest.mark.parametrize(
    ("way", "meta", "text"),
    [
        (path(), {}, "the path runs up to 4.1 off the plane; median |real − in-plane| loss 0.8"),
        (
            changed(off_plane=np.full(9, 1e-9)),
            {"plane": {"motion_held": 1.0}},
            "the plane holds 100 % of the motion; the path stays in it; median |real − in-plane| loss 0.8",
        ),
        (
            changed(plane_loss=np.full(9, np.nan), off_plane=np.full(9, np.nan)),
            {"plane": {"motion_held": 0.9997}},
            "the plane holds 99.97 % of the motion; in-plane loss not computed",
        ),
        (
            changed(plane_loss=np.full(9, np.inf)),
            {"units": {"loss": "nats"}},
            "the path runs up to 4.1 off the plane; median |real − in-plane| loss infinite",
        ),
    ],
)
def test_the_verdict(way: Path, meta: dict[str, object], text: str) -> None:
    assert render.verdict(way, meta) == text


def test_a_path_with_missing_values_is_drawn_and_they_are_counted() -> None:
    way = changed(plane_loss=np.where(np.arange(9) < 2, np.nan, 1.0), off_plane=np.full(9, np.nan))
    fig = render.trajectory(travelled(way))
    fig.draw_without_rendering()
    assert "not finite: 2 of 9" in words(fig)


# --- overview and picture --------------------------------------------------------------------------------


def test_the_overview_has_all_four_views_one_title_and_one_caption() -> None:
    fig = everything()["overview"]()
    said = words(fig)
    for heading in (
        "(a) along one direction",
        "(b) over a plane",
        "(c) the same plane in relief",
        "(d) the path of the optimiser",
        "digits-mlp, trained weights (step 1800): test error 2.9 %",
    ):
        assert heading in said
    assert said.count("BatchNorm frozen") == 1


def test_an_overview_of_what_there_is() -> None:
    assert len(render.overview(None, plane(), None).subfigs) == 2
    assert len(render.overview(line(), None, None).subfigs) == 1


def test_summary_numbers_are_short_and_have_their_units() -> None:
    fig = render.overview(
        line(), None, None, {"title": "Mine", "train_loss": 0.00123456, "train_error": 0.0, "steps": 9}
    )
    assert "Mine: training loss 0.0012 nats, training error 0 %" in words(fig)
    assert "steps" not in words(fig)


def test_picture_draws_what_the_file_says_it_is() -> None:
    assert len(render.picture(line()).axes) == 2
    assert len(render.picture(line(), field="test_loss").axes) == 1
    assert render.picture(plane(), view="3d").axes[0].name == "3d"
    assert "off-plane distance (Euclidean)" in words(render.picture(travelled()))
    assert "off-plane" not in words(render.picture(plane_with(None)))
    both = render.picture(plane(), view="both", field="test_error")
    assert [ax.name for ax in both.axes if ax.get_label() != "<colorbar>"][:2] == ["rectilinear", "3d"]


# --- repeats and axes ------------------------------------------------------------------------------------


def test_every_line_is_thin_and_grey_and_their_median_thick() -> None:
    fig = render.picture(fan())
    top, bottom = fig.axes
    assert legend(top) == [
        "training median",
        "test median",
        "trained weights (step 1800)",
        "5 lines",
        "10–90 %",
    ]
    medians = {line.get_label(): line for line in top.lines}
    surface = fan()
    np.testing.assert_array_equal(medians["training median"].get_ydata(), surface["train_loss"][2])
    singles = [line for line in top.lines if str(line.get_label()).startswith("_")]
    assert len(singles) == 10
    for single, values in zip(singles, surface["train_loss"], strict=False):
        np.testing.assert_array_equal(single.get_ydata(), values)
        assert single.get_linewidth() < 0.5 < 1 < medians["training median"].get_linewidth()
    errors = [line for line in bottom.lines if line.get_label() == "test median"]
    np.testing.assert_allclose(errors[0].get_ydata(), 10 * surface["train_loss"][2])


def test_the_band_is_10_to_90_percent_in_the_unit_shown() -> None:
    bottom = render.picture(fan()).axes[1]
    corners = bottom.collections[0].get_paths()[0].vertices
    at_the_end = corners[corners[:, 0] == 1.0][:, 1]
    # Losses 1 to 5 at x = 1; a 20th of them in percent: quantiles 1.4 and 4.6.
    np.testing.assert_allclose([at_the_end.min(), at_the_end.max()], [5 * 1.401, 5 * 4.601], rtol=1e-9)


def test_captions_of_repeats_say_how_many_which_seeds_and_what_they_found() -> None:
    said = words(render.picture(fan()))
    assert "5 random lines, filter-normalised, 1-D weights fixed, direction seeds 3–7" in said
    assert "curvature of the training loss at the centre positive along 5 of 5 directions" in said
    assert "(median 6 nats per unit²); median |asymmetry| 0" in said
    for view in ("contour", "both", "3d"):
        said = words(render.picture(bundle(), view=view))
        assert "median of 5 random planes, filter-normalised, 1-D weights fixed, direction seeds 3–7" in said
        assert "median training loss" in said
        assert "of 10 directions" in said


def test_a_map_of_repeats_is_their_median_and_both_adds_the_relative_width() -> None:
    surface = bundle()
    fig = render.picture(surface, view="both")
    left, right = [ax for ax in fig.axes if ax.get_label() != "<colorbar>"]
    x, y = np.meshgrid(surface.x, surface.y)
    middle = filled(
        render.contour(Surface(surface.x, surface.y, {"train_loss": 3 * bowl(x, y)}, meta=META)).axes[0]
    )
    for own, other in zip(filled(left).get_paths(), middle.get_paths(), strict=True):
        np.testing.assert_array_equal(own.vertices, other.vertices)
    # All planes are multiples of one: the band is (4.6 - 1.4) / 3 of the median everywhere.
    assert "10–90 % band / median, constant" in words(fig)
    assert filled(right).get_array() is not None


def test_missing_repeats_are_counted_and_infinite_ones_marked_where_they_are() -> None:
    surface = fan()
    surface.fields["train_loss"][1, 4] = np.inf
    surface.fields["train_loss"][2, 4] = np.inf
    surface.fields["train_loss"][0, 7] = np.nan
    top = render.picture(surface).axes[0]
    assert "training infinite: 2 of 105 points" in legend(top)
    assert "training undefined (NaN): 1 of 105 points" in legend(top)
    (mark,) = [line for line in top.lines if line.get_label() == "training infinite: 2 of 105 points"]
    assert list(mark.get_xdata()) == [surface.x[4]]


def test_a_map_of_repeats_is_hatched_where_a_plane_is_not_computed() -> None:
    surface = bundle()
    done = np.ones(surface.values.shape, bool)
    done[4, 3, 4] = False
    partial = Surface(**{**surface.__dict__, "done": done})
    assert "not computed: 1 of 20 points" in legend(render.picture(partial).axes[0])


def test_a_picture_of_an_uneven_grid_has_its_minimum_where_the_function_has_it() -> None:
    x = np.concatenate([np.linspace(-4, 0, 5), np.linspace(0.1, 1.5, 30)])
    y = np.concatenate([np.linspace(-0.6, 0.6, 40), [3.0, 8.0]])
    ax = render.contour(Surface(x, y, {"train_loss": bowl(*np.meshgrid(x, y))}, meta=META)).axes[0]
    innermost = next(p for p in filled(ax).get_paths() if len(p.vertices))
    centre = (innermost.vertices.min(axis=0) + innermost.vertices.max(axis=0)) / 2
    np.testing.assert_allclose(centre, [0.6, -0.2], atol=0.06)
    assert ax.get_xlim() == (-4.0, 1.5)
    assert ax.get_ylim() == (-0.6, 8.0)


def test_the_trained_weights_are_named_only_where_the_curve_holds_them() -> None:
    x = np.array([0.5, 0.6, 2.0])
    away = Surface(x, None, {"train_loss": x}, meta={**META, "kind": "curve"})
    assert "trained weights" not in words(render.picture(away))
    at_the_edge = Surface(x - 0.5, None, {"train_loss": x}, meta={**META, "kind": "curve"})
    assert "trained weights" in words(render.picture(at_the_edge))


def test_a_star_on_the_edge_of_a_map_is_whole() -> None:
    ax = render.contour(Surface(np.arange(3.0), np.arange(3.0), {"train_loss": np.eye(3)}, meta=META)).axes[0]
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    assert not star.get_clip_on()


def test_a_subset_and_a_coordinate_are_said_in_the_caption() -> None:
    counts = {"train": {"used": 500, "available": 1437}, "test": {"used": 360, "available": 360}}
    said = render.caption({**META, "examples": counts})
    assert "500 of 1,437 training + all test examples" in said
    all_of_them = {"train": {"used": 9, "available": 9}}
    assert "training data" in render.caption({**META, "splits": ["train"], "examples": all_of_them})
    assert "direction 3 at 0.5" in render.caption({**META, "at": [{"label": "direction 3", "value": 0.5}]})


def volume() -> Surface:
    axes = np.arange(2.0), np.arange(3.0), np.arange(4.0)
    return Surface(axes[0], axes[1], {"train_loss": np.ones((4, 3, 2))}, more=(axes[2],))


# --- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda: render.contour(plane(), "trian_loss"),
            "the surface has no field 'trian_loss'; did you mean 'train_loss'?",
        ),
        (lambda: render.picture(volume()), "a map has two axes; got x, y, z; choose a plane with .at(z=...)"),
        (lambda: render.contour(volume()), "a map has two axes; got x, y, z; choose a plane with .at(z=...)"),
        (
            lambda: render.contour(bundle()),
            "a map shows one plane; got 5 repeats; draw them with picture, or choose one with .at(repeat=...)",
        ),
        (lambda: render.contour(line()), "a plane slice is needed here; got a line; draw it with curve"),
        (lambda: render.curve(plane()), "a line slice is needed here; got a plane; draw it with contour"),
        (
            lambda: render.curve(line(), metrics=["acuracy"]),
            "the surface has no metric 'acuracy'; choose from error, loss",
        ),
        (lambda: render.curve(line(), splits=["tests"]), "the surface has no split 'tests'; did you mean 'test'?"),
        (lambda: render.trajectory(plane()), "the surface has no path to draw; draw it with contour"),
        (lambda: render.trajectory(plane_with(path(0))), "the surface has no path to draw; draw it with contour"),
        (lambda: render.overview(None, None, None), "there is no slice to draw; give at least one of the three"),
        (
            lambda: render.surface3d(plane(), ax=Figure().add_subplot()),
            'these axes are not 3-D; make them with projection="3d"',
        ),
        (
            lambda: render.picture(plane(), view="3D!"),
            "view: there is no view '3D!'; choose from contour, levels, 3d, both",
        ),
        (lambda: render.picture(line(), view="3d"), "view: a curve has one view only; got 3d; leave it out"),
        (
            lambda: render.picture(plane(kind="mds")),
            "there is no picture of a 'mds'; choose from curve, surface, trajectory",
        ),
        (lambda: render.contour(Surface(np.arange(2.0), np.arange(2.0), {})), "the surface has no values to draw"),
        (
            lambda: render.save(Figure(), "a.jpg"),
            "a.jpg: a picture cannot be saved in this format; got .jpg; expected .png, .pdf, .svg",
        ),
    ],
)
def test_messages(act: Callable[[], object], message: str) -> None:
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        act()


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["contour", "trajectory"])
def test_the_same_figure_has_the_same_bytes(tmp_path: File, name: str) -> None:
    draw = everything()[name]
    one, other = draw(), draw()
    for suffix in (".png", ".pdf", ".svg"):
        first = render.save(one, tmp_path / f"one{suffix}").read_bytes()
        second = render.save(other, tmp_path / "deep" / "er" / f"two{suffix}").read_bytes()
        again = render.save(other, tmp_path / f"three{suffix}").read_bytes()
        assert first == second, suffix
        assert first == again, suffix
    assert [file.name for file in sorted(tmp_path.iterdir()) if file.name.startswith(".")] == []


def test_a_figure_saved_in_three_formats_looks_the_same_in_the_last(tmp_path: File) -> None:
    fig = render.contour(plane())
    alone = render.save(render.contour(plane()), tmp_path / "alone.svg").read_bytes()
    for name in ("a.png", "a.pdf", "a.svg"):
        render.save(fig, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == alone


def test_fonts_are_embedded_and_no_date_is_written(tmp_path: File) -> None:
    pdf = render.save(render.contour(plane()), tmp_path / "a.pdf").read_bytes()
    assert b"FontFile2" in pdf
    assert b"CreationDate" not in pdf
    assert "<dc:date>" not in render.save(render.contour(plane()), tmp_path / "a.svg").read_text()


def test_a_failed_save_leaves_the_old_file_and_no_draft(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")

    def fail(self: Figure, file: File, **_: object) -> None:
        File(file).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    message = f"{target}: cannot be written; got No space left on device; free some space, or write elsewhere"
    with pytest.raises(MachineError, match=f"^{re.escape(message)}$"):
        render.save(Figure(), target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_png_has_200_dots_per_inch(tmp_path: File) -> None:
    fig = render.contour(plane())
    pixels = mpl.image.imread(render.save(fig, tmp_path / "a.png")).shape
    np.testing.assert_allclose(pixels[:2][::-1], fig.get_size_inches() * 200, atol=1)


# --- manners ---------------------------------------------------------------------------------------------


def settings() -> dict[str, object]:
    # Reading "backend" in the ordinary way would choose one, and import pyplot.
    return dict(dict.items(mpl.rcParams))


# Labels of 3-D axes are tilted: their boxes are too large.
TILTED = ("surface3d", "overview", "picture", "repeated planes")


def assert_words_are_whole(fig: Figure, name: str) -> None:
    """Nothing is cut off, and no names of axes overlap."""
    fig.draw_without_rendering()
    renderer = fig.canvas.get_renderer() if hasattr(fig.canvas, "get_renderer") else fig._get_renderer()
    labels = [t for ax in fig.axes for t in (ax.xaxis.label, ax.yaxis.label) if t.get_text()]
    labels += [t for t in (fig._suptitle, fig._supxlabel) if t is not None and t.get_text()]
    boxes = [label.get_window_extent(renderer) for label in labels if label.get_visible()]
    for i, box in enumerate(boxes):
        assert box.x0 > -1, name
        assert box.x1 < fig.bbox.x1 + 1, name
        assert box.y0 > -1, name
        assert box.y1 < fig.bbox.y1 + 1, name
        if name not in TILTED:
            assert not any(box.overlaps(other) for other in boxes[:i]), name


@pytest.mark.parametrize("name", sorted(everything()))
def test_pictures_are_whole_leave_the_style_of_the_session_alone_and_are_left_alone(
    name: str, tmp_path: File
) -> None:
    draw = everything()[name]
    before = settings()
    fig = draw()
    assert_words_are_whole(fig, name)
    plain = render.save(fig, tmp_path / "a.png").read_bytes()
    assert settings() == before
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "xtick.labelsize": 3, "lines.linewidth": 9}):
        assert render.save(draw(), tmp_path / "b.png").read_bytes() == plain


@pytest.mark.parametrize("look", [render.style.talk, render.style.dark])
def test_other_looks_reach_the_figure(look: Callable[[], dict[str, object]]) -> None:
    rc = look()
    fig = render.contour(plane(), rc=rc)
    fig.draw_without_rendering()
    assert fig.axes[0].xaxis.label.get_fontsize() == rc["axes.labelsize"]
    assert mpl.colors.same_color(fig.get_facecolor(), rc.get("figure.facecolor", "white"))


def test_neither_torch_nor_pyplot_is_imported(tmp_path: File) -> None:
    code = """
import sys, types, numpy as np, landscape.render as render
x = np.linspace(-1, 1, 5)
surface = types.SimpleNamespace(
    x=x, y=x, fields={"train_loss": np.add.outer(x**2, x**2)}, standard_errors={}, done=None, meta={}, path=None,
    more=(), repeat=None,
    computed=None, paths={}, gradient={},
)
render.save(render.picture(surface, view="both"), sys.argv[1])
print("torch" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
