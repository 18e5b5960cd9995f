"""Memory and time of a product with the Hessian, twice differentiated and by finite differences of gradients.

Each is done in a process of its own, which builds the same model and data, draws a vector, and multiplies it;
memory (Linux only) is the peak from then on, less what was held. One gradient of the same loss by plain torch is
the measure of both. Run as ``python -m benchmarks.products``; ``--workloads GPT-2`` takes one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape as ls
from benchmarks.inference_memory import next_token
from benchmarks.workloads import SPECS, build
from landscape.curvature import Curvature

_GRADIENT, _DOUBLE, _DIFFERENCES = "one gradient", "double backward", "finite differences"
WAYS = {_GRADIENT: "", _DOUBLE: "auto", _DIFFERENCES: "finite-difference"}
# Examples: a graph of all fits beside the machine's other work.
_EXAMPLES = {"W3": 256, "W4": 128}
# GPT-2 small (Radford et al. 2019), 124 million weights: so many sequences of so many tokens.
_SEQUENCES, _LENGTH = 2, 32
NAMES = (*_EXAMPLES, "GPT-2")


def model_and_loss(name: str) -> tuple[nn.Module, Any, Callable[[], Tensor], ls.Objective]:
    """A model, the loss of all its data as torch has it, and the objective."""
    if name in _EXAMPLES:
        spec = next(spec for spec in SPECS if spec.name == name)
        made = build(replace(spec, examples=_EXAMPLES[name], steps=5))
        return made.model, lambda: functional.cross_entropy(made.model(made.inputs), made.targets), made.objective
    model, tokens = gpt2()
    objective = ls.Objective(model, loss=next_token, train=tokens, device="cpu")
    return model, lambda: next_token(model, tokens).mean(), objective


def gpt2() -> tuple[nn.Module, Tensor]:
    """The shape of GPT-2 small with random weights, in evaluation mode and written-out attention, and tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(attn_implementation="eager", use_cache=False)
    return GPT2LMHeadModel(config).eval(), torch.randint(0, config.vocab_size, (_SEQUENCES, _LENGTH))


def work(name: str, way: str, times: int) -> dict[str, Any]:
    """Take products in one way, and tell of their time and memory."""
    model, loss, objective = model_and_loss(name)
    parameters = list(model.parameters())
    built, error = _memory("VmRSS"), 0.0
    # The peak so far, of building, does not count.
    Path("/proc/self/clear_refs").write_text("5")
    if way == _GRADIENT:

        def once() -> None:
            torch.autograd.grad(loss(), parameters)
    else:
        operator = Curvature(objective, model, products=WAYS[way])
        vector = torch.randn(operator.size, generator=torch.Generator().manual_seed(0))

        def once() -> None:
            operator @ vector

    began = time.process_time()
    once()
    first, seconds = time.process_time() - began, []
    for _ in range(times):
        began = time.process_time()
        once()
        seconds.append(time.process_time() - began)
    if way != _GRADIENT:
        error = operator.error
    numbers = sum(parameter.numel() for parameter in parameters)
    return {
        "workload": name,
        "way": way,
        "numbers": numbers,
        "first": first,
        "seconds": statistics.median(seconds),
        "memory": _memory("VmHWM") - built,
        "gradient": 4 * numbers,
        "error": error,
    }


def _memory(name: str) -> int:
    """A line of the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def report(found: list[dict[str, Any]]) -> str:
    """The results as a table in Markdown."""
    lines = [
        "|  | weights | way | seconds a product | in gradients | first product | memory | stated error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        unit = next(own for own in found if own["workload"] == one["workload"])
        told = (
            *(one["workload"], f"{one['numbers']:,}", one["way"], f"{one['seconds']:.3g}"),
            *(f"{one['seconds'] / unit['seconds']:.1f}", f"{one['first']:.3g}", f"{one['memory'] / 1e6:,.0f} MB"),
            f"{one['error']:.0e}" if one["error"] else "",
        )
        lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all in children, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(NAMES), help="which, with commas between them")
    parser.add_argument("--times", type=int, default=3, help="products that are timed, after the first")
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(work(*given.child, given.times)))
        return
    found = []
    for name in given.workloads.split(","):
        for way in WAYS:
            command = [
                sys.executable,
                "-m",
                "benchmarks.products",
                "--times",
                str(given.times),
                "--child",
                name,
                way,
            ]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(done.stdout))
            print(json.dumps(found[-1]), flush=True)
    print(report(found))


if __name__ == "__main__":
    main()
