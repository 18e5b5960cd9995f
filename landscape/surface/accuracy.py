"""Distance between the numbers of an engine and those in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape.errors import LandscapeError
from landscape.projection import Plane
from landscape.surface.engine import Choice, build, plain_choice
from landscape.surface.sequential import Point
from landscape.surface.task import Task

# Enough to see the rounding of a type; few enough to cost seconds in float64.
_EXAMPLES = 128
_POINTS = 3
# What may be spent on it: that share of the run, or so many seconds.
_SHARE = 0.05
_SECONDS = 2.0
# What a point costs, in points of the run: once as asked, and once in float64, which takes twice as long or more.
_COST = 3


def require_fast(dtype: torch.dtype | None, own: str, device: torch.device) -> None:
    """Check that a preview in bfloat16 is faster than the slice itself.

    Args:
        dtype: The type that is asked for; None is the model's own.
        own: The name of the model's own type.
        device: Where it is computed.

    Raises:
        LandscapeError: If the device has no instructions for bfloat16, and the model is not of that type itself.
    """
    if dtype == torch.bfloat16 and own != "bfloat16" and not has_bfloat16(device):
        # Measured on AVX2 and on AVX-512 without the extension.
        raise LandscapeError(
            "bfloat16 would take 7 to 18 times as long as float32: this processor has no instructions for it",
            where="dtype",
            mend="leave it out, or try preview=0.01 (--preview 0.01)",
        )


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 by instructions of its own (AVX-512 BF16, AMX, Arm, CUDA)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    # Older versions of torch do not tell.
    told: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any("bf16" in name for name, has in told.items() if has) or "bf16" in _flags()


def _flags() -> str:
    """The flags of the processor, where the system tells them in a file."""
    with suppress(OSError), Path("/proc/cpuinfo").open() as file:
        return next((line for line in file if line.startswith(("flags", "Features"))), "")
    return ""


def affordable(task: Task, points: int, seconds: float) -> int:
    """On how many examples the error of a type can be measured for a small share of a run.

    Args:
        task: What is measured.
        points: The points of the run.
        seconds: What they are expected to take.
    """
    allowed = max(_SECONDS, _SHARE * seconds)
    whole = _POINTS * _COST * max(seconds, 1e-9) / points
    return min(_EXAMPLES, int(task.objective.data[task.splits[0]].count * allowed / whole))


def dtype_error(
    choice: Choice, task: Task, plane: Plane, points: Sequence[Point], seconds: float = 0.0
) -> dict[str, Any]:
    """The error of the mean loss against float64, on some of the examples and on points spread over a slice.

    Args:
        choice: The engine whose error is wanted.
        task: What is measured; of the splits the first counts.
        plane: Where.
        points: All points of the slice.
        seconds: What they are expected to take; the longer a point takes, the fewer examples are tried.

    Returns:
        The largest relative error (0 where float64 is exact or infinite too), and of how many points and examples;
        or ``unchecked``, the reason why it is not known.
    """
    try:
        return _measured(choice, task, plane, points, seconds)
    except (LandscapeError, RuntimeError, MemoryError) as error:
        # The slice itself is well; what was to be said of it beside must not end it.
        return {
            "unchecked": " ".join(str(error).replace("; leave --dtype out", "").split()) or type(error).__name__
        }


def _measured(choice: Choice, task: Task, plane: Plane, points: Sequence[Point], seconds: float) -> dict[str, Any]:
    splits = task.splits[:1]
    examples = min(task.objective.data[splits[0]].count, max(2, affordable(task, len(points), seconds)))
    few = task.objective.subset(examples, splits=splits) if examples >= 2 else task.objective
    recalibrate = min(task.recalibrate, examples)
    short = replace(task, objective=few, splits=splits, metrics=("loss",), recalibrate=recalibrate)
    chosen = [points[len(points) * place // _POINTS] for place in range(_POINTS)]
    alone = replace(choice, streams=1)
    if choice.engine != "batched":
        alone = replace(alone, chunk=1)

    def losses(how: Choice, what: Task) -> np.ndarray[Any, Any]:
        engine = build(how, what, plane)
        return np.array([estimates[what.fields[0]].mean for estimates in engine.evaluate(chosen)])

    exact = losses(plain_choice(few), replace(short, dtype=torch.float64))
    found = losses(alone, short)
    with np.errstate(all="ignore"):
        relative = np.where(found == exact, 0.0, np.abs(found - exact) / np.abs(exact))
    finite = np.isfinite(exact) & np.isfinite(relative)
    return {
        "largest_relative": float(relative[finite].max()) if finite.any() else 0.0,
        "points": int(finite.sum()),
        "examples": examples,
    }
