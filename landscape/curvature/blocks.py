"""Curvature by block: Frobenius norms of H_ij, traces of H_ii, their spectra and the ends of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature.density import SpectralDensity, around, spectral_density
from landscape.curvature.eigenpairs import eigenpairs
from landscape.curvature.operator import Curvature
from landscape.curvature.random_vectors import generator_of
from landscape.errors import LandscapeError
from landscape.values.result import Result
from landscape.values.spectrum import smoothed

Array = NDArray[np.float64]

BY = ("layer", "kind", "parameter", "group")
# Three digits of the largest eigenvalue of a block are enough for a picture.
_TOLERANCE, _PRODUCTS = 1e-3, 100


@dataclass(frozen=True)
class BlockNorms(Result):
    """Estimates from probes of blocks.

    Attributes:
        norms: Shape (n, n), |H_ij|_F.
        norm_errors: Shape (n, n), standard errors.
        traces: Shape (n,), tr H_ii.
        trace_errors: Shape (n,), standard errors.
        products: Products with the whole matrix that it took.
    """

    norms: Tensor
    norm_errors: Tensor
    traces: Tensor
    trace_errors: Tensor
    products: int


def blocks_of(names: Sequence[str], by: str, groups: Mapping[str, int] | None = None) -> dict[str, list[str]]:
    """Name of a block -> its parameters, in the order of the model.

    Args:
        names: The parameters.
        by: ``"layer"``: all parameters of a module; ``"kind"``: of all modules of one name, whatever their number,
            so that the blocks of a transformer fall together; ``"parameter"``: each alone; ``"group"``: the
            parameter groups of the optimizer.
        groups: Parameter -> the number of its group; those that the optimizer does not move are missing.

    Raises:
        LandscapeError: If there is no such cut, or groups are asked for and not known.

    Example:
        >>> blocks_of(["h.0.attn.weight", "h.0.attn.bias", "h.1.attn.weight"], "kind")
        {'h.attn': ['h.0.attn.weight', 'h.0.attn.bias', 'h.1.attn.weight']}
    """
    if by not in BY:
        raise LandscapeError("not a way to cut blocks", where="by", got=repr(by), expected=", ".join(BY))
    if by == "group" and groups is None:
        raise LandscapeError(
            "no recorded step says which parameters an optimizer groups",
            where="by",
            mend="use Recorder(..., optimizer=, record=('lr',)) or landscape train --record lr",
        )
    found: dict[str, list[str]] = {}
    for name in names:
        module, _, last = name.rpartition(".")
        if by == "layer":
            key = module or last
        elif by == "kind":
            key = ".".join(part for part in module.split(".") if not part.isdigit()) or module or last
        elif by == "group" and groups is not None:
            key = f"group {groups[name]}" if name in groups else "in no group"
        else:
            key = name
        found.setdefault(key, []).append(name)
    return found


def block_norms(
    operator: Curvature,
    blocks: Sequence[Sequence[str]],
    probes: int = 20,
    seed: int = 0,
    *,
    progress: Callable[[int], None] | None = None,
) -> BlockNorms:
    """Frobenius norms of all blocks, and traces of those on the diagonal.

    With v_j standard normal in block j and zero elsewhere, E |(H v_j)_i|^2 = |H_ij|_F^2 and E v_j.(H v_j)_j =
    tr H_jj: one product says so of a whole column of blocks. H_ij and H_ji are one: both estimates count.

    Args:
        operator: The matrix.
        blocks: The parameters of each block.
        probes: Random vectors of each block.
        seed: Draws them.
        progress: Called with the number of products done.

    Raises:
        LandscapeError: If there are fewer than two probes, or a parameter is in no block or in two.

    Source:
        Hutchinson 1990; the variance of normal probes.
    """
    if probes < 2:
        raise LandscapeError("errors need several probes", where="probes", got=probes, expected="2 or more")
    masks = _masks(operator, blocks)
    generator = generator_of(seed)
    count = len(masks)
    squares = torch.empty(probes, count, count, dtype=torch.float64)
    traces = torch.empty(probes, count, dtype=torch.float64)
    done = 0
    for column, mask in enumerate(masks):
        for probe in range(probes):
            vector = torch.zeros(operator.size, dtype=torch.float64)
            vector[mask] = torch.randn(int(mask.sum()), generator=generator, dtype=torch.float64)
            product = (operator @ vector).double().cpu()
            for row, other in enumerate(masks):
                squares[probe, row, column] = product[other].square().sum()
            traces[probe, column] = vector[mask] @ product[mask]
            done += 1
            if progress is not None:
                progress(done)
    mean, error = squares.mean(0), squares.std(0) / math.sqrt(probes)
    # Both estimates of H_ij, weighted by what they are worth.
    weight = 1 / error.square().clamp(min=torch.finfo(torch.float64).tiny)
    both = (weight * mean + weight.T * mean.T) / (weight + weight.T)
    joint = (1 / (weight + weight.T)).sqrt()
    diagonal = torch.eye(count, dtype=torch.bool)
    mean, error = torch.where(diagonal, mean, both), torch.where(diagonal, error, joint)
    norms = mean.clamp(min=0).sqrt()
    errors = torch.where(norms > 0, error / (2 * norms), torch.zeros_like(norms))
    return BlockNorms(norms, errors, traces.mean(0), traces.std(0) / math.sqrt(probes), done)


def block_sizes(operator: Curvature, blocks: Sequence[Sequence[str]]) -> list[int]:
    """Numbers in each block."""
    sizes = _sizes(operator)
    return [sum(sizes[name] for name in block) for block in blocks]


def _sizes(operator: Curvature) -> dict[str, int]:
    return {name: part.numel() for name, part in operator.unflatten(torch.zeros(operator.size)).items()}


def _masks(operator: Curvature, blocks: Sequence[Sequence[str]]) -> list[Tensor]:
    sizes = _sizes(operator)
    owner = {name: number for number, block in enumerate(blocks) for name in block}
    if set(owner) != set(sizes) or sum(map(len, blocks)) != len(sizes):
        raise LandscapeError("every parameter must be in one block", where="blocks")
    numbers = torch.cat([torch.full((size,), owner[name]) for name, size in sizes.items()])
    return [numbers == number for number in range(len(blocks))]


class Block:
    """A principal block of a matrix, as an operator on vectors of its own size.

    Args:
        operator: The whole matrix.
        mask: Shape (P,), what is in the block.
    """

    def __init__(self, operator: Curvature, mask: Tensor) -> None:
        self._operator, self._mask = operator, mask
        self.size = int(mask.sum())
        self.dtype, self.device = operator.dtype, operator.device

    @property
    def error(self) -> float:
        """The relative error of the last product, where products are differences."""
        return self._operator.error

    def __matmul__(self, other: Tensor) -> Tensor:
        mask = self._mask.to(other.device)
        whole = torch.zeros(self._operator.size, *other.shape[1:], dtype=other.dtype, device=other.device)
        whole[mask] = other
        return (self._operator @ whole)[mask]


@dataclass(frozen=True)
class BlockSpectra(Result):
    """Densities of the spectra of the blocks on the diagonal, on one grid.

    Attributes:
        parts: Nodes, weights and moments of each block.
        grid: Shape (points,), eigenvalues.
        densities: Shape (n, points), per unit of eigenvalue; every row integrates to 1.
        linear: Eigenvalues smaller than this are on a linear scale.
    """

    parts: tuple[SpectralDensity, ...]
    grid: Array
    densities: Array
    linear: float


def block_spectra(
    operator: Curvature,
    blocks: Sequence[Sequence[str]],
    probes: int = 4,
    steps: int = 30,
    seed: int = 0,
    *,
    width: float = 0.1,
    progress: Callable[[int], None] | None = None,
) -> BlockSpectra:
    """Density of the spectrum of every block on the diagonal, by stochastic Lanczos quadrature.

    Args:
        operator: The matrix.
        blocks: The parameters of each block.
        probes: Random vectors of each block, 2 at least.
        steps: Products of each; a block of fewer numbers takes no more than it has.
        seed: Draws the vectors.
        width: See `spectral_density`.
        progress: Called with the number of products done.
    """
    parts: list[SpectralDensity] = []
    for mask in _masks(operator, blocks):
        parts.append(spectral_density(Block(operator, mask), probes, steps, seed, width=width))
        if progress is not None:
            progress(sum(part.products for part in parts))
    linear = max((part.linear for part in parts if part.nodes.any()), default=1.0)
    ends = [float(np.arcsinh(end / linear)) for part in parts for end in (part.nodes.min(), part.nodes.max())]
    grid = linear * np.sinh(around(min(ends), max(ends), width))
    rows = [smoothed(part.nodes, part.weights, grid, linear, width).mean(axis=0) for part in parts]
    return BlockSpectra(tuple(parts), grid, np.stack(rows), linear)


def block_ends(
    operator: Curvature, blocks: Sequence[Sequence[str]], seed: int = 0
) -> tuple[list[float], list[float]]:
    """The largest and the smallest eigenvalue of every block on the diagonal; NaN where one did not converge.

    Args:
        operator: The matrix.
        blocks: The parameters of each block.
        seed: Draws the start vectors.
    """
    ends: tuple[list[float], list[float]] = ([], [])
    for mask in _masks(operator, blocks):
        for place, which in enumerate(("largest", "smallest")):
            found = eigenpairs(
                Block(operator, mask), which=which, tol=_TOLERANCE, max_products=_PRODUCTS, seed=seed
            )
            ends[place].append(float(found.values[0]) if bool(found.converged[0]) else math.nan)
    return ends
