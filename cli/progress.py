"""Progress on stderr: bars or a sign of life at a terminal, elsewhere a line a minute."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from .shared import spoken_time

# Seconds of silence at a terminal after which something is said; a person wonders after five.
_QUIET, _LOOK = 2.0, 0.5
# Seconds between lines where nobody watches, as in the log of a job.
_BETWEEN_LINES = 60.0
_SIZE = (80, 24)
# Back to the beginning of a line, and what stands there erased.
_ERASE = "\r\x1b[K"

# The bars that are shown, the latest last. Locks are taken in this order: of bars, tqdm's own, of writing.
_bars: list[Bar] = []
_of_bars, _writing = threading.Lock(), threading.RLock()


def _unlock() -> None:
    """In a child that a library forks while a lock is held."""
    global _of_bars, _writing
    _of_bars, _writing = threading.Lock(), threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


class Bar:
    """A count, and a bar of it where stderr is a terminal.

    Args:
        title: What is done.
        unit: What is counted.
        position: The line that it is drawn in, from the last.
    """

    def __init__(self, title: str, unit: str, position: int | None = None) -> None:
        self.title, self.unit, self.done, self.total = title, unit, 0, 0
        self._whole = title
        self._drawn: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            # Nothing would be drawn at a terminal that does not say how large it is.
            unsaid = not os.get_terminal_size(sys.stderr.fileno()).columns
            size = dict(zip(("ncols", "nrows"), _SIZE, strict=True)) if unsaid else {}
            self._drawn = tqdm(desc=title, unit=unit, leave=False, position=position, **size)

    def begin(self, title: str, total: int = 0) -> None:
        """Count something else from 0."""
        self.title = self._whole = title
        self.done, self.total = 0, total
        if self._drawn is not None:
            self._drawn.reset(total=total or None)
            self._drawn.set_description_str(title)

    def at_work(self, what: str, unit: str = "") -> None:
        """Name the part that is at work beside the title, and what is counted of it where that changes."""
        before, self.title, self.unit = self.title, f"{self._whole}, {what}", unit or self.unit
        if self._drawn is not None and self.title != before:
            self._drawn.unit = self.unit
            self._drawn.set_description_str(self.title)

    def __call__(self, done: int, total: int, numbers: Mapping[str, float] | None = None) -> None:
        """Show how far it is."""
        self.done, self.total = done, total
        if self._drawn is not None:
            self._drawn.total = total
            if numbers:
                self._drawn.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()}, refresh=False)
            self._drawn.update(done - self._drawn.n)

    def refresh(self) -> bool:
        """Draw it once more, with the time that has passed; return whether there is something to draw."""
        if self._drawn is not None:
            self._drawn.refresh()
        return self._drawn is not None

    def close(self) -> None:
        """Take it away."""
        if self._drawn is not None:
            self._drawn.close()


@contextmanager
def _bar(title: str, unit: str, position: int | None = None) -> Iterator[Bar]:
    bar = Bar(title, unit, position)
    with _of_bars:
        _bars.append(bar)
    try:
        yield bar
    finally:
        with _of_bars:
            _bars.remove(bar)
        bar.close()


class _Watched:
    """A stream that remembers when it was written to, and takes back a sign of life before."""

    def __init__(self, stream: Any, pulse: _Pulse) -> None:
        self._stream, self._pulse = stream, pulse

    def write(self, text: str) -> int:
        with _writing:
            self._pulse.heard()
            return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Pulse(threading.Thread):
    """Says that a command is at work."""

    def __init__(self, command: str) -> None:
        super().__init__(daemon=True, name="pulse")
        self._command, self._began, self._ended = command, time.monotonic(), threading.Event()
        self._last, self._shown = self._began, False
        self._stderr = sys.stderr
        self._at_terminal = sys.stderr.isatty()

    def heard(self) -> None:
        """Something else is written: take back what was said."""
        if self._shown:
            self._shown = False
            self._stderr.write(_ERASE)
            self._stderr.flush()
        self._last = time.monotonic()

    def run(self) -> None:
        """Watch until the command ends."""
        while not self._ended.wait(_LOOK if self._at_terminal else _BETWEEN_LINES):
            if not self._at_terminal:
                _line(self._stderr, f"{self._command}: {self._counted()}")
            elif time.monotonic() - self._last >= _QUIET:
                self._live()

    def _live(self) -> None:
        with _of_bars:
            drawn = bool(_bars) and _bars[-1].refresh()
        with _writing:
            if not drawn:
                self._stderr.write(f"{_ERASE}{self._command}: at work, {spoken_time(self._seconds)}")
                self._stderr.flush()
                self._shown = True
            self._last = time.monotonic()

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _counted(self) -> str:
        """Return the counts of now, and since when the command works."""
        with _of_bars:
            bars = [bar for bar in _bars if bar.total]
        said = [f"{bar.title}, {bar.done} of {bar.total} {bar.unit}s" for bar in bars]
        return "; ".join([*said, f"at work for {spoken_time(self._seconds)}"])

    def end(self) -> None:
        """Say nothing any more."""
        self._ended.set()
        self.join()
        with _writing:
            self.heard()


def _line(stream: Any, line: str) -> None:
    """Write a line at once."""
    stream.write(f"{line}\n")
    stream.flush()


@contextmanager
def signs_of_life(command: str) -> Iterator[None]:
    """Never be silent for long at a terminal, and say once a minute elsewhere how far the work is.

    Args:
        command: Who speaks, such as ``"landscape plot"``.
    """
    pulse = _Pulse(command)
    before = sys.stdout, sys.stderr
    if sys.stderr.isatty():
        sys.stdout, sys.stderr = (_Watched(stream, pulse) for stream in before)
    pulse.start()
    try:
        yield
    finally:
        pulse.end()
        sys.stdout, sys.stderr = before


def tell(line: str) -> None:
    """Write a line on stderr, above the bars that are shown."""
    with _of_bars:
        drawn = any(bar.refresh() for bar in _bars)
    if drawn:
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
    else:
        click.echo(line, err=True)


class Rows:
    """Rows of a table that are told as they are finished: at once at a terminal, elsewhere once a minute."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._last = time.monotonic()

    def __call__(self, row: str) -> None:
        """Tell of one more."""
        self._held.append(row)
        if sys.stderr.isatty() or time.monotonic() - self._last >= _BETWEEN_LINES:
            tell("\n".join(self._held))
            self._held, self._last = [], time.monotonic()


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Bar]:
    """A bar on stderr, silent when that is not a terminal.

    Yields:
        A bar to be called with (done, in all, numbers to show) as the work goes on.
    """
    with _bar(title, unit) as bar:
        yield bar


@contextmanager
def step_bars(jobs: int, finished: list[str]) -> Iterator[Callable[[Any], None]]:
    """One bar for all steps and one for each worker on stderr, silent when that is not a terminal.

    Args:
        jobs: The number of workers.
        finished: Takes the titles of the steps that were finished.
    """
    with ExitStack() as stack:
        whole = stack.enter_context(_bar("all", "step", 0))
        workers = [stack.enter_context(_bar("free", "part", 1 + n)) for n in range(jobs)]

        def notify(event: Any) -> None:
            if event.kind == "plan":
                whole.begin("all", event.total)
                return
            bar = workers[event.worker]
            if event.kind == "begin":
                bar.begin(event.step.title)
            elif event.kind == "progress" and event.total:
                if event.what:
                    bar.at_work(event.what)
                bar(event.done, event.total)
            elif event.kind == "progress":
                bar.begin(f"{event.step.title} (waiting for another process)")
            else:
                bar.begin("free")
                whole(whole.done + 1, whole.total)
                finished.append(event.step.title)

        yield notify
