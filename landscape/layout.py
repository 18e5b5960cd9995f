"""Tensors of a model: names, kinds, shapes, and how each is cut into filters. No torch."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from landscape.errors import LandscapeError, did_you_mean

# More names than that are not listed in a message.
_FEW = 8


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
    def complex(self) -> bool:
        """Return whether an element is complex, and so moves as two real numbers: real, then imaginary part."""
        return self.dtype.startswith("complex")

    @property
    def floating(self) -> bool:
        """Return whether the elements are real or complex numbers, so that a direction can move them."""
        return self.complex or self.dtype.startswith(("float", "bfloat"))

    @property
    def real_shape(self) -> tuple[int, ...]:
        """The shape as real numbers: a last axis of two where they are complex."""
        return (*self.shape, 2) if self.complex else self.shape

    @property
    def numbers(self) -> int:
        """Number of real numbers in it: its size in a vector of all parameters."""
        return math.prod(self.real_shape)

    @property
    def moves(self) -> bool:
        """Return whether training moves it, where it is a parameter of its own."""
        return self.trainable and self.floating


@dataclass(frozen=True)
class PartInfo(TensorInfo):
    """The part of a tensor that one process holds, flat: the same columns of every row.

    Attributes:
        shape_of_whole: The shape of the tensor.
        axis_of_whole: Its ``filter_axis`` and ``filter_groups``.
        rows: Rows that it is cut into; one where the part is a stretch of the flattened tensor.
        start: The first of the columns.
    """

    shape_of_whole: tuple[int, ...] = ()
    axis_of_whole: tuple[int, int] = (0, 1)
    rows: int = 1
    start: int = 0

    @classmethod
    def of(cls, info: TensorInfo, numel: int, rows: int, start: int) -> PartInfo:
        """The part of a tensor that has so many of its elements."""
        flat = {"shape": (numel,), "filter_axis": 0, "filter_groups": 1}
        axis = info.filter_axis, info.filter_groups
        return cls(**{**vars(info), **flat}, shape_of_whole=info.shape, axis_of_whole=axis, rows=rows, start=start)

    @property
    def whole(self) -> TensorInfo:
        """The tensor."""
        known = {name: getattr(self, name) for name in TensorInfo.__dataclass_fields__}
        axis, groups = self.axis_of_whole
        return TensorInfo(**{**known, "shape": self.shape_of_whole, "filter_axis": axis, "filter_groups": groups})

    @property
    def row(self) -> int:
        """Columns of the whole."""
        return math.prod(self.shape_of_whole) // self.rows

    @property
    def stop(self) -> int:
        """One behind the last column."""
        return self.start + self.numel // self.rows


@dataclass(frozen=True)
class Layout:
    """The tensors of a model in a fixed order: parameters first, then buffers, each as the model lists them.

    Attributes:
        tensors: In that order.
        selected: The globs that chose what moves; empty where training alone did.

    Example:
        >>> layout = Layout((TensorInfo("w", "parameter", (2, 3), "float32"),))
        >>> layout.parameter_count
        6
    """

    tensors: tuple[TensorInfo, ...]
    selected: tuple[str, ...] = field(default=(), compare=False)

    def __iter__(self) -> Iterator[TensorInfo]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, name: str) -> TensorInfo:
        if name not in self._named:
            raise LandscapeError(f"no tensor is named '{name}'")
        return self._named[name]

    @functools.cached_property
    def _named(self) -> dict[str, TensorInfo]:
        return {info.name: info for info in self.tensors}

    def stored(self, kind: str) -> list[TensorInfo]:
        """The tensors of a kind that hold numbers of their own: those not tied to another."""
        return [info for info in self.tensors if info.kind == kind and info.tied_to is None]

    def moving(self) -> list[TensorInfo]:
        """The parameters that training moves: trainable, of real or complex numbers, not tied to another."""
        return [info for info in self.stored("parameter") if info.moves]

    def select(self, patterns: str | Sequence[str]) -> Layout:
        """The same tensors with fewer that move: those whose name, or a tied name, matches; see `matches`.

        A parameter that training does not move stays where it is, matched or not.

        Args:
            patterns: Globs, as one text with commas between them or as several.

        Raises:
            LandscapeError: If nothing is left to move; it says which names were near, or are frozen.
        """
        wanted = split_patterns(patterns)
        named = {info.tied_to or info.name for info in self.tensors if matches(info.name, wanted)}
        fewer = (replace(info, trainable=info.trainable and info.name in named) for info in self.tensors)
        chosen = Layout(tuple(fewer), (*self.selected, *wanted))
        if not chosen.moving():
            raise LandscapeError(
                "nothing is left to move",
                where="parameters",
                got=", ".join(wanted),
                mend=self._near(wanted, named),
            )
        return chosen

    def _near(self, wanted: Sequence[str], named: set[str]) -> str:
        frozen = [info.name for info in self.stored("parameter") if info.name in named]
        if frozen:
            return f"what it matches is frozen (such as {frozen[0]}): set requires_grad before"
        names = [info.name for info in self.moving()]
        if len(names) <= _FEW:
            return did_you_mean(wanted[0], names) if names else "the model has no parameter that moves"
        close = difflib.get_close_matches(wanted[0], names, n=1) or names[:_FEW]
        return f"{len(names)} parameters move, such as {', '.join(close)}"

    def describe(self, moving: Iterable[str] | None = None) -> dict[str, Any]:
        """Describe which tensors move and which do not, as plain values: group -> count and names.

        Args:
            moving: The names that do; None is all that training moves.

        Returns:
            ``moving`` (with the count of its ``numbers``), ``still`` (trained, but held where it is), ``frozen``
            (not trained, or not selected), ``tied`` (other names of tensors listed elsewhere) and ``buffers``.
        """
        trained = self.moving()
        chosen = {info.name for info in trained} if moving is None else set(moving)
        groups = {
            "moving": [info for info in trained if info.name in chosen],
            "still": [info for info in trained if info.name not in chosen],
            "frozen": [info for info in self.stored("parameter") if not info.moves],
            "tied": [info for info in self.tensors if info.tied_to is not None],
            "buffers": self.stored("buffer"),
        }
        described: dict[str, Any] = {
            group: {"count": len(infos), "names": [info.name for info in infos]} for group, infos in groups.items()
        }
        described["moving"]["numbers"] = sum(info.numbers for info in groups["moving"])
        return described

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


def split_patterns(patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Globs from one text with commas between them, or from several such texts."""
    given = [patterns] if isinstance(patterns, str) else patterns
    return tuple(part.strip() for text in given for part in text.split(",") if part.strip())


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether globs choose a dotted name.

    A glob is tried on the whole name and on every ending of it that starts at a dot, so that ``lora_*`` finds
    ``layers.0.lora_A.weight``; with a dot in front it is tried on the whole name only. ``!glob`` takes out what
    earlier ones chose; if it comes first, all others are chosen.

    Args:
        name: Such as ``layers.0.lora_A.weight``.
        patterns: Globs: ``*`` (dots included), ``?``, ``[abc]``.

    Example:
        >>> matches("layers.0.lora_A.weight", ["lora_*"]), matches("layers.0.weight", [".weight"])
        (True, False)
        >>> [name for name in ("conv.weight", "conv.bias") if matches(name, ["!bias"])]
        ['conv.weight']
    """
    parts = name.split(".")
    endings = [".".join(parts[start:]) for start in range(len(parts))]
    chosen = bool(patterns) and patterns[0].startswith("!")
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        tried = [name] if wanted.startswith(".") else endings
        if any(fnmatch.fnmatchcase(ending, wanted.removeprefix(".")) for ending in tried):
            chosen = not pattern.startswith("!")
    return chosen


def _info_from_json(entry: dict[str, Any]) -> TensorInfo:
    kind = PartInfo if "shape_of_whole" in entry else TensorInfo
    known = {key: value for key, value in entry.items() if key in kind.__dataclass_fields__}
    lists = {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
    return kind(**known | lists)
