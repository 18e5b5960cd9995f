"""Recording from within other people's training loops: `lightning`, `huggingface`; pictures into `trackers`.

No library is imported until its module is, and none is needed by the rest of the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

if TYPE_CHECKING:
    from landscape.integrations import huggingface as huggingface
    from landscape.integrations import lightning as lightning
    from landscape.integrations import trackers as trackers

__all__ = ["huggingface", "lightning", "trackers"]

__getattr__, __dir__ = lazy(__name__, __all__, {name: name for name in __all__})
