"""Studies: a family is trained, measured and correlated; planted measures come out as they were planted."""

import csv
import itertools
import json
import math

import numpy as np
import pytest
from conftest import ROOT, without_torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

import landscape as ls
from landscape import problems, study
from landscape.cli.main import main
from landscape.errors import LandscapeError
from landscape.measures import registry
from landscape.measures.registry import Found, Measure, register
from landscape.recipe import RecipeError
from landscape.recipe import load as load_recipe
from landscape.recipe import render as render_recipes
from landscape.render import Look, correlations, scatters
from landscape.values.archive import save_value

RECIPE = """# Which measures go with the test error.
[study]
problem = "digits-mlp"
options = { train_size = 60, width = 8 }
epochs = 3
every = "3epochs"
target_loss = TARGET
batch_size = 20

[family.sgd]
lr = [0.05, 0.1, 0.2]

[family.adam]
optimizer = "adam"
lr = [1e-2, 1e-9]

[measures]
names = ["fisher_rao_norm", "planted", "cursed"]
settings.planted = { sign = -1.0 }

[correlation]
targets = ["test_error", "loss_gap"]
resamples = 40
"""
# The last network learns nothing and does not count.
COUNT = 5
CALLS = itertools.count(1)
STOP_AT: set[int] = set()
# Loss of a network -> its number, in the order in which they are measured.
SEEN: dict[float, int] = {}


def planted(place, settings):
    if next(CALLS) in STOP_AT:
        raise KeyboardInterrupt
    error = place.objective.value(place.weights, split="test", metric="error")
    return Found(settings["sign"] * math.exp(error))


def cursed(place, settings):
    number = SEEN.setdefault(place.loss, len(SEEN))
    if number == 0:
        raise LandscapeError("not here")
    return Found(math.nan if number == 1 else float(number), converged=number > 2)


@pytest.fixture(scope="module", autouse=True)
def measures_of_ours():
    about = {"title": "ours", "formula": "", "unit": "1", "source": ""}
    every = ("layer-rescaling", "unit-rescaling")
    register(Measure("planted", invariant=every, compute=planted, settings={"sign": 1.0}, **about))
    register(Measure("cursed", invariant=(), compute=cursed, **about))
    yield
    for name in ("planted", "cursed"):
        registry._REGISTRY.pop(name)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "small.toml"
    start = problems.build("digits-mlp", {"train_size": 60, "width": 8})
    path.write_text(RECIPE.replace("TARGET", f"{0.99 * start.value(start.model):.6f}"))
    return path


@pytest.fixture(scope="module")
def interrupted(recipe):
    """What was left where the study was interrupted at its fourth value of a measure."""
    STOP_AT.add(4)
    with pytest.raises(KeyboardInterrupt):
        study.run(study.load(recipe))
    STOP_AT.clear()
    return study.run(study.load(recipe), dry_run=True)


@pytest.fixture(scope="module")
def report(recipe, interrupted):
    return study.run(study.load(recipe))


def test_lists_multiply_within_a_family(recipe):
    nets = study.load(recipe).nets
    assert [net.name for net in nets] == [
        *("sgd lr=0.05", "sgd lr=0.1", "sgd lr=0.2"),
        *("adam lr=0.01", "adam lr=1e-09"),
    ]
    told = [("family", "adam"), ("optimizer", "adam"), ("lr", 1e-9), ("batch_size", 20), ("weight_decay", 0.0)]
    assert nets[-1].settings == {**dict(told), "seed": 0}
    # The rates of two families are never the same number: it is their place in the list that is compared.
    assert nets[1].levels == {"family": "sgd", "lr": "1"}
    assert nets[-1].levels == {"family": "adam", "lr": "1"}


def test_an_interrupted_study_goes_on_and_ends_as_if_it_had_not_been(interrupted, report, recipe, tmp_path):
    assert interrupted.found is None
    # All trainings, all of the first measure, and three values of the second.
    done = 2 * COUNT + 3
    assert interrupted.count("cached") == report.count("cached") == done
    assert report.count("made", "failed") == 4 * COUNT - done
    afresh = study.run(study.load(recipe), cache=tmp_path / "afresh")
    assert _tables(afresh, tmp_path / "a") == _tables(report, tmp_path / "b")
    # What failed is tried again; nothing else is.
    again = study.run(study.load(recipe))
    assert (again.count("made"), again.count("failed")) == (0, 1)
    assert _tables(again, tmp_path / "c") == _tables(report, tmp_path / "b")


def _tables(report, stem):
    return [path.read_text() for path in study.save_tables(report.found, stem)]


def test_a_monotone_function_of_the_error_has_a_correlation_of_one(report):
    found = report.found["planted"]
    one = found.correlations["test_error"]
    # The recipe plants it with the sign changed.
    assert (one.kendall, one.spearman) == pytest.approx((-1.0, -1.0), rel=1e-12)
    assert one.excludes_zero()
    assert found.invariant
    assert found.agreements["lr"].value == -1.0
    assert found.agreements["lr"].pairs >= 2


def test_what_failed_is_told_with_its_reason(report):
    nets = report.found.nets
    # A rate of 1e-9 trains nothing.
    assert list(nets.faults) == ["adam lr=1e-09"]
    assert nets.faults["adam lr=1e-09"].startswith("did not reach a training loss of 2.")
    assert nets.missing["cursed"] == {"sgd lr=0.05": "not here", "sgd lr=0.1": "did not converge"}
    assert nets.rough["cursed"] == ("sgd lr=0.2",)
    assert report.found["cursed"].correlations["test_error"].count == 2
    assert report.found["planted"].correlations["test_error"].count == COUNT - 1
    assert report.failures == []


def test_tables_hold_every_network_and_every_reason(report, tmp_path):
    networks, rows = study.save_tables(report.found, tmp_path / "small")
    with networks.open() as file:
        told = {row["name"]: row for row in csv.DictReader(file)}
    assert len(told) == COUNT
    assert told["adam lr=1e-09"]["notes"].startswith("does not count: did not reach")
    assert told["sgd lr=0.1"]["notes"] == "cursed: did not converge"
    assert told["sgd lr=0.2"]["notes"] == "cursed: rough"
    with rows.open() as file:
        measures = {row["measure"]: row for row in csv.DictReader(file)}
    assert float(measures["planted"]["test_error_kendall"]) == pytest.approx(-1.0)
    assert measures["planted"]["invariant"] == "yes"
    assert measures["train_loss"]["kind"] == "control"


def test_pictures_show_every_measure_and_every_network_that_counts(report):
    figure = correlations(report.found)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:3] == [row.name.replace("_", " ") for row in report.found.ordered()][:3]
    weights = {label.get_text(): label.get_fontweight() for label in figure.axes[0].get_yticklabels()}
    assert (weights["planted"], weights["cursed"]) == ("bold", "normal")
    with Look(width="one-column").applied():
        narrow = correlations(report.found)
    FigureCanvasAgg(narrow).draw()
    legend = narrow.axes[0].get_legend().get_texts()
    assert max(text.get_window_extent().x1 for text in legend) <= narrow.bbox.x1
    assert len({round(ax.get_position().x0, 3) for ax in narrow.axes}) == 1
    panels = scatters(report.found, colour="lr").axes
    shown = {panel.get_title().split("\n")[0]: panel for panel in panels if panel.get_visible()}
    assert len(shown["planted"].lines) == COUNT - 1
    drawn = sorted(float(line.get_ydata()[0]) for line in shown["planted"].lines)
    counted = report.found.nets.results["test_error"][report.found.nets.counted]
    assert drawn == pytest.approx(sorted(100 * counted))
    with pytest.raises(LandscapeError, match=r"^no hyperparameter 'famly' varies; did you mean 'family'\?$"):
        scatters(report.found, colour="famly")


def test_the_command_prints_one_document_and_writes_five_files(recipe, report, tmp_path, capsys):
    arguments = ["study", str(recipe), "-o", str(tmp_path / "s.png")]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--json"])
    assert stopped.value.code == 0
    document = json.loads(capsys.readouterr().out)
    names = ["s.png", "s-scatter.png", "s-networks.csv", "s-correlations.csv", "s.npz"]
    assert document["files"] == [str(tmp_path / name) for name in names]
    assert all((tmp_path / name).stat().st_size > 300 for name in names)
    assert (document["networks"], document["found"]["counted"]) == (COUNT, COUNT - 1)
    assert document["found"]["measures"][1]["correlations"]["test_error"]["kendall"] == pytest.approx(-1.0)
    assert np.isfinite(document["found"]["nets"][0]["measures"]["planted"])
    with pytest.raises(SystemExit):
        main([*arguments, "--dry-run"])
    assert f"{COUNT} networks, 3 measures of each" in capsys.readouterr().out
    for wrong in (["--jobs", "0"], ["--color", "rl"]):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, *wrong])
        assert stopped.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_dry_run_imports_torch_only_to_time_what_the_cache_has_not_seen_the_like_of(tmp_path):
    recipe, cache = tmp_path / "tiny.toml", tmp_path / "cache"
    text = (
        "# Tiny.\n[study]\nproblem = 'digits-mlp'\noptions = { train_size = 60, width = 4 }\nepochs = 1\n"
        "[family.sgd]\nlr = [0.1, 0.2, 0.3]\n[measures]\nnames = ['fisher_rao_norm']\n"
    )
    recipe.write_text(text)
    study.run(study.load(recipe), cache=cache)
    dry = ("study", recipe, "--dry-run", "--cache", cache)
    without_torch(*dry)
    # A network more, whose time is known from the others.
    recipe.write_text(text.replace("0.3", "0.3, 0.4"))
    without_torch(*dry)
    # The control: an update of a wider one is timed.
    recipe.write_text(text.replace("width = 4", "width = 5"))
    with pytest.raises(AssertionError, match=r"\(9, ''\)"):
        without_torch(*dry)


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


@pytest.mark.parametrize("own", [{}, {"scatter": True, "target": "loss_gap", "hue": "lr"}])
def test_a_kept_study_is_the_same_picture_from_everywhere(own, report, tmp_path, capsys):
    kept = tmp_path / "s.npz"
    save_value(report.found, kept)
    typed = {"scatter": ["--scatter"], "target": ["--target", "loss_gap"], "hue": ["--hue", "lr"]}
    options = [word for name in own for word in typed[name]]
    code, out, _ = printed(
        capsys, "plot", kept, *options, "--title", "T", "-o", tmp_path / "command.png", "--json"
    )
    assert code == 0
    assert json.loads(out)["networks"] == COUNT
    entries = "".join(f"{name} = {'true' if value is True else repr(value)}\n" for name, value in own.items())
    recipe = tmp_path / "one.toml"
    recipe.write_text(f"# C.\n[[panel]]\nkind = 'study'\nstudy = 's.npz'\n{entries}[figure]\ntitle = 'T'\n")
    assert render_recipes(recipe).done
    ls.render.save(ls.plots.study(kept, title="T", **own), tmp_path / "python.png")
    pictures = ["command.png", "gallery/one.png", "python.png"]
    first, *others = [(tmp_path / name).read_bytes() for name in pictures]
    assert all(other == first for other in others)
    with np.load(tmp_path / "gallery" / "one.npz") as numbers:
        assert any(name.endswith("kendall with test_error") for name in numbers)


def test_what_is_no_study_or_means_nothing_is_one_line(report, tmp_path, capsys):
    save_value(report.found, tmp_path / "s.npz")
    save_value({"a": 1}, tmp_path / "other.npz")
    for words, expected in {
        ("other.npz",): "holds no study",
        ("s.npz", "--hue", "lr"): "hue is of a scatter picture; ask for scatter too",
        ("s.npz", "--scatter", "--hue", "rl"): "no hyperparameter 'rl' varies; choose from family, lr",
        ("s.npz", "--points", "5"): "--points",
    }.items():
        code, _, err = printed(capsys, "plot", tmp_path / words[0], *words[1:], "-o", tmp_path / "x.png")
        assert (code, err.count("\n")) == (2, 1)
        assert expected in err
    recipe = tmp_path / "wrong.toml"
    recipe.write_text("# C.\n[[panel]]\nkind = 'study'\nruns = ['a']\n")
    with pytest.raises(RecipeError, match=r"draws a file; write study = .FILE. .* draws no runs; leave it out"):
        load_recipe(recipe)


HEAD = "# A caption.\n[study]\nproblem = 'digits-mlp'\n"
FAMILY = "[family.sgd]\nlr = [0.1, 0.2, 0.3]\n"
# Name -> text, and the whole message after the name of the file.
BROKEN = {
    "no family": (HEAD, "line 1: there is no family; write [family.NAME] with an optimizer"),
    "unknown table": (
        HEAD + FAMILY + "[measure]\n",
        "line 6, measure: there is no such key; did you mean 'measures'?",
    ),
    "a figure": (
        HEAD + FAMILY + "[figure]\n",
        "line 6, figure: this belongs to the recipe of a figure; use landscape render",
    ),
    "no problem": (
        "# A caption.\n" + FAMILY,
        "line 1, study: 'problem' is missing; say in [study] what is trained",
    ),
    "too few": (
        HEAD + "[family.sgd]\nlr = [0.1, 0.2]\n",
        "line 1: a correlation needs at least 3 networks, got 2",
    ),
    "a wrong value in a list": (
        HEAD + "[family.sgd]\nlr = [0.1, 0.2, -3]\n",
        "line 5, family.sgd.lr: is out of range; got -3; expected above 0",
    ),
    "twice the same value": (
        HEAD + "seed = [0, 1, 1]\n" + FAMILY,
        "line 4, study.seed: a value is there twice; got [0, 1, 1]",
    ),
    "twice the same network": (
        HEAD + FAMILY + "[family.other]\nlr = 0.2\n",
        "line 6, family.other: 'other' is trained as 'sgd lr=0.2' is; leave one of them out",
    ),
    "unknown keys": (
        HEAD + "epoch = 3\noptions = { widht = [8, 16] }\n" + FAMILY,
        "line 4, study.epoch: there is no such key; did you mean 'epochs'? | "
        "line 5, study.options.widht: there is no option 'widht'; did you mean 'width'?",
    ),
    "measures": (
        HEAD + FAMILY + "[measures]\nnames = ['hessian_tpo']\nsplit = 'tain'\nsettings.hessian_top = { k = 2 }\n",
        "line 7, measures.names: there is no measure 'hessian_tpo'; did you mean 'hessian_top'? | "
        "line 8, measures.split: has no such choice; got 'tain'; did you mean 'train'? | "
        "line 9, measures.settings.hessian_top: 'hessian_top' is not taken; name it in 'names' too",
    ),
    "settings of a measure": (
        HEAD + FAMILY + "[measures]\nsettings.hessian_trace = { method = 'hutchinsonn', k = 2 }\n",
        "line 7, measures.settings.hessian_trace: option 'hessian_trace.method' has no such choice; got "
        "'hutchinsonn'; did you mean 'hutchinson'? | there is no option 'hessian_trace.k'; did you mean "
        "'hessian_trace.method'?",
    ),
    "correlation": (
        HEAD + FAMILY + "[correlation]\ntargets = ['error']\nlevel = 95\nover = 'net'\n",
        "line 7, correlation.targets: has the wrong type; got ['error']; expected a list out of test_error, "
        "test_loss, error_gap, loss_gap | line 8, correlation.level: is out of range; got 95; expected above 0 "
        "and below 1 | line 9, correlation.over: has no such choice; got 'net'; did you mean 'nets'?",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_fault_is_told(tmp_path, name, capsys):
    text, message = BROKEN[name]
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        study.load(path)
    assert str(caught.value) == f"{path}: {message}"
    with pytest.raises(SystemExit) as stopped:
        main(["study", str(path)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"landscape: {path}: {message}\n"


def test_the_recipe_of_a_study_is_no_recipe_of_a_figure(tmp_path):
    (tmp_path / "s.toml").write_text(HEAD + FAMILY)
    with pytest.raises(RecipeError, match="line 2, study: this belongs to a study; use landscape study"):
        load_recipe(tmp_path / "s.toml")


def test_the_committed_study_is_of_sixty_networks_and_all_measures():
    committed = study.load(ROOT / "figures" / "studies" / "digits.toml")
    assert len(committed.nets) >= 60
    assert {net.levels["family"] for net in committed.nets} == {"sgd", "adam", "sam", "entropy-sgd"}
    assert set(committed.measures) == set(registry.measures())
    assert len({net.run.training.target_loss for net in committed.nets}) == 1
