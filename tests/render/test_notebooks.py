"""What a notebook or a prompt shows: a picture once, and results in a few lines."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import landscape as ls
from landscape.values.grid import Grid
from landscape.values.spectrum import End, Spectrum

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(4, 3), torch.randn(20, 4)
    loss = torch.nn.functional.cross_entropy
    objective = ls.Objective(model, loss=loss, train=(x, torch.arange(20) % 3))
    plane = ls.random_plane(model, seed=0)
    surface = ls.evaluate(objective, plane, ls.grid(9))
    return objective, plane, surface, ls.symmetry.find(model, x[:2])


def test_a_figure_has_one_picture_of_its_own(made):
    bundle = ls.render.contour(made[2])._repr_mimebundle_()
    assert [kind for kind in bundle if kind.startswith("image/")] == ["image/png"]
    assert bundle["image/png"].startswith(PNG)


def test_results_print_in_a_few_lines_what_they_are(made):
    objective, plane, surface, symmetries = made
    assert repr(plane) == "Plane(random plane of 2 directions, moves 2 tensors of 15 numbers)"
    assert repr(symmetries).startswith("Symmetries(")
    assert repr(objective).startswith("Objective(Linear, 15 numbers move, splits train, metrics loss")
    assert repr(surface).splitlines()[:2] == ["Surface", "  x: float64 9, -1 to 1"]
    end = End(2.0, 1e-9, True)
    grid = np.linspace(-1, 1, 300)
    spectrum = Spectrum(grid, np.ones((10, 300)), 0.1, 0.1, 7, 1.0, 0.1, 2.0, 0.1, end, end, {"note": "x" * 500})
    repeats = ls.random_planes(objective.model, 3)
    curvature = ls.curvature.Curvature(objective, objective.model)
    others = (repeats, curvature, Grid([-1.0, 0.0, 0.5], [0.0, 1.0]))
    for value in (objective, plane, surface, symmetries, spectrum, *others):
        assert len(repr(value).splitlines()) <= 10
        assert len(repr(value)) < 1000
        assert " at 0x" not in repr(value)


def test_python_runs_the_package():
    command = [sys.executable, "-m", "landscape", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("landscape")


@pytest.mark.parametrize("command", [(), ("probe",), ("init",)])
def test_a_bare_command_shows_its_help(landscape, command):
    done = landscape(*command)
    assert done.code == 0
    assert len(done.out.splitlines()) > 5


def test_a_training_that_diverges_says_so(landscape, tmp_path):
    done = landscape("train", "toy-hyperbola", "-o", tmp_path / "d.h5", "--epochs", 3, "--lr", 10)
    assert done.code == 0
    assert "diverged (try a smaller --lr)" in done.err
