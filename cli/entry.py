"""The first moments of the command: Ctrl-C ends it in one line while the rest is being imported."""

from __future__ import annotations

import os
import signal
from types import FrameType

# A shell tells a signal by 128 and its number.
_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
_WORDS = {signal.SIGINT: b"landscape: interrupted\n", signal.SIGTERM: b"landscape: terminated\n"}
_DEFAULTS = (signal.default_int_handler, signal.SIG_DFL)


def main() -> None:
    """Import the command and run it."""
    before = {number: signal.getsignal(number) for number in _CODES}
    before = {number: handler for number, handler in before.items() if handler in _DEFAULTS}
    for number in before:
        signal.signal(number, _end)
    # It takes a moment, in which an interrupt would be shown as a traceback.
    from .main import main as run

    for number, handler in before.items():
        signal.signal(number, handler)
    run()


def _end(number: int, _frame: FrameType | None) -> None:
    """End the process: nothing was begun."""
    os.write(2, _WORDS[signal.Signals(number)])
    os._exit(_CODES[signal.Signals(number)])
