"""Ctrl-C and SIGTERM while a command works: each ends it once, with files whole and temporary ones removed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Code that an exception must not come into: HDF5 swallows it or takes it for damage, finalizers swallow it, and
# libraries that are being loaded end the process.
_CLOSED = ("h5py.", "landscape.journal.", "weakref.", "importlib._bootstrap.")
_FINALIZER = "__del__"
# Seconds until the next try, and how many there are before such code is ended all the same: torch takes a while.
_AGAIN, _TRIES = 0.005, 6000
# Seconds after which it is looked whether an interrupt ends the work, or something has swallowed it.
_LOOK = 1.0
_HAS_TIMER = hasattr(signal, "setitimer")


class Interrupted(Exception):
    """The user pressed Ctrl-C; the message says what is kept and how to go on."""


class Signals:
    """Signals received so far, and whether they may end the work now.

    Attributes:
        number: The signal that came last; None before.
        at_work: Whether a signal ends what is done, or waits for it to begin.
        raised: Whether one has ended something.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.at_work = self.raised = self._looking = False
        self._tries = 0

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt where that ends the work."""
        self.number = number
        looking, self._looking = self._looking, False
        if not self.at_work:
            return
        if _HAS_TIMER and self._tries < _TRIES and _is_closed(frame):
            self.send_again()
            return
        if _HAS_TIMER:
            self.send_again(_LOOK)
        if looking and self.raised and _is_ending():
            return
        self.raised = True
        raise KeyboardInterrupt

    def send_again(self, seconds: float = _AGAIN) -> None:
        """Let the signal come once more in a moment."""
        self._tries += seconds == _AGAIN
        signal.signal(signal.SIGALRM, self._come_again)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _come_again(self, _number: int, _frame: FrameType | None) -> None:
        self._looking = self.raised
        signal.raise_signal(self.number or signal.SIGINT)


def _is_closed(frame: FrameType | None) -> bool:
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if f"{module}.".startswith(_CLOSED) or frame.f_code.co_name == _FINALIZER:
            return True
        frame = frame.f_back
    return False


def _is_ending() -> bool:
    """Return whether a KeyboardInterrupt is already propagating, and what it passes is being closed."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


_signals = Signals()


@contextmanager
def signals_heard(*, to_the_end: bool = False) -> Iterator[Signals]:
    """Let SIGTERM end a command as Ctrl-C does, and neither of the two be lost.

    A signal that is ignored stays ignored, and outside the main thread nothing changes.

    Args:
        to_the_end: Nothing comes after but the end of the process, which no signal changes any more.

    Yields:
        What came.
    """
    global _signals
    if threading.current_thread() is not threading.main_thread():
        yield Signals()
        return
    _signals = heard = Signals()
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: handler for number, handler in wanted.items() if signal.getsignal(number) == handler}
    hook = sys.unraisablehook
    alarm = signal.getsignal(signal.SIGALRM) if _HAS_TIMER else None

    def unraisable(what: Any) -> None:
        # Raised where an object was collected: Python says so, and goes on.
        if _HAS_TIMER and what.exc_type is not None and issubclass(what.exc_type, KeyboardInterrupt):
            heard.send_again()
        else:
            hook(what)

    sys.unraisablehook = unraisable
    for number in before:
        signal.signal(number, heard.hear)
    try:
        yield heard
    finally:
        sys.unraisablehook = hook
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if to_the_end else handler)
        _signals = Signals()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal end the body: one that came before ends it at once, and one that comes after finds it done.

    Libraries in other languages make faults of their own of an interrupt: what is raised after one is that one.
    """
    heard = _signals
    before, heard.at_work = heard.at_work, True
    try:
        if heard.number is not None:
            raise KeyboardInterrupt
        yield
    except Interrupted:
        raise
    except Exception as error:
        if heard.raised:
            raise KeyboardInterrupt from error
        raise
    finally:
        heard.at_work = before
