"""Recipes of embeddings, and runs that branch off another."""

import numpy as np
import pytest

from landscape.errors import LandscapeError
from landscape.recipe import RecipeError, load, render
from landscape.recipe.cache import Cache
from landscape.recipe.graph import Graph, Where
from landscape.trajectory import open_trajectory

TEXT = """# A caption.
[run.trunk]
problem = "digits-mlp"
options = { width = 4 }
epochs = 2
lr = 0.2

[run.kick]
branch = { of = "trunk", at = 24, noise = "layer-std:0.1", seed = 3, epochs = 1 }

[[panel]]
kind = "mds"
per_layer = true
"""


def test_a_branch_starts_where_its_parent_is_and_is_embedded_with_it(tmp_path):
    (tmp_path / "two.toml").write_text(TEXT)
    recipe = load(tmp_path / "two.toml")
    kick = recipe.runs["kick"]
    # What the table does not say is as in the run that it comes from.
    assert (kick.problem, dict(kick.options), kick.training.rate) == ("digits-mlp", {"width": 4}, 0.2)
    assert (kick.training.epochs, kick.training.seed) == (1, 3)
    report = render(recipe)
    assert report.done
    assert (tmp_path / "gallery" / "two.png").stat().st_size > 0
    graph = Graph(Where())
    entry = graph.add_panel(recipe.panels[0])
    cache = Cache(tmp_path / ".landscape-cache")
    trunk, branch = (
        open_trajectory(cache.path(how, key)) for _, how, key in graph.steps[entry["steps"][0][2]].places["runs"]
    )
    assert branch.parent["parent_run_id"] == trunk.run_id
    assert branch.parent["parent_step"] == 24
    assert branch.parent["perturbation"] == {"noise": "layer-std:0.1", "seed": 3}
    start = trunk[trunk.index_of(24)]
    for name, weight in start.weights.items():
        moved = (branch[0].weights[name] - weight).std() / weight.std()
        # 4 numbers estimate a standard deviation to about a third, 256 to a twentieth.
        assert 0.01 < moved < 0.25
    embeddings = recipe.panels[0].embeddings(cache.folder)
    assert list(embeddings)[-1] == "all layers"
    assert dict(embeddings["all layers"].parents) == {1: trunk.index_of(24)}
    with np.load(tmp_path / "gallery" / "two.npz") as held:
        np.testing.assert_allclose(
            held["0/all layers/coordinates"], embeddings["all layers"].coordinates, rtol=1e-5, atol=1e-6
        )
    with pytest.raises(LandscapeError, match="the panel shows no slices"):
        recipe.panels[0].surfaces(cache.folder)
    assert {report.state for report in render(recipe).recipes} == {"current"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("per_layer = true", "points = 5"), "line 13, panel 1.points: there is no such key"),
        (
            ("per_layer = true", "method = 'metrical'"),
            "line 13, panel 1, method: has no such choice; got 'metrical'",
        ),
        (
            ("per_layer = true", "[[panel]]\nkind = 'curve'"),
            "panels of kind 'mds' are drawn in a figure of their own",
        ),
        (("layer-std:0.1", "layers:0.1"), "there is no noise 'layers'"),
        (('of = "trunk"', 'of = "trunc"'), "there is no run 'trunc' above"),
        (("epochs = 1", "epochs = 0"), "epochs: is out of range; got 0; expected at least 1"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, change, fault):
    (tmp_path / "two.toml").write_text(TEXT.replace(*change))
    with pytest.raises(RecipeError) as refused:
        load(tmp_path / "two.toml")
    assert fault in str(refused.value).replace("panel 1, points", "panel 1.points")
