"""Recording a training by the Hugging Face Trainer: ``Trainer(callbacks=[RecorderCallback("run.h5")])``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from landscape.errors import LandscapeError
from landscape.integrations.session import Session
from landscape.storage import PathLike

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise LandscapeError(
        "transformers cannot be imported",
        got=str(error),
        mend="pip install loss-landscape-toolkit[transformers]",
    ) from error

# What the Trainer logs beside losses and metrics: bookkeeping, and how fast it was.
_NOT_METRICS = ("epoch", "step", "total_flos")


class RecorderCallback(TrainerCallback):
    """Records the weights by optimizer step, from the state before the first update to the last.

    Of a training that goes on (``train(resume_from_checkpoint=...)``) the same file goes on; snapshots newer than
    the checkpoint give way. An exception leaves the run unfinished. Only the process of world rank 0 writes;
    of models that FSDP2 or DeepSpeed's ZeRO-3 shard it gathers each tensor. With ``load_best_model_at_end`` (of
    whole models only) the last snapshot is the last state of the training, not the best model.

    Metrics are what was logged at the very step that is recorded: ``train_loss`` is the mean since the logging
    before, ``eval_...`` is of an evaluation at that step.

    Args:
        path: The trajectory file.
        model: The dotted name of the submodule to record; None records the whole model.
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
        >>> callback = RecorderCallback("run.h5", every=50)
        >>> Trainer(model, arguments, train_dataset=examples, callbacks=[callback]).train()  # doctest: +SKIP
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
        about: dict[str, Any] = {
            "problem": problem,
            "problem_args": problem_args,
            "seed": seed,
            "training": training,
        }
        how: dict[str, Any] = {"every": every, "keep": keep, "dtype": dtype, "background": background}
        how |= {"record": tuple(record), "record_dtype": record_dtype}
        self._session = Session(path, model, overwrite, **about, **how)
        self._last: dict[str, Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the file; a checkpoint has been loaded."""
        self._last = None
        records, optimizer = state.is_world_process_zero, kwargs.get("optimizer")
        self._session.begin(kwargs["model"], state.global_step, records=records, optimizer=optimizer)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Offer the state after the update before: what was logged of it, evaluation included, is known by now."""
        self._session.offer(state.global_step, epoch=state.epoch, metrics=lambda: _logged(state))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Copy the state where the best model may take its place before the training ends."""
        if args.load_best_model_at_end:
            self._last = self._session.copy(kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the last state and finish the run."""
        self._session.hold(state.global_step, epoch=state.epoch, metrics=_logged(state), weights=self._last)
        self._session.end()
        self._last = None


def _logged(state: TrainerState) -> dict[str, float]:
    """Return what was logged at the newest step, without the summary of the whole training at the end."""
    found: dict[str, float] = {}
    for entry in state.log_history:
        if entry.get("step") == state.global_step and "train_runtime" not in entry:
            found |= {name: value for name, value in entry.items() if isinstance(value, int | float)}
    return {
        "train_loss" if name == "loss" else name: float(value)
        for name, value in found.items()
        if name not in _NOT_METRICS and not name.endswith(("_runtime", "_per_second"))
    }
