"""Peak memory of a curve in place against that of one plain forward pass, of the shape of a Llama in bfloat16.

Each runs in a process of its own, which builds the same model with random weights; its peak is ``ru_maxrss``.
Run as ``python -m benchmarks.inference_memory``; ``--size small`` takes a model of 20 million weights. With
``--checkpoint FOLDER`` the weights are written there, and ``landscape plot --checkpoint FOLDER`` is the third.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch
from torch import Tensor, nn

_UNIT = 1 if sys.platform == "darwin" else 1024
# TinyLlama-1.1B (Zhang et al. 2024), and one of the same parts for a trial.
_SHAPES = {
    "large": {"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22},
    "medium": {"vocab_size": 16000, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 14},
    "small": {"vocab_size": 8000, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6},
}
_SEQUENCES, _LENGTH = 2, 32


def next_token(model: nn.Module, batch: Tensor) -> Tensor:
    """The mean loss of the next token for each sequence."""
    scores = model(input_ids=batch, use_cache=False).logits[:, :-1].float()
    losses = nn.functional.cross_entropy(scores.transpose(1, 2), batch[:, 1:], reduction="none")
    return losses.mean(1)


def make(size: str = "medium") -> tuple[nn.Module, Any, Tensor]:
    """The problem of a checkpoint: model, loss and tokens."""
    model, tokens = model_and_data(size)
    return model, next_token, tokens


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


def plot(size: str, points: int, folder: str) -> dict[str, Any]:
    """Draw the curve of a checkpoint by the command, and tell of its peak."""
    from landscape.cli.main import main

    problem = ["--checkpoint", folder, "--problem", f"{__file__}:make", "--set", f"size={size}"]
    with tempfile.TemporaryDirectory() as out, contextlib.suppress(SystemExit):
        main(["plot", "--kind", "curve", *problem, "--points", str(points), "-o", f"{out}/curve.png"])
    return {"what": "plot", "peak": peak()}


def work(size: str, what: str, points: int, folder: str | None) -> dict[str, Any]:
    """Do one of both, and tell of its peak."""
    import landscape as ls
    from landscape.projection import drawn_plane

    if what == "plot":
        return plot(size, points, str(folder))
    if folder is not None:
        # The code of the command is not what is measured.
        for name in ("landscape.cli.plot", "landscape.plots", "matplotlib.pyplot", "safetensors.torch"):
            importlib.import_module(name)
    model, tokens = model_and_data(size)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    built = peak()
    began, spent = time.monotonic(), time.process_time()
    if what == "forward":
        with torch.inference_mode():
            values = [float(next_token(model.eval(), tokens).double().mean())]
        held = peak()
        if folder is not None:
            model.save_pretrained(folder)
    else:
        objective = ls.Objective(model, loss=next_token, train=tokens, device="cpu", in_place=True)
        plane = drawn_plane(model, dims=1, seed=1)
        surface = ls.evaluate(objective, plane, ls.grid(points, 0.5, dims=1), metrics="loss")
        values = surface["train_loss"].tolist()
        held = peak()
    return {
        "what": what,
        "weights": weights,
        "numbers": sum(parameter.numel() for parameter in model.parameters()),
        "built": built,
        "peak": held,
        "seconds": time.monotonic() - began,
        "processor_seconds": time.process_time() - spent,
        "values": values,
    }


def main() -> None:
    """Run each in a child, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=_SHAPES, default="large")
    parser.add_argument("--checkpoint")
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--child", choices=("forward", "curve", "plot"))
    given = parser.parse_args()
    if given.child:
        print(json.dumps(work(given.size, given.child, given.points, given.checkpoint)))
        return
    found = []
    for what in ("forward", "curve", *(["plot"] if given.checkpoint else [])):
        command = [
            sys.executable,
            "-m",
            "benchmarks.inference_memory",
            "--child",
            what,
            "--points",
            str(given.points),
            "--size",
            given.size,
            *(["--checkpoint", given.checkpoint] if given.checkpoint else []),
        ]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(found[-1]))
    forward, *curves = found
    print(f"weights {forward['weights'] / 1e6:,.0f} MB, built {forward['built'] / 1e6:,.0f} MB")
    beside = forward["peak"] - forward["weights"]
    for curve in curves:
        print(f"forward {forward['peak'] / 1e6:,.0f} MB, {curve['what']} {curve['peak'] / 1e6:,.0f} MB")
        ratio = (curve["peak"] - beside) / forward["weights"]
        print(f"({curve['what']} - activations and code) / weights = {ratio:.3f}")


if __name__ == "__main__":
    main()
