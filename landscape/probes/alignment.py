"""Bringing one model near to another along its symmetries, before the line between them is drawn."""

from __future__ import annotations

from landscape.objective import Objective
from landscape.params import Tensors, Weights
from landscape.symmetry import symmetries_of

# Examples that the forward pass is followed on.


def align(objective: Objective, a: Weights, b: Weights, *, seed: int = 0) -> Tensors:
    """Model b, of the same function as before, with hidden units ordered, signed and scaled like those of a.

    Permutations are matched by weights, layer after layer by linear assignment; each unit then takes the scale of
    the one it is matched to.

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
