"""How an engine is chosen: within time and memory, the same way where it matters for the bits."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import make_convnet, make_data, make_mlp
from torch import nn
from torch.nn import functional as F

from landscape.errors import LandscapeError
from landscape.forms import bytes_in
from landscape.objective import Objective, Tuning
from landscape.objective.devices import pick_device
from landscape.objective.footprint import bytes_per_example
from landscape.objective.memory import KERNELS, free_memory
from landscape.projection import random_plane
from landscape.surface import evaluate, grid, read_surface, tuner
from landscape.surface.engine import Choice, choice_from, plain_choice
from landscape.surface.fill_grid import grid_points
from landscape.surface.plan import Plan
from landscape.surface.task import Task
from landscape.surface.tuner import Tuner

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")


@pytest.fixture
def patient(monkeypatch):
    """However short the work, candidates are timed."""
    monkeypatch.setattr(tuner, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(tuner, "_BUDGET_SHARE", 1e9)
    monkeypatch.setattr(tuner, "_MEASURE_SHARE", 0.0)
    monkeypatch.setattr(tuner, "_COMPILE_SECONDS", float("inf"))


def tuner_for(objective: Objective, points: int = 5, **keywords) -> Tuner:
    plane = random_plane(objective.model)
    return Tuner(Task(objective, ("train",), ("loss",)), plane, grid_points(grid(points)), **keywords)


def convnet_objective() -> Objective:
    return Objective(make_convnet(), loss=F.cross_entropy, train=make_data((1, 4, 4), count=64))


def test_short_work_is_done_as_value_does_it(objective):
    made = tuner_for(objective).choose("auto")
    assert made.plan.choice == plain_choice(objective)
    assert made.plan.tried == ()
    assert made.plan.points == 25


def test_the_choice_is_one_of_those_tried_and_both_engines_are(objective, patient):
    made = tuner_for(objective).choose("auto")
    times = dict(made.plan.tried)
    assert made.plan.choice in times
    assert {choice.engine for choice in times} == {"sequential", "batched"}
    assert all(seconds > 0 for seconds in times.values())


@pytest.mark.parametrize("engine", ["sequential", "batched", "auto"])
@pytest.mark.parametrize(
    "make", [convnet_objective, lambda: Objective(make_mlp(), loss=F.cross_entropy, train=make_data())]
)
def test_what_is_chosen_gives_the_right_values(make, engine, patient):
    objective = make()
    plane = random_plane(objective.model)
    plans: list[Plan] = []
    made = evaluate(objective, plane, grid(4), engine=engine, notify=plans.append)
    wanted = [objective.value(plane.point(x, y)) for y in made.y for x in made.x]
    assert made.values.ravel() == pytest.approx(wanted, rel=1e-5)
    assert plans[0].choice.engine in (engine, "sequential", "batched")
    assert made.meta["engine"] == plans[0].choice.to_json()


def test_what_is_set_is_not_chosen(objective, patient):
    made = tuner_for(objective, settings={"batch_size": 7, "streams": 1, "rewrite": False}).choose("sequential")
    assert {(choice.tuning.batch_size, choice.streams) for choice, _ in made.plan.tried} == {(7, 1)}
    assert not made.plan.choice.tuning.rewrite


def test_all_set_is_not_timed(objective, patient):
    settings = {"batch_size": 7, "streams": 2, "threads": 1, "rewrite": False}
    made = tuner_for(objective, settings=settings).choose("sequential")
    assert made.plan.tried == ()
    assert made.plan.choice == Choice("sequential", Tuning(7, threads=1), streams=2)


class SaysTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        return {"scores": self.linear(x)}


def test_what_cannot_be_batched_is_evaluated_point_by_point(patient):
    def loss(output, target, reduction="mean"):
        return F.cross_entropy(output["scores"], target, reduction=reduction)

    objective = Objective(SaysTwo(), loss=loss, train=make_data())
    assert tuner_for(objective).choose("auto").plan.choice.engine == "sequential"
    with pytest.raises(
        LandscapeError,
        match=r"^the batched engine needs a model whose output is one tensor; use --engine sequential$",
    ):
        tuner_for(objective).choose("batched")


def test_an_interrupted_slice_goes_on_with_the_engine_it_was_begun_with(tmp_path, patient):
    objective = Objective(make_mlp(), loss=F.cross_entropy, train=make_data())
    plane = random_plane(objective.model)
    tune = "batch_size=9,chunk=4,threads=1"

    def stop(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(objective, plane, grid(5), save=tmp_path / "s.h5", engine="batched", tune=tune, progress=stop)
    begun = read_surface(tmp_path / "s.h5")
    assert 0 < begun.done.sum() < 25
    evaluate(objective, plane, grid(5), save=tmp_path / "s.h5")
    evaluate(objective, plane, grid(5), save=tmp_path / "whole.h5", engine="batched", tune=tune)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_another_engine_is_another_slice(tmp_path):
    objective = convnet_objective()
    plane = random_plane(objective.model)
    evaluate(objective, plane, grid(3), save=tmp_path / "s.h5", tune="rewrite=yes")
    again = evaluate(objective, plane, grid(3), save=tmp_path / "s.h5")
    assert again.meta["engine"]["rewrite"]
    with pytest.raises(
        LandscapeError, match=r"another slice; it differs in .*rewrite \(true in the file, false now\)"
    ):
        evaluate(objective, plane, grid(3), save=tmp_path / "s.h5", tune="rewrite=no")


def test_a_choice_is_read_back_as_it_was_written():
    for choice in (Choice("sequential", Tuning(64, 1, True, True)), Choice("batched", Tuning(5), chunk=8)):
        assert choice_from(json.loads(json.dumps(choice.to_json()))) == choice


def test_a_plan_says_what_it_does():
    choice = Choice("batched", Tuning(64, threads=1, channels_last=True), streams=2, chunk=8)
    plan = Plan(choice, 2601, 0.05, {"normalisations folded": 3}, device="cpu")
    assert plan.describe() == (
        "batched engine on cpu: micro-batches of 64, 2 streams, 1 thread each, 8 points at once, channels last, "
        "3 normalisations folded; 2,601 points in about 2 min 10 s"
    )
    assert plan.seconds == pytest.approx(130.05)


# Memory


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("500 MiB", 500 * 2**20), ("1.5g", 1.5e9), (1000, 1000), ("7 b", 7)]
)
def test_sizes_of_memory_are_read(text, size):
    assert bytes_in(text) == size


@pytest.mark.parametrize("text", ["much", "-1GB", "0", "4 GBit", ""])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(
        LandscapeError, match=r"^memory: not a size of memory; got .*; write it like 4GB or 500MB$"
    ):
        bytes_in(text)


def test_a_small_memory_makes_small_micro_batches(objective):
    whole = tuner_for(objective).choose("sequential").plan
    assert whole.choice.tuning.batch_size > 8
    limit = (whole.memory + KERNELS) // 2
    small = tuner_for(objective, memory=limit).choose("sequential").plan
    assert small.choice.tuning.batch_size < whole.choice.tuning.batch_size
    assert small.memory <= limit


def test_too_small_a_memory_is_said(objective):
    with pytest.raises(
        LandscapeError,
        match=r"^memory: one example at one point needs more than the memory that may be used; got 0 MB; expected "
        r"at least 20 MB; give more with --memory$",
    ):
        tuner_for(objective, memory=10).choose("auto")


def test_the_bytes_of_an_example_are_those_of_its_layers():
    # Without rewrites the peak of a chain is the input and output of its widest layer: 100 + 50 numbers.
    model = nn.Sequential(nn.Linear(6, 100), nn.Linear(100, 50), nn.Linear(50, 3))
    objective = Objective(model, loss=F.cross_entropy, train=make_data())
    measured = bytes_per_example(objective.evaluator(), ("loss",))
    assert 4 * 150 <= measured / 3 <= 4 * 175


def test_some_memory_is_free():
    assert free_memory(torch.device("cpu")) > 10**8


# The growth of a fresh process while it evaluates, in MB, with few points and with many.
GROWTH = """
import os, sys, json
import torch
from torch.nn import functional as F
import landscape as ls
from landscape.problems.resnet import ResNet
if sys.argv[1] == "resnet18":
    import torchvision
# A process for each count, apart from here on: what is imported is shared, and no threads have begun.
points = next((count for count in sys.argv[3:-1] if os.fork() == 0), sys.argv[-1])
torch.manual_seed(0)
if sys.argv[1] == "resnet20":
    model, x = ResNet(20), torch.randn(400, 3, 32, 32)
else:
    model, x = torchvision.models.resnet18(num_classes=10), torch.randn(48, 3, 32, 32)
# What is loaded at first use (tracing, kernels) is no matter of size.
small = ResNet(20, 4)
tiny = ls.Objective(small, loss=F.cross_entropy, train=(torch.randn(4, 3, 32, 32), torch.arange(4)))
tune = {"streams": 2, "threads": 1, "rewrite": True, "channels_last": True}
ls.evaluate(tiny, ls.random_plane(small), ls.grid(2), tune=tune)
objective = ls.Objective(model, loss=F.cross_entropy, train=(x, torch.arange(len(x)) % 10))
plane = ls.random_plane(model)
def status(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) / 1e3
# The peak so far does not count.
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
ls.evaluate(objective, plane, ls.grid(int(points)), memory=sys.argv[2], tune=tune)
print(json.dumps([int(points), status("VmHWM") - before]), flush=True)
if points == sys.argv[-1]:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def growth(model: str, memory: str, *points: int) -> list[float]:
    code = [sys.executable, "-c", textwrap.dedent(GROWTH)]
    done = subprocess.run([*code, model, memory, *map(str, points)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    return [found[count] for count in points]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("model", "megabytes"), [("resnet20", 100), ("resnet18", 600)])
def test_the_process_grows_no_more_than_it_may_however_many_points(model, megabytes):
    few, many = growth(model, f"{megabytes}MB", 2, 3)
    assert max(few, many) <= megabytes
    # One set of weights of ResNet-18 (45 MB) left behind at each of the five points more would be 225 MB.
    assert many <= few + 60


# Devices


def test_devices_that_are_not_there_are_said():
    with pytest.raises(LandscapeError, match=r"^device: unknown device 'gpu'; did you mean 'cpu'\?$"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(LandscapeError, match=r"^device: there is no device 'cuda' here; use cpu or auto$"):
            pick_device("cuda")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


def test_values_do_not_depend_on_when_they_were_chosen(objective, tmp_path):
    # Short work is never timed, so two runs end in the same bytes.
    plane = random_plane(objective.model)
    files = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for file in files:
        evaluate(objective, plane, grid(4), save=file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert np.isfinite(read_surface(files[0]).values).all()
