"""CIFAR-10 from either of its two usual layouts on disk, as normalised tensors."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError, optional
from landscape.problems.catalogue import CIFAR_TEST, CIFAR_TRAIN, VARIABLE
from landscape.problems.data import order
from landscape.problems.problem import Pair

CLASSES = 10
# The channel means and standard deviations of the 50,000 training images over all their pixels, scaled to
# [0, 1]: measured on the JPEG folders, and used for both layouts so that they give the same inputs.
MEAN = (0.49125, 0.48209, 0.44652)
STD = (0.24523, 0.24278, 0.26063)

_BATCHES = "cifar-10-batches-py"
_PIXELS = 32
_SUFFIXES = (".jpg", ".jpeg", ".png")
_SPLITS = ("train", "test")
# So many names of a wrong folder fit into a message of one line.
_SHOWN = 5


@dataclass(frozen=True)
class _Images:
    """The images of a split before any is decoded.

    Attributes:
        by_class: For each class the image numbers, in the order on disk.
        decode: Image number -> (32, 32, 3) uint8.
    """

    by_class: Sequence[Sequence[int]]
    decode: Callable[[int], np.ndarray]


def cifar10(
    folder: Path | None,
    *,
    train_size: int = CIFAR_TRAIN,
    test_size: int = CIFAR_TEST,
    data_seed: int = 0,
    download: bool = False,
) -> tuple[Pair, Pair]:
    """CIFAR-10, all of it or a balanced part, normalised by `MEAN` and `STD`, not augmented.

    The classes take turns, each in a random order of its own, so that a smaller set is the beginning of
    a larger one. Only the images chosen are decoded. The two layouts do not hold the same pixels where
    one of them is JPEG, so a run must be read with the layout that it was made with.

    Args:
        folder: Holds ``train/<class>/*.jpg|png`` and ``test/...``, or ``cifar10/train/...``, or torchvision's
            ``cifar-10-batches-py/``; None is the folder that the variable LANDSCAPE_DATA names.
        train_size: Training images.
        test_size: Test images.
        data_seed: Draws the images and their order.
        download: Whether torchvision may fetch them into the folder if they are not there.

    Returns:
        Training and test pairs: inputs float32 of shape (n, 3, 32, 32), targets int64 of shape (n,), the
        class in alphabetical order.

    Raises:
        LandscapeError: If the images are missing, too few, not of 10 classes, or cannot be read.
    """
    root = _root(folder)
    layout, place = _locate(root, download)
    load = _from_folders if layout == "folders" else _from_batches
    train, test = (
        _tensors(load(place, split), size, data_seed, stream, f"{place}, {split}")
        for stream, (split, size) in enumerate(zip(_SPLITS, (train_size, test_size), strict=True))
    )
    return train, test


def _root(folder: Path | None) -> Path:
    named = folder if folder is not None else os.environ.get(VARIABLE)
    if not named:
        raise LandscapeError(
            "the CIFAR-10 images are not in the package",
            mend=f"give --data DIR, or set {VARIABLE}=DIR, where DIR has train/<class>/*.jpg and "
            f"test/<class>/*.jpg, or {_BATCHES}/; landscape train PROBLEM --data DIR --download fetches them",
        )
    return Path(named).expanduser()


def _locate(root: Path, download: bool) -> tuple[str, Path]:
    """The layout found, ``"folders"`` or ``"batches"``, and the folder that holds it."""
    for place in (root, root / "cifar10"):
        if all((place / split).is_dir() for split in _SPLITS):
            return "folders", place
    home = root.parent if root.name == _BATCHES else root
    if (home / _BATCHES).is_dir():
        return "batches", home
    if download:
        _download(root)
        return "batches", root
    raise LandscapeError(
        "no CIFAR-10 images here",
        where=root,
        got=_contents(root),
        expected=f"train/<class>/*.jpg and test/<class>/*.jpg, or {_BATCHES}/",
        mend=f"landscape train PROBLEM --data {shlex.quote(str(root))} --download fetches them",
    )


def _contents(root: Path) -> str:
    if not root.is_dir():
        return "a file" if root.exists() else "no such folder"
    inside = sorted(entry.name for entry in root.iterdir())
    more = ", ..." if len(inside) > _SHOWN else ""
    return f"a folder with {', '.join(inside[:_SHOWN])}{more}" if inside else "an empty folder"


def _download(root: Path) -> None:
    CIFAR10 = optional("torchvision.datasets", "fetching CIFAR-10").CIFAR10
    try:
        root.mkdir(parents=True, exist_ok=True)
        CIFAR10(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise LandscapeError(
            "CIFAR-10 could not be downloaded",
            where=root,
            got=error,
            mend=f"fetch {CIFAR10.url} by other means and unpack it there",
        ) from error


def _from_batches(root: Path, split: str) -> _Images:
    """The files of torchvision's own layout; it unpickles none whose MD5 is not that of the published file."""
    CIFAR10 = optional("torchvision.datasets", str(root / _BATCHES)).CIFAR10
    try:
        loaded = CIFAR10(str(root), train=split == "train", download=False)
    except (OSError, RuntimeError) as error:
        raise LandscapeError(
            "the CIFAR-10 files are incomplete or damaged",
            where=root / _BATCHES,
            mend="delete the folder and fetch it again: landscape train PROBLEM --data DIR --download",
        ) from error
    pixels, labels = loaded.data, np.asarray(loaded.targets)
    by_class = [np.flatnonzero(labels == label).tolist() for label in range(CLASSES)]
    return _Images(by_class, lambda index: pixels[index])


def _from_folders(root: Path, split: str) -> _Images:
    classes = sorted(entry.name for entry in (root / split).iterdir() if _is_class(entry))
    if len(classes) != CLASSES:
        raise LandscapeError(
            f"has {len(classes)} class folders", where=root / split, got=", ".join(classes) or None, expected="10"
        )
    others = sorted(entry.name for entry in (root / "train").iterdir() if _is_class(entry))
    if classes != others:
        raise LandscapeError(
            f"the classes of {split} and train differ",
            where=root,
            got=", ".join(sorted(set(classes) ^ set(others))),
            expected="the same 10 folders in both",
        )
    files: list[Path] = []
    by_class = []
    for name in classes:
        images = sorted(p for p in (root / split / name).iterdir() if p.suffix.lower() in _SUFFIXES)
        by_class.append(range(len(files), len(files) + len(images)))
        files += images
    return _Images(by_class, lambda index: _decode(files[index]))


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _decode(file: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise LandscapeError(
            "not a readable image", where=file, mend="replace it or fetch the data again"
        ) from error
    if pixels.shape != (_PIXELS, _PIXELS, 3):
        raise LandscapeError(
            "the image has another size", where=file, got=f"{pixels.shape[1]}x{pixels.shape[0]}", expected="32x32"
        )
    return pixels


def _tensors(images: _Images, size: int, data_seed: int, stream: int, where: str) -> Pair:
    chosen, labels = _take_turns(images, size, data_seed, stream, where)
    pixels = np.empty((size, _PIXELS, _PIXELS, 3), dtype=np.uint8)
    for row, index in enumerate(chosen):
        pixels[row] = images.decode(index)
    return _normalised(pixels), torch.tensor(labels, dtype=torch.int64)


def _take_turns(
    images: _Images, size: int, data_seed: int, stream: int, where: str
) -> tuple[list[int], list[int]]:
    """Image numbers and classes: the k-th of each class in its random order, then the next of each."""
    rounds = -(-size // CLASSES)
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
        np.asarray(members)[order(len(members), data_seed, stream * CLASSES + label)]
        for label, members in enumerate(images.by_class)
    ]
    turns = [(int(orders[label][turn]), label) for turn in range(rounds) for label in range(CLASSES)][:size]
    return [index for index, _ in turns], [label for _, label in turns]


def _normalised(pixels: np.ndarray) -> Tensor:
    x = torch.empty(len(pixels), 3, _PIXELS, _PIXELS)
    x.copy_(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return x.div_(255).sub_(mean).div_(std)
