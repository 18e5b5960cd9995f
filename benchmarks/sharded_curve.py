"""A curve of a transformer under FSDP2 or tensor parallelism with gloo, for any number of ranks.

Run as ``torchrun --nproc-per-node N benchmarks/sharded_curve.py [--tensor-parallel] [--save S.h5]``; rank 0 prints
one line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional

import landscape as ls
from landscape.problems.transformer import Transformer
from landscape.projection import drawn_plane
from landscape.wrappers import own_part

_BLOCKS, _WIDTH, _HEADS, _LENGTH = 6, 384, 6, 32


def spread(model: Transformer, mesh: DeviceMesh, tensor_parallel: bool) -> None:
    """Spread a transformer over processes: its layers, or the rows and columns of its feed-forward networks."""
    for block in model.layers:
        if tensor_parallel:
            parallelize_module(block, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
        else:
            fully_shard(block, mesh=mesh)
    if not tensor_parallel:
        fully_shard(model, mesh=mesh)


def main() -> None:
    """Take the curve, and print losses and the digest of the whole direction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensor-parallel", action="store_true")
    parser.add_argument("--save")
    given = parser.parse_args()
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    model = Transformer(_BLOCKS, _WIDTH, _HEADS, _LENGTH)
    tokens = torch.randint(0, 256, (4, _LENGTH + 1))
    numbers = sum(parameter.numel() for parameter in model.parameters())
    spread(model, init_device_mesh("cpu", (ranks,)), given.tensor_parallel)
    data = (tokens[:, :-1], tokens[:, 1:])
    objective = ls.Objective(model, loss=functional.cross_entropy, train=data, in_place=True)
    began = time.process_time()
    line = drawn_plane(model, dims=1, seed=0)
    drawing = time.process_time() - began
    surface = ls.evaluate(objective, line, ls.grid(5, 0.5, dims=1), metrics="loss", save=given.save)
    said = hashlib.sha256()
    for name, own in line.directions[0].tensors.items():
        weight = line.origin[name]
        flat = own_part(weight).flatten()
        spans = [
            own.part(low, high, flat[low - own.start : high - own.start]) for low, high in own.spans(len(flat))
        ]
        made = torch.cat(spans).view(own_part(weight).shape)
        if isinstance(weight, DTensor):
            made = DTensor.from_local(
                made, weight.device_mesh, weight.placements, shape=weight.shape, stride=weight.stride()
            ).full_tensor()
        said.update(made.numpy().tobytes())
    if rank == 0:
        found = {"ranks": ranks, "numbers": numbers, "losses": surface["train_loss"].tolist()}
        print(json.dumps({**found, "direction": said.hexdigest()[:16], "seconds of norms": round(drawing, 2)}))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
