"""Descriptions of a model and a loss that survive a restart."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from torch import nn


def structure_of(model: nn.Module, loss: Any) -> dict[str, str]:
    """The structure of a model, as a digest, and the name of a loss."""
    said, name = (re.sub(r" at 0x[0-9a-f]+", "", repr(part)) for part in (model, loss))
    return {
        "model": hashlib.sha256(said.encode()).hexdigest(),
        "loss": getattr(loss, "__qualname__", None) or name,
    }
