"""Branches: what they start from, what is compared, and what a kill leaves."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from killing import objective_of, run_and_kill, run_to_the_end

import landscape as ls
from landscape import problems
from landscape.errors import LandscapeError
from landscape.params import norm, resolve, subtract
from landscape.probes import retraining
from landscape.probes.retraining import Design
from landscape.training import Every, Noise, Settings, Start, train
from landscape.trajectory import open_trajectory
from landscape.trajectory.overview import verify_trajectory

PROBLEM = ("digits-cnn", {"width": "4", "train_size": "160"})
DESIGN = Design(
    at=("last",),
    noises=(Noise("mean-abs", 0.05),),
    repeats=2,
    settings=Settings(optimizer="gd", epochs=4, lr=0.05, every=Every(1, "steps")),
)
# Two branches: the first is finished when the second is not.
SHORT = Design(noises=DESIGN.noises, repeats=2, control=False, settings=DESIGN.settings)
# Few, for each child trains; only those count that leave some branches finished and some not.
KILLS = 2
MOST_TRIES = 40


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    objective = problems.build(*PROBLEM, seed=0)
    path = tmp_path_factory.mktemp("trunk") / "trunk.h5"
    return objective, train(objective, path, Settings(epochs=4, batch_size=32, every=Every(2, "epochs")))


@pytest.fixture(scope="module")
def branches(trunk, tmp_path_factory):
    objective, run = trunk
    design = Design(at=("first", "last"), noises=DESIGN.noises, repeats=2, settings=DESIGN.settings)
    return ls.probes.retrain(objective, run, design, tmp_path_factory.mktemp("b") / "branches.h5")


def test_a_branch_starts_from_its_snapshot_with_noise_on_it(trunk, branches):
    _, run = trunk
    last = run[-1]
    assert branches.steps.tolist() == [0, last.step]
    assert [snapshot.digest for snapshot in branches] == [run[0].digest, last.digest]
    assert branches.parent["parent_run_id"] == run.run_id
    assert len(branches.branches) == 2 * (1 + 2)
    control = branches.branches[f"{last.step}-control"]
    assert control[0].digest == last.digest
    assert control.parent == {"parent_run_id": run.run_id, "parent_step": last.step, "perturbation": None}
    for number in (1, 2):
        branch = branches.branches[f"{last.step}-mean-abs-0.05-{number}"]
        expected = Noise("mean-abs", 0.05).perturb(last, 0, number)
        assert all(torch.equal(branch[0].weights[name], expected[name]) for name in branch[0].weights)
        assert all(torch.equal(branch[0].buffers[name], last.buffers[name]) for name in last.buffers)
        told = branch.parent["perturbation"]
        names = [info.name for info in last.layout.moving()]
        size = norm(subtract(branch[0].weights, last.weights, names))
        assert told["distance"] == pytest.approx(size, rel=1e-5)
        assert {key: told[key] for key in ("mode", "scale", "seed", "draw")} == {
            **Noise("mean-abs", 0.05).to_json(),
            "seed": 0,
            "draw": number,
        }
        assert branch.finished
        assert branch.steps.tolist() == [0, 1, 2, 3, 4]


def test_a_branch_is_trained_as_a_run_from_there_would_be(trunk, branches, tmp_path):
    objective, run = trunk
    last = run[-1]
    start = Start({**last.weights, **last.buffers}, run.run_id, last.step)
    alone = train(objective, tmp_path / "alone.h5", DESIGN.settings, start=start)
    control = branches.branches[f"{last.step}-control"]
    assert [snapshot.digest for snapshot in alone] == [snapshot.digest for snapshot in control]
    assert alone.parent == control.parent


def test_branches_are_examined_at_equal_epochs(trunk, branches):
    objective, _ = trunk
    found = ls.probes.examine(objective, branches, bn="interpolate")
    count = len(found.names)
    assert found.epochs.tolist() == [0, 1, 2, 3, 4]
    assert found.fields["train_error"].shape == (count, 5)
    noisy = np.array([bool(noise) for noise in found.noises])
    assert found.moved[:, 0] == pytest.approx(found.kicks, rel=1e-5)
    assert (found.moved[~noisy, 0] == 0).all()
    # Per start: each of two branches with the control, and the two with each other.
    assert len(found.pairs) == 2 * 3
    assert found.with_control.sum() == 2 * 2
    for pair, (i, j) in enumerate(found.pairs):
        a, b = (branches.branches[found.names[k]] for k in (i, j))
        names = [info.name for info in a.layout.moving()]
        apart = norm(subtract(a[3].weights, b[3].weights, names))
        assert found.between[pair, 3] == pytest.approx(apart, rel=1e-6)
        middle = {
            name: (value + resolve(b[3])[1][name]) / 2 if value.is_floating_point() else value
            for name, value in resolve(a[3])[1].items()
        }
        assert found.midpoints["train_loss"][pair, 3] == pytest.approx(objective.value(middle), rel=1e-5)
        assert (
            branches.branches[found.names[i]].metrics["train_loss"].tolist()
            == found.fields["train_loss"][i].tolist()
        )
    few = ls.probes.examine(objective, branches, bn="recalibrate", moments=2)
    assert few.epochs.tolist() == [0, 4]
    assert np.array_equal(few.between, found.between[:, [0, 4]])


@pytest.mark.usefixtures("warm_workers")
def test_branches_by_two_workers_are_those_of_one_process(trunk, tmp_path):
    """With one thread in both; what a killed run has left in parts is gone on with."""
    objective, run = trunk
    path, parts = tmp_path / "two.h5", tmp_path / "two.h5.parts"
    parts.mkdir()
    first = retraining.branches_of(run, DESIGN)[0]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = ls.probes.retrain(objective, run, DESIGN, tmp_path / "one.h5")
        retraining._train(objective, run, DESIGN, first, parts / f"{first.name}.h5", None)
    finally:
        torch.set_num_threads(before)
    begun = open_trajectory(parts / f"{first.name}.h5").run_id
    two = ls.probes.retrain(objective, run, DESIGN, path, workers=2)
    assert two.branches[first.name].run_id == begun
    assert set(two.branches) == set(one.branches)
    for name, branch in one.branches.items():
        assert two.branches[name].finished
        assert two.branches[name].parent == branch.parent
        assert [snapshot.digest for snapshot in two.branches[name]] == [snapshot.digest for snapshot in branch]
        assert two.branches[name].metrics.keys() == branch.metrics.keys()
    assert not parts.exists()
    verify_trajectory(path)


def test_a_length_of_the_noise_that_other_threads_sum_up_is_no_other_setting(trunk, tmp_path, monkeypatch):
    objective, run = trunk
    path = tmp_path / "branches.h5"
    before = ls.probes.retrain(objective, run, DESIGN, path)
    exact = retraining.norm
    monkeypatch.setattr(retraining, "norm", lambda step: exact(step) * (1 + 1e-15))
    again = ls.probes.retrain(objective, run, DESIGN, path, resume=True)
    assert again.branches.keys() == before.branches.keys()
    other = replace(DESIGN, seed=DESIGN.seed + 1)
    with pytest.raises(LandscapeError, match="the run in the file was made with other settings: perturbation"):
        ls.probes.retrain(objective, run, other, path, resume=True)


def test_branches_of_branches(trunk, branches, tmp_path):
    objective, _ = trunk
    name = next(name for name in branches.branches if name.endswith("-2"))
    parent = branches.branches[name]
    design = Design(at=(2,), noises=(Noise("relative", 0.1),), repeats=1, control=False, settings=DESIGN.settings)
    twigs = ls.probes.retrain(objective, parent, design, tmp_path / "twigs.h5")
    assert list(twigs.branches) == ["2-relative-0.1-1"]
    assert twigs.branches["2-relative-0.1-1"].parent["parent_run_id"] == parent.run_id


def test_a_file_of_other_branches_is_not_gone_on_with(trunk, branches, tmp_path):
    objective, run = trunk
    with pytest.raises(LandscapeError, match="the branches in the file start from other steps; got 0, "):
        ls.probes.retrain(objective, run, DESIGN, branches.path, resume=True)
    with pytest.raises(LandscapeError, match="the file exists"):
        ls.probes.retrain(objective, run, DESIGN, branches.path)
    other = Design(
        at=("first", "last"), noises=DESIGN.noises, repeats=2, settings=Settings(optimizer="gd", epochs=5)
    )
    with pytest.raises(LandscapeError, match="the run in the file was made with other settings: epochs"):
        ls.probes.retrain(objective, run, other, branches.path, resume=True)
    other = Design(at=("first", "last"), noises=DESIGN.noises, repeats=2, settings=DESIGN.settings, seed=1)
    with pytest.raises(LandscapeError, match="other settings: perturbation"):
        ls.probes.retrain(objective, run, other, branches.path, resume=True)
    with pytest.raises(LandscapeError, match="the file holds no branches of this run"):
        ls.probes.retrain(objective, run, DESIGN, run.path, resume=True)


def test_more_repeats_are_added_to_what_is_there(trunk, tmp_path):
    objective, run = trunk
    first = ls.probes.retrain(objective, run, DESIGN, tmp_path / "more.h5")
    before = {name: [s.digest for s in branch] for name, branch in first.branches.items()}
    more = Design(noises=DESIGN.noises, repeats=3, settings=DESIGN.settings)
    after = ls.probes.retrain(objective, run, more, tmp_path / "more.h5", resume=True)
    assert len(after.branches) == 4
    assert all([s.digest for s in after.branches[name]] == digests for name, digests in before.items())
    assert all(after.branches[name].run_id == first.branches[name].run_id for name in before)


def test_a_design_that_is_none():
    with pytest.raises(LandscapeError, match="a design needs a step, a noise and a repeat"):
        Design(repeats=0)


def grow(path: str) -> None:
    objective = objective_of(PROBLEM[0], *PROBLEM[1].items())
    run = open_trajectory(path.rsplit("/", 1)[0] + "/trunk.h5")
    ls.probes.retrain(objective, run, SHORT, path, resume=True)


def state(path) -> dict[str, tuple[bool, str, list[str]]]:
    """Branch -> whether it is finished, its run, and the digests of its snapshots."""
    return {
        name: (branch.finished, branch.run_id, [snapshot.digest for snapshot in branch])
        for name, branch in open_trajectory(path).branches.items()
    }


def test_a_design_that_is_killed_goes_on_and_leaves_finished_branches_alone(trunk, tmp_path):
    (tmp_path / "trunk.h5").write_bytes(trunk[1].path.read_bytes())
    duration = run_to_the_end(grow, tmp_path / "whole.h5")
    whole = {name: digests for name, (_, _, digests) in state(tmp_path / "whole.h5").items()}
    chance = random.Random(0)
    kills = tries = 0
    file = tmp_path / "cut0.h5"
    held: dict[str, tuple[bool, str, list[str]]] = {}
    while kills < KILLS:
        tries += 1
        assert tries < MOST_TRIES, f"only {kills} kills fell into the work"
        killed = run_and_kill(grow, file, chance.uniform(0.4 * duration, 0.95 * duration))
        found = state(file) if file.exists() else {}
        for name, (finished, run_id, digests) in held.items():
            if finished:
                assert found[name] == (finished, run_id, digests)
        for name, (_, _, digests) in found.items():
            assert digests == whole[name][: len(digests)]
        ended = [done for done, _, _ in found.values()]
        kills += killed and any(ended) and not (all(ended) and len(ended) == len(whole))
        held = found
        if not killed:
            file, held = tmp_path / f"cut{tries}.h5", {}
    run_to_the_end(grow, file)
    at_last = state(file)
    assert {name: digests for name, (_, _, digests) in at_last.items()} == whole
    assert all(finished for finished, _, _ in at_last.values())
