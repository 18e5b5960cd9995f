"""Rendering recipes: nothing is made twice, nothing is lost, nobody stops the others."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT
from killing import command
from PIL import Image

from landscape import LandscapeError, trajectory
from landscape.cli.main import main
from landscape.plots import KINDS
from landscape.problems.toys import QuadraticOptions, quadratic
from landscape.recipe import draw_panel, load, render, tasks
from landscape.recipe.cache import digest_of_data
from landscape.recipe.gallery import MOST_BYTES, duration, save_png
from landscape.recipe.graph import Graph, Where
from landscape.render import Look
from landscape.render.style import Sheet
from landscape.trajectory import Recorder, open_trajectory

RECIPE = """# Two runs on a quadratic.
[runs]
problem = "toy-quadratic"
epochs = 3
lr = 0.05
[run.one]
[run.two]
seed = 1
[[panel]]
kind = "curve"
points = 5
[[panel]]
kind = "surface"
points = 3
runs = ["one"]
[figure]
columns = 1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "toy.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def made(monkeypatch):
    """Counts the steps that are really made, by title; pictures are made of nothing, which is fast."""
    count = Counter()

    def counting(maker):
        def work(step, cache, progress):
            count[step.title] += 1
            return maker(step, cache, progress)

        return work

    def blank(step, cache, progress):
        Image.new("L", (4, 4)).save(cache.path(step.kind, step.key, ".png"))
        return {".png": ".png"}

    makers = {**tasks._MAKERS, "slice": tasks._value}
    for kind, maker in makers.items():
        monkeypatch.setitem(tasks._MAKERS, kind, counting(blank if kind == "picture" else maker))
    return count


def states(report):
    return {recipe.name: recipe.state for recipe in report.recipes}


ALL = {
    "train one": 1,
    "train two": 1,
    "curve of one": 1,
    "curve of two": 1,
    "surface of one": 1,
    "draw toy": 1,
}


def test_from_nothing_and_then_nothing(folder, made):
    assert states(render(folder)) == {"toy": "made"}
    assert made == ALL
    made.clear()
    began = time.monotonic()
    report = render(folder)
    assert time.monotonic() - began < 2
    assert states(report) == {"toy": "current"}
    assert made == {}
    assert report.count("cached") == len(ALL)


CHANGES = {
    "figure": ("columns = 1", "columns = 2", {"draw toy"}),
    "panel": ("points = 5", "points = 7", {"curve of one", "curve of two", "draw toy"}),
    "other panel": ("points = 3", "points = 3\nmetric = 'loss'", {"draw toy"}),
    "one run": ("seed = 1", "seed = 2", {"train two", "curve of two", "draw toy"}),
    "all runs": ("lr = 0.05", "lr = 0.02", set(ALL)),
    "caption beside the figure": ("Two runs", "A pair of runs", set()),
    "a default that is written out": ("epochs = 3", "epochs = 3\nmomentum = 0.9\noptions = { dim = 4 }", set()),
    "memory, which changes no number": ("points = 5", "points = 5\nmemory = '1GB'", set()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_changed_option_remakes_only_what_depends_on_it(name, folder, made):
    render(folder)
    made.clear()
    before, after, expected = CHANGES[name]
    assert before in RECIPE
    (folder / "toy.toml").write_text(RECIPE.replace(before, after))
    render(folder)
    assert set(made) == expected


def test_small_versions_go_elsewhere_and_share_what_is_the_same(folder, made):
    (folder / "toy.toml").write_text(RECIPE + "[small]\nrun.two = { epochs = 2 }\n")
    (folder / "same.toml").write_text(RECIPE.replace("points = 3", "points = 4"))
    assert states(render(folder)) == {"toy": "made", "same": "made"}
    full = {path: path.read_bytes() for path in (folder / "gallery").iterdir()}
    page = (folder / "README.md").read_text()
    made.clear()
    assert states(render(folder, size="small")) == {"toy": "made", "same": "made"}
    assert made == {"train two": 1, "curve of two": 1, "draw toy": 1}
    assert {path.name for path in (folder / "gallery-small").iterdir()} == {path.name for path in full}
    assert {path: path.read_bytes() for path in full} == full
    assert (folder / "README.md").read_text() == page
    with pytest.raises(LandscapeError, match="small pictures would overwrite those of the full size"):
        render(folder, size="small", output=folder / "gallery")
    made.clear()
    assert states(render(folder)) == {"toy": "current", "same": "current"}
    assert not made


def test_directions_of_a_file_beside_the_recipe(tmp_path, made, capsys):
    form = quadratic(QuadraticOptions())
    head = RECIPE.partition("[run.two]")[0]
    panel = "[[panel]]\nkind = 'curve'\npoints = 5\ndtype = 'float64'\ndirections = 'mine.npz'\n"
    keys = []
    for name, column in (("flat", 0), ("copy", 0), ("steep", 3)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "toy.toml").write_text(head + panel)
        np.savez(folder / "mine.npz", **{"x/weight": form.eigenvectors[None, :, column]})
        recipe = load(folder / "toy.toml")
        keys.append(Graph(Where()).add(recipe))
        curve = recipe.panels[0].surfaces(tmp_path / "cache")["one"]
        assert np.diff(curve["train_loss"], 2) / 0.5**2 == pytest.approx(form.eigenvalues[column], rel=1e-5)
    # What is in the file counts, not where it lies.
    assert keys[0] == keys[1] != keys[2]
    assert made == {"train one": 1, "curve of one": 2}
    np.savez(folder / "mine.npz", **{"x/wieght": form.eigenvectors[None, :, 0]})
    with pytest.raises(SystemExit) as ended:
        main(["render", str(folder), "--cache", str(tmp_path / "cache")])
    assert ended.value.code == 2
    said = "mine.npz: the directions do not fit the model: direction 1: the origin has no tensor 'wieght'"
    assert said in capsys.readouterr().err


def test_a_key_depends_on_the_version_of_the_code(folder, monkeypatch):
    recipe = load(folder / "toy.toml")
    before = Graph(Where()).add(recipe)
    monkeypatch.setitem(__import__("landscape.recipe.steps", fromlist=["VERSIONS"]).VERSIONS, "train", 99)
    assert Graph(Where()).add(recipe) != before


def test_without_the_cache_a_picture_is_known_by_the_page_of_its_folder(folder, made):
    render(folder)
    np.savez(folder / "gallery" / "toy.npz")
    page = (folder / "README.md").read_text()
    shutil.rmtree(folder / ".landscape-cache")
    made.clear()
    report = render(folder)
    assert (report.recipes[0].state, made) == ("current", Counter())
    assert report.recipes[0].seconds > 0
    assert (folder / "README.md").read_text() == page
    # Controls: a recipe that says something else, and a picture that is gone.
    (folder / "toy.toml").write_text(RECIPE.replace("points = 5", "points = 7"))
    assert render(folder, dry_run=True).recipes[0].state == "planned"
    (folder / "toy.toml").write_text(RECIPE)
    (folder / "gallery" / "toy.png").unlink()
    assert render(folder, dry_run=True).recipes[0].state == "planned"


def test_the_page_knows_what_was_in_a_file_that_is_drawn(tmp_path):
    shutil.copy(Path(__file__).parents[2] / "figures" / "studies" / "digits-study.npz", tmp_path / "kept.npz")
    (tmp_path / "study.toml").write_text('# A study.\npanel = [{ kind = "study", study = "kept.npz" }]\n')
    render(tmp_path)
    assert "Read from kept.npz (SHA-256" in (tmp_path / "README.md").read_text()
    shutil.rmtree(tmp_path / ".landscape-cache")
    assert states(render(tmp_path, dry_run=True)) == {"study": "current"}
    with (tmp_path / "kept.npz").open("ab") as file:
        file.write(b"more")
    assert states(render(tmp_path, dry_run=True)) == {"study": "planned"}


def test_a_deleted_cache_is_made_again_with_the_same_numbers(folder):
    render(folder)
    before = np.load(folder / "gallery" / "toy.npz")
    first = {name: before[name] for name in before.files}
    shutil.rmtree(folder / ".landscape-cache")
    shutil.rmtree(folder / "gallery")
    assert render(folder).count("made") == len(ALL)
    after = np.load(folder / "gallery" / "toy.npz")
    assert set(after.files) == set(first)
    assert set(first) >= {"0/one/x", "0/two/train_loss", "1/one/train_loss"}
    for name, values in first.items():
        assert after[name] == pytest.approx(values, rel=1e-5), name


def test_a_deleted_picture_is_put_back_from_the_cache(folder, made):
    render(folder)
    made.clear()
    (folder / "gallery" / "toy.png").unlink()
    assert states(render(folder, dry_run=True)) == {"toy": "planned"}
    assert not (folder / "gallery" / "toy.png").exists()
    assert states(render(folder)) == {"toy": "made"}
    assert made == {}


def test_a_damaged_record_or_result_is_made_again(folder, made):
    render(folder)
    made.clear()
    cache = folder / ".landscape-cache"
    picture = next(cache.glob("picture/*.json"))
    picture.write_text("{")
    curve = next(path for path in cache.glob("slice/*.json") if "surface of one" in path.read_text())
    curve.with_suffix(".h5").write_bytes(b"not a surface")
    render(folder)
    assert set(made) == {"draw toy", "surface of one"}


def test_force_makes_everything_again(folder, made):
    render(folder)
    render(folder, force=True)
    assert made == dict.fromkeys(ALL, 2)


def test_two_recipes_share_a_run(folder, made):
    (folder / "other.toml").write_text(RECIPE.replace("points = 5", "points = 9"))
    assert states(render(folder)) == {"other": "made", "toy": "made"}
    assert made["train one"] == made["train two"] == made["surface of one"] == 1
    assert made["curve of one"] == 2


def test_a_dry_run_makes_nothing_and_estimates_from_earlier_runs(folder, made):
    report = render(folder, dry_run=True)
    assert states(report) == {"toy": "planned"}
    assert made == {}
    assert not (folder / ".landscape-cache").exists()
    # What it has not seen the like of, it tries; pictures it does not.
    assert [step.estimate is None for step in report.steps.values()] == [False] * (len(ALL) - 1) + [True]
    render(folder)
    (folder / "toy.toml").write_text(RECIPE.replace("epochs = 3", "epochs = 6"))
    steps = {step.step.title: step for step in render(folder, dry_run=True).steps.values()}
    assert all(step.estimate > 0 for step in steps.values())
    assert steps["train one"].step.units == 6


SLOW = """
import time, torch, landscape as ls

class Slow(torch.nn.Linear):
    def forward(self, x):
        time.sleep(0.02)
        return super().forward(x)

def make():
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    return ls.Objective(Slow(4, 2), loss=torch.nn.functional.mse_loss, train=(x, x[:, :2]))
"""


def test_a_dry_run_times_one_update_and_one_point(folder):
    """Where a forward pass takes 20 ms, the time of a training and of a curve is known beforehand."""
    (folder / "slow.py").write_text(SLOW)
    (folder / "toy.toml").write_text(
        "[run.one]\nproblem = 'slow.py:make'\nepochs = 10\nbatch_size = 8\nmomentum = 0.0\n"
        "[[panel]]\nkind = 'curve'\npoints = 30\n"
    )
    report = render(folder, dry_run=True)
    estimates = {step.step.kind: step.estimate for step in report.steps.values()}
    # 40 updates and 11 snapshots of one pass each; 30 points.
    for kind, passes in (("train", 51), ("slice", 30)):
        assert 0.02 * passes <= estimates[kind] <= 2 * 0.02 * passes
    assert not (folder / ".landscape-cache").exists()


FAILING = {
    "user.toml": ("# Fails by the user's code.\n[run.bad]\nproblem = 'mine.py:make'\n[[panel]]\nkind = 'curve'\n"),
    "data.toml": "# Needs data.\n[run.bad]\nproblem = 'cifar10-cnn6'\n[[panel]]\nkind = 'curve'\n",
    "wrong.toml": "# Is wrong.\n[run.bad]\nproblem = 'toy-quadratic'\n[[panel]]\nkind = 'curv'\n",
}


def test_failures_do_not_stop_the_others(folder, made, monkeypatch, capsys):
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    (folder / "mine.py").write_text("def make():\n    raise ValueError('broken on purpose')\n")
    for name, text in FAILING.items():
        (folder / name).write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["render", str(folder), "--json"])
    assert stopped.value.code == 2
    document = json.loads(capsys.readouterr().out)
    recipes = {recipe["name"]: recipe for recipe in document["recipes"]}
    assert {name: recipe["state"] for name, recipe in recipes.items()} == {
        "data": "failed",
        "toy": "made",
        "user": "failed",
        "wrong": "faulty",
    }
    mine = folder / "mine.py"
    assert recipes["user"]["errors"] == [f"train bad: {mine}:2: raised ValueError: broken on purpose"]
    assert recipes["data"]["errors"][0].startswith("train bad: the CIFAR-10 images are not in the package; give")
    assert recipes["wrong"]["errors"] == [
        f"line 5, panel 1, kind: must be {' or '.join(KINDS)}; got 'curv'; did you mean 'curve'?"
    ]
    assert {step["state"] for step in document["steps"] if step["title"] == "curve of bad"} == {"skipped"}
    # The page of a gallery is written when all of it is there.
    assert document["pages"] == []
    assert made["train one"] == 1


def test_a_fault_of_ours_is_told_apart(folder, made, monkeypatch, capsys):
    def broken(step, cache, progress):
        raise RuntimeError("a bug")

    monkeypatch.setitem(tasks._MAKERS, "slice", broken)
    with pytest.raises(SystemExit) as stopped:
        main(["render", str(folder)])
    assert stopped.value.code == 1
    told = capsys.readouterr()
    assert "failed      toy" in told.out
    assert "toml: curve of one: RuntimeError: a bug" in told.err
    assert 'raise RuntimeError("a bug")' in told.err


def test_ctrl_c_keeps_what_is_finished(folder, made, monkeypatch, capsys):
    (folder / "zz.toml").write_text(RECIPE.replace("seed = 1", "seed = 5"))
    maker = tasks._MAKERS["train"]

    def interrupted(step, cache, progress):
        if step.settings["training"]["seed"] == 5:
            raise KeyboardInterrupt
        return maker(step, cache, progress)

    monkeypatch.setitem(tasks._MAKERS, "train", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["render", str(folder)])
    assert stopped.value.code == 130
    assert "what was finished is kept" in capsys.readouterr().err
    assert (folder / "gallery" / "toy.png").exists()
    assert not (folder / "gallery" / "zz.png").exists()


def test_the_page_shows_pictures_recipes_and_settings(folder, made):
    report = render(folder)
    page = folder / "README.md"
    assert report.pages == (page,)
    text = page.read_text()
    assert "![Two runs on a quadratic](gallery/toy.png)" in text
    assert 'problem = "toy-quadratic"\nepochs = 3\n' in text
    assert "`two`: toy-quadratic, sgd, 3 epochs, rate 0.05 (constant)" in text
    assert "seed 1." in text
    written = page.stat().st_mtime_ns
    render(folder)
    assert page.stat().st_mtime_ns == written
    page.unlink()
    assert render(folder / "toy.toml").pages == ()
    assert render(folder, only="t*").pages == ()
    assert not page.exists()


def test_targets_that_are_not_there(folder, tmp_path):
    with pytest.raises(LandscapeError, match=r"no recipe matches 'x\*'; there are toy$"):
        render(folder, only="x*")
    with pytest.raises(LandscapeError, match=r"none\.toml: no such recipe or folder$"):
        render(folder / "none.toml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LandscapeError, match=r"empty: no recipe in this folder; expected files \*\.toml$"):
        render(tmp_path / "empty")


def test_the_command_says_what_it_did(folder, made, capsys):
    for arguments, said in (
        (["--dry-run"], "1 recipe: 1 to be made; 6 steps to make, 0 in"),
        ([], "1 recipe: 1 made; 6 steps made, 0 in"),
        ([], "1 recipe: 1 up to date; 0 steps made, 6 in"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["render", str(folder), *arguments])
        assert not stopped.value.code
        assert said in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["render", "-h"])
    assert "Example: landscape render figures/ --jobs 2" in capsys.readouterr().out


def test_a_stored_run_counts_by_its_content(folder, made):
    render(folder)
    files = sorted((folder / ".landscape-cache" / "train").glob("*.h5"))
    (folder / "stored.toml").write_text(
        "# Stored.\n[run.a]\nfile = 'a.h5'\n[[panel]]\nkind = 'curve'\npoints = 3\n"
    )
    shutil.copy(files[0], folder / "a.h5")
    for expected in (1, 1):
        render(folder / "stored.toml")
        assert made["curve of a"] == expected
    shutil.copy(files[1], folder / "a.h5")
    render(folder / "stored.toml")
    assert made["curve of a"] == 2


def test_code_of_ones_own_counts_by_its_content(folder, made):
    text = (
        "import torch\n\n\ndef make(scale=1.0):\n    x = torch.linspace(-1, 1, 8)[:, None] * scale\n"
        "    return torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, x)\n"
    )
    (folder / "mine.py").write_text(text)
    (folder / "own.toml").write_text(
        "# Own.\n[run.a]\nproblem = 'mine.py:make'\noptions = { scale = 2.0 }\n"
        "[[panel]]\nkind = 'curve'\npoints = 3\n"
    )
    for expected in (1, 1):
        assert states(render(folder / "own.toml"))["own"] != "failed"
        assert made["train a"] == expected
    (folder / "mine.py").write_text(text.replace("8)", "9)"))
    render(folder / "own.toml")
    assert made["train a"] == 2


def test_an_import_is_made_once_for_each_content(folder, made, monkeypatch):
    def importer(path, files, model, *, problem, problem_args, overwrite, progress, steps):
        with Recorder(path, model, problem=problem, problem_args=problem_args, overwrite=overwrite) as recorder:
            for step, file in zip(steps, files, strict=True):
                recorder.snapshot(step, weights=torch.load(file, weights_only=True))
                progress(step, len(files))

    monkeypatch.setattr(trajectory, "import_checkpoints", importer, raising=False)
    for n in range(2):
        torch.save({"weight": torch.full((1, 4), float(n))}, folder / f"w{n}.pt")
    (folder / "own.toml").write_text(
        "# Imported.\n[run.a]\nimport = { files = 'w*.pt', steps = [1, 2] }\nproblem = 'toy-quadratic'\n"
        "[[panel]]\nkind = 'curve'\npoints = 3\n"
    )
    for expected in (1, 1):
        assert states(render(folder / "own.toml"))["own"] != "failed"
        assert made["import a"] == made["curve of a"] == expected
    run = open_trajectory(next((folder / ".landscape-cache").glob("import/*.h5")))
    assert run[-1].weights["weight"].tolist() == [[1.0] * 4]
    torch.save({"weight": torch.full((1, 4), 5.0)}, folder / "w1.pt")
    render(folder / "own.toml")
    assert made["import a"] == made["curve of a"] == 2


def test_a_panel_is_drawn_by_itself(folder, made):
    recipe = load(folder / "toy.toml")
    surfaces = recipe.panels[0].surfaces(folder / "mycache")
    assert {name: surface.values.shape for name, surface in surfaces.items()} == {"one": (5,), "two": (5,)}
    assert made["train one"] == 1
    figure, (left, right) = plt.subplots(1, 2)
    assert draw_panel(recipe, 0, ax=left, cache=folder / "mycache") is figure
    drawn = [line for line in left.lines if len(line.get_xdata()) == 5]
    assert [list(line.get_ydata()) for line in drawn] == [list(surface.values) for surface in surfaces.values()]
    draw_panel(recipe, 1, ax=right, cache=folder / "mycache")
    assert right.collections
    plt.close(figure)
    assert made["train one"] == 1
    with pytest.raises(LandscapeError, match=r"there is no such panel; got 2; expected 0 to 1$"):
        draw_panel(recipe, 2, cache=folder / "mycache")


def test_the_line_through_two_runs_ends_at_their_own_losses(folder):
    (folder / "toy.toml").write_text(
        RECIPE.replace('kind = "curve"\n', 'kind = "curve"\nplane = "runs"\nx_values = [0, 0.5, 1]\n')
    )
    panel = load(folder / "toy.toml").panels[0]
    (name, surface), *others = panel.surfaces(folder / "cache").items()
    assert (name, others) == ("one – two", [])
    runs = {run.training["seed"]: run for run in map(open_trajectory, (folder / "cache").glob("train/*.h5"))}
    ends = [float(runs[seed].metrics["train_loss"][-1]) for seed in (0, 1)]
    assert surface.values[[0, 2]] == pytest.approx(ends, rel=1e-6)
    # A quadratic lies below its chord, by an eighth of the curvature along it.
    assert surface.values[1] < np.mean(ends)
    assert [mark["label"] for mark in surface.meta["plane"]["marks"]] == ["one", "two"]
    alone = replace(panel, runs={"one": panel.runs["one"]})
    with pytest.raises(LandscapeError, match=r"^a curve goes through 2 runs; got 1$"):
        alone.surfaces(folder / "cache")


def test_pairs_at_work_are_told(tmp_path):
    recipe = tmp_path / "pairs.toml"
    recipe.write_text(
        "# Pairs.\n[runs]\nproblem = 'digits-mlp'\noptions = { width = 4, train_size = 40 }\nepochs = 1\n"
        "[run.'n {s=1..4}']\n[[panel]]\nkind = 'alignment'\npoints = 3\n"
    )
    events = []
    assert render(recipe, notify=events.append).done
    told = [event.what for event in events if event.kind == "progress" and event.what]
    assert list(dict.fromkeys(told)) == ["n 1 to n 2", "n 3 to n 4"]


@pytest.fixture
def noise():
    """A picture that no compression makes small."""
    figure, ax = plt.subplots(figsize=(7, 5), dpi=200)
    ax.imshow(np.random.default_rng(0).normal(size=(500, 700)).cumsum(axis=1), interpolation="bicubic")
    yield figure
    plt.close(figure)


@pytest.mark.fully_drawn
def test_a_picture_keeps_its_dots_however_many_bytes_it_has(noise, tmp_path):
    save_png(noise, tmp_path / "noise.png")
    noise.savefig(tmp_path / "whole.png", dpi=200)
    sizes = [(tmp_path / name).stat().st_size for name in ("noise.png", "whole.png")]
    assert MOST_BYTES < sizes[0] < sizes[1]
    with Image.open(tmp_path / "noise.png") as picture:
        assert (picture.width, picture.height) == (1400, 1000)
        assert picture.mode == "P"


def test_a_picture_for_a_small_page_has_as_many_bytes_as_it_may(noise, tmp_path):
    save_png(noise, tmp_path / "noise.png", most=MOST_BYTES)
    assert (tmp_path / "noise.png").stat().st_size <= MOST_BYTES
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.width / 7 == pytest.approx(picture.info["dpi"][0], rel=0.01)


def test_a_transparent_picture_stays_so_with_a_palette(noise, tmp_path):
    with Look(transparent=True).applied():
        sheet = Sheet(7, 5)
        with sheet.styled():
            ax = sheet.subplots()
            ax.imshow(np.random.default_rng(0).normal(size=(500, 700)), interpolation="bicubic")
    save_png(sheet, tmp_path / "noise.png")
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.mode == "P"
        assert picture.convert("RGBA").getpixel((0, 0))[3] == 0


def test_durations():
    assert [duration(s) for s in (0.2, 59.4, 75, 7260)] == ["1 s", "59 s", "1 min 15 s", "2 h 1 min"]


# Long enough to be killed in the middle, and worth resuming.
LONG = """# Two longer runs.
[runs]
problem = "digits-mlp"
options = { width = 8 }
epochs = EPOCHS
[run.one]
[run.two]
seed = 1
[[panel]]
kind = "curve"
points = 5
metric = "loss"
split = "train"
"""


def start(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    code = "import sys; from landscape.cli.main import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, "render", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def runs_in(cache):
    return {json.loads(path.read_text())["title"] for path in cache.glob("train/*.json")}


def test_killed_in_the_middle_only_the_rest_is_made(tmp_path, made):
    (tmp_path / "long.toml").write_text(LONG.replace("EPOCHS", "60"))
    cache = tmp_path / ".landscape-cache"
    child = command(tmp_path, "landscape render .")

    def partial():
        return [path for path in cache.glob("train/*.h5") if not path.with_suffix(".json").exists()]

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.is_alive():
        begun = partial() if runs_in(cache) == {"train one"} else []
        if begun and len(open_trajectory(begun[0])) > 3:
            break
        time.sleep(0.02)
    child.kill()
    child.join()
    assert runs_in(cache) == {"train one"}
    (file,) = partial()
    begun = open_trajectory(file)
    assert 3 < len(begun) < 61
    assert states(render(tmp_path)) == {"long": "made"}
    assert made == {"train two": 1, "curve of two": 1, "draw long": 1}
    resumed = open_trajectory(file)
    assert (resumed.run_id, len(resumed), resumed.finished) == (begun.run_id, 61, True)


def test_two_recipes_with_two_jobs_and_two_commands_train_once(tmp_path):
    for name, points in (("a", 5), ("b", 7)):
        text = LONG.replace("EPOCHS", "5").replace("points = 5", f"points = {points}")
        text = text.replace('"digits-mlp"\noptions = { width = 8 }', '"toy-quadratic"')
        (tmp_path / f"{name}.toml").write_text(text)
    killed = "import os, signal\n\n\ndef make():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    (tmp_path / "deadly.py").write_text(killed)
    (tmp_path / "c.toml").write_text("# Dies.\n[run.x]\nproblem = 'deadly.py:make'\n[[panel]]\nkind = 'curve'\n")
    # One with workers, which pay for their imports, and one that makes its steps itself.
    lines = {"first": "--jobs 2 --only [abc]", "second": "--only [ab]"}
    children = [command(tmp_path, f"landscape render . --json {line}", name) for name, line in lines.items()]
    for child in children:
        child.join(240)
    documents = [json.loads((tmp_path / f"{name}.out").read_text()) for name in lines]
    trained = Counter(
        step["title"] for document in documents for step in document["steps"] if step["state"] == "made"
    )
    assert trained["train one"] == trained["train two"] == 1
    assert [{r["name"]: r["state"] for r in document["recipes"]} for document in documents] == [
        {"a": "made", "b": "made", "c": "failed"},
        {"a": "made", "b": "made"},
    ]
    # A worker that is killed takes nobody along.
    assert documents[0]["recipes"][2]["errors"] == [
        "train x: its process died (signal 9, perhaps for want of memory)"
    ]
    assert [child.exitcode for child in children] == [1, 0]


def test_interrupted_workers_leave_in_peace(tmp_path):
    (tmp_path / "long.toml").write_text(LONG.replace("EPOCHS", "5000"))
    child = start(tmp_path, "--jobs", 2)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(tmp_path.glob(".landscape-cache/train/*.h5"))) < 2:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err == "landscape: interrupted; no step was finished yet; run the same command to go on\n"
    # They can be read, though one may have been interrupted before its first snapshot.
    assert len([open_trajectory(path) for path in tmp_path.glob(".landscape-cache/train/*.h5")]) == 2


def test_data_count_by_names_and_sizes_wherever_they_lie(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / "train" / "0.jpg").write_bytes(b"12")
    same = digest_of_data(tmp_path / "here")
    assert digest_of_data(tmp_path / "there") == same
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "here" / "train")
    assert digest_of_data(tmp_path / "linked") == same
    (tmp_path / "here" / "train" / "0.jpg").write_bytes(b"123")
    assert digest_of_data(tmp_path / "here") != same
    (tmp_path / "there" / "train" / "round").symlink_to(tmp_path / "there")
    assert digest_of_data(tmp_path / "there") != same
    assert digest_of_data(tmp_path / "nowhere") == "missing"
