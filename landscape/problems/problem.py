"""A named recipe that builds an objective."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from landscape.errors import LandscapeError
from landscape.options import describe_options, read_options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from landscape.objective import Objective

Pair: TypeAlias = "tuple[Tensor, Tensor]"


def is_file_problem(name: str) -> bool:
    """Return whether a problem is named as ``path/file.py:function``."""
    return re.fullmatch(r".+\.py:\w+", name, flags=re.DOTALL) is not None


def short_name(name: str) -> str:
    """The name as files remember it, without the folder: a run may be drawn from elsewhere."""
    if not is_file_problem(name):
        return name
    file, _, function = name.rpartition(":")
    return f"{Path(file).name}:{function}"


@dataclass(frozen=True)
class Source:
    """Where data come from.

    Attributes:
        path: A file or folder the user named, or None.
        download: Whether missing data may be fetched from the network.
        examples: Whether they are wanted; otherwise what is slow to read is left out.
    """

    path: Path | None = None
    download: bool = False
    examples: bool = True


@dataclass(frozen=True)
class Parts:
    """Parts of an objective.

    Attributes:
        model: The model at its initial weights.
        loss: ``loss(output, target, reduction=...)``.
        train: Inputs and targets, examples along the first axis; None only where examples are not wanted.
        test: Likewise, or None.
        unit: The unit of the loss.
    """

    model: nn.Module
    loss: Callable[..., Tensor]
    train: Pair | None
    test: Pair | None = None
    unit: str = "nats"


@dataclass(frozen=True)
class Problem:
    """A named recipe that builds an objective.

    Attributes:
        name: What the user writes.
        summary: One line.
        source: Author, year and section that model and settings come from, and where the data come from.
        options: A frozen dataclass; its fields say what can be set.
        make: (options, seed, data source) -> parts.
        needs_data: Whether it cannot do without files of the user's (or a download).
    """

    name: str
    summary: str
    source: str
    options: type[Any]
    make: Callable[[Any, int, Source], Parts]
    needs_data: bool = False

    def parse_options(self, settings: Mapping[str, Any] | None = None) -> Any:
        """Options from text or stored values.

        Args:
            settings: Name -> value; None takes all defaults.

        Returns:
            An instance of `options`.

        Raises:
            LandscapeError: With all faults of the settings in one line.
        """
        return read_options(self.options, settings or {}, self.name)

    def build(
        self,
        options: Any,
        seed: int = 0,
        data_dir: str | PathLike[str] | None = None,
        download: bool = False,
        **arguments: Any,
    ) -> Objective:
        """The objective at its initial weights.

        Args:
            options: An instance of `options`.
            seed: Draws the initial weights, and nothing else.
            data_dir: Where the data lie; a problem that reads no files leaves it aside.
            download: Whether missing data may be fetched.
            **arguments: Further arguments of `Objective`, such as ``device`` or ``weight_decay``.

        Returns:
            The objective; its `problem` and `problem_args` rebuild it.

        Raises:
            LandscapeError: If the seed is not a whole number of 0 to 2^63 - 1, or the data are missing or wrong.
        """
        from landscape.objective import Objective

        parts = self.parts(options, seed, Source(None if data_dir is None else Path(data_dir), download))
        return Objective(
            parts.model,
            loss=parts.loss,
            train=parts.train,
            test=parts.test,
            unit=parts.unit,
            problem=self.name,
            problem_args=dataclasses.asdict(options),
            **arguments,
        )

    def parts(self, options: Any, seed: int, source: Source) -> Parts:
        """Return the parts of the objective, at its initial weights; see `build`."""
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise LandscapeError(
                "not a seed", where="seed", got=repr(seed), expected="a whole number from 0 to 2^63 - 1"
            )
        if source.path is not None:
            source = dataclasses.replace(source, path=source.path.expanduser())
        try:
            return self.make(options, seed, source)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "alloc" not in str(error) and "memory" not in str(error):
                raise
            raise LandscapeError(
                "the problem does not fit into memory", where=self.name, mend="choose smaller options with --set"
            ) from error

    def describe(self) -> dict[str, Any]:
        """Name, summary, source, whether it needs data, and options, as JSON-able values."""
        return {
            "name": self.name,
            "summary": self.summary,
            "source": self.source,
            "needs_data": self.needs_data,
            "options": describe_options(self.options),
        }
