"""The versions that a result was made with."""

from __future__ import annotations

import platform

_DISTRIBUTIONS = {"landscape": "loss-landscape-toolkit", "torch": "torch", "numpy": "numpy", "h5py": "h5py"}


def versions() -> dict[str, str]:
    """The versions that a result was made with; torch is not imported.

    Returns:
        Of ``python``, ``landscape``, ``torch``, ``numpy`` and ``h5py``; ``"unknown"`` where one is not installed.
    """
    from importlib import metadata

    found = {"python": platform.python_version()}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
