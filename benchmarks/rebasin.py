"""Weight matching of Git Re-Basin beside our alignment: ``python -m benchmarks.rebasin``.

The peer is algorithm 1 of Ainsworth, Hayase & Srinivasa 2022 ("Git Re-Basin: Merging Models modulo
Permutation Symmetries", arXiv 2209.04836, section 3.2), written here from the paper: coordinate descent over
the layers in random order, each a linear assignment, from the identity, until nothing changes. Pairs are
those of the recipe ``figures/theus2025-pairs.toml``, whose cache is used; ours is what the recipe draws.

The paper has multi-layer perceptrons and convolutional networks. For transformers its permutations are
written out here as far as they go: hidden units, whole heads, and features of the residual stream, shared by
all that writes and reads it. It has none for the coordinates within heads, rescalings and rotations.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from benchmarks import machine
from landscape.objective import Objective
from landscape.plots.objectives import objective_of
from landscape.plots.paired import interval
from landscape.probes import interpolate
from landscape.recipe import load
from landscape.recipe.cache import CACHE, Cache
from landscape.recipe.graph import Graph, Where
from landscape.recipe.panel import Panel
from landscape.recipe.tasks import run_at
from landscape.recipe.values import Run

_ROOT = Path(__file__).parent.parent
_RECIPE = _ROOT / "figures" / "theus2025-pairs.toml"
_PAGE = Path(__file__).parent / "ALIGNMENT.md"
# Seeds of the order in which the peer takes the layers.
_SEEDS = 3


@dataclass(frozen=True)
class Axis:
    """A dimension of a tensor that a permutation of units moves, each unit with a block of indices."""

    tensor: str
    dim: int
    block: int = 1


# Group of units -> what its permutation moves.
Spec = Mapping[str, Sequence[Axis]]


def of_mlp(state: Mapping[str, Tensor]) -> Spec:
    """The permutations of a multi-layer perceptron: one group between each two layers."""
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    return {
        layer: [Axis(f"{layer}.weight", 0), Axis(f"{layer}.bias", 0), Axis(f"{after}.weight", 1)]
        for layer, after in itertools.pairwise(layers)
    }


def of_transformer(state: Mapping[str, Tensor], heads: int) -> Spec:
    """The permutations of `landscape.problems.transformer.Transformer`: stream, heads and hidden units."""
    width = state["norm.weight"].shape[0]
    stream = [Axis("token.weight", 1), Axis("position.weight", 1), Axis("norm.weight", 0), Axis("norm.bias", 0)]
    if "head.weight" in state:
        stream.append(Axis("head.weight", 1))
    found: dict[str, Sequence[Axis]] = {}
    for layer in sorted({name.rsplit(".attention", 1)[0] for name in state if ".attention." in name}):
        block, parts = width // heads, [f"{layer}.attention.{name}" for name in ("query", "key", "value")]
        stream += [Axis(f"{layer}.{norm}.{name}", 0) for norm in ("norm1", "norm2") for name in ("weight", "bias")]
        stream += [Axis(f"{part}.weight", 1) for part in (*parts, f"{layer}.up")]
        stream += [
            Axis(f"{layer}.{part}.{name}", 0)
            for part in ("attention.output", "down")
            for name in ("weight", "bias")
        ]
        found[f"{layer} heads"] = [
            *(Axis(f"{part}.{name}", 0, block) for part in parts for name in ("weight", "bias")),
            Axis(f"{layer}.attention.output.weight", 1, block),
        ]
        found[f"{layer} units"] = [
            Axis(f"{layer}.up.weight", 0),
            Axis(f"{layer}.up.bias", 0),
            Axis(f"{layer}.down.weight", 1),
        ]
    return {"stream": stream, **found}


def weight_matching(spec: Spec, a: Mapping[str, Tensor], b: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Permute the units of b to those of a: Ainsworth, Hayase & Srinivasa 2022, algorithm 1.

    Args:
        spec: The groups of units.
        a: The reference.
        b: The weights to be permuted.
        seed: Draws the order of the groups, in each sweep another.

    Returns:
        The permuted weights.
    """
    moved = {name: tensor.double() for name, tensor in b.items()}
    groups, source = list(spec), np.random.default_rng(seed)
    while True:
        changed = False
        for group in source.permutation(len(groups)):
            axes = spec[groups[group]]
            likeness = sum(_units(a[one.tensor].double(), one) @ _units(moved[one.tensor], one).T for one in axes)
            rows, columns = linear_sum_assignment(likeness, maximize=True)
            better = likeness[rows, columns].sum() > likeness.diagonal().sum() + 1e-12
            if better:
                changed = True
                for one in axes:
                    places = torch.arange(moved[one.tensor].shape[one.dim]).reshape(-1, one.block)
                    moved[one.tensor] = moved[one.tensor].index_select(one.dim, places[columns].reshape(-1))
        if not changed:
            return {name: tensor.to(b[name].dtype) for name, tensor in moved.items()}


def _units(tensor: Tensor, axis: Axis) -> Tensor:
    """Shape (units, numbers)."""
    return tensor.movedim(axis.dim, 0).reshape(tensor.shape[axis.dim] // axis.block, -1)


def _spec_of(run: Run, state: Mapping[str, Tensor]) -> Spec:
    if run.problem == "text-transformer":
        return of_transformer(state, heads=int(run.options.get("heads", 4)))
    return of_mlp(state)


def _rows(panel: Panel, cache: Path) -> list[str]:
    """A row for each way to bring the networks of a pair together: barriers, their mean, and distances."""
    ours = panel.values(cache)
    graph = Graph(Where())
    runs = [run_at(Cache(cache), "train", graph.add_training(run)) for run in panel.runs.values()]
    one = next(iter(panel.runs.values()))
    objective = objective_of(runs[0])
    points, field = panel.options.points, f"{panel.options.split}_loss"
    found: dict[str, tuple[list[float], list[float]]] = {}

    def keep(way: str, barrier: float, distance: float) -> None:
        own = found.setdefault(way, ([], []))
        own[0].append(barrier)
        own[1].append(distance)

    for (first, second), gains in zip(zip(runs[::2], runs[1::2], strict=True), ours.values(), strict=True):
        a, b = first[-1].weights, second[-1].weights
        spec = _spec_of(one, a)
        keep("as trained", gains[field][0], gains.distance[0])
        for seed in range(_SEEDS):
            moved = weight_matching(spec, a, b, seed)
            line = interpolate(objective, a, moved, points=points, splits=(panel.options.split,))
            if seed == 0:
                _require_same(objective, b, moved)
            keep(f"Git Re-Basin, weight matching, order {seed}", line.barriers[field], line.distance)
        for row, family in enumerate(gains.families[1:], 1):
            keep(f"ours, {'and ' if row > 1 else ''}{family}", gains[field][row], gains.distance[row])
    before = np.array(found["as trained"][0])
    rows = ["| | barrier of each pair | mean | lower by | distance |", "|---|---|---|---|---|"]
    for way, (barriers, distances) in found.items():
        each = ", ".join(f"{value:.3f}" for value in barriers)
        off = "" if way == "as trained" else interval(before - np.array(barriers)).words(3)
        rows.append(f"| {way} | {each} | {interval(barriers).words(3)} | {off} | {np.mean(distances):.4g} |")
    return [f"## {panel.title}", "", *rows, ""]


def _require_same(objective: Objective, b: Mapping[str, Tensor], moved: Mapping[str, Tensor]) -> None:
    """Fail where a permutation changes the loss: then its groups are wrong."""
    before, after = (objective.value(one, "train", "loss") for one in (b, moved))
    if abs(before - after) > 1e-5 * max(1.0, before):
        raise ValueError(f"the permutation changes the loss from {before} to {after}")


_HEAD = """# Alignment beside Git Re-Basin

Made by `python -m benchmarks.rebasin`; do not edit. Pairs of independently trained networks of
[theus2025-pairs](../figures/theus2025-pairs.toml): the barrier max L(t) - (L(0) + L(1)) / 2 of the training
loss on the straight line, in nats; means over pairs with Student's 95 % intervals, differences pair by pair.
The distance is Euclidean, its mean over pairs.

The peer is weight matching, algorithm 1 of Ainsworth, Hayase & Srinivasa 2022 (arXiv 2209.04836), written from
the paper for this page and begun at the identity, in three random orders of the layers. For the transformer its
permutations are those of hidden units, of whole heads, and one of the residual stream, shared by all that
writes and reads it; it cannot express bases within heads, rescalings, shifts and rotations. Ours adds families
of symmetries row by row; the last row has all.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cache", type=Path, default=_RECIPE.parent / CACHE, help="where the runs of the recipe are kept"
    )
    parser.add_argument("-o", "--output", type=Path, default=_PAGE)
    given = parser.parse_args(arguments)
    lines = [_HEAD]
    for panel in load(_RECIPE).panels:
        lines += _rows(panel, given.cache)
    told = machine.describe()
    lines.append(f"{told['date']}, {told['versions'].partition(', torchvision')[0]}.")
    given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
