"""One file, many random planes: the same numbers as one by one, resumable to the byte."""

from __future__ import annotations

import random
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import Untouched, make_mlp
from killing import objective_of, run_and_kill, run_to_the_end

from landscape import problems
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.projection import Projected, Repeats, random_line, random_lines, random_plane, random_planes
from landscape.surface import Surface, evaluate, grid, provenance, read_surface
from landscape.surface import evaluation as evaluating
from landscape.surface.summary import describe_surface
from landscape.values import repeats


def test_each_repeat_is_the_slice_of_its_own_seed_bit_for_bit(objective: Objective, mlp: torch.nn.Module) -> None:
    surface = evaluate(objective, random_planes(mlp, 3, seed=5), grid((4, 3)))
    assert surface.values.shape == (3, 3, 4)
    assert surface.repeat is not None
    assert surface.repeat.tolist() == [5, 6, 7]
    for seed in (5, 6, 7):
        alone = evaluate(objective, random_plane(mlp, seed=seed), grid((4, 3)))
        one = surface.at(repeat=seed)
        for field in alone.fields:
            assert np.array_equal(one[field], alone[field])
            assert np.array_equal(one.standard_errors[field], alone.standard_errors[field])
        assert one.repeat is None
        assert one.meta["plane"]["seed"] == seed
        assert "repeats" not in one.meta["plane"]
    assert not np.array_equal(surface.values[0], surface.values[1])


def test_lines_are_the_first_directions_of_planes(objective: Objective, mlp: torch.nn.Module) -> None:
    surface = evaluate(objective, random_lines(mlp, 2), grid(5))
    alone = evaluate(objective, random_line(mlp, seed=1), grid(5))
    assert surface.values.shape == (2, 5)
    assert np.array_equal(surface.values[1], alone.values)
    assert surface.meta["axes"][0]["label"] == "random direction"
    assert "cosine" not in surface.meta["plane"]


def test_a_volume_is_repeated_too(objective: Objective, mlp: torch.nn.Module) -> None:
    surface = evaluate(objective, Repeats(mlp, 2, dims=3), grid((4, 3, 2)))
    assert list(surface.axes) == ["repeat", "z", "y", "x"]
    assert surface.at(repeat=1, z=1.0).values.shape == (3, 4)


def test_the_file_names_the_seeds_and_holds_every_direction(
    objective: Objective, mlp: torch.nn.Module, tmp_path: Path
) -> None:
    planes = random_planes(mlp, 3, seed=2)
    made = evaluate(objective, planes, grid((5, 3)), save=tmp_path / "s.h5")
    read = read_surface(tmp_path / "s.h5")
    assert np.array_equal(read.values, made.values)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["repeat"].dtype == np.int64
        assert file["repeat"][...].tolist() == [2, 3, 4]
        assert [dim[0].name for dim in file["train_loss"].dims] == ["/repeat", "/y", "/x"]
        for i, plane in enumerate(planes):
            for axis, direction in zip("xy", plane.directions, strict=True):
                assert np.array_equal(file[f"directions/repeat{i}/{axis}/0.weight"], direction["0.weight"])
    said = describe_surface(tmp_path / "s.h5")
    assert said["repeats"]["seeds"] == [2, 3, 4]
    assert said["repeats"]["fields"]["train_loss"]["directions"] == 6


def test_large_directions_are_left_to_their_seeds(
    objective: Objective, mlp: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(p.numel() for p in mlp.parameters())
    # One line would be stored, both together are too large.
    monkeypatch.setattr(provenance, "_LARGEST_STORED_DIRECTION", size)
    evaluate(objective, random_lines(mlp, 2), grid(3), save=tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        assert "directions" not in file


class Stopped(Exception):
    pass


@pytest.mark.parametrize("dims", [1, 2])
def test_interrupted_repeats_compute_only_what_is_missing_and_end_with_the_same_bytes(
    objective: Objective, mlp: torch.nn.Module, tmp_path: Path, dims: int
) -> None:
    planes, net = Repeats(mlp, 3, dims=dims), grid((5, 4)[:dims])
    whole, cut = tmp_path / "whole.h5", tmp_path / "cut.h5"
    evaluate(objective, planes, net, save=whole)
    total = 3 * 5 * 4 ** (dims - 1)
    for stop in (total // 4, total // 2):

        def progress(done: int, _: int, stop: int = stop) -> None:
            if done == stop:
                raise Stopped

        with pytest.raises(Stopped):
            evaluate(objective, planes, net, save=cut, progress=progress)
        part = read_surface(cut)
        assert part.done is not None
        assert part.done.ravel().tolist() == [True] * stop + [False] * (total - stop)
    seen: list[int] = []
    evaluate(objective, planes, net, save=cut, progress=lambda done, _: seen.append(done))
    assert seen == list(range(total // 2 + 1, total + 1))
    assert cut.read_bytes() == whole.read_bytes()


def test_a_finished_plane_is_not_set_up_again(
    objective: Objective, mlp: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, _: int) -> None:
        if done == 10:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate(objective, random_lines(mlp, 4), grid(5), save=tmp_path / "s.h5", progress=stop)
    made = []
    real = evaluating.build
    monkeypatch.setattr(evaluating, "build", lambda *a, **k: made.append(a[2].meta["seed"]) or real(*a, **k))
    evaluate(objective, random_lines(mlp, 4), grid(5), save=tmp_path / "s.h5")
    # Lines 0 and 1 were done; the engine of line 0 tells the time that the rest will take.
    assert made == [2, 3]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda m: random_lines(m, 2, seed=1), "seed.*directions.*repeat;"),
        (lambda m: random_lines(m, 3), "directions.*repeats.*repeat;"),
        (lambda m: random_line(m), "directions.*repeat;"),
        (lambda m: random_lines(m, 2, normalize="layer"), "normalize"),
    ],
)
def test_other_repeats_are_another_slice(objective: Objective, mlp, tmp_path: Path, other, named: str) -> None:
    evaluate(objective, random_lines(mlp, 2), grid(3), save=tmp_path / "s.h5")
    with pytest.raises(LandscapeError, match=f"it differs in .*{named}"):
        evaluate(objective, other(mlp), grid(3), save=tmp_path / "s.h5")


def test_the_weights_are_those_of_the_moment_and_nothing_is_touched(objective: Objective) -> None:
    model = make_mlp()
    lines = random_lines(model, 2)
    before = lines[1]
    untouched = Untouched(model)
    evaluate(objective, lines, grid(3))
    untouched.check()
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert torch.equal(lines[1].origin["0.weight"], before.origin["0.weight"])
    assert torch.equal(lines[1].directions[0]["0.weight"], before.directions[0]["0.weight"])


@pytest.mark.parametrize("repeats", [1, 1001, -3, 2.5])
def test_a_number_of_repeats_that_makes_no_sense(mlp: torch.nn.Module, repeats: int) -> None:
    message = f"repeats: repeats are planes to be compared; got {repeats}; expected 2 to 1,000"
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        random_lines(mlp, repeats)


def test_a_path_lies_in_one_plane(objective: Objective, mlp: torch.nn.Module) -> None:
    way = Projected(np.zeros((1, 2)), np.zeros(1), 1.0)
    with pytest.raises(LandscapeError, match=r"^path: a path lies in one plane; got 3 planes$"):
        evaluate(objective, random_planes(mlp, 3), grid(3), path=([], way))  # type: ignore[arg-type]


def test_a_seed_that_is_not_there(objective: Objective, mlp: torch.nn.Module) -> None:
    surface = evaluate(objective, random_lines(mlp, 2), grid(3))
    message = "repeat: the surface has no repeat of seed 7; got 7; the nearest is 1"
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        surface.at(repeat=7)


def test_the_curvature_of_a_toy_quadratic_is_its_hessian_along_every_line() -> None:
    objective = problems.build("toy-quadratic", {"dtype": "float64"}, seed=0)
    lines = random_lines(objective.model, 10, normalize="none", one_d="norm")
    surface = evaluate(objective, lines, grid(11, radius=0.5))
    form = problems.toys.quadratic(problems.toys.QuadraticOptions(dtype="float64"))
    hessian = form.eigenvectors @ np.diag(form.eigenvalues) @ form.eigenvectors.T
    steps = [line.directions[0]["weight"].double().numpy().ravel() for line in lines]
    found = repeats.lines(surface, "train_loss")
    np.testing.assert_allclose(found.curvature, [d @ hessian @ d for d in steps], rtol=1e-8)
    assert found.positive == 10


def draw(path: str) -> None:
    objective = objective_of("digits-mlp", ("width", "8"))
    evaluate(objective, random_planes(objective.model, 3), grid(9), save=path)


def test_repeats_killed_8_times_end_with_the_same_bytes(tmp_path: Path) -> None:
    duration = run_to_the_end(draw, tmp_path / "whole.h5")
    cut, chance, kept = tmp_path / "cut.h5", random.Random(0), 0
    for _ in range(8):
        run_and_kill(draw, cut, chance.uniform(0.0, 0.5) * duration)
        if cut.exists():
            part: Surface = read_surface(cut)
            done = int(part.done.sum()) if part.done is not None else part.values.size
            assert done >= kept
            kept = done
    assert kept > 0
    draw(str(cut))
    assert cut.read_bytes() == (tmp_path / "whole.h5").read_bytes()
