"""Rules of labels for what moves about or joins neighbouring places of images: pooling, resampling, folding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from landscape.symmetry.contractions import args
from landscape.symmetry.recording import Call

if TYPE_CHECKING:
    from landscape.symmetry.shadows import Walk

Rule: TypeAlias = "Callable[[Walk, Call], bool | None]"

# Means over neighbours, with weights that add up to 1.
_UPSAMPLING = (
    *(f"{name}{dims}d" for name in ("upsample_nearest", "_upsample_nearest_exact") for dims in (1, 2, 3)),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
)


def _pooling(kind: str) -> Rule:
    def rule(walk: Walk, call: Call) -> None:
        labels = walk.read(call.args[0])
        spatial = {"1": 1, "2": 2, "3": 3}[
            next(letter for letter in reversed(call.op.replace("_with_indices", "")) if letter in "123")
        ]
        walk.give(call, walk.reduce(kind, labels, range(labels.ndim - spatial, labels.ndim)))

    return rule


def _upsample(walk: Walk, call: Call) -> None:
    labels = walk.read(call.args[0])
    walk.give(call, walk.reduce("mean", labels, range(2, labels.ndim)))


def _sampled(walk: Walk, call: Call) -> None:
    """Images sampled at other places, which lie at 0 outside."""
    labels = walk.read(call.args[0])
    walk.zero(walk.read(call.args[1]), call.op)
    together = walk.reduce("mean", labels, range(2, labels.ndim))
    walk.give(call, walk.pointwise(together, frozenset({"linear"}), call.op))


def _folded(walk: Walk, call: Call) -> bool | None:
    """Patches added up where they overlap: the inverse of im2col."""
    labels, kernel = walk.read(call.args[0]), math.prod(args(call, "kernel_size")[0])
    if labels.ndim != 3:
        return False
    cut = labels.reshape(len(labels), -1, kernel, labels.shape[-1])
    together = walk.reduce("mean", cut, (2, 3))
    walk.give(call, walk.pointwise(together, frozenset({"linear"}), call.op))
    return None


IMAGES: dict[str, Rule] = {
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), _pooling("max")),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), _pooling("max")),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _pooling("mean")),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _pooling("mean")),
    **dict.fromkeys(_UPSAMPLING, _upsample),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _sampled),
    "col2im": _folded,
}
