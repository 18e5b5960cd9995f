"""The table of commands and snippets whose numbers `benchmarks.same_results` compares; all are small.

A case is a command (of same_commands.txt) or code, in an order in which later ones may use the files of earlier
ones. A case that is wanted alone brings along the cases that write the files it names.
"""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_COMMANDS = Path(__file__).with_name("same_commands.txt")

_OWN = """
import torch
import landscape as ls

def data(seed):
    x = torch.randn(100, 6, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()

def network(width, seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(6, width), torch.nn.GELU(), torch.nn.Linear(width, 2))

def make(width: int = 64, seed: int = 0):
    return ls.Objective(network(width, seed), loss=torch.nn.functional.cross_entropy, train=data(0), test=data(1))
"""

_RECORD = """
import torch
import landscape as ls
import sys; sys.path.insert(0, "."); import own

model = own.network(8, 0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
x, y = own.data(0)
with ls.Recorder("own.h5", model, problem="own.py:make", every=10) as recorder:
    recorder.watch(optimizer)
    for step in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""

_SETUP = """
import json
import torch
import landscape as ls

def plain(value):
    return value.tolist() if hasattr(value, "tolist") else value

def say(**values):
    print(json.dumps({name: plain(value) for name, value in values.items()}))

run, other = ls.open("mlp.h5"), ls.open("other.h5")
objective = ls.problems.build("digits-mlp", {"width": 16}, seed=run.seed)
"""

_SNIPPETS = {
    "python-value": """
say(loss=objective.value(run[-1]), error=objective.value(run[0], split="test", metric="error"))
""",
    "python-planes": """
grid = ls.grid(5, radius=0.5)
planes = {
    "random": ls.random_plane(run[-1], normalize="filter", seed=0),
    "pca": ls.pca_plane(run),
    "common": ls.pca_plane([run, other]),
    "through": ls.plane_through(run[0], run[-1], other[-1]),
}
found = {name: ls.evaluate(objective, plane, grid) for name, plane in planes.items()}
losses = {name: surface["train_loss"] for name, surface in found.items()}
say(**losses, shares=planes["pca"].explained_variance_ratio)
""",
    "python-lines": """
lines = {"random": ls.random_line(run[-1], seed=1), "through": ls.line_through(run[0], other[-1])}
wanted = {"metrics": ("loss", "error"), "splits": ("train", "test")}
found = {name: ls.evaluate(objective, line, ls.grid(7, dims=1), **wanted) for name, line in lines.items()}
fields = ("train_loss", "test_error")
say(**{f"{name} {field}": surface[field] for name, surface in found.items() for field in fields})
""",
    "python-mds": """
embedding = ls.mds([run, other], dissimilarity="euclidean", dims=2)
say(coordinates=embedding.coordinates, stress=embedding.stress)
""",
    "python-probes": """
line = ls.probes.interpolate(objective, run[-1], other[-1], points=5)
noise = ls.probes.perturb(objective, run[-1], "mean-abs:0.01", draws=2, scales=3)
say(barrier=line.barrier, radius=noise.radii["random"].median)
""",
    "python-measures": """
names = ["hessian_top", "orbit_min_trace", "hessian_trace"]
found = ls.measures.measure(objective, run[-1], names)
say(**{name: [found[name].value, found[name].standard_error] for name in names})
""",
    "python-symmetry": """
found = ls.symmetry.find(objective.model, torch.randn(4, 64, generator=torch.Generator().manual_seed(0)))
moved = [found.random(run[-1], seed=0), found.rescale(run[-1], alpha=10.0)]
say(**{f"{number} {name}": tensor for number, weights in enumerate(moved) for name, tensor in weights.items()})
""",
    "python-recipe": """
recipe = ls.recipe.load("small/toy-valley.toml")
surfaces = recipe.panels[0].surfaces("small/.landscape-cache")
say(caption=recipe.caption, **{name: surface.values for name, surface in surfaces.items()})
""",
}

_STUDY = """# A tiny study.
[study]
problem = "digits-mlp"
options = { train_size = 60, width = 8 }
epochs = 4
every = "2epochs"
target_loss = 3.0
batch_size = [20, 30]

[family.sgd]
lr = [0.05, 0.2]

[measures]
names = ["fisher_rao_norm", "hessian_trace", "sam_sharpness"]
settings.hessian_trace = { samples = 3 }

[correlation]
targets = ["test_error", "loss_gap"]
resamples = 20
"""

_KINDS = """# Kinds and options that the figures do not have.
panel = [
  { kind = "surface", runs = ["one"], plane = "hessian" },
  { kind = "curve", runs = ["one", "moved"], normalize = "layer", metric = "error" },
  { kind = "trajectory", runs = ["one", "two"], plane = "common" },
  { kind = "surface", runs = ["two"], points = [5, 3], repeats = 2, subset = 50, view = "levels" },
  { kind = "curve", runs = ["two"], plane = "hessian:smallest", metric = "total" },
  { kind = "measure", runs = ["one", "two"], measure = "gauss_newton_trace" },
]
panels = { points = 3 }
runs = { problem = "digits-mlp", options = { width = 8 }, epochs = 2, every = 4 }

[run]
one = { seed = 0 }
two = { seed = 1, optimizer = "adam", lr = 0.001 }
moved = { transform = { of = "one", alpha = 3 } }
"""

_EMBEDDINGS = """# Snapshots by their distances.
panel = [{ kind = "mds" }, { kind = "mds", dissimilarity = "cosine-chord", layers = "*.weight" }]
panels = { method = "metric" }
runs = { problem = "digits-mlp", options = { width = 8 }, epochs = 2, every = 4 }

[run]
one = { seed = 0 }
two = { seed = 1, optimizer = "adam", lr = 0.001 }
noisy = { branch = { of = "one", noise = "mean-abs:0.1", epochs = 1 } }
"""

# Largest values in shrunken recipes.
_MOST = {"epochs": 2, "warmup_epochs": 2, "points": 3, "draws": 4, "subset": 50, "repeats": 2}
_MOST |= {"train_size": 100, "test_size": 50, "dim": 30}


def cases(only: str = "*") -> list[dict[str, Any]]:
    """All cases whose name matches, and what they need, in order: ``name`` with ``arguments`` or ``code``."""
    found = [{"name": "own-record", "code": _RECORD, "writes": ["own.h5"]}]
    for line in _COMMANDS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, command = line.split(maxsplit=1)
            found.append({"name": name, "arguments": [*shlex.split(command), "--json"]})
    found += [{"name": name, "code": _SETUP + code} for name, code in _SNIPPETS.items()]
    return _wanted(found, only)


def _wanted(found: list[dict[str, Any]], only: str) -> list[dict[str, Any]]:
    wanted: list[dict[str, Any]] = []
    needed: set[str] = set()
    for case in reversed(found):
        words = case.get("arguments") or re.findall(r'"([^"]+)"', case["code"])
        if fnmatch(case["name"], only) or _written(case) & needed:
            needed |= set(map(_outermost, words))
            wanted.append(case)
    return wanted[::-1]


def _written(case: dict[str, Any]) -> set[str]:
    """The files and folders that a case writes."""
    words = case.get("arguments", [])
    options = {"-o", "--output", "--picture", "--table"}
    after = {word for option, word in pairwise(words) if option in options or option.startswith("--save")}
    if words[:1] in (["import"], ["render"]):
        after.add(words[1])
    return set(map(_outermost, after)) | set(case.get("writes", ()))


def _outermost(word: str) -> str:
    """The file or folder in FILE:STEP or FOLDER/FILE."""
    return word.partition(":")[0].partition("/")[0]


def prepare(folder: Path, figures: Path) -> None:
    """Write the files that cases begin with.

    Args:
        folder: Where the cases will run.
        figures: The recipes of a checkout.
    """
    texts = {"own.py": _OWN, "study.toml": _STUDY, "kinds/slices.toml": _KINDS}
    texts["kinds/embeddings.toml"] = _EMBEDDINGS
    for path in sorted(figures.rglob("*.toml")):
        texts[f"recipes/{path.relative_to(figures)}"] = path.read_text()
        if path.parent == figures:
            texts[f"small/{path.name}"] = _shrunken(path.read_text())
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    _write_images(folder / "cifar")


def _shrunken(recipe: str) -> str:
    """The same recipe with little to train and few points."""
    names = "|".join(_MOST)
    recipe = re.sub(rf"\b({names}) = (\d+)", lambda v: f"{v[1]} = {min(int(v[2]), _MOST[v[1]])}", recipe)
    recipe = re.sub(r'"\d+epochs"', '"1epochs"', recipe)
    # So short a training fits nothing.
    recipe = recipe.replace('kind = "interpolators"', 'kind = "interpolators", fits_below = 100.0')
    return re.sub(r"seeds = \[(\d+, \d+)[^]]*\]", r"seeds = [\1]", recipe)


def _write_images(folder: Path, classes: int = 10, each: int = 10) -> None:
    """Noise in the layout of CIFAR-10."""
    draws = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(classes):
            home = folder / split / f"class{label}"
            home.mkdir(parents=True)
            for number in range(each):
                pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(home / f"{number}.png")
