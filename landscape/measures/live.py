"""Head-room of the learning rate while a model trains, from forward passes alone."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.errors import LandscapeError
from landscape.measures.critical import MOST_PASSES, crossing
from landscape.optimizers.observer import Observed, Observer, Optimizers
from landscape.values.result import Result
from landscape.wrappers import unwrapped

# What a loss must change by, in roundings of it, for its change to mean anything.
_ROUNDINGS = 30
_ACTIONS = ("warn", "stop")
_LOGGER = logging.getLogger("landscape.watch")


class HeadroomError(LandscapeError):
    """The head-room of the learning rate fell below the limit, and the training was to be stopped there."""


@dataclass(frozen=True)
class Glance(Result):
    """Reading of a step.

    Attributes:
        step: Updates before it.
        lr: Its learning rate.
        loss: Of the data before it.
        headroom: How many times the step could be before the loss of the data is no lower than before it: 0 where
            it goes uphill, infinite where no end was seen.
        critical_sharpness: 2 / (headroom lr).
        passes: Forward passes that it took.
        seconds: How long they took.
        share: Of the time since the reading before; NaN for the first.
        note: A sentence where a number is missing.
    """

    step: int
    lr: float
    loss: float
    headroom: float
    critical_sharpness: float
    passes: int
    seconds: float
    share: float
    note: str = ""

    @property
    def words(self) -> str:
        """The reading in a line."""
        cost = f"{self.passes} forward passes, {self.seconds:.3g} s"
        cost += "" if self.share != self.share else f", {100 * self.share:.2g} % of the time"
        if self.note:
            return f"step {self.step:,}: {self.note} (lr {self.lr:.4g}; {cost})"
        numbers = f"head-room {self.headroom:.3g}, critical sharpness {self.critical_sharpness:.4g}"
        return f"step {self.step:,}: {numbers} (lr {self.lr:.4g}; {cost})"

    def scalars(self) -> dict[str, float]:
        """Name -> number, as loggers take them."""
        names = ("headroom", "critical_sharpness", "loss", "lr", "seconds")
        return {f"landscape/{name}": float(getattr(self, name)) for name in names}


class LiveWatch:
    """Looks at every so many steps of an optimizer, by its own hooks; made by `watch`.

    Attributes:
        updates: Steps so far.
        readings: What was read.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizers,
        loss: Callable[[Any, Any], Tensor],
        data: tuple[Any, Any],
        every: int,
        log: Any,
        limit: float | None,
        action: str,
    ) -> None:
        self.updates = 0
        self.readings: list[Glance] = []
        self._model, self._loss, self._data = unwrapped(model), loss, data
        self._every, self._log, self._limit, self._action = every, log, limit, action
        parameters = dict(self._model.named_parameters())
        self._observer = Observer(optimizer, parameters, ("update",))
        # Behind the observer's own, which has told the step by then.
        first = optimizer if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)[-1]
        self._hook = first.register_step_post_hook(self._count)
        self._ended = time.monotonic()
        self._rates = [n for n, name in enumerate(self._observer.columns) if name.endswith(".lr")]
        self._await()

    @property
    def last(self) -> Glance | None:
        """The newest reading; None before the first."""
        return self.readings[-1] if self.readings else None

    def remove(self) -> None:
        """Stop watching."""
        self._observer.remove()
        self._hook.remove()

    def _await(self) -> None:
        if self.updates % self._every == 0:
            self._observer.await_step(self._read)

    def _count(self, *_: Any) -> None:
        self.updates += 1
        self._await()

    def _read(self, seen: Observed) -> None:
        began = time.monotonic()
        rate = max(seen.settings[n] for n in self._rates)
        after = {name: one.detach() for name, one in self._model.named_parameters() if name in seen.update}
        losses: dict[float, float] = {}

        def at(place: float) -> float:
            if place not in losses:
                # Measured back from where the weights are now.
                moved = {name: one + (place - 1) * seen.update[name] for name, one in after.items()}
                losses[place] = self._value(moved)
            return losses[place]

        with _evaluating(self._model), torch.no_grad():
            start = at(0.0)
            found = crossing(lambda place: at(place) - start, 0.02)
        noise = _ROUNDINGS * torch.finfo(next(iter(after.values())).dtype).eps * abs(start)
        note, room = "", found.at
        if not math.isfinite(start):
            note, room = "the loss is not finite", math.nan
        elif not rate > 0 or not any(bool(one.any()) for one in seen.update.values()):
            note, room = "the step is zero", math.nan
        elif max(abs(value - start) for value in losses.values()) <= noise:
            note, room = "the loss changes by no more than rounding", math.nan
        elif math.isnan(room) and math.isinf(found.high):
            room = math.inf
        seconds, now = time.monotonic() - began, time.monotonic()
        share = seconds / (now - self._ended) if self.readings else math.nan
        self._ended = now
        sharpness = math.nan if math.isnan(room) else math.inf if room == 0 else 2 / (room * rate)
        glance = Glance(self.updates, rate, start, room, sharpness, len(losses), seconds, share, note)
        self.readings.append(glance)
        self._tell(glance)

    def _value(self, parameters: dict[str, Tensor]) -> float:
        inputs, targets = self._data
        # Buffers of a copy, which a model may write into.
        held = {name: one.clone() for name, one in self._model.named_buffers()}
        output = functional_call(self._model, {**parameters, **held}, (inputs,))
        return float(self._loss(output, targets))

    def _tell(self, glance: Glance) -> None:
        if hasattr(self._log, "add_scalar"):
            for name, value in glance.scalars().items():
                self._log.add_scalar(name, value, glance.step)
        elif self._log is print:
            print(glance.words)  # noqa: T201 (asked for)
        elif self._log is None:
            _LOGGER.info(glance.words)
        else:
            self._log(glance.scalars(), step=glance.step)
        if self._limit is None or not glance.headroom < self._limit:
            return
        words = f"the head-room of the learning rate is below {self._limit:g}: {glance.words}"
        if self._action == "stop":
            raise HeadroomError(words)
        warnings.warn(words, stacklevel=2)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and the global random numbers untouched; every module gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.random.fork_rng():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def watch(
    model: nn.Module,
    optimizer: Optimizers,
    loss: Callable[[Any, Any], Tensor],
    data: tuple[Any, Any],
    *,
    every: int = 200,
    log: Any = None,
    limit: float | None = None,
    action: str = "warn",
) -> LiveWatch:
    """Watch the head-room of the learning rate while a model trains.

    After every so many steps the loss of some data is followed along the update that was just made, by at most
    ten forward passes in evaluation mode, to where it is no lower than before: that many times the step could have
    been. The model, its buffers, its mode and the random numbers are left as they are; memory for two copies of
    the weights is taken meanwhile.

    Args:
        model: The model that is trained.
        optimizer: One that steps once for each update, or several.
        loss: (output, targets) -> the mean loss.
        data: Inputs and targets, on the model's device: one batch, as large as fits.
        every: Steps between two readings; the first is of the next step.
        log: Takes the readings: ``print``; a TensorBoard writer (``add_scalar``); or a function such as
            ``wandb.log``, called with (name -> number, step=). By default `logging` has them at level INFO.
        limit: A head-room below which it warns, or stops.
        action: ``"warn"``, or ``"stop"`` the training by a `HeadroomError` out of the optimizer's step.

    Returns:
        The watch: ``last``, ``readings``, and ``remove()`` to end it.

    Raises:
        LandscapeError: If an argument cannot be used.

    Source:
        Kalra et al. 2026, section 3.

    Example:
        >>> watched = watch(model, optimizer, loss, (x, y), every=100, log=print, limit=1.0)  # doctest: +SKIP
        >>> train(model, optimizer)  # doctest: +SKIP
        step 0: head-room 14.2, critical sharpness 14.1 (lr 0.01; 6 forward passes, 0.004 s)
    """
    if type(every) is not int or every < 1:
        raise LandscapeError("not a number of steps", where="every", got=repr(every), expected="1 or more")
    if action not in _ACTIONS:
        raise LandscapeError("not an action", where="action", got=repr(action), expected="'warn' or 'stop'")
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise LandscapeError("not data", where="data", got=type(data).__name__, expected="(inputs, targets)")
    if log is not None and not callable(log) and not hasattr(log, "add_scalar"):
        raise LandscapeError(
            "takes no readings", where="log", got=type(log).__name__, expected="print, a writer or a function"
        )
    return LiveWatch(model, optimizer, loss, (data[0], data[1]), every, log, limit, action)


__all__ = ["MOST_PASSES", "Glance", "HeadroomError", "LiveWatch", "watch"]
