"""Batch normalisation as other coordinates: each unit's pre-activations are centred and scaled over the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.params import Tensors
from landscape.symmetry.recording import private_copy
from landscape.symmetry.reparametrisation import Reparametrisation

# Layer -> the dimension of its output that counts units.
_UNITS = {nn.Linear: -1, nn.Conv1d: 1, nn.Conv2d: 1, nn.Conv3d: 1}


def batch_normalised(
    model: nn.Module, layers: Sequence[str], inputs: Tensor, *, eps: float = 0.0
) -> Reparametrisation:
    """Batch normalisation: each filter w with its bias c is s v / σ and b - s m / σ, of which |v| means nothing.

    m and σ² - eps are mean and variance of v . x over the data and positions, x what comes into the layer there.
    So the weights depend on the data, and those of a layer on the coordinates of all layers before it: this is
    what a network with batch normalisation computes in training mode, when all data are one batch. With eps = 0
    grad L . v = 0 and H(a v) = H(v) / a². Coordinates are named ``<layer>.v``, ``<layer>.s`` and ``<layer>.b``;
    other parameters stay as they are.

    Args:
        model: The model whose weights are the image; a copy of it is run in evaluation mode.
        layers: Names of linear or convolutional layers with a bias, in the order of the forward pass.
        inputs: The data, as the model takes them.
        eps: Added to variances.

    Raises:
        LandscapeError: If there is no such layer, it has no bias or does not run, or a unit is constant over the
            data.

    Source:
        Ioffe & Szegedy 2015; Dinh et al. 2017, section 5.1.
    """
    modules = dict(model.named_modules())
    for layer in layers:
        if type(modules.get(layer)) not in _UNITS:
            known = [name for name, module in modules.items() if type(module) in _UNITS]
            raise LandscapeError(f"'{layer}' is no linear or convolutional layer", expected=", ".join(known))
        if modules[layer].bias is None:
            raise LandscapeError("a layer without a bias cannot be centred", where=layer)
    own = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}

    def forward(eta: Tensors) -> Tensors:
        kept = {name: tensor for name, tensor in eta.items() if name in parameters}
        # What later layers weigh has no part in what comes into earlier ones.
        theta = {name: tensor.detach().to(_like(eta)) for name, tensor in model.named_parameters()} | kept
        for layer in layers:
            v, s, b = (eta[f"{layer}.{part}"] for part in ("v", "s", "b"))
            mean, scale = _moments(model, theta, layer, v, inputs, eps)
            theta[f"{layer}.weight"] = v * (s / scale).reshape(-1, *(1,) * (v.ndim - 1))
            theta[f"{layer}.bias"] = b - s * mean / scale
        return theta

    def inverse(theta: Tensors) -> Tensors:
        eta = {name: theta[name] for name in theta if name not in own}
        for layer in layers:
            weight = theta[f"{layer}.weight"]
            mean, scale = _moments(model, theta, layer, weight, inputs, eps)
            eta[f"{layer}.v"], eta[f"{layer}.s"], eta[f"{layer}.b"] = weight, scale, theta[f"{layer}.bias"] + mean
        return eta

    parameters = {name for name, _ in model.named_parameters()} - own
    return Reparametrisation("batch normalisation", forward, inverse)


def _like(tensors: Tensors) -> Tensor:
    return next(iter(tensors.values()))


def _moments(
    model: nn.Module, theta: Tensors, layer: str, v: Tensor, inputs: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Mean and sqrt(variance + eps) of each unit's v . x over the data and positions, shape (units,)."""
    # Hooks on a copy: other threads may run the model.
    own = private_copy(model)
    module, met = own.get_submodule(layer), []
    module.register_forward_pre_hook(lambda _module, given: met.append(given[0]))
    torch.func.functional_call(own, theta, (inputs.to(v.dtype) if inputs.is_floating_point() else inputs,))
    if len(met) != 1:
        raise LandscapeError("the layer does not run once in a forward pass", where=layer, got=f"{len(met)} times")
    zero = torch.zeros(len(v), dtype=v.dtype, device=v.device)
    found = torch.func.functional_call(module, {"weight": v, "bias": zero}, (met.pop(),))
    units = found.movedim(_UNITS[type(module)], 0).flatten(1)
    mean = units.mean(1)
    variance = (units - mean[:, None]).square().mean(1) + eps
    if not bool((variance.detach() > 0).all()):
        raise LandscapeError("a unit is constant over the data and cannot be scaled", where=layer)
    return mean, variance.sqrt()
