"""Networks that an explorer page can compute, with a little data."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.objective import Objective


class Residual(nn.Module):
    """Convolutions, batch normalisation, additions, pooling and activations of every kind that a page knows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, (3, 1), padding=(2, 0), dilation=(2, 1), groups=2)
        self.third = nn.Conv2d(4, 6, 3, stride=2)
        self.acts = nn.ModuleList([nn.GELU(), nn.SiLU(), nn.LeakyReLU(0.2)])
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.acts[0](self.norm(self.first(x)))
        x = self.acts[1](x + self.second(x))
        x = functional.avg_pool2d(self.pool(self.acts[2](self.third(x))), 2)
        return self.last(torch.flatten(functional.adaptive_avg_pool2d(torch.tanh(x), 1), 1))


def residual() -> Objective:
    torch.manual_seed(0)
    model = Residual()
    # Statistics and gains as training leaves them: neither 0 nor 1.
    for tensor in (model.norm.running_mean, model.norm.weight, model.norm.bias):
        nn.init.normal_(tensor, 0.5, 0.3)
    nn.init.uniform_(model.norm.running_var, 0.5, 2.0)
    return Objective(
        model, loss=functional.cross_entropy, train=(torch.randn(20, 2, 13, 11), torch.arange(20) % 3)
    )


class Shortcut(nn.Module):
    """A residual block whose shortcut leaves out pixels and adds channels of zeros (He et al. 2016, option A)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, padding="same")
        self.norm, self.last = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        inner = functional.gelu(functional.elu(self.first(x), 0.7), approximate="tanh")
        return self.last(self.norm((self.second(inner) + shortcut).mean((2, 3))))


def shortcut() -> Objective:
    torch.manual_seed(2)
    return Objective(
        Shortcut(), loss=functional.cross_entropy, train=(torch.randn(20, 2, 7, 6), torch.arange(20) % 3)
    )


def perceptron() -> Objective:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(9, 2), nn.ReLU())
    model = nn.Sequential(*model, nn.Linear(2, 2))
    return Objective(model, loss=nn.MSELoss(), train=(torch.randn(20, 2, 3), torch.randn(20, 2)))
