"""What the tensors of a model are: names, kinds, shapes, and how each is cut into filters. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from landscape.errors import LandscapeError


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a model.

    Attributes:
        name: Its dotted name in the model.
        kind: ``"parameter"`` or ``"buffer"``.
        shape: Its shape.
        dtype: Its element type by torch's name, without the prefix: ``"float32"``, ``"bfloat16"``, ``"int64"``.
        trainable: Whether training moves it (``requires_grad``); a frozen parameter never moves.
        filter_axis: The axis whose slices are the filters: 0, but 1 for transposed convolutions and
            for layers that store their weight as (in, out).
        filter_groups: The number of groups of a transposed convolution, otherwise 1.
        tied_to: The name of the tensor that this one is another name of, otherwise None.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool = True
    filter_axis: int = 0
    filter_groups: int = 1
    tied_to: str | None = None

    @property
    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def floating(self) -> bool:
        """Whether the elements are real numbers, so that a direction can move them."""
        return self.dtype.startswith(("float", "bfloat"))


@dataclass(frozen=True)
class Layout:
    """The tensors of a model in a fixed order: parameters first, then buffers, each as the model lists them.

    Example:
        >>> layout = Layout((TensorInfo("w", "parameter", (2, 3), "float32"),))
        >>> layout.parameter_count
        6
    """

    tensors: tuple[TensorInfo, ...]

    def __iter__(self) -> Iterator[TensorInfo]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, name: str) -> TensorInfo:
        for info in self.tensors:
            if info.name == name:
                return info
        raise LandscapeError(f"no tensor is named '{name}'")

    def stored(self, kind: str) -> list[TensorInfo]:
        """The tensors of a kind that hold numbers of their own: those not tied to another."""
        return [info for info in self.tensors if info.kind == kind and info.tied_to is None]

    def moving(self) -> list[TensorInfo]:
        """The parameters that training moves: trainable, real, not tied to another."""
        return [info for info in self.stored("parameter") if info.trainable and info.floating]

    @property
    def parameter_count(self) -> int:
        """The number of parameters, each counted once."""
        return sum(info.numel for info in self.stored("parameter"))

    def to_json(self) -> list[str]:
        """One JSON object per tensor, in order."""
        return [json.dumps(asdict(info), sort_keys=True) for info in self.tensors]

    @classmethod
    def from_json(cls, lines: Iterable[str]) -> Layout:
        """The layout that `to_json` wrote; keys that are not of a `TensorInfo` are left aside."""
        return cls(tuple(_info_from_json(json.loads(line)) for line in lines))


def _info_from_json(entry: dict[str, Any]) -> TensorInfo:
    known = {key: value for key, value in entry.items() if key in TensorInfo.__dataclass_fields__}
    return TensorInfo(**{**known, "shape": tuple(known["shape"])})
