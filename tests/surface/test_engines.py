"""Every engine gives the same numbers, whatever it does to get them."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Untouched, lived_in, make_convnet, make_data, make_mlp, state_of
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, TensorDataset

from landscape.errors import LandscapeError
from landscape.objective import Evaluator, Objective, Tuning
from landscape.problems.resnet import ResNet
from landscape.problems.transformer import Transformer
from landscape.projection import line_through, random_line, random_plane
from landscape.surface import accuracy, evaluate, grid
from landscape.surface.engine import Choice, build, parse_settings, plain_choice
from landscape.surface.fill_grid import grid_points
from landscape.surface.streams import in_order
from landscape.surface.task import Task


def convnet_objective(dtype: torch.dtype = torch.float64) -> Objective:
    x, y = make_data((1, 4, 4), count=40)
    return Objective(make_convnet().to(dtype), loss=F.cross_entropy, train=(x.to(dtype), y))


def resnet_objective(dtype: torch.dtype) -> Objective:
    torch.manual_seed(0)
    x = torch.randn(24, 3, 8, 8, dtype=dtype)
    model = lived_in(ResNet(20, 4), dtype).requires_grad_(True)
    return Objective(model, loss=F.cross_entropy, train=(x, torch.arange(24) % 10))


def mlp_objective(dtype: torch.dtype) -> Objective:
    x, y = make_data(count=40)
    return Objective(
        make_mlp().to(dtype),
        loss=F.cross_entropy,
        train=(x.to(dtype), y),
        test=(x[:9].to(dtype), y[:9]),
        weight_decay=0.1,
    )


def transformer_objective(dtype: torch.dtype) -> Objective:
    torch.manual_seed(0)
    tokens = torch.randint(0, 256, (12, 9))
    model = Transformer(2, 16, 2, 8, tied=True).to(dtype)
    return Objective(model, loss=F.cross_entropy, train=(tokens[:, :-1], tokens[:, 1:]))


OBJECTIVES = {
    "mlp": mlp_objective,
    "convnet": convnet_objective,
    "resnet": resnet_objective,
    "transformer": transformer_objective,
}
BATCH = 16
# Mapping over weights says which of torch's operations it has to do one by one.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
WAYS = {
    "rewritten": Choice("sequential", Tuning(BATCH, channels_last=True, rewrite=True)),
    "streams": Choice("sequential", Tuning(BATCH, threads=1, rewrite=True), streams=3),
    "small micro-batch": Choice("sequential", Tuning(5)),
    "batched": Choice("batched", Tuning(BATCH), chunk=4),
    "batched streams": Choice("batched", Tuning(BATCH, threads=1), streams=2, chunk=3),
}


def values(choice: Choice, objective: Objective, plane, points, dtype=None, metrics=None) -> dict[str, np.ndarray]:
    engine = build(choice, Task(objective, objective.splits, metrics or objective.metrics, dtype), plane)
    found = list(engine.evaluate(points))
    return {name: np.array([[e[name].mean, e[name].standard_error] for e in found]) for name in found[0]}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_engine_gives_the_same_values(name, way, dtype, tolerance):
    objective = OBJECTIVES[name](dtype)
    plane = random_plane(objective.model, seed=1, one_d="norm")
    points = grid_points(grid((3, 3), radius=0.5))
    plain = values(plain_choice(objective), objective, plane, points)
    other = values(WAYS[way], objective, plane, points)
    assert other.keys() == plain.keys()
    for metric in plain:
        assert other[metric] == pytest.approx(plain[metric], rel=tolerance, abs=tolerance, nan_ok=True), metric


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_engine_repeats_itself_bit_for_bit_whatever_the_streams(name, way):
    objective = OBJECTIVES[name](torch.float32)
    plane = random_plane(objective.model, seed=1)
    points = grid_points(grid((4, 3), radius=0.5))
    first = values(WAYS[way], objective, plane, points)
    again = values(WAYS[way], objective, plane, points)
    alone = values(replace(WAYS[way], streams=1), objective, plane, points)
    # Any chunk of the points, as a resumed run asks for, has the bits of the whole.
    chunk = slice(WAYS[way].chunk, 2 * WAYS[way].chunk)
    part = values(WAYS[way], objective, plane, points[chunk])
    for metric in first:
        assert np.array_equal(first[metric], again[metric], equal_nan=True)
        assert np.array_equal(first[metric], alone[metric], equal_nan=True)
        assert np.array_equal(first[metric][chunk], part[metric], equal_nan=True)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_centre_is_the_models_own_loss_bit_for_bit_whatever_the_engine(name):
    objective = OBJECTIVES[name](torch.float32)
    own = objective.value(objective.model)
    for engine, tune in (("sequential", "rewrite=yes,batch_size=7,threads=1,streams=2"), ("batched", "chunk=2")):
        surface = evaluate(objective, random_plane(objective.model), grid(3, 0.5), engine=engine, tune=tune)
        assert surface.values[1, 1] == own


def test_an_engine_leaves_the_model_and_the_number_of_threads_alone():
    objective = convnet_objective()
    untouched, threads = Untouched(objective.model), torch.get_num_threads()
    plane = random_plane(objective.model)
    for choice in WAYS.values():
        values(choice, objective, plane, grid_points(grid(2, 0.5)))
    untouched.check()
    assert torch.get_num_threads() == threads


def test_a_loss_that_cannot_be_taken_apart_is_the_same_in_every_engine():
    x, y = make_data(count=23)
    objective = Objective(make_mlp(), loss=lambda output, target: F.cross_entropy(output, target), train=(x, y))
    plane = random_line(objective.model)
    points = grid_points(grid(4, 0.5, dims=1))
    plain = values(Choice("sequential", Tuning(5)), objective, plane, points)
    for way in ("rewritten", "streams", "batched"):
        choice = replace(WAYS[way], tuning=replace(WAYS[way].tuning, batch_size=5))
        assert values(choice, objective, plane, points)["train_loss"][:, 0] == pytest.approx(
            plain["train_loss"][:, 0], rel=1e-6
        )


@pytest.mark.parametrize("ignored", [False, True])
def test_class_weights_and_ignored_targets_are_the_same_in_every_engine(ignored):
    x, y = make_data(count=31)
    y = torch.where(torch.arange(31) % 3 == 0, -100, y) if ignored else y
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]))
    objective = Objective(make_mlp().double(), loss=loss.double(), train=(x.double(), y))
    plane = random_plane(objective.model)
    points = grid_points(grid(2, 0.5))
    plain = values(plain_choice(objective), objective, plane, points)
    for choice in WAYS.values():
        other = values(choice, objective, plane, points)
        for metric in plain:
            assert other[metric] == pytest.approx(plain[metric], rel=1e-12, nan_ok=True)


def test_several_inputs_are_mapped_over_weights_too():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, left, right):
            return self.a(left) * self.b(right)

    x = torch.randn(20, 5, dtype=torch.float64)
    for inputs in ((x[:, :3], x[:, 3:]), {"left": x[:, :3], "right": x[:, 3:]}):
        objective = Objective(
            Sum().double(), loss=F.mse_loss, train=(inputs, torch.zeros(20, 2, dtype=torch.float64))
        )
        plane = random_plane(objective.model)
        points = grid_points(grid(2, 0.5))
        plain = values(plain_choice(objective), objective, plane, points)
        for choice in WAYS.values():
            assert values(choice, objective, plane, points)["train_loss"] == pytest.approx(
                plain["train_loss"], rel=1e-12
            )


def test_buffers_that_move_need_the_sequential_engine():
    a, b = make_convnet(), make_convnet(1)
    b[1].running_mean.add_(1.0)
    objective = Objective(a, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    line = line_through(a, b, buffers="interpolate")
    with pytest.raises(
        LandscapeError, match=r"^the batched engine keeps buffers where they are; use --engine seq"
    ):
        evaluate(objective, line, grid(3, dims=1), engine="batched")
    surface = evaluate(objective, line, grid(3, x=(0.0, 1.0), dims=1), engine="sequential", tune="rewrite=yes")
    assert surface.values[-1] == pytest.approx(objective.value(b), rel=1e-5)


def exhausted_above(size: int, monkeypatch) -> None:
    """Memory that ends where a micro-batch has more examples."""
    run = Evaluator.run

    def limited(self, *arguments, **keywords):
        if self.tuning.batch_size > size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return run(self, *arguments, **keywords)

    monkeypatch.setattr(Evaluator, "run", limited)


def test_exhausted_memory_halves_the_micro_batch_and_goes_on(monkeypatch):
    objective = mlp_objective(torch.float64)
    plane = random_plane(objective.model)
    points = grid_points(grid(2, 0.5))
    plain = values(plain_choice(objective), objective, plane, points)
    exhausted_above(4, monkeypatch)
    choice = Choice("sequential", Tuning(16, threads=1), streams=2)
    engine = build(choice, Task(objective, objective.splits, objective.metrics), plane)
    found = [estimates["train_loss"].mean for estimates in engine.evaluate(points)]
    assert found == pytest.approx(plain["train_loss"][:, 0], rel=1e-12)
    assert engine.tuning.batch_size == 4


def test_exhausted_memory_halves_the_points_at_once(monkeypatch):
    objective = mlp_objective(torch.float64)
    plane = random_plane(objective.model)
    points = grid_points(grid((5, 2), 0.5))
    engine = build(
        Choice("batched", Tuning(16), chunk=8), Task(objective, objective.splits, objective.metrics), plane
    )
    plain = [estimates["train_loss"].mean for estimates in engine.evaluate(points)]
    run = engine._run

    def limited(program, some):
        if len(some) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return run(program, some)

    monkeypatch.setattr(engine, "_run", limited)
    assert [estimates["train_loss"].mean for estimates in engine.evaluate(points)] == pytest.approx(
        plain, rel=1e-12
    )


def test_one_example_that_does_not_fit_is_said(monkeypatch):
    objective = mlp_objective(torch.float64)
    exhausted_above(0, monkeypatch)
    engine = build(plain_choice(objective), Task(objective, ("train",), ("loss",)), random_plane(objective.model))
    with pytest.raises(
        LandscapeError,
        match=r"^evaluation: one example at one point does not fit into memory; give more with --memory, or use "
        r"another device or a smaller model$",
    ):
        list(engine.evaluate([(0.0, 1.0)]))


def test_other_errors_are_not_taken_for_exhausted_memory(monkeypatch):
    objective = mlp_objective(torch.float64)
    engine = build(plain_choice(objective), Task(objective, ("train",), ("loss",)), random_plane(objective.model))
    monkeypatch.setattr(Evaluator, "run", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("sizes differ")))
    with pytest.raises(RuntimeError, match="sizes differ"):
        list(engine.evaluate([(0.0, 1.0)]))


# Batch normalisation


def recalibrated_loss(model: nn.Module, weights, objective: Objective, examples: int) -> float:
    """torch's own way, on a copy: statistics over the first examples, then the loss of all."""
    copied = copy.deepcopy(model)
    copied.load_state_dict(weights, strict=False)
    x, y = objective.data["train"].inputs, objective.data["train"].targets
    update_bn(DataLoader(TensorDataset(x[:examples]), batch_size=128), copied)
    with torch.no_grad():
        return float(F.cross_entropy(copied.eval()(x), y))


@pytest.mark.parametrize("tune", [None, "rewrite=yes,threads=1,streams=2"])
def test_recalibrated_statistics_are_those_of_torch(tune):
    model = make_convnet().double()
    x, y = make_data((1, 4, 4), count=300)
    objective = Objective(model, loss=F.cross_entropy, train=(x.double(), y))
    line = random_line(model, seed=3)
    before = state_of(model)
    made = evaluate(objective, line, grid(5, 1.0, dims=1), bn="recalibrate:200", tune=tune)
    wanted = [recalibrated_loss(model, line.point(t), objective, 200) for t in made.x]
    assert made.values == pytest.approx(wanted, rel=1e-12)
    assert made.meta["bn"] == "recalibrate:200"
    frozen = evaluate(objective, line, grid(5, 1.0, dims=1))
    assert not np.allclose(frozen.values, made.values, rtol=1e-3)
    for name, tensor in state_of(model).items():
        assert torch.equal(tensor, before[name]), name


def test_a_statistics_policy_must_make_sense():
    objective = convnet_objective()
    line = random_line(objective.model)
    for wrong, message in (
        ("thaw", "bn: unknown policy; got thaw; expected recalibrate or recalibrate:EXAMPLES"),
        (
            "recalibrate:many",
            "bn: unknown policy; got recalibrate:many; expected recalibrate or recalibrate:EXAMPLES",
        ),
        (
            "recalibrate:41",
            "bn: statistics need at least 2 examples, and no more than there are; got 41; expected 2 to 40",
        ),
    ):
        with pytest.raises(LandscapeError) as caught:
            evaluate(objective, line, grid(3, dims=1), bn=wrong)
        assert str(caught.value) == message
    with pytest.raises(LandscapeError, match=r"^the batched engine cannot recalibrate; use --engine sequential$"):
        evaluate(objective, line, grid(3, dims=1), bn="recalibrate:8", engine="batched")


# Precision


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_previews_of_three_digits_are_refused_where_they_are_slow(kind, monkeypatch):
    objective = resnet_objective(torch.float32)
    plane = random_plane(objective.model)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    monkeypatch.setattr(accuracy, "_flags", lambda: "flags : fpu sse avx2 avx512f")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    if kind == "cuda":
        assert not accuracy.has_bfloat16(torch.device(kind))
        return
    message = (
        r"^dtype: bfloat16 would take 7 to 18 times as long as float32: this processor has no instructions for "
        r"it; leave it out, or try preview=0.01 \(--preview 0.01\)$"
    )
    with pytest.raises(LandscapeError, match=message):
        evaluate(objective, plane, grid(3), dtype=torch.bfloat16)
    # A model that is of this type anyway is computed in it.
    evaluate(resnet_objective(torch.bfloat16), random_plane(resnet_objective(torch.bfloat16).model), grid(3))


@pytest.mark.parametrize(
    ("told", "flags", "has"),
    [
        ({"avx512_bf16": True}, "", True),
        ({"amx_bf16": True, "avx512_bf16": False}, "", True),
        ({}, "Features : fp asimd bf16 i8mm", True),
        ({}, "flags : avx512f avx512_bf16", True),
        ({"avx512_bf16": False, "amx_bf16": False}, "flags : avx2", False),
        ({}, "", False),
    ],
)
def test_instructions_are_told_by_torch_or_by_the_system(told, flags, has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    monkeypatch.setattr(accuracy, "_flags", lambda: flags)
    assert accuracy.has_bfloat16(torch.device("cpu")) is has


def test_the_error_of_a_type_is_the_one_against_float64(monkeypatch):
    monkeypatch.setattr(accuracy, "has_bfloat16", lambda device: True)
    objective = resnet_objective(torch.float32)
    plane = random_plane(objective.model)
    exact = evaluate(objective, plane, grid(3, 0.3), dtype=torch.float64)
    coarse = evaluate(objective, plane, grid(3, 0.3), dtype=torch.bfloat16)
    said = coarse.meta["dtype_error"]
    # 24 examples are fewer than it takes, so all are seen; the points are every third.
    true = np.abs(coarse.values / exact.values - 1).ravel()[[0, 3, 6]].max()
    assert said == {"largest_relative": pytest.approx(true, rel=1e-6), "points": 3, "examples": 24}
    assert 1e-5 < said["largest_relative"] < 0.1
    assert exact.meta["dtype_error"]["largest_relative"] < 1e-12
    assert coarse.meta["dtype"] == "bfloat16"


def test_half_precision_weights_are_rounded_once():
    # A step of a quarter unit in the last place, twice: rounded after each it would not move at all.
    ones = {"weight": torch.ones(1, 1)}
    step = {"weight": torch.full((1, 1), 2.0**-9 * 0.75)}
    model = nn.Linear(1, 1, bias=False)
    objective = Objective(
        model,
        loss=lambda output, target, reduction="mean": output.mean() if reduction == "mean" else output[:, 0],
        train=(torch.ones(2, 1), torch.zeros(2)),
    )
    from landscape.projection import Plane

    plane = Plane(ones, [step, step])
    engine = build(plain_choice(objective), Task(objective, ("train",), ("loss",), torch.bfloat16), plane)
    assert next(engine.evaluate([(2.0, 2.0)]))["train_loss"].mean == 1 + 2.0**-7


# Streams


def test_results_come_in_order_and_errors_stop_the_work():
    assert list(in_order(lambda worker, item: item**2, ["a", "b", "c"], range(20), 1)) == [n**2 for n in range(20)]

    def fails(worker, item):
        if item == 5:
            raise ValueError("five")
        return item

    done = []
    with pytest.raises(ValueError, match="five"):
        done.extend(in_order(fails, ["a", "b"], range(100), 1))


def test_every_call_has_a_worker_to_itself_and_its_own_number_of_threads():
    busy: set[str] = set()

    def work(worker, item):
        assert worker not in busy
        busy.add(worker)
        threads = torch.get_num_threads()
        torch.ones(200, 200) @ torch.ones(200, 200)
        busy.discard(worker)
        return threads

    assert set(in_order(work, ["a", "b", "c"], range(60), 1)) == {1}


def test_who_stops_early_waits_for_nothing_but_what_is_under_way():
    started = []
    results = in_order(lambda worker, item: started.append(item), ["a", "b"], range(1000), 1)
    next(results)
    results.close()
    assert len(started) < 20


# Settings


def test_settings_are_read_from_text_and_values_alike():
    wanted = {"batch_size": 64, "rewrite": False, "streams": 2}
    assert parse_settings("batch_size=64,rewrite=no, streams = 2") == wanted
    assert parse_settings(wanted) == wanted
    assert parse_settings(None) == {}


def test_all_faults_of_the_settings_come_together():
    with pytest.raises(
        LandscapeError,
        match=r"^tune: there is no option 'batchsize'; did you mean 'batch_size'\? \| option 'streams' is out of "
        r"range; got 0; expected at least 1 \| option 'rewrite' has the wrong type; got 'maybe'; expected true or "
        r"false$",
    ):
        parse_settings("batchsize=3,streams=0,rewrite=maybe")


def test_what_comes_from_a_device_in_one_transfer_is_what_was_there(monkeypatch):
    objective = mlp_objective(torch.float64)
    evaluator = objective.evaluator()
    evaluator.load(dict(objective.model.named_parameters()))
    raw = [evaluator.run(objective.splits, objective.metrics) for _ in range(2)]
    direct = [evaluator.estimates(point, objective.metrics) for point in raw]
    # Any other device than the CPU takes this way.
    monkeypatch.setattr(evaluator, "device", torch.device("meta"))
    assert [evaluator.estimates(point, objective.metrics) for point in evaluator.fetch(raw)] == direct


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_kernels_give_the_same_values():
    objective = mlp_objective(torch.float64)
    plane = random_plane(objective.model, seed=1)
    points = grid_points(grid(2, radius=0.5))
    plain = values(plain_choice(objective), objective, plane, points)
    compiled = values(Choice("sequential", Tuning(40, threads=1, compiled=True)), objective, plane, points)
    for metric in plain:
        assert compiled[metric] == pytest.approx(plain[metric], rel=1e-12, nan_ok=True), metric
