"""A model spread over processes: each draws and moves its own part; slice and run are those of one process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError
from landscape.integrations.session import Session
from landscape.params import layout_of
from landscape.projection import drawn_plane
from landscape.projection.block_direction import _cut_of
from landscape.surface import read_surface
from landscape.trajectory import Recorder, open_trajectory
from landscape.trajectory.overview import verify_trajectory
from landscape.wrappers import own_part

RANKS = 2
GRID = ls.grid(3, 0.5)


class Mixer(nn.Module):
    """A weight read by another module than its own, and one that has no module."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(40, 34), nn.LayerNorm(34), nn.Linear(34, 40))
        self.scale = nn.Parameter(torch.ones(40, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x) * self.scale.T


def network() -> nn.Module:
    """An odd number of rows, an embedding as long as several blocks, and gains that move."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(3501, 40), Mixer(), nn.Linear(40, 7))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3501, (20,), generator=generator), torch.randint(7, (20,), generator=generator)


def sharded(mesh) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    model = network()
    fully_shard(model[1], mesh=mesh)
    return fully_shard(model, mesh=mesh)


def parallel(mesh) -> nn.Module:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    cut = {"0": RowwiseParallel(input_layouts=_whole()), "1.inner.0": ColwiseParallel(output_layouts=_whole())}
    cut |= {"1.inner.2": RowwiseParallel(input_layouts=_whole())}
    return parallelize_module(network(), mesh, cut)


def _whole():
    from torch.distributed.tensor import Replicate

    return Replicate()


def slice_of(model: nn.Module, path: Path | None = None, **how: str) -> tuple[ls.Surface, ls.Plane]:
    x, y = data()
    objective = ls.Objective(model, loss=F.cross_entropy, train=(x, y), in_place=True, device="cpu", batch_size=8)
    plane = drawn_plane(model, seed=4, one_d="norm", **how)
    return ls.evaluate(objective, plane, GRID, save=path), plane


def parts_of(plane: ls.Plane) -> dict[str, torch.Tensor]:
    """The parts of a direction in this process."""
    found = {}
    for name, own in plane.directions[0].tensors.items():
        flat = own_part(plane.origin[name]).flatten()
        spans = [
            own.part(low, high, flat[low - own.start : high - own.start]) for low, high in own.spans(len(flat))
        ]
        found[name] = torch.cat(spans).view(own_part(plane.origin[name]).shape)
    return found


def in_rank(rank: int, folder: str, work: Callable[[Path, int], None]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    try:
        work(Path(folder), rank)
    finally:
        distributed.destroy_process_group()


def everything(folder: Path, rank: int) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    mesh, found = init_device_mesh("cpu", (RANKS,)), {}
    for name, make in {"sharded": sharded, "parallel": parallel}.items():
        for normalize in ("filter", "layer") if name == "parallel" else ("filter",):
            model = make(mesh)
            before = {key: own_part(own).clone() for key, own in model.named_parameters()}
            surface, plane = slice_of(model, folder / f"{name}-{normalize}.h5", normalize=normalize)
            for key, own in model.named_parameters():
                assert torch.equal(before[key], own_part(own))
            found[name, normalize] = surface["train_loss"], parts_of(plane)
    torch.save(found, folder / f"rank{rank}.pt")
    for name, make in {"run": sharded, "split": parallel}.items():
        model = make(mesh)
        with (
            Recorder(folder / f"{name}.h5", model) as recorder,
            Recorder(folder / f"{name}-parts.h5", model, shards=True) as own,
        ):
            for step in range(3):
                recorder.snapshot(step, train_loss=step)
                assert own.snapshot(step, train_loss=step)
                double(model)
    call_back(folder / "called.h5", sharded(mesh), records=rank == 0)
    again = sharded(mesh)
    # As a kill leaves it: only the first has written its part of the last snapshot.
    killed = Recorder(folder / "again.h5", again, shards=True)
    for step in range(3 - rank):
        killed.snapshot(step, resume_state={"step": step})
    with Recorder(folder / "again.h5", again, shards=True, resume=True) as recorder:
        with pytest.raises(LandscapeError, match="hold other runs, or other snapshots"):
            recorder.load_resume_state()
        assert recorder.last_step == 1
        assert recorder.snapshot(2)
    with pytest.raises(LandscapeError, match="each process has the whole model, and no part of its own"):
        Recorder(folder / "whole.h5", network(), shards=True)


def double(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)


def call_back(path: Path, model: nn.Module, *, records: bool) -> None:
    """As a callback does, in every process: a training that ends after 3 updates, and goes on from the second."""
    for first, last in ((0, 3), (2, 5)):
        session = Session(path, None, False, every=2, keep=None)
        session.begin(model, first, records=records)
        for step in range(first + 1, last + 1):
            double(model)
            session.offer(step)
        if last == 3:
            session.abandon()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.div_(2)
    session.hold(5)
    session.end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    multiprocessing.start_processes(in_rank, (str(path), everything), RANKS, start_method="fork")
    return path


@pytest.mark.parametrize(
    ("name", "normalize"), [("sharded", "filter"), *(("parallel", how) for how in ("filter", "layer"))]
)
def test_a_slice_of_two_ranks_is_that_of_one_process(folder, name, normalize):
    surface, plane = slice_of(network(), normalize=normalize)
    written = read_surface(folder / f"{name}-{normalize}.h5")
    whole = parts_of(plane)
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(RANKS)]
    for losses, _ in (own[name, normalize] for own in ranks):
        assert losses.ravel() == pytest.approx(surface["train_loss"].ravel(), rel=1e-6)
        assert (losses == written["train_loss"]).all()
    for key, wanted in whole.items():
        parts = [own[name, normalize][1][key] for own in ranks]
        if parts[0].shape == wanted.shape:
            made = parts[0]
        else:
            made = torch.cat(parts, dim=0 if parts[0].shape[1:] == wanted.shape[1:] else 1)
        assert torch.equal(made, wanted), key


def test_a_run_is_recorded_whole_by_the_first_rank(folder):
    run = open_trajectory(folder / "run.h5")
    assert run.steps.tolist() == [0, 1, 2]
    for number, snapshot in enumerate(run):
        for name, own in network().named_parameters():
            assert torch.equal(snapshot.weights[name], 2**number * own.detach())


@pytest.mark.parametrize("name", ["run", "split"])
def test_parts_of_two_ranks_are_read_as_the_gathered_run(folder, name):
    gathered, parts = open_trajectory(folder / f"{name}.h5"), open_trajectory(folder / f"{name}-parts.h5")
    assert not (folder / f"{name}-parts.h5").exists()
    assert parts.layout == gathered.layout
    assert parts.steps.tolist() == parts.metrics["train_loss"].tolist() == [0, 1, 2]
    assert [one.digest for one in parts] == [one.digest for one in gathered]
    # Few enough bytes that blocks begin and end within tensors, and within their rows.
    for rows in (slice(None), slice(None, None, -1)):
        for one, other in zip(parts[rows].column_blocks(5000), gathered[rows].column_blocks(5000), strict=True):
            assert (one.name, one.start, one.stop) == (other.name, other.start, other.stop)
            assert np.array_equal(one.values, other.values)
    assert verify_trajectory(parts.path) == verify_trajectory(gathered.path)


def test_parts_of_a_killed_run_go_on_from_what_all_have(folder):
    run = open_trajectory(folder / "again.h5")
    assert run.steps.tolist() == [0, 1, 2]
    assert run.finished
    assert run[2].digest == open_trajectory(folder / "run.h5")[0].digest


def test_parts_under_one_name_are_those_of_one_run(folder, tmp_path):
    """Another part, a part of another run, a missing one and a lone one are refused, each by name."""
    first, second = (tmp_path / f"a.rank{rank}of2.h5" for rank in range(RANKS))

    def refusal(path: Path = tmp_path / "a.h5") -> str:
        with pytest.raises(LandscapeError) as caught:
            open_trajectory(path)
        return str(caught.value).replace(f"{tmp_path}/", "")

    shutil.copy(folder / "run-parts.rank0of2.h5", first)
    missing = "a.h5: 1 of 2 parts are missing: a.rank1of2.h5; put the files of all processes into one folder"
    assert refusal() == refusal(tmp_path / "a.rank*of2.h5") == missing
    lone = "a.rank0of2.h5: holds the part of process 0 of 2; open a.h5, which stands for the files of all"
    assert refusal(first) == lone
    shutil.copy(first, second)
    assert refusal() == "a.rank1of2.h5: holds another part than its name says; got part 0 of 2"
    shutil.copy(folder / "again.rank1of2.h5", second)
    foreign = "a.rank1of2.h5: is a part of another run than a.rank0of2.h5; keep the files of one run together"
    assert refusal() == f"{foreign}, without those of others"
    shutil.copy(folder / "run-parts.rank1of2.h5", second)
    assert len(open_trajectory(tmp_path / "a.rank*of2.h5")) == 3


def test_commands_take_the_common_name(folder, tmp_path, landscape):
    landscape("inspect", folder / "run-parts.h5", "--verify")
    pictures = [tmp_path / f"{name}.svg" for name in ("run", "run-parts")]
    for picture in pictures:
        landscape("plot", folder / f"{picture.stem}.h5", "--kind", "mds", "-o", picture)
    one, other = (picture.read_text().replace("run-parts", "run") for picture in pictures)
    assert one == other


def test_callbacks_record_in_all_processes_what_the_first_decides(folder):
    run = open_trajectory(folder / "called.h5")
    assert run.steps.tolist() == [0, 2, 4, 5]
    assert run.finished
    for snapshot in run:
        for name, own in network().named_parameters():
            assert torch.equal(snapshot.weights[name], 2**snapshot.step * own.detach())


def test_what_is_cut_over_two_dimensions_of_a_mesh_is_refused():
    """Names the tensor and how it is spread, before anything is drawn."""
    placements = ("Shard(dim=0)", "Shard(dim=1)")
    weight = SimpleNamespace(device_mesh=SimpleNamespace(ndim=2), placements=placements)
    with pytest.raises(
        LandscapeError, match=r"'2.weight' is spread otherwise .* got Shard\(dim=0\), Shard\(dim=1\)"
    ):
        _cut_of(layout_of(network())["2.weight"], weight)
