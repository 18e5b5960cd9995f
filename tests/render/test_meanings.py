"""One thing is drawn in one way in all pictures, and what is drawn is what there is."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

import landscape as ls
from landscape.render.experiments import experiments
from landscape.render.log_axes import make_logarithmic
from landscape.render.palette import meaning, run_colours, split_look
from landscape.render.scale import choose, scale_of
from landscape.render.style import STYLES, Sheet
from landscape.values.experiment import Experiment, Series
from landscape.values.probes import Barriers, Interpolation
from landscape.values.surface import Path, Surface

X = np.linspace(-1, 1, 21)


def _line(**fields: np.ndarray) -> Surface:
    meta = {"axes": [{"label": "random direction 1", "unit": "filter norms"}], "dtype": "float32"}
    return Surface(X, None, fields, meta=meta)


def _words(figure: Sheet) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize("style", STYLES)
def test_train_and_test_differ_in_colour_and_dash_alone_and_beside_other_panels(style: str) -> None:
    surface = _line(train_loss=1 + X**2, test_loss=2 + X**2)
    alone = ls.render.curve(surface, metrics=["loss"], rc=STYLES[style]())
    composed = ls.render.compose([ls.render.Panel({"": surface}, "")], style=style)
    for figure in (alone, composed):
        looks = [
            (line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines if len(line.get_xdata()) > 2
        ]
        with figure.styled():
            assert looks == [split_look(split, ["train", "test"]) for split in ("train", "test")]
        assert looks[0][0] != looks[1][0]
        assert looks[0][1] != looks[1][1]


def _greys(figure: Sheet) -> list[tuple[str, str]]:
    """Mark and dash of all lines over X, without their colours."""
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == len(X)]
    return [(str(line.get_marker()), str(line.get_linestyle())) for line in lines]


def test_runs_paths_and_series_are_told_apart_without_colours() -> None:
    ways = [Interpolation((X + 1) / 2, {"train_loss": X**2}, path=path) for path in ("line", "bezier")]
    series = tuple(Series(f"{name} {line}", X, X**2, line=line) for line in (True, False) for name in "ab")
    drawn = {
        "runs": ls.render.compose([ls.render.Panel({run: _line(train_loss=X**2) for run in "abc"}, "")]),
        "paths": ls.render.interpolation(ways),
        "series": experiments([Experiment("closed form", "x", "y", series)]),
    }
    for figure in drawn.values():
        looks = _greys(figure)
        assert len(looks) == len(set(looks)) > 1
    # A lone run needs no marks.
    alone = ls.render.compose([ls.render.Panel({"a": _line(train_loss=X**2)}, "")])
    assert _greys(alone) == [("None", "-")]


def test_the_real_loss_and_that_in_the_plane_differ_in_colour_and_dash() -> None:
    real, plane = meaning("real"), meaning("in-plane")
    assert real.colour != plane.colour
    assert real.dash != plane.dash


def test_many_runs_have_unlike_colours_that_are_in_no_order_of_lightness() -> None:
    for count in (9, 12, 20):
        with Sheet(3.4, 2.0).styled():
            colours = run_colours([f"run {i}" for i in range(count)])
        assert len(set(colours.values())) == count
        light = [sum(to_rgb(colour)) for colour in colours.values()]
        assert light not in (sorted(light), sorted(light, reverse=True))


def test_low_barriers_have_the_colour_of_low_losses() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0]])
    figure = ls.render.barriers(Barriers(["a", "b"], {"train_loss": values}, values, "frozen", 3))
    image = figure.axes[0].images[0]
    assert image.get_cmap().name == figure.look["image.cmap"]
    assert image.norm(0.0) < image.norm(1.0)


def _paths(statistics: bool) -> list[Interpolation]:
    t = np.linspace(0, 1, 5)
    how = {"labels": ("a", "b"), "distance": 1.0, "meta": {"statistics": statistics}}
    fields = {"train_loss": 1 + t * (1 - t)}
    return [Interpolation(t=t, fields=fields, path="line", bn=bn, **how) for bn in ("frozen", "recalibrate")]


def test_policies_for_statistics_that_a_model_does_not_have_are_one_curve() -> None:
    for statistics, count in ((True, 2), (False, 1)):
        figure = ls.render.interpolation(_paths(statistics))
        curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 5]
        assert len(curves) == count
        foot = " ".join(figure.get_supxlabel().split())
        assert ("no normalisation statistics: one curve for all policies" in foot) == (not statistics)


def test_ratios_have_the_colours_of_their_own_range() -> None:
    scale = scale_of("train_hessian_ratio", [0.01, 0.02, 0.05])
    assert (scale.low, scale.high, scale.log) == (0.01, 0.05, False)


def test_a_loss_that_touches_zero_at_a_point_has_a_floor_and_says_so() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    values = (x - 1e-9) ** 4 + (3 * y) ** 4
    scale = choose(values)
    assert values.min() < 1e-30
    assert scale.log
    assert scale.under
    assert 1e-5 < scale.low < 0.1
    assert np.mean(values < scale.low) <= 0.01
    assert scale.names(scale.ticks())[0].startswith("< ")


@pytest.mark.parametrize("height", [1.5, 2.0, 4.0])
def test_the_floor_of_a_scale_is_named_at_every_colour_bar(height: float) -> None:
    x = np.linspace(-1, 1, 41)
    surface = Surface(x, x, {"train_loss": (x - 1e-9) ** 4 + (3 * x[:, None]) ** 4})
    with ls.render.Look(height=height).applied():
        figure = ls.render.contour(surface)
    (bar,) = figure.axes[0].child_axes
    assert bar.get_yticklabels()[0].get_text().startswith("< ")


def test_a_smooth_valley_of_many_decades_keeps_them_all() -> None:
    values = np.logspace(-6, 2, 400)
    assert not choose([1e-2, *np.linspace(0.5, 20, 120)]).under
    assert not choose(values).under


def test_rounding_is_a_flat_line_with_a_note() -> None:
    noise = 1e-6 * (-1) ** np.arange(len(X))
    figure = ls.render.curve(_line(train_loss=2.3 + noise), metrics=["loss"])
    drawn = figure.axes[0].lines[1].get_ydata()
    assert np.ptp(drawn) == 0
    assert drawn[0] == pytest.approx(2.3)
    assert "constant within rounding" in _words(figure)


def test_a_small_true_rise_is_no_rounding() -> None:
    figure = ls.render.curve(_line(train_loss=2.3 + 1e-4 * X**2), metrics=["loss"])
    assert "constant within rounding" not in _words(figure)


def test_the_axis_of_a_line_says_what_moves() -> None:
    label = ls.render.curve(_line(train_loss=X**2)).axes[-1].get_xlabel()
    assert " ".join(label.split()) == "step α along random direction 1 (filter norms)"


@pytest.mark.parametrize(("low", "high", "plain"), [(2.0, 7.0, True), (0.5, 300.0, True), (1e-9, 1e-2, False)])
def test_numbers_of_logarithmic_axes_are_plain_where_they_are_short(low: float, high: float, plain: bool) -> None:
    sheet = Sheet(3.4, 2.0)
    ax = sheet.add_subplot()
    ax.plot([low, high], [0, 1])
    make_logarithmic(ax.xaxis)
    ax.set_xlim(low, high)
    FigureCanvasAgg(sheet).draw()
    texts = [
        tick.get_text() for tick in (*ax.get_xticklabels(), *ax.get_xticklabels(minor=True)) if tick.get_text()
    ]
    assert texts
    assert all("10^" not in text for text in texts) == plain
    if plain:
        assert all(float(text) > 0 for text in texts)


def test_no_number_of_a_level_line_stands_under_a_path() -> None:
    x = np.linspace(-1, 1, 41)
    values = {"train_loss": x**2 + x[:, None] ** 2}
    steps = np.arange(21)
    # Along the line on which numbers stand of themselves, and away from it.
    free = ls.render.contour(Surface(x, x, values)).axes[0].texts
    ends = [np.array(text.get_position()) for text in free]
    assert ends
    for end in ends:
        way = np.linspace(-end, end, 21)
        path = Path(steps, way[:, 0], way[:, 1], np.zeros(21), np.zeros(21), np.zeros(21))
        ax = ls.render.trajectory(Surface(x, x, values, path=path)).axes[0]
        numbers = [np.array(text.get_position()) for text in ax.texts if not text.get_text().startswith("step")]
        numbers = [place for place in numbers if any(np.allclose(place, other, atol=0.05) for other in ends)]
        assert all(np.abs(way - place).max(axis=1).min() > 0.05 for place in numbers)
