"""Kinds of pictures: the same from a command, a recipe and Python, and in the look that is asked for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.contour import QuadContourSet
from matplotlib.text import Text
from PIL import Image

import landscape as ls
from landscape import LandscapeError, plots, problems, render
from landscape.plots import KINDS
from landscape.projection import directions
from landscape.recipe import RecipeError, load
from landscape.recipe import render as render_recipes
from landscape.render.contours import colour_scale
from landscape.render.interpolators import Interpolators, interpolators
from landscape.render.look import Look, current
from landscape.surface import read_surface
from landscape.training import Settings, train
from landscape.trajectory import open_trajectory
from landscape.values.surface import Surface


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short runs: a.h5 and b.h5."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate("ab"):
        objective = problems.build("digits-mlp", {"width": 4}, seed=seed)
        train(objective, folder / f"{name}.h5", Settings(epochs=3, seed=seed, batch_size=512, record=("update",)))
    return folder


# Kind -> runs, its options, and those of its look.
PICTURES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "curve": ("a", {"points": 5}, {"style": "dark", "title": "A line", "log": True, "dpi": 90}),
    "surface": ("a", {"points": 4}, {"cmap": "magma", "levels": 5, "vmin": 1.5, "no_caption": True}),
    "trajectory": ("a", {"points": 4}, {"title": "A way", "levels": 4}),
    "basins": ("a", {"points": 4}, {"title": "Basins", "style": "dark"}),
    "spectrum": ("a", {"probes": 2, "lanczos": 5, "subset": 50}, {"style": "talk", "log": False}),
    "path": ("a", {}, {"title": "Components", "height": 5.0}),
    "mds": ("ab", {}, {"style": "dark", "title": "Distances"}),
    "metrics": ("a", {}, {"columns": 1, "vmin": 0.0}),
    "measure": ("ab", {"measures": ["fisher_rao_norm"]}, {"title": "Norms", "vmax": 2000.0}),
    "optimizer": ("ab", {"at": "0,6"}, {"title": "Edges"}),
    "blocks": ("a", {"probes": 2, "lanczos": 3, "subset": 20}, {"style": "talk", "no_caption": True}),
    "interpolate": ("ab", {"points": 3}, {"style": "talk", "title": "Between", "vmax": 5.0}),
    "alignment": ("ab", {"points": 3, "split": "test"}, {"style": "dark"}),
    "orbit": (
        "a",
        {"positions": 3, "points": 5, "measures": ["fisher_rao_norm"], "subset": 50},
        {"title": "An orbit", "dpi": 90},
    ),
    "perturb": ("a", {"draws": 2, "scales": 2}, {"dpi": 80}),
}


def words_of(value: Any) -> str:
    """An option as TOML has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(words_of, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def arguments_of(options: dict[str, Any]) -> list[str]:
    """Options as a command line has them."""
    found = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            found.append({"log": "--log" if value else "--linear"}.get(name, option))
        else:
            found += [option, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return found


@pytest.mark.parametrize("kind", PICTURES)
def test_the_same_options_give_the_same_picture_from_everywhere(kind, runs, tmp_path, landscape):
    names, own, look = PICTURES[kind]
    look = {"width": "two-columns"} | look
    files = [str(runs / f"{name}.h5") for name in names]

    outcome = landscape(
        "plot",
        *files,
        "--kind",
        kind,
        *arguments_of(own | look),
        "-o",
        tmp_path / "command.png",
        "--device",
        "cpu",
    )
    assert outcome.code == 0, outcome.err
    # A lone run is not named in a picture.
    called = names if len(names) > 1 else ["other"]
    recipe = [f'[run.{name}]\nfile = "{file}"' for name, file in zip(called, files, strict=True)]
    recipe += [f'[[panel]]\nkind = "{kind}"', *(f"{name} = {words_of(value)}" for name, value in own.items())]
    recipe += ["[figure]", *(f"{name} = {words_of(value)}" for name, value in look.items())]
    (tmp_path / "recipe.toml").write_text("# A caption.\n" + "\n".join(recipe) + "\n")
    report = render_recipes(tmp_path / "recipe.toml", device="cpu")
    assert report.done, [(one.faults, one.failures) for one in report.recipes]
    figure = KINDS[kind](files, **own, **look)
    render.save(figure, tmp_path / "python.png")

    pictures = [tmp_path / "command.png", tmp_path / "gallery" / "recipe.png", tmp_path / "python.png"]
    assert pictures[0].read_bytes() == pictures[2].read_bytes()
    assert pictures[1].read_bytes() == pictures[2].read_bytes()


# --- looks -----------------------------------------------------------------------------------------------


def test_a_slice_goes_on_with_the_generator_that_began_it(runs, tmp_path, monkeypatch):
    """A file that names no generator is not gone on with by another, however many numbers move by now."""
    run, kept, whole = open_trajectory(runs / "a.h5"), tmp_path / "s.h5", tmp_path / "whole.h5"
    how = {"points": 9, "engine": "sequential", "tune": "batch_size=64,rewrite=no"}

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    plots.curve(run, save=whole, **how)
    with pytest.raises(KeyboardInterrupt):
        plots.curve(run, save=kept, progress=stop, **how)
    begun = read_surface(kept)
    assert not begun.done.all()
    assert "generator" not in begun.meta["plane"]
    monkeypatch.setattr(directions, "MANY_NUMBERS", 1)
    plots.curve(run, save=kept, **how)
    assert kept.read_bytes() == whole.read_bytes()
    with pytest.raises(LandscapeError, match="generator"):
        plots.curve(run, save=kept, generator="blocks", **how)
    plots.curve(run, save=tmp_path / "new.h5", **how)
    assert read_surface(tmp_path / "new.h5").meta["plane"]["generator"] == "blocks"


def plane(values: np.ndarray | None = None, **meta: Any) -> Surface:
    """A bowl from 1 to 9, or other values, on [-1, 1] x [-1, 1]."""
    x = np.linspace(-1.0, 1.0, 21)
    bowl = 1.0 + 4.0 * (x[None, :] ** 2 + x[:, None] ** 2)
    return Surface(x, x, {"train_loss": bowl if values is None else values}, meta={"kind": "surface", **meta})


def line() -> Surface:
    x = np.linspace(-1.0, 1.0, 11)
    return Surface(x, None, {"train_loss": 1.0 + x**2, "train_error": 0.1 + 0.1 * x**2}, meta={"kind": "curve"})


def filled_on(figure: Any) -> QuadContourSet:
    return next(c for c in figure.axes[0].collections if isinstance(c, QuadContourSet) and c.filled)


def lines_on(figure: Any) -> np.ndarray:
    return np.concatenate(
        [c.levels for c in figure.axes[0].collections if isinstance(c, QuadContourSet) and not c.filled]
    )


def words_in(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("kind", ["surface", "composed", "levels"])
@pytest.mark.parametrize("count", [2, 7, 30])
@pytest.mark.parametrize("limits", [{}, {"vmin": 2.0, "vmax": 8.0}, {"log": True}])
def test_as_many_level_lines_as_asked_for(kind, count, limits):
    with Look(levels=count, **limits).applied():
        if kind == "composed":
            figure = render.compose([render.Panel({"a": plane()})])
        else:
            figure = render.picture(plane(), view="levels" if kind == "levels" else "contour")
    levels = lines_on(figure)
    assert len(levels) == count
    # Even on the scale, which is logarithmic where that is asked for.
    assert np.diff(levels) == pytest.approx(np.diff(levels)[0])


def test_limits_of_colours_and_what_lies_beyond():
    with Look(vmin=2.0, vmax=8.0).applied():
        figure = render.contour(plane())
    filled = filled_on(figure)
    assert (filled.norm.vmin, filled.norm.vmax) == (2.0, 8.0)
    # Nothing is left blank, and the bar says that there is less and more.
    figure.draw_without_rendering()
    assert {"< 2", "> 8"} <= set(words_in(figure))
    seen = colour_scale(plane(), "train_loss")
    assert (seen.low, seen.high, seen.clipped, seen.under) == (1.0, 9.0, False, False)
    with Look(vmin=0.0, vmax=10.0).applied():
        filled = filled_on(render.contour(plane()))
    assert (filled.norm.vmin, filled.norm.vmax) == (0.0, 10.0)


def test_values_below_a_scale_are_drawn_in_its_first_colour():
    with Look(vmin=5.0).applied():
        figure = render.contour(plane())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ax, pixels = figure.axes[0], np.asarray(canvas.buffer_rgba())
    # Beside the mark of the centre, where the loss is 1.2.
    x, y = ax.transData.transform((0.2, 0.1))
    lowest = filled_on(figure).get_cmap()(filled_on(figure).norm(filled_on(figure).levels[:2].mean()))
    assert pixels[pixels.shape[0] - 1 - int(y), int(x), :3] / 255 == pytest.approx(lowest[:3], abs=0.02)


def test_a_logarithm_that_is_asked_for_or_refused():
    steep = plane(10.0 ** (4 * (plane()["train_loss"] - 1.0) / 8.0))
    for log, wide in ((None, True), (True, True), (False, False)):
        with Look(log=log).applied():
            assert colour_scale(steep, "train_loss").log is wide
            figure = render.curve(Surface(steep.x, None, {"train_loss": steep["train_loss"][10] ** 2}))
            assert figure.axes[0].get_yscale() == ("linear" if log is False else "log")
    with (
        Look(log=True).applied(),
        pytest.raises(LandscapeError, match=r"positive values only; got -1; give a vmin"),
    ):
        render.contour(plane(plane()["train_loss"] - 2.0))
    with Look(log=True, vmin=0.5).applied():
        scale = colour_scale(plane(plane()["train_loss"] - 2.0), "train_loss")
    assert (scale.log, scale.low, scale.under) == (True, 0.5, True)


def test_limits_are_for_the_axis_of_the_first_metric():
    with Look(vmin=0.5, vmax=3.0, log=True).applied():
        figure = render.curve(line())
    loss, error = figure.axes
    assert (loss.get_ylim(), loss.get_yscale()) == ((0.5, 3.0), "log")
    assert (error.get_ylim()[1] < 30, error.get_yscale()) == (True, "linear")
    with Look(vmin=0.5, vmax=3.0).applied():
        figure = render.compose(
            [
                render.Panel({"a": line()}),
                render.Panel({"a": line()}, field="train_error"),
                render.Panel({"a": plane()}),
            ]
        )
    assert [ax.get_ylim() == (0.5, 3.0) for ax in figure.axes[:2]] == [True, False]
    assert filled_on(type("Page", (), {"axes": figure.axes[2:]})).norm.vmax == 3.0


def test_limits_without_a_value_between_are_refused():
    with Look(vmin=20.0).applied():
        with pytest.raises(
            LandscapeError, match=r"no value lies within the limits of the scale; got values from 1 to 9"
        ):
            render.contour(plane())
        with pytest.raises(
            LandscapeError, match=r"no value lies within the limits of the axis; got values from 1 to 2"
        ):
            render.curve(line())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"vmin": 2.0, "vmax": 1.0}, "vmin is to be below vmax; got 2 and 1"),
        ({"log": True, "vmin": 0.0}, "a logarithmic scale has positive values only; got vmin 0; leave out log"),
        ({"cmap": "virids"}, "there is no colour map 'virids'; did you mean 'viridis'?"),
    ],
)
def test_looks_that_cannot_be(given, said):
    with pytest.raises(LandscapeError) as caught:
        Look(**given)
    assert str(caught.value) == said


def test_the_colour_map_of_maps_and_reliefs():
    with Look(cmap="cividis").applied():
        assert filled_on(render.contour(plane())).get_cmap().name == "cividis"
        relief = render.surface3d(plane()).axes[0].collections[0]
        composed = render.compose([render.Panel({"a": plane()})])
    assert (relief.get_cmap().name, filled_on(composed).get_cmap().name) == ("cividis", "cividis")
    assert render.style.pale("cividis").name == "cividis-pale"
    assert filled_on(render.contour(plane())).get_cmap().name == "viridis"


@pytest.mark.parametrize("height", [None, 4.0])
def test_size_dots_and_foot(tmp_path, height):
    look = Look(width="icml-column", height=height, dpi=100, no_caption=True, title="A title")
    meta = {"problem": "digits-mlp", "step": 3}
    with look.applied():
        figures = {
            "contour": render.contour(plane(**meta)),
            "compose": render.compose([render.Panel({"a": plane(**meta)})]),
        }
    for name, figure in figures.items():
        with Image.open(render.save(figure, tmp_path / f"{name}.png")) as picture:
            assert picture.width == 325
            assert height is None or picture.height == 400
        said = words_in(figure)
        assert said.count("A title") == 1
        assert not any("digits-mlp" in words for words in said)
    # The failing control.
    assert any("digits-mlp" in words for words in words_in(render.contour(plane(**meta))))


def test_the_title_of_a_panel_and_of_its_figure(runs):
    surface = KINDS["surface"]
    shown = ls.plots.Shown({"a": plane()}, surface.options(), "Of the panel")
    for look in (Look(), Look(width=5.0)):
        assert words_in(surface.drawn([shown], look)).count("Of the panel") == 1
    both = words_in(surface.drawn([shown], Look(width=5.0, title="Of the figure")))
    assert (both.count("Of the panel"), both.count("Of the figure")) == (1, 1)
    titled = ls.plots.path(runs / "a.h5", title="A path")
    assert titled.get_suptitle().startswith("A path\nTwo components hold")


@pytest.mark.parametrize("style", ["paper", "talk", "dark"])
def test_a_style_reaches_every_picture(style, runs):
    rc = render.style.get(style)
    files = [runs / "a.h5", runs / "b.h5"]
    for kind, options in (("metrics", {}), ("mds", {}), ("path", {}), ("curve", {"points": 3, "width": 5.0})):
        figure = KINDS[kind](files, style=style, **options)
        assert mpl.colors.same_color(figure.get_facecolor(), rc.get("figure.facecolor", "white"))
        assert figure.axes[0].xaxis.label.get_size() == rc["axes.labelsize"]
    # An argument goes before the look in use, which goes before the default.
    with Look(style="talk").applied():
        dark = render.compose([render.Panel({"a": plane()})], style="dark")
    assert mpl.colors.same_color(dark.get_facecolor(), render.style.dark()["figure.facecolor"])


MEANINGLESS = [
    ("spectrum", "levels", 5),
    ("audit", "vmin", 1.0),
    ("path", "cmap", "magma"),
    ("curve", "cmap", "magma"),
]


@pytest.mark.parametrize(("kind", "name", "value"), MEANINGLESS)
def test_what_means_nothing_is_refused_everywhere(kind, name, value, runs, tmp_path, landscape):
    file, said = runs / "a.h5", f"{name} cannot change a picture of kind {kind}; leave it out"
    outcome = landscape("plot", file, "--kind", kind, f"--{name}", value, "-o", tmp_path / "x.png")
    assert (outcome.code, outcome.err) == (2, f"landscape: --{said}\n")
    with pytest.raises(LandscapeError) as caught:
        KINDS[kind](file, **{name: value})
    assert str(caught.value) == said
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'# Words.\n[run.a]\nfile = "{file}"\n[[panel]]\nkind = "{kind}"\n[figure]\n{name} = {words_of(value)}\n'
    )
    with pytest.raises(RecipeError, match=f"line 7, figure.{said.replace(' cannot', ': cannot')}$"):
        load(recipe)


def test_given_axes_have_a_page_of_their_own(runs):
    ax = mpl.figure.Figure().add_subplot()
    with pytest.raises(LandscapeError, match=r"^style, title cannot change .* surface on given axes"):
        ls.plots.surface(runs / "a.h5", ax=ax, title="T", style="dark")
    shown = ls.plots.Shown({"a": plane()}, KINDS["surface"].options())
    KINDS["surface"].drawn([shown], Look(cmap="cividis", levels=4), ax)
    assert filled_on(ax.figure).get_cmap().name == "cividis"
    assert len(lines_on(ax.figure)) == 4


def test_every_kind_says_what_it_heeds():
    known = set(Look().plain())
    for kind in KINDS.values():
        assert (
            {"style", "width", "height", "title", "dpi", "transparent", "no_caption"}
            <= set(kind.heeds(kind.options()))
            <= known
        )


@pytest.mark.parametrize("width", ["two-columns", "icml-column"])
def test_axes_of_a_row_share_their_limits_also_below_each_other(width):
    # A row per network: population loss, training loss, least trace, traces elsewhere.
    rows = np.array([[1.0, 0.0, 2.0, 30.0], [5.0, 0.0, 4.0, 90.0]])
    shown = Interpolators(None, {"train_size": 4, "dim": 2}, {"trained": rows})
    with Look(width=width, vmin=1.0).applied():
        above, below = interpolators([shown]).axes
    assert above.get_ylim() == below.get_ylim()
    assert above.get_ylim()[0] == 1.0
    assert (above.get_position().x0 == below.get_position().x0) == (width == "icml-column")


def test_a_look_is_of_its_thread():
    with Look(style="talk").applied(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: current().style).result() == "paper"
        assert current().style == "talk"
