"""Recording a training by Lightning: ``Trainer(callbacks=[RecorderCallback("run.h5")])``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    records. Sharded models (FSDP, DeepSpeed) cannot be recorded.

    Metrics are those in ``trainer.callback_metrics``, as last logged; a slash in a name becomes an underscore.

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

    Example:
        >>> callback = RecorderCallback("run.h5", model="net", every=50)
        >>> Trainer(max_epochs=3, callbacks=[callback]).fit(module, loader)
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
    ) -> None:
        super().__init__()
        about: dict[str, Any] = {
            "problem": problem,
            "problem_args": problem_args,
            "seed": seed,
            "training": training,
        }
        how: dict[str, Any] = {"every": every, "keep": keep, "dtype": dtype, "background": background}
        self._session = Session(path, model, overwrite, **about, **how)
        self._epoch = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file; the sanity check is over and a checkpoint has been loaded."""
        self._session.begin(pl_module, trainer.global_step, records=trainer.is_global_zero)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Offer the state; called per batch, and the step stays where gradients are accumulated."""
        batches = float(trainer.num_training_batches)
        part = (batch_idx + 1) / batches if batches > 0 else 0.0
        self._epoch = trainer.current_epoch + part
        self._session.offer(trainer.global_step, epoch=self._epoch, metrics=lambda: trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold the state: other callbacks may change the weights at the end of the training."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._session.hold(trainer.global_step, epoch=self._epoch, metrics=metrics)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the run."""
        self._session.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the run unfinished."""
        try:
            self._session.abandon()
        except LandscapeError as other:
            exception.add_note(f"what was recorded before could not be written: {other}")
