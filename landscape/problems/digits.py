"""Problems on scikit-learn's handwritten digits: they come with the package and train in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional

from landscape.options import option
from landscape.problems.activations import ACTIVATIONS
from landscape.problems.convnets import digits_cnn
from landscape.problems.data import DIGITS, DIGITS_TRAIN, digits
from landscape.problems.initial import construct
from landscape.problems.mlp import mlp
from landscape.problems.problem import Parts, Problem, Source

_DATA = "data: UCI handwritten digits (Alpaydin & Kaynak 1998), as in scikit-learn"


@dataclass(frozen=True)
class DigitsMlpOptions:
    """Options of ``digits-mlp``."""

    width: int = option(64, "units of each hidden layer", low=1)
    depth: int = option(2, "hidden layers", low=0)
    bias: bool = option(True, "whether layers have biases")
    activation: str = option("relu", "nonlinearity of the hidden layers", choices=ACTIVATIONS)
    train_size: int = option(DIGITS_TRAIN, "training examples; the rest is for testing", low=1, high=DIGITS - 1)
    data_seed: int = option(0, "draws which examples are for training, and their order", low=0)


@dataclass(frozen=True)
class DigitsCnnOptions:
    """Options of ``digits-cnn``."""

    width: int = option(16, "channels of the first layer; the others have twice as many", low=1)
    activation: str = option("relu", "nonlinearity of the hidden layers", choices=ACTIVATIONS)
    train_size: int = option(DIGITS_TRAIN, "training examples; the rest is for testing", low=1, high=DIGITS - 1)
    data_seed: int = option(0, "draws which examples are for training, and their order", low=0)


def _mlp(options: DigitsMlpOptions, seed: int, source: Source) -> Parts:
    model = construct(
        lambda: mlp(64, options.width, options.depth, 10, bias=options.bias, nonlinearity=options.activation),
        seed,
    )
    train, test = digits(options.train_size, options.data_seed)
    return Parts(model, functional.cross_entropy, train, test)


def _cnn(options: DigitsCnnOptions, seed: int, source: Source) -> Parts:
    model = construct(lambda: digits_cnn(options.width, options.activation), seed)
    train, test = digits(options.train_size, options.data_seed, images=True)
    return Parts(model, functional.cross_entropy, train, test)


PROBLEMS = (
    Problem(
        "digits-mlp",
        "a fully connected network on 8x8 handwritten digits",
        f"common baseline; {_DATA}",
        DigitsMlpOptions,
        _mlp,
    ),
    Problem(
        "digits-cnn",
        "a convolutional network with batch normalisation on 8x8 handwritten digits",
        f"common baseline; {_DATA}",
        DigitsCnnOptions,
        _cnn,
    ),
)
