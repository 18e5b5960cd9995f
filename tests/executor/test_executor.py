"""What fans out: the same results from this process and from several, and a lost worker costs its task."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from conftest import make_data, make_mlp
from squares import Number, Square
from torch.nn import functional as F
from walks import record, unit_rows

from landscape.errors import LandscapeError, MachineError
from landscape.executor import Event, executor, results, several
from landscape.files.cells import Cells
from landscape.objective import Objective
from landscape.probes import barriers
from landscape.projection import random_lines, random_plane
from landscape.projection.distances import separations
from landscape.surface import evaluate, grid

_TUNE = "threads=1,batch_size=16"


def squares(work, numbers, count):
    with several(work, count) as workers:
        return list(results(work, [Number(n) for n in numbers], workers))


def test_results_come_in_the_order_of_the_tasks(tmp_path):
    here = squares(Square(tmp_path), range(20), 1)
    there = squares(Square(tmp_path), range(20), 2)
    assert [value for value, _ in here] == [value for value, _ in there] == [n**2 for n in range(20)]
    assert {process for _, process in here} == {os.getpid()}
    assert os.getpid() not in {process for _, process in there}


def test_a_lost_worker_costs_its_task_once_and_is_given_up_at_the_third(tmp_path):
    found = squares(Square(tmp_path, deadly=3, deaths=2), range(6), 2)
    assert [value for value, _ in found] == [n**2 for n in range(6)]
    assert len(list(tmp_path.glob("died-*"))) == 2
    with pytest.raises(MachineError, match=r"number 3: its process died \(signal 9"):
        squares(Square(tmp_path, deadly=3, deaths=5), range(6), 2)


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_at_work_is_told(tmp_path, count):
    events: list[Event] = []
    workers = executor(Square(tmp_path), count, events.append)
    try:
        workers.give(Number(3))
        assert workers.finished()[0][1][0] == 9
    finally:
        workers.close()
    assert [event.kind for event in events] == ["begin", "progress", "end"]
    assert (events[1].done, events[1].total, events[1].what) == (1, 2, tmp_path.name)


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_that_cannot_be_done_ends_the_rest_in_one_line(tmp_path, count):
    with pytest.raises(LandscapeError, match="has no root; got -1"):
        squares(Square(tmp_path), [1, -1], count)


def test_what_cannot_be_sent_is_refused_before_a_process_is_started():
    lock = threading.Lock()
    with (
        pytest.raises(LandscapeError, match="workers: what is computed cannot be sent to other processes"),
        several(lambda task, progress: lock, 2),
    ):
        raise AssertionError("not reached")
    with pytest.raises(LandscapeError, match="at least one worker is needed; got 0"), several(print, 0):
        raise AssertionError("not reached")


def test_a_class_of_a_file_that_no_process_would_find_goes_with_the_work(tmp_path):
    file = tmp_path / "own_module.py"
    file.write_text("class Twice:\n    def __call__(self, task, progress):\n        return 2 * task.value\n")
    spec = importlib.util.spec_from_file_location("_own_module_of_a_test", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        assert squares(module.Twice(), range(3), 2) == [0, 2, 4]
    finally:
        del sys.modules[spec.name]


def test_a_script_needs_no_guard_and_its_classes_are_known(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""\
            from dataclasses import dataclass
            from landscape.executor import results, several

            @dataclass(frozen=True)
            class Letter:
                key: str
                title: str = ""

            def shout(task, progress):
                return task.key.upper()

            with several(shout, 2) as workers:
                print(*results(shout, [Letter("a"), Letter("b")], workers))
            """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "A B\n", "")


def network(**options):
    return Objective(make_mlp(), loss=F.cross_entropy, train=make_data(), **options)


def equal(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a.fields)


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_a_surface_by_two_workers_is_that_of_one_process_bit_for_bit(tmp_path, engine, warm_workers):
    objective, tune = network(), _TUNE + (",chunk=4" if engine == "batched" else "")
    plane = random_plane(objective.model, seed=0)
    options = {"engine": engine, "tune": tune}
    wanted = evaluate(objective, plane, grid(7), save=tmp_path / "one.h5", **options)
    shared = evaluate(objective, plane, grid(7), save=tmp_path / "two.h5", workers=2, **options)
    assert equal(wanted, shared)
    assert wanted.meta["engine"] == shared.meta["engine"]


@pytest.mark.usefixtures("warm_workers")
def test_repeats_by_two_workers_and_a_file_that_another_number_goes_on_with(tmp_path):
    objective = network()
    lines = random_lines(objective.model, 3, seed=1)
    wanted = evaluate(objective, lines, grid(9), tune=_TUNE)
    assert equal(wanted, evaluate(objective, lines, grid(9), tune=_TUNE, workers=2))

    class Stop(Exception):
        pass

    def stop(done, total):
        if done > total // 2:
            raise Stop

    file = tmp_path / "lines.h5"
    with pytest.raises(Stop):
        evaluate(objective, lines, grid(9), workers=2, save=file, progress=stop)
    gone_on = evaluate(objective, lines, grid(9), save=file)
    assert equal(gone_on, evaluate(objective, lines, grid(9), tune="threads=1,streams=1"))


def test_a_preview_by_two_workers_computes_the_same_points():
    objective = network()
    plane = random_plane(objective.model, seed=0)
    one, two = (
        evaluate(objective, plane, grid(15, 0.3), tune=_TUNE, preview=0.05, workers=count) for count in (1, 2)
    )
    assert equal(one, two)
    assert np.array_equal(one.computed, two.computed)


def test_an_objective_in_another_process_gives_the_same_value():
    import cloudpickle

    objective = network(weight_decay=0.1).subset(20, seed=3)
    sent = cloudpickle.loads(cloudpickle.dumps(objective))
    weights = {name: tensor + 0.1 for name, tensor in objective.model.state_dict().items()}
    assert sent.value(weights, metric="total") == objective.value(weights, metric="total")
    assert sent.data_digest("train") == objective.data_digest("train")
    assert torch.equal(sent.data["train"].inputs, objective.data["train"].inputs)


@pytest.mark.usefixtures("warm_workers")
def test_barriers_by_two_workers_are_those_of_one_process(tmp_path):
    """One thread in both, and what a killed run has kept is not measured again."""
    models = {name: make_mlp(seed) for seed, name in enumerate("abc")}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wanted = barriers(network(), models, points=5)
    finally:
        torch.set_num_threads(before)
    with Cells.open(tmp_path / "parts.h5", dict) as cells:
        for key in ("a to b/interpolate/2", "b to c/interpolate/1"):
            cells[key] = {"train_loss": 100.0, "train_error": 0.5}
    kept = Cells.open(tmp_path / "parts.h5", dict)
    found = barriers(network(), models, points=5, workers=2)
    resumed = barriers(network(), models, points=5, workers=2, save=kept)
    for name in wanted.fields:
        assert np.array_equal(found.fields[name], wanted.fields[name])
    assert resumed.fields["train_loss"][0, 1] > 90 > wanted.fields["train_loss"][0, 1]
    assert resumed.fields["train_loss"][0, 2] == wanted.fields["train_loss"][0, 2]


@pytest.mark.usefixtures("warm_workers")
def test_distances_by_two_workers_have_the_bits_of_one_process(tmp_path):
    runs = [record(tmp_path / f"{seed}.h5", seed, 4) for seed in (1, 2)]
    for stand_in in (None, unit_rows):
        one, two = (separations(runs, representative=stand_in, workers=count)["all"] for count in (1, 2))
        assert np.array_equal(one.squared, two.squared)
        assert np.array_equal(one.excess, two.excess)
        assert one.square == two.square
