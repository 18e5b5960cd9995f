"""Panels of branches side by side: their numbers against the weights themselves, and how they are drawn."""

import numpy as np
import pytest

from landscape import LandscapeError, problems
from landscape.params import norm, resolve, subtract
from landscape.pipeline import pair_over_epochs
from landscape.recipe import load, render
from landscape.recipe.cache import Cache
from landscape.recipe.gallery import settings_of
from landscape.recipe.graph import Graph, Where
from landscape.recipe.tasks import run_at

RECIPE = """# Branches of a quadratic.
panel = [
  { kind = "branches", show = "distance" }, { kind = "branches", show = "midpoint", metric = "loss" },
  { kind = "branches", metric = "loss" },
  { kind = "branches", show = "distance", runs = ["trunk", "one"] },
]
[runs]
problem = "toy-quadratic"
epochs = 2
lr = 0.05
[run]
trunk = { seed = 0 }
one = { branch = { of = "trunk", noise = "absolute:0.5", optimizer = "gd", epochs = 3, seed = 1 } }
two = { branch = { of = "trunk", noise = "absolute:0.5", optimizer = "gd", epochs = 3, seed = 2 } }
control = { branch = { of = "trunk", optimizer = "gd", epochs = 3 } }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The recipe, its panels as curves, and its runs."""
    folder = tmp_path_factory.mktemp("branches")
    (folder / "toy.toml").write_text(RECIPE)
    assert render(folder).done
    recipe, cache = load(folder / "toy.toml"), folder / ".landscape-cache"
    graph = Graph(Where())
    runs = {name: run_at(Cache(cache), *graph._add_run(run)) for name, run in recipe.runs.items()}
    return folder, [panel.surfaces(cache) for panel in recipe.panels], runs


def apart(a, b):
    return norm(subtract(resolve(a)[1], resolve(b)[1], [info.name for info in a.layout.moving()]))


def test_distances_are_those_of_the_weights_with_the_noise_as_a_line(made):
    _, (distances, *_), runs = made
    assert list(distances) == ["one \u2013 two", "one \u2013 control", "two \u2013 control"]
    start = runs["trunk"][-1]
    for name, curve in distances.items():
        a, b = (runs[one] for one in name.split(" \u2013 "))
        assert curve.x.tolist() == [0, 1, 2, 3]
        assert curve["weights_distance"] == pytest.approx([apart(*two) for two in zip(a, b, strict=True)])
        pushed = max(apart(start, run[0]) for run in (a, b))
        assert curve.meta["threshold"] == {"value": pytest.approx(pushed), "words": "length of the noise"}
    # The noise is all that parts a branch from its control at first.
    assert distances["one \u2013 control"].values[0] == pytest.approx(apart(start, runs["one"][0]))


def test_midpoints_are_measured_at_equal_epochs_and_branches_by_themselves(made):
    _, (_, midpoints, branches, _), runs = made
    objective = problems.build("toy-quadratic", seed=0)
    for name, curve in midpoints.items():
        a, b = (runs[one] for one in name.split(" \u2013 "))
        expected = [
            objective.value({n: (t + resolve(y)[1][n]) / 2 for n, t in resolve(x)[1].items()})
            for x, y in zip(a, b, strict=True)
        ]
        assert curve["train_loss"] == pytest.approx(expected, rel=1e-6)
        # A quadratic is convex: half way it is below the mean of both, and this is no line through the ends.
        ends = [runs[one].metrics["train_loss"] for one in name.split(" \u2013 ")]
        assert (curve["train_loss"] < np.mean(ends, axis=0)).all()
    for name, curve in branches.items():
        assert curve["train_loss"] == pytest.approx(runs[name].metrics["train_loss"])
        assert curve.meta["axes"] == [{"label": "epochs since branching"}]


def test_the_trunk_among_branches_stays_where_they_left_it(made):
    _, (*_, trunk), runs = made
    (curve,) = trunk.values()
    expected = [apart(runs["trunk"][-1], snapshot) for snapshot in runs["one"]]
    assert curve["weights_distance"] == pytest.approx(expected)


def test_a_trunk_may_move_on_beside_a_branch_that_left_early(tmp_path):
    (tmp_path / "toy.toml").write_text(
        """panel = [{ kind = "branches", show = "distance", trunk = "moving", runs = ["trunk", "early"] }]
        runs = { problem = "toy-quadratic", epochs = 4, optimizer = "gd", lr = 0.05 }
        [run]
        trunk = {}
        early = { branch = { of = "trunk", at = 1, noise = "absolute:0.5", epochs = 2, seed = 3 } }"""
    )
    recipe, cache = load(tmp_path / "toy.toml"), tmp_path / ".landscape-cache"
    assert render(tmp_path / "toy.toml").done
    graph = Graph(Where())
    trunk, early = (run_at(Cache(cache), *graph._add_run(run)) for run in recipe.runs.values())
    (curve,) = recipe.panels[0].surfaces(cache).values()
    assert curve.x.tolist() == [0, 1, 2]
    expected = [apart(*two) for two in zip(list(trunk)[1:4], early, strict=True)]
    assert curve["weights_distance"] == pytest.approx(expected)


def test_the_picture_and_its_numbers_are_there(made):
    folder, (distances, *_), _ = made
    numbers = np.load(folder / "gallery" / "toy.npz")
    assert (folder / "gallery" / "toy.png").stat().st_size > 10_000
    found = numbers["0/one \u2013 two/weights_distance"]
    assert found == pytest.approx(distances["one \u2013 two"].values, rel=1e-6)


def test_a_branch_may_have_a_rate_of_its_own(tmp_path):
    (tmp_path / "own.toml").write_text(RECIPE.replace("seed = 1 }", "seed = 1, lr = 0.2, warmup_epochs = 2 }"))
    recipe = load(tmp_path / "own.toml")
    rates = {name: [run.training.rate_at(step, 3, 1) for step in range(3)] for name, run in recipe.runs.items()}
    assert rates["one"] == pytest.approx([0.1, 0.2, 0.2])
    assert rates["two"] == rates["trunk"] == [0.05] * 3
    lines = dict(zip(recipe.runs, settings_of(recipe), strict=True))
    assert "rate 0.2 (constant after a rise over 2 epochs)" in lines["one"]
    assert "rate 0.05 (constant)" in lines["two"]


def test_runs_of_other_trunks_are_refused(made):
    _, _, runs = made
    objective = problems.build("toy-quadratic", seed=0)
    with pytest.raises(LandscapeError, match="this is no branch of the trunk"):
        pair_over_epochs(runs["one"], [runs["two"], runs["control"]], objective)
