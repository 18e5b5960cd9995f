"""Problems on CIFAR-10 with the networks of the papers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.nn import functional

from landscape.options import option
from landscape.problems.activations import ACTIVATIONS
from landscape.problems.cifar_data import TEST_SIZE, TRAIN_SIZE, cifar10
from landscape.problems.convnets import cnn6, vgg9
from landscape.problems.initial import construct
from landscape.problems.problem import Parts, Problem, Source
from landscape.problems.resnet import DEPTHS, ResNet

_DATA = "data: CIFAR-10 (Krizhevsky 2009), no augmentation"


@dataclass(frozen=True)
class CifarOptions:
    """Options of every problem on CIFAR-10."""

    activation: str = option("relu", "nonlinearity of the hidden layers", choices=ACTIVATIONS)
    train_size: int = option(
        TRAIN_SIZE, "training images, as many of each class as of any other", low=1, high=TRAIN_SIZE
    )
    test_size: int = option(TEST_SIZE, "test images, as many of each class as of any other", low=1, high=TEST_SIZE)
    data_seed: int = option(0, "draws which images are used, and their order", low=0)


@dataclass(frozen=True)
class Cnn6Options(CifarOptions):
    """Options of ``cifar10-cnn6``."""

    width: int = option(32, "channels of the first layer; the others have 2, 2 and 4 times as many", low=1)


@dataclass(frozen=True)
class Vgg9Options(CifarOptions):
    """Options of ``cifar10-vgg9``."""

    width: int = option(64, "channels of the first layer; the last has 4 times as many", low=1)


@dataclass(frozen=True)
class ResNetOptions(CifarOptions):
    """Options of ``cifar10-resnet20`` and ``cifar10-resnet20-noskip``."""

    width: int = option(16, "channels of the first stage; the others have 2 and 4 times as many", low=1)
    depth: int = option(20, "layers, 6n + 2", choices=DEPTHS)


def _parts(make: Callable[[], nn.Module], options: CifarOptions, seed: int, source: Source) -> Parts:
    train, test = cifar10(
        source.path,
        train_size=options.train_size,
        test_size=options.test_size,
        data_seed=options.data_seed,
        download=source.download,
    )
    return Parts(construct(make, seed), functional.cross_entropy, train, test)


def _cnn6(options: Cnn6Options, seed: int, source: Source) -> Parts:
    return _parts(lambda: cnn6(options.width, options.activation), options, seed, source)


def _vgg9(options: Vgg9Options, seed: int, source: Source) -> Parts:
    return _parts(lambda: vgg9(options.width, options.activation), options, seed, source)


def _resnet(options: ResNetOptions, seed: int, source: Source) -> Parts:
    return _parts(lambda: ResNet(options.depth, options.width, options.activation), options, seed, source)


def _noskip(options: ResNetOptions, seed: int, source: Source) -> Parts:
    return _parts(
        lambda: ResNet(options.depth, options.width, options.activation, skip=False), options, seed, source
    )


PROBLEMS = (
    Problem(
        "cifar10-cnn6",
        "a small network of strided convolutions, 188,810 parameters",
        f"Liao & Poggio 2017, Theory II, settings of the CIFAR-10 experiments; {_DATA}",
        Cnn6Options,
        _cnn6,
        needs_data=True,
    ),
    Problem(
        "cifar10-vgg9",
        "the first seven convolutions of VGG-16 and two linear layers",
        f"Li et al. 2018, section 3; {_DATA}",
        Vgg9Options,
        _vgg9,
        needs_data=True,
    ),
    Problem(
        "cifar10-resnet20",
        "a residual network of 20 layers (or 32, 56, 110)",
        f"He et al. 2016, section 4.2, option A; {_DATA}",
        ResNetOptions,
        _resnet,
        needs_data=True,
    ),
    Problem(
        "cifar10-resnet20-noskip",
        "the same network without its shortcuts",
        f"Li et al. 2018, section 5; {_DATA}",
        ResNetOptions,
        _noskip,
        needs_data=True,
    ),
)
