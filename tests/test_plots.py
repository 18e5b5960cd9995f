"""Kinds of pictures: the same from a command, a recipe and Python, and in the look that is asked for."""

import tomllib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.text import Text
from PIL import Image

import landscape as ls
from landscape import LandscapeError, problems, render
from landscape.plots import KINDS
from landscape.recipe import RecipeError, load
from landscape.recipe import render as render_recipes
from landscape.render.contours import colour_scale
from landscape.render.look import Look
from landscape.surface.values import Surface
from landscape.training import Settings, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short runs: a.h5 and b.h5."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate("ab"):
        objective = problems.build("digits-mlp", {"width": 4}, seed=seed)
        train(objective, folder / f"{name}.h5", Settings(epochs=3, seed=seed, batch_size=512))
    return folder


# Kind -> runs, its options, and those of its look.
PICTURES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "curve": ("a", {"points": 5}, {"style": "dark", "title": "A line", "log": True, "dpi": 90}),
    "surface": ("a", {"points": 4}, {"cmap": "magma", "levels": 5, "vmin": 1.5, "no_caption": True}),
    "trajectory": ("a", {"points": 4}, {"title": "A way", "levels": 4}),
    "spectrum": ("a", {"probes": 2, "lanczos": 5, "subset": 50}, {"style": "talk", "log": False}),
    "path": ("a", {}, {"title": "Components", "height": 5.0}),
    "mds": ("ab", {}, {"style": "dark", "title": "Distances"}),
    "metrics": ("a", {}, {"columns": 1, "vmin": 0.0}),
    "measure": ("ab", {"measures": ["fisher_rao_norm"]}, {"title": "Norms", "vmax": 2000.0}),
    "interpolate": ("ab", {"points": 3}, {"style": "talk", "title": "Between", "vmax": 5.0}),
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
