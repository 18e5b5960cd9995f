"""A problem in a file of the user's: built when it is named, never because a file says so."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killing import run_command
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape import problems
from landscape.errors import LandscapeError
from landscape.pipeline import objective_of

COMMAND = Path(sys.executable).with_name("landscape")

PROBLEM = """
import torch
from torch import nn
from torch.nn import functional as F

import neighbour
import landscape as ls


def make(width: int = 8, depth=1, gain: float = 1.0, flat: bool = False, name: str = "x", seed=0, data=None):
    made.append((width, depth, gain, flat, name, seed, data))
    torch.manual_seed(seed)
    x = neighbour.inputs(30)
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
    return ls.Objective(model, loss=F.cross_entropy, train=(x, (x[:, 0] > 0).long()), weight_decay=0.5)


made = []
parts = lambda: (nn.Linear(4, 2), F.cross_entropy, (neighbour.inputs(9), torch.zeros(9, dtype=torch.int64)))
loss = lambda model, batch: model(batch).mean(1)
named = lambda: {"model": nn.Linear(4, 2), "loss": loss, "train": neighbour.inputs(9)}
four = lambda: (*parts(), parts()[2])


def raises():
    return [][3]


def nothing():
    return None


def unknown():
    return {"model": nn.Linear(4, 2), "loss": F.cross_entropy, "train": None, "optimizer": None}


def open_ended(**options):
    made.append(options)
    return parts()
"""
NEIGHBOUR = """
import torch


def inputs(count):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "problem.py").write_text(PROBLEM)
    (tmp_path / "mine" / "neighbour.py").write_text(NEIGHBOUR)
    return tmp_path / "mine"


def test_a_function_of_a_file_makes_the_objective(folder):
    objective = problems.build(f"{folder}/problem.py:make", {"width": "5", "flat": "yes", "gain": "2"}, seed=3)
    assert objective.problem == "problem.py:make"
    assert objective.problem_args == {"width": 5, "flat": True, "gain": 2.0}
    assert objective.model[0].out_features == 5
    assert objective.weight_decay == 0.5
    torch.manual_seed(3)
    assert torch.equal(objective.model[0].weight, nn.Linear(4, 5).weight)
    again = problems.build(f"{folder}/problem.py:make", objective.problem_args, seed=3)
    assert again.value(again.model) == objective.value(objective.model)
    assert str(folder) not in sys.path


def test_a_seed_that_the_function_sets_is_not_seen_outside(folder):
    before = torch.get_rng_state()
    problems.build(f"{folder}/problem.py:make", seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_seed_and_data_are_passed_where_they_are_wanted(folder):
    problems.build(f"{folder}/problem.py:make", {"depth": "2", "seed": "9"}, seed=3, data="here")
    assert sys.modules["_problem_problem"].made == [(8, 2, 1.0, False, "x", 9, "here")]


@pytest.mark.parametrize("function", ["parts", "four", "named"])
def test_parts_of_an_objective_will_do(folder, function):
    objective = problems.build(f"{folder}/problem.py:{function}", batch_size=4)
    assert objective.batch_size == 4
    assert objective.splits == (("train", "test") if function == "four" else ("train",))
    assert objective.problem == f"problem.py:{function}"


def test_a_function_may_take_any_option(folder):
    problems.build(f"{folder}/problem.py:open_ended", {"a": "[1, 2]", "b": "word", "c": "0.5"})
    assert sys.modules["_problem_problem"].made == [{"a": [1, 2], "b": "word", "c": 0.5}]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("absent.py:make", {}, r"absent\.py: no such file; write one with: landscape init problem FILE\.py$"),
        ("problem.py:mike", {}, r"problem\.py: there is no function 'mike'; did you mean 'make'\?$"),
        ("problem.py:made", {}, r"problem\.py: there is no function 'made'; did you mean 'make'\?$"),
        ("problem.py:raises", {}, r"problem\.py:\d+: raised IndexError: list index out of range$"),
        (
            "problem.py:nothing",
            {},
            r"problem\.py:nothing: gives no objective; got NoneType; expected an Objective, \(model, loss, tr",
        ),
        ("problem.py:unknown", {}, r"got a dictionary with model, loss, train, optimizer"),
        (
            "problem.py:make",
            {"width": "two", "wide": "1"},
            r"^problem\.py:make: option 'width' must be of type int, got 'two'; there is no option 'wide', did "
            r"you mean 'width'\?$",
        ),
        ("broken.py:make", {}, r"broken\.py:2: invalid syntax"),
        ("failing.py:make", {}, r"failing\.py:1: raised ModuleNotFoundError: No module named 'no_such_module'$"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_line(folder, name, settings, message):
    (folder / "broken.py").write_text("x = 1\ndef make(:\n")
    (folder / "failing.py").write_text("import no_such_module\n")
    with pytest.raises(LandscapeError, match=message):
        problems.build(f"{folder}/{name}", settings)


def record(path: Path, problem: str, width: int = 8, **more) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
    with ls.Recorder(path, model, problem=problem, **more) as recorder:
        for step in range(3):
            recorder.snapshot(step)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_plot_draws_a_run_of_the_users_own(folder, tmp_path, landscape, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "run.h5", "problem.py:make", width=5, problem_args={"width": 5})
    line = ["plot", "run.h5", "--kind", "surface", "--points", "5", "-o", "s.png", "--json"]
    code, out, err = landscape(*line, "--problem", "mine/problem.py:make")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["problem"] == "problem.py:make"
    objective = objective_of(ls.open("run.h5"), problem="mine/problem.py:make")
    assert document["center"]["train_loss"] == objective.value(ls.open("run.h5")[-1])
    assert (tmp_path / "s.png").stat().st_size > 10_000
    # The penalty is that of the objective, since the run knows of none.
    assert objective.weight_decay == 0.5


def test_a_run_that_names_a_users_problem_never_runs_it_by_itself(folder, tmp_path, landscape, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "evil.py").write_text("import pathlib\npathlib.Path('touched').touch()\n")
    for problem in ("problem.py:make", f"{folder}/evil.py:make", "evil.py:make", ""):
        path = tmp_path / "run.h5"
        record(path, problem, overwrite=True)
        code, out, err = landscape("plot", path, "-o", tmp_path / "s.png")
        assert (code, out) == (2, "")
        told = f"the problem '{problem}' is not built in" if problem else "the file names no problem"
        assert err == (
            f"landscape: {path}: {told}, and a file never brings code to run; pass --problem FILE.py:function "
            "(landscape init problem FILE.py writes one to begin with), or build the Objective in Python and call "
            "landscape.evaluate\n"
        )
        assert landscape("inspect", path)[0] == 0
    assert not (folder / "touched").exists()


def test_a_model_of_other_tensors_is_refused_with_the_way_out(folder, tmp_path, landscape):
    path = tmp_path / "run.h5"
    record(path, "elsewhere.py:make", width=5, problem_args={"width": 5, "unknown": 1})
    problem = f"{folder}/problem.py:make"
    code, _, err = landscape("plot", path, "--problem", problem, "-o", tmp_path / "s.png")
    assert code == 2
    assert "tensor '0.weight' is not the same in the run and in the model of" in err
    assert "got (5, 4); expected (8, 4); give the options it was trained with by --set NAME=VALUE" in err
    told = ["--problem", problem, "--set", "width=5", "--points", "3", "-o", tmp_path / "s.png"]
    assert landscape("plot", path, *told)[0] == 0


def test_a_users_problem_can_be_trained(folder, tmp_path, landscape):
    path = tmp_path / "run.h5"
    line = ["train", f"{folder}/problem.py:make", "-o", path, "--epochs", "2", "--set", "width=6"]
    assert landscape(*line)[0] == 0
    trained = ls.open(path)
    assert (trained.problem, trained.problem_args) == ("problem.py:make", {"width": 6})
    assert landscape(*line, "--resume")[0] == 0
    wrong = landscape("train", "no-such", "-o", tmp_path / "x.h5")
    assert wrong[0] == 2
    assert "one of your own is named FILE.py:function" in wrong[2]


def test_init_writes_a_template_that_runs(tmp_path, landscape, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = landscape("init", "problem", "my_problem.py")
    assert code == 0
    assert "my_problem.py" in out
    text = (tmp_path / "my_problem.py").read_text()
    assert "FILE.py" not in text
    # What it says of itself is run literally, in a folder of its own, one of the lines by the installed command.
    run_command(tmp_path, "python my_problem.py")
    first, *others = re.findall(r"^    landscape (plot .*)$", text, flags=re.MULTILINE)
    subprocess.run([COMMAND, *first.split(), "--points", "5"], cwd=tmp_path, check=True, capture_output=True)
    for line in others:
        run_command(tmp_path, f"landscape {line} --points 5")
    assert (tmp_path / "surface.png").stat().st_size > 10_000
    assert (tmp_path / "path.png").stat().st_size > 10_000
    code, _, err = landscape("init", "problem", "my_problem.py")
    assert (code, err) == (2, "landscape: my_problem.py: the file exists; pass --overwrite or another name\n")
    assert landscape("init", "problem", "my_problem.txt")[0] == 2


# Which parameters move


class Adapted(nn.Module):
    """A frozen layer with a low-rank addition, and a head that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(4, 8).requires_grad_(False)
        self.lora_A, self.lora_B = nn.Linear(4, 2, bias=False), nn.Linear(2, 8, bias=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.relu(self.base(x) + self.lora_B(self.lora_A(x))))


def test_globs_choose_what_moves_on_every_kind_of_plane(tmp_path):
    torch.manual_seed(0)
    model = Adapted()
    with ls.Recorder(tmp_path / "run.h5", model) as recorder:
        for step in range(4):
            recorder.snapshot(step)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.add_(torch.randn_like(parameter) * (0 if name.startswith("base") else 0.1))
    run = ls.open(tmp_path / "run.h5")
    wanted = {"lora_A.weight", "lora_B.weight"}
    planes = [
        ls.random_plane(model, parameters="lora_*"),
        ls.random_line(run[-1], parameters=["lora_*"]),
        ls.random_lines(run[-1], 2, parameters="lora_*")[1],
        ls.random_planes(run[-1], 2, parameters="lora_*")[0],
        ls.pca_plane(run, parameters="lora_*"),
        ls.pca_plane(run.select("lora_*")),
        ls.line_through(run[0], run[-1], parameters="lora_*"),
        ls.plane_through(run[0], run[1], run[-1], parameters="lora_*"),
    ]
    for plane in planes:
        moved = {name for direction in plane.directions for name, tensor in direction.items() if tensor.any()}
        assert moved == wanted, plane.kind
        assert plane.meta["parameters"] == ["lora_*"]
        told = plane.meta["tensors"]
        assert set(told["moving"]["names"]) == wanted
        assert told["moving"]["numbers"] == 24
        assert set(told["frozen"]["names"]) == {"base.weight", "base.bias", "head.weight", "head.bias"}
        point = plane.point(*[0.3] * plane.dims)
        for name in ("base.weight", "head.weight"):
            assert torch.equal(point[name], plane.origin[name])
    # The failing control: without globs the head moves as well, and what is frozen stays.
    assert ls.random_plane(model).directions[0].keys() == wanted | {"head.weight", "head.bias"}
    # What is drawn for a tensor does not depend on which others move.
    assert torch.equal(
        planes[0].directions[0]["lora_A.weight"], ls.random_plane(model).directions[0]["lora_A.weight"]
    )


@pytest.mark.parametrize(
    ("globs", "message"),
    [
        ("lara_*", r"^parameters: nothing is left to move; got lara_\*; choose from lora_A\.weight, lora"),
        (
            "base.*",
            r"^parameters: nothing is left to move; got base\.\*; what it matches is frozen \(such as base\.we",
        ),
    ],
)
def test_globs_that_choose_nothing_are_refused(globs, message):
    with pytest.raises(LandscapeError, match=message):
        ls.random_plane(Adapted(), parameters=globs)


def test_the_command_reports_what_moves_and_what_stays(tmp_path, landscape, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.py").write_text(
        "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)\n"
        "        self.b.weight = self.a.weight\n"
        "        self.c.weight.requires_grad_(False)\n"
        "    def forward(self, x):\n"
        "        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))\n"
        "def make():\n"
        "    x = torch.ones(6, 4)\n"
        "    return Tied(), F.cross_entropy, (x, torch.zeros(6, dtype=torch.int64))\n"
    )
    assert landscape("train", "p.py:make", "-o", "run.h5", "--epochs", "3")[0] == 0
    told = ["--problem", "p.py:make", "--points", "3", "-o", "x.png"]
    code, out, _ = landscape("plot", "run.h5", *told, "--kind", "curve", "--parameters", "a.*,!*.bias")
    assert code == 0
    assert (
        "  moved 1 tensors (16 numbers, 4 filters, 0 of norm 0), chosen by a.*, !*.bias, kept 4 frozen; "
        "1 tied names move along\n"
    ) in out
    code, out, _ = landscape("plot", "run.h5", *told, "--kind", "trajectory")
    assert "  moved 4 tensors (26 numbers), kept 1 frozen; 1 tied names move along\n" in out


def test_a_tied_name_chooses_its_tensor():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 3)
            self.head = nn.Linear(3, 7)
            self.head.weight = self.embed.weight

    plane = ls.random_plane(Tied(), parameters="head.weight")
    assert plane.directions[0].keys() == {"embed.weight"}


def test_selection_leaves_the_value_at_the_centre_and_the_penalty_alone():
    torch.manual_seed(0)
    model, x = Adapted(), torch.randn(20, 4)
    data = (x, (x[:, 0] > 0).long())
    objective = ls.Objective(model, loss=F.cross_entropy, train=data, weight_decay=0.1)
    plane = ls.random_line(model, parameters="lora_*")
    surface = ls.evaluate(objective, plane, ls.grid(3), metrics=("loss", "penalty"))
    for metric in ("loss", "penalty"):
        assert surface[f"train_{metric}"][1] == objective.value(model, metric=metric)
