"""Figures of several panels: what they share, what they say, and that nothing runs into anything else."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as File

import matplotlib as mpl
import numpy as np
import pytest
from conftest import ROOT
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text
from mpl_toolkits.mplot3d import Axes3D

from landscape import render
from landscape.errors import LandscapeError
from landscape.render import Panel, compose, style
from landscape.render.arrangement import arrange, best_columns
from landscape.render.figure_widths import WIDTHS, inches_of
from landscape.render.panels import letter
from landscape.render.path_fidelity import short_verdict
from landscape.render.shared_axes import filled_of
from landscape.values.surface import Array, Path, Surface, grid

PLANE = {"kind": "random", "normalize": "filter", "one_d": "ignore", "seed": 3}
PCA = {
    "kind": "pca",
    "explained_variance_ratio": [0.878, 0.093],
    "null_ratio": [0.608, 0.152],
    "motion_held": 0.83,
}
META = {
    "problem": "digits-mlp",
    "step": 1800,
    "seed": 0,
    "splits": ["train", "test"],
    "units": {"loss": "nats", "error": ""},
    "plane": PLANE,
    "axes": [{"label": "direction 1", "unit": "filter norms"}, {"label": "direction 2", "unit": "filter norms"}],
}


def line(scale: float = 1.0, **more: object) -> Surface:
    x = grid(21, dims=1).x
    loss = scale * (1e-3 + 9 * x**2)
    fields = {"train_loss": loss, "test_loss": loss + 0.5, "train_error": loss / 100, "test_error": loss / 50}
    return Surface(x, None, fields, meta={**META, "kind": "curve", **more})


def plane(scale: float = 1.0, points: tuple[int, int] = (13, 11), **more: object) -> Surface:
    """Asymmetric in x and y."""
    net = grid(points)
    assert net.y is not None
    x, y = np.meshgrid(net.x, net.y)
    loss = scale * (0.01 + 20 * (x - 0.6) ** 2 + 5 * (y + 0.2) ** 2)
    fields = {"train_loss": loss, "test_loss": loss + 1, "train_error": np.clip(loss / 80, 0, 1)}
    return Surface(net.x, net.y, fields, meta={**META, "kind": "surface", **more})


def travelled(scale: float = 1.0, plane_of: dict[str, object] = PCA) -> Surface:
    t = np.linspace(0, 1, 9)
    real = 2.3 * np.exp(-6 * t)
    way = Path(np.arange(9) * 45, 0.9 * (1 - t), 0.5 * (1 - t) ** 2, 4.1 * (1 - t), real, real + 0.8)
    return replace(plane(scale, kind="trajectory", plane=plane_of, axes=[]), path=way)


def fan(count: int = 5) -> Surface:
    x = grid(11, dims=1).x
    loss = np.array([1e-3 + (1 + k) * x**2 for k in range(count)])
    meta = {**META, "kind": "curve", "plane": {**PLANE, "repeats": count}}
    return Surface(x, None, {"train_loss": loss}, meta=meta, repeat=3 + np.arange(count))


def bundle(count: int = 3) -> Surface:
    one = plane(points=(7, 5), plane={**PLANE, "repeats": count})
    loss = np.array([(1 + k) * one.values for k in range(count)])
    return replace(one, fields={"train_loss": loss}, repeat=3 + np.arange(count))


def panels_of(fig: Figure) -> list[Axes]:
    """The axes in their places, without colour bars."""
    return [ax for ax in fig.axes if ax.get_subplotspec() is not None]


def bars_of(fig: Figure) -> list[Axes]:
    return [child for ax in panels_of(fig) for child in ax.child_axes]


def filled(ax: Axes) -> QuadContourSet:
    found = filled_of(ax)
    assert found is not None
    return found


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def words(fig: Figure) -> str:
    texts = fig.findobj(Text)
    return " | ".join(" ".join(text.get_text().split()) for text in texts if text.get_text())


def flat(text: str) -> str:
    return " ".join(text.split())


def curves(ax: Axes) -> dict[str, mpl.lines.Line2D]:
    return {str(drawn.get_label()): drawn for drawn in ax.lines if not str(drawn.get_label()).startswith("_")}


TWO = {"small batch": line(), "large batch": line(30.0)}
MAPS = {"small batch": plane(), "large batch": plane(30.0)}
PATHS = {"small batch": travelled(), "large batch": travelled(30.0)}


CAPTION = "Two batch sizes over planes of the same seed, with the same colours (Li et al. 2018). " * 3


def figures() -> dict[str, Callable[[str], Figure]]:
    return {
        "curves": lambda look: compose(
            [Panel(TWO, "loss"), Panel(TWO, "error", "test_error")], style=look, width="neurips"
        ),
        "maps": lambda look: compose(
            [Panel(MAPS, "two planes")],
            style=look,
            caption=CAPTION,
        ),
        "paths": lambda look: compose([Panel(PATHS)], style=look),
        "column": lambda look: compose([Panel(MAPS), Panel(TWO)], style=look, width="icml-column"),
        "both": lambda look: compose([Panel(MAPS, "relief", view="both")], style=look),
        "mixed": lambda look: compose(
            [Panel(TWO), Panel({"small batch": plane()}), Panel({"large batch": travelled()}, "a path")],
            style=look,
            columns=3,
        ),
        "reliefs": lambda look: compose(
            [Panel(MAPS, view="3d"), Panel({"a": plane()}, "at the foot", view="3d")], style=look, columns=2
        ),
        "repeats": lambda look: compose(
            [Panel({"a": fan(), "b": fan(3)}), Panel({"a": bundle()}, view="both")], style=look
        ),
        "fields": lambda look: compose(
            [Panel({"a": plane()}), Panel({"a": plane()}, field="train_error"), Panel({"b": plane(30.0)})],
            style=look,
        ),
    }


# --- curves ----------------------------------------------------------------------------------------------


def test_runs_lie_over_each_other_in_their_colours_solid_for_training_and_dashed_for_test() -> None:
    (ax,) = panels_of(compose([Panel(TWO)]))
    drawn = curves(ax)
    assert list(drawn)[:2] == ["small batch, training", "small batch, test"]
    for run, surface in TWO.items():
        for split, dash in (("train", "-"), ("test", "--")):
            own = drawn[f"{run}, {'training' if split == 'train' else 'test'}"]
            np.testing.assert_array_equal(own.get_xdata(), surface.x)
            np.testing.assert_array_equal(own.get_ydata(), surface[f"{split}_loss"])
            assert own.get_linestyle() == dash
    colours = [to_hex(own.get_color()) for own in drawn.values()]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert legend(ax) == ["small batch", "large batch", "training", "test", "trained weights (step 1800)"]
    assert (ax.get_ylabel(), ax.get_yscale()) == ("loss (nats, log scale)", "log")


def test_a_field_is_drawn_alone_and_errors_are_in_percent() -> None:
    (ax,) = panels_of(compose([Panel(TWO, field="test_error")]))
    drawn = curves(ax)
    assert list(drawn)[:2] == ["small batch", "large batch"]
    np.testing.assert_allclose(drawn["large batch"].get_ydata(), 100 * TWO["large batch"]["test_error"])
    assert drawn["small batch"].get_linestyle() == "-"
    assert ax.get_ylabel() == "test error (%)"
    assert legend(ax) == ["small batch", "large batch", "trained weights (step 1800)"]


def test_bands_are_one_standard_error_of_each_run() -> None:
    surface = replace(line(), standard_errors={"train_loss": np.full(21, 0.02)})
    (ax,) = panels_of(compose([Panel({"a": surface, "b": line()}, field="train_loss")]))
    (band,) = ax.collections
    assert to_hex(band.get_facecolor()[0]) == to_hex(curves(ax)["a"].get_color())
    np.testing.assert_allclose(band.get_datalim(ax.transData).y1, 9.001 + 0.02)
    assert "± standard error" in legend(ax)


def test_a_run_has_one_colour_in_all_panels_and_panels_name_all_runs_or_none() -> None:
    one, two = panels_of(compose([Panel(TWO), Panel({"large batch": line(), "third": line()})]))
    assert curves(one)["large batch, test"].get_color() == curves(two)["large batch, test"].get_color()
    assert curves(two)["third, test"].get_color() not in {own.get_color() for own in curves(one).values()}
    assert legend(two)[:2] == ["large batch", "third"]
    assert legend(panels_of(compose([Panel(TWO), Panel({"large batch": line()})]))[1]) == []


def test_more_runs_than_the_style_has_colours_are_told_apart() -> None:
    many = {f"run {i}": line(1.0 + i) for i in range(12)}
    (ax,) = panels_of(compose([Panel(many, field="train_loss")]))
    assert len({to_hex(curves(ax)[run].get_color()) for run in many}) == 12


def test_repeats_are_thin_lines_in_the_colour_of_their_median() -> None:
    surface = fan()
    (ax,) = panels_of(compose([Panel({"a": surface, "b": fan(3)})]))
    medians = curves(ax)
    np.testing.assert_array_equal(medians["a median"].get_ydata(), surface["train_loss"][2])
    singles = [drawn for drawn in ax.lines if str(drawn.get_label()).startswith("_child")]
    assert len(singles) == 5 + 3
    assert {drawn.get_color() for drawn in singles} == {
        medians[run].get_color() for run in ("a median", "b median")
    }
    assert max(drawn.get_linewidth() for drawn in singles) < 0.5
    assert {"a median", "b median", "5 lines", "3 lines", "10–90 %"} <= set(legend(ax))


def test_gaps_of_a_run_are_named_after_it() -> None:
    loss = line()["train_loss"].copy()
    loss[3] = np.nan
    surface = replace(line(), fields={"train_loss": loss})
    (ax,) = panels_of(compose([Panel({"broken": surface, "whole": line()}, field="train_loss")]))
    assert "broken undefined (NaN): 1 of 21 points" in legend(ax)


def test_curves_of_one_metric_share_their_axis_and_others_do_not() -> None:
    panels = [Panel({"a": line()}), Panel({"b": line(1e3)}), Panel({"a": line()}, field="train_error")]
    one, two, error = panels_of(compose(panels, columns=3))
    assert one.get_ylim() == two.get_ylim() != error.get_ylim()
    assert (two.get_ylabel(), error.get_ylabel()) == ("", "training error (%)")
    one, two, _ = panels_of(compose(panels, columns=3, share=False))
    assert one.get_ylim() != two.get_ylim()
    assert flat(two.get_ylabel()) == "loss (nats, log scale)"


def test_runs_whose_axes_differ_have_both_named() -> None:
    other = line(axes=[{"label": "direction 1", "unit": "standard normal"}])
    (ax,) = panels_of(compose([Panel({"a": line(), "b": other})]))
    steps = "step α along direction 1 (filter norms)\nstep α along direction 1 (standard normal)"
    assert ax.get_xlabel().replace(" 1\n(", " 1 (") == steps


# --- maps ------------------------------------------------------------------------------------------------


def test_maps_of_one_metric_share_limits_levels_and_one_bar() -> None:
    fig = compose([Panel(MAPS), Panel(PATHS)])
    sets = [filled(ax) for ax in panels_of(fig)]
    for other in sets[1:]:
        assert other.get_clim() == sets[0].get_clim()
        np.testing.assert_array_equal(other.levels, sets[0].levels)
        # Where a path makes one map pale, all are: a colour means one value.
        np.testing.assert_array_equal(other.get_cmap()([0.0, 0.5, 1.0]), sets[0].get_cmap()([0.0, 0.5, 1.0]))
    (bar,) = bars_of(fig)
    assert bar.get_ylabel() == "training loss (nats, log scale)"


def test_without_sharing_each_map_has_its_own() -> None:
    fig = compose([Panel(MAPS), Panel(PATHS)], share=False)
    limits = [filled(ax).get_clim() for ax in panels_of(fig)]
    assert limits[0] != limits[1]
    assert len(bars_of(fig)) == 4
    assert not np.allclose(filled(panels_of(fig)[0]).get_cmap()(0.0), filled(panels_of(fig)[2]).get_cmap()(0.0))


def test_contour_lines_run_at_the_same_values() -> None:
    left, right = panels_of(compose([Panel({"a": plane(), "b": plane(2.0)})]))
    values = [set(np.round(ax.collections[1].levels, 9)) for ax in (left, right)]
    levels = set(np.round(filled(left).levels, 9))
    assert len(values[0] & values[1]) >= 3
    assert values[0] | values[1] <= levels


def test_a_map_that_reaches_none_of_the_shared_lines_is_drawn_all_the_same() -> None:
    flat = replace(plane(), fields={"train_loss": np.full((11, 13), 2.5)})
    fig = compose([Panel({"a": plane(), "flat": flat}), Panel({"a": plane(), "flat": flat}, view="3d")])
    fig.draw_without_rendering()
    assert filled(panels_of(fig)[0]).get_clim() == filled(panels_of(fig)[1]).get_clim()


def test_each_metric_has_its_own_bar_and_is_named_on_its_maps() -> None:
    fig = figures()["fields"]("paper")
    assert sorted(flat(bar.get_ylabel()) for bar in bars_of(fig)) == [
        "training error (%)",
        "training loss (nats, log scale)",
    ]
    assert words(fig).count("training error") == 2


def test_splits_of_one_metric_share_a_bar_named_after_the_metric() -> None:
    fig = compose([Panel({"a": plane()}), Panel({"a": plane()}, field="test_loss")])
    (bar,) = bars_of(fig)
    assert bar.get_ylabel() == "loss (nats, log scale)"
    assert "test loss" in words(fig)


def test_runs_on_different_grids_share_limits_only() -> None:
    fig = compose([Panel({"coarse": plane(points=(5, 4)), "fine": plane(30.0, points=(31, 21))})])
    left, right = panels_of(fig)
    assert filled(left).get_clim() == filled(right).get_clim()


def test_reliefs_share_heights_and_need_no_bar() -> None:
    fig = compose([Panel(MAPS, view="3d")])
    left, right = panels_of(fig)
    assert isinstance(left, Axes3D)
    assert left.get_zlim() == right.get_zlim()
    assert bars_of(fig) == []
    left, right = panels_of(compose([Panel(MAPS, view="3d")], share=False))
    assert left.get_zlim() != right.get_zlim()


def test_a_bar_is_as_high_as_the_maps_beside_it() -> None:
    fig = compose([Panel(MAPS)], columns=1, width="one-column")
    fig.draw_without_rendering()
    (bar,) = bars_of(fig)
    top, bottom = panels_of(fig)
    box = bar.get_position()
    assert box.y1 == pytest.approx(top.get_position().y1)
    assert box.y0 == pytest.approx(bottom.get_position().y0)
    assert box.x0 > top.get_position().x1


def test_repeated_planes_are_their_median_and_the_width_of_their_band() -> None:
    fig = compose([Panel({"a": bundle()}, view="both")])
    middle, width = panels_of(fig)
    values = 2 * plane(points=(7, 5)).values
    np.testing.assert_allclose(10 ** np.array(filled(middle).get_clim()), [values.min(), values.max()])
    assert {bar.get_ylabel() for bar in bars_of(fig)} >= {"10–90 % band / median, constant"}
    assert "median of 3 random planes" in words(fig)
    assert width.get_xlim() == middle.get_xlim()


# --- trajectories ----------------------------------------------------------------------------------------


def test_a_verdict_stands_above_every_path_in_short_where_room_is_short() -> None:
    wide = words(compose([Panel({"a": travelled()})], width=9.0))
    assert "The plane holds 83 % of the motion; the path runs up to 4.1 off it; median" in wide
    narrow = words(compose([Panel(PATHS)], width="neurips"))
    assert narrow.count("Holds 83 % of the motion; up to 4.1 off the plane") == 2


def test_the_short_verdict_says_what_the_long_one_measures() -> None:
    way = travelled().path
    assert way is not None
    assert short_verdict(way, {}) == "up to 4.1 off the plane"
    inside = replace(way, off_plane=np.zeros(9))
    assert (
        short_verdict(inside, {"plane": {"motion_held": 1.0}}) == "holds 100 % of the motion; stays in the plane"
    )


def test_paths_are_drawn_over_their_maps() -> None:
    for ax, surface in zip(panels_of(compose([Panel(PATHS)])), PATHS.values(), strict=True):
        assert surface.path is not None
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.column_stack([surface.path.x, surface.path.y]))


# --- words -----------------------------------------------------------------------------------------------


def test_panels_have_letters_and_titles_and_maps_the_names_of_their_runs() -> None:
    said = words(compose([Panel(TWO, "curves"), Panel(MAPS), Panel({"one": plane()})]))
    for expected in ("(a) curves", "| (b) |", "small batch", "large batch", "(c) one"):
        assert expected in said
    assert "(a)" not in words(compose([Panel(MAPS, "alone")], caption=""))
    assert [letter(i) for i in (0, 25, 26, 52)] == ["a", "z", "aa", "ba"]


def test_a_star_is_explained_although_a_line_of_the_same_name_is() -> None:
    curve, map_ = panels_of(compose([Panel({"a": line()}), Panel({"a": plane()})]))
    assert "trained weights (step 1800)" in legend(curve)
    assert legend(map_) == ["trained weights (step 1800)"]


def test_neighbours_with_equal_axes_are_labelled_once() -> None:
    left, right = panels_of(compose([Panel(MAPS)]))
    assert left.get_ylabel() == "direction 2 (filter norms)"
    assert right.get_ylabel() == ""
    assert right.get_xlabel() == left.get_xlabel() == "direction 1 (filter norms)"
    top, bottom = panels_of(compose([Panel(MAPS)], columns=1))
    assert (top.get_xlabel(), bottom.get_xlabel()) == ("", "direction 1 (filter norms)")
    other = plane(axes=[{"label": "direction 1", "unit": "x"}, {"label": "direction 2", "unit": "x"}])
    _, right = panels_of(compose([Panel({"a": plane(), "b": other})]))
    assert right.get_ylabel() == "direction 2 (x)"


def test_the_foot_says_each_thing_once() -> None:
    later = plane(step=9)
    foot = compose([Panel({"a": plane(), "b": later}), Panel({"a": line()})], caption="Two runs.")._supxlabel
    assert foot.get_text().splitlines() == [
        "Two runs.",
        "digits-mlp · training seed 0",
        "a: step 1800",
        "b: step 9 · random plane, filter-normalised, 1-D weights fixed, direction seed 3 · training data",
        "(a) a: random plane, filter-normalised, 1-D weights fixed, direction seed 3 · training data",
        "(b): random line, filter-normalised, 1-D weights fixed, direction seed 3 · training + test data",
    ]
    assert compose([Panel(MAPS)], caption="")._supxlabel is None


# --- layout ----------------------------------------------------------------------------------------------


def boxes_of(fig: Figure) -> list[tuple[str, mpl.transforms.Bbox]]:
    """The boxes of all words that are seen, but for those on contour lines and the tilted ones of reliefs."""
    fig.draw_without_rendering()
    renderer = fig._get_renderer()
    texts: list[Text] = [t for t in (fig._supxlabel,) if t is not None]
    for ax in [*panels_of(fig), *bars_of(fig)]:
        texts += [t for t in ax.texts if isinstance(t, mpl.text.Annotation) and t.get_text()]
        texts += [] if ax.get_legend() is None else ax.get_legend().get_texts()
        if isinstance(ax, Axes3D):
            continue
        ticks = [*ax.xaxis.get_ticklabels(), *ax.yaxis.get_ticklabels()]
        low, high = ax.get_window_extent(renderer).padded(2).get_points()
        seen = [t.get_window_extent(renderer) for t in ticks]
        texts += [
            t
            for t, box in zip(ticks, seen, strict=True)
            if t.get_visible() and low[0] <= (box.x0 + box.x1) / 2 <= high[0] + 99 and box.y1 >= low[1] - 99
        ]
        texts += [ax.xaxis.label, ax.yaxis.label]
    shown = [t for t in texts if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in shown]


# Words are as large in `dark` as in `paper`.
@pytest.mark.parametrize("look", ["paper", "talk"])
@pytest.mark.parametrize("name", sorted(figures()))
def test_no_words_overlap_and_none_are_cut_off(name: str, look: str) -> None:
    fig = figures()[name](look)
    boxes = boxes_of(fig)
    assert len(boxes) >= 5
    for text, box in boxes:
        assert box.x0 > -1, text
        assert box.x1 < fig.bbox.x1 + 1, text
        assert box.y0 > -1, text
        assert box.y1 < fig.bbox.y1 + 1, text
    for (one, box), (two, other) in itertools.combinations(boxes, 2):
        # Boxes of words have rims of up to a point of nothing.
        assert not box.padded(-1).overlaps(other.padded(-1)), (one, two)
    for ax in panels_of(fig):
        if isinstance(ax, Axes3D):
            names = [axis.label.get_window_extent(fig._get_renderer()) for axis in (ax.xaxis, ax.yaxis, ax.zaxis)]
            assert all(box.x1 < fig.bbox.x1 + 1 and box.y0 > -1 for box in names)
            foot = fig._supxlabel.get_window_extent(fig._get_renderer())
            assert all(box.y0 > foot.y1 - 2 for box in names)


def test_the_width_is_the_width_and_the_height_follows_or_is_given() -> None:
    flat, tall = compose([Panel(TWO)], width="icml"), compose([Panel(MAPS)], columns=1, width=6.75)
    assert flat.get_size_inches()[0] == tall.get_size_inches()[0] == 6.75
    assert flat.get_size_inches()[1] < 4.0 < 10.0 < tall.get_size_inches()[1]
    np.testing.assert_allclose(compose([Panel(TWO)], height=3.0).get_size_inches(), [7.0, 3.0])


def test_maps_fill_the_room_they_have() -> None:
    fig = compose([Panel(MAPS)])
    for ax in panels_of(fig):
        room, own = ax.get_position(original=True), ax.get_position()
        assert own.height == pytest.approx(room.height, rel=0.02)
        assert own.width == pytest.approx(room.width, rel=0.02)


@pytest.mark.parametrize(
    ("counts", "width", "columns"),
    [([1], 7.0, 1), ([2], 7.0, 2), ([1, 2], 7.0, 3), ([2, 2], 7.0, 2), ([1, 1, 1, 1], 7.0, 2), ([3], 3.4, 1)],
)
def test_columns_leave_few_rows_and_few_empty_places(counts: list[int], width: float, columns: int) -> None:
    assert best_columns(counts, width, 1.0) == columns


def test_a_panel_is_broken_only_if_no_row_holds_it() -> None:
    assert arrange([1, 2, 2], 3) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert arrange([1, 3], 3)[1:] == [(1, 0), (1, 1), (1, 2)]
    assert arrange([3], 2) == [(0, 0), (0, 1), (1, 0)]


def test_widths_of_venues() -> None:
    assert inches_of("neurips") == inches_of("iclr") == 5.5
    assert inches_of("nature") == pytest.approx(7.205, abs=1e-3)
    assert inches_of(4) == 4.0
    for name, width in WIDTHS.items():
        if name.endswith("-column") and name != "one-column":
            assert 2 * width < WIDTHS[name.removesuffix("-column")]


# --- looks -----------------------------------------------------------------------------------------------

# CIE 1931 XYZ of linear sRGB under D65 (IEC 61966-2-1), and the white point that goes with it.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# Machado, Oliveira & Fernandes (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# IEEE TVCG 15(6), severity 1.0; for linear RGB.
_BLIND = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "none": np.eye(3).tolist(),
}


def lab(colours: Array, sight: str = "none") -> Array:
    """CIE L*a*b* of sRGB colours (n, 3), as seen with a deficiency."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(_BLIND[sight]).T, 0, 1)
    t = seen @ _XYZ.T / _XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])


def is_monotonic(colours: Array) -> bool:
    return bool((np.diff(lab(colours)[:, 0]) > 0).all())


def nearest(colours: list[str], sight: str) -> float:
    """The smallest CIE76 difference between any two colours."""
    seen = lab(np.array([to_rgb(colour) for colour in colours]), sight)
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("look", sorted(style.STYLES))
def test_colour_maps_get_lighter_throughout_so_that_they_are_legible_in_grey(look: str) -> None:
    name = style.get(look)["image.cmap"]
    for cmap in (mpl.colormaps[name], style.pale(name)):
        assert is_monotonic(cmap(np.linspace(0, 1, 64))[:, :3])
    assert not is_monotonic(mpl.colormaps["jet"](np.linspace(0, 1, 64))[:, :3])


@pytest.mark.parametrize("sight", sorted(_BLIND))
@pytest.mark.parametrize("look", sorted(style.STYLES))
def test_colours_of_lines_differ_also_for_the_colour_blind(look: str, sight: str) -> None:
    # A difference of 2.3 is just noticeable side by side (Mahy et al. 1994); thin lines need several times that.
    colours = style.get(look)["axes.prop_cycle"].by_key()["color"]
    assert nearest(colours, sight) > 15


def test_the_colours_of_matplotlib_would_not_do() -> None:
    usual = [to_hex(colour) for colour in mpl.colormaps["tab10"].colors]
    assert nearest(usual, "none") > 15
    assert nearest(usual, "deuteranopia") < 10


@pytest.mark.parametrize("look", sorted(style.STYLES))
def test_colours_of_lines_stand_out_from_the_ground(look: str) -> None:
    rc = style.get(look)
    ground = lab(np.array([to_rgb(rc.get("axes.facecolor", "white"))]))[0, 0]
    for colour in rc["axes.prop_cycle"].by_key()["color"]:
        assert abs(lab(np.array([to_rgb(colour)]))[0, 0] - ground) > 25, colour


def test_larger_type_makes_larger_pictures_by_its_square_root() -> None:
    plain, loud = render.contour(plane()), render.contour(plane(), rc=style.talk())
    np.testing.assert_allclose(loud.get_size_inches(), np.sqrt(1.4) * plain.get_size_inches())


def test_the_floor_of_a_dark_relief_has_lines_that_are_seen() -> None:
    fig = compose([Panel({"a": plane()}, view="3d")], style="dark")
    (ax,) = panels_of(fig)
    lines = [c for c in ax.collections if isinstance(c, QuadContourSet)]
    drawn = lab(np.asarray(lines[0].get_edgecolor())[:, :3])[:, 0]
    ground = lab(np.array([to_rgb(style.dark()["axes.facecolor"])]))[0, 0]
    assert drawn.min() - ground > 25


# --- files and manners -----------------------------------------------------------------------------------


def test_a_composed_figure_has_the_same_bytes_and_leaves_the_session_alone(tmp_path: File) -> None:
    def settings() -> dict[str, object]:
        return dict(dict.items(mpl.rcParams))

    before = settings()
    one = render.save(compose([Panel(PATHS)]), tmp_path / "one.pdf").read_bytes()
    assert settings() == before
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        two = render.save(compose([Panel(PATHS)]), tmp_path / "two.pdf").read_bytes()
    assert one == two
    assert b"FontFile2" in one


def test_the_example_in_the_documentation_runs(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = {"line.h5": line(), "later-line.h5": line(3.0), "plane.h5": plane(), "later-plane.h5": plane(3.0)}
    text = (ROOT / "docs" / "figures.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("landscape.surface.store.read_surface", slices.__getitem__)
    exec(compile(example, "docs/figures.md", "exec"), {})
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_documentation_names_every_width() -> None:
    text = (ROOT / "docs" / "figures.md").read_text()
    for name in WIDTHS:
        assert f"`{name.removesuffix('-column') if name != 'one-column' else name}`" in text


# --- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: compose([]), "panels: there is nothing to draw; got none; expected at least one Panel"),
        (
            lambda: compose([Panel(TWO), Panel({})]),
            "panel (b): the panel has no slice; got no runs; expected at least one",
        ),
        (
            lambda: compose([Panel({"a": line(), "b": plane()})]),
            "panel (a): the slices of one panel are of one kind; got a: curve, b: surface; "
            "make a panel of each kind",
        ),
        (
            lambda: compose([Panel({"a": plane(), "b": travelled()})]),
            "panel (a): the slices of one panel are of one kind; got a: surface, b: trajectory; "
            "make a panel of each kind",
        ),
        (
            lambda: compose([Panel(MAPS, field="trian_loss")]),
            "panel (a), run 'small batch': the surface has no field 'trian_loss'; "
            "expected one of train_loss, test_loss, train_error; did you mean 'train_loss'?",
        ),
        (
            lambda: compose([Panel({"a": line(), "b": replace(line(), fields={"train_error": line().x})})]),
            "panel (a), run 'b': the surface has no loss, which other runs of the panel have; got train_error; "
            "choose a field that all have",
        ),
        (
            lambda: compose([Panel({"a": replace(line(), fields={})})]),
            "panel (a), run 'a': the surface has no values to draw",
        ),
        (
            lambda: compose([Panel(MAPS, view="contuor")]),
            "panel (a): there is no view 'contuor'; did you mean 'contour'?",
        ),
        (
            lambda: compose([Panel(TWO, view="3d")]),
            "panel (a): a curve has one view only; got 3d; leave it out",
        ),
        (
            lambda: compose([Panel(TWO)], width="nuerips"),
            "width: there is no width 'nuerips'; did you mean 'neurips'? or give a number of inches",
        ),
        (
            lambda: compose([Panel(TWO)], width=0),
            "width: a page cannot have this size; got 0; expected inches, more than 0 and at most 100",
        ),
        (
            lambda: compose([Panel(TWO)], height=float("nan")),
            "height: a page cannot have this size; got nan; expected inches, more than 0 and at most 100",
        ),
        (lambda: compose([Panel(TWO)], style="papr"), "style: there is no style 'papr'; did you mean 'paper'?"),
        (
            lambda: compose([Panel(TWO)], columns=0),
            "columns: a figure needs a column; got 0; expected 1 or more",
        ),
        (
            lambda: compose([Panel(MAPS)], width=1.0),
            "compose: the words leave no room for the panels; got 1 x any height inches; make the figure larger",
        ),
    ],
)
def test_messages(act: Callable[[], object], message: str) -> None:
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        act()
