"""CIFAR-10, CIFAR-100 and folders of images, as normalised tensors."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError, optional
from landscape.problems.catalogue import CIFAR_TEST, CIFAR_TRAIN, VARIABLE
from landscape.problems.data import order
from landscape.problems.problem import Pair

# The channel means and standard deviations of the 50,000 training images over all their pixels, scaled to
# [0, 1]: measured on the JPEG folders, and used for both layouts so that they give the same inputs.
MEAN = (0.49125, 0.48209, 0.44652)
STD = (0.24523, 0.24278, 0.26063)

_SUFFIXES = (".jpg", ".jpeg", ".png")
_FOLDERS = "train/<class>/*.jpg and test/<class>/*.jpg"
# Of Tiny-ImageNet: the classes of the images in val/images.
_ANNOTATIONS = "val_annotations.txt"
# So many names of a wrong folder fit into a message of one line.
_SHOWN = 5


@dataclass(frozen=True)
class Dataset:
    """Images with classes.

    Attributes:
        title: In messages.
        mean: Of the channels, subtracted.
        std: Of the channels, divided by.
        inside: The folder that may hold the images below the one that is named.
        classes: How many; None is as many as there are folders.
        pixels: Height and width; None are those of the first image.
        batches: The folder of torchvision's own layout, if there is one.
        loader: What reads it, of `torchvision.datasets`.
        tests: Names of the folder of test images, in the order they are looked for.
    """

    title: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    inside: str = ""
    classes: int | None = None
    pixels: tuple[int, int] | None = None
    batches: str = ""
    loader: str = ""
    tests: tuple[str, ...] = ("test",)

    @property
    def layouts(self) -> str:
        """The layouts that are read, in words."""
        if self.batches:
            return f"{_FOLDERS}, or {self.batches}/"
        return f"{_FOLDERS} (or val/), also with val/{_ANNOTATIONS} as in Tiny-ImageNet"


DATASETS = {
    "cifar10": Dataset("CIFAR-10", MEAN, STD, "cifar10", 10, (32, 32), "cifar-10-batches-py", "CIFAR10"),
    # Those that are in common use, of the 50,000 training images.
    "cifar100": Dataset(
        "CIFAR-100",
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        *("cifar100", 100, (32, 32), "cifar-100-python", "CIFAR100"),
    ),
    # Of ImageNet, as torchvision has them.
    "folder": Dataset("labelled", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), tests=("val", "test")),
}
"""Name -> images."""


@dataclass(frozen=True)
class _Images:
    """The images of a split before any is decoded.

    Attributes:
        by_class: For each class the image numbers, in the order on disk.
        decode: Image number -> (height, width, 3) uint8.
        where: Image number -> where it is, for messages.
    """

    by_class: Sequence[Sequence[int]]
    decode: Callable[[int], np.ndarray]
    where: Callable[[int], object]


def cifar10(
    folder: Path | None, *, train_size: int = CIFAR_TRAIN, test_size: int = CIFAR_TEST, **others: Any
) -> tuple[Pair, Pair]:
    """CIFAR-10: see `images`."""
    return images(folder, "cifar10", train_size=train_size, test_size=test_size, **others)


def images(
    folder: Path | None,
    dataset: str,
    *,
    train_size: int = 0,
    test_size: int = 0,
    data_seed: int = 0,
    download: bool = False,
) -> tuple[Pair, Pair]:
    """Images, all of them or a balanced part, normalised by the mean and deviation of the data set, not augmented.

    The classes take turns, each in a random order of its own, so that a smaller set is the beginning of
    a larger one. Only the images chosen are decoded. The two layouts do not hold the same pixels where
    one of them is JPEG, so a run must be read with the layout that it was made with.

    Args:
        folder: Holds ``train/<class>/*.jpg|png`` and ``test/...``, or ``cifar10/train/...``, or torchvision's
            ``cifar-10-batches-py/``; of ``"folder"`` also Tiny-ImageNet's ``train/<class>/images/`` and ``val/``
            with its annotations. None is the folder that the variable LANDSCAPE_DATA names.
        dataset: One of `DATASETS`.
        train_size: Training images; 0 takes as many of each class as the rarest has.
        test_size: Test images; likewise.
        data_seed: Draws the images and their order.
        download: Whether torchvision may fetch them into the folder if they are not there.

    Returns:
        Training and test pairs: inputs float32 of shape (n, 3, height, width), targets int64 of shape (n,), the
        class in alphabetical order.

    Raises:
        LandscapeError: If the images are missing, too few, of other classes or sizes, or cannot be read.
    """
    about = DATASETS[dataset]
    place, splits = _locate(_root(folder, about), about, download)
    load = _from_folders if splits else _from_batches
    train, test = (
        _tensors(load(place, split, about), about, size, data_seed, stream, f"{place}, {split}")
        for stream, (split, size) in enumerate(
            zip(splits or ("train", "test"), (train_size, test_size), strict=True)
        )
    )
    return train, test


def classes_of(folder: Path | None, dataset: str) -> int:
    """The number of classes of a data set; of folders they are counted.

    Raises:
        LandscapeError: If the folder is not there.
    """
    about = DATASETS[dataset]
    if about.classes is not None:
        return about.classes
    place, splits = _locate(_root(folder, about), about, False)
    return len(_classes(place / splits[0]))


def _root(folder: Path | None, about: Dataset) -> Path:
    named = folder if folder is not None else os.environ.get(VARIABLE)
    if not named:
        fetch = "; landscape train PROBLEM --data DIR --download fetches them" if about.loader else ""
        raise LandscapeError(
            f"the {about.title} images are not in the package",
            mend=f"give --data DIR, or set {VARIABLE}=DIR, where DIR has {about.layouts}{fetch}",
        )
    return Path(named).expanduser()


def _locate(root: Path, about: Dataset, download: bool) -> tuple[Path, tuple[str, ...]]:
    """The folder of the images, and those of training and test images in it; none of torchvision's own layout."""
    for place in (root, root / about.inside):
        for test in about.tests:
            if all((place / split).is_dir() for split in ("train", test)):
                return place, ("train", test)
    if about.loader:
        home = root.parent if root.name == about.batches else root
        if (home / about.batches).is_dir():
            return home, ()
        if download:
            _download(root, about)
            return root, ()
    fetch = f"landscape train PROBLEM --data {shlex.quote(str(root))} --download fetches them"
    raise LandscapeError(
        f"no {about.title} images here",
        where=root,
        got=_contents(root),
        expected=about.layouts,
        mend=fetch if about.loader else None,
    )


def _contents(root: Path) -> str:
    if not root.is_dir():
        return "a file" if root.exists() else "no such folder"
    inside = sorted(entry.name for entry in root.iterdir())
    more = ", ..." if len(inside) > _SHOWN else ""
    return f"a folder with {', '.join(inside[:_SHOWN])}{more}" if inside else "an empty folder"


def _loader(about: Dataset) -> Any:
    return getattr(optional("torchvision.datasets", about.title), about.loader)


def _download(root: Path, about: Dataset) -> None:
    loader = _loader(about)
    try:
        root.mkdir(parents=True, exist_ok=True)
        loader(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise LandscapeError(
            f"{about.title} could not be downloaded",
            where=root,
            got=error,
            mend=f"fetch {loader.url} by other means and unpack it there",
        ) from error


def _from_batches(root: Path, split: str, about: Dataset) -> _Images:
    """The files of torchvision's own layout; it unpickles none whose MD5 is not that of the published file."""
    try:
        loaded = _loader(about)(str(root), train=split == "train", download=False)
    except (OSError, RuntimeError) as error:
        raise LandscapeError(
            f"the {about.title} files are incomplete or damaged",
            where=root / about.batches,
            mend="delete the folder and fetch it again: landscape train PROBLEM --data DIR --download",
        ) from error
    pixels, labels = loaded.data, np.asarray(loaded.targets)
    by_class = [np.flatnonzero(labels == label).tolist() for label in range(about.classes or 0)]
    return _Images(by_class, lambda index: pixels[index], lambda index: root / about.batches)


def _from_folders(root: Path, split: str, about: Dataset) -> _Images:
    others = _classes(root / "train")
    annotated = split == "val" and (root / split / _ANNOTATIONS).is_file()
    classes = others if annotated else _classes(root / split)
    if len(classes) != (about.classes or max(2, len(classes))):
        raise LandscapeError(
            f"has {len(classes)} class folders",
            where=root / split,
            got=", ".join(classes) or None,
            expected=str(about.classes or "2 or more"),
        )
    if classes != others:
        raise LandscapeError(
            f"the classes of {split} and train differ",
            where=root,
            got=", ".join(sorted(set(classes) ^ set(others))),
            expected=f"the same {len(others)} folders in both",
        )
    files: list[str] = []
    by_class = []
    read = _annotated(root / split) if annotated else {name: _pictures(root / split / name) for name in classes}
    for name in classes:
        own = read.get(name, [])
        by_class.append(range(len(files), len(files) + len(own)))
        files += own
    return _Images(by_class, lambda index: _decode(Path(files[index])), lambda index: Path(files[index]))


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _pictures(folder: Path) -> list[str]:
    """The images of a class; Tiny-ImageNet has them one folder deeper."""
    home = folder / "images" if (folder / "images").is_dir() else folder
    # Of 60,000 files, as many `Path` would take most of the time of opening a few.
    return sorted(os.path.join(home, name) for name in os.listdir(home) if name.lower().endswith(_SUFFIXES))  # noqa: PTH118, PTH208


def _annotated(folder: Path) -> dict[str, list[str]]:
    """Class -> images, from a table of file and class."""
    found: dict[str, list[str]] = {}
    for line in sorted((folder / _ANNOTATIONS).read_text(encoding="utf-8").splitlines()):
        name, label, *_ = line.split("\t")
        found.setdefault(label, []).append(str(folder / "images" / name))
    return found


def _decode(file: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise LandscapeError(
            "not a readable image", where=file, mend="replace it or fetch the data again"
        ) from error
    return pixels


def _tensors(images: _Images, about: Dataset, size: int, data_seed: int, stream: int, where: str) -> Pair:
    # An empty class is a fault of the data, whatever the size.
    most = max(1, min(len(members) for members in images.by_class)) * len(images.by_class)
    chosen, labels = _take_turns(images, size or most, data_seed, stream, where)
    shape = about.pixels or images.decode(chosen[0]).shape[:2]
    pixels = np.empty((len(chosen), *shape, 3), dtype=np.uint8)
    for row, index in enumerate(chosen):
        image = images.decode(index)
        if image.shape[:2] != shape:
            raise LandscapeError(
                "the image has another size",
                where=images.where(index),
                got=f"{image.shape[1]}x{image.shape[0]}",
                expected=f"{shape[1]}x{shape[0]}",
            )
        pixels[row] = image
    return _normalised(pixels, about), torch.tensor(labels, dtype=torch.int64)


def _take_turns(
    images: _Images, size: int, data_seed: int, stream: int, where: str
) -> tuple[list[int], list[int]]:
    """Image numbers and classes: the k-th of each class in its random order, then the next of each."""
    classes = len(images.by_class)
    rounds = -(-size // classes)
    fewest = min(len(members) for members in images.by_class)
    if fewest < rounds:
        raise LandscapeError(
            "too few images",
            where=where,
            got=f"{fewest} of the rarest class",
            expected=f"{rounds} of each for {size} in all",
            mend="complete the data or lower the size",
        )
    orders = [
        np.asarray(members)[order(len(members), data_seed, stream * classes + label)]
        for label, members in enumerate(images.by_class)
    ]
    turns = [(int(orders[label][turn]), label) for turn in range(rounds) for label in range(classes)][:size]
    return [index for index, _ in turns], [label for _, label in turns]


def _normalised(pixels: np.ndarray, about: Dataset) -> Tensor:
    count, height, width, channels = pixels.shape
    x = torch.empty(count, channels, height, width)
    x.copy_(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (about.mean, about.std))
    return x.div_(255).sub_(mean).div_(std)
