"""Digits and text as tensors, chosen by a seed of their own."""

from __future__ import annotations

import functools
import sysconfig
from pathlib import Path

import numpy as np
import torch

from landscape.errors import LandscapeError
from landscape.problems.problem import Pair

_GREYS = 16.0


def order(count: int, data_seed: int, stream: int = 0) -> np.ndarray:
    """A random order of examples.

    Args:
        count: How many there are.
        data_seed: Draws the order.
        stream: Another number gives an order that is independent of this one.

    Returns:
        Shape (count,), each index once.
    """
    return np.random.default_rng([data_seed, stream]).permutation(count)


def digits(train_size: int, data_seed: int, *, images: bool = False) -> tuple[Pair, Pair]:
    """Handwritten digits, split at random.

    Args:
        train_size: Examples for training; the rest is for testing.
        data_seed: Draws the split and the order.
        images: Whether inputs keep the form of an image.

    Returns:
        Training and test pairs: inputs float32 in [0, 1] of shape (n, 64), or (n, 1, 8, 8) for images;
        targets int64 of shape (n,), the digit.

    Source:
        Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI repository, CC BY 4.0: the test
        part, as in `sklearn.datasets.load_digits`.
    """
    values, labels = _all_digits()
    chosen = order(len(labels), data_seed)
    x = torch.from_numpy((values[chosen] / _GREYS).astype(np.float32))
    y = torch.from_numpy(labels[chosen])
    if images:
        x = x.reshape(-1, 1, 8, 8)
    return (x[:train_size], y[:train_size]), (x[train_size:].clone(), y[train_size:].clone())


@functools.cache
def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in their own order: read once, since a study builds its problem thousands of times."""
    with np.load(Path(__file__).with_name("digits.npz")) as held:
        return held["images"].astype(np.float64), held["labels"].astype(np.int64)


def text(path: Path | None, *, context: int, train_size: int, test_size: int, data_seed: int) -> tuple[Pair, Pair]:
    """Sequences of bytes, each with the bytes that follow.

    The text is cut into windows of ``context + 1`` bytes that do not overlap. Windows are taken at even
    distances over the whole text and dealt out to training and test at random.

    Args:
        path: A UTF-8 file, or a folder of them (hidden files are left aside; sorted by path, joined);
            None is the top level of Python's own standard library.
        context: Bytes of a sequence.
        train_size: Sequences for training.
        test_size: Sequences for testing.
        data_seed: Draws which windows are for training, and their order.

    Returns:
        Training and test pairs: inputs and targets int64 of shape (n, context), the targets one byte later.

    Raises:
        LandscapeError: If there is no text, it is not UTF-8, or it is too short.
    """
    where, content = read_text(path)
    windows = len(content) // (context + 1)
    wanted = train_size + test_size
    if windows < wanted:
        raise LandscapeError(
            "the text is too short",
            where=where,
            got=f"{windows} windows of {context + 1} bytes",
            expected=f"at least {wanted} (train_size + test_size)",
            mend="give a longer text by --data, or lower train_size, test_size or context",
        )
    cut = np.frombuffer(content, dtype=np.uint8, count=windows * (context + 1)).reshape(windows, context + 1)
    evenly = np.arange(wanted, dtype=np.int64) * windows // wanted
    chosen = torch.from_numpy(cut[evenly[order(wanted, data_seed)]].astype(np.int64))
    x, y = chosen[:, :-1].contiguous(), chosen[:, 1:].contiguous()
    return (x[:train_size], y[:train_size]), (x[train_size:].clone(), y[train_size:].clone())


def read_text(path: Path | None) -> tuple[Path, bytes]:
    """Return where the text lies, and its bytes; None is that of Python's own standard library."""
    if path is None:
        folder = Path(sysconfig.get_paths()["stdlib"])
        return folder, b"".join(_read_utf8(file) for file in sorted(folder.glob("*.py")))
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        visible = [file for file in inside if not _hidden(file.relative_to(path))]
        if not visible:
            raise LandscapeError("the folder has no files", where=path, expected="UTF-8 text files")
        return path, b"".join(_read_utf8(file) for file in visible)
    if not path.exists():
        raise LandscapeError(
            "no such file or folder", where=path, expected="a UTF-8 text file or a folder of them"
        )
    return path, _read_utf8(path)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_utf8(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LandscapeError("is not UTF-8 text", where=file, got=f"byte {error.start} cannot be read") from error
    except OSError as error:
        raise LandscapeError("cannot be read", where=file, got=error.strerror) from error
    return content
