"""A language model over the bytes of a text."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional

from landscape.errors import LandscapeError
from landscape.options import option
from landscape.problems.activations import ACTIVATIONS
from landscape.problems.data import text
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Problem, Source
from landscape.problems.transformer import Transformer

_NAME = "text-transformer"


@dataclass(frozen=True)
class TransformerOptions:
    """Options of ``text-transformer``."""

    layers: int = option(2, "attention layers", low=1)
    width: int = option(128, "numbers per token; heads divides it", low=1)
    heads: int = option(4, "attention heads", low=1)
    context: int = option(64, "bytes of a sequence", low=1)
    tied: bool = option(True, "whether the output layer is the embedding itself")
    activation: str = option("gelu", "nonlinearity of the hidden layers", choices=ACTIVATIONS)
    train_size: int = option(512, "training sequences", low=1)
    test_size: int = option(128, "test sequences", low=1)
    data_seed: int = option(0, "draws which sequences are for training, and their order", low=0)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise LandscapeError(
                "option 'heads' must divide option 'width'",
                where=_NAME,
                got=f"heads {self.heads}, width {self.width}",
            )


def _transformer(options: TransformerOptions, seed: int, source: Source) -> Parts:
    train, test = text(
        source.path,
        context=options.context,
        train_size=options.train_size,
        test_size=options.test_size,
        data_seed=options.data_seed,
    )
    model = construct(
        lambda: Transformer(
            options.layers,
            options.width,
            options.heads,
            options.context,
            tied=options.tied,
            nonlinearity=options.activation,
        ),
        seed,
    )
    return Parts(model, functional.cross_entropy, train, test)


PROBLEMS = (
    Problem(
        _NAME,
        "a small causal transformer that predicts the next byte of a text",
        "Vaswani et al. 2017, Radford et al. 2019, section 2.3; data: --data FILE or FOLDER, otherwise the source "
        "of Python's own standard library",
        TransformerOptions,
        _transformer,
    ),
)
