"""The top eigenvalue and the trace of the Hessian, beside other packages: ``python -m benchmarks.curvature``.

In each round everything is done once on the same model and data, beginning elsewhere, so that what slows
the machine slows all of it; ratios are taken within rounds. What a package returns by default is shown
beside a setting that makes it accurate. The truth of the eigenvalue is computed in float64 with a residual
of 1e-9 (with convolutions in float32 with one of 1e-6, from another start), that of the trace with 300 products
of Hutch++ from another seed (`--truth`), and its standard error is stated. An estimate of a trace with twice
the standard error is a quarter of the work, so times of traces are also stated for a standard error of 1 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import machine
from benchmarks.rounds import ratio
from benchmarks.workloads import SPECS, Workload, build
from landscape.curvature import Curvature, eigenpairs, trace

# W2 as in the trials that other numbers come from.
_EXAMPLES = {"W1": 1797, "W2": 512}
_PROBES = 60
_TARGET = 0.01

Answer = tuple[float, float | None]
Task = Callable[[Workload], Answer]


@dataclass
class Samples:
    """Result of one way of computing a number.

    Attributes:
        seconds: One for each round, set-up included.
        value: Of the first round.
        standard_error: That it states (or that its samples have); None where it states none.
        failure: Why it was left out.
    """

    seconds: list[float] = field(default_factory=list)
    value: float = float("nan")
    standard_error: float | None = None
    failure: str = ""


def _ours_top(tol: float) -> Task:
    def run(workload: Workload) -> Answer:
        return float(eigenpairs(Curvature(workload.objective, workload.model), tol=tol).values[0]), None

    return run


def _ours_trace(workload: Workload) -> Answer:
    found = trace(Curvature(workload.objective, workload.model), samples=_PROBES)
    return found.value, found.standard_error


def _pyhessian(workload: Workload) -> Any:
    from pyhessian import hessian

    return hessian(workload.model, nn.CrossEntropyLoss(), data=(workload.inputs, workload.targets), cuda=False)


def _pyhessian_top(steps: int, tol: float) -> Task:
    def run(workload: Workload) -> Answer:
        return float(_pyhessian(workload).eigenvalues(maxIter=steps, tol=tol)[0][0]), None

    return run


def _pyhessian_trace(workload: Workload) -> Answer:
    values = np.array(_pyhessian(workload).trace(maxIter=_PROBES, tol=0.0))
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def _curvlinops(workload: Workload) -> Any:
    from curvlinops import HessianLinearOperator

    return HessianLinearOperator(
        workload.model,
        nn.CrossEntropyLoss(),
        list(workload.model.parameters()),
        [(workload.inputs, workload.targets)],
    )


def _curvlinops_top(tol: float) -> Task:
    def run(workload: Workload) -> Answer:
        from scipy.sparse.linalg import eigsh

        operator = _curvlinops(workload).to_scipy(dtype=np.float32)
        return float(eigsh(operator, k=1, which="LA", tol=tol, return_eigenvectors=False)[0]), None

    return run


def _curvlinops_trace(workload: Workload) -> Answer:
    from curvlinops import hutchpp_trace

    return float(hutchpp_trace(_curvlinops(workload), _PROBES)), None


def _eigenthings(workload: Workload) -> Any:
    from hessian_eigenthings import HessianOperator, supervised_loss

    return HessianOperator(
        workload.model, [(workload.inputs, workload.targets)], supervised_loss(functional.cross_entropy)
    )


def _eigenthings_top(**settings: Any) -> Task:
    def run(workload: Workload) -> Answer:
        from hessian_eigenthings import lanczos

        found = lanczos(_eigenthings(workload), k=1, seed=0, **settings)
        return float(found.eigenvalues[0]), None

    return run


def _eigenthings_trace(workload: Workload) -> Answer:
    from hessian_eigenthings import trace as estimate

    found = estimate(_eigenthings(workload), num_matvecs=_PROBES, seed=0)
    return float(found.estimate), float(found.stderr) if getattr(found, "stderr", None) is not None else None


TASKS: dict[str, dict[str, Task]] = {
    "top eigenvalue": {
        "landscape, residual 1e-6 (default)": _ours_top(1e-6),
        "landscape, residual 1e-3": _ours_top(1e-3),
        "PyHessian, default": _pyhessian_top(100, 1e-3),
        "PyHessian, tol=1e-6": _pyhessian_top(200, 1e-6),
        "curvlinops + eigsh, default": _curvlinops_top(0.0),
        "curvlinops + eigsh, tol=1e-3": _curvlinops_top(1e-3),
        "hessian-eigenthings Lanczos, default": _eigenthings_top(),
        "hessian-eigenthings Lanczos, 40 steps": _eigenthings_top(max_iter=40, tol=1e-6, reorthogonalize=True),
    },
    "trace": {
        "landscape, Hutch++": _ours_trace,
        "PyHessian, Hutchinson": _pyhessian_trace,
        "curvlinops, Hutch++": _curvlinops_trace,
        "hessian-eigenthings, Hutch++": _eigenthings_trace,
    },
}


def measure(workload: Workload, rounds: int, products: int, log: Callable[[str], None]) -> dict[str, Any]:
    """Time all ways of computing both numbers in interleaved rounds.

    Args:
        workload: Model and data.
        rounds: How often.
        products: Of the trace that the others are held against.
        log: Takes a line about what is being done.

    Returns:
        Plain values: number -> truth and way -> samples.
    """
    log(f"{workload.spec.name}: truth")
    # Convolutions in float64 have no fast kernels on a CPU: twenty times the time.
    wide = not any(isinstance(module, nn.Conv2d) for module in workload.model.modules())
    exact = Curvature(workload.objective, workload.model, dtype=torch.float64 if wide else None)
    top = float(eigenpairs(exact, tol=1e-9 if wide else 1e-6, seed=1).values[0])
    whole = trace(Curvature(workload.objective, workload.model), samples=products, seed=1)
    truths = {"top eigenvalue": (top, 0.0), "trace": (whole.value, whole.standard_error)}
    measured = {number: {name: Samples() for name in ways} for number, ways in TASKS.items()}
    order = [(number, name) for number, ways in TASKS.items() for name in ways]
    for turn in range(rounds):
        start = turn % len(order)
        for number, name in (*order[start:], *order[:start]):
            log(f"{workload.spec.name}: round {turn + 1} of {rounds}: {name}")
            _once(TASKS[number][name], workload, measured[number][name])
    return {
        number: {"truth": truths[number], "ways": {name: vars(one) for name, one in ways.items()}}
        for number, ways in measured.items()
    }


def _once(task: Task, workload: Workload, samples: Samples) -> None:
    if samples.failure:
        return
    # Some draw from the global state without a seed.
    torch.manual_seed(0)
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value, error = task(workload)
    except (ImportError, RuntimeError, AttributeError, TypeError, ValueError) as reason:
        samples.failure = f"{type(reason).__name__}: {reason}".splitlines()[0][:80]
        return
    if not samples.seconds:
        samples.value, samples.standard_error = value, error
    samples.seconds.append(time.perf_counter() - start)
    workload.model.zero_grad()


def report(results: dict[str, Any]) -> str:
    """The results as a section in Markdown."""
    lines = [
        "## Curvature",
        "",
        "Medians over interleaved rounds; ratios to `landscape` within each round: median [smallest, largest].",
        "",
        "|  | number | way | seconds | ratio | relative error | standard error | seconds to 1 % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for workload, numbers in results.items():
        for number, found in numbers.items():
            truth, error = found["truth"]
            lines.append(f"| {workload} | {number} | truth | | | {error / abs(truth):.1e} | | |")
            ours = next(iter(found["ways"].values()))
            for name, way in found["ways"].items():
                lines.append("| " + " | ".join((workload, number, name, *_cells(way, ours, truth))) + " |")
    return "\n".join(lines) + "\n"


def _cells(way: dict[str, Any], ours: dict[str, Any], truth: float) -> list[str]:
    if way["failure"]:
        return [way["failure"], "", "", "", ""]
    seconds = statistics.median(way["seconds"])
    within = ratio(way["seconds"], ours["seconds"])
    error = way["standard_error"]
    share = None if error is None else error / abs(truth)
    return [
        f"{seconds:.3g}",
        f"{within.median:.2f} [{within.low:.2f}, {within.high:.2f}]",
        f"{abs(way['value'] / truth - 1):.1e}",
        "" if share is None else f"{share:.1e}",
        "" if share is None else f"{seconds * (share / _TARGET) ** 2:.3g}",
    ]


def _log(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is timed")
    parser.add_argument(
        "--truth", type=int, default=300, help="products of the trace that others are held against"
    )
    parser.add_argument("--examples", type=int, help="of each workload; by default 1,797 of W1 and 512 of W2")
    parser.add_argument("--workloads", default="W1,W2", help="which, with commas between them")
    parser.add_argument(
        "-o", "--output", type=Path, help="write a section in Markdown here, and its data as .json"
    )
    arguments = parser.parse_args()
    results = {}
    for spec in SPECS:
        if spec.name in arguments.workloads.split(","):
            examples = arguments.examples or _EXAMPLES.get(spec.name, spec.examples)
            workload = build(replace(spec, examples=examples))
            results[spec.name] = measure(
                workload, arguments.rounds, arguments.truth, lambda line: print(line, flush=True)
            )
    section = report(results)
    print(section)
    if arguments.output:
        about = {"machine": machine.describe(), "rounds": arguments.rounds, "results": results}
        arguments.output.write_text(section)
        arguments.output.with_suffix(".json").write_text(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
