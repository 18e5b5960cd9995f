"""Findings about a model, a loss and data, made before they are trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Gradients(Enum):
    """Which gradients a forward pass itself takes.

    Attributes:
        NONE: None, so that torch keeps no graph.
        INPUTS: With respect to inputs or intermediate results, as physics-informed losses and force fields do.
        WEIGHTS: With respect to weights, as gradient penalties and inner loops of meta-learning do.
    """

    NONE = "none"
    INPUTS = "inputs"
    WEIGHTS = "weights"


@dataclass(frozen=True)
class Findings:
    """Conditions that passes over the data have to heed.

    Attributes:
        gradients: Which gradients the forward pass takes.
        copies: Whether batches are copied before each pass, since the model or the loss writes into them.
        apart: Whether a loss that gives a number for a batch may be taken apart into examples.
        coupled: Whether the loss of an example depends on its batch, which is then never cut in another way.
    """

    gradients: Gradients = Gradients.NONE
    copies: bool = False
    apart: bool = True
    coupled: bool = False


class Origin:
    """Key under which findings about an objective are kept.

    An objective has its own first, and after it those of the objectives that it is a subset of.
    """
