"""Reading a trajectory, lazily: weights are read when they are asked for. No torch until then."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.layout import Layout
from landscape.storage import PathLike, steadily, steadily_each
from landscape.trajectory.columns import Block, column_blocks
from landscape.trajectory.overview import Summary
from landscape.trajectory.parts import load_run
from landscape.trajectory.schema import Header, Metrics, load_header
from landscape.trajectory.snapshot import Snapshot, run_group
from landscape.values.result import Tabular

if TYPE_CHECKING:
    from torch import Tensor, nn


class Trajectory(Tabular):
    """An ordered run of snapshots, or a stretch of one.

    Args:
        header: Everything but the weights.
        rows: The snapshots that belong to it; all by default.

    Example:
        >>> run = open_trajectory("run.h5")
        >>> run[-1].weights["0.weight"].shape
        torch.Size([64, 64])
    """

    def __init__(self, header: Header, rows: range | None = None) -> None:
        self.header = header
        self._rows = range(len(header.steps)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Snapshot]:
        return (Snapshot(self.header, row) for row in self._rows)

    def __repr__(self) -> str:
        return f"Trajectory({str(self.path)!r}, snapshots={len(self)}, problem={self.problem!r})"

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Trajectory: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Trajectory:
        if isinstance(index, slice):
            return Trajectory(self.header, self._rows[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: no snapshot {index}; the run has {len(self)}")
        return Snapshot(self.header, self._rows[index])

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    @property
    def layout(self) -> Layout:
        """Layout of the tensors of every snapshot."""
        return self.header.layout

    @property
    def problem(self) -> str:
        """The name of the recipe that built the objective."""
        return self.header.problem

    @property
    def problem_args(self) -> dict[str, Any]:
        """The arguments of that recipe."""
        return self.header.problem_args

    @property
    def training(self) -> dict[str, Any]:
        """The settings of the optimizer and the loop."""
        return self.header.training

    @property
    def seed(self) -> int | None:
        """The seed of the run."""
        return self.header.seed

    @property
    def run_id(self) -> str:
        """32 hexadecimal digits, different for every run."""
        return self.header.run_id

    @property
    def finished(self) -> bool:
        """Return whether training came to its end."""
        return self.header.finished

    @property
    def parent(self) -> Mapping[str, Any]:
        """``parent_run_id``, ``parent_step`` and ``perturbation`` of a branch; empty otherwise."""
        return self.header.parent

    @property
    def steps(self) -> NDArray[np.int64]:
        """Shape (T,), optimizer updates."""
        return self.header.steps[list(self._rows)]

    @property
    def epochs(self) -> NDArray[np.float64]:
        """Shape (T,), NaN where not given."""
        return self.header.epochs[list(self._rows)]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Shape (T,), training time, NaN where not given."""
        return self.header.seconds[list(self._rows)]

    @property
    def metrics(self) -> Metrics:
        """Name -> shape (T,) float64, NaN where not given."""
        rows = list(self._rows)
        return Metrics({name: values[rows] for name, values in self.header.metrics.items()})

    @property
    def rounding(self) -> NDArray[np.float64]:
        """Shape (T,), |w - round(w)| / |w| over all parameters w, where they are stored rounded; otherwise 0."""
        return self.header.rounding[list(self._rows)]

    @property
    def recording(self) -> Mapping[str, Any]:
        """Options of recording and storage: ``every``, ``keep``, ``stride`` and ``dtype``, where they were set."""
        return self.header.recording

    @property
    def optimizer(self) -> Mapping[str, Any]:
        """The optimizer whose steps are recorded: ``kind``, ``name``, ``record``; empty where none are."""
        return self.header.optimizer

    @property
    def rates(self) -> NDArray[np.float64]:
        """Shape (T,), the largest learning rate of the step after each snapshot, NaN where none was recorded."""
        columns = [n for n, name in enumerate(self.optimizer.get("columns", ())) if name.endswith(".lr")]
        rows = self.header.settings[list(self._rows)]
        return rows[:, columns].max(axis=1) if columns else np.full(len(self), np.nan)

    def _table(self) -> Mapping[str, Any]:
        return {"step": self.steps, "epoch": self.epochs, "seconds": self.seconds, **self.metrics}

    @property
    def summary(self) -> Summary:
        """Return what ``landscape inspect`` prints of the whole run."""
        return Summary(self.header)

    @property
    def branches(self) -> Mapping[str, Trajectory]:
        """Name -> the run that starts from a snapshot of this one."""
        return Branches(self.header)

    def select(self, parameters: str | Sequence[str]) -> Trajectory:
        """The same snapshots, of which only some parameters move and count in distances and planes.

        Args:
            parameters: Globs that choose them; see `landscape.layout.Layout.select`.

        Raises:
            LandscapeError: If nothing is left to move.
        """
        return Trajectory(replace(self.header, layout=self.layout.select(parameters)), self._rows)

    def at(self, step: int | str) -> Snapshot:
        """The snapshot at a step: ``run.at(step=400)``, ``run.at("last")``; see `index_of`.

        Raises:
            LandscapeError: If there is no snapshot at that step; the nearest steps are listed.
        """
        return self[self.index_of(step)]

    def index_of(self, step: int | str) -> int:
        """The index of the snapshot at a step.

        Args:
            step: Optimizer updates, ``"first"`` or ``"last"``.

        Raises:
            LandscapeError: If there is no snapshot at that step; the nearest steps are listed.
        """
        if not len(self):
            raise LandscapeError("the run has no snapshots", where=self.path)
        if step in ("first", "last"):
            return 0 if step == "first" else len(self) - 1
        try:
            wanted = int(step) if isinstance(step, str) else operator.index(step)
        except (TypeError, ValueError) as error:
            expected = "a number, 'first' or 'last'"
            raise LandscapeError("not a step", where=self.path, got=repr(step), expected=expected) from error
        steps = self.steps.tolist()
        if wanted in steps:
            return steps.index(wanted)
        close = sorted(sorted(steps, key=lambda other: abs(other - wanted))[:4])
        raise LandscapeError(
            f"no snapshot at step {step}", where=self.path, mend=f"the nearest are {', '.join(map(str, close))}"
        )

    def load_into(self, model: nn.Module, index: int = -1) -> None:
        """Copy the weights and buffers of a snapshot into a model; numbers are cast to the model's element types.

        A model in bfloat16 takes a float32 snapshot, rounded. `Recorder` casts nothing: it refuses.

        Args:
            model: A model of the same layout.
            index: Which snapshot.

        Raises:
            LandscapeError: If a tensor is missing on either side or has another shape; the model is unchanged.
        """
        import torch

        from landscape.params import require_same_shapes, resolve

        snapshot = self[index]
        layout, own = resolve(model)
        require_same_shapes(self.layout, {**own, **_aliases(layout, own)}, "model")
        state = {**snapshot.weights, **snapshot.buffers}
        require_same_shapes(layout, state, self.path)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def column_blocks(self, max_bytes: int = 2**28) -> Iterator[Block]:
        """The numbers that training moves, some columns at a time, all snapshots of each.

        The blocks are disjoint and cover every trainable real parameter once (tied and frozen ones are left
        out), in manifest order, so that the sum of B Bᵀ over the blocks B is the Gram matrix of the snapshots,
        and wᵀB over the blocks of a name, side by side, is the flattened tensor of the combination w.

        Args:
            max_bytes: The memory that the values being read may take.

        Yields:
            Blocks; each is a stretch of one tensor. Their values share memory: use them before the next.

        Raises:
            LandscapeError: If a snapshot is damaged.
        """

        def blocks() -> Iterator[Block]:
            with run_group(self.header) as run:
                yield from column_blocks(run, self.header, self._rows, max_bytes)

        yield from steadily_each(self.path, blocks)


def _aliases(layout: Layout, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {info.name: own[info.tied_to] for info in layout if info.tied_to is not None}


class Branches(Mapping[str, Trajectory]):
    """The branches of a run; each is opened when it is asked for."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._names = [branch.name for branch in header.branches]

    def __getitem__(self, name: str) -> Trajectory:
        if name not in self._names:
            mend = did_you_mean(name, self._names) if self._names else "the run has no branches"
            raise LandscapeError(f"no branch is named '{name}'", where=self._header.path, mend=mend)
        prefix = f"{self._header.prefix.rstrip('/')}/branches/{name}"
        path = self._header.path
        return Trajectory(steadily(path, lambda: load_header(path, prefix)))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_trajectory(path: PathLike) -> Trajectory:
    """Open a trajectory for reading.

    The file is not kept open: each reading opens it for a moment, so that training can go on writing to it.
    Snapshots that are added later are seen when it is opened again.

    Args:
        path: The file. Of a run that several processes recorded, each its own part, the name that the recorder
            was given, or a pattern: ``"run.rank*of4.h5"``.

    Returns:
        The run.

    Raises:
        LandscapeError: If it is missing, damaged, foreign, or written by a newer version; or parts are missing.

    Example:
        >>> run = open_trajectory("run.h5")
        >>> run[-1].step, run.metrics["train_loss"].shape
        (480, (41,))
    """
    return Trajectory(steadily(path, lambda: load_run(path)))
