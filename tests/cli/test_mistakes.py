"""Mistakes that beginners make: each ends with 2 and one clear line, and its remedy works when it is followed."""

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_data
from PIL import Image

import landscape as ls

SMALL = "--set width=4 --set train_size=40 --epochs 1"
TINY = "--set train_size=10 --set test_size=10 --set width=1"
CURVE = "--kind curve --points 3 -o c.png"
PICTURE = "-o p.png"

PROBLEM = """
import torch, landscape as ls

def make(width: int = 3):
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
    return ls.Objective(model, loss=torch.nn.functional.mse_loss, train=(x, x[:, :2]))
"""
RECIPE = "[run.a]\nfile = 'run.h5'\n[[panel]]\nkind = 'curve'\npoints = 3\n"


@dataclass(frozen=True)
class Mistake:
    """What a beginner types, and what helps.

    Attributes:
        typed: The arguments of the command.
        told: What the message says is wrong, and where.
        remedy: What the message names as the remedy.
        mended: The arguments that follow it; empty where a file is mended instead.
        file: A file to write before, with its content.
        mend: What the file is to hold instead, for the same arguments.
    """

    typed: str
    told: str
    remedy: str
    mended: str = ""
    file: tuple[str, str] | None = None
    mend: str = ""


MISTAKES = {
    # Files.
    "missing file": Mistake("inspect rum.h5", "rum.h5: no such file", "no such file", "inspect run.h5"),
    "folder for a file": Mistake("inspect folder", "folder: this is a folder", "a file", "inspect folder/run.h5"),
    "text for a trajectory": Mistake(
        "plot notes.txt",
        "notes.txt: not an HDF5 file",
        "landscape train, landscape import",
        f"plot run.h5 {CURVE}",
    ),
    "picture for a trajectory": Mistake(
        "inspect s.png", "s.png: not an HDF5 file", "landscape train", "inspect run.h5"
    ),
    "checkpoint given to plot": Mistake(
        f"plot x.pt {PICTURE}",
        "x.pt: a checkpoint, not a trajectory",
        "landscape import x.pt -o run.h5 --problem",
        "import x.pt -o new.h5 --problem mine.py:make --steps 0",
    ),
    "trajectory given to train": Mistake(
        f"train run.h5 -o new.h5 {SMALL}",
        "there is no problem 'run.h5'; that is a file",
        "landscape plot run.h5",
        f"plot run.h5 {CURVE}",
    ),
    "surface given to train": Mistake(
        "train s.h5 -o new.h5", "there is no problem 's.h5'", "landscape plot s.h5", f"plot s.h5 {PICTURE}"
    ),
    "surface given to probe": Mistake(
        "probe perturb s.h5",
        "s.h5: a file of another kind; got landscape/surface",
        "landscape/trajectory",
        "probe perturb run.h5 --draws 1 --scales 2 --along none",
    ),
    "swapped arguments of import": Mistake(
        "import x.pt new.h5 --problem mine.py:make --steps 0",
        "x.pt: no trajectory file to write is named",
        "landscape import x.pt -o new.h5",
        "import x.pt -o new.h5 --problem mine.py:make --steps 0",
    ),
    "pattern without files": Mistake(
        "import 'epoch*.pt' -o new.h5 --problem mine.py:make --steps 0",
        "no file matches this pattern",
        "'epoch*.pt'",
        "import '*.pt' -o new.h5 --problem mine.py:make --steps 0",
    ),
    "checkpoint that tells no step": Mistake(
        "import x.pt -o new.h5 --problem mine.py:make",
        "x.pt: nothing says which step this is",
        "--steps 0",
        "import x.pt -o new.h5 --problem mine.py:make --steps 0",
    ),
    "checkpoint of another model": Mistake(
        "import x.pt -o new.h5 --problem mine.py:make --set width=5 --steps 0",
        "x.pt: ",
        "0.weight is 3x4, not 5x4",
        "import x.pt -o new.h5 --problem mine.py:make --set width=3 --steps 0",
    ),
    "text for a recipe": Mistake(
        "render run.h5 --dry-run",
        "run.h5: line 1: cannot be read: it is not text in UTF-8",
        "a recipe is a TOML file",
        "render r.toml --dry-run",
    ),
    # Output.
    "existing output": Mistake(
        f"train digits-mlp -o run.h5 {SMALL}",
        "run.h5: the file exists",
        "--overwrite",
        f"train digits-mlp -o run.h5 {SMALL} --overwrite",
    ),
    "output without an ending": Mistake(
        "plot s.h5 -o picture", "picture: unknown file type", ".png", "plot s.h5 -o picture.png"
    ),
    "output of an unknown type": Mistake("plot s.h5 -o s.jpeg", "got .jpeg", ".png", "plot s.h5 -o s.png"),
    "output into a folder": Mistake(
        "plot s.h5 -o folder", "folder: this is a folder", "folder/NAME.png", "plot s.h5 -o folder/NAME.png"
    ),
    "output where nothing can be written": Mistake(
        "plot s.h5 -o /proc/none/s.png", "cannot write here", "choose another folder", "plot s.h5 -o here/s.png"
    ),
    "output below a file": Mistake(
        "plot s.h5 -o notes.txt/s.png", "cannot write here", "choose another folder", "plot s.h5 -o notes/s.png"
    ),
    "trajectory exported as text": Mistake(
        "export run.h5 -o last.txt",
        "a trajectory is not written so",
        ".safetensors",
        "export run.h5 -o last.safetensors",
    ),
    # Names.
    "typo of a command": Mistake(
        "plto s.h5", "unknown command 'plto'", "did you mean 'plot'?", f"plot s.h5 {PICTURE}"
    ),
    "typo of an option": Mistake(
        f"plot run.h5 --piont 3 {PICTURE}", "no such option '--piont'", "'--points'", f"plot run.h5 {CURVE}"
    ),
    "typo of a kind": Mistake(
        "plot run.h5 --kind curv", "unknown kind 'curv'", "did you mean 'curve'?", f"plot run.h5 {CURVE}"
    ),
    "typo of a probe": Mistake(
        "probe pertrub run.h5",
        "there is no probe 'pertrub'",
        "'perturb'",
        "probe perturb run.h5 --draws 1 --scales 2 --along none",
    ),
    "a measure without its option": Mistake(
        "measure run.h5 fisher_rao_norm",
        "fisher_rao_norm: no such file",
        "--measures",
        "measure run.h5 --measures fisher_rao_norm",
    ),
    "typo of a measure": Mistake(
        "measure run.h5 --measures fisher_roa_norm",
        "there is no measure 'fisher_roa_norm'",
        "'fisher_rao_norm'",
        "measure run.h5 --measures fisher_rao_norm",
    ),
    "typo of a problem": Mistake(
        f"train digit-mlp -o new.h5 {SMALL}",
        "there is no problem 'digit-mlp'",
        "'digits-mlp'",
        f"train digits-mlp -o new.h5 {SMALL}",
    ),
    "typo of an option of a problem": Mistake(
        "train digits-mlp -o new.h5 --set widht=4",
        "digits-mlp: there is no option 'widht'",
        "'width'",
        f"train digits-mlp -o new.h5 {SMALL}",
    ),
    "typo of a style": Mistake(
        "plot s.h5 --style papr", "'--style' has no such choice", "'paper'", f"plot s.h5 --style paper {PICTURE}"
    ),
    "typo of a colour map": Mistake(
        "plot s.h5 --cmap virids", "no colour map 'virids'", "'viridis'", f"plot s.h5 --cmap viridis {PICTURE}"
    ),
    "typo of a noise": Mistake(
        "probe perturb run.h5 --noise mean",
        "there is no noise 'mean'",
        "'mean-abs'",
        "probe perturb run.h5 --noise mean-abs --draws 1 --scales 2 --along none",
    ),
    # Values.
    "setting without a value": Mistake(
        "plot run.h5 --set width", "--set: not a setting", "NAME=VALUE", f"plot run.h5 --set width=4 {CURVE}"
    ),
    "word for a number": Mistake(
        "train digits-mlp -o new.h5 --set width=four",
        "option 'width' has the wrong type; got 'four'",
        "a whole number",
        f"train digits-mlp -o new.h5 {SMALL}",
    ),
    "negative points": Mistake(
        "plot run.h5 --points -3", "got -3", "try 51", "plot run.h5 --kind curve --points 51 -o c.png"
    ),
    "one point": Mistake(
        "plot run.h5 --points 1", "at least 2 points", "at least 2", "plot run.h5 --points 2 -o c.png"
    ),
    "no range": Mistake(
        "plot run.h5 --x-range 0",
        "option '--x-range' has the wrong type",
        "-1:0.5",
        f"plot run.h5 --x-range -1:0.5 {CURVE}",
    ),
    "range backwards": Mistake(
        f"plot run.h5 --x-range 1:-1 {CURVE}",
        "the range of an axis",
        "-1:1",
        f"plot run.h5 --x-range -1:1 {CURVE}",
    ),
    "radius 0": Mistake(
        f"plot run.h5 --radius 0 {CURVE}",
        "the radius must be positive",
        "try 1",
        f"plot run.h5 --radius 1 {CURVE}",
    ),
    "no epochs": Mistake(
        "train digits-mlp -o new.h5 --epochs 0",
        "option '--epochs' is out of range",
        "at least 1",
        f"train digits-mlp -o new.h5 {SMALL}",
    ),
    "limits that cross": Mistake(
        "plot s.h5 --vmin 3 --vmax 1",
        "vmin is to be below vmax",
        "below",
        f"plot s.h5 --vmin 1 --vmax 3 {PICTURE}",
    ),
    "logarithm of what is negative": Mistake(
        f"plot negative.h5 --log {PICTURE}", "logarithm", "leave out log", f"plot negative.h5 {PICTURE}"
    ),
    "step that does not exist": Mistake(
        f"plot run.h5 --at 3 {CURVE}",
        "run.h5: no snapshot at step 3",
        "the nearest are 0, 1, 2",
        f"plot run.h5 --at 2 {CURVE}",
    ),
    "parameters that match nothing": Mistake(
        f"plot run.h5 --parameters 'conv*' {CURVE}",
        "nothing is left to move; got conv*",
        "0.weight",
        f"plot run.h5 --parameters 0.weight {CURVE}",
    ),
    # What does not go together.
    "missing problem": Mistake(
        f"plot own.h5 {CURVE}",
        "own.h5: the file names no problem",
        "--problem FILE.py:function",
        f"plot own.h5 --problem mine.py:make {CURVE}",
    ),
    "model of other shapes": Mistake(
        f"plot run.h5 --set width=5 {CURVE}",
        "run.h5: tensor '0.weight' is not the same in the run and in the model of digits-mlp",
        "--set NAME=VALUE",
        f"plot run.h5 --set width=4 {CURVE}",
    ),
    "models of two kinds in one plane": Mistake(
        f"plot run.h5 wide.h5 --kind trajectory --plane common --points 3 {PICTURE}",
        "run and wide are of different models",
        "draw each by itself",
        f"plot run.h5 --kind trajectory --points 3 {PICTURE}",
    ),
    "points of a picture without a grid": Mistake(
        f"plot run.h5 --kind metrics --points 3 {PICTURE}",
        "--points cannot change a picture of kind metrics",
        "leave it out",
        f"plot run.h5 --kind metrics {PICTURE}",
    ),
    "stored result with other points": Mistake(
        "plot s.h5 --points 5",
        "s.h5: --points cannot change a stored surface",
        "give the trajectory",
        "plot run.h5 --points 2 -o c.png",
    ),
    "resumed with other settings": Mistake(
        "train digits-mlp -o run.h5 --resume --lr 0.7 --set width=4 --set train_size=40",
        "run.h5: the run in the file was made with other settings: lr (0.1 in the file, 0.7 now)",
        "leave them out",
        "train digits-mlp -o run.h5 --resume --set width=4 --set train_size=40",
    ),
    "line to nowhere": Mistake(
        "probe interpolate run.h5",
        "a line goes through two snapshots; got 1",
        "name a second snapshot",
        "probe interpolate run.h5 run.h5:first --points 2",
    ),
    "picture of one snapshot's measures": Mistake(
        f"measure run.h5 --measures fisher_rao_norm {PICTURE}",
        "this is one snapshot",
        "--at all",
        f"measure run.h5 --measures fisher_rao_norm --at all {PICTURE}",
    ),
    "missing problem of a training": Mistake(
        "train -o new.h5",
        "Missing argument 'PROBLEM'",
        "landscape train digits-mlp -o run.h5",
        f"train digits-mlp -o new.h5 {SMALL}",
    ),
    "missing output": Mistake(
        "export run.h5",
        "Missing option '-o'",
        "landscape export run.h5 -o last.safetensors",
        "export run.h5 -o last.safetensors",
    ),
    "data that are nowhere": Mistake(
        f"train cifar10-cnn6 -o new.h5 --epochs 1 {TINY}",
        "the CIFAR-10 images are not in the package",
        "--data DIR",
        f"train cifar10-cnn6 -o new.h5 --epochs 1 {TINY} --data images",
    ),
    "device that is not there": Mistake(
        f"plot run.h5 --device gpu {CURVE}",
        "unknown device 'gpu'",
        "cpu",
        f"plot run.h5 --device cpu {CURVE}",
    ),
    # Files of the user's own.
    "module without its function": Mistake(
        "train mine.py -o new.h5",
        "there is no problem 'mine.py'",
        "mine.py:make",
        "train mine.py:make -o new.h5 --epochs 1",
    ),
    "syntax error": Mistake(
        "train wrong.py:make -o new.h5 --epochs 1",
        "wrong.py:2: ",
        "wrong.py:2",
        file=("wrong.py", "\ndef make(:\n"),
        mend=PROBLEM,
    ),
    "function that is not there": Mistake(
        "train mine.py:mke -o new.h5 --epochs 1",
        "mine.py: there is no function 'mke'",
        "'make'",
        "train mine.py:make -o new.h5 --epochs 1",
    ),
    "function that returns nothing": Mistake(
        "train wrong.py:make -o new.h5 --epochs 1",
        "wrong.py:make: gives no objective; got NoneType",
        "expected an Objective",
        file=("wrong.py", "def make():\n    pass\n"),
        mend=PROBLEM,
    ),
    "recipe with a tab": Mistake(
        "render wrong.toml --dry-run",
        "wrong.toml: line 1: not TOML",
        "line 1",
        file=("wrong.toml", "\tkind: curve\n"),
        mend=RECIPE,
    ),
    "recipe with a key twice": Mistake(
        "render wrong.toml --dry-run",
        "wrong.toml: line 5: not TOML: cannot overwrite a value",
        "line 5",
        file=("wrong.toml", RECIPE.replace("points = 3", "kind = 'surface'")),
        mend=RECIPE,
    ),
    "recipe of a run that is not there": Mistake(
        "render wrong.toml --dry-run",
        "wrong.toml: line 5, panel 1, runs",
        "a",
        file=("wrong.toml", RECIPE.replace("points = 3", "runs = ['b']")),
        mend=RECIPE,
    ),
    "recipe with a typo": Mistake(
        "render wrong.toml --dry-run",
        "wrong.toml: line 5, panel 1",
        "'points'",
        file=("wrong.toml", RECIPE.replace("points", "pionts")),
        mend=RECIPE,
    ),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """What the commands read, made once."""
    folder = tmp_path_factory.mktemp("mistakes")
    run = folder / "run.h5"
    for file, width in ((run, 4), (folder / "wide.h5", 5)):
        settings = ls.training.Settings(epochs=1, batch_size=20, every=ls.training.Every(1, "steps"))
        ls.training.train(ls.problems.build("digits-mlp", {"width": width, "train_size": 40}), file, settings)
    (folder / "mine.py").write_text(PROBLEM)
    (folder / "r.toml").write_text(RECIPE)
    (folder / "notes.txt").write_text("not a file of ours")
    names: dict = {}
    exec(PROBLEM, names)
    model = names["make"]().model
    torch.save(model.state_dict(), folder / "x.pt")
    with ls.Recorder(folder / "own.h5", model) as recorder:
        for step in range(3):
            model[0].weight.data += 0.1
            recorder.snapshot(step)
    objective = ls.problems.build("digits-mlp", {"width": 4, "train_size": 40})
    plane = ls.random_plane(objective.model, seed=0)
    ls.evaluate(objective, plane, ls.grid(3), save=folder / "s.h5")
    below = ls.Objective(objective.model, loss=lambda y, t: -1 - y.square().sum(1), train=make_data((64,), 8))
    ls.evaluate(below, plane, ls.grid(3), save=folder / "negative.h5")
    Image.new("RGB", (8, 8)).save(folder / "s.png")
    (folder / "folder").mkdir()
    shutil.copy(run, folder / "folder" / "run.h5")
    for split in ("train", "test"):
        for label in range(10):
            home = folder / "images" / split / str(label)
            home.mkdir(parents=True)
            pixels = np.full((32, 32, 3), 20 * label, np.uint8)
            Image.fromarray(pixels).save(home / "0.png")
    return folder


def test_there_are_forty_of_them():
    assert len(MISTAKES) >= 40


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line_and_its_remedy_works(name, prepared, tmp_path, monkeypatch, landscape):
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    one = MISTAKES[name]
    if one.file is not None:
        Path(one.file[0]).write_text(one.file[1])
    done = landscape(*shlex.split(one.typed))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert one.told in done.err
    assert one.remedy in done.err
    # Only a recipe goes on, with those that are right.
    assert done.out == "" or one.typed.startswith("render")
    if one.file is not None:
        Path(one.file[0]).write_text(one.mend)
    mended = landscape(*shlex.split(one.mended or one.typed))
    assert mended.code == 0, mended.err
