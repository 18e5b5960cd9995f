"""A language model over the bytes of a text."""

from __future__ import annotations

from torch.nn import functional

from landscape.problems.catalogue import TransformerOptions
from landscape.problems.data import text
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Source
from landscape.problems.transformer import Transformer


def make_transformer(options: TransformerOptions, seed: int, source: Source) -> Parts:
    """The parts of ``text-transformer``."""
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
