"""Peak memory of a curve in place against that of one plain forward pass, of the shape of a Llama in bfloat16.

Each runs in a process of its own, which builds the same model with random weights; its peak is ``ru_maxrss``.
Run as ``python -m benchmarks.inference_memory``; ``--small`` takes a model of 20 million weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

_UNIT = 1 if sys.platform == "darwin" else 1024
# TinyLlama-1.1B (Zhang et al. 2024), and one of the same parts for a trial.
_SHAPES = {
    "large": {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22},
    "small": {"vocab_size": 8000, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6},
}
_SEQUENCES, _LENGTH = 2, 32


def next_token(model: nn.Module, batch: Tensor) -> Tensor:
    """The mean loss of the next token for each sequence."""
    scores = model(input_ids=batch, use_cache=False).logits[:, :-1].float()
    losses = nn.functional.cross_entropy(scores.transpose(1, 2), batch[:, 1:], reduction="none")
    return losses.mean(1)


def model_and_data(size: str) -> tuple[nn.Module, Tensor]:
    """The model with random weights in bfloat16, and tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(**_SHAPES[size], num_attention_heads=32, num_key_value_heads=4, use_cache=False)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model, torch.randint(0, config.vocab_size, (_SEQUENCES, _LENGTH))


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def work(size: str, what: str, points: int) -> dict[str, Any]:
    """Do one of both, and tell of its peak."""
    import landscape as ls
    from landscape.projection import drawn_plane

    model, tokens = model_and_data(size)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    built = peak()
    began, spent = time.monotonic(), time.process_time()
    if what == "forward":
        with torch.inference_mode():
            values = [float(next_token(model.eval(), tokens).double().mean())]
    else:
        objective = ls.Objective(model, loss=next_token, train=tokens, device="cpu", in_place=True)
        plane = drawn_plane(model, dims=1, seed=1)
        surface = ls.evaluate(objective, plane, ls.grid(points, 0.5, dims=1), metrics="loss")
        values = surface["train_loss"].tolist()
    return {
        "what": what,
        "weights": weights,
        "numbers": sum(parameter.numel() for parameter in model.parameters()),
        "built": built,
        "peak": peak(),
        "seconds": time.monotonic() - began,
        "processor_seconds": time.process_time() - spent,
        "values": values,
    }


def main() -> None:
    """Run both in children, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--child", choices=("forward", "curve"))
    given = parser.parse_args()
    size = "small" if given.small else "large"
    if given.child:
        print(json.dumps(work(size, given.child, given.points)))
        return
    found = []
    for what in ("forward", "curve"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.inference_memory",
            "--child",
            what,
            "--points",
            str(given.points),
        ]
        done = subprocess.run(command + ["--small"] * given.small, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
        print(json.dumps(found[-1]))
    forward, curve = found
    print(f"weights {forward['weights'] / 1e6:,.0f} MB, built {forward['built'] / 1e6:,.0f} MB")
    print(f"forward {forward['peak'] / 1e6:,.0f} MB, curve {curve['peak'] / 1e6:,.0f} MB")
    beside = forward["peak"] - forward["weights"]
    print(f"(curve - activations and code) / weights = {(curve['peak'] - beside) / forward['weights']:.3f}")


if __name__ == "__main__":
    main()
