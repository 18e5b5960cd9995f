"""Who may import whom: an edge that is not in the table fails."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from conftest import ROOT

from landscape.recipe import gallery, load

PACKAGE = ROOT / "landscape"

# Room -> rooms it may import. "landscape" is the table of contents; it imports lazily.
ALLOWED = {
    "__main__": {"cli"},
    "errors": set(),
    "layout": {"errors"},
    "forms": {"errors"},
    "lazy": set(),
    "progress": set(),
    "executor": {"errors"},
    "options": {"errors", "forms", "vocabulary"},
    "vocabulary": set(),
    "values": {"lazy", "errors", "storage"},
    "html": {"errors"},
    "ties": {"errors"},
    "copies": {"errors", "params", "ties"},
    "wrappers": {"errors"},
    "params": {"errors", "layout", "ties", "wrappers"},
    "journal": {"errors"},
    "signatures": {"errors"},
    "remnants": set(),
    "storage": {"errors", "journal", "lazy", "remnants", "signatures"},
    "objective": {"copies", "errors", "layout", "params", "ties", "vocabulary", "wrappers"},
    "curvature": {"values", "wrappers", "errors", "layout", "params", "objective", "vocabulary"},
    "optimizers": {"errors", "lazy", "values", "vocabulary"},
    "trajectory": {
        *("values", "lazy", "errors", "layout", "optimizers", "params", "remnants", "signatures", "storage"),
        *("vocabulary", "wrappers"),
    },
    "problems": {"lazy", "vocabulary", "errors", "layout", "forms", "options", "params", "objective"},
    "training": {
        "lazy",
        "copies",
        "errors",
        "layout",
        "forms",
        "options",
        "params",
        "remnants",
        "objective",
        "trajectory",
        "values",
        "vocabulary",
    },
    "probes": {
        "lazy",
        *(
            "vocabulary",
            "copies",
            "errors",
            "executor",
            "files",
            "layout",
            "params",
            "progress",
            "storage",
            "objective",
            "curvature",
        ),
        *("trajectory", "training", "projection", "symmetry", "values"),
    },
    "integrations": {"lazy", "errors", "params", "storage", "trajectory", "wrappers"},
    "projection": {
        *(
            "lazy",
            "errors",
            "executor",
            "files",
            "layout",
            "params",
            "storage",
            "values",
            "vocabulary",
            "wrappers",
        ),
    },
    "symmetry": {"values", "copies", "errors", "layout", "params", "objective", "curvature", "wrappers"},
    "measures": {
        "lazy",
        *("wrappers", "errors", "executor", "files", "layout", "params", "storage", "objective", "curvature"),
        *("forms", "options", "optimizers", "projection", "symmetry", "trajectory", "values", "vocabulary"),
    },
    "audit": {
        "lazy",
        *("errors", "files", "params", "objective", "curvature", "measures", "symmetry", "values", "vocabulary"),
    },
    "sharpness": {"audit", "measures"},
    "laboratory": {"papers"},
    "surface": {
        "lazy",
        *(
            "errors",
            "executor",
            "files",
            "forms",
            "layout",
            "options",
            "params",
            "storage",
            "objective",
            "curvature",
            "projection",
        ),
        *("copies", "values", "vocabulary", "wrappers"),
    },
    "render": {"lazy", "errors", "forms", "html", "options", "storage", "values", "vocabulary"},
    "explorer": {"errors", "html", "lazy", "objective", "projection", "trajectory", "values"},
    "exports": {"errors", "forms", "lazy", "options", "storage", "values"},
    "files": {"errors", "executor", "remnants", "storage"},
    # Above the rooms whose files they open.
    "files.opening": {"storage", "trajectory", "measures", "surface", "values"},
    "files.description": {
        *("storage", "files", "trajectory", "measures", "probes", "projection", "recipe", "surface", "values"),
    },
    "plots": {
        *("errors", "files", "layout", "forms", "optimizers", "options", "params", "storage", "objective"),
        *("curvature", "progress", "vocabulary", "values"),
        *("trajectory", "problems", "training", "probes", "projection", "audit", "measures", "symmetry", "papers"),
        *("surface", "render", "pages"),
    },
    # Draw what is computed as interactive pages: beside the still pictures, whose words they share.
    "pages": {"lazy", "errors", "html", "render", "storage", "values", "vocabulary"},
    "pipeline": {"lazy", "plots"},
    "papers": {
        *("values", "errors", "params", "objective", "problems"),
        *("curvature", "measures", "trajectory"),
    },
    # Above recipes, from whose numbers they take their verdicts.
    "claims": {"errors", "recipe", "storage", "values"},
    # Above plots, whose kinds they compute, draw and doubt.
    "reports": {
        *(
            "lazy",
            "errors",
            "forms",
            "html",
            "measures",
            "options",
            "pages",
            "plots",
            "render",
            "storage",
            "trajectory",
            "values",
        ),
    },
    "transform": {"errors", "forms", "options", "params", "objective", "trajectory", "symmetry"},
    "recipe": {
        "vocabulary",
        *("errors", "journal", "storage", "objective", "trajectory", "problems", "training", "surface"),
        *("executor", "forms", "options", "pages", "render", "plots", "transform", "values", "vocabulary"),
    },
    "study": {
        "vocabulary",
        *("errors", "forms", "options", "storage", "trajectory", "problems", "measures", "plots", "recipe"),
        *("values", "vocabulary"),
    },
    "demo": {"storage", "trajectory", "problems", "training", "surface", "render", "plots"},
}


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found.setdefault(room_of(parts), []).append(path)
    return found


def room_of(parts: Sequence[str]) -> str:
    """A room, or a module that the table has as a room of its own."""
    module = ".".join(parts[:2])
    return module if module in ALLOWED else parts[0]


def imported_rooms(path: Path) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "landscape":
            names += [f"landscape.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {room_of(name.split(".")[1:]) for name in names if name.startswith("landscape.")}


def test_every_room_is_in_the_table():
    assert set(rooms()) == set(ALLOWED)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_it_may(room):
    edges = {(path.name, other) for path in rooms()[room] for other in imported_rooms(path) - {room}}
    assert {edge for edge in edges if edge[1] not in ALLOWED[room]} == set()


def test_modules_stay_small():
    long = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "cli").glob("*.py")]
    }
    assert {path: lines for path, lines in long.items() if lines > 400} == {}


def test_docstrings_begin_with_a_verb_or_a_noun():
    # Those of names too, which stand behind what they are of.
    faulty = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("landscape", "cli", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and re.match(r"\s*(What|How|Whether|Who)\b", str(node.value.value))
    ]
    assert faulty == []


# What a command needs that shows its help, or draws what is stored.
WITHOUT_TORCH = [
    "landscape",
    "landscape.claims",
    "landscape.cli.main",
    "landscape.cli.inspect",
    "landscape.cli.plot",
    "landscape.cli.probe_perturb",
    "landscape.cli.train",
    "landscape.cli.transform",
    "landscape.pages",
    "landscape.plots",
    "landscape.problems",
    "landscape.recipe",
    "landscape.training",
    "landscape.cli.render",
    "landscape.cli.study",
    "landscape.files.description",
    "landscape.files.opening",
    "landscape.integrations",
    "landscape.render",
    "landscape.study.correlation",
    "landscape.study",
    "landscape.measures.table_store",
    "landscape.measures.table_summary",
    "landscape.surface.store",
    "landscape.trajectory.schema",
]


# Commands that say what there is, or find nothing to do.
WORK_WITHOUT_TORCH = [
    "measure --list",
    "render figures --dry-run --cache NONE",
    "inspect checkpoints/digits-mlp.h5",
    "problems",
]


def without_pictures(folder: Path) -> list[str]:
    """Recipes whose pictures the page of their folder does not know: a dry run times an update for each."""
    recipes = [load(path) for path in sorted(folder.glob("*.toml"))]
    known = gallery.told(recipes)
    return [recipe.name for recipe in recipes if recipe.path not in known]


def test_a_recipe_without_its_picture_is_named(tmp_path):
    (tmp_path / "new.toml").write_text("# New.\n[run.a]\nproblem = 'toy-quadratic'\n[[panel]]\nkind = 'curve'\n")
    assert without_pictures(tmp_path) == ["new"]


def test_imports_no_torch(tmp_path):
    """Recipes take measures, networks with any activation, and runs of all kinds; all figures are up to date."""
    assert without_pictures(ROOT / "figures") == []
    recipe = tmp_path / "all.toml"
    recipe.write_text(
        "# Runs of all kinds.\n[runs]\nproblem = 'digits-mlp'\noptions = { activation = 'poly:10' }\n"
        "[run.trunk]\noptimizer = 'sam'\noptimizer_options = { rho = 0.1 }\n"
        "[run.scaled]\ntransform = { of = 'trunk', alpha = 2 }\n"
        "[run.kicked]\nbranch = { of = 'trunk', noise = 'mean-abs:0.01' }\n"
        "[[panel]]\nkind = 'curve'\n"
        "[[panel]]\nkind = 'measure'\nmeasures = ['hessian_top', 'lr_headroom']\n"
    )
    commands = [words.replace("NONE", str(tmp_path / "none")).split() for words in WORK_WITHOUT_TORCH]
    code = (
        "import contextlib, importlib, io, sys\n"
        "def done(what):\n    if 'torch' in sys.modules: sys.exit(what)\n"
        f"for name in {WITHOUT_TORCH!r}:\n    importlib.import_module(name)\n    done(name)\n"
        f"import landscape.recipe as r; r.load({str(recipe)!r}); done('load')\n"
        "from landscape.cli.main import main\n"
        f"for words in {commands!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        try: main(words)\n"
        "        except SystemExit as end: assert not end.code, words\n"
        "    done(' '.join(words))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stderr) == (0, "")


def test_public_names_are_all_there():
    import landscape

    for name in landscape.__all__:
        assert getattr(landscape, name) is not None


@pytest.mark.parametrize(
    "arguments",
    ["--kind curve --tune rewrite=yes", "--kind trajectory --engine batched --points 5"],
)
def test_the_picture_of_an_mlp_imports_only_what_it_needs(arguments, tmp_path):
    """Each of these takes half a second to four seconds, which is as long as importing torch."""
    unwanted = {"pandas", "scipy.stats", "sklearn", "sympy", "torch._dynamo", "torchvision"}
    given = ["landscape", "plot", str(ROOT / "checkpoints/digits-mlp.h5"), *arguments.split(), "-o", "x.png"]
    code = (
        f"import atexit, runpy, sys; sys.argv = {given!r};"
        f"atexit.register(lambda: print('imported', sorted({unwanted!r} & sys.modules.keys())));"
        "runpy.run_module('landscape', run_name='__main__')"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported []"
    assert (tmp_path / "x.png").exists()


def test_every_package_is_in_the_distribution():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(packages) == there | {"landscape.cli"}


def test_no_modules_import_each_other():
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    edges = {name: imported_modules(path, modules) - {name} for name, path in modules.items()}
    while free := [name for name, needs in edges.items() if not needs & edges.keys()]:
        for name in free:
            del edges[name]
    # What is left needs something of what is left: a circle, or what stands on one.
    assert sorted(edges) == []


def imported_modules(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules that a file imports, at its top or in a function; not what only types need."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known.keys()


def test_no_name_of_a_room_is_hidden_by_its_module():
    """What is imported when it is used is lost where a module is called the same, which stands in its place."""
    hidden = []
    for room in sorted({path.parent for path in PACKAGE.rglob("__init__.py")}):
        name = ".".join(room.relative_to(ROOT).parts)
        listed = getattr(importlib.import_module(name), "__all__", ())
        for path in (*room.glob("*.py"), *(child for child in room.iterdir() if (child / "__init__.py").exists())):
            if path.stem in listed:
                importlib.import_module(f"{name}.{path.stem}")
                found = getattr(importlib.import_module(name), path.stem)
                meant = name in ("landscape", "landscape.integrations") or path.stem == "style"
                hidden += [f"{name}.{path.stem}"] if inspect.ismodule(found) and not meant else []
    assert hidden == []
