"""Files with a byte that is another."""

import re
from collections.abc import Iterator

import numpy as np

SPOILT = 150


def spoilt(content: bytes) -> Iterator[bytes]:
    """Copies of an HDF5 file, each with one byte changed, drawn with a fixed seed.

    Bytes that are 0 stay, and HDF5's heaps of texts: a wrong length there and HDF5 2.0 never returns.
    """
    chosen = np.frombuffer(content, np.uint8) != 0
    for heap in re.finditer(rb"GCOL\x01\0\0\0(.{8})", content, re.DOTALL):
        chosen[heap.start() : heap.start() + int.from_bytes(heap[1], "little")] = False
    chance = np.random.default_rng(0)
    for place in chance.choice(np.flatnonzero(chosen), SPOILT, replace=False):
        copy = bytearray(content)
        copy[place] ^= int(chance.integers(1, 256))
        yield bytes(copy)
