"""Bringing one model near to another along its symmetries, before the line between them is drawn."""

from __future__ import annotations

from landscape.objective import Objective
from landscape.params import Tensors, Weights
from landscape.symmetry import symmetries_of


def align(objective: Objective, a: Weights, b: Weights, *, seed: int = 0) -> Tensors:
    """Model b, of the same function as before, brought near to a by all symmetries of the model.

    Permutations are matched by weights, layer after layer by linear assignment; bases of attention heads and
    streams
    that may be rotated are turned by Procrustes; each unit then takes the scale of the one it is matched to.

    Args:
        objective: Its model and data tell which symmetries there are.
        a: The weights to come near to.
        b: The weights that move.
        seed: Draws the order in which layers are matched.

    Returns:
        Name -> tensor, buffers included.

    Raises:
        LandscapeError: If the loss takes the model itself, or the model cannot be followed.

    Source:
        Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", section 3.2; Pittorino et al. 2022, "Toroids".
    """
    return symmetries_of(objective).align(a, b, seed)
