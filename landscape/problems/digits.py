"""Problems on scikit-learn's handwritten digits: they come with the package and train in seconds."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from landscape.problems.catalogue import DigitsCnnOptions, DigitsMlpOptions
from landscape.problems.convnets import digits_cnn
from landscape.problems.data import digits
from landscape.problems.initial import construct
from landscape.problems.mlp import mlp
from landscape.problems.problem import Parts, Source


def make_mlp(options: DigitsMlpOptions, seed: int, source: Source) -> Parts:
    """The parts of ``digits-mlp``."""
    model = construct(
        lambda: mlp(64, options.width, options.depth, 10, bias=options.bias, nonlinearity=options.activation),
        seed,
    )
    train, test = digits(options.train_size, options.data_seed)
    square = options.loss == "square"
    loss = half_squared_distance if square else functional.cross_entropy
    return Parts(model, loss, train, test, unit="" if square else "nats")


def make_cnn(options: DigitsCnnOptions, seed: int, source: Source) -> Parts:
    """The parts of ``digits-cnn``."""
    model = construct(lambda: digits_cnn(options.width, options.activation), seed)
    train, test = digits(options.train_size, options.data_seed, images=True)
    return Parts(model, functional.cross_entropy, train, test)


def half_squared_distance(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Half the squared distance of each output from its one-hot label."""
    wanted = functional.one_hot(target, output.shape[-1]).to(output)
    each = 0.5 * (output - wanted).square().sum(dim=-1)
    return each.mean() if reduction == "mean" else each.sum() if reduction == "sum" else each
