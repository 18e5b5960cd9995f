"""Residual networks whose layers widen by the same number of channels from block to block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

# Han et al. 2017: channels of the first convolution; of the output of a bottleneck per channel inside.
_FIRST, _EXPANSION = 16, 4


class PyramidBlock(nn.Module):
    """Convolutions between batch normalisations, the first of which has no nonlinearity before it.

    The shortcut has no parameters: the mean of 2x2 pixels where the stride is 2, and channels of zeros.

    Args:
        fan_in: Channels that come in.
        width: Channels of the inner convolution.
        stride: Of the first convolution of 3x3.
        bottleneck: Whether a 3x3 convolution stands between two of 1x1; otherwise there are two of 3x3.
    """

    def __init__(self, fan_in: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.out = width * (_EXPANSION if bottleneck else 1)
        sizes = [(width, 1), (width, 3), (self.out, 1)] if bottleneck else [(width, 3), (width, 3)]
        layers: list[nn.Module] = []
        for place, (channels, size) in enumerate(sizes):
            layers += [nn.BatchNorm2d(fan_in), *([nn.ReLU()] if place else [])]
            step = stride if place == (1 if bottleneck else 0) else 1
            layers += [nn.Conv2d(fan_in, channels, size, step, size // 2, bias=False)]
            fan_in = channels
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(self.out))
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, fan_in, h, w) -> (n, out, h / stride, w / stride)."""
        passed = self.shortcut(x)
        return self.layers(x) + functional.pad(passed, (0, 0, 0, 0, 0, self.out - passed.shape[1]))


class PyramidNet(nn.Module):
    """Three stages of blocks; the k-th of N blocks is alpha k / N wider than the first convolution.

    Args:
        depth: Layers, 6n + 2, or 9n + 2 with bottlenecks.
        alpha: Channels that are added from the first block to the last.
        classes: Outputs.
        bottleneck: Whether blocks are bottlenecks.

    Source:
        Han, Kim & Kim 2017, arXiv 1610.02915, sections 2 and 3.
    """

    def __init__(self, depth: int = 110, alpha: int = 48, classes: int = 10, bottleneck: bool = False) -> None:
        super().__init__()
        blocks = (depth - 2) // (9 if bottleneck else 6)
        self.first = nn.Sequential(nn.Conv2d(3, _FIRST, 3, padding=1, bias=False), nn.BatchNorm2d(_FIRST))
        stages, channels = [], _FIRST
        for number in range(3 * blocks):
            width = round(_FIRST + alpha * (number + 1) / (3 * blocks))
            stride = 2 if number in (blocks, 2 * blocks) else 1
            stages.append(PyramidBlock(channels, width, stride, bottleneck))
            channels = stages[-1].out
        self.blocks = nn.Sequential(*stages)
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, classes) scores."""
        return self.linear(self.last(self.blocks(self.first(x))))
