"""Everything that decides the numbers of a result: a file with another identity holds another one."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from landscape.objective.objective import Objective
from landscape.params import Weights, digest, resolve


def identity_of(
    objective: Objective, weights: Mapping[str, Weights], splits: Sequence[str], **settings: Any
) -> dict[str, Any]:
    """Return what tells a result from others.

    Args:
        objective: What is measured.
        weights: What it is measured at: name -> weights.
        splits: On which data.
        settings: How, as plain JSON values.
    """
    return {
        **objective.fingerprint(next(iter(weights.values()))),
        **{name: digest(resolve(own)[1]) for name, own in weights.items()},
        **{f"{split} data": objective.data_digest(split) for split in splits},
        "weight_decay": objective.weight_decay,
        **settings,
        "torch": importlib.metadata.version("torch"),
        "device": objective.device.type,
    }
