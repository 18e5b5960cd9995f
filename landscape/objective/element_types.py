"""Check that a model can be computed in a type of real numbers that is not its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from landscape.errors import LandscapeError
from landscape.objective.data import Split
from landscape.objective.evaluator import Evaluator
from landscape.wrappers import after_call, before_call

# What operations on tensors of several types, and Python code around them, raise.
FAULTS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError)


def require_type(evaluator: Evaluator, native: Evaluator, dtype: torch.dtype) -> None:
    """Check that a model and its loss can be computed in a type, on a few examples.

    Args:
        evaluator: In that type.
        native: In the model's own; what fails there too is not the type's fault.
        dtype: The type.

    Raises:
        LandscapeError: Naming the module that cannot.
    """
    error = _error(evaluator)
    if error is None or _error(native) is not None:
        return
    name = str(dtype).removeprefix("torch.")
    where = _culprit(evaluator)
    what = f"module '{where}' ({type(evaluator.model.get_submodule(where)).__name__})" if where else "the model"
    if _output_error(evaluator) is None:
        what, where = "the loss", "loss"
    raise LandscapeError(
        f"{what} cannot be computed in {name}",
        got=str(error).partition("\n")[0].rstrip("."),
        mend="the forward pass makes tensors of a fixed type (.float(), .to(torch.float32), torch.zeros without "
        "dtype=), or uses some that are no parameters, buffers or attributes of the model; leave --dtype out",
    ) from error


def _batch(evaluator: Evaluator) -> Split:
    return evaluator.first(evaluator.splits[0], 2)


def _raised(call: Callable[[], Any]) -> Exception | None:
    try:
        with torch.random.fork_rng(devices=[]):
            call()
    except FAULTS as error:
        return error
    return None


def _error(evaluator: Evaluator) -> Exception | None:
    return _raised(lambda: evaluator.loss_of(_batch(evaluator)))


def _output_error(evaluator: Evaluator) -> Exception | None:
    return None if evaluator.takes_model else _raised(lambda: evaluator.output(_batch(evaluator)))


def _culprit(evaluator: Evaluator) -> str:
    """The innermost module at work when a pass fails; empty for the model itself."""
    stack: list[str] = []
    handles = []
    for name, module in evaluator.model.named_modules():

        def enter(_module: nn.Module, _args: Any, name: str = name) -> None:
            stack.append(name)

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            stack.pop()

        handles += [before_call(module, enter), after_call(module, leave)]
    try:
        _error(evaluator)
    finally:
        for handle in handles:
            handle.remove()
    return stack[-1] if stack else ""
