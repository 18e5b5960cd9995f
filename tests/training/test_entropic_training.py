"""Recorded trainings by SAM, Entropy-SGD and Replicated-SGD: what they reduce to, resuming, what is stored."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import Untouched, make_convnet, make_mlp
from test_training import Stopped, objective_for, same_weights
from torch import nn

from landscape.cli.inspect import command as inspect
from landscape.cli.plot import command as plot_command
from landscape.cli.train import command as train_command
from landscape.errors import LandscapeError
from landscape.recipe import RecipeError, load
from landscape.render import recorded
from landscape.training import Every, Settings, centre, train
from landscape.training.choices import ReplicaChoices
from landscape.training.replicas import pays_together
from landscape.trajectory import open_trajectory

SHORT = {"epochs": 2, "batch_size": 16, "every": Every(3, "steps")}
PANELS = ("loss", "error", "gamma", "replica_distance")
OPTIONS = {
    "sam": {"rho": 0.1},
    "entropy-sgd": {"L": 3, "inner_momentum": 0.5, "noise": 1e-3},
    "replicated-sgd": {"replicas": 2},
}


def make_dropout_net() -> nn.Module:
    return nn.Sequential(*make_convnet(), nn.Dropout(0.3))


def test_each_reduces_to_sgd_with_the_same_bits(tmp_path):
    plain = train(objective_for(make_convnet()), tmp_path / "sgd.h5", Settings(**SHORT))
    for optimizer, options in {"sam": {"rho": 0.0}, "entropy-sgd": {"L": 0}}.items():
        settings = Settings(optimizer=optimizer, optimizer_options=options, **SHORT)
        run = train(objective_for(make_convnet()), tmp_path / f"{optimizer}.h5", settings)
        assert all(same_weights(a, b) for a, b in zip(plain, run, strict=True))
    settings = Settings(optimizer="replicated-sgd", optimizer_options={"gamma": 0}, **SHORT)
    run = train(objective_for(make_convnet()), tmp_path / "replicated.h5", settings)
    # The first replica has the same start and the same order; the others do not.
    assert all(same_weights(a, b) for a, b in zip(plain, run.branches["replica-0"], strict=True))
    assert not same_weights(plain[-1], run.branches["replica-1"][-1])


@pytest.mark.parametrize("optimizer", OPTIONS)
@pytest.mark.parametrize("stop_at", [2, 8])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, optimizer, stop_at):
    def stop(done, total, metrics):
        if done == stop_at:
            raise Stopped

    settings = Settings(optimizer=optimizer, optimizer_options=OPTIONS[optimizer], schedule="cosine", **SHORT)
    whole = train(objective_for(make_dropout_net()), tmp_path / "whole.h5", settings)
    with pytest.raises(Stopped):
        train(objective_for(make_dropout_net()), tmp_path / "cut.h5", settings, progress=stop)
    assert not open_trajectory(tmp_path / "cut.h5").finished
    resumed = train(objective_for(make_dropout_net()), tmp_path / "cut.h5", settings, resume=True)
    pairs = [(whole, resumed)] + [(whole.branches[n], resumed.branches[n]) for n in whole.branches]
    for one, other in pairs:
        assert other.finished
        assert list(one.steps) == list(other.steps) == [0, 3, 6, 8]
        assert all(same_weights(a, b) for a, b in zip(one, other, strict=True))
        for name in one.metrics:
            assert np.array_equal(one.metrics[name], other.metrics[name]), name


def test_a_kill_between_two_writes_of_a_snapshot_is_mended(tmp_path, monkeypatch):
    """Branches are written before the run: what is newer there gives way, and finished ones stay."""
    from landscape.trajectory import Recorder

    settings = Settings(optimizer="replicated-sgd", optimizer_options={"replicas": 2}, **SHORT)
    whole = train(objective_for(make_mlp()), tmp_path / "whole.h5", settings)
    snapshot, finish = Recorder.snapshot, Recorder.finish
    for at, method in ((6, "snapshot"), (None, "finish")):
        file = tmp_path / f"{method}.h5"

        def killed(self, *arguments, at=at, method=method, **more):
            if self._file.prefix == "/" and (at is None or arguments[0] == at):
                raise Stopped
            return {"snapshot": snapshot, "finish": finish}[method](self, *arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Recorder, method, killed)
            with pytest.raises(Stopped):
                train(objective_for(make_mlp()), file, settings)
        held = open_trajectory(file)
        assert len(held.branches["replica-0"]) >= len(held)
        assert held.branches["replica-0"].finished == (method == "finish")
        resumed = train(objective_for(make_mlp()), file, settings, resume=True)
        pairs = [(whole, resumed)] + [(whole.branches[n], resumed.branches[n]) for n in whole.branches]
        for one, other in pairs:
            assert other.finished
            assert all(same_weights(a, b) for a, b in zip(one, other, strict=True))


def test_the_run_is_the_centre_of_its_branches(tmp_path):
    objective = objective_for(make_convnet())
    settings = Settings(optimizer="replicated-sgd", weight_decay=0.01, **SHORT)
    run = train(objective, tmp_path / "r.h5", settings)
    assert list(run.branches) == ["replica-0", "replica-1", "replica-2"]
    for place, snapshot in enumerate(run):
        replicas = [branch[place] for branch in run.branches.values()]
        middle = centre(replicas)
        for name, tensor in {**snapshot.weights, **snapshot.buffers}.items():
            assert torch.equal(tensor, middle[name]), name
        squares = [
            sum(float((r.weights[n] - snapshot.weights[n]).double().square().sum()) for n in r.weights)
            for r in replicas
        ]
        assert run.metrics["replica_distance"][place] == pytest.approx(np.mean(squares) ** 0.5, rel=1e-5)
        assert run.metrics["train_loss"][place] == objective.value(snapshot)
    branch = run.branches["replica-1"]
    assert branch.parent["parent_run_id"] == run.run_id
    assert branch.parent["perturbation"] == {"kind": "replica", "number": 1}
    assert branch.metrics["train_loss"][-1] == objective.value(branch[-1])
    assert list(run.metrics["gradient_evaluations"]) == [0, 9, 18, 24]
    # gamma is 0 for an epoch of 4 updates, then the mean loss there over the squared distance; it grows by the
    # epoch, up to where an update goes half the way to the centre.
    assert list(run.metrics["gamma"]) == [0, 0, 2.5, 2.5]


def test_shuffled_replicas_start_from_the_same_numbers_in_other_orders(tmp_path):
    settings = {"optimizer": "replicated-sgd", **SHORT}
    run = train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(**settings))
    first, other = (run.branches[f"replica-{n}"][0].weights["0.weight"] for n in (0, 1))
    assert torch.equal(first, make_mlp()[0].weight)
    assert not torch.equal(first, other)
    assert torch.equal(first.flatten().sort()[0], other.flatten().sort()[0])
    settings["optimizer_options"] = {"start": "same"}
    run = train(objective_for(make_mlp()), tmp_path / "s.h5", Settings(**settings))
    assert run.metrics["replica_distance"][0] == pytest.approx(0, abs=1e-6)
    assert run.metrics["replica_distance"][-1] > 0.01


@pytest.mark.parametrize("make", [make_mlp, make_convnet])
def test_replicas_in_one_pass_are_those_one_after_the_other(tmp_path, make):
    runs = [
        train(
            objective_for(make()),
            tmp_path / f"{together}.h5",
            Settings(optimizer="replicated-sgd", optimizer_options={"together": together}, **SHORT),
        )
        for together in ("no", "yes")
    ]
    for name in runs[0].branches:
        one, other = (run.branches[name][-1] for run in runs)
        for tensors in ("weights", "buffers"):
            pairs = [(getattr(one, tensors)[n], getattr(other, tensors)[n]) for n in getattr(one, tensors)]
            for a, b in pairs:
                assert torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


def test_replicas_are_taken_together_where_that_is_known_to_be_faster():
    assert [ReplicaChoices(replicas=count).together for count in (3, 4)] == [False, None]
    assert ReplicaChoices(replicas=8, together=False).together is False
    assert [pays_together(objective_for(make()), make()) for make in (make_mlp, make_convnet)] == [True, False]


def test_the_centre_can_be_recalibrated(tmp_path):
    runs = [
        train(
            objective_for(make_convnet()),
            tmp_path / f"{recalibrate}.h5",
            Settings(optimizer="replicated-sgd", optimizer_options={"recalibrate": recalibrate}, **SHORT),
        )
        for recalibrate in (False, True)
    ]
    assert all(torch.equal(runs[0][-1].weights[n], runs[1][-1].weights[n]) for n in runs[0][-1].weights)
    fresh = runs[1][-1].buffers["1.running_mean"]
    assert not torch.equal(runs[0][-1].buffers["1.running_mean"], fresh)
    objective = objective_for(make_convnet())
    layer = objective.model[0]
    with torch.no_grad():
        layer.load_state_dict({"weight": runs[1][-1].weights["0.weight"], "bias": runs[1][-1].weights["0.bias"]})
        wanted = layer(objective.data["train"].inputs).mean(dim=(0, 2, 3))
    assert torch.allclose(fresh, wanted, atol=1e-5)


def test_statistics_under_sam_are_those_at_the_weights(tmp_path):
    settings = {"epochs": 1, "batch_size": 50, "momentum": 0.0}
    plain = train(objective_for(make_convnet()), tmp_path / "sgd.h5", Settings(**settings))
    sam = train(objective_for(make_convnet()), tmp_path / "sam.h5", Settings(optimizer="sam", **settings))
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(plain[-1].buffers[name], sam[-1].buffers[name])
    assert not same_weights(plain[-1], sam[-1])


@pytest.mark.parametrize("optimizer", OPTIONS)
def test_model_and_random_state_are_untouched_and_costs_are_counted(tmp_path, optimizer):
    model = make_dropout_net()
    untouched = Untouched(model)
    settings = Settings(optimizer=optimizer, optimizer_options=OPTIONS[optimizer], **SHORT)
    run = train(objective_for(model), tmp_path / "r.h5", settings)
    untouched.check()
    per_update = {"sam": 2, "entropy-sgd": 3, "replicated-sgd": 2}[optimizer]
    assert list(run.metrics["gradient_evaluations"]) == [per_update * step for step in run.steps]


def test_faults_of_options_are_told_together():
    with pytest.raises(LandscapeError) as caught:
        Settings(optimizer="entropy-sgd", epochs=0, optimizer_options={"gama": 1, "average": 2, "gamma": "much"})
    assert str(caught.value) == (
        "option 'epochs' is out of range; got 0; expected at least 1 | "
        "entropy-sgd: there is no option 'gama'; did you mean 'gamma'? | "
        "option 'average' is out of range; got 2; expected 0 to 1 | "
        "option 'gamma' has the wrong type; got 'much'; expected a number or auto"
    )
    with pytest.raises(LandscapeError, match="sgd: there is no option 'L'; it has no options"):
        Settings(optimizer_options={"L": 3})


def test_settings_with_options_survive_json():
    settings = Settings(optimizer="entropy-sgd", optimizer_options={"L": "7", "gamma": "auto"})
    again = Settings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again.choices == settings.choices
    assert again.choices.L == 7
    assert again.choices.gamma is None
    assert "optimizer_options" not in Settings().to_json()


def test_the_command_trains_resumes_and_shows_branches(tmp_path):
    file = str(tmp_path / "r.h5")
    runner = CliRunner()
    start = ["digits-mlp", "-o", file, "--set", "width=4", "--epochs", "1", "--optimizer", "replicated-sgd"]
    start += ["--optimizer-option", "replicas=2", "--json"]
    with pytest.raises(
        LandscapeError, match=r"option '--optimizer-option': not a setting; got 'L'; expected NAME=VALUE"
    ):
        runner.invoke(train_command, [*start, "--optimizer-option", "L"], catch_exceptions=False)
    done = runner.invoke(train_command, start, catch_exceptions=False)
    assert json.loads(done.stdout)["metrics"]["gradient_evaluations"] == 24
    again = runner.invoke(train_command, ["digits-mlp", "-o", file, "--resume"], catch_exceptions=False)
    assert again.exit_code == 0
    shown = runner.invoke(inspect, [file, "--json"], catch_exceptions=False)
    branches = json.loads(shown.stdout)["branches"]
    assert branches == [{"name": f"replica-{n}", "snapshots": 2, "parent_step": 0} for n in range(2)]
    assert "branches    2: replica-0, replica-1" in runner.invoke(inspect, [file], catch_exceptions=False).stdout
    picture = str(tmp_path / "m.png")
    arguments = [file, "--kind", "metrics", "--branches", "-o", picture]
    drawn = runner.invoke(plot_command, arguments, catch_exceptions=False)
    assert drawn.stdout == f"{picture}: what was recorded of digits-mlp, 3 runs\n"
    run = open_trajectory(file)
    axes = recorded({"centre": run, **run.branches}, list(PANELS)).axes
    # Points without neighbours are lines of their own, here empty ones.
    found = [[y for line in ax.get_lines() if (y := list(line.get_ydata()))] for ax in axes]
    lines, _, gamma, distance = found
    assert lines[:2] == [run.metrics["train_loss"].tolist(), run.metrics["test_loss"].tolist()]
    assert len(lines) == 6
    assert gamma == [run.metrics["gamma"].tolist()]
    assert distance == [run.metrics["replica_distance"].tolist()]
    with pytest.raises(LandscapeError, match="no run recorded 'gama'; did you mean 'gamma'"):
        recorded({"centre": run}, ["gama"])
    with pytest.raises(LandscapeError, match=r"other settings: optimizer \(replicated-sgd in the file, sgd now\)"):
        runner.invoke(
            train_command, ["digits-mlp", "-o", file, "--resume", "--optimizer", "sgd"], catch_exceptions=False
        )


def test_recipes_have_options_of_optimizers(tmp_path):
    text = """# A caption.
[runs]
problem = "digits-mlp"
optimizer_options = { L = 3, gamma = "auto" }
[run.one]
optimizer = "entropy-sgd"
[run.two]
optimizer = "entropy-sgd"
optimizer_options = { L = 4 }
[[panel]]
kind = "curve"
"""
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    runs = load(file).runs
    assert [runs[name].training.choices.L for name in ("one", "two")] == [3, 4]
    assert runs["two"].training.choices.gamma is None
    file.write_text(text.replace("{ L = 4 }", "{ N = 4 }"))
    with pytest.raises(
        RecipeError, match=r"line 9, run\.two\.optimizer_options: entropy-sgd: there is no option 'N'"
    ):
        load(file)
