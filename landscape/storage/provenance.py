"""The versions that a result was made with."""

from __future__ import annotations

import importlib.metadata
import platform

_DISTRIBUTIONS = {"landscape": "loss-landscape-toolkit", "torch": "torch", "numpy": "numpy", "h5py": "h5py"}


def versions() -> dict[str, str]:
    """The versions that a result was made with; torch is not imported.

    Returns:
        Of ``python``, ``landscape``, ``torch``, ``numpy`` and ``h5py``; ``"unknown"`` where one is not installed.
    """
    found = {"python": platform.python_version()}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
