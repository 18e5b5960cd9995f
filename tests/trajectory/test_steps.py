"""Steps of optimizers beside snapshots: what is recorded, what is said where nothing is, and what kills leave."""

import itertools
import json
import re

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import landscape as ls
from landscape import LandscapeError
from landscape.training import Settings, cost_of_steps, train
from landscape.trajectory import Recorder, open_trajectory
from landscape.trajectory.overview import verify_trajectory


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


X = torch.randn(32, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.randint(0, 3, (32,), generator=torch.Generator().manual_seed(2))


def move(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(X), Y).backward()
    optimizer.step()


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in model.named_parameters()}


def recorded(path, make, steps=12, **options):
    """A recorded run, and the weights at every step."""
    model = network()
    optimizer = make(model)
    seen = []
    with Recorder(path, model, optimizer=optimizer, **options) as recorder:
        for step in range(steps):
            recorder.snapshot(step)
            seen.append(weights(model))
            move(model, optimizer)
        recorder.snapshot(steps)
        seen.append(weights(model))
    return open_trajectory(path), seen


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("keep", [None, 4])
@pytest.mark.parametrize("every", [1, 3])
def test_the_step_after_each_snapshot_is_recorded(tmp_path, background, keep, every):
    run, seen = recorded(tmp_path / "run.h5", adam, background=background, keep=keep, every=every)
    found = 0
    for snapshot in run:
        step = snapshot.next_step
        assert (step is None) == (snapshot.step == 12)
        if step is None:
            continue
        found += 1
        assert (step.step, step.kind, step.optimizer, step.lr) == (snapshot.step, "adam", "Adam", 0.01)
        for name, update in step.update.items():
            before, after = seen[snapshot.step][name], seen[snapshot.step + 1][name]
            assert torch.equal(update, after - before)
            assert step.preconditioner[name].shape == before.shape
    assert found == sum(run.steps < 12)
    assert verify_trajectory(run.path).digests


def test_the_rate_is_that_of_the_step_under_a_schedule(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1 / (step + 1))
    with Recorder(tmp_path / "run.h5", model, optimizer=optimizer, record=("lr",)) as recorder:
        for step in range(4):
            recorder.snapshot(step)
            move(model, optimizer)
            schedule.step()
    run = open_trajectory(tmp_path / "run.h5")
    np.testing.assert_allclose(run.rates, [0.1, 0.05, 0.1 / 3, 0.025])
    assert run[0].next_step.update == {}
    assert recorder.step_bytes == 0


def test_several_optimizers_step_together_and_groups_have_their_own_settings(tmp_path):
    model = network()
    first = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].bias, "lr": 0.2}])
    second = torch.optim.Adam([model[2].weight], lr=0.01)
    before = weights(model)
    with Recorder(tmp_path / "run.h5", model, optimizer=[first, second]) as recorder:
        recorder.snapshot(0)
        for one in (first, second):
            one.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        first.step()
        second.step()
    step = open_trajectory(tmp_path / "run.h5")[0].next_step
    assert (step.kind, step.optimizer, step.lr) == ("mixed", "SGD, Adam", 0.2)
    assert [own["lr"] for own in step.settings] == [0.1, 0.2, 0.01]
    assert step.groups == {"0.weight": 0, "0.bias": 0, "2.weight": 2, "2.bias": 1}
    for name, after in weights(model).items():
        assert torch.equal(step.update[name], after - before[name])
    assert "no threshold is known of several kinds" in step.words


def test_groups_that_differ_in_momentum_have_no_threshold(tmp_path):
    def make(model):
        groups = [{"params": model[0].parameters(), "momentum": 0.5}, {"params": model[2].parameters()}]
        return torch.optim.SGD(groups, lr=0.1)

    run, _ = recorded(tmp_path / "run.h5", make, steps=1)
    assert run[0].next_step.uniform is None
    assert "different momentum" in run[0].next_step.words


def test_an_unknown_optimizer_keeps_the_update_and_says_that_no_threshold_is_known(tmp_path):
    run, seen = recorded(
        tmp_path / "run.h5", lambda model: torch.optim.Rprop(model.parameters(), lr=0.01), steps=2
    )
    step = run[0].next_step
    assert step.words == "no threshold is known of Rprop"
    assert torch.equal(step.update["0.bias"], seen[1]["0.bias"] - seen[0]["0.bias"])


def test_rows_in_bfloat16_are_a_quarter_and_near(tmp_path):
    full, _ = recorded(tmp_path / "full.h5", adam, steps=2)
    short, _ = recorded(tmp_path / "short.h5", adam, steps=2, record_dtype="bfloat16")
    sizes = [run.summary.to_json()["optimizer"]["bytes"] for run in (full, short)]
    assert sizes[0] == 4 * sizes[1]
    for own in ("update", "preconditioner"):
        pairs = zip(*(getattr(run[0].next_step, own).values() for run in (full, short)), strict=True)
        for exact, near in pairs:
            torch.testing.assert_close(near, exact, rtol=2**-8, atol=0)


def test_frozen_parameters_have_no_update(tmp_path):
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    with Recorder(tmp_path / "run.h5", model, optimizer=optimizer) as recorder:
        recorder.snapshot(0)
        move(model, optimizer)
    assert set(open_trajectory(tmp_path / "run.h5")[0].next_step.update) == {"0.bias", "2.weight", "2.bias"}


def test_watching_records_steps_too(tmp_path):
    model = network()
    optimizer = adam(model)
    with Recorder(tmp_path / "run.h5", model, optimizer=optimizer, every=2) as recorder:
        recorder.watch(optimizer)
        for _ in range(5):
            move(model, optimizer)
    run = open_trajectory(tmp_path / "run.h5")
    assert [(one.step, one.next_step is not None) for one in run] == [(0, True), (2, True), (4, True), (5, False)]


def test_files_without_steps_have_the_schema_of_before(tmp_path):
    model = network()
    with Recorder(tmp_path / "plain.h5", model) as recorder:
        recorder.snapshot(0)
    with h5py.File(tmp_path / "plain.h5") as file:
        assert file.attrs["schema"] == 3
        assert not {"updates", "preconditioners"} & set(file)
    recorded(tmp_path / "run.h5", adam, steps=1)
    with h5py.File(tmp_path / "run.h5") as file:
        assert file.attrs["schema"] == 4


def test_a_branch_with_steps_needs_the_schema_of_its_file(tmp_path):
    model = network()
    with Recorder(tmp_path / "run.h5", model) as recorder:
        recorder.snapshot(0)
    optimizer = adam(model)
    with Recorder(tmp_path / "run.h5", model, branch="more", optimizer=optimizer) as recorder:
        recorder.snapshot(0)
        move(model, optimizer)
    with h5py.File(tmp_path / "run.h5") as file:
        assert file.attrs["schema"] == 4
    assert open_trajectory(tmp_path / "run.h5").branches["more"][0].next_step.kind == "adam"
    assert verify_trajectory(tmp_path / "run.h5").snapshots == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sam", "entropy-sgd", "replicated-sgd"])
def test_a_resumed_training_records_the_same_steps(tmp_path, optimizer):
    """Killed behind a snapshot, before the step that follows it."""
    objective = ls.problems.build("digits-mlp", {"width": 8})
    options = {"L": 2} if optimizer == "entropy-sgd" else {}
    settings = Settings(
        optimizer=optimizer,
        epochs=2,
        record=("update", "preconditioner"),
        optimizer_options=options,
        batch_size=512,
    )
    whole = train(objective, tmp_path / "whole.h5", settings)

    class Killed(Exception):
        pass

    def stop(done, total, metrics):
        if done == total // 2:
            raise Killed

    with pytest.raises(Killed):
        train(objective, tmp_path / "killed.h5", settings, progress=stop)
    again = train(objective, tmp_path / "killed.h5", settings, resume=True)
    assert [one.next_step is not None for one in again] == [True, True, False]
    runs = [(whole, again), *((whole.branches[name], again.branches[name]) for name in whole.branches)]
    for one, other in runs:
        for here, there in zip(one, other, strict=True):
            if here.next_step is not None:
                for own, others in zip(here.next_step.settings, there.next_step.settings, strict=True):
                    np.testing.assert_equal(dict(own), dict(others))
                for name, update in here.next_step.update.items():
                    assert torch.equal(update, there.next_step.update[name])


def test_the_centre_of_replicas_moves_by_the_mean_of_their_updates(tmp_path):
    objective = ls.problems.build("digits-mlp", {"width": 8})
    run = train(
        objective,
        tmp_path / "run.h5",
        Settings(optimizer="replicated-sgd", epochs=1, every=1, batch_size=512, record=("update",)),
    )
    for before, after in itertools.pairwise(run):
        for name, update in before.next_step.update.items():
            torch.testing.assert_close(update, after[name] - before[name], rtol=1e-4, atol=1e-6)


def test_what_recording_takes_is_said_before(tmp_path):
    objective = ls.problems.build("digits-mlp", {"width": 8})
    settings = Settings(optimizer="adam", epochs=2, record=("update", "preconditioner"), record_dtype="bfloat16")
    cost = cost_of_steps(objective, settings)
    run = train(objective, tmp_path / "run.h5", settings)
    assert cost.bytes == run.summary.to_json()["optimizer"]["bytes"]
    assert cost.snapshots == len(run)
    assert re.match(r"records update, preconditioner beside each of 3 snapshots: .* MB each", cost.words)


def test_a_step_without_its_snapshot_does_not_count(tmp_path):
    """Rewound and recorded again: what followed before is forgotten until the step is made again."""
    model = network()
    optimizer = adam(model)
    recorder = Recorder(tmp_path / "run.h5", model, optimizer=optimizer)
    for step in range(3):
        recorder.snapshot(step)
        move(model, optimizer)
    recorder.rewind(0)
    recorder.snapshot(1)
    recorder.flush()
    found = [one.next_step for one in open_trajectory(tmp_path / "run.h5")]
    assert [one is None for one in found] == [False, True]


def test_mistakes_are_said_in_a_line(tmp_path):
    model, other = network(), network()
    run = tmp_path / "run.h5"
    optimizer = adam(model)
    cases = {
        "cannot be recorded.*'momentum'": {"optimizer": optimizer, "record": ("momentum",)},
        "moves no parameter of the model": {"optimizer": adam(other)},
        "not a type for steps.*float16": {"optimizer": optimizer, "record_dtype": "float16"},
    }
    for words, options in cases.items():
        with pytest.raises(LandscapeError, match=words) as error:
            Recorder(run, model, **options)
        assert "\n" not in str(error.value)
        assert not run.exists()
    with pytest.raises(LandscapeError, match=r"record.*cannot be recorded"):
        Settings(record=("updates",))
    with Recorder(run, model) as recorder:
        recorder.snapshot(0)
    with pytest.raises(LandscapeError, match=r"no recorded updates.*--record update"):
        open_trajectory(run)[0].next_step  # noqa: B018


def test_parameter_groups_that_change_are_refused(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run.h5", model, optimizer=optimizer)
    recorder.snapshot(0)
    optimizer.add_param_group({"params": list(model[2].parameters())})
    with pytest.raises(LandscapeError, match="parameter groups changed while its steps were recorded"):
        move(model, optimizer)


def test_a_run_goes_on_with_the_same_optimizer_only(tmp_path):
    model = network()
    recorder = Recorder(tmp_path / "run.h5", model, optimizer=adam(model))
    recorder.snapshot(0)
    recorder.flush()
    with pytest.raises(LandscapeError, match="recorded with another optimizer"):
        Recorder(tmp_path / "run.h5", model, resume=True, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize("name", ["updates/settings", "updates/float64", "preconditioners/float64"])
def test_damage_to_a_step_is_noticed(tmp_path, name):
    recorded(tmp_path / "run.h5", adam, steps=3)
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        dataset = file[name]
        dataset[1, 0] = dataset[1, 0] + 1
    with pytest.raises(LandscapeError, match="damaged"):
        verify_trajectory(tmp_path / "run.h5")


def test_what_is_said_of_the_optimizer_is_sealed(tmp_path):
    recorded(tmp_path / "run.h5", adam, steps=1)
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        about = json.loads(bytes(np.asarray(file.attrs["optimizer"]).tobytes()).rstrip(b"\0").decode())
        text = json.dumps({**about, "kind": "adad"})
        file.attrs.modify("optimizer", np.bytes_(text.encode()))
    with pytest.raises(LandscapeError, match="damaged"):
        open_trajectory(tmp_path / "run.h5")
