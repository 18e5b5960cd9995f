import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data, make_mlp
from torch import nn
from torch.nn import functional as F

from landscape import problems
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.remnants import temporary_name
from landscape.training import Every, Settings, train
from landscape.trajectory import Recorder, open_trajectory


def objective_for(model: nn.Module, count: int = 50) -> Objective:
    shape = (1, 4, 4) if isinstance(model[0], nn.Conv2d) else (6,)
    return Objective(model, loss=F.cross_entropy, train=make_data(shape, count), test=make_data(shape, 20, seed=5))


def same_weights(a, b) -> bool:
    pairs = [(a.weights, b.weights), (a.buffers, b.buffers)]
    return all(torch.equal(x[name], y[name]) for x, y in pairs for name in x)


def test_snapshots_are_the_first_every_nth_and_the_last(tmp_path):
    run = train(
        objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=3, batch_size=16, every=Every(5, "steps"))
    )
    assert list(run.steps) == [0, 5, 10, 12]
    assert run.finished
    assert same_weights(run[0], open_trajectory(tmp_path / "r.h5")[0])
    assert torch.equal(run[0].weights["0.weight"], make_mlp()[0].weight)


def test_metrics_are_those_of_the_recorded_weights(tmp_path):
    objective = objective_for(make_convnet())
    run = train(objective, tmp_path / "r.h5", Settings(epochs=2, batch_size=16))
    for index in range(len(run)):
        assert run.metrics["train_loss"][index] == objective.value(run[index])
        assert run.metrics["test_error"][index] == objective.value(run[index], "test", "error")


def test_full_batch_gradient_descent_is_the_textbook_s(tmp_path):
    model = make_mlp()
    objective = objective_for(model)
    settings = Settings(optimizer="gd", epochs=3, lr=0.2, momentum=0.0, weight_decay=0.01)
    run = train(objective, tmp_path / "r.h5", settings)
    x, y = make_data()
    weights = [parameter.detach().clone() for parameter in make_mlp().parameters()]
    for _ in range(3):
        judge = make_mlp()
        with torch.no_grad():
            for parameter, value in zip(judge.parameters(), weights, strict=True):
                parameter.copy_(value)
        F.cross_entropy(judge(x), y).backward()
        weights = [w - 0.2 * (p.grad + 0.01 * w) for w, p in zip(weights, judge.parameters(), strict=True)]
    assert list(run.steps) == [0, 1, 2, 3]
    for ours, wanted in zip(run[-1].weights.values(), weights, strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "gd", "adam"])
def test_training_lowers_the_loss_and_is_a_function_of_the_seed(tmp_path, optimizer):
    settings = Settings(optimizer=optimizer, epochs=10, batch_size=16, lr=0.01 if optimizer == "adam" else None)
    runs = [train(objective_for(make_mlp()), tmp_path / f"{i}.h5", settings) for i in range(2)]
    assert runs[0].metrics["train_loss"][-1] < runs[0].metrics["train_loss"][0]
    assert all(same_weights(a, b) for a, b in zip(*runs, strict=True))


def test_another_seed_takes_the_examples_in_another_order(tmp_path):
    runs = [
        train(objective_for(make_mlp()), tmp_path / f"{seed}.h5", Settings(epochs=1, batch_size=16, seed=seed))
        for seed in (0, 1)
    ]
    assert same_weights(runs[0][0], runs[1][0])
    assert not same_weights(runs[0][-1], runs[1][-1])


def test_the_model_and_the_random_state_are_untouched(tmp_path):
    model = nn.Sequential(*make_convnet(), nn.Dropout(0.3))
    untouched = Untouched(model)
    train(objective_for(model), tmp_path / "r.h5", Settings(epochs=1))
    untouched.check()


class Stopped(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["sgd", "gd", "adam"])
@pytest.mark.parametrize("stop_at", [1, 7, 20])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, optimizer, stop_at):
    def make():
        return nn.Sequential(*make_convnet(), nn.Dropout(0.3))

    def stop(done, total, metrics):
        if done == stop_at:
            raise Stopped

    epochs = 20 if optimizer == "gd" else 5
    settings = Settings(
        optimizer=optimizer, epochs=epochs, batch_size=16, schedule="cosine", every=Every(3, "steps")
    )
    whole = train(objective_for(make()), tmp_path / "whole.h5", settings)
    with pytest.raises(Stopped):
        train(objective_for(make()), tmp_path / "cut.h5", settings, progress=stop)
    kept = open_trajectory(tmp_path / "cut.h5")
    assert not kept.finished
    # A run that was stopped between its last snapshot and its end has that too.
    assert list(kept.steps) == [*range(0, stop_at + 1, 3), *([20] if stop_at == 20 else [])]
    resumed = train(objective_for(make()), tmp_path / "cut.h5", settings, resume=True)
    assert resumed.finished
    assert list(resumed.steps) == list(whole.steps)
    assert all(same_weights(a, b) for a, b in zip(whole, resumed, strict=True))
    assert np.array_equal(whole.metrics["train_loss"], resumed.metrics["train_loss"])


def test_a_finished_run_is_left_as_it_is(tmp_path):
    objective = objective_for(make_mlp())
    train(objective, tmp_path / "r.h5", Settings(epochs=1))
    before = (tmp_path / "r.h5").read_bytes()
    assert train(objective, tmp_path / "r.h5", Settings(epochs=1), resume=True).finished
    assert (tmp_path / "r.h5").read_bytes() == before


def test_resuming_with_other_settings_is_refused_with_what_differs(tmp_path):
    train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=1))
    with pytest.raises(
        LandscapeError, match=r"made with other settings: epochs \(1 in the file, 2 now\), lr \(0\.1 in the"
    ):
        train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=2, lr=0.5), resume=True)
    with pytest.raises(
        LandscapeError, match=r"made with other settings: data \(\w+\.\.\. in the file, \w+\.\.\. now\)"
    ):
        train(objective_for(make_mlp(), count=40), tmp_path / "r.h5", Settings(epochs=1), resume=True)


def test_a_file_that_exists_is_not_replaced_unasked(tmp_path):
    train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=1))
    before = (tmp_path / "r.h5").read_bytes()
    with pytest.raises(LandscapeError, match="the file exists"):
        train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=1))
    assert (tmp_path / "r.h5").read_bytes() == before
    train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=2), overwrite=True)
    assert open_trajectory(tmp_path / "r.h5").training["epochs"] == 2


def test_a_last_batch_of_one_joins_the_batch_before(tmp_path):
    run = train(objective_for(make_convnet(), count=33), tmp_path / "r.h5", Settings(epochs=1, batch_size=16))
    assert list(run.steps) == [0, 2]


def test_the_penalty_is_the_gradient_s(tmp_path):
    # One step of plain gradient descent on loss + (lambda / 2) |w|^2 from weights whose loss has gradient 0.
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    x, y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    settings = Settings(optimizer="gd", epochs=1, lr=0.5, momentum=0.0, weight_decay=0.1)
    run = train(objective, tmp_path / "r.h5", settings)
    assert torch.allclose(run[-1].weights["0.weight"], 0.95 * model[0].weight, rtol=1e-6)


def test_schedules():
    def rates(schedule, **more):
        settings = Settings(lr=1.0, schedule=schedule, **more)
        return [settings.rate_at(step, 300, 1) for step in range(300)]

    assert set(rates("constant")) == {1.0}
    step = rates("step")
    assert [step[149], step[150], step[225], step[275]] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert rates("cosine")[150] == pytest.approx(0.5)
    assert rates("linear")[75] == pytest.approx(0.75)
    assert rates("constant", warmup_epochs=10)[:2] == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("5", Every(5, "steps")),
        ("5steps", Every(5, "steps")),
        ("2 epochs", Every(2, "epochs")),
        ("0.5epoch", Every(0.5, "epochs")),
    ],
)
def test_intervals_are_read(text, every):
    assert Every.parse(text) == every


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "often", "3 days", ""])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(
        LandscapeError, match=rf"^every: not an interval; got '{text}'; expected 50, 50steps or 2epochs$"
    ):
        Every.parse(text)


def test_all_faults_of_the_settings_are_told_together():
    with pytest.raises(LandscapeError) as caught:
        Settings(optimizer="sdg", epochs=0, lr=-1.0, momentum=1.0, nesterov=True)
    assert str(caught.value) == (
        "option 'optimizer' has no such choice; got 'sdg'; did you mean 'sgd'? | "
        "option 'epochs' is out of range; got 0; expected at least 1 | "
        "option 'lr' is out of range; got -1.0; expected above 0 | "
        "option 'momentum' is out of range; got 1.0; expected at least 0 and below 1"
    )


def test_settings_survive_json():
    settings = Settings(optimizer="adam", epochs=3, every=Every(7, "steps"))
    assert Settings.from_json(settings.to_json()) == Settings(
        optimizer="adam", epochs=3, lr=1e-3, every=Every(7, "steps")
    )


def test_training_ends_at_the_first_snapshot_that_reaches_the_target(objective, tmp_path):
    whole = train(objective, tmp_path / "whole.h5", Settings(epochs=12, lr=0.02, batch_size=10))
    losses = whole.metrics["train_loss"]
    # One that no earlier snapshot has, and that is not the last.
    place = next(n for n in range(4, 12) if losses[n] < losses[:n].min())
    target = Settings(epochs=12, lr=0.02, batch_size=10, target_loss=float(losses[place]))
    ended = train(objective, tmp_path / "ended.h5", target)
    assert ended.finished
    assert ended.steps.tolist() == whole.steps[: place + 1].tolist()
    assert ended[-1].digest == whole[place].digest
    assert Settings.from_json(target.to_json()) == target
    assert "target_loss" not in Settings().to_json()
    assert train(objective, tmp_path / "ended.h5", target, resume=True).steps[-1] == whole.steps[place]
    with pytest.raises(
        LandscapeError, match=r"other settings: target_loss \(.* in the file, None now\); leave them out"
    ):
        train(objective, tmp_path / "ended.h5", Settings(epochs=12, lr=0.02, batch_size=10), resume=True)


def test_a_target_must_be_positive():
    with pytest.raises(LandscapeError, match=r"^option 'target_loss' is out of range; got 0; expected above 0$"):
        Settings(target_loss=0)


def long_net() -> nn.Module:
    return nn.Sequential(*make_convnet(), nn.Dropout(0.3))


@pytest.mark.parametrize(
    ("optimizer", "every"), [("sgd", 3), ("sgd", 4), ("adam", 3), ("entropy-sgd", 3), ("replicated-sgd", 3)]
)
def test_a_finished_run_goes_on_to_what_a_longer_one_would_have_been(tmp_path, optimizer, every):
    """With snapshots every 3 steps the last of a run of 2 epochs (8 steps) is none of a run of 5."""
    own = {"entropy-sgd": {"L": 2, "gamma_rate": 0.01}, "replicated-sgd": {"replicas": 2, "gamma_rate": 0.01}}
    same = {"optimizer": optimizer, "optimizer_options": own.get(optimizer, {}), "warmup_epochs": 1.0}
    same |= {"batch_size": 16, "every": Every(every, "steps")}
    whole = train(objective_for(long_net()), tmp_path / "whole.h5", Settings(epochs=5, **same))
    for epochs in (2, 3, 5) if optimizer == "sgd" else (2, 5):
        run = train(objective_for(long_net()), tmp_path / "r.h5", Settings(epochs=epochs, **same), resume=True)
        assert run.finished
        assert run.training["epochs"] == epochs
    assert list(run.branches) == list(whole.branches)
    for one, other in [(whole, run)] + [(whole.branches[n], run.branches[n]) for n in whole.branches]:
        assert list(one.steps) == list(other.steps)
        assert all(same_weights(a, b) for a, b in zip(one, other, strict=True))
        assert all(np.array_equal(values, other.metrics[name]) for name, values in one.metrics.items())
    assert {file.name for file in tmp_path.iterdir()} == {"whole.h5", "r.h5"}


def test_an_extension_that_is_stopped_goes_on(tmp_path):
    def stop(at):
        def show(done, total, metrics):
            if done == at:
                raise Stopped

        return show

    file = tmp_path / "r.h5"
    short, long = (Settings(epochs=epochs, batch_size=16, every=Every(5, "steps")) for epochs in (2, 5))
    whole = train(objective_for(long_net()), tmp_path / "whole.h5", long)
    train(objective_for(long_net()), file, short)
    before = file.read_bytes()
    # Until its first new snapshot the file is the finished run.
    for at in (9, 11, 16):
        with pytest.raises(Stopped):
            train(objective_for(long_net()), file, long, resume=True, progress=stop(at))
        assert (file.read_bytes() == before) == (at == 9)
        assert open_trajectory(file).finished == (at == 9)
    run = train(objective_for(long_net()), file, long, resume=True)
    assert list(run.steps) == list(whole.steps)
    assert all(same_weights(a, b) for a, b in zip(whole, run, strict=True))


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (
            {"schedule": "cosine"},
            r"does not begin as this one of 2; got update 2: learning rate 0\.0\d+ in the file",
        ),
        ({"schedule": "step"}, r"got update \d+: learning rate 0\.01 in the file, 0\.1 now; train again"),
        ({"schedule": "linear"}, "got update 2: learning rate"),
        ({"optimizer": "entropy-sgd"}, r"got update 2: gamma has grown by .* unless gamma_rate is given"),
        ({"optimizer": "replicated-sgd"}, r"got update 5: gamma has grown by "),
    ],
)
def test_where_a_longer_run_makes_other_updates_it_is_refused(tmp_path, own, text):
    file = tmp_path / "r.h5"
    train(objective_for(make_mlp()), file, Settings(epochs=2, batch_size=16, **own))
    before = file.read_bytes()
    with pytest.raises(LandscapeError, match=text):
        train(objective_for(make_mlp()), file, Settings(epochs=4, batch_size=16, **own), resume=True)
    with pytest.raises(LandscapeError, match=r"epochs \(2 in the file, 1 now\)"):
        train(objective_for(make_mlp()), file, Settings(epochs=1, batch_size=16, **own), resume=True)
    assert file.read_bytes() == before


def test_a_step_schedule_can_be_stretched_before_its_first_milestone(tmp_path):
    def stop(done, total, metrics):
        if done == 8:
            raise Stopped

    short, long = (Settings(epochs=n, batch_size=16, schedule="step") for n in (6, 8))
    whole = train(objective_for(make_mlp()), tmp_path / "whole.h5", long)
    with pytest.raises(Stopped):
        train(objective_for(make_mlp()), tmp_path / "r.h5", short, progress=stop)
    run = train(objective_for(make_mlp()), tmp_path / "r.h5", long, resume=True)
    assert all(same_weights(a, b) for a, b in zip(whole, run, strict=True))


def test_a_run_that_has_reached_its_target_has_no_more_to_do(tmp_path):
    easy = {"batch_size": 16, "target_loss": 10.0}
    train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=1, **easy))
    before = (tmp_path / "r.h5").read_bytes()
    run = train(objective_for(make_mlp()), tmp_path / "r.h5", Settings(epochs=3, **easy), resume=True)
    assert list(run.steps) == [0]
    assert (tmp_path / "r.h5").read_bytes() == before


def test_a_run_that_kept_nothing_to_go_on_from_says_so(tmp_path, monkeypatch):
    file, finish = tmp_path / "r.h5", Recorder.finish
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "finish", lambda self, keep_state=False: finish(self))
        train(objective_for(make_mlp()), file, Settings(epochs=1, batch_size=16))
    with pytest.raises(LandscapeError, match="holds no state to go on from, as those that an earlier version"):
        train(objective_for(make_mlp()), file, Settings(epochs=2, batch_size=16), resume=True)


def test_the_command_goes_on_for_more_epochs(tmp_path, landscape):
    own = ["--set", "width=4", "--batch-size", 500]
    for name, epochs in (("whole", (3,)), ("r", (1, 3))):
        for number in epochs:
            more = ["--resume"] if number != epochs[0] else own
            code, _, err = landscape(
                "train", "digits-mlp", "-o", tmp_path / f"{name}.h5", *more, "--epochs", number
            )
            assert code == 0, err
    one, other = (open_trajectory(tmp_path / f"{name}.h5") for name in ("whole", "r"))
    assert list(one.steps) == list(other.steps)
    assert all(same_weights(a, b) for a, b in zip(one, other, strict=True))
    code, _, err = landscape(
        "train", "digits-mlp", "-o", tmp_path / "c.h5", *own, "--schedule", "cosine", "--epochs", 1
    )
    code, _, err = landscape("train", "digits-mlp", "-o", tmp_path / "c.h5", "--resume", "--epochs", 2)
    assert code == 2
    assert "c.h5: a run of 2 epochs does not begin as this one of 1; got update 2: learning rate" in err
    assert err.count("\n") == 1


def test_what_a_process_left_after_it_had_finished_a_run_is_removed(tmp_path):
    objective = problems.build("toy-quadratic", {}, seed=0)
    settings = Settings(optimizer="gd", epochs=2)
    train(objective, tmp_path / "r.h5", settings)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / re.sub(r"\d+$", str(gone.pid), temporary_name("r.h5"))
    left.write_bytes(b"")
    train(objective, tmp_path / "r.h5", settings, resume=True)
    assert [file.name for file in tmp_path.iterdir()] == ["r.h5"]
