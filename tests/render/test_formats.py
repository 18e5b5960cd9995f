"""Files of pictures: formats, fonts and transparent ground."""

import re

import numpy as np
import pytest
from PIL import Image

from landscape import render
from landscape.recipe import render as render_recipes
from landscape.render.style import STYLES
from landscape.values.surface import Surface, grid


def surface():
    axes = grid((6, 5))
    x, y = np.meshgrid(axes.x, axes.y)
    return Surface(axes.x, axes.y, {"train_loss": 1 + x**2 + 2 * y**2}, meta={"kind": "surface"})


def corner(path):
    """Red, green, blue and opacity of the first pixel."""
    with Image.open(path) as picture:
        return picture.convert("RGBA").getpixel((0, 0))


@pytest.mark.parametrize("style", STYLES)
def test_fonts_are_embedded_as_truetype(tmp_path, style):
    with render.Look(style=style, title="A title with μ and ≤").applied():
        render.save(render.contour(surface()), tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    # ISO 32000, table 122: FontFile2 is an embedded TrueType font; Type3 is what publishers refuse.
    assert len(re.findall(rb"/FontFile2\b", content)) == len(re.findall(rb"/Type /FontDescriptor\b", content)) >= 1
    assert b"/Type3" not in content


@pytest.mark.parametrize("style", STYLES)
def test_the_ground_is_transparent_where_that_is_asked_for(tmp_path, style):
    for transparent in (None, True, False):
        with render.Look(style=style, transparent=transparent).applied():
            figure = render.contour(surface())
        render.save(figure, tmp_path / f"{transparent}.png")
        render.save(figure, tmp_path / f"{transparent}.svg")
    assert corner(tmp_path / "True.png")[3] == 0
    assert corner(tmp_path / "None.png")[3] == corner(tmp_path / "False.png")[3] == 255
    assert (tmp_path / "None.png").read_bytes() == (tmp_path / "False.png").read_bytes()
    ground = re.compile(r'id="patch_1">\s*<path[^>]*style="fill: (\S+?)[;"]')
    assert ground.search((tmp_path / "True.svg").read_text())[1] == "none"
    assert ground.search((tmp_path / "None.svg").read_text())[1] != "none"
    # What is drawn stays: the middle of the map has its colour.
    with Image.open(tmp_path / "True.png") as picture:
        assert np.asarray(picture.convert("RGBA"))[..., 3].max() == 255


def test_the_command_leaves_the_ground_transparent(landscape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert landscape("train", "toy-quadratic", "-o", "run.h5", "--epochs", 2, "--lr", 0.05).code == 0
    for options in (["--transparent"], ["--no-transparent"]):
        done = landscape("plot", "run.h5", "--kind", "metrics", "-o", f"{options[0]}.png", *options)
        assert done.code == 0, done.err
    assert corner(tmp_path / "--transparent.png")[3] == 0
    assert corner(tmp_path / "--no-transparent.png")[3] == 255


@pytest.mark.parametrize("formats", ["['svg']", "['pdf']", "['png', 'pdf', 'svg']"])
def test_a_recipe_makes_the_formats_that_it_names(tmp_path, formats):
    (tmp_path / "a.toml").write_text(
        f"# A caption.\n[figure]\nformats = {formats}\ntransparent = true\nstyle = 'talk'\ndpi = 150\n"
        "[run.base]\nproblem = 'toy-quadratic'\nepochs = 2\nlr = 0.05\n[[panel]]\nkind = 'metrics'\n"
    )
    report = render_recipes([tmp_path / "a.toml"])
    assert report.done, [failure for recipe in report.recipes for failure in recipe.errors]
    made = {path.suffix for path in (tmp_path / "gallery").glob("a.*")}
    assert made == {".png", ".npz", *(f".{name}" for name in ("pdf", "svg") if name in formats)}
    assert corner(tmp_path / "gallery" / "a.png")[3] == 0
    if "pdf" in formats:
        assert b"/FontFile2" in (tmp_path / "gallery" / "a.pdf").read_bytes()
    with Image.open(tmp_path / "gallery" / "a.png") as picture:
        assert picture.info["dpi"][0] == pytest.approx(150, rel=0.01)
        assert picture.width >= 150 * 6
