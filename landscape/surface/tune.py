"""Options for what an evaluation otherwise chooses by timing. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.errors import LandscapeError
from landscape.forms import TRUTH, WHOLE, pairs_in
from landscape.options import Options, option, read_options


def require_tolerance(tolerance: float) -> float:
    """The tolerance of a preview.

    Raises:
        LandscapeError: If it is not a number between 0 and 1.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        raise LandscapeError(
            "the tolerance of a preview must be above 0 and below 1", got=tolerance, mend="try 0.01 for 1 %"
        )
    return float(tolerance)


@dataclass(frozen=True)
class TuneOptions(Options):
    """Settings of an evaluation; None leaves the choice to timing."""

    batch_size: int | None = option(None, "Examples per forward pass", form=WHOLE, low=1)
    channels_last: bool | None = option(None, "Lay images out with the channels innermost", form=TRUTH)
    compiled: bool | None = option(None, "Let torch.compile make the kernels", form=TRUTH)
    rewrite: bool | None = option(None, "Fold normalisation and fuse activations, exactly", form=TRUTH)
    tf32: bool | None = option(None, "Let a CUDA device round the inputs of products to 10 bits", form=TRUTH)
    threads: int | None = option(None, "Threads inside one operation", form=WHOLE, low=1)
    streams: int | None = option(None, "Points worked on side by side", form=WHOLE, low=1)
    chunk: int | None = option(None, "Points at once", form=WHOLE, low=1)

    @classmethod
    def read(cls, given: str | Mapping[str, Any] | None) -> TuneOptions:
        """Read text such as ``batch_size=64,rewrite=no``, or a table.

        Raises:
            LandscapeError: With all faults in one line.
        """
        pairs = pairs_in(given.split(",")) if isinstance(given, str) else given or {}
        return read_options(cls, {name.replace("-", "_"): value for name, value in pairs.items()}, "tune")

    def given(self) -> dict[str, Any]:
        """The settings that are not left to timing."""
        return {name: value for name, value in self.plain().items() if value is not None}
