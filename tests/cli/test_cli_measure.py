"""`landscape measure` and `landscape plot --kind spectrum` as a user meets them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import without_torch

import landscape as ls
from landscape.measures import measures, read_table, run_table, step_measures

KEYS = {
    *("name", "value", "standard_error", "converged", "unit", "formula", "source", "invariant_claimed"),
    *("settings", "seconds", "details", "notes", "bound"),
}


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "gd.h5"
    objective = ls.problems.build("digits-mlp", {"width": 3, "depth": 1, "train_size": 60})
    ls.training.train(objective, path, ls.training.Settings(optimizer="gd", lr=0.2, momentum=0.0, epochs=3))
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_one_snapshot_as_json(landscape, run_file):
    code, out, err = landscape(
        "measure", run_file, "--json", "--at", 1, "--measures", "hessian_top,fisher_rao_norm"
    )
    said = json.loads(out)
    assert (code, err) == (0, "")
    assert (said["step"], said["problem"]) == (1, "digits-mlp")
    assert list(said["measures"]) == ["hessian_top", "fisher_rao_norm"]
    for one in said["measures"].values():
        assert set(one) == KEYS
        assert one["value"] > 0
        assert one["seconds"] > 0
    assert said["measures"]["hessian_top"]["settings"]["max_products"] == 500


def test_one_snapshot_in_words(landscape, run_file):
    code, out, _ = landscape(
        *("measure", run_file, "--measures", "hessian_trace,hessian_top", "--seed", 1),
        *("--setting", "hessian_trace.method=hutchinson", "--setting", "hessian_top.max_products=3"),
    )
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == f"{run_file}: measures at step 3, training data"
    assert " ± " in lines[2]
    assert lines[2].split()[-2:] == ["permutation,", "sign-flip"]
    assert "not converged" in lines[3]
    assert lines[4].strip().startswith("not converged after 3 products: the best value is")


def test_a_value_that_did_not_converge_is_null(landscape, run_file):
    _, out, _ = landscape(
        *("measure", run_file, "--measures", "hessian_top", "--setting", "hessian_top.max_products=3", "--json")
    )
    one = json.loads(out)["measures"]["hessian_top"]
    assert (one["value"], one["converged"]) == (None, False)


def test_along_training_is_kept_drawn_and_told_again_from_the_file(landscape, run_file, tmp_path):
    code, out, _ = landscape(
        "measure", run_file, "--at", "all", "--measures", "hessian_top,hessian_trace", "-o", "m.png"
    )
    assert code == 0
    assert (tmp_path / "m.png").stat().st_size > 5_000
    kept = tmp_path / "gd-measures.h5"
    assert "  edge of stability: 2 / learning rate = 10; the last value is" in out
    assert out.splitlines()[-2:] == ["  kept in gd-measures.h5", "  drawn in m.png"]
    code, again, _ = landscape("measure", kept, "-o", "again.pdf")
    assert code == 0
    assert again.splitlines()[1:4] == out.splitlines()[1:4]
    assert (tmp_path / "again.pdf").exists()
    said = json.loads(landscape("measure", kept, "--json")[1])
    assert said["steps"] == [0, 1, 2, 3]
    assert len(said["measures"]["hessian_top"]["values"]) == 4
    told = json.loads(landscape("inspect", kept, "--json")[1])
    assert told["format"] == "landscape/measures"
    assert "hessian_trace" in landscape("inspect", kept)[1]


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interruption_keeps_what_is_finished(landscape, run_file, tmp_path, monkeypatch, as_json):
    real, count = run_table.measure_at, []

    def stopped(*arguments, **options):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(run_table, "measure_at", stopped)
    names = ("--measures", "fisher_rao_norm,hessian_top")
    code, out, err = landscape("measure", run_file, *names, *(["--json"] if as_json else []))
    assert code == 130
    assert err == (
        "landscape: interrupted; fisher_rao_norm: taken and printed; run again with --measures for the others, or "
        "with --save\n"
    )
    if as_json:
        said = json.loads(out)
        assert said["interrupted"]
        assert list(said["measures"]) == ["fisher_rao_norm"]
    else:
        assert "fisher_rao_norm" in out
    count.clear()
    code, out, err = landscape("measure", run_file, *names, "--at", "all")
    assert (code, out) == (130, "")
    assert err == (
        "landscape: interrupted; the measures taken are kept in gd-measures.h5; run the same command to go on\n"
    )
    assert read_table(tmp_path / "gd-measures.h5").taken == 1
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert landscape("measure", run_file, *names, "--at", "all")[0] == 0
    assert read_table(tmp_path / "gd-measures.h5").complete


def test_profiles_are_told_and_drawn_of_several_runs_with_the_same_draws(landscape, run_file, tmp_path):
    (tmp_path / "other.h5").write_bytes(run_file.read_bytes())
    names = ("--measures", "local_energy,local_entropy", "--setting", "local_energy.sigmas=0.2,0.4")
    few = ("--setting", "local_energy.draws=5", "--setting", "local_entropy.draws=5")
    code, out, _ = landscape("measure", run_file, *names, *few, "-o", "p.png")
    assert code == 0
    assert (tmp_path / "p.png").stat().st_size > 5_000
    lines = [line.strip() for line in out.splitlines()]
    at = lines.index("sigma  rise of the loss (nats)  rise of the error (%)")
    assert [line.split()[0] for line in lines[at + 1 : at + 4]] == ["0.1", "0.2", "0.4"]
    # A picture asks for a profile of local entropy too, around the gamma of the value.
    at = lines.index("gamma      local entropy (nats)")
    assert lines[at + 3].startswith("1000  ")
    assert lines[-1] == "drawn in p.png"
    code, out, _ = landscape("measure", run_file, "other.h5", *names, *few, "-o", "q.png", "--json")
    said = json.loads(out)
    one, other = (document["measures"]["local_energy"]["details"] for document in said["files"])
    assert one == other
    assert said["picture"] == "q.png"
    code, _, err = landscape("measure", run_file, "other.h5", "--at", "all")
    assert code == 2
    assert "several files are measured at one snapshot each, and not kept; leave --at all and --save out" in err


def test_one_snapshot_can_be_kept_and_comes_back(landscape, run_file):
    command = ("measure", run_file, "--measures", "hessian_top", "--save", "one.h5", "--json")
    first, again = (json.loads(landscape(*command)[1])["measures"]["hessian_top"] for _ in range(2))
    assert again["value"] == first["value"]
    assert set(again) == KEYS
    assert again["seconds"] is None


def test_all_measures_are_listed(landscape):
    code, out, _ = landscape("measure", "--list")
    assert code == 0
    known = {**measures(), **step_measures()}
    for one in known.values():
        assert f"{one.name}: {one.title}" in out
    said = json.loads(landscape("measure", "--list", "--json")[1])
    assert set(said["measures"]) == set(known)
    assert said["measures"]["hessian_top"]["formula"] == measures()["hessian_top"].formula
    assert said["measures"]["hessian_top"]["settings"] == {"k": 1, "tol": 1e-6, "max_products": 500}
    assert [one["low"] for one in said["measures"]["hessian_top"]["options"]] == [1, 0, 1]
    assert "max_products=500: Products with one vector after which it gives up (a whole number, at" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measures", "hessian_tip"], "there is no measure 'hessian_tip'; did you mean 'hessian_top'?"),
        (
            ["--measures", ","],
            "option '--measures' has the wrong type; got ','",
        ),
        (["--setting", "k=3"], "option '--setting': not a setting; got 'k=3'; expected MEASURE.NAME=VALUE"),
        (["--setting", "hessian_top.q=3"], "there is no option 'hessian_top.q'; did you mean 'hessian_top.k'?"),
        (["--setting", "hessian_bottom.k=3"], "settings of 'hessian_bottom', which is not taken; take it too"),
        (["--at", "77"], "no snapshot at step 77; the nearest are 0, 1, 2, 3"),
        (["--setting", "local_energy.sigmas=0.1,a"], "option 'local_energy.sigmas' has the wrong type"),
        (
            ["--setting", "local_energy.draws=0"],
            "option 'local_energy.draws' is out of range; got 0; expected at least 1",
        ),
        (
            ["--setting", "epsilon_sharpness.subspace=many", "--setting", "epsilon_sharpness.restarts=0"],
            "option 'epsilon_sharpness.subspace' has the wrong type; got 'many'; expected a whole number | "
            "option 'epsilon_sharpness.restarts' is out of range; got 0; expected at least 1",
        ),
        (["--split", "tset"], "option '--split' has no such choice; got 'tset'; did you mean 'test'?"),
        (["--dtype", "float23"], "option '--dtype' has no such choice; got 'float23'; did you mean 'float32'?"),
        (["--parameters", "nothing.*"], "parameters: nothing is left to move; got nothing.*"),
        (["-o", "m.png"], "-o: a picture shows measures along training, and this is one snapshot; pass --at all"),
        (["-o", "m.gif", "--at", "all"], "m.gif: unknown file type; got .gif; expected .png or .pdf or .svg"),
        (["--seed", "-1"], "option '--seed' is out of range; got -1; expected at least 0"),
    ],
)
def test_wrong_input_is_told_in_one_line(landscape, run_file, arguments, message):
    own = [name for name in ("local_energy", "epsilon_sharpness") if name in message]
    own = ["--measures", *own] if own else []
    code, out, err = landscape("measure", run_file, *own, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_file_is_needed_and_measures_that_are_taken_stay(landscape, run_file):
    assert landscape("measure")[2] == "landscape measure: Missing argument 'FILE'\n"
    landscape("measure", run_file, "--at", "all", "--measures", "fisher_rao_norm")
    code, _, err = landscape("measure", "gd-measures.h5", "--seed", 3, "--setting", "a.b=1")
    assert code == 2
    assert "--seed, --setting cannot change measures that are taken; give the trajectory instead" in err


def test_a_file_of_measures_is_told_and_drawn_without_torch(landscape, run_file, tmp_path):
    landscape("measure", run_file, "--at", "all", "--measures", "fisher_rao_norm")
    without_torch("measure", tmp_path / "gd-measures.h5", "-o", tmp_path / "m.png")


def test_a_spectrum(landscape, run_file, tmp_path):
    arguments = ("--kind", "spectrum", "--probes", 3, "--lanczos", 20, "-o", "s.png")
    code, out, _ = landscape("plot", run_file, *arguments, "--json")
    said = json.loads(out)
    assert code == 0
    assert (tmp_path / "s.png").exists()
    assert said["size"] == 235
    assert said["trace"] == pytest.approx(235 * said["mean"])
    assert said["largest"]["converged"]
    assert math.isfinite(said["smallest"]["value"])
    lines = landscape("plot", run_file, *arguments)[1].splitlines()
    assert lines[0] == "s.png: spectrum of the hessian of digits-mlp at step 3, 235 eigenvalues"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--kind", "spectrum", "--points", "3"],
            "--points cannot change a picture of kind spectrum",
        ),
        (
            ["--kind", "surface", "--probes", "3"],
            "cannot change a picture of kind surface; leave it out, or pass --kind spectrum",
        ),
        (
            ["--kind", "spectrum", "--matrix", "hesian"],
            "got 'hesian'; did you mean 'hessian'?",
        ),
    ],
)
def test_wrong_spectra_are_told_in_one_line(landscape, run_file, arguments, message):
    code, out, err = landscape("plot", run_file, *arguments)
    assert (code, out) == (2, "")
    assert message in err
