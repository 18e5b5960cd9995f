"""Problems on scikit-learn's handwritten digits: they come with the package and train in seconds."""

from __future__ import annotations

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
    return Parts(model, functional.cross_entropy, train, test)


def make_cnn(options: DigitsCnnOptions, seed: int, source: Source) -> Parts:
    """The parts of ``digits-cnn``."""
    model = construct(lambda: digits_cnn(options.width, options.activation), seed)
    train, test = digits(options.train_size, options.data_seed, images=True)
    return Parts(model, functional.cross_entropy, train, test)
