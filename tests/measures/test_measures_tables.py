"""Measures along training: the file, going on after an interruption, the threshold, curves and spectra."""

from __future__ import annotations

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest

import landscape as ls
from landscape import LandscapeError, render
from landscape.measures import measure, read_table, stability_threshold
from landscape.measures.stability import threshold_words
from landscape.measures.table_store import save_table
from landscape.measures.table_summary import describe_table
from landscape.pipeline import Along, Spectral, measures_along, objective_of, spectrum_of
from landscape.recipe import load
from landscape.render.spectra import ticks_of
from landscape.render.training_curves import curve_of
from landscape.trajectory import open_trajectory
from landscape.values.measure_table import Column, Table
from landscape.values.spectrum import smoothed

GD = {"optimizer": "gd", "lr": 0.2, "momentum": 0.0}
WANTED = Along(("hessian_top", "hessian_trace"), settings={"hessian_trace": {"method": "exact"}})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "gd.h5"
    objective = ls.problems.build("digits-mlp", {"width": 3, "depth": 1, "train_size": 60})
    settings = ls.training.Settings(optimizer="gd", lr=0.2, momentum=0.0, epochs=6)
    ls.training.train(objective, path, settings)
    return open_trajectory(path)


@pytest.fixture(scope="module")
def objective(run):
    return objective_of(run)


@pytest.fixture(scope="module")
def table(run, objective):
    return measures_along(run, objective, WANTED)


def test_along_training_is_each_snapshot_by_itself(run, objective, table):
    assert table.steps.tolist() == run.steps.tolist()
    for index in (0, 3, 6):
        found = measure(objective, run[index], list(WANTED.measures), settings=WANTED.settings)
        for name, one in found.items():
            assert table[name].values[index] == pytest.approx(one.value, rel=1e-5)
    np.testing.assert_array_equal(table.metrics["train_loss"], run.metrics["train_loss"])
    assert table.complete
    assert table["hessian_top"].about["unit"] == "nats"


def test_a_table_comes_back_from_its_file(table, tmp_path):
    save_table(table, tmp_path / "m.h5")
    held = ls.open(tmp_path / "m.h5")
    assert isinstance(held, Table)
    for name in WANTED.measures:
        for part in ("values", "standard_errors", "converged", "done"):
            np.testing.assert_array_equal(getattr(held[name], part), getattr(table[name], part))
        assert held[name].about["formula"] == table[name].about["formula"]
    assert held.meta["threshold"] == {"measure": "hessian_top", "value": 10.0, "words": "2 / learning rate"}
    with pytest.raises(LandscapeError, match="the table has no measure 'loss'; it has hessian_top, hessian_trace"):
        held["loss"]


def test_an_interrupted_table_goes_on_where_it_was(run, objective, tmp_path):
    whole, broken = tmp_path / "whole.h5", tmp_path / "broken.h5"
    measures_along(run, objective, WANTED, save=whole)

    def stop(done: int, total: int) -> None:
        assert total == 14
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measures_along(run, objective, WANTED, save=broken, progress=stop)
    held = read_table(broken)
    assert held.taken == 5
    assert not held.complete
    assert np.isnan(held["hessian_top"].values[~held["hessian_top"].done]).all()
    taken = []
    measures_along(run, objective, WANTED, save=broken, keep=lambda step, found: taken.append((step, found.name)))
    assert len(taken) == 9
    assert taken[0] == (2, "hessian_trace")
    left, right = read_table(whole), read_table(broken)
    for name in WANTED.measures:
        np.testing.assert_allclose(left[name].values, right[name].values, rtol=1e-6)
    again: list[int] = []
    measures_along(run, objective, WANTED, save=broken, keep=lambda step, found: again.append(step))
    assert again == []


@pytest.mark.usefixtures("warm_workers")
def test_a_table_by_two_workers_is_that_of_one_process_bit_for_bit(objective, tmp_path):
    """Steps are read here, and claims of invariance are tried by workers too."""
    settings = ls.training.Settings(optimizer="gd", lr=0.2, momentum=0.0, epochs=2, record=("update",))
    run = ls.training.train(objective, tmp_path / "run.h5", settings)
    found, kept = {}, []
    for count in (1, 2):
        wanted, path = (
            Along(("fisher_rao_norm", "step_gain"), at=(0, 1, 2), workers=count),
            tmp_path / f"{count}.h5",
        )
        measures_along(run, objective, wanted, save=path, trial=True, keep=lambda *one: kept.append(one))
        found[count] = path.read_bytes()
    assert found[1] == found[2]
    told = [(step, one.name, one.notes) for step, one in kept]
    assert told[:6] == told[6:]
    assert len(told) == 12


def test_a_file_of_other_measures_is_refused(run, objective, tmp_path):
    path = tmp_path / "m.h5"
    wanted = Along(("fisher_rao_norm",), at=(0, 1))
    measures_along(run, objective, wanted, save=path)
    other = Along(("fisher_rao_norm",), at=(0, 2))
    with pytest.raises(LandscapeError, match=r"they differ in .*steps \(0 1 in the file, 0 2 now\)"):
        measures_along(run, objective, other, save=path)
    with pytest.raises(LandscapeError, match=r"seed \(0 in the file, 1 now\)"):
        measures_along(run, objective, Along(("fisher_rao_norm",), at=(0, 1), seed=1), save=path)


def test_a_file_that_was_edited_is_refused(table, tmp_path):
    path = tmp_path / "m.h5"
    save_table(table, path)
    with h5py.File(path, "r+") as file:
        file["values/hessian_top"][0] = 1.0
    with pytest.raises(LandscapeError, match="row 0 is not what was written"):
        read_table(path)


def test_a_summary_of_a_file(table, tmp_path):
    save_table(table, tmp_path / "m.h5")
    told = describe_table(tmp_path / "m.h5")
    assert (told["format"], told["schema"], told["taken"], told["size"]) == ("landscape/measures", 2, 14, 14)
    assert told["steps"] == {"count": 7, "first": 0, "last": 6}
    assert told["measures"]["hessian_top"]["max"] == table["hessian_top"].values.max()


@pytest.mark.parametrize(
    ("training", "threshold", "words"),
    [
        (GD, 10.0, "2 / learning rate"),
        ({**GD, "momentum": 0.9}, 19.0, "(2 + 2·0.9) / learning rate"),
        ({**GD, "momentum": 0.5, "nesterov": True}, 7.5, "(2 + 2·0.5) / ((1 + 2·0.5) learning rate)"),
        ({**GD, "weight_decay": 0.5}, 9.5, "2 / learning rate − weight decay"),
    ],
)
def test_the_threshold_is_where_gradient_descent_on_a_parabola_turns_from_falling_to_growing(
    training, threshold, words
):
    assert stability_threshold(training) == pytest.approx(threshold)
    assert threshold_words(training) == words
    rate, momentum, decay = training["lr"], training["momentum"], training.get("weight_decay", 0.0)
    nesterov = training.get("nesterov", False)
    for factor, falls in ((0.99, True), (1.01, False)):
        curvature, position, speed = factor * threshold, 1.0, 0.0
        for _ in range(3000):
            slope = (curvature + decay) * position
            speed = momentum * speed + slope
            position -= rate * (slope + momentum * speed if nesterov else speed)
            if abs(position) > 1e6:
                break
        assert (abs(position) < 1e-3) == falls


@pytest.mark.parametrize(
    "training",
    [
        {**GD, "optimizer": "sgd"},
        {**GD, "optimizer": "adam"},
        {**GD, "schedule": "cosine"},
        {**GD, "warmup_epochs": 2.0},
        {},
    ],
)
def test_other_ways_of_training_have_no_threshold(training):
    assert stability_threshold(training) is None


def test_curves_of_a_table(table):
    curve = curve_of(table, "hessian_top")
    assert curve.x.tolist() == table.steps.tolist()
    np.testing.assert_array_equal(curve["train_hessian_top"], table["hessian_top"].values)
    assert curve.meta["threshold"]["value"] == 10.0
    np.testing.assert_array_equal(curve_of(table, "loss").values, table.metrics["train_loss"])
    with pytest.raises(LandscapeError, match="no measure 'hessian_tops'; did you mean 'hessian_top'"):
        curve_of(table, "hessian_tops")


def test_the_picture_has_a_panel_for_each_measure_and_the_threshold(table):
    fig = render.measures({"gd": table})
    assert [ax.get_ylabel().replace("\n", " ") for ax in fig.axes] == [
        "largest Hessian eigenvalue (nats)",
        "Hessian trace (nats)",
    ]
    levels = [line.get_ydata()[0] for line in fig.axes[0].lines if line.get_linestyle() == "--"]
    assert levels == [10.0]
    low, high = fig.axes[0].get_ylim()
    assert low < 10.0 < high
    # Where training began is nothing to be marked.
    assert not [line for ax in fig.axes for line in ax.lines if list(line.get_xdata()) == [0.0, 0.0]]
    assert {text.get_text() for text in fig.axes[0].get_legend().get_texts()} == {"gd", "2 / learning rate"}


def test_bands_are_one_standard_error():
    column = Column.blank(3, {"title": "a measure", "unit": "nats"})
    for row, value in enumerate((1.0, 2.0, 3.0)):
        column.put(row, value, 0.5, True)
    steps = np.arange(3)
    fig = render.measures({"run": Table(steps, steps.astype(float), {"m": column}, meta={"split": "train"})})
    band = fig.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.5, 3.5)


def test_a_spectrum_is_its_density_and_its_ends(run, objective):
    found = spectrum_of(run, objective, Spectral(probes=4, lanczos=30))
    trace = measure(objective, run[-1], ["hessian_trace"], settings={"hessian_trace": {"method": "exact"}})
    assert found.trace[0] == pytest.approx(trace["hessian_trace"].value, abs=4 * found.trace[1])
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1.0)
    top = measure(objective, run[-1], ["hessian_top"])["hessian_top"].value
    assert found.largest.value == pytest.approx(top, rel=1e-4)
    assert found.smallest.value < found.largest.value
    assert found.densities.shape == (4, len(found.grid))


def test_a_planted_spectrum_is_where_it_was_planted():
    nodes, weights = np.array([[-1.0, 0.0, 10.0]]), np.array([[0.1, 0.8, 0.1]])
    grid = np.sinh(np.linspace(-9, 9, 4001)) * 0.01
    density = smoothed(nodes, weights, grid, 0.01, 0.05)[0]
    for low, high, share in ((-3, -0.3, 0.1), (-0.1, 0.1, 0.8), (3, 30, 0.1)):
        inside = (grid >= low) & (grid <= high)
        assert np.trapezoid(density[inside], grid[inside]) == pytest.approx(share, abs=1e-3)


def test_the_picture_of_a_spectrum(run, objective):
    found = spectrum_of(run, objective, Spectral(probes=3, lanczos=20))
    fig = render.spectrum(found)
    ax = fig.axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("symlog", "log")
    marks = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("v", "^")]
    assert marks == [found.largest.value, found.smallest.value]
    foot = fig.get_supxlabel().replace("\n", " ")
    assert f"mean {found.mean:.3g}" in foot
    assert f"trace {found.trace[0]:.4g}" in foot
    plt.close("all")


def test_ticks_are_few_and_symmetric_around_zero():
    ticks = ticks_of(np.array([-300.0, 300.0]), 1e-3)
    assert 0.0 in ticks
    assert ticks == [-tick for tick in reversed(ticks)]
    assert len(ticks) <= 9


RECIPE = """# The edge of stability of a very small network.
panel = [{ kind = "measure", measure = "hessian_top" }, { kind = "measure", measure = "loss" }]
[run.gd]
problem = "digits-mlp"
options = { width = 3, depth = 1, train_size = 60 }
optimizer = "gd"
momentum = 0.0
lr = 0.2
epochs = 6
"""


def test_a_recipe_draws_measures_along_training(run, table, tmp_path):
    (tmp_path / "edge.toml").write_text(RECIPE)
    recipe = load(tmp_path / "edge.toml")
    assert [panel.kind for panel in recipe.panels] == ["measure", "measure"]
    report = ls.recipe.render(recipe)
    assert report.recipes[0].state == "made"
    curve = recipe.panels[0].surfaces(tmp_path / ".landscape-cache")["gd"]
    np.testing.assert_allclose(curve["train_hessian_top"], table["hessian_top"].values, rtol=1e-3)
    assert curve.meta["threshold"]["value"] == 10.0
    with np.load(tmp_path / "gallery" / "edge.npz") as numbers:
        assert {"0/gd/train_hessian_top", "1/gd/train_loss"} <= set(numbers)
    assert ls.recipe.render(recipe).recipes[0].state == "current"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{ kind = "measure" }', "a panel of this kind needs a measure; such as hessian_top, or loss"),
        ('{ kind = "measure", measure = "hessian_tip" }', "there is no measure 'hessian_tip'; did you mean"),
        ('{ kind = "measure", measure = "loss", points = 3 }', "there is no such key"),
        (
            '{ kind = "measure", measure = "hessian_top", settings = { many = 1 } }',
            "there is no option 'hessian_top.many'",
        ),
        (
            '{ kind = "measure", measure = "hessian_trace", settings = { method = "hutchinsonn", samples = 0 } }',
            "option 'hessian_trace.method' has no such choice; got 'hutchinsonn'; did you mean 'hutchinson'? | "
            "option 'hessian_trace.samples' is out of range; got 0; expected at least 1",
        ),
    ],
)
def test_faults_of_a_panel_of_measures(line, message, tmp_path):
    (tmp_path / "edge.toml").write_text(RECIPE.replace('{ kind = "measure", measure = "hessian_top" }', line))
    with pytest.raises(LandscapeError) as refused:
        load(tmp_path / "edge.toml")
    assert message in str(refused.value)
