"""Plain convolutional networks with batch normalisation."""

from __future__ import annotations

from torch import nn

from landscape.problems.activations import activation


def _convolution(
    fan_in: int, out: int, nonlinearity: str, *, stride: int = 1, affine: bool = True
) -> list[nn.Module]:
    return [
        nn.Conv2d(fan_in, out, kernel_size=3, stride=stride, padding=1),
        nn.BatchNorm2d(out, affine=affine),
        activation(nonlinearity),
    ]


def _hidden(fan_in: int, out: int, nonlinearity: str, *, affine: bool = True) -> list[nn.Module]:
    return [nn.Linear(fan_in, out), nn.BatchNorm1d(out, affine=affine), activation(nonlinearity)]


def digits_cnn(width: int = 16, nonlinearity: str = "relu") -> nn.Sequential:
    """Three 3x3 convolutions with batch normalisation for images of 8x8 pixels.

    Args:
        width: Channels of the first layer; the others have twice as many.
        nonlinearity: What `landscape.problems.activations.activation` knows.

    Returns:
        The network, (n, 1, 8, 8) -> (n, 10).
    """
    return nn.Sequential(
        *_convolution(1, width, nonlinearity),
        *_convolution(width, 2 * width, nonlinearity),
        nn.AvgPool2d(2),
        *_convolution(2 * width, 2 * width, nonlinearity),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
    )


def cnn6(width: int = 32, nonlinearity: str = "relu") -> nn.Sequential:
    """The small network of Theory II for images of 32x32 pixels, as far as the paper says what it is.

    The paper gives: six layers with the input counted, all convolutions 3x3 with stride 2, no pooling,
    batch normalisation between hidden layers with scale and shift not learned, 188,810 parameters.
    Channels are not given. Three convolutions of 32, 64, 64 channels and a hidden layer of 128 units,
    all with biases, have exactly 188,810 parameters [matches the reported parameter count]; other
    widths do so too, and these are the roundest of them.

    Args:
        width: Channels of the first layer; the others have 2, 2 and 4 times as many.
        nonlinearity: What `landscape.problems.activations.activation` knows.

    Returns:
        The network, (n, 3, 32, 32) -> (n, 10).

    Source:
        Liao & Poggio 2017, "Theory II", settings of the CIFAR-10 experiments.
    """
    return nn.Sequential(
        *_convolution(3, width, nonlinearity, stride=2, affine=False),
        *_convolution(width, 2 * width, nonlinearity, stride=2, affine=False),
        *_convolution(2 * width, 2 * width, nonlinearity, stride=2, affine=False),
        nn.Flatten(),
        *_hidden(2 * width * 4 * 4, 4 * width, nonlinearity, affine=False),
        nn.Linear(4 * width, 10),
    )


def vgg9(width: int = 64, nonlinearity: str = "relu") -> nn.Sequential:
    """The first seven convolutions of VGG-16 and two linear layers, for images of 32x32 pixels.

    Batch normalisation follows every convolution and the first linear layer; maxima over 2x2 pixels
    follow the 2nd, 4th and 7th convolution.

    Args:
        width: Channels of the first layer; later ones have 1, 2, 2, 4, 4, 4 and, in the hidden linear
            layer, 4 times as many.
        nonlinearity: What `landscape.problems.activations.activation` knows.

    Returns:
        The network, (n, 3, 32, 32) -> (n, 10).

    Source:
        Li et al. 2018, section 3; Simonyan & Zisserman 2015, table 1, configuration D.
    """
    layers: list[nn.Module] = []
    fan_in = 3
    for stage in ((width,) * 2, (2 * width,) * 2, (4 * width,) * 3):
        for out in stage:
            layers += _convolution(fan_in, out, nonlinearity)
            fan_in = out
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        *_hidden(fan_in * 4 * 4, 4 * width, nonlinearity),
        nn.Linear(4 * width, 10),
    )
