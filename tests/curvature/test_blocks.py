"""Curvature by block against dense Hessians."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape import LandscapeError
from landscape.curvature import Curvature
from landscape.curvature.blocks import block_ends, block_norms, block_spectra, blocks_of


@pytest.fixture(scope="module")
def operator() -> Curvature:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(30, 3).double(), torch.randn(30, 2).double()
    return Curvature(ls.Objective(model, loss=F.mse_loss, train=(x, y)), model)


def cut(operator: Curvature, by: str) -> tuple[list[list[str]], list[slice]]:
    blocks = list(blocks_of(operator.names, by).values())
    sizes = {name: part.numel() for name, part in operator.unflatten(torch.zeros(operator.size)).items()}
    ends = np.cumsum([0, *(sum(sizes[name] for name in block) for block in blocks)])
    return blocks, [slice(*pair) for pair in itertools.pairwise(ends)]


def test_norms_and_traces_are_those_of_the_dense_matrix(operator):
    blocks, slices = cut(operator, "layer")
    matrix = operator.dense()
    found = block_norms(operator, blocks, probes=400)
    exact = torch.tensor([[matrix[a, b].norm() for b in slices] for a in slices])
    traces = torch.tensor([matrix[a, a].trace() for a in slices])
    ratios = found.norms / exact
    assert ((ratios > 0.9) & (ratios < 1.1)).all()
    assert ((found.norms - exact).abs() < 4 * found.norm_errors).all()
    assert ((found.traces - traces).abs() < 4 * found.trace_errors).all()
    assert torch.equal(found.norms, found.norms.T)


def test_errors_are_honest(operator):
    """Two thirds of estimates lie within one standard error, nearly all within two."""
    blocks, slices = cut(operator, "layer")
    matrix = operator.dense()
    exact = torch.tensor([[matrix[a, b].norm() for b in slices] for a in slices])
    off = []
    for seed in range(20):
        found = block_norms(operator, blocks, probes=30, seed=seed)
        off.append(((found.norms - exact) / found.norm_errors)[np.triu_indices(len(blocks))])
    within = (torch.cat(off).abs() < 2).double().mean().item()
    assert 0.85 < within <= 1.0


def test_the_ends_of_blocks_are_those_of_the_dense_blocks(operator):
    blocks, slices = cut(operator, "layer")
    matrix = operator.dense()
    tops, bottoms = block_ends(operator, blocks)
    for place, own in enumerate(slices):
        values = torch.linalg.eigvalsh(matrix[own, own])
        scale = values.abs().max().item()
        assert tops[place] == pytest.approx(values[-1].item(), abs=2e-2 * scale)
        assert bottoms[place] == pytest.approx(values[0].item(), abs=2e-2 * scale)


def test_spectra_of_blocks_are_those_of_the_dense_blocks(operator):
    """With as many steps as a block has numbers the nodes are its eigenvalues, and the moments agree."""
    blocks, slices = cut(operator, "layer")
    matrix = operator.dense()
    found = block_spectra(operator, blocks, probes=8, steps=100)
    assert np.trapezoid(found.densities, found.grid, axis=1) == pytest.approx(1, abs=1e-6)
    for part, density, own in zip(found.parts, found.densities, slices, strict=True):
        values = torch.linalg.eigvalsh(matrix[own, own]).numpy()
        scale = abs(values).max()
        nodes = part.nodes[part.weights > 1e-10]
        assert abs(nodes[:, None] - values[None]).min(axis=1).max() < 1e-6 * scale
        assert abs(part.mean - values.mean()) < 4 * part.mean_standard_error + 1e-12
        assert abs(part.second_moment - (values**2).mean()) < 4 * part.second_moment_standard_error + 1e-12
        mean = np.trapezoid(density * found.grid, found.grid)
        assert mean == pytest.approx(part.mean, rel=0.02, abs=2e-3 * scale)


def test_parameters_are_cut_by_layer_kind_or_one_by_one():
    names = ["emb.weight", "h.0.attn.q.weight", "h.0.mlp.weight", "h.0.mlp.bias", "h.1.attn.q.weight", "bias"]
    assert list(blocks_of(names, "layer")) == ["emb", "h.0.attn.q", "h.0.mlp", "h.1.attn.q", "bias"]
    assert list(blocks_of(names, "kind")) == ["emb", "h.attn.q", "h.mlp", "bias"]
    assert len(blocks_of(names, "parameter")) == len(names)
    groups = {name: int(name.endswith("bias")) for name in names if name != "emb.weight"}
    grouped = blocks_of(names, "group", groups)
    assert list(grouped) == ["in no group", "group 0", "group 1"]
    assert grouped["group 1"] == ["h.0.mlp.bias", "bias"]
    with pytest.raises(LandscapeError, match="not a way to cut blocks"):
        blocks_of(names, "size")
    with pytest.raises(LandscapeError, match="no recorded step says which parameters an optimizer groups"):
        blocks_of(names, "group")


def test_mistakes(operator):
    blocks, _ = cut(operator, "layer")
    with pytest.raises(LandscapeError, match="errors need several probes"):
        block_norms(operator, blocks, probes=1)
    with pytest.raises(LandscapeError, match="every parameter must be in one block"):
        block_norms(operator, blocks[:-1])
