"""Panels with a figure of their own: comparisons, the mixture, interpolators; and their closed forms."""

import math

import numpy as np
import pytest

from landscape import papers
from landscape.errors import LandscapeError
from landscape.measures import measure
from landscape.papers import Student
from landscape.plots.paired import interval, paired
from landscape.problems.mixture import MixtureOptions, draw_mixture
from landscape.problems.multi_index import MultiIndexOptions, draw_multi_index
from landscape.recipe import RecipeError, load, render
from landscape.recipe.cache import Cache
from landscape.recipe.graph import Graph, Where
from landscape.render.labels import field_label
from landscape.render.training_curves import curve_of
from landscape.trajectory import open_trajectory
from landscape.values.measure_table import Table

COMPARISON = """# Ways to train.
[runs]
problem = "digits-mlp"
options = { width = 4, train_size = 100 }
[run.SGD]
epochs = 2
[run.Entropy]
optimizer = "entropy-sgd"
epochs = 1
optimizer_options = { L = 2, gamma = 1.0 }
[[panel]]
kind = "comparison"
seeds = [3, 4]
points = 2
largest_sigma = 0.4
sigma = 0.2
draws = 3
"""
MIXTURE = """# A mixture.
[run.SGD]
problem = "gaussian-mixture"
options = { dim = 20, rho = 0.3, test_size = 10 }
epochs = 1
every = 1
[[panel]]
kind = "mixture"
"""
INTERPOLATORS = """# Interpolators.
[run.trained]
problem = "multi-index"
options = { dim = 5, train_size = 8, width = 20, test_size = 50 }
optimizer = "gd"
lr = 0.05
epochs = 400
every = "400epochs"
[[panel]]
kind = "interpolators"
memorisers = 2
places = 4
"""
_PROBLEM = MIXTURE[MIXTURE.index("problem") : MIXTURE.index("epochs")].strip()
TEXTS = {"comparison": COMPARISON, "mixture": MIXTURE, "interpolators": INTERPOLATORS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The three recipes, rendered."""
    made = tmp_path_factory.mktemp("exhibits")
    for name, text in TEXTS.items():
        (made / f"{name}.toml").write_text(text)
    report = render(made)
    assert report.done, [recipe.errors for recipe in report.recipes]
    return made


def test_a_comparison_is_of_the_runs_and_the_measure(folder):
    recipe = load(folder / "comparison.toml")
    cache, graph = Cache(folder / ".landscape-cache"), Graph(Where())
    goal = graph.add(recipe)
    steps = [step for step in graph.steps.values() if step.kind == "exhibit"]
    assert [step.title for step in steps][:2] == ["comparison of SGD, seed 3", "comparison of SGD, seed 4"]
    runs = [open_trajectory(cache.path(*step.places["runs"][0][1:])) for step in steps]
    assert [run.seed for run in runs] == [3, 4, 3, 4]
    # Two epochs of one update, and one of two gradients.
    assert [run.metrics["gradient_evaluations"][-1] for run in runs] == [2, 2, 2, 2]
    with np.load(folder / "gallery" / "comparison.npz") as held:
        for place, name in enumerate(("SGD", "Entropy")):
            ends = [100 * run.metrics["test_error"][-1] for run in runs[2 * place : 2 * place + 2]]
            np.testing.assert_allclose(held[f"0/{name}/test_error"], ends, rtol=1e-6)
        rise = held["0/Entropy/rise"]
    from landscape.pipeline import objective_of

    settings = {"sigma": 0.4, "points": 2, "draws": 3}
    taken = measure(objective_of(runs[3]), runs[3][-1], ["local_energy"], settings={"local_energy": settings})
    np.testing.assert_allclose(rise[1], np.multiply(100, taken["local_energy"].details["error_rise"]), rtol=1e-6)
    table = (folder / "gallery" / "comparison.md").read_text()
    ends = np.array([100 * run.metrics["test_error"][-1] for run in runs])
    assert f"| SGD | 2 | {interval(ends[:2]).words()} |  |" in table
    assert f"| Entropy | 2 | {interval(ends[2:]).words()} | {paired(ends[2:], ends[:2]).words()} |" in table
    page = (folder / "README.md").read_text()
    assert table in page
    assert "`SGD`: digits-mlp (width 4, train_size 100), sgd, 2 epochs" in page
    assert "seeds 3, 4" in page
    assert cache.record(graph.steps[goal]) is not None


def test_a_mixture_has_its_exact_map_and_its_paths(folder):
    with np.load(folder / "gallery" / "mixture.npz") as held:
        m, q, error, path = (held[f"0/{name}"] for name in ("m", "q", "error", "SGD/m"))
        ends = held["0/SGD/train_local_energy"]
    row, column = 100, 40
    thresholds = np.linspace(-30, 30, 60001)
    scanned = papers.population_error(m[column], q[row], thresholds, rho=0.3).min()
    assert error[row, column] == pytest.approx(scanned, abs=1e-6)
    assert m[-1] >= path.max()
    assert np.isfinite(ends).all()


def test_interpolators_have_one_least_trace_wherever_they_are(folder):
    with np.load(folder / "gallery" / "interpolators.npz") as held:
        families = {name.removeprefix("0/"): held[name] for name in held.files}
    assert set(families) == {"teacher", "blend", "line memoriser", "bump memoriser", "trained"}
    assert {name: len(rows) for name, rows in families.items()}["blend"] == 2 * 2 * 5
    for rows in families.values():
        population, train, least, places = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:]
        assert (train < 1e-3).all()
        assert places.shape[1] == 4
        assert (places >= least[:, None] * (1 - 1e-5)).all()
        assert (population >= 0).all()
    assert families["teacher"][0, 0] < 1e-12
    assert families["bump memoriser"][:, 2].min() > 10 * families["teacher"][0, 2]


def test_what_is_rendered_is_current(folder):
    assert {report.state for report in render(folder).recipes} == {"current"}


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("comparison", ("draws = 3", "draw = 3"), "there is no such key; did you mean 'draws'?"),
        ("comparison", ("[3, 4]", "[3, 3]"), "seeds are different whole numbers from 0"),
        ("comparison", ("draws = 3", "draws = 3\n[[panel]]\nkind = 'curve'"), "drawn in a figure of their own"),
        ("mixture", (_PROBLEM, 'problem = "digits-mlp"'), "of kind 'mixture' is of runs of gaussian-mixture"),
        (
            "interpolators",
            ("places = 4", "blends = [0.0]"),
            "blends: has the wrong type; got [0.0]; expected shares between 0 and 1",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path, kind, change, fault):
    (tmp_path / "one.toml").write_text(TEXTS[kind].replace(*change))
    with pytest.raises(RecipeError) as refused:
        load(tmp_path / "one.toml")
    assert fault in str(refused.value)


def test_an_exhibit_has_no_slices(folder):
    with pytest.raises(LandscapeError, match="the panel shows no slices; got comparison"):
        load(folder / "comparison.toml").panels[0].surfaces(folder / ".landscape-cache")


def test_pairing_takes_out_what_seeds_share():
    seeds, gain = np.array([5.0, -3.0, 9.0, 1.0]), np.array([0.9, 1.1, 1.0, 1.0])
    found = paired(seeds + gain, seeds)
    assert (found.mean, found.half) == pytest.approx((1.0, interval(gain).half))
    assert interval(gain).excludes_zero
    # The failing control: unpaired, the seeds hide it.
    assert not interval(seeds + gain).excludes_zero
    # Student's quantile of three degrees of freedom.
    half = 3.182446305 * gain.std(ddof=1) / 2
    assert interval(gain).half == pytest.approx(half, rel=1e-8)
    assert math.isnan(interval([1.0]).half)


@pytest.mark.parametrize("b", [0.0, 0.7])
def test_training_local_energy_is_its_mean_over_draws(b):
    x, y = draw_mixture(MixtureOptions(dim=30, alpha=2.0)).train
    random = np.random.default_rng(0)
    w = random.normal(size=30)
    draws, sigma = 4000, 0.8
    wrong = np.empty(draws)
    for draw in range(draws):
        moved, shifted = w * (1 + sigma * random.normal(size=30)), b * (1 + sigma * random.normal())
        wrong[draw] = (y * (x @ moved + shifted) <= 0).mean()
    still = (y * (x @ w + b) <= 0).mean()
    exact = papers.training_local_energy(w, b, x, y, sigma=sigma)
    assert abs(wrong.mean() - still - exact) < 3 * wrong.std(ddof=1) / math.sqrt(draws)
    # Rescaling changes nothing; it does under noise of one size for all weights.
    assert papers.training_local_energy(8 * w, 8 * b, x, y, sigma=sigma) == exact


@pytest.mark.parametrize("degree", [1, 2])
def test_a_blend_of_interpolators_interpolates_and_its_least_trace_follows_the_shares(degree):
    options = MultiIndexOptions(dim=6, train_size=12, link="relu" if degree == 1 else "square", degree=degree)
    drawn = draw_multi_index(options)
    direction = papers.random_direction(6, drawn.directions, seed=1)
    knows, recalls = papers.teacher(options), papers.bump_memoriser(*drawn.train, direction, degree)
    mixed = papers.blend(knows, recalls, 0.3)
    np.testing.assert_allclose(mixed.outputs(drawn.train[0]), drawn.train[1], atol=1e-8)
    # The outer weights of a part enter B alone, squared: s^(2p/(p+1)).
    power = 2 * degree / (degree + 1)
    wanted = sum(
        share**power * papers.flattest_trace(one, drawn.train[0]) for share, one in ((0.7, knows), (0.3, recalls))
    )
    assert papers.flattest_trace(mixed, drawn.train[0]) == pytest.approx(wanted, rel=1e-10)
    with pytest.raises(LandscapeError, match="students must have one degree"):
        papers.blend(knows, Student(knows.a, knows.w, degree + 1), 0.5)


def test_what_optimizers_record_is_drawn_along_training():
    recorded = {"gamma": np.array([0.0, 2.5]), "train_loss": np.array([1.0, 0.5])}
    table = Table(np.array([0, 5]), np.array([0.0, 1.0]), {}, recorded, {"split": "train"})
    curve = curve_of(table, "gamma")
    np.testing.assert_array_equal(curve["train_gamma"], [0.0, 2.5])
    assert field_label("train_gamma", curve.meta) == "coupling γ"
    with pytest.raises(LandscapeError, match="the table has no measure 'gama'; did you mean"):
        curve_of(table, "gama")
