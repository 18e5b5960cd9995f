"""A model sharded over processes: each draws and moves its own rows, and the curve and the
run are those of one process."""

import copy
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F

from landscape.projection import drawn_plane, random_plane
from landscape.surface.sharded import ShardedPlane
from landscape.trajectory import Recorder, open_trajectory

RANKS = 2
POINTS = [(-0.5, 0.2), (0.0, 0.0), (1.0, -1.0)]


def network() -> nn.Module:
    """An odd number of rows, an embedding as long as several blocks, and gains that move."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(40, 33), nn.LayerNorm(33), nn.Linear(33, 40))
    return nn.Sequential(nn.Embedding(3501, 40), inner, nn.Linear(40, 7))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3501, (20,), generator=generator), torch.randint(7, (20,), generator=generator)


def rank_work(rank: int, folder: str, normalize: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    model, (x, y) = network(), data()
    mesh = init_device_mesh("cpu", (RANKS,))
    fully_shard(model[1], mesh=mesh)
    fully_shard(model, mesh=mesh)
    model(x)
    plane = ShardedPlane(model, dims=2, normalize=normalize, seed=4, one_d="norm")
    before = {name: own.to_local().clone() for name, own in model.named_parameters()}
    losses = plane.values(lambda: F.cross_entropy(model(x), y), POINTS)
    same = all(torch.equal(before[name], own.to_local()) for name, own in model.named_parameters())
    parts = {}
    for name, own in plane.directions[0].tensors.items():
        held = before[name].flatten()
        start = plane.starts[name]
        parts[name] = (start, own.part(start, start + len(held), held))
    with Recorder(f"{folder}/run.h5", model) as recorder:
        for step in range(3):
            recorder.snapshot(step)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(2)
    torch.save({"losses": losses, "same": same, "parts": parts}, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("normalize", ["filter"])
def test_a_curve_of_two_ranks_is_that_of_one_process(tmp_path: Path, normalize: str):
    multiprocessing.start_processes(rank_work, (str(tmp_path), normalize), RANKS, start_method="fork")
    model, (x, y) = network(), data()
    plane = random_plane(model, normalize=normalize, seed=4, one_d="norm", generator="blocks")
    alone = []
    for point in POINTS:
        moved = copy.deepcopy(model)
        moved.load_state_dict(plane.point(*point))
        with torch.no_grad():
            alone.append(float(F.cross_entropy(moved(x), y)))
    whole = drawn_plane(model, normalize=normalize, seed=4, one_d="norm").directions[0]
    run = open_trajectory(tmp_path / "run.h5")
    assert run.steps.tolist() == [0, 1, 2]
    for number, snapshot in enumerate(run):
        for name, own in model.named_parameters():
            assert torch.equal(snapshot.weights[name], 2**number * own.detach())
    for rank in range(RANKS):
        found = torch.load(tmp_path / f"rank{rank}.pt")
        assert found["same"]
        assert found["losses"] == pytest.approx(alone, rel=1e-6)
        for name, (start, part) in found["parts"].items():
            assert torch.equal(part, whole[name].flatten()[start : start + len(part)]), name
