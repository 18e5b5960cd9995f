"""Models that DeepSpeed trains: parameters are whole after ZeRO-1 and 2, and gathered from the ranks of ZeRO-3."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError

RANKS, STEPS = 2, 3
# A power of two: a step has the same bits whether its product is rounded before it is added or not.
RATE = 0.125


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 17), nn.BatchNorm1d(17), nn.Tanh(), nn.Linear(17, 3))


def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        yield torch.randn(4, 8, generator=generator), torch.randint(3, (4,), generator=generator)


def in_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS), "DS_ACCELERATOR": "cpu"}
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    import deepspeed

    for stage in (1, 3):
        model = network()
        settings = {
            "train_micro_batch_size_per_gpu": 4,
            "gradient_clipping": 0.0,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            # Small parameters stay whole otherwise.
            "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
        }
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        engine, *_ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=settings, dist_init_required=False
        )
        paths = {f"{folder}/stage{stage}.h5": False} | ({f"{folder}/parts.h5": True} if stage == 3 else {})
        recorders = [ls.Recorder(path, engine, shards=shards) for path, shards in paths.items()]
        for x, y in batches():
            for recorder in recorders:
                recorder.snapshot(engine.global_steps)
            engine.backward(F.cross_entropy(engine(x), y))
            engine.step()
        for recorder in recorders:
            recorder.snapshot(engine.global_steps)
        for recorder, shards in zip(recorders, paths.values(), strict=True):
            waits = stage == 3 and not shards
            said = "each process has to call snapshot" if waits else "DeepSpeed moves the parameters after"
            with pytest.raises(LandscapeError, match=said):
                recorder.watch(optimizer)
            with pytest.raises(LandscapeError, match=said):
                ls.Recorder(f"{folder}/steps.h5", engine, optimizer=optimizer, shards=shards)
            recorder.finish()
    with pytest.raises(LandscapeError, match=r"0\.weight: DeepSpeed's ZeRO-3 leaves"):
        ls.random_line(engine)
    distributed.destroy_process_group()


# Those are of DeepSpeed and of what it calls in torch.
@pytest.mark.filterwarnings("ignore")
def test_both_stages_record_the_weights_of_a_plain_training(tmp_path: Path):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    multiprocessing.start_processes(in_rank, (str(tmp_path),), RANKS, start_method="fork")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    states = [ls.params.digest(model.state_dict())]
    for x, y in batches():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        states.append(ls.params.digest(model.state_dict()))
    for name in ("stage1", "stage3", "parts"):
        run = ls.open(tmp_path / f"{name}.h5")
        assert run.steps.tolist() == [0, 1, 2, 3]
        assert [snapshot.digest for snapshot in run] == states


def test_an_emptied_parameter_is_refused_where_nobody_gathers():
    """With the remedy, and not as a tensor without numbers."""
    model = network()
    # As ZeRO-3 leaves a parameter; what gathers is DeepSpeed itself, in the test above.
    model[0].weight.ds_tensor, model[0].weight.ds_shape = model[0].weight.data[:8], model[0].weight.shape
    model[0].weight.data = torch.empty(0)
    expected = r"0\.weight: DeepSpeed's ZeRO-3 leaves a part .* record it by Recorder, in every process; or load"
    with pytest.raises(LandscapeError, match=expected):
        ls.random_line(model)
    with pytest.raises(LandscapeError, match=expected):
        ls.Objective(model, loss=F.cross_entropy, train=next(batches()), in_place=True)
