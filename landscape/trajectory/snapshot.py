"""One snapshot of a trajectory: its weights are read when they are asked for. No torch until then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import h5py
from numpy.typing import NDArray

from landscape.errors import LandscapeError, did_you_mean
from landscape.optimizers.step import Step
from landscape.storage import damage, open_read, read_attr, steadily
from landscape.trajectory.columns import read_rows
from landscape.trajectory.schema import FORMAT, SCHEMA, Header
from landscape.trajectory.steps import HOMES, datasets_of_steps, require_steps
from landscape.values.result import Result

if TYPE_CHECKING:
    from torch import Tensor


class Snapshot(Result):
    """All weights and buffers at one step; read from the file when first asked for.

    ``snapshot["conv1.weight"]`` is one of them, and ``dict(snapshot)`` is all, as ``load_state_dict`` takes them.

    Attributes:
        index: Its place in the file, from 0.
        step: Optimizer updates before it.
        epoch: Epochs before it, or NaN.
        seconds: Training time before it, or NaN.
        metrics: Name -> value; NaN where it was not given.
        rounding: |w - round(w)| / |w| over all parameters w, where they are stored rounded; otherwise 0.
        layout: What its tensors are.
    """

    def __init__(self, header: Header, index: int) -> None:
        self._header = header
        self.index = index
        self.step = int(header.steps[index])
        self.epoch = float(header.epochs[index])
        self.seconds = float(header.seconds[index])
        self.metrics = {name: float(values[index]) for name, values in header.metrics.items()}
        self.rounding = float(header.rounding[index])
        self.layout = header.layout

    def __repr__(self) -> str:
        return f"Snapshot(index={self.index}, step={self.step}, run={self._header.path.name!r})"

    def keys(self) -> tuple[str, ...]:
        """The names of all parameters and buffers, in the order of the model."""
        return tuple(info.name for info in self.layout)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.layout)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self:
            mend = did_you_mean(str(name), self.keys())
            raise LandscapeError(f"there is no tensor '{name}'", where=self._header.path, mend=mend)
        return self.weights[name] if name in self.weights else self.buffers[name]

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Parameter name -> tensor on the CPU; tied names share one tensor."""
        return self._tensors("parameter")

    @cached_property
    def buffers(self) -> dict[str, Tensor]:
        """Buffer name -> tensor on the CPU."""
        return self._tensors("buffer")

    @cached_property
    def next_step(self) -> Step | None:
        """The optimizer step that follows: its update, settings and preconditioner; None where none was recorded.

        Raises:
            LandscapeError: If the run records no steps at all.
        """
        require_steps(self._header)
        about, row = self._header.optimizer, self._header.settings[self.index]
        if row[0] != self.step:
            return None
        settings: dict[str, dict[str, float]] = {}
        for name, value in zip(about["columns"][1:], row[1:].tolist(), strict=True):
            group, _, key = name.partition(".")
            settings.setdefault(group, {})[key] = value
        order = {group: number for number, group in enumerate(settings)}
        found = {home: self._of_step(home) for home in about["stored"]}
        return Step(
            step=self.step,
            kind=about["kind"],
            optimizer=about["name"],
            settings=tuple(settings.values()),
            groups={name: order[str(group)] for name, group in about["groups"].items()},
            update=found.get("update", {}),
            preconditioner=found.get("preconditioner"),
        )

    def _of_step(self, what: str) -> dict[str, Tensor]:
        """Parameters of the step: its update, or its preconditioner."""
        import torch

        from landscape.trajectory.resume import numpy_to_tensor

        datasets = datasets_of_steps(self.layout, self._header.optimizer)
        own = {name: infos for name, infos in datasets.items() if name.split("/")[0] == HOMES[what]}
        rows = self._rows(set(own))
        tensors = {}
        for group, infos in own.items():
            offset = 0
            for info in infos:
                flat = rows[group][offset : offset + info.numel]
                offset += info.numel
                held = numpy_to_tensor(flat.reshape(info.shape), group.split("/")[-1])
                tensors[info.name] = held.to(getattr(torch, info.dtype))
        return tensors

    @property
    def digest(self) -> str:
        """The SHA-256 of all weights and buffers, as `landscape.params.digest` has it."""
        from landscape.params import digest

        own = [info.name for info in self.layout if info.tied_to is None]
        state = {**self.weights, **self.buffers}
        return digest({name: state[name] for name in own})

    def _tensors(self, kind: str) -> dict[str, Tensor]:
        import torch

        from landscape.trajectory.resume import numpy_to_tensor

        wanted = [info for info in self.layout if info.kind == kind]
        rows = self._rows({self._header.places[info.name].group for info in wanted})
        found: dict[str, Tensor] = {}
        tensors: dict[str, Tensor] = {}
        for info in wanted:
            place = self._header.places[info.name]
            own = info.tied_to or info.name
            if own not in found:
                flat = rows[place.group][place.offset : place.offset + info.numel]
                stored = numpy_to_tensor(flat.reshape(info.shape), place.group.split("/")[-1])
                found[own] = stored.to(getattr(torch, info.dtype))
            tensors[info.name] = found[own]
        return tensors

    def _rows(self, groups: set[str]) -> dict[str, NDArray[Any]]:
        return steadily(self._header.path, lambda: self._rows_once(groups))

    def _rows_once(self, groups: set[str]) -> dict[str, NDArray[Any]]:
        row = range(self.index, self.index + 1)
        found = {}
        with run_group(self._header) as run:
            for group in groups:
                found[group] = read_rows(run, self._header, group, row)[0]
        return found


@contextmanager
def run_group(header: Header) -> Iterator[h5py.Group | list[Any]]:
    """The group of a run in its file, reopened; another run under the same name is refused.

    Of a run that is spread over files the groups in all of them.
    """
    if header.parts:
        with ExitStack() as stack:
            yield [stack.enter_context(run_group(part.header)) for part in header.parts]
        return
    with open_read(header.path, format=FORMAT, schema=SCHEMA) as file:
        with damage(header.path):
            group = file.get(header.prefix)
            same = group is not None and bool(read_attr(group, "run_id") == header.run_id)
        if not same:
            raise LandscapeError(
                "the file now holds another run than when it was opened", where=header.path, mend="open it again"
            )
        yield group
