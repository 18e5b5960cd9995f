"""Recipes that are wrong: every fault is told at once, with its line, its key and the nearest name."""

import pytest

from landscape.errors import LandscapeError
from landscape.plots import KINDS
from landscape.recipe import RecipeError, load
from landscape.recipe.toml_lines import find_lines

RUN = '[run.base]\nproblem = "digits-mlp"\n'
PANEL = '[[panel]]\nkind = "curve"\n'

# Name -> text, and the whole message after the name of the file, one entry for each fault.
BROKEN = {
    "not TOML": (
        "# A caption.\n[run.base\n",
        ["line 2: not TOML: expected ']' at the end of a table declaration"],
    ),
    "twice the same key": (
        "# A caption.\n[run.base]\nproblem = 'digits-mlp'\nproblem = 'digits-cnn'\n",
        ["line 4: not TOML: cannot overwrite a value"],
    ),
    "too long": (
        "# A caption.\n" + RUN + PANEL + "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\npoints = 5\n",
        ["line 26: a recipe has at most 25 lines, got 26; settings of all runs go into [runs]"],
    ),
    "nothing in it": (
        "# A caption.\n",
        [
            "line 1: there is no panel; write [[panel]] with a kind",
            "line 1: there is no run; write [run.NAME] with a problem or a file",
        ],
    ),
    "unknown table": (
        "# A caption.\n" + RUN + PANEL + "[figur]\nstyle = 'paper'\n",
        ["line 6, figur: there is no such key; did you mean 'figure'?"],
    ),
    "unknown setting": (
        "# A caption.\n" + RUN + "epochz = 40\n" + PANEL,
        ["line 4, run.base.epochz: there is no such key; did you mean 'epochs'?"],
    ),
    "wrong type": (
        "# A caption.\n" + RUN + "epochs = 'forty'\nnesterov = 1\n" + PANEL,
        [
            "line 4, run.base.epochs: has the wrong type; got 'forty'; expected a whole number",
            "line 5, run.base.nesterov: has the wrong type; got 1; expected true or false",
        ],
    ),
    "out of range": (
        "# A caption.\n" + RUN + "epochs = 0\nlr = -1\noptimizer = 'sdg'\n" + PANEL,
        [
            "line 4, run.base.epochs: is out of range; got 0; expected at least 1",
            "line 5, run.base.lr: is out of range; got -1; expected above 0",
            "line 6, run.base.optimizer: has no such choice; got 'sdg'; did you mean 'sgd'?",
        ],
    ),
    "settings that exclude each other": (
        "# A caption.\n" + RUN + "nesterov = true\nmomentum = 0\n" + PANEL,
        ["line 4, run.base.nesterov: nesterov needs a momentum above 0"],
    ),
    "unknown problem": (
        "# A caption.\n[run.base]\nproblem = 'digit-mlp'\n" + PANEL,
        [
            "line 3, run.base.problem: there is no problem 'digit-mlp'; did you mean 'digits-mlp'?; "
            "one of your own is named FILE.py:function"
        ],
    ),
    "wrong options": (
        "# A caption.\n" + RUN + "options = { widht = 8, depth = -1 }\n" + PANEL,
        [
            "line 4, run.base.options.depth: option 'depth' is out of range; got -1; expected at least 0",
            "line 4, run.base.options.widht: there is no option 'widht'; did you mean 'width'?",
        ],
    ),
    "own problem is missing": (
        "# A caption.\n[run.a]\nproblem = 'mine.py:mke'\n[run.b]\nproblem = 'yours.py:make'\n" + PANEL,
        [
            "line 3, run.a.problem: there is no function 'mke' in 'mine.py'; did you mean 'make'?",
            "line 5, run.b.problem: there is no such file; got 'yours.py'; it is looked for beside the recipe",
        ],
    ),
    "file is missing": (
        "# A caption.\n[run.base]\nfile = 'run.h5'\nepochs = 3\n" + PANEL,
        [
            "line 3, run.base.file: there is no such file; got 'run.h5'; it is looked for beside the recipe",
            "line 4, run.base.epochs: there is no such key; choose from file, problem, options, data",
        ],
    ),
    "no source": (
        "# A caption.\n[run.base]\nepochs = 3\n" + PANEL,
        ["line 2, run.base: a run needs one of problem, file, import, transform, branch"],
    ),
    "two sources": (
        "# A caption.\n[run.base]\nfile = 'mine.py'\nimport = { files = 'a.pt' }\n" + PANEL,
        ["line 4, run.base.import: a run has either 'file' or 'import'"],
    ),
    "wrong transformations": (
        "# A caption.\n"
        + RUN
        + "[run.scaled]\ntransform = { of = 'bse', alpha = 10 }\n"
        + "[run.both]\ntransform = { of = 'base', alpha = 10, balance = true }\n"
        + "[run.other]\ntransform = { of = 'base', alhpa = 10 }\n"
        + PANEL,
        [
            "line 5, run.scaled.transform: there is no run 'bse' above; did you mean 'base'?",
            "line 7, run.both.transform: a transformation is one of alpha, balance, flattest, unit-norm, permute, "
            "rescale, random-basis, rotate, canonical; got alpha and balance",
            "line 9, run.other.transform.alhpa: there is no such key; did you mean 'alpha'?",
        ],
    ),
    "wrong import": (
        "# A caption.\n[run.base]\nimport = { steps = ['one'], mising = 'initial' }\n" + PANEL,
        [
            "line 3, run.base.import: 'files' is missing",
            "line 3, run.base.import.mising: there is no such key; did you mean 'missing'?",
            "line 3, run.base.import.steps: must be a list of whole numbers; got ['one']",
        ],
    ),
    "run in the table of all runs": (
        "# A caption.\n[runs.base]\nproblem = 'digits-mlp'\n" + PANEL,
        [
            "line 1: there is no run; write [run.NAME] with a problem or a file",
            "line 2, runs.base: [runs] holds what all runs have in common; write [run.base]",
        ],
    ),
    "unknown kind": (
        "# A caption.\n" + RUN + "[[panel]]\nkind = 'curv'\n",
        [f"line 5, panel 1, kind: must be {' or '.join(KINDS)}; got 'curv'; did you mean 'curve'?"],
    ),
    "unknown run": (
        "# A caption.\n" + RUN + PANEL + "runs = ['bose']\n",
        ["line 6, panel 1, runs: there is no run 'bose'; did you mean 'base'?"],
    ),
    "run that nothing draws": (
        "# A caption.\n" + RUN + "[run.other]\nproblem = 'digits-cnn'\n" + PANEL + "runs = ['base']\n",
        ["line 4, run.other: no panel draws this run; name it in the runs of a panel"],
    ),
    "wrong options of a panel": (
        "# A caption.\n" + RUN + PANEL + "normalize = 'filtre'\npoints = 1.5\nmetric = 'los'\nview = '3d'\n",
        [
            "line 6, panel 1, normalize: has no such choice; got 'filtre'; did you mean 'filter'?",
            "line 7, panel 1, points: has the wrong type; got 1.5; expected a number of points, as 41 or 41x21",
            "line 8, panel 1, metric: must be loss or error or penalty or total or hessian_ratio; got 'los'; "
            "did you mean 'loss'?",
            "line 9, panel 1, view: a curve has one view only; got '3d'; leave it out",
        ],
    ),
    "plane and kind do not go together": (
        "# A caption.\n" + RUN + PANEL + "plane = 'pca'\n",
        ["line 6, panel 1, plane: a curve is drawn along a line: plane random or snapshots:STEP,STEP"],
    ),
    "directions that are not there, or beside a plane": (
        "# A caption.\n"
        + RUN
        + PANEL
        + "directions = 'no.npz'\n"
        + PANEL
        + "directions = 'mine.py'\nplane = 'random'\n",
        [
            "line 6, panel 1, directions: there is no such file; got 'no.npz'; it is looked for beside the recipe",
            "line 9, panel 2, directions: directions from a file are a plane of their own, leave plane random out",
        ],
    ),
    "too few runs for the plane": (
        "# A caption.\n" + RUN + PANEL + "plane = 'runs'\n",
        ["line 6, panel 1, plane: a curve goes through 2 runs, got 1"],
    ),
    "two ways to say an axis": (
        "# A caption.\n" + RUN + PANEL + "x_range = [0, 1]\nx_values = [0, 0.5, 1]\n",
        ["line 7, panel 1, x_values: an axis has either x_range or x_values"],
    ),
    "range of panels in a list": (
        "# A caption.\npanel = [\n  { kind = 'curve' },\n  { kind = 'surface', x_range = [1, 0] },\n]\n" + RUN,
        [
            "line 4, panel 2, x_range: the range of an axis must be finite and not empty; got [1.0, 0.0]; "
            "give the lower end first, as -1:1"
        ],
    ),
    "panel without brackets": (
        "# A caption.\n" + RUN + "[panel]\nkind = 'curve'\n",
        ["line 4, panel: every panel has a table of its own; write [[panel]] with two brackets"],
    ),
    "wrong figure": (
        "# A caption.\n"
        + RUN
        + PANEL
        + "[figure]\nstyle = 'papre'\nwidth = 'nurips'\ncolumns = 0\nformats = ['jpg']\n",
        [
            "line 7, figure.style: has no such choice; got 'papre'; did you mean 'paper'?",
            "line 8, figure.width: there is no width 'nurips'; did you mean 'neurips'? or give a number of inches",
            "line 9, figure.columns: is out of range; got 0; expected at least 1",
            "line 10, figure.formats: has the wrong type; got ['jpg']; expected a list out of png, pdf, svg, html",
        ],
    ),
    "branches that are none": (
        "# A caption.\n" + RUN + "[run.twig]\nbranch = { of = 'base' }\n"
        "[[panel]]\nkind = 'branches'\nruns = ['twig', 'base']\nshow = 'distanc'\nmetric = 'accuracy'\n"
        "[[panel]]\nkind = 'branches'\nruns = ['base', 'twig']\n"
        "[[panel]]\nkind = 'branches'\nruns = ['base']\n"
        "[[panel]]\nkind = 'branches'\nshow = 'distance'\n",
        [
            "line 8, panel 1, runs: 'base' is the trunk, no branch; leave it out",
            "line 9, panel 1, show: has no such choice; got 'distanc'; did you mean 'distance'?",
            "line 10, panel 1, metric: has no such choice; got 'accuracy'; expected loss or error",
            "line 13, panel 2, runs: 'base' is the trunk, no branch; leave it out",
            "line 16, panel 3, runs: 'base' is no branch; name runs with the same branch = { of = ..., at = ... }",
            "line 17, panel 4: two runs have a distance; got 1; name another branch",
        ],
    ),
    "a small version": (
        "# A caption.\n" + RUN + PANEL + "[small]\nruns = { epochs = 0 }\npanel = [{ pionts = 5 }]\nfigur = 1\n"
        "[small.run.base]\nseed = -1\n",
        [
            "line 7, runs.epochs: is out of range; got 0; expected at least 1",
            "line 8, panel 1, pionts: there is no such key; did you mean 'points'?",
            "line 9, figur: there is no such key; did you mean 'figure'?",
            "line 11, run.base.seed: is out of range; got -1; expected at least 0",
        ],
    ),
    "a small version that is no table": (
        "# A caption.\nsmall = 1\n" + RUN + PANEL,
        ["line 2, small: must be a table"],
    ),
    "several at once": (
        "# A caption.\n" + RUN + "epochz = 4\n" + PANEL + "pionts = 5\n[figure]\nshare = 'perhaps'\n",
        [
            "line 4, run.base.epochz: there is no such key; did you mean 'epochs'?",
            "line 7, panel 1, pionts: there is no such key; did you mean 'points'?",
            "line 9, figure.share: has the wrong type; got 'perhaps'; expected true or false",
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_whole_message_of_a_broken_recipe(name, tmp_path):
    (tmp_path / "mine.py").write_text("def make():\n    pass\n")
    text, faults = BROKEN[name]
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as refused:
        load(path)
    assert str(refused.value) == f"{path}: " + " | ".join(faults)


def test_a_recipe_needs_no_caption(tmp_path):
    path = tmp_path / "figure.toml"
    path.write_text(RUN + RUN.replace("base", "other") + PANEL + "[[panel]]\nkind = 'curve'\nruns = ['other']\n")
    assert load(path).caption == "Curve of base, other; curve of other."
    path.write_text("# Mine. It says more.\n" + RUN + PANEL)
    assert load(path).caption == "Mine. It says more."


def test_the_small_version_has_its_keys_in_place_of_the_others(tmp_path):
    path = tmp_path / "figure.toml"
    body = "# A caption.\n" + RUN + "epochs = 9\noptions = { width = 8, depth = 1 }\n" + 2 * PANEL
    small = "[small]\npanel = [{ points = 5 }]\nrun.base = { epochs = 2, options = { depth = 3 } }\n"
    path.write_text(body + "\n" * 13 + small)
    full, less = load(path), load(path, size="small")
    path.write_text(body)
    assert (full.runs, full.panels) == (load(path).runs, load(path).panels)
    assert (less.runs["base"].training.epochs, dict(less.runs["base"].options)) == (2, {"width": 8, "depth": 3})
    assert [panel.options.points for panel in less.panels] == [5, full.panels[1].options.points]
    assert load(path, size="small").runs == full.runs


def test_the_version_of_the_paper_is_another_and_lines_of_both_are_beyond_the_25(tmp_path):
    path = tmp_path / "figure.toml"
    body = "# A caption.\n" + RUN + "epochs = 9\n" + PANEL
    path.write_text(body + "\n" * 15 + "[paper]\nrun.base = { epochs = 300 }\n[small]\nruns = { epochs = 1 }\n")
    found = [load(path, size=size).runs["base"].training.epochs for size in ("full", "small", "paper")]
    assert found == [9, 9, 300]
    with pytest.raises(LandscapeError, match="there is no size 'papre'; did you mean 'paper'"):
        load(path, size="papre")


FAMILY = """
panel = [{ kind = "mds", runs = ["stage*"] }, { kind = "mds", title = "all" }]
[runs]
problem = "toy-quadratic"
epochs = 1
[run]
"stage 0, run 1" = {}
"stage {s=1..3}, run {r=1..2}" = { branch = { of = "stage {s-1}, run 1", epochs = 2, seed = 10 } }
"other {n=5..6}" = { seed = 3 }
"""


def test_a_family_of_runs_is_written_once(tmp_path):
    path = tmp_path / "figure.toml"
    path.write_text(FAMILY)
    recipe = load(path)
    assert list(recipe.runs) == [
        *("stage 0, run 1", "stage 1, run 1", "stage 1, run 2", "stage 2, run 1", "stage 2, run 2"),
        *("stage 3, run 1", "stage 3, run 2", "other 5", "other 6"),
    ]
    last = recipe.runs["stage 3, run 2"]
    assert last.base == recipe.runs["stage 2, run 1"]
    assert [run.training.seed for run in recipe.runs.values()] == [0, 10, 11, 12, 13, 14, 15, 3, 4]
    assert [len(panel.runs) for panel in recipe.panels] == [7, 9]


def test_faults_of_a_family_are_told_once_where_they_are_written(tmp_path):
    path = tmp_path / "figure.toml"
    path.write_text(FAMILY.replace("epochs = 2", "epochz = 2"))
    with pytest.raises(RecipeError) as refused:
        load(path)
    assert str(refused.value).count("epochz") == 1
    assert "line 8, run.stage {s=1..3}, run {r=1..2}.branch.epochz: there is no such key" in str(refused.value)
    path.write_text(FAMILY.replace('"other {n=5..6}"', '"stage {n=2..2}, run 1"'))
    with pytest.raises(RecipeError, match="two tables stand for the run 'stage 2, run 1'"):
        load(path)


def test_there_are_enough_of_them():
    assert len(BROKEN) >= 20


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(Exception, match=r"none\.toml: no such recipe$"):
        load(tmp_path / "none.toml")


LINES = """# A key is marked with its path.
plain = 1  #@ plain
quoted."key two" = "[no.header]"  #@ quoted/key two
text = \'\'\'
[not.a.header]
fake = 1\'\'\'
list = [
  { a = 1 },  #@ list/0
  # between
  { a = 2, b = [3, 4] },  #@ list/1/b
]
[run.base]  #@ run/base
options = { width = 8 }  #@ run/base/options/width
[run]  # once more, for those after base
other.problem = "x"  #@ run/other/problem
[[panel]]  #@ panel/0
points = [  #@ panel/0/points
  5,
  7,
]
[[panel]]  #@ panel/1
kind = "curve"  #@ panel/1/kind
[panel.inner]  #@ panel/1/inner
deep = 1  #@ panel/1/inner/deep
"""


def test_lines_of_keys_however_they_are_written():
    found = find_lines(LINES)
    marked = {
        tuple(int(part) if part.isdigit() else part for part in row.split("#@ ")[1].split("/")): number
        for number, row in enumerate(LINES.splitlines(), 1)
        if "#@ " in row
    }
    assert len(marked) == 13
    assert {path: found.get(path) for path in marked} == marked
    assert ("fake",) not in found


def test_panels_of_paths_take_common_and_nearest_planes_and_gradients(tmp_path):
    panels = (
        "[[panel]]\nkind = 'trajectory'\nplane = 'common'\n"
        "[[panel]]\nkind = 'trajectory'\nruns = ['base']\nnearest = 'first'\ngradient = true\n"
    )
    path = tmp_path / "figure.toml"
    path.write_text("# A caption.\n" + RUN + RUN.replace("base", "other") + panels)
    common, nearest = (panel.options for panel in load(path).panels)
    assert (common.plane, common.nearest, common.gradient) == ("common", None, False)
    assert (nearest.plane, nearest.nearest, nearest.gradient) == (None, "first", True)
    path.write_text("# A caption.\n" + RUN + panels)
    with pytest.raises(RecipeError, match=r"line 6, panel 1, plane: a common plane is of two runs or more, got 1"):
        load(path)
