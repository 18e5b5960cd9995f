"""A problem of your own: the model, the data and the loss, made by one function.

Train and record with ``python FILE.py``, then draw:

    landscape plot run.h5 --problem FILE.py:make --kind surface -o surface.png
    landscape plot run.h5 --problem FILE.py:make --kind trajectory -o path.png

Checkpoints that you have already become a trajectory by

    landscape import 'checkpoints/epoch*.pt' -o run.h5 --problem FILE.py:make
"""

import torch
from torch import nn
from torch.nn import functional as F

import landscape as ls


class Network(nn.Module):
    """Replace it by your own; any module will do. Dropout and batch normalisation are in evaluation mode."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A tensor of inputs comes as it is, a tuple as positional and a dictionary as named arguments."""
        return self.layers(x)


def make_data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Replace it by your own: (inputs, targets) tensors, a Dataset, or a DataLoader that does not shuffle."""
    x = torch.randn(count, 20, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


# The loss is f(output, target), as here F.cross_entropy. One that needs more is a function whose first argument is
# called model; it takes batches as your data give them:
#
#     def loss(model, batch):
#         output = model(batch["inputs"], mask=batch["mask"])
#         return F.mse_loss(output, batch["targets"], reduction="none").mean(1)    # one number per example
#
# It may give the mean of a batch (then there are no standard errors), one number per example, or a pair of sums
# and counts per example. For language models there is ls.next_token_loss.


def make(width: int = 64, seed: int = 0) -> ls.Objective:
    """Each parameter is an option: ``--set width=128``. The seed is that of the run."""
    torch.manual_seed(seed)
    return ls.Objective(
        Network(width),
        loss=F.cross_entropy,
        train=make_data(500, seed=0),
        test=make_data(500, seed=1),
        # stream=True reads a large Dataset anew at every point, batch_size=16 bounds the memory of a pass.
    )


def train(path: str = "run.h5", steps: int = 400, width: int = 64) -> None:
    """Your own training loop, with two lines for the recorder."""
    model = make(width).model
    x, y = make_data(500, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    options = {"width": width}
    with ls.Recorder(path, model, problem="FILE.py:make", problem_args=options, overwrite=True) as recorder:
        for step in range(steps + 1):
            loss = F.cross_entropy(model(x), y)
            if step % 20 == 0:
                recorder.snapshot(step, train_loss=loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    train()
