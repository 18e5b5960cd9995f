"""Cost of a live reading of the critical sharpness on the shape of GPT-2 small, beside a training step.

Steps of AdamW with and without a reading follow each other, so that what slows the machine slows both; times are
those of the processor. Run as ``python -m benchmarks.headroom``.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor

import landscape as ls
from benchmarks.products import gpt2, next_token

_ROUNDS = 2


def main() -> None:
    """Measure and print."""
    model, tokens = gpt2()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> float:
        began = time.process_time()
        optimizer.zero_grad()
        next_token(model, tokens).mean().backward()
        optimizer.step()
        return time.process_time() - began

    def loss(output: Any, targets: Tensor) -> Tensor:
        scores = output.logits[:, :-1]
        return torch.nn.functional.cross_entropy(scores.transpose(1, 2), targets[:, 1:])

    step()
    ratios, plain, readings = [], [], []
    for _ in range(_ROUNDS):
        plain.append(step())
        watch = ls.watch(model, optimizer, loss, (tokens, tokens), every=1)
        seen = step()
        watch.remove()
        readings += watch.readings
        ratios.append(seen / plain[-1] - 1)
    print(f"a training step {statistics.median(plain):.2f} s")
    for glance, cost in zip(readings, ratios, strict=True):
        print(f"{glance.passes} forward passes, {cost:.2f} of a training step: {glance.words}")


if __name__ == "__main__":
    main()
