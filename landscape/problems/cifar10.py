"""Problems on CIFAR-10 with the networks of the papers."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.nn import functional

from landscape.problems.catalogue import CifarOptions, Cnn6Options, ResNetOptions, Vgg9Options
from landscape.problems.convnets import cnn6, vgg9
from landscape.problems.image_data import cifar10
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Source
from landscape.problems.resnet import ResNet


def _parts(make: Callable[[], nn.Module], options: CifarOptions, seed: int, source: Source) -> Parts:
    if not source.examples:
        return Parts(construct(make, seed), functional.cross_entropy, None)
    train, test = cifar10(
        source.path,
        train_size=options.train_size,
        test_size=options.test_size,
        data_seed=options.data_seed,
        download=source.download,
    )
    return Parts(construct(make, seed), functional.cross_entropy, train, test)


def make_cnn6(options: Cnn6Options, seed: int, source: Source) -> Parts:
    """The parts of ``cifar10-cnn6``."""
    return _parts(lambda: cnn6(options.width, options.activation), options, seed, source)


def make_vgg9(options: Vgg9Options, seed: int, source: Source) -> Parts:
    """The parts of ``cifar10-vgg9``."""
    return _parts(lambda: vgg9(options.width, options.activation), options, seed, source)


def make_resnet(options: ResNetOptions, seed: int, source: Source) -> Parts:
    """The parts of ``cifar10-resnet20``."""
    return _parts(lambda: ResNet(options.depth, options.width, options.activation), options, seed, source)


def make_noskip(options: ResNetOptions, seed: int, source: Source) -> Parts:
    """The parts of ``cifar10-resnet20-noskip``."""
    return _parts(
        lambda: ResNet(options.depth, options.width, options.activation, skip=False), options, seed, source
    )
