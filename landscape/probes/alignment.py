"""Bringing one model near to another along its symmetries, before the line between them is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.files.cells import Cells, Save
from landscape.objective import Objective
from landscape.objective.identity import identity_of
from landscape.params import Tensors, Weights, norm, resolve, subtract
from landscape.probes.lines import Progress, interpolate
from landscape.progress import portion
from landscape.projection.distances import layers_of
from landscape.symmetry import FAMILIES, symmetries_of
from landscape.symmetry import align as aligned_weights
from landscape.symmetry.search import matching_data
from landscape.values.probes import AlignmentGains


def align(objective: Objective, a: Weights, b: Weights, *, seed: int = 0, by: str = "weights") -> Tensors:
    """Model b, of the same function as before, brought near to a by all symmetries of the model.

    Permutations are matched by weights (or activations), layer after layer by linear assignment; bases of
    attention heads and streams that may be rotated are turned by Procrustes; each unit then takes the scale of the
    one that it is matched to.

    Args:
        objective: Its model and data tell which symmetries there are.
        a: The weights to come near to.
        b: The weights that move.
        seed: Draws the order in which layers are matched.
        by: What units are matched by: ``"weights"`` or ``"activations"`` on training data.

    Returns:
        Name -> tensor, buffers included.

    Raises:
        LandscapeError: If the loss takes the model itself, or the model cannot be followed.

    Source:
        Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", section 3.2; Pittorino et al. 2022, "Toroids".
    """
    return aligned_weights(objective, a, b, seed=seed, by=by)[1]


def align_all(objective: Objective, models: Mapping[str, Weights], *, seed: int = 0) -> dict[str, Weights]:
    """Several models, of the same functions as before, brought near to one another by all symmetries.

    Args:
        objective: Its model and data tell which symmetries there are.
        models: Name -> weights, at least two; the first stays where it is.
        seed: Draws the order in which layers are matched.

    Returns:
        Name -> weights, buffers included; see `landscape.symmetry.Symmetries.align_all`.

    Raises:
        LandscapeError: As of `align`.
    """
    return dict(zip(models, symmetries_of(objective).align_all(list(models.values()), seed), strict=True))


def align_by_family(
    objective: Objective, a: Weights, b: Weights, *, seed: int = 0, by: str = "weights"
) -> dict[str, Weights]:
    """Model b brought near to a by ever more families of symmetries: permutations, then scales too, and so on.

    Args:
        objective: Its model and data tell which symmetries there are.
        a: The weights to come near to.
        b: The weights that move.
        seed: Draws the order in which layers are matched.
        by: As of `align`.

    Returns:
        ``"none"`` -> b, then the family that was added -> weights; the last are those of `align`. Families that
        the model does not have are left out.

    Raises:
        LandscapeError: As of `align`.
    """
    symmetries, data = symmetries_of(objective), matching_data(objective, by)
    found: dict[str, Weights] = {"none": b}
    kinds: tuple[str, ...] = ()
    for family, own in FAMILIES.items():
        kinds += own
        if symmetries.of_kind(*own):
            found[family] = symmetries.align(a, b, seed, kinds=kinds, data=data)
    return found


def alignment_gains(
    objective: Objective,
    a: Weights,
    aligned: Mapping[str, Weights],
    *,
    points: int = 25,
    bn: str = "interpolate",
    splits: Sequence[str] | None = None,
    save: Save = None,
    prefix: str = "",
    progress: Progress | None = None,
) -> AlignmentGains:
    """The barrier and the distances that each family of symmetries leaves between two models.

    What a family gains depends on those before it: without the right permutation scales hardly matter.

    Args:
        objective: What is measured.
        a: The weights at 0.
        aligned: Family -> the weights at 1, as `align_by_family` returns them.
        points: How many on each line.
        bn: The policy for normalisation statistics.
        splits: On which data; None is all.
        save: A file of finished parts to write and to resume from.
        prefix: Of their names in it.
        progress: Called with (points done, points in all).

    Returns:
        A row per family.
    """
    how: dict[str, Any] = {"points": points, "bn": bn}
    lines = []
    with Cells.open(
        save,
        lambda: identity_of(objective, {"a": a, **aligned}, splits or objective.splits, of="alignment", **how),
    ) as cells:
        for place, (family, end) in enumerate(aligned.items()):
            told = portion(progress, place, len(aligned))
            kept: dict[str, Any] = {"save": cells, "path": f"{prefix}{family}", "progress": told}
            lines.append(interpolate(objective, a, end, splits=splits, **how, **kept))
    layout, start = resolve(a)
    apart = [subtract(resolve(end)[1], start, [one.name for one in layout.moving()]) for end in aligned.values()]
    return AlignmentGains(
        families=tuple(aligned),
        fields={name: np.array([line.barriers[name] for line in lines]) for name in lines[0].fields},
        distance=np.array([line.distance for line in lines]),
        layers={
            layer: np.array([norm({name: one[name] for name in names}) for one in apart])
            for layer, names in layers_of(list(apart[0])).items()
        },
        t=lines[0].t,
        lines={name: np.array([line[name] for line in lines]) for name in lines[0].fields},
        bn=bn,
        meta=lines[0].meta,
    )
