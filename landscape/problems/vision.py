"""Problems on CIFAR-10, CIFAR-100 and folders of images with networks of torchvision, and PyramidNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn
from torch.nn import functional

from landscape.errors import optional
from landscape.problems.catalogue import ImageOptions, PyramidNetOptions
from landscape.problems.image_data import classes_of, images
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Source
from landscape.problems.pyramidnet import PyramidNet


def _parts(make: Callable[[int], nn.Module], options: ImageOptions, seed: int, source: Source) -> Parts:
    classes = classes_of(source.path, options.dataset)
    model = construct(lambda: make(classes), seed)
    # Layers that overwrite their inputs have no second derivatives in some transformations.
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
    if not source.examples:
        return Parts(model, functional.cross_entropy, None)
    train, test = images(
        source.path,
        options.dataset,
        train_size=options.train_size,
        test_size=options.test_size,
        data_seed=options.data_seed,
        download=source.download,
    )
    return Parts(model, functional.cross_entropy, train, test)


def _torchvision(problem: str) -> Any:
    return optional("torchvision.models", problem)


def make_resnet18(options: ImageOptions, seed: int, source: Source) -> Parts:
    """The parts of ``resnet18``."""

    def make(classes: int) -> nn.Module:
        model: nn.Module = _torchvision("resnet18").resnet18(num_classes=classes)
        # He et al. 2016, section 4.2: small images are not thinned out before the first block.
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
        return model

    return _parts(make, options, seed, source)


def make_densenet121(options: ImageOptions, seed: int, source: Source) -> Parts:
    """The parts of ``densenet121``."""

    def make(classes: int) -> nn.Module:
        model: nn.Module = _torchvision("densenet121").densenet121(num_classes=classes)
        features = model.get_submodule("features")
        # Huang et al. 2017, section 4.2: the same.
        features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        features.pool0 = nn.Identity()
        return model

    return _parts(make, options, seed, source)


def make_efficientnet(options: ImageOptions, seed: int, source: Source) -> Parts:
    """The parts of ``efficientnet-b0``."""

    def make(classes: int) -> nn.Module:
        # Without dropout and dropped blocks: the loss is a function of the weights.
        model: nn.Module = _torchvision("efficientnet-b0").efficientnet_b0(
            num_classes=classes, dropout=0.0, stochastic_depth_prob=0.0
        )
        cast(nn.Conv2d, model.get_submodule("features.0.0")).stride = (1, 1)
        return model

    return _parts(make, options, seed, source)


def make_pyramidnet(options: PyramidNetOptions, seed: int, source: Source) -> Parts:
    """The parts of ``pyramidnet``."""
    return _parts(
        lambda classes: PyramidNet(options.depth, options.alpha, classes, options.bottleneck),
        options,
        seed,
        source,
    )
