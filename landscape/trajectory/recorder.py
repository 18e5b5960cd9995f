"""Writing a trajectory, snapshot by snapshot, so that a killed process loses at most the one in flight."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from landscape.errors import LandscapeError, MachineError
from landscape.layout import Layout
from landscape.optimizers.observer import Optimizers
from landscape.params import Weights
from landscape.storage import PathLike, deferred_interrupt
from landscape.trajectory.background import Background, Foreground, Offer, Outage, recording, write
from landscape.trajectory.part_weights import weights_of
from landscape.trajectory.resume import encode_state
from landscape.trajectory.rounding import checked_storage, take
from landscape.trajectory.run_file import RunFile
from landscape.trajectory.schedule import Pace, Turn
from landscape.trajectory.step_recorder import NoSteps, StepRecorder, Values
from landscape.trajectory.validation import (
    described,
    plain_name,
    require_active,
    require_growth,
    require_same_recording,
)
from landscape.trajectory.watcher import Watch, rank
from landscape.vocabulary import RECORDED


class Recorder:
    """Records snapshots of a model into a trajectory file.

    The file is opened and closed for every snapshot, and each change happens wholly or not at all. Left without
    an exception, the run is marked as finished; with one, it can be resumed.

    Where `torch.distributed` runs, only rank 0 records; in the others `snapshot` returns False. What FSDP2 or
    DeepSpeed's ZeRO-3 shards is gathered for rank 0: all call `snapshot` then.

    Args:
        path: The file.
        model: The model to be recorded, or anything that stands for its weights.
        problem: The name of the recipe that built the objective.
        problem_args: The arguments of that recipe: plain JSON values.
        seed: The seed of the run.
        training: The settings of the optimizer and the loop: plain JSON values.
        overwrite: Replace a file (or branch) that exists.
        resume: Go on with a run that is not finished; begin one where there is none.
        reopen: With `resume`, go on with a finished run too; its `training` is then what is given, if anything.
        extra_attrs: Further attributes of the file.
        branch: Write a branch of this name into an existing trajectory file.
        parent_run_id: For a branch: the run it starts from.
        parent_step: And its step.
        perturbation: And what was done to the weights there: plain JSON values.
        every: Record only steps that are multiples of this.
        keep: The largest number of snapshots, 2 or more. When one more would come, every second one is dropped
            (not the first), and then only every second candidate is recorded, then every fourth, and so on. The
            newest that was not recorded is held in memory for `finish`. A resume state goes with its snapshot.
        dtype: ``"float16"`` or ``"bfloat16"``: store parameters rounded to this type, with the error that it
            makes at every snapshot. Buffers are always stored as they are.
        background: Write a copy of the weights in a thread; `snapshot` waits where two wait already. Errors come
            with the next call, or at the end. A killed process loses what waits.
        all_ranks: Record in every rank of `torch.distributed`; each needs a file of its own.
        shards: Write the part of a sharded model in each rank, gathering nothing: ``run.h5`` becomes
            ``run.rank0of4.h5`` and so on, and is read as ``run.h5``. Resume states are those of ranks.
        on_error: Where the disk fails, ``"raise"`` or ``"warn"``, once; later snapshots are tried again.
        optimizer: Record the update of this optimizer (or several together) that follows each snapshot, as
            `Snapshot.next_step`. `step_bytes` says what that takes.
        record: Of it ``"update"``, ``"preconditioner"`` and ``"lr"``: all settings, which come with either.
        record_dtype: ``"bfloat16"`` rounds updates and preconditioners; None keeps them.

    Raises:
        LandscapeError: If the file exists and neither `overwrite` nor `resume` is given, cannot be written, or
            is to be resumed and is finished, of another layout, or recorded with other settings.

    Example:
        >>> with Recorder("mine.h5", model, problem="mine", seed=0, every=10) as recorder:
        ...     for step in range(100):
        ...         kept = recorder.snapshot(step)
        ...         update(model)
    """

    def __init__(
        self,
        path: PathLike,
        model: Weights,
        *,
        problem: str = "",
        problem_args: Mapping[str, Any] | None = None,
        seed: int | None = None,
        training: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        resume: bool = False,
        reopen: bool = False,
        extra_attrs: Mapping[str, Any] | None = None,
        branch: str | None = None,
        parent_run_id: str | None = None,
        parent_step: int | None = None,
        perturbation: Any = None,
        every: int | None = None,
        keep: int | None = None,
        dtype: str | torch.dtype | None = None,
        background: bool = False,
        all_ranks: bool = False,
        shards: bool = False,
        on_error: str = "raise",
        optimizer: Optimizers | None = None,
        record: Iterable[str] = RECORDED,
        record_dtype: str | torch.dtype | None = None,
    ) -> None:
        self._weights = weights_of(model, shards)
        self.path = self._weights.file(Path(path), branch)
        self.layout: Layout = self._weights.layout
        self._pace = Pace.checked(every, keep)
        self._storage = checked_storage(dtype)
        self._steps: list[int] = []
        self._offered = 0
        self._held: Offer | None = None
        self._watches: list[Watch] = []
        self._queue = Background() if background else Foreground()
        self._outage = Outage(on_error)
        self.finished = False
        self.active = all_ranks or shards or rank() == 0
        self._stepping: StepRecorder | NoSteps = NoSteps()
        prefix = "/" if branch is None else f"/branches/{plain_name(branch, 'branch')}"
        self._file = RunFile(self.path, prefix, run_id=self._weights.new_id())
        if optimizer is not None:
            self._weights.require_watchable()
        if not self.active:
            return
        self._file.require_mode(overwrite=overwrite, resume=resume)
        exists = self._file.exists()
        if optimizer is not None:
            self._stepping = StepRecorder(optimizer, model, self.layout, record, record_dtype, self._add_step)
        if exists and resume:
            self._continue(reopen, training)
            self._steps = self._weights.agreed(self.path, self.run_id, self._steps)
            return
        known = {"problem": problem, "run_id": self.run_id, "seed": seed}
        known |= {"parent_run_id": parent_run_id, "parent_step": parent_step}
        settings = {"problem_args": problem_args, "training": training, "perturbation": perturbation}
        settings |= {"recording": recording(self._pace, self._storage) or None, "part": self._weights.part}
        told = described(known, settings, extra_attrs)
        self._file.create(self.layout, self._storage, *told, replace=exists, optimizer=self._stepping.about)
        self._weights.agreed(self.path, self.run_id, [])

    def _continue(self, reopen: bool, training: Mapping[str, Any] | None) -> None:
        place = self.path, self._file.prefix, self.layout
        self._file, header = RunFile.resumed(*place, reopen=reopen, training=training)
        require_same_recording(header, recording(self._pace, self._storage))
        self._stepping.require_same(header)
        settings = dict(header.recording)
        self._storage = settings.pop("dtype", None)
        self._pace = Pace(**settings)
        self.layout, self._steps = header.layout, header.steps.tolist()

    def __len__(self) -> int:
        return len(self._steps)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and not self.finished:
                self.finish()
            elif error is not None:
                self.flush()
        except LandscapeError as other:
            if error is None:
                raise
            if other is not error:
                error.add_note(f"what was recorded before could not be written: {other}")
        finally:
            for watch in self._watches:
                watch.detach()
            self._stepping.remove()

    @property
    def step_bytes(self) -> int:
        """Bytes of the file for the optimizer step beside each snapshot; the weights are cloned to see it."""
        return self._stepping.bytes

    @property
    def run_id(self) -> str:
        """32 hexadecimal digits, different for every run."""
        return self._file.run_id

    @property
    def last_step(self) -> int | None:
        """The step of the newest snapshot, or None before the first."""
        return self._steps[-1] if self._steps else None

    def due(self, step: int) -> bool:
        """Return whether `snapshot` would record this step: for metrics that are worth computing only then."""
        open_ = self.active and not self.finished
        return open_ and self._pace.turn(self._steps, operator.index(step), self._offered + 1) is not None

    def snapshot(
        self,
        step: int,
        *,
        epoch: float | None = None,
        seconds: float | None = None,
        weights: Weights | None = None,
        resume_state: Mapping[str, Any] | None = None,
        hold: bool | None = None,
        **metrics: float,
    ) -> bool:
        """Append a snapshot, if it is its turn.

        Args:
            step: Optimizer updates so far; larger than at the snapshot before.
            epoch: Epochs so far.
            seconds: Training time so far.
            weights: What to record instead of the model, of the same layout.
            resume_state: What is needed to go on from here; replaces the state before, in the same change. Left
                aside where the snapshot is not recorded.
            hold: Where it is not its turn, keep a copy in memory for `finish` to write if no later one is
                recorded or held: True after the last update of a training. By default if `keep` is set.
            **metrics: Name -> value, such as ``train_loss``; a name may appear first at any snapshot.

        Returns:
            Whether it was recorded, or in the background will be: False where `every` or `keep` leave it out.

        Raises:
            LandscapeError: If the step does not grow, a tensor differs, or someone else changed the file.
        """
        self._require_open()
        if not self.active:
            return self._weights.follow()
        with self._weights.decision() as decision:
            step = operator.index(step)
            require_growth(self.path, step, self.last_step if self._held is None else self._held.step - 1)
            candidate = self._pace.candidate(step)
            turn = self._pace.turn(self._steps, step, self._offered + 1) if candidate else None
            kept = candidate and self._pace.keep is not None if hold is None else hold
            self._offered += candidate and turn is None
            # Before the copy, so that no more are in memory than are said to be.
            decision.wanted = kept if turn is None else self._goes_well(self._queue.make_room)
        if not decision.wanted:
            return False
        tensors = self._weights.tensors(weights)
        offer = Offer.of(step, epoch, seconds, metrics, take(self.layout, tensors, self._storage))
        if turn is None:
            self._held = offer
            return False
        return self._record(offer, turn, resume_state)

    def pass_over(self) -> None:
        """Record nothing, where the other processes of a sharded model call `snapshot`."""
        if self.active:
            self._weights.pass_over()
        else:
            self._weights.follow()

    def _record(self, offer: Offer, turn: Turn, resume_state: Mapping[str, Any] | None) -> bool:
        """Write a snapshot, now or in the background, and count it; whether that was possible."""
        state = None if resume_state is None else encode_state(resume_state, copy=self._queue.later)
        job = functools.partial(write, offer, self._file, self.layout, self._storage, turn, state)
        # File and memory go together: an interrupt comes before or after both.
        with deferred_interrupt():
            if not self._goes_well(lambda: self._queue.submit(job)):
                return False
            self._steps = [*(self._steps[row] for row in turn.rows), offer.step]
            self._pace, self._offered, self._held = turn.pace, 0, None
        self._stepping.await_step(self.last_step)
        return True

    def _add_step(self, step: int, values: Values) -> None:
        """Write the step that followed the newest snapshot, unless that was lost meanwhile."""
        if step == self.last_step and not self.finished and self._goes_well(self._queue.make_room):
            job = functools.partial(self._file.add_step, len(self._steps) - 1, values)
            self._goes_well(lambda: self._queue.submit(job))

    def _goes_well(self, work: Callable[[], Any]) -> bool:
        """Do some work on the file. If the machine refuses, say so once, drop what waits and return False."""
        try:
            if work() is not False:
                self._outage.over()
        except MachineError as error:
            if self._queue.later:
                self._queue.drop()
                self._continue(self._file.reopened, self._file.training)
            self._outage.tell(error)
            return False
        return True

    def _require_open(self) -> None:
        self._goes_well(self._queue.check)
        if self.finished:
            raise LandscapeError("the run is finished; nothing can be added to it", where=self.path)

    def watch(self, optimizer: torch.optim.Optimizer, *, updates: int | None = None) -> Watch:
        """Record after the updates of an optimizer, whatever the loop: a snapshot every `every` updates.

        Step 0 is recorded at once if the run is empty. When the watch is removed, or the run is finished, the
        newest state becomes the last snapshot.

        Args:
            optimizer: One that steps once per update of the model.
            updates: How many there were before, as with `rewind`; by default as the newest snapshot says, or 0.

        Returns:
            A handle with ``remove()``.

        Example:
            >>> with Recorder("watched.h5", model, every=50) as recorder:
            ...     handle = recorder.watch(optimizer)
            ...     train(model, optimizer)
        """
        self._require_open()
        self._weights.require_watchable()
        watch = Watch(self, optimizer, updates)
        self._watches.append(watch)
        return watch

    def save_resume_state(self, state: Mapping[str, Any]) -> None:
        """Store what is needed to go on from the newest snapshot, in place of what was stored before.

        Args:
            state: Nested dictionaries (keys: strings, integers), lists and tuples of numbers, strings, booleans,
                None, tensors and NumPy arrays.

        Raises:
            LandscapeError: If something else is in it.
        """
        self._require_open()
        if self.active and self._goes_well(self._queue.make_room):
            arrays = encode_state(state, copy=self._queue.later)
            job = functools.partial(self._file.save_state, arrays, len(self._steps))
            self._goes_well(lambda: self._queue.submit(job))

    def load_resume_state(self) -> dict[str, Any] | None:
        """The state stored last, and go on from the snapshot it goes with.

        Returns:
            The same values, tensors on the CPU; None if none was stored.

        Raises:
            LandscapeError: If this process does not record, so that it cannot know.
        """
        self.flush()
        self._require_open()
        require_active(self.active, self.path)
        found = self._file.load_state()
        self._weights.agreed(self.path, self.run_id, [found[1]] if found else [], same=True)
        if found is None:
            return None
        self._go_back(found[1])
        return found[0]

    def rewind(self, step: int) -> None:
        """Go on from a step, where a training goes on from a checkpoint older than the newest snapshot.

        Snapshots after it stay in the file until the next is recorded or the run is finished.

        Args:
            step: Updates that the checkpoint has.
        """
        self.flush()
        self._require_open()
        self._go_back(sum(other <= step for other in self._steps))

    def _go_back(self, count: int) -> None:
        self._steps = self._steps[:count]
        self._offered, self._held = 0, None
        self._stepping.await_step(self.last_step)

    def flush(self) -> None:
        """Wait until all that was recorded is in the file.

        Raises:
            LandscapeError: If something could not be written in the background.
        """
        self._goes_well(self._queue.flush)

    def finish(self, *, keep_state: bool = False) -> None:
        """Write what is held, mark the run as finished and remove its resume state; nothing can be added then.

        Args:
            keep_state: Leave the resume state of the last snapshot, so that the run can be reopened.
        """
        self._require_open()
        for watch in (*self._watches, self._stepping):
            watch.remove()
        if self._held is not None:
            self._record(self._held, self._pace.room(self._steps), None)
        self.flush()
        if self.active:
            self._goes_well(lambda: self._file.finish(len(self._steps), keep_state=keep_state))
        self.finished = True
