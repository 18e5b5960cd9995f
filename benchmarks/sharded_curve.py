"""A curve of a transformer under FSDP2 with gloo: losses and directions for any number of ranks.

Run as ``torchrun --nproc-per-node N benchmarks/sharded_curve.py`` for N = 1, 2, 4; rank 0 prints one line.
"""

from __future__ import annotations

import hashlib
import json
import time

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional

from landscape.problems.transformer import Transformer
from landscape.surface.sharded import ShardedPlane

_BLOCKS, _WIDTH, _HEADS, _LENGTH = 6, 384, 6, 32


def main() -> None:
    """Take the curve, and print losses and the digest of the whole direction."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    model = Transformer(_BLOCKS, _WIDTH, _HEADS, _LENGTH)
    tokens = torch.randint(0, 256, (4, _LENGTH + 1))
    numbers = sum(parameter.numel() for parameter in model.parameters())
    mesh = init_device_mesh("cpu", (ranks,))
    for block in model.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    began = time.process_time()
    plane = ShardedPlane(model, seed=0)
    drawing = time.process_time() - began

    def loss() -> torch.Tensor:
        return functional.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])

    losses = plane.values(loss, [(-0.5,), (-0.25,), (0.0,), (0.25,), (0.5,)])
    said = hashlib.sha256()
    for name, own in plane.directions[0].tensors.items():
        held = dict(model.named_parameters())[name].to_local().flatten()  # type: ignore[attr-defined]
        start = plane.starts[name]
        parts: list[torch.Tensor] = [torch.empty(0)] * ranks
        distributed.all_gather_object(parts, own.part(start, start + len(held), held))
        said.update(torch.cat(parts).numpy().tobytes())
    if rank == 0:
        found = {"ranks": ranks, "numbers": numbers, "losses": losses, "direction": said.hexdigest()[:16]}
        print(json.dumps({**found, "seconds of norms": round(drawing, 2)}))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
