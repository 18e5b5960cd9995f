"""Settings of the passes over the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Tuning:
    """Settings of the passes over the data; everything here can change the last bits of a result.

    Attributes:
        batch_size: Examples per forward pass.
        threads: Threads inside one operation; None is torch's own number.
        channels_last: Lay images out with the channels innermost.
        rewrite: Use the exact rewrites of `rewriting`: normalisation folded, activations fused.
        compiled: Let torch.compile make the kernels.
        tf32: Let a CUDA device round the inputs of products to 10 bits.
    """

    batch_size: int
    threads: int | None = None
    channels_last: bool = False
    rewrite: bool = False
    compiled: bool = False
    tf32: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
