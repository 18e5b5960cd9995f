"""Recording a training by Lightning: ``Trainer(callbacks=[RecorderCallback("run.h5")])``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.integrations.session import Session
from landscape.storage import PathLike

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise LandscapeError(
        "Lightning cannot be imported",
        got=str(error),
        mend="pip install loss-landscape-toolkit[lightning]",
    ) from error


class RecorderCallback(Callback):
    """Records the weights by optimizer step, from the state before the first update to the last.

    Of a training that goes on from a checkpoint (``fit(ckpt_path=...)``) the same file goes on; snapshots newer
    than the checkpoint give way. An exception leaves the run unfinished. Only the process of global rank 0
    writes; of models that FSDP2 or DeepSpeed's ZeRO-3 shard it gathers each tensor.

    Metrics are those that were logged at the very step that is recorded, a validation after it included (not with
    sharded models); others are NaN there. A slash in a name becomes an underscore.

    Args:
        path: The trajectory file.
        model: The dotted name of the submodule to record, such as ``"net"``: its tensors then have the names that
            they have in that module. None records the whole `LightningModule`.
        every: Record steps that are multiples of this.
        keep: The largest number of snapshots, as in `Recorder`; None for all.
        dtype: The element type to store parameters in, as in `Recorder`.
        background: Write in a thread, as in `Recorder`.
        problem: The name of the recipe that builds the objective.
        problem_args: The arguments of that recipe.
        seed: The seed of the run.
        training: Settings to be stored with the run: plain JSON values.
        overwrite: Replace a file that exists when a training begins at step 0.
        record: Of the update that follows each snapshot, ``"update"``, ``"preconditioner"`` and ``"lr"``, as in
            `Recorder`; nothing by default.
        record_dtype: As in `Recorder`.

    Example:
        >>> callback = RecorderCallback("run.h5", model="net", every=50)
        >>> Trainer(max_epochs=3, callbacks=[callback]).fit(module, loader)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: PathLike,
        *,
        model: str | None = None,
        every: int = 1,
        keep: int | None = 100,
        dtype: Any = None,
        background: bool = False,
        problem: str = "",
        problem_args: Mapping[str, Any] | None = None,
        seed: int | None = None,
        training: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        record: Iterable[str] = (),
        record_dtype: Any = None,
    ) -> None:
        super().__init__()
        about: dict[str, Any] = {
            "problem": problem,
            "problem_args": problem_args,
            "seed": seed,
            "training": training,
        }
        how: dict[str, Any] = {"every": every, "keep": keep, "dtype": dtype, "background": background}
        how |= {"record": tuple(record), "record_dtype": record_dtype}
        self._session = Session(path, model, overwrite, **about, **how)
        self._epoch = 0.0
        self._logged = _Logged()
        self._waiting: tuple[int, float, dict[str, Tensor]] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file; the sanity check is over and a checkpoint has been loaded."""
        self._waiting = None
        self._session.begin(
            pl_module, trainer.global_step, records=trainer.is_global_zero, optimizer=trainer.optimizers
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what was counted in the epoch before."""
        self._logged.counts = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record the state after the update before: a validation in between has been logged by now."""
        self._record()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note of what was logged before."""
        self._logged.seen = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note of what was logged of the state after the newest update."""
        if not trainer.sanity_checking:
            self._logged.after_loop(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Copy the state if it is to be recorded; the step stays where gradients are accumulated."""
        batches = float(trainer.num_training_batches)
        part = (batch_idx + 1) / batches if batches > 0 else 0.0
        self._epoch = trainer.current_epoch + part
        self._logged.after_batch(trainer)
        step = trainer.global_step
        if self._waiting is not None and self._waiting[0] == step:
            return
        if self._session.due(step):
            self._waiting = (step, self._epoch, self._session.copy(pl_module))
        else:
            self._session.offer(step, epoch=self._epoch, metrics=lambda: self._logged.of(step))

    def _record(self) -> None:
        """Record what waits, with what was logged of it."""
        if self._waiting is not None:
            step, epoch, weights = self._waiting
            self._waiting = None
            self._session.offer(step, epoch=epoch, metrics=lambda: self._logged.of(step), weights=weights)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold the state: other callbacks may change the weights at the end of the training."""
        self._logged.after_loop(trainer)
        self._record()
        step = trainer.global_step
        self._session.hold(step, epoch=self._epoch, metrics=self._logged.of(step))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the run."""
        self._record()
        self._session.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the run unfinished."""
        try:
            self._record()
            self._session.abandon()
        except LandscapeError as other:
            exception.add_note(f"what was recorded before could not be written: {other}")


class _Logged:
    """Metrics logged at the newest step: ``trainer.callback_metrics`` keeps old values among new ones.

    Attributes:
        seen: The metrics as they were found last.
        counts: How often each metric of training batches had been logged by then.
    """

    def __init__(self) -> None:
        self._step, self._values = -1, dict[str, float]()
        self.seen: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def of(self, step: int) -> dict[str, float]:
        """The metrics of a step."""
        return self._values if step == self._step else {}

    def after_batch(self, trainer: Trainer) -> None:
        """Take what a training step has logged."""
        counts, metrics = _update_counts(trainer), dict(trainer.callback_metrics)
        logged = {name for name, count in counts.items() if count != self.counts.get(name, 0)}
        logged |= {f"{name}_step" for name in logged}
        if not counts:
            # Without counts what has not changed may be old.
            logged = {name for name, value in metrics.items() if not _same(value, self.seen.get(name))}
        self._take(trainer, metrics, logged)
        self.counts = counts

    def after_loop(self, trainer: Trainer) -> None:
        """Take what a validation, or the end of an epoch, has logged."""
        metrics = dict(trainer.callback_metrics)
        batches = {name for known in self.counts for name in (known, f"{known}_step")}
        logged = {
            name
            for name, value in metrics.items()
            if value is not self.seen.get(name) and not (name in batches and _same(value, self.seen.get(name)))
        }
        self._take(trainer, metrics, logged)

    def _take(self, trainer: Trainer, metrics: dict[str, Tensor], logged: set[str]) -> None:
        if trainer.global_step != self._step:
            self._step, self._values = trainer.global_step, {}
        self._values |= {name: float(value) for name, value in metrics.items() if name in logged}
        self.seen = metrics


def _same(value: Tensor, other: Tensor | None) -> bool:
    return other is not None and float(value) == float(other)


def _update_counts(trainer: Trainer) -> dict[str, int]:
    """Name -> how often it was logged in the loop that runs; empty where Lightning does not tell."""
    results = getattr(trainer, "_results", None) or {}
    counts = {}
    for metric in results.values():
        name, count = getattr(getattr(metric, "meta", None), "name", None), getattr(metric, "update_count", None)
        if isinstance(name, str) and isinstance(count, int):
            counts[name] = count
    return counts
