"""Progress: a bar, in a terminal or a notebook, for whatever takes ``progress=``, and shares of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(
    title: str = "", unit: str = "part", *, quiet: bool | None = False
) -> Iterator[Callable[..., None]]:
    """A bar on stderr, or in the output of a cell of a notebook.

    Args:
        title: Before the bar.
        unit: What is counted.
        quiet: Whether nothing is shown; None shows it where stderr is a terminal.

    Yields:
        A function to be passed as ``progress=``. It takes what is done and in all, after the name of what was done
        where that is told, and before numbers to show.

    Example:
        >>> with ls.progress_bar("surface") as bar:  # doctest: +SKIP
        ...     surface = ls.evaluate(objective, plane, ls.grid(51), progress=bar)
    """
    from tqdm.auto import tqdm

    with tqdm(desc=title, unit=unit, disable=quiet, leave=False) as bar:

        def update(*told: Any) -> None:
            name, done, total, *shown = told if isinstance(told[0], str) else ("", *told)
            bar.total = total
            if name:
                bar.set_description(name, refresh=False)
            for numbers in shown:
                if isinstance(numbers, Mapping) and numbers:
                    bar.set_postfix({key: f"{value:.4g}" for key, value in numbers.items()}, refresh=False)
            bar.update(done - bar.n)

        yield update


def portion(progress: Callable[..., None] | None, place: int, count: int) -> Callable[..., None]:
    """Tell of one of several parts of some work as progress of the whole.

    Args:
        progress: Called with (work done, work in all) of the whole, and with what else the part tells; None hears
            nothing.
        place: The number of the part, from 0.
        count: How many parts there are.

    Example:
        >>> portion(print, 1, 3)(5, 10)
        15 30
    """

    def told(done: int, total: int, *more: Any) -> None:
        if progress is not None:
            progress(place * total + done, count * total, *more)

    return told
