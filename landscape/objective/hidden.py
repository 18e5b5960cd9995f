"""Parameters that a model uses and does not register: they stay while its weights move."""

from __future__ import annotations

import torch

from landscape.copies import hidden_in
from landscape.objective.buffers import tensors_in
from landscape.objective.evaluator import Evaluator

# Places that are named; of more their number is said.
_NAMED = 3


def hidden_note(evaluator: Evaluator) -> str | None:
    """Note parameters that are reachable from a model, not registered, and change its output.

    Args:
        evaluator: Holds a copy of the model; it is left as it was.

    Returns:
        One sentence; None where there are no such parameters.
    """
    hidden = hidden_in(evaluator.model).parameters
    if not hidden:
        return None
    batch = evaluator.first(evaluator.splits[0], 2)
    kept = {name: parameter.data for name, parameter in hidden.items()}
    with torch.random.fork_rng(devices=[]):
        before = tensors_in(evaluator.output(batch))
        try:
            for name, parameter in hidden.items():
                parameter.data = 1.5 * kept[name] + 0.1 if parameter.is_floating_point() else kept[name]
            after = tensors_in(evaluator.output(batch))
        finally:
            for name, parameter in hidden.items():
                parameter.data = kept[name]
    if all(map(torch.equal, before, after)):
        return None
    places = ", ".join(list(hidden)[:_NAMED]) + (", ..." if len(hidden) > _NAMED else "")
    numbers = sum(parameter.numel() for parameter in hidden.values())
    return (
        f"{numbers:,} numbers in {len(hidden)} parameters are used but not registered ({places}): they are in no "
        "state_dict and do not move; hold modules in nn.ModuleList or nn.ModuleDict"
    )
