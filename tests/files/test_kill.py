"""SIGKILL at random moments: nothing complete is lost, and what is resumed ends with the same bits."""

import hashlib
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from killing import objective_of, run_and_kill, run_to_the_end

from landscape import probes
from landscape.files import cells
from landscape.files.result import load
from landscape.params import digest, resolve
from landscape.projection import random_plane
from landscape.storage import kind_of
from landscape.surface import evaluate, grid, read_surface
from landscape.training import Every, Settings, train
from landscape.trajectory import Recorder, open_trajectory
from landscape.trajectory.overview import verify_trajectory

# Only those count that leave a file with something done and something missing.
KILLS = 25
MOST_TRIES = 250
# Steps that a loop notes before it is killed: fewer than so many.
MOST_STEPS = 5
SETTINGS = Settings(epochs=2, batch_size=32, every=Every(1, "steps"))
# Optimizers with more to go on from than weights and momentum: gamma that is found, replicas, noise.
ENTROPIC = {
    "entropy-sgd": {"L": 2, "noise": 1e-3, "inner_momentum": 0.5},
    "replicated-sgd": {"replicas": 2},
    # The step after a snapshot is a change of its own.
    "adam": {},
}
# The loop is that of the other optimizers; what is new is the state and the order of writing.
FEW_KILLS = 3


def train_digits(path: str) -> None:
    objective = objective_of("digits-cnn", ("width", "4"), ("train_size", "160"))
    train(objective, path, SETTINGS, resume=True)


def train_entropic(path: str) -> None:
    """The name of the file begins with that of the optimizer."""
    optimizer = Path(path).name.split(".")[0]
    settings = Settings(
        optimizer=optimizer,
        optimizer_options=ENTROPIC[optimizer],
        epochs=2,
        batch_size=200,
        every=Every(1, "steps"),
        record=("update", "preconditioner"),
    )
    train(objective_of("digits-mlp", ("width", "8")), path, settings, resume=True)


def held_in(path: Path) -> dict[tuple[str, int], str]:
    """Digests of all snapshots of a run and its branches."""
    run = open_trajectory(path)
    return {
        (name, snapshot.step): digest({**snapshot.weights, **snapshot.buffers})
        for name, one in {"": run, **run.branches}.items()
        for snapshot in one
    }


def draw_digits(path: str) -> None:
    objective = objective_of("digits-mlp", ("width", "16"))
    # Settled, for under load it may take so long that an engine is chosen, which is done by timing.
    tune = "batch_size=2000,streams=1,threads=1,rewrite=no"
    evaluate(objective, random_plane(objective.model), grid(11), save=path, tune=tune)


def interpolate_digits(path: str) -> None:
    objective = objective_of("digits-mlp", ("width", "16"))
    a = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    # It is over before its points are due to be written.
    cells._FLUSH_SECONDS = 0.0
    line = probes.interpolate(objective, a, {name: -tensor for name, tensor in a.items()}, points=101, save=path)
    np.save(Path(path).with_suffix(".npy"), line["train_loss"])


def record_steps(path: str) -> None:
    """A loop that thins often, rounds, and writes in the background; the weights say their step."""
    torch.set_num_threads(1)
    model = torch.nn.Linear(200, 150)
    options = {"keep": 5, "dtype": "float16", "background": True, "resume": True}
    with Recorder(path, model, **options) as recorder:
        for step in range((recorder.last_step or 0) + 1, 100_000):
            with torch.no_grad():
                for tensor in resolve(model)[1].values():
                    tensor.fill_(step % 1000)
            # What is counted before it is flushed may be lost, what is noted after may not.
            if recorder.snapshot(step, train_loss=step):
                recorder.flush()
                Path(path).with_suffix(".noted").write_text(str(step))


def test_training_killed_25_times(tmp_path):
    duration = run_to_the_end(train_digits, tmp_path / "whole.h5")
    whole = {
        snapshot.step: digest({**snapshot.weights, **snapshot.buffers})
        for snapshot in open_trajectory(tmp_path / "whole.h5")
    }
    chance = random.Random(0)
    file, kept, kills, rounds = tmp_path / "cut0.h5", 0, 0, 0
    tries = 0
    while kills < KILLS:
        tries += 1
        assert tries < MOST_TRIES, f"only {kills} kills fell into the work"
        if not run_and_kill(train_digits, file, chance.uniform(0.0, duration)):
            rounds, kept = rounds + 1, 0
            file = tmp_path / f"cut{rounds}.h5"
            continue
        if file.exists():
            run = open_trajectory(file)
            kills += len(run) > 0 and not run.finished
            assert len(run) >= kept
            kept = len(run)
            for snapshot in run:
                assert digest({**snapshot.weights, **snapshot.buffers}) == whole[snapshot.step]
    run_to_the_end(train_digits, file)
    ended = open_trajectory(file)
    assert ended.finished
    assert {s.step: digest({**s.weights, **s.buffers}) for s in ended} == whole
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("optimizer", ENTROPIC)
def test_entropic_training_killed_a_few_times(tmp_path, optimizer):
    run_to_the_end(train_entropic, tmp_path / f"{optimizer}.whole.h5")
    duration = run_to_the_end(train_entropic, tmp_path / f"{optimizer}.timed.h5")
    whole = held_in(tmp_path / f"{optimizer}.whole.h5")
    chance = random.Random(3)
    kills = tries = 0
    file = tmp_path / f"{optimizer}.cut0.h5"
    while kills < FEW_KILLS:
        tries += 1
        assert tries < MOST_TRIES, f"only {kills} kills fell into the work"
        if not run_and_kill(train_entropic, file, chance.uniform(0.0, duration)):
            file = tmp_path / f"{optimizer}.cut{tries}.h5"
            continue
        if file.exists():
            kills += len(open_trajectory(file)) > 0 and not open_trajectory(file).finished
            assert held_in(file).items() <= whole.items()
    run_to_the_end(train_entropic, file)
    assert held_in(file) == whole
    ended = open_trajectory(file)
    assert all(one.finished for one in (ended, *ended.branches.values()))
    complete = open_trajectory(tmp_path / f"{optimizer}.whole.h5")
    for one, other in zip(complete[:-1], ended[:-1], strict=True):
        assert digest(one.next_step.update) == digest(other.next_step.update)
    assert verify_trajectory(file).digests
    metrics = complete.metrics
    assert all(np.array_equal(values, ended.metrics[name]) for name, values in metrics.items())


def test_a_surface_killed_25_times(tmp_path):
    duration = run_to_the_end(draw_digits, tmp_path / "whole.h5")
    whole = read_surface(tmp_path / "whole.h5")
    bytes_of: dict[Path, str] = {}
    chance = random.Random(1)
    file, kept, kills, rounds = tmp_path / "cut0.h5", 0, 0, 0
    tries = 0
    while kills < KILLS:
        tries += 1
        assert tries < MOST_TRIES, f"only {kills} kills fell into the work"
        killed = run_and_kill(draw_digits, file, chance.uniform(0.0, duration))
        if file.exists():
            assert kind_of(file) == "landscape/surface"
            part = read_surface(file)
            done = part.done
            assert done is not None
            assert done.sum() >= kept
            kept = int(done.sum())
            kills += killed and 0 < kept < done.size
            for name, values in part.fields.items():
                assert np.array_equal(values[done], whole[name][done])
                assert np.isnan(values[~done]).all()
        if not killed:
            bytes_of[file] = hashlib.sha256(file.read_bytes()).hexdigest()
            rounds, kept = rounds + 1, 0
            file = tmp_path / f"cut{rounds}.h5"
    run_to_the_end(draw_digits, file)
    bytes_of[file] = hashlib.sha256(file.read_bytes()).hexdigest()
    assert set(bytes_of.values()) == {hashlib.sha256((tmp_path / "whole.h5").read_bytes()).hexdigest()}


def test_a_probe_killed_a_few_times_keeps_its_points(tmp_path):
    duration = run_to_the_end(interpolate_digits, tmp_path / "whole.h5")
    chance = random.Random(4)
    file, kept, kills = tmp_path / "cut.h5", 0, 0
    while run_and_kill(interpolate_digits, file, chance.uniform(0.1, 0.5) * duration):
        if file.exists():
            held = load(cells.CELLS, file).value.values
            assert len(held) >= kept
            kills += len(held) > kept
            kept = len(held)
    assert kills
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert np.array_equal(np.load(tmp_path / "cut.npy"), np.load(tmp_path / "whole.npy"))


def noted_in(file: Path) -> int:
    """The last step that a loop noted; a text that was cut off while it was written says less than it should."""
    noted = file.with_suffix(".noted")
    return int((noted.exists() and noted.read_text()) or 0)


class Noted:
    """Condition: a loop has noted so many more steps."""

    def __init__(self, file: Path, steps: int) -> None:
        self.file, self.left, self.last = file, steps, noted_in(file)

    def __call__(self) -> bool:
        now = noted_in(self.file)
        self.left -= now > self.last
        self.last = max(self.last, now)
        return self.left <= 0


def test_a_recording_loop_killed_25_times(tmp_path):
    """Kills fall into the opening of the file, and everywhere between two steps, however fast the machine is."""
    chance = random.Random(2)
    kills = tries = 0
    # Seconds; measured as soon as a step is waited for.
    pace = 0.1
    file = tmp_path / "cut0.h5"
    while kills < KILLS:
        tries += 1
        assert tries < MOST_TRIES, f"only {kills} kills fell into the work"
        steps = chance.randrange(MOST_STEPS)
        began = time.monotonic()
        assert run_and_kill(record_steps, file, chance.uniform(0.0, pace), Noted(file, steps))
        if steps:
            # With the opening of the file: longer than a step, so that kills fall into all of it.
            pace = (time.monotonic() - began) / steps
        if not file.exists():
            continue
        run = open_trajectory(file)
        kills += len(run) > 0
        assert len(run) <= 5
        assert len(run) == 0 or run.steps[-1] >= noted_in(file)
        for snapshot in run:
            assert snapshot.metrics["train_loss"] == snapshot.step
            assert {float(v) for t in snapshot.weights.values() for v in t.unique()} == {snapshot.step % 1000}
        if run.recording["stride"] > 64:
            # Anew, for a file seldom changes where the stride is long.
            file = tmp_path / f"cut{tries}.h5"
    assert len(list(tmp_path.glob("cut*.h5"))) > 1
