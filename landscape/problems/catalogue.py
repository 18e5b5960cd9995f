"""The built-in problems and their options. No torch: what makes a problem is imported when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.lazy import deferred
from landscape.options import option
from landscape.problems.problem import Parts, Problem, Source

# scikit-learn's digits: 1,797 images of 8x8 pixels with values 0 to 16.
DIGITS = 1797
# Four fifths for training.
DIGITS_TRAIN = 1437
CIFAR_TRAIN = 50_000
# The folder that may stand in for --data.
VARIABLE = "LANDSCAPE_DATA"
CIFAR_TEST = 10_000
# He et al. 2016, section 4.2: 6n + 2 layers: one convolution, three stages of n blocks of two, one linear.
DEPTHS = (20, 32, 56, 110)
LINKS = ("relu", "abs", "linear", "square", "cube", "tanh", "sine")
ACTIVATIONS = ("relu", "leaky-relu", "tanh", "gelu")
_ACTIVATION = f"nonlinearity of the hidden layers: {', '.join(ACTIVATIONS)} or poly:DEGREE[:FIT][:INTERVAL]"
_DIGITS_DATA = "data: UCI handwritten digits (Alpaydin & Kaynak 1998), as in scikit-learn"
_CIFAR_DATA = "data: CIFAR-10 (Krizhevsky 2009), no augmentation"

_IMAGE_DATA = "data: CIFAR-10, CIFAR-100 (Krizhevsky 2009) or folders of images, no augmentation"


def require_activation(name: str) -> None:
    """Check the name of a nonlinearity.

    Raises:
        LandscapeError: With the nearest name, if there is none of this name.
    """
    if name.startswith("poly"):
        from landscape.problems.polynomial import PolynomialFit

        PolynomialFit.parse(name)
    elif name not in ACTIVATIONS:
        raise LandscapeError(f"there is no activation '{name}'", mend=did_you_mean(name, ACTIVATIONS))


def maker(module: str, name: str, *more: Any) -> Callable[[Any, int, Source], Parts]:
    """Return a function of a module of this room, which is imported when it is called, with more arguments."""
    return deferred(f"landscape.problems.{module}", name, *more)


@dataclass(frozen=True)
class DigitsMlpOptions:
    """Options of ``digits-mlp``."""

    width: int = option(64, "units of each hidden layer", low=1)
    depth: int = option(2, "hidden layers", low=0)
    bias: bool = option(True, "whether layers have biases")
    activation: str = option("relu", _ACTIVATION, check=require_activation)
    loss: str = option(
        "cross-entropy", "square: half the squared distance from the label", choices=("cross-entropy", "square")
    )
    train_size: int = option(DIGITS_TRAIN, "training examples; the rest is for testing", low=1, high=DIGITS - 1)
    data_seed: int = option(0, "draws which examples are for training, and their order", low=0)


@dataclass(frozen=True)
class DigitsCnnOptions:
    """Options of ``digits-cnn``."""

    width: int = option(16, "channels of the first layer; the others have twice as many", low=1)
    activation: str = option("relu", _ACTIVATION, check=require_activation)
    train_size: int = option(DIGITS_TRAIN, "training examples; the rest is for testing", low=1, high=DIGITS - 1)
    data_seed: int = option(0, "draws which examples are for training, and their order", low=0)


@dataclass(frozen=True)
class CifarOptions:
    """Options of every problem on CIFAR-10."""

    activation: str = option("relu", _ACTIVATION, check=require_activation)
    train_size: int = option(
        CIFAR_TRAIN, "training images, as many of each class as of any other", low=1, high=CIFAR_TRAIN
    )
    test_size: int = option(
        CIFAR_TEST, "test images, as many of each class as of any other", low=1, high=CIFAR_TEST
    )
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


@dataclass(frozen=True)
class ImageOptions:
    """Options of every problem whose images may come from any of three data sets."""

    dataset: str = option(
        "cifar10",
        "images: cifar10, cifar100, or folder: train/<class>/ and test/<class>/ (or val/), or as in Tiny-ImageNet",
        choices=("cifar10", "cifar100", "folder"),
    )
    train_size: int = option(
        0, "training images, as many of each class as of any other; 0 takes as many as there are", low=0
    )
    test_size: int = option(0, "test images, likewise", low=0)
    data_seed: int = option(0, "draws which images are used, and their order", low=0)


@dataclass(frozen=True)
class PyramidNetOptions(ImageOptions):
    """Options of ``pyramidnet``."""

    depth: int = option(110, "layers, 6n + 2, or 9n + 2 with bottlenecks", low=8)
    alpha: int = option(48, "channels that are added from the first block to the last", low=1)
    bottleneck: bool = option(False, "whether blocks are bottlenecks")

    def __post_init__(self) -> None:
        layers = 9 if self.bottleneck else 6
        if (self.depth - 2) % layers or self.depth < layers + 2:
            raise LandscapeError(
                "option 'depth' does not fit the blocks",
                where="pyramidnet",
                got=self.depth,
                expected=f"{layers}n + 2",
            )


@dataclass(frozen=True)
class TransformerOptions:
    """Options of ``text-transformer``."""

    layers: int = option(2, "attention layers", low=1)
    width: int = option(128, "numbers per token; heads divides it", low=1)
    heads: int = option(4, "attention heads", low=1)
    context: int = option(64, "bytes of a sequence", low=1)
    tied: bool = option(True, "whether the output layer is the embedding itself")
    activation: str = option("gelu", _ACTIVATION, check=require_activation)
    train_size: int = option(512, "training sequences", low=1)
    test_size: int = option(128, "test sequences", low=1)
    data_seed: int = option(0, "draws which sequences are for training, and their order", low=0)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise LandscapeError(
                "option 'heads' must divide option 'width'",
                where="text-transformer",
                got=f"heads {self.heads}, width {self.width}",
            )


@dataclass(frozen=True)
class MixtureOptions:
    """Options of ``gaussian-mixture``."""

    dim: int = option(200, "dimensions N", low=1)
    alpha: float = option(2.0, "training examples per dimension", low=1e-9)
    delta: float = option(1.0, "variance of the clusters", low=1e-9)
    rho: float = option(0.5, "share of the cluster +1", low=1e-9, high=1 - 1e-9)
    loss: str = option("logistic", "loss of the classifier", choices=("square", "logistic"))
    bias: bool = option(True, "whether the hyperplane has a threshold")
    test_size: int = option(2000, "examples for testing", low=1)
    data_seed: int = option(0, "draws the centre of the clusters and the examples", low=0)


@dataclass(frozen=True)
class MultiIndexOptions:
    """Options of ``multi-index``."""

    dim: int = option(20, "dimensions of the input", low=2)
    indices: int = option(1, "directions that matter", low=1)
    link: str = option("relu", "function of each direction; the target is their sum", choices=LINKS)
    noise: float = option(0.0, "standard deviation of the noise on training targets", low=0)
    train_size: int = option(200, "training examples", low=2)
    test_size: int = option(2000, "examples for testing, without noise", low=1)
    width: int = option(50, "hidden units", low=1)
    degree: int = option(1, "of the activation max(t, 0)^degree", low=1, high=6)
    bias: bool = option(True, "whether the input has a further entry 1")
    data_seed: int = option(0, "draws the directions and the examples", low=0)


@dataclass(frozen=True)
class HyperbolaOptions:
    """Options of ``toy-hyperbola``; the start is chosen, not drawn, so the seed changes nothing."""

    start1: float = option(2.5, "initial theta1")
    start2: float = option(0.2, "initial theta2")


@dataclass(frozen=True)
class QuadraticOptions:
    """Options of ``toy-quadratic``."""

    dim: int = option(4, "number of weights", low=2)
    low: float = option(0.1, "smallest curvature", low=0.0)
    high: float = option(2.0, "largest curvature", low=0.0)
    offset: float = option(0.5, "the loss at the minimum", low=0.0)
    dtype: str = option("float32", "type of weights and data", choices=("float32", "float64"))
    data_seed: int = option(0, "draws the minimum and the directions of curvature", low=0)


@dataclass(frozen=True)
class LinearNetworkOptions:
    """Options of ``toy-linear-network``, which starts at its most degenerate minimum; the seed changes nothing."""

    inputs: int = option(2, "numbers that come in", low=1)
    hidden: int = option(2, "linear units between the two layers", low=1)
    outputs: int = option(2, "numbers that go out", low=1)
    rank: int = option(0, "rank of the map that is learnt, at most the least of the widths", low=0)


PROBLEMS = (
    Problem(
        "digits-mlp",
        "a fully connected network on 8x8 handwritten digits",
        f"common baseline; {_DIGITS_DATA}",
        DigitsMlpOptions,
        maker("digits", "make_mlp"),
    ),
    Problem(
        "digits-cnn",
        "a convolutional network with batch normalisation on 8x8 handwritten digits",
        f"common baseline; {_DIGITS_DATA}",
        DigitsCnnOptions,
        maker("digits", "make_cnn"),
    ),
    Problem(
        "cifar10-cnn6",
        "a small network of strided convolutions, 188,810 parameters",
        f"Liao & Poggio 2017, Theory II, settings of the CIFAR-10 experiments; {_CIFAR_DATA}",
        Cnn6Options,
        maker("cifar10", "make_cnn6"),
        needs_data=True,
    ),
    Problem(
        "cifar10-vgg9",
        "the first seven convolutions of VGG-16 and two linear layers",
        f"Li et al. 2018, section 3; {_CIFAR_DATA}",
        Vgg9Options,
        maker("cifar10", "make_vgg9"),
        needs_data=True,
    ),
    Problem(
        "cifar10-resnet20",
        "a residual network of 20 layers (or 32, 56, 110)",
        f"He et al. 2016, section 4.2, option A; {_CIFAR_DATA}",
        ResNetOptions,
        maker("cifar10", "make_resnet"),
        needs_data=True,
    ),
    Problem(
        "cifar10-resnet20-noskip",
        "the same network without its shortcuts",
        f"Li et al. 2018, section 5; {_CIFAR_DATA}",
        ResNetOptions,
        maker("cifar10", "make_noskip"),
        needs_data=True,
    ),
    Problem(
        "resnet18",
        "ResNet-18 with a first convolution of 3x3 pixels and no pooling after it",
        f"He et al. 2016, as in torchvision; used by Pittorino et al. 2021; {_IMAGE_DATA}",
        ImageOptions,
        maker("vision", "make_resnet18"),
        needs_data=True,
    ),
    Problem(
        "densenet121",
        "DenseNet-121 with a first convolution of 3x3 pixels and no pooling after it",
        f"Huang et al. 2017, as in torchvision; used by Pittorino et al. 2021; {_IMAGE_DATA}",
        ImageOptions,
        maker("vision", "make_densenet121"),
        needs_data=True,
    ),
    Problem(
        "efficientnet-b0",
        "EfficientNet-B0 whose first convolution has stride 1, without dropout",
        f"Tan & Le 2019, as in torchvision; used by Pittorino et al. 2021; {_IMAGE_DATA}",
        ImageOptions,
        maker("vision", "make_efficientnet"),
        needs_data=True,
    ),
    Problem(
        "pyramidnet",
        "a residual network that widens from block to block",
        f"Han, Kim & Kim 2017; used by Pittorino et al. 2021; {_IMAGE_DATA}",
        PyramidNetOptions,
        maker("vision", "make_pyramidnet"),
        needs_data=True,
    ),
    Problem(
        "text-transformer",
        "a small causal transformer that predicts the next byte of a text",
        "Vaswani et al. 2017, Radford et al. 2019, section 2.3; data: --data FILE or FOLDER, otherwise the source "
        "of Python's own standard library",
        TransformerOptions,
        maker("text", "make_transformer"),
    ),
    Problem(
        "gaussian-mixture",
        "a hyperplane between two Gaussian clusters; its population error is known",
        "Mignacco et al. 2020; Baldassi et al. 2020; closed forms: landscape.papers.mixture",
        MixtureOptions,
        maker("mixture", "make_mixture"),
    ),
    Problem(
        "multi-index",
        "a sum of functions of a few directions, learnt by a two-layer homogeneous network",
        "setting of Vardhan, Taheri & Mazumdar 2026; closed forms: landscape.papers.students",
        MultiIndexOptions,
        maker("multi_index", "make_multi_index"),
    ),
    Problem(
        "toy-hyperbola",
        "(theta1 theta2 - 1)^2: a valley of minima of every sharpness",
        "Dinh et al. 2017, section 3, the smallest network with their rescaling",
        HyperbolaOptions,
        maker("toys", "make_hyperbola"),
    ),
    Problem(
        "toy-quadratic",
        "a quadratic function with known curvatures, as linear regression",
        "closed form: landscape.problems.toys.quadratic",
        QuadraticOptions,
        maker("toys", "make_quadratic"),
    ),
    Problem(
        "toy-linear-network",
        "two linear layers at the map that they learn: minima whose degeneracy is known",
        "Aoyagi & Watanabe 2005; closed form: landscape.problems.toys.learning_coefficient",
        LinearNetworkOptions,
        maker("toys", "make_linear_network"),
    ),
)
