"""Signals held back while files are changed, and points at which a long piece of work may end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_local = threading.local()


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the body is done; in the main thread only, elsewhere it does nothing.

    A signal that is ignored stays ignored. One that came is delivered when the body has ended, with an exception
    or without.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before: dict[int, Any] = {}
    try:
        for number in map(int, _SIGNALS):
            handler = signal.getsignal(number)
            # None means a handler that was not installed from Python and cannot be put back from here.
            if handler not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, lambda came, _frame: caught.append(came))
        with checked_by(lambda: _raise_if(caught)):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(caught):
            signal.raise_signal(number)


def _raise_if(caught: list[int]) -> None:
    if caught:
        raise KeyboardInterrupt


@contextmanager
def checked_by(check: Callable[[], None]) -> Iterator[None]:
    """Let `safe_point` call a function in the body."""
    checks = _checks()
    checks.append(check)
    try:
        yield
    finally:
        checks.remove(check)


def _checks() -> list[Callable[[], None]]:
    if not hasattr(_local, "checks"):
        _local.checks = []
    found: list[Callable[[], None]] = _local.checks
    return found


def safe_point() -> None:
    """End a long piece of writing here if a signal was held back or the disk is full.

    Raises:
        KeyboardInterrupt: If a signal came; it is delivered when all is cleaned up.
        OSError: If something could not be written.
    """
    for check in _checks():
        check()
