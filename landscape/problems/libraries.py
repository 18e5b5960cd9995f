"""Image classifiers of torchvision and timm, language models of Hugging Face: whatever their libraries build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import LandscapeError, from_user_code, optional
from landscape.problems.data import digits, order, read_text
from landscape.problems.image_data import cifar10
from landscape.problems.library_names import ImageModelOptions, LanguageModelOptions
from landscape.problems.problem import Pair, Parts, Source

_CLASSES = 10


def make_image(options: ImageModelOptions, seed: int, source: Source, name: str) -> Parts:
    """The parts of ``torchvision:NAME`` and ``timm:NAME``."""
    library, _, builder = name.partition(":")
    module = optional("torchvision.models" if library == "torchvision" else library, name)

    def build() -> nn.Module:
        make = module.get_model if library == "torchvision" else module.create_model
        # Vision transformers are built for one size of images.
        sized = {"image_size" if library == "torchvision" else "img_size": options.size}
        arguments: dict[str, Any] = {"num_classes": _CLASSES} | (sized if "vit" in builder else {})
        made: nn.Module = make(builder, **arguments)
        return made

    try:
        # The initial weights are the library's own, without a trace in the global random state.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build()
    except Exception as error:
        # Whatever a library raises for a name that it does not have, or a size that does not fit.
        raise from_user_code(error, name) from error
    if source.path is None:
        pairs = digits(options.train_size, options.data_seed, images=True)
        train, test = pairs[0], (pairs[1][0][: options.test_size], pairs[1][1][: options.test_size])
    else:
        train, test = cifar10(
            source.path,
            train_size=options.train_size,
            test_size=options.test_size,
            data_seed=options.data_seed,
            download=source.download,
        )
    return Parts(model, functional.cross_entropy, _sized(train, options.size), _sized(test, options.size))


def _sized(pair: Pair, size: int) -> Pair:
    images = functional.interpolate(pair[0], size=(size, size), mode="bilinear", antialias=True)
    return images.expand(-1, 3, -1, -1).contiguous(), pair[1]


def make_text(options: LanguageModelOptions, seed: int, source: Source, name: str) -> Parts:
    """The parts of ``hf:FOLDER``, whose initial weights are those in the folder."""
    folder = Path(name.partition(":")[2]).expanduser()
    if not (folder / "config.json").is_file():
        raise LandscapeError(
            "is no folder of a Hugging Face model",
            where=folder,
            got="no config.json",
            mend="save one with model.save_pretrained(FOLDER) and tokenizer.save_pretrained(FOLDER)",
        )
    transformers = optional("transformers", name)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise from_user_code(error, folder) from error
    where, content = read_text(source.path)
    wanted = options.train_size + options.test_size
    # Enough text for every sequence, of whatever language: a token is rarely longer than a dozen bytes.
    text = content[: 16 * wanted * options.context].decode("utf-8", "ignore")
    tokens = torch.tensor(tokenizer(text, verbose=False)["input_ids"])
    count = len(tokens) // options.context
    if count < wanted:
        raise LandscapeError(
            "the text is too short",
            where=where,
            got=f"{count} sequences of {options.context} tokens",
            expected=f"at least {wanted} (train_size + test_size)",
            mend="give a longer text by --data, or lower train_size, test_size or context",
        )
    sequences = tokens[: count * options.context].view(count, options.context)
    chosen = sequences[torch.from_numpy(order(count, options.data_seed)[:wanted])]
    train, test = chosen[: options.train_size], chosen[options.train_size :]
    return Parts(_Scores(model), functional.cross_entropy, _next(train), _next(test))


def _next(sequences: Tensor) -> Pair:
    return sequences[:, :-1].contiguous(), sequences[:, 1:].contiguous()


class _Scores(nn.Module):
    """A causal language model whose output is its scores, shape (sequences, vocabulary, tokens)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.model(input_ids=tokens, use_cache=False).logits
        return scores.transpose(1, 2)
