"""Models of other libraries by name: ``torchvision:resnet18``, ``timm:NAME``, ``hf:FOLDER``. No torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from landscape.options import option
from landscape.problems.catalogue import maker
from landscape.problems.problem import Problem


@dataclass(frozen=True)
class ImageModelOptions:
    """Options of image classifiers of torchvision and timm."""

    size: int = option(32, "pixels of a side, to which images are enlarged or reduced", low=1)
    train_size: int = option(500, "training images", low=1)
    test_size: int = option(200, "test images", low=1)
    data_seed: int = option(0, "draws which images are used, and their order", low=0)


@dataclass(frozen=True)
class LanguageModelOptions:
    """Options of causal language models in a folder of Hugging Face."""

    context: int = option(64, "tokens of a sequence", low=2)
    train_size: int = option(64, "training sequences", low=1)
    test_size: int = option(16, "test sequences", low=1)
    data_seed: int = option(0, "draws which sequences are for training, and their order", low=0)


_IMAGES = "data: --data FOLDER of CIFAR-10, otherwise the digits of the package, in three equal channels"
_TEXT = "data: --data FILE or FOLDER of text, otherwise the source of Python's own standard library"
_CLASSIFIER = "an image classifier of {} with ten classes"
_LANGUAGE = "a causal language model with its tokenizer, as Hugging Face saves them"
_LIBRARIES = {
    "torchvision": (_CLASSIFIER.format("torchvision"), _IMAGES, ImageModelOptions, "make_image"),
    "timm": (_CLASSIFIER.format("timm"), _IMAGES, ImageModelOptions, "make_image"),
    "hf": (_LANGUAGE, _TEXT, LanguageModelOptions, "make_text"),
}


@functools.cache
def library_problem(name: str) -> Problem | None:
    """Return the problem of a name such as ``torchvision:resnet18``; None if it has no such form."""
    library, separator, model = name.partition(":")
    if not (separator and model and library in _LIBRARIES):
        return None
    summary, source, options, function = _LIBRARIES[library]
    return Problem(name, summary, source, options, maker("libraries", function, name))
