"""The residual networks made for CIFAR-10, and the same without their shortcuts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from landscape.problems.activations import activation


class Shortcut(nn.Module):
    """Option A: every second pixel, and channels of zeros around the old ones; it has no parameters.

    Args:
        fan_in: Channels that come in.
        out: Channels that go out.
        stride: Distance of the pixels kept.
    """

    def __init__(self, fan_in: int, out: int, stride: int) -> None:
        super().__init__()
        self._before = (out - fan_in) // 2
        self._after = out - fan_in - self._before
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(n, fan_in, h, w) -> (n, out, h / stride, w / stride)."""
        thinned = x[:, :, :: self._stride, :: self._stride]
        return functional.pad(thinned, (0, 0, 0, 0, self._before, self._after))


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation; the input is added before the last nonlinearity.

    Args:
        fan_in: Channels that come in.
        out: Channels that go out.
        stride: Stride of the first convolution.
        nonlinearity: Name of the activation.
        skip: Whether the input is added; without it the block is a plain chain.
    """

    def __init__(self, fan_in: int, out: int, stride: int, nonlinearity: str, skip: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.act1 = activation(nonlinearity)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.act2 = activation(nonlinearity)
        if not skip:
            self.shortcut: nn.Module | None = None
        elif stride == 1 and fan_in == out:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = Shortcut(fan_in, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(n, fan_in, h, w) -> (n, out, h / stride, w / stride)."""
        inner = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(inner if self.shortcut is None else inner + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network for images of 32x32 pixels, of 6n + 2 layers in three stages.

    Args:
        depth: Layers, one of `DEPTHS`.
        width: Channels of the first stage; the later stages have 2 and 4 times as many.
        nonlinearity: What `landscape.problems.activations.activation` knows.
        skip: Whether blocks have shortcuts; with and without have the same parameters.

    Source:
        He et al. 2016, section 4.2, option A; without shortcuts: Li et al. 2018, section 5.
    """

    def __init__(self, depth: int = 20, width: int = 16, nonlinearity: str = "relu", skip: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.act = activation(nonlinearity)
        blocks = (depth - 2) // 6
        self.stage1 = _stage(width, width, blocks, 1, nonlinearity, skip)
        self.stage2 = _stage(width, 2 * width, blocks, 2, nonlinearity, skip)
        self.stage3 = _stage(2 * width, 4 * width, blocks, 2, nonlinearity, skip)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 32, 32) -> (n, 10) scores."""
        features = self.stage3(self.stage2(self.stage1(self.act(self.bn(self.conv(x))))))
        return self.linear(self.flatten(self.pool(features)))


def _stage(fan_in: int, out: int, blocks: int, stride: int, nonlinearity: str, skip: bool) -> nn.Sequential:
    first = Block(fan_in, out, stride, nonlinearity, skip)
    return nn.Sequential(first, *(Block(out, out, 1, nonlinearity, skip) for _ in range(blocks - 1)))
