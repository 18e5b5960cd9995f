"""From trajectory files to the slices that `landscape plot` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from .coordinates import coordinates
from .plotting import Asked
from .shared import Interrupted, progress_bar, what_is_kept

# What is done before the line that announces it is read.
_SHORT_SECONDS = 2.0
_HESSIAN = "hessian_ratio"


def evaluated(asked: Asked, wanted: dict[str, Any], metric: str | None, split: str | None) -> dict[str, Any]:
    """The slices that are asked for, by what stands above them; a lone one has no name.

    Args:
        asked: What the user wants drawn.
        wanted: The options that say what slice it is.
        metric: The metric that is drawn.
        split: The split that is drawn.
    """
    from landscape.pipeline import COMMON, Slice
    from landscape.storage import require_writable
    from landscape.trajectory import open_trajectory

    save, device = wanted.pop("save_surface", None), wanted.pop("device", "auto")
    common, wanted = wanted.pop("common_plane", False), _renamed(coordinates({**wanted, "kind": asked.kind}))
    if common:
        wanted.setdefault("plane", COMMON)
    chosen = Slice(**wanted, splits=(split,) if split else ())
    if save is not None:
        require_writable(save, [".h5", ".hdf5"])
    runs = dict(zip(asked.names, map(open_trajectory, asked.files), strict=True))
    for file, run in zip(asked.files, runs.values(), strict=True):
        if len(run) == 0:
            raise LandscapeError("the trajectory holds no snapshot yet", where=file, mend="train longer")
    work = _Work(asked, runs, chosen, metric, save, device)
    if chosen.plane == COMMON:
        return work.common()
    if chosen.plane == "runs":
        return work.through()
    if len(runs) > 1:
        mend = "pass --common-plane" if asked.kind == "trajectory" else "pass --plane runs to go through them"
        raise LandscapeError(f"a {asked.kind} is drawn of one file", got=f"{len(runs)} files", mend=mend)
    return work.single()


def _renamed(wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in wanted.items() if name != "gradient_field"}
    return found | ({"gradient": True} if wanted.get("gradient_field") else {})


class _Work:
    """What is to be evaluated, and of which runs."""

    def __init__(
        self, asked: Asked, runs: dict[str, Any], chosen: Any, metric: str | None, save: str | None, device: str
    ) -> None:
        self.asked, self.runs, self.chosen = asked, runs, chosen
        self.metric, self.save, self.device = metric, save, device
        self.first = next(iter(runs.values()))

    def objective(self, run: Any) -> Any:
        """The objective of a run, which has what is to be drawn."""
        from landscape.pipeline import objective_of

        objective = objective_of(run, **self.asked.told, device=self.device)
        drawn = () if self.metric in (None, _HESSIAN) else (self.metric,)
        objective.require(self.chosen.splits, drawn)
        return objective

    def measured(self, objective: Any) -> Any:
        """The slice with all metrics that are computed for it."""
        from dataclasses import replace

        extra = (self.metric,) if self.metric in ("penalty", "total") else ()
        return replace(
            self.chosen, metrics=(*(name for name in ("loss", "error") if name in objective.metrics), *extra)
        )

    def single(self) -> dict[str, Any]:
        """A slice of one run; beside it, where it is asked for, the plane moved to a snapshot."""
        from dataclasses import replace

        from landscape.pipeline import hessian_slice_of, slice_of

        if not self.chosen.snapshots:
            self.first.index_of(self.chosen.at)
        objective = self.objective(self.first)
        if self.metric == _HESSIAN:
            return {"": self._kept(lambda **how: hessian_slice_of(self.first, objective, self.chosen, **how))}
        wanted = self.measured(objective)
        if wanted.nearest is None:
            return {"": self._kept(lambda **how: slice_of(self.first, objective, wanted, **how), notify=_announce)}
        step = self.first[self.first.index_of(wanted.nearest)].step
        last = self.first[self.first.index_of(wanted.at)].step
        found = {}
        for name, nearest, save in (
            (f"plane through step {last}", None, self.save),
            (f"moved to step {step}", step, _beside(self.save, f"-step{step}")),
        ):
            each = replace(wanted, nearest=nearest)
            found[name] = self._kept(
                lambda each=each, **how: slice_of(self.first, objective, each, **how), save, notify=_announce
            )
        return found

    def through(self) -> dict[str, Any]:
        """The line or plane through the files."""
        from landscape.pipeline import slice_through

        objective = self.objective(self.first)
        wanted = self.measured(objective)
        found = self._kept(lambda **how: slice_through(self.runs, objective, wanted, **how), notify=_announce)
        return {"": found}

    def common(self) -> dict[str, Any]:
        """All paths on one map where the files share their objective, else a map for each on the same plane."""
        from landscape.pipeline import slice_common

        objectives = {name: self.objective(run) for name, run in self.runs.items()}
        objective = next(iter(objectives.values()))
        wanted = self.measured(objective)
        if len({self._function(own) for own in objectives.values()}) == 1:
            found = self._kept(lambda **how: slice_common(self.runs, objective, wanted, **how), notify=_announce)
            return {"": found}
        return {
            name: self._kept(
                lambda name=name, own=own, **how: slice_common(self.runs, own, wanted, only=name, **how),
                _beside(self.save, f"-{name}"),
                notify=_announce,
            )
            for name, own in objectives.items()
        }

    def _function(self, objective: Any) -> tuple[Any, ...]:
        """What two objectives share that have the same landscape: model, loss, data, and the penalty if drawn."""
        told = objective.fingerprint(self.first[-1])
        decay = objective.weight_decay if self.metric in ("penalty", "total") else 0.0
        digests = [objective.data_digest(split) for split in objective.splits]
        return (told["model"], told["loss"], told["loss at the origin"], *digests, decay)

    def _kept(self, work: Callable[..., Any], save: str | None = None, **how: Any) -> Any:
        """Do some work with a bar; an interrupt says what is kept."""
        save = save or self.save
        try:
            with progress_bar(f"{self.chosen.kind} of {self.first.problem}", "point") as update:
                return work(save=save, progress=update, **how)
        except KeyboardInterrupt:
            words = f"the points computed are kept in {save}; run the same command to go on"
            raise Interrupted(what_is_kept(save, words)) from None


def _beside(save: str | None, ending: str) -> str | None:
    """The name of a file beside another: S.h5 becomes S-step120.h5."""
    return None if save is None else str(Path(save).with_stem(Path(save).stem + ending))


def _announce(plan: Any) -> None:
    """The choice and the estimate, before the work starts; short work needs no announcement."""
    if plan.seconds >= _SHORT_SECONDS:
        click.echo(plan.describe(), err=True)
