"""What is imported is declared, and what is private to torch can be missing."""

import ast
import functools
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from torch import nn

from landscape.curvature import convolution, decompositions
from landscape.curvature.convolution import Convolutions
from landscape.objective import rewrites

SOURCES = [*(ROOT / "landscape").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where the name of a distribution is not that of what it installs.
INSTALLS = {"pillow": ("PIL",), "scikit-learn": ("sklearn",), "matplotlib": ("matplotlib", "mpl_toolkits")}
# Private names of torch: each may be missing, which a test below tries; fields of wrappers are read by name alone.
PRIVATE = {"torch._C", "torch._weight_norm", "torch.ops.mkldnn._convolution_pointwise"}
# The documented home of TorchDispatchMode, and the trees that it is given; kernels that have no other name.
ESTABLISHED = {"torch.utils._python_dispatch", "torch.utils._pytree", "torch.ops.aten._to_copy"}


def installed_by(requirements: list[str]) -> set[str]:
    names = [re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements]
    return {module for name in names for module in INSTALLS.get(name, (name,))}


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> set[str]:
    """The packages of others that a file imports somewhere."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"landscape"}


def optional() -> set[str]:
    """What an extra that is named after it, or after what it gives, installs."""
    extras = PROJECT["optional-dependencies"]
    return installed_by(
        [r for name, wanted in extras.items() if name not in ("test", "check", "bench") for r in wanted]
    )


def test_what_is_imported_is_declared():
    declared = installed_by(PROJECT["dependencies"]) | optional()
    found = {str(path.relative_to(ROOT)): imports(path) - declared for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_is_declared_is_imported():
    used = set().union(*(imports(path) for path in SOURCES))
    assert installed_by(PROJECT["dependencies"]) - used == set()


def test_every_requirement_has_a_lowest_version_that_is_not_above_the_tried_one():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if "==" in line)
    for requirement in PROJECT["dependencies"]:
        name, lowest = requirement.split(">=")
        if name in tried:
            assert [*map(int, lowest.split("."))] <= [*map(int, tried[name].split("."))], name


def test_the_checks_before_a_commit_are_those_of_make():
    recipe = (ROOT / "Makefile").read_text().partition("check: ")[2].partition("\n\n")[0]
    wanted = [line.strip().removeprefix("$(VENV)/bin/") for line in recipe.splitlines()[1:]]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert [command for command in wanted if command.removesuffix(" .") not in hooks] == []


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_private_names_of_torch_are_those_that_may_be_missing():
    found = set()
    for path in SOURCES:
        for node in nodes(path):
            name = dotted(node) if isinstance(node, ast.Attribute) else ""
            if isinstance(node, ast.ImportFrom):
                name = node.module or ""
            private = re.match(r"torch(\.[a-z]\w*)*\._[A-Za-z]\w*", name)
            found |= {private[0]} if private else set()
    assert found - ESTABLISHED == PRIVATE


def test_convolutions_are_folded_without_the_kernel_of_the_compiler(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval().requires_grad_(False)
    model[1].running_var.fill_(2.0)
    x = torch.randn(2, 3, 5, 5)
    usual = rewrites.rewritten(model, x).counts
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    made = rewrites.rewritten(model, x)
    assert made.counts == usual
    torch.testing.assert_close(made.call(x), model(x))


@pytest.mark.parametrize("asks", [convolution._executes, convolution._always], ids=["asked", "not asked"])
def test_convolutions_have_their_gradients_without_asking_the_engine(monkeypatch, asks):
    monkeypatch.setattr(convolution, "_executes", asks)
    generator = torch.Generator().manual_seed(0)
    x, model = torch.randn(2, 3, 5, 5, generator=generator, requires_grad=True), nn.Conv2d(3, 4, 3)

    def gradients():
        loss = nn.functional.conv2d(torch.tanh(x), torch.tanh(model.weight)).pow(2).sum()
        return torch.autograd.grad(loss, (x, model.weight))

    plain = gradients()
    with Convolutions(x.device, model).replaced():
        found = gradients()
    torch.testing.assert_close(found, plain)


def test_decompositions_do_not_need_the_private_norm_of_weights(monkeypatch):
    monkeypatch.delattr(torch, "_weight_norm")
    spec = importlib.util.spec_from_file_location("decompositions_without", decompositions.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module._PLAIN) == len(decompositions._PLAIN) - 1


def test_every_version_and_requirement_elsewhere_is_that_of_the_project():
    import landscape

    recipe = (ROOT / "recipe" / "recipe.yaml").read_text()
    assert f'version: "{landscape.__version__}"' in recipe
    assert f"\nversion: {landscape.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {landscape.__version__} (" in (ROOT / "CHANGELOG.md").read_text()
    conda = {"torch": "pytorch", "matplotlib": "matplotlib-base", "xxhash": "python-xxhash"}
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    found = [line.strip().removeprefix("- ") for line in run.splitlines()][1:]
    pairs = [requirement.split(">=") for requirement in PROJECT["dependencies"]]
    assert found == [f"{conda.get(name, name)} >={lowest}" for name, lowest in pairs]


def test_the_lowest_versions_tried_are_those_declared():
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if "==" in line)
    wanted = dict(one.split(">=") for one in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"])
    assert [name for name, lowest in wanted.items() if not tried[name].startswith(lowest)] == []
    assert tried.keys() == wanted.keys()
