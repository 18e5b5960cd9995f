"""Pages from the command, a recipe and Python, and what is said where there is none."""

import json
import re
import sys

import numpy as np
import pytest

import landscape as ls
from landscape import LandscapeError, problems
from landscape.pages import page_of
from landscape.recipe import RecipeError, load
from landscape.surface import save_surface
from landscape.training import Settings, train
from landscape.values.spectrum import End, Spectrum
from landscape.values.surface import Surface


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("plotly", reason="interactive pages need plotly")
    file = tmp_path_factory.mktemp("runs") / "a.h5"
    train(problems.build("digits-mlp", {"width": 4}), file, Settings(epochs=3, batch_size=512))
    return file


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.mark.parametrize("kind", ["curve --points 5", "mds", "metrics", "trajectory --points 4"])
def test_the_command_writes_a_page_beside_one_plotly(kind, run, tmp_path, landscape):
    page = tmp_path / "page.html"
    outcome = landscape("plot", run, "--kind", *kind.split(), "-o", page, "--shared-plotly", "--title", "A <b>")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "plotly.js").stat().st_size > 3e6
    assert page.stat().st_size < 200_000
    assert "<h1>A &lt;b&gt;</h1>" in page.read_text()


def test_a_stored_surface_becomes_a_page_with_its_script_inside(tmp_path, landscape):
    pytest.importorskip("plotly", reason="interactive pages need plotly")
    surface = Surface(np.arange(3.0), np.arange(2.0), {"train_loss": np.arange(6.0).reshape(2, 3)})
    save_surface(surface, tmp_path / "s.h5")
    assert landscape("plot", tmp_path / "s.h5", "-o", tmp_path / "s.html").code == 0
    text = (tmp_path / "s.html").read_text()
    assert len(text) > 3e6
    assert data_of(text)["frames"][0]["values"]["train_loss"]["shape"] == "2, 3"


def test_planes_of_several_steps_are_in_their_order():
    slices = {
        name: Surface(np.arange(2.0), np.arange(2.0), {"train_loss": np.ones((2, 2))}, meta={"step": step})
        for name, step in (("b", 20), ("a", 3))
    }
    made = page_of(slices)
    assert [frame["label"] for frame in made.data["frames"]] == ["step 3", "step 20"]
    assert "Training time" in "".join(made.body)


def test_spectra_say_which_end_has_not_converged():
    ends = End(2.0, 1e-9, True), End(float("nan"), 1.0, False)
    found = Spectrum(np.linspace(-1, 3, 9), np.ones((2, 9)) / 4, 0.1, 0.1, 9, 1.0, 0.1, 2.0, 0.2, *ends)
    made = page_of(found)
    assert [line["name"] for line in made.data["charts"][0]["lines"]] == ["mean of the probes", "largest 2"]
    assert "smallest eigenvalue not converged" in "".join(made.body)


def test_what_has_no_page_says_so(run, tmp_path, landscape):
    outcome = landscape("plot", run, "--kind", "path", "-o", tmp_path / "x.html")
    assert outcome.code == 2
    assert "a picture of kind path has no interactive page; curve, surface, trajectory" in outcome.err
    outcome = landscape("plot", run, "--kind", "curve", "-o", tmp_path / "x.html", "--width", "5")
    assert outcome.err == "landscape: --width cannot change a picture of kind curve as a page; leave it out\n"
    outcome = landscape("plot", run, "--kind", "curve", "-o", tmp_path / "x.png", "--shared-plotly")
    assert outcome.err == "landscape: --shared-plotly is of html pages; leave it out, or give -o NAME.html\n"
    with pytest.raises(LandscapeError, match=r"^there is no interactive page of this; got int; expected slices, "):
        page_of(3)


def test_without_plotly_the_remedy_is_told_before_anything_is_computed(run, tmp_path, landscape, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    outcome = landscape("plot", run, "--kind", "curve", "-o", tmp_path / "x.html")
    assert (outcome.code, outcome.err) == (
        2,
        "landscape: interactive pages: plotly is not installed; pip install plotly\n",
    )


def test_a_recipe_has_a_page_of_one_panel(run, tmp_path):
    recipe, panel = tmp_path / "recipe.toml", '[[panel]]\nkind = "metrics"\n'
    head = f'# Words.\n[run.a]\nfile = "{run}"\n[figure]\nformats = ["html"]\n'
    recipe.write_text(head + panel)
    report = ls.recipe.render(recipe)
    assert report.done
    assert sorted(file.name for file in recipe.parent.joinpath("gallery").iterdir()) == [
        "plotly.js",
        *(f"recipe.{ending}" for ending in ("html", "npz", "png")),
    ]
    recipe.write_text(head + panel + panel)
    with pytest.raises(
        RecipeError, match=r"line 5, figure.formats: a page is of one panel, got 2; leave html out"
    ):
        load(recipe)
