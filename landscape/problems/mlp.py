"""A fully connected network."""

from __future__ import annotations

from torch import nn

from landscape.problems.activations import activation


def mlp(
    inputs: int, width: int, depth: int, classes: int, *, bias: bool = True, nonlinearity: str = "relu"
) -> nn.Sequential:
    """A chain of linear layers with a nonlinearity after each but the last.

    Args:
        inputs: Numbers per example.
        width: Units of each hidden layer.
        depth: Hidden layers; 0 is a linear map.
        classes: Outputs.
        bias: Whether layers have biases; without, and with ReLU, the output is homogeneous of degree
            ``depth + 1`` in the weights.
        nonlinearity: What `landscape.problems.activations.activation` knows.

    Returns:
        The network, (n, inputs) -> (n, classes).

    Example:
        >>> sum(p.numel() for p in mlp(64, 64, 2, 10).parameters())
        8970
    """
    layers: list[nn.Module] = []
    fan_in = inputs
    for _ in range(depth):
        layers += [nn.Linear(fan_in, width, bias=bias), activation(nonlinearity)]
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(fan_in, classes, bias=bias))
