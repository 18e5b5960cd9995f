"""All rescalings are found, or it is said that some may have been missed.

The oracle knows nothing of the search: the exponents of a rescaling are what d output / d log|theta| maps to 0 at
all weights and inputs, so the null space of many such derivatives, stacked, is spanned by all rescalings.
It takes about 6 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

import pytest
import torch
from architectures import ARCHITECTURES
from reference import made, widened
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from landscape.symmetry import find
from landscape.symmetry.recording import plain_kernels
from landscape.symmetry.symmetries import Symmetries

# Kinds of layers that pass factors on, each in its own way.
NAMES = (
    *("linear", "identity_chain", "einsum", "parameter_dict", "conv_grouped", "conv_depthwise", "max_pools"),
    *("batch_norm1d", "batch_norm2d", "batch_norm3d", "layer_norm", "group_norm", "rms_norm", "weight_norm_new"),
    *("embedding", "rnn", "rnn_relu_stacked", "lstm_projected", "attention", "prelu", "glu", "maximum"),
    *("one_element", "resnet_bottleneck", "shufflenet"),
)
# Derivatives of so many outputs, and more where there are more weights.
ROWS, MORE = 250, 1.3
PER_PASS = 24


def normalised(x, mean, variance, gain=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Evaluation-mode batch normalisation that statistics have derivatives in; eps is next to 0 here."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    y = (x - mean.reshape(shape)) / variance.sqrt().reshape(shape)
    y = y if gain is None else y * gain.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


@dataclass
class Exponents:
    """Directions of log|theta| over all elements of all tensors that outputs depend on.

    Attributes:
        names: Of the tensors.
        sizes: Their shapes.
        live: Which elements any output depends on.
        null: Orthonormal columns, which no output feels.
    """

    names: list[str]
    sizes: list[torch.Size]
    live: Tensor
    null: Tensor

    def of(self, symmetries: Symmetries) -> Tensor:
        """The exponents of all rescalings found, as unit columns."""
        columns = []
        for one in symmetries.scalings:
            for unit in range(one.units):
                powers = {name: torch.zeros(size) for name, size in zip(self.names, self.sizes, strict=True)}
                for part in one.slices:
                    entries = zip(part.places.tolist(), part.units.tolist(), part.powers.tolist(), strict=True)
                    for place, of, power in entries:
                        if of == unit:
                            powers[part.tensor].select(part.dim, place).add_(power)
                columns.append(torch.cat([powers[name].flatten() for name in self.names]).double()[self.live])
        found = torch.stack(columns, 1) if columns else torch.zeros(int(self.live.sum()), 0).double()
        return found / found.norm(dim=0)


def exponents(model: nn.Module, draw) -> Exponents:
    """What leaves the outputs alone, from derivatives at random weights and inputs."""
    held = dict(model.named_parameters()) | {n: b for n, b in model.named_buffers() if b.is_floating_point()}
    names = [name for name, tensor in held.items() if tensor.numel()]
    size = sum(held[name].numel() for name in names)
    rows: list[Tensor] = []
    source = torch.Generator().manual_seed(0)
    while len(rows) < max(ROWS, MORE * size):
        state = {name: elsewhere(name, held[name], source).requires_grad_() for name in names}
        x = draw(len(rows))
        args, named = ((), x) if isinstance(x, dict) else (x if isinstance(x, tuple) else (x,), {})
        with plain_kernels(), torch.enable_grad(), mock.patch.object(F, "batch_norm", normalised):
            given = torch.func.functional_call(model, state, args, named)
            leaves = tree_leaves(getattr(given, "logits", given))
            flat = torch.cat([leaf.flatten() for leaf in leaves if isinstance(leaf, Tensor)])
        for _ in range(min(len(flat), PER_PASS)):
            weights = torch.randn(len(flat), generator=source, dtype=torch.float64)
            slopes = torch.autograd.grad(
                weights @ flat, list(state.values()), retain_graph=True, allow_unused=True
            )
            parts = [
                torch.zeros_like(tensor) if slope is None else slope * tensor
                for tensor, slope in zip(state.values(), slopes, strict=True)
            ]
            rows.append(torch.cat([part.detach().flatten() for part in parts]))
    stacked = torch.stack([row / row.norm() for row in rows])
    lengths = stacked.norm(dim=0)
    live = lengths > 1e-12 * lengths.max()
    _, values, right = torch.linalg.svd(stacked[:, live] / lengths[live], full_matrices=True)
    rank = int((values > 1e-9 * values[0]).sum())
    null = torch.linalg.qr(right[rank:].T / lengths[live][:, None])[0]
    return Exponents(names, [held[name].shape for name in names], live, null)


def elsewhere(name: str, tensor: Tensor, source: torch.Generator) -> Tensor:
    """Random weights, no two of them alike, and positive variances."""
    noise = torch.randn(tensor.shape, generator=source, dtype=torch.float64)
    if name.endswith("running_var"):
        return 0.5 + torch.exp(0.3 * noise)
    scale = float(tensor.detach().square().mean().sqrt()) or 0.5
    return scale * (noise if tensor.ndim > 1 else 0.6 * noise + 0.5)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_every_rescaling_is_found_or_said_to_be_missed(name):
    row = ARCHITECTURES[name]
    model = made(row)[0].double().eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # No number feels it; torch 2.11 refuses 0.
            module.eps = 1e-300

    def draw(seed: int):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return widened(row.inputs())

    symmetries, there = find(model, draw(0)), exponents(model, draw)
    found = there.of(symmetries)
    # Nothing false is found, and what is not spanned by it is owned up to.
    assert float((found - there.null @ (there.null.T @ found)).norm()) < 1e-4
    missed = there.null.shape[1] - (int(torch.linalg.matrix_rank(found)) if found.shape[1] else 0)
    if missed > 0:
        assert any(not one.settled for one in symmetries.blocked)
    if found.shape[1]:
        # The control: one rescaling fewer, and the oracle tells.
        assert int(torch.linalg.matrix_rank(found[:, 1:])) < there.null.shape[1]
