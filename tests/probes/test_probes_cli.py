"""The command `landscape probe` and what it writes; pictures by their artists; matching by the symmetry room."""

import csv
import json
import math
import re
import warnings

import h5py
import numpy as np
import pytest

import landscape as ls
from landscape import render
from landscape.errors import LandscapeError
from landscape.plots.lines import Joined, _hint
from landscape.probes.table import interpolation_columns, save_table
from landscape.training import Every, Settings, train
from landscape.values.probes import Barriers, Interpolation, Perturbation, Profile, Radius, Retraining


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        objective = ls.problems.build("digits-mlp", {"width": 16, "train_size": 300}, seed=seed)
        train(
            objective,
            folder / f"{seed}.h5",
            Settings(epochs=10, seed=seed, batch_size=50, every=Every(5, "epochs")),
        )
    return folder


def test_a_line_in_one_document(runs, tmp_path, landscape):
    code, out, err = landscape(
        "probe", "interpolate", runs / "0.h5", runs / "1.h5:30", "--points", 5, "--json",
        "-o", tmp_path / "line.png", "--table", tmp_path / "line.csv",
    )  # fmt: skip
    assert (code, err) == (0, "")
    document = json.loads(out)
    objective = ls.pipeline.objective_of(ls.open(runs / "0.h5"))
    a, b = ls.open(runs / "0.h5")[-1], ls.open(runs / "1.h5")[1]
    expected = ls.probes.interpolate(objective, a, b, points=5)
    assert document["barrier"] == expected.barrier
    assert document["lines"][0]["ends"]["train_loss"] == [objective.value(a), objective.value(b)]
    rows = list(csv.DictReader((tmp_path / "line.csv").read_text().splitlines()))
    assert [float(row["t"]) for row in rows] == expected.t.tolist()
    assert [float(row["test_error"]) for row in rows] == expected["test_error"].tolist()
    assert (tmp_path / "line.png").stat().st_size > 10_000


def test_all_policies_and_alignment(runs, landscape):
    line = ["probe", "interpolate", runs / "0.h5", runs / "1.h5", "--points", 3, "--json"]
    document = json.loads(landscape(*line, "--bn", "all", "--align")[1])
    found = [(one["path"], one["bn"]) for one in document["lines"]]
    policies = ["frozen", "interpolate", "recalibrate"]
    assert found == [(path, bn) for path in ("line", "aligned line") for bn in policies]
    # Without normalisation the policies agree; the aligned model is nearer, and the same function.
    straight, aligned = document["lines"][1], document["lines"][4]
    assert aligned["distance"] < straight["distance"]
    assert aligned["ends"]["train_loss"] == pytest.approx(straight["ends"]["train_loss"], rel=1e-5)
    assert document["barrier"] == document["lines"][-1]["barrier"]


def test_matching_a_permuted_and_rescaled_copy_recovers_it(runs):
    trained = ls.open(runs / "0.h5")[-1]
    objective = ls.pipeline.objective_of(ls.open(runs / "0.h5"))
    symmetries = ls.symmetry.find(objective.model, objective.data["train"].part(0, 4).inputs)
    other = symmetries.random(symmetries.permute(trained, seed=3), seed=4)
    before = ls.probes.interpolate(objective, trained, other, points=11)
    after = ls.probes.interpolate(objective, trained, ls.probes.align(objective, trained, other), points=11)
    assert abs(before["train_loss"][0] - before["train_loss"][-1]) < 1e-5
    # The control: the copy itself is far away, behind a barrier.
    assert before.barrier > 0.1
    assert abs(after.barrier) < 1e-6
    assert after.distance < 1e-4 * before.distance


def test_a_matrix(runs, tmp_path, landscape):
    files = [runs / "0.h5", runs / "1.h5", runs / "0.h5:first"]
    options = ["--matrix", "--points", 3, "--json", "-o", tmp_path / "m.png"]
    code, out, _ = landscape("probe", "interpolate", *files, *options)
    document = json.loads(out)
    assert code == 0
    assert document["names"] == ["0", "1", "0:first"]
    matrix = np.array(document["barriers"]["train_loss"])
    assert np.array_equal(matrix, matrix.T)
    assert (tmp_path / "m.png").exists()


def test_an_aligned_matrix_and_its_tree(runs, tmp_path, landscape):
    files = [runs / "0.h5", runs / "1.h5", runs / "0.h5:first"]
    options = ["--barriers", "--points", 3, "--json"]
    before = json.loads(landscape("probe", "interpolate", *files, *options)[1])
    picture = tmp_path / "m.png"
    after = json.loads(
        landscape("probe", "interpolate", *files, *options, "--align", "--dendrogram", "-o", picture)[1]
    )
    assert after["aligned"]
    assert after["distance"][0][1] < before["distance"][0][1]
    assert picture.exists()


def test_a_tree_joins_by_mean_barriers_and_orders_the_matrix():
    values = np.array([[0.0, 4.0, 1.0], [4.0, 0.0, 6.0], [1.0, 6.0, 0.0]])
    found = Barriers(("a", "b", "c"), {"train_loss": values}, values, "interpolate", 5)
    matrix = render.barriers(found, dendrogram=True).axes[0]
    (above,) = matrix.child_axes
    assert sorted(line.get_ydata().max() for line in above.lines) == [1.0, 5.0]
    names = [label.get_text() for label in matrix.get_xticklabels()]
    assert abs(names.index("a") - names.index("c")) == 1
    infinite = Barriers(("a", "b"), {"train_loss": np.full((2, 2), math.inf)}, values, "interpolate", 5)
    with pytest.raises(LandscapeError, match="dendrogram: there is no tree of barriers that are not finite"):
        render.barriers(infinite, dendrogram=True)


def test_perturbing_and_its_tables(runs, tmp_path, landscape):
    code, out, _ = landscape(
        "probe", "perturb", runs / "0.h5", "--at", "all", "--noise", "relative:0.3", "--draws", 2,
        "--scales", 3,
        "--directions", "random,gradient", "--json", "--table", tmp_path / "t.h5", "-o", tmp_path / "p.png",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert [row["step"] for row in document["snapshots"]] == [0, 30, 60]
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["step"][()].tolist() == [0, 30, 60]
        assert file["radius_random_median"].shape == (3,)
        assert file.attrs["format"] == b"landscape/table"
    assert (tmp_path / "p.png").exists()
    code, out, _ = landscape(
        "probe", "perturb", runs / "0.h5:30", "--draws", 2, "--scales", 2, "--directions", "none"
    )
    assert code == 0
    # The loss of the last scale has risen, that of a scale 16 times as small has not: a hint says how to see more.
    shown = re.match(r"step 30: noise mean-abs:([\d.]+)\n  train_loss   ([\d.]+) -> ([\d.]+)", out)
    assert float(shown[1]) > 0.01
    assert float(shown[3]) - float(shown[2]) > 0.05
    small = landscape(
        "probe", "perturb", runs / "0.h5:30", "--draws", 2, "--noise", "mean-abs:0.01", "--along", "none"
    )
    assert "hint  flat up to this scale; --noise mean-abs alone goes" in small.out
    assert "hint" not in out


def test_retraining_from_the_command(runs, tmp_path, landscape):
    command = [
        "probe", "perturb", runs / "0.h5", "--retrain", "gd", "--epochs", 3, "--branches", 2, "--noise",
        "mean-abs:0.1", "--warmup-epochs", 2,
        "-o", tmp_path / "b.h5", "--picture", tmp_path / "b.png", "--table", tmp_path / "b.csv", "--json",
    ]  # fmt: skip
    code, out, _ = landscape(*command)
    document = json.loads(out)
    assert code == 0
    assert document["names"] == ["60-control", "60-mean-abs-0.1-1", "60-mean-abs-0.1-2"]
    assert document["epochs"] == [0, 1, 2, 3]
    assert {branch.training["warmup_epochs"] for branch in ls.open(tmp_path / "b.h5").branches.values()} == {2}
    assert len(list(csv.DictReader((tmp_path / "b.csv").read_text().splitlines()))) == (3 + 3) * 4
    assert landscape(*command)[0] == 2
    assert json.loads(landscape(*command, "--resume")[1])["between"] == document["between"]
    # A branch is a run like others.
    twig = f"{tmp_path / 'b.h5'}:60-mean-abs-0.1-1:2"
    code, out, _ = landscape("probe", "interpolate", twig, runs / "0.h5", "--points", 3, "--json")
    assert json.loads(out)["snapshots"][0] == twig


def test_connecting_from_the_command(runs, tmp_path, landscape):
    code, out, _ = landscape(
        "probe", "connect", runs / "0.h5", runs / "1.h5", "--epochs", 2, "--points", 5, "-o",
        tmp_path / "c.h5",
        "--picture", tmp_path / "c.png", "--plane", 3, "--align", "--json",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert document["barrier"] == document["barriers"]["train_loss"]
    assert [one["family"] for one in document["alignment"]] == ["none", "permutations", "scales"]
    # The curve begins on the line of the last row.
    assert document["alignment"][-1]["barriers"] == document["straight_barriers"]
    assert len(ls.open(tmp_path / "c.h5")) == 5
    plane = ls.open(tmp_path / "c-plane.h5")
    # A curve with one bend lies in the plane of its ends and its bend.
    assert plane.path.off_plane.max() < 1e-3 * document["distance"]
    assert plane.path.loss == pytest.approx(np.array(document["values"]["train_loss"]), rel=1e-4)
    assert {"c.png", "c-plane.png"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["interpolate", "0.h5"], "a line goes through two snapshots; got 1; name a second snapshot"),
        (["interpolate", "0.h5", "1.h5", "0.h5"], "got 3; pass --barriers (matrix in recipes"),
        (["interpolate", "0.h5", "1.h5:7"], "no snapshot at step 7; the nearest are 0, 30, 60"),
        (["interpolate", "0.h5", "2.h5"], "no such file"),
        (["interpolate", "0.h5", "1.h5:twig:0"], "no branch is named 'twig'; the run has no branches"),
        (["interpolate", "0.h5", "1.h5", "--barriers", "--extend", 1], "extend is not of a matrix; leave it out"),
        (["interpolate", "0.h5", "1.h5", "--dendrogram"], "a tree is of a matrix; pass --barriers"),
        (
            ["perturb", "0.h5", "--noise", "mean"],
            "option '--noise': there is no noise 'mean'; did you mean 'mean-abs'?",
        ),
        (["perturb", "0.h5", "--epochs", "3"], "--epochs: is of the training of branches; pass --retrain too"),
        (["perturb", "0.h5", "--retrain", "gd"], "--retrain: branches need a file; give -o BRANCHES.h5"),
        (
            ["perturb", "0.h5", "--retrain", "gdd", "--momentum", "1", "-o", "b.h5"],
            "option '--retrain' has no such choice; got 'gdd'; did you mean 'gd'? | option '--momentum' is out of "
            "range; got 1; expected at least 0 and below 1",
        ),
        (["perturb", "0.h5", "--table", "t.txt"], "t.txt: unknown file type; got .txt"),
        (
            ["connect", "0.h5", "1.h5", "--plane", "5"],
            "--plane-points: the plane is drawn beside the curve's file",
        ),
        (["conect", "0.h5", "1.h5"], "there is no probe 'conect'; did you mean 'connect'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(runs, monkeypatch, landscape, arguments, message):
    monkeypatch.chdir(runs)
    code, out, err = landscape("probe", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def curves() -> list[Interpolation]:
    t = np.linspace(0, 1, 5)
    loss = np.array([0.1, 1.0, math.inf, 1.0, 0.3])
    fields = {"train_loss": loss, "train_error": loss.clip(max=1) / 2}
    policies = ("frozen", "interpolate")
    return [Interpolation(t, fields, bn, distance=2.0, meta={"units": {"loss": "nats"}}) for bn in policies]


def test_infinite_numbers_in_tables_and_pictures(tmp_path):
    save_table(interpolation_columns(curves()), tmp_path / "t.json", {})
    assert json.loads((tmp_path / "t.json").read_text())["train_loss"][2] == "inf"
    figure = render.interpolation(curves())
    figure.canvas.draw()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0] == "frozen: barrier infinite, 40 %"
    assert figure.axes[1].get_ylabel() == "training error (%)"
    assert np.nanmax(figure.axes[1].lines[0].get_ydata()) == 50.0


def test_pictures_show_what_was_found(tmp_path):
    names = ("a", "b", "c")
    values = np.array([[0.0, 1.0, math.inf], [1.0, 0.0, 2.0], [math.inf, 2.0, 0.0]])
    matrix = render.barriers(Barriers(names, {"train_loss": values}, values, "interpolate", 5))
    assert [text.get_text() for text in matrix.axes[0].texts] == ["–", "1", "∞", "1", "–", "2", "∞", "2", "–"]
    scales = np.array([0.0, 0.1, 0.2])
    profile = Profile("relative", "|w|", scales, {"train_loss": np.array([[1.0, 2, 3], [1, 3, 5]])}, np.ones(2))
    radii = {
        "random": Radius("random", np.array([1.0, math.inf])),
        "gradient": Radius("gradient", np.array([math.nan])),
    }
    basin = Perturbation(profile, radii, 0.1, 4.0, {"step": 3})
    one = render.perturbation(basin)
    assert {"1 of 2 infinite →", "undefined"} <= {text.get_text() for ax in one.axes for text in ax.texts}
    assert one.axes[0].lines[0].get_ydata().tolist() == [1.0, 2.5, 4.0]
    several = render.perturbation([basin, basin])
    several.canvas.draw()
    epochs = np.array([0.0, 1.0])
    grown = Retraining(
        ["0-control", "0-x-1", "0-x-2"], np.zeros(3, int), ["", "absolute:1", "absolute:1"], np.array([0.0, 2,
        3]), epochs,
        {"train_error": np.zeros((3, 2))}, np.ones((3, 2)), np.array([[0, 1], [0, 2], [1, 2]]), np.ones((3, 2)),
        {"train_error": np.zeros((3, 2))}, {"bn": "recalibrate"},
    )  # fmt: skip
    assert grown.with_control.tolist() == [True, True, False]
    figure = render.retraining(grown)
    figure.canvas.draw()
    assert figure.axes[0].get_ylabel().replace("\n", " ") == "training error (%) of branches"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render.save(one, tmp_path / "one.png")


def test_a_barrier_that_alignment_raised_is_explained_where_there_are_statistics():
    def line(path, bn, top):
        return Interpolation(np.array([0.0, 0.5, 1.0]), {"train_loss": np.array([0.0, top, 0.0])}, bn, path)

    raised = [line("line", "interpolate", 1.0), line("aligned line", "interpolate", 2.0)]
    (said,) = _hint(Joined(raised, {}, statistics=True))
    assert said.endswith("compare with --bn recalibrate")
    assert _hint(Joined(raised, {}, statistics=False)) == []
    assert _hint(Joined([raised[0], line("aligned line", "interpolate", 0.5)], {}, statistics=True)) == []
    assert _hint(Joined([*raised, line("line", "recalibrate", 1.0)], {}, statistics=True)) == []
