"""Parts that subcommands share: JSON on stdout, options in pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.forms import pairs_in
from landscape.options import device_named
from landscape.vocabulary import DEVICE, DEVICES

from .signals import Interrupted as Interrupted
from .signals import interruptible


def together(decorators: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """Several options as one decorator; help lists them in the order given."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
data_option = click.option(
    "--data", metavar="DIR", help="The data of problems that need some. [default: the folder LANDSCAPE_DATA names]"
)
problem_option = click.option(
    "--problem",
    metavar="NAME|FILE.py:FUNCTION",
    help="What FILE was trained on; your own file is run. [default: what FILE names, if it is built in]",
)
set_option = click.option(
    "--set", "problem_options", multiple=True, metavar="NAME=VALUE", help="An option of the problem; repeatable."
)
_other_data_option = click.option(
    "--other-data", is_flag=True, help="Go on although the data are not those of the training."
)


def _device(context: click.Context, parameter: click.Parameter, name: str) -> str:
    try:
        return device_named(name)
    except LandscapeError as error:
        raise LandscapeError(str(error), where="--device") from None


device_option = click.option(
    "--device",
    default=DEVICE,
    callback=_device,
    metavar="NAME",
    help=f"Where to compute: {', '.join(DEVICES[:-1])} or {DEVICES[-1]}. [default: {DEVICE}]",
)
objective_options = together([problem_option, set_option, data_option, _other_data_option])


def print_json(document: Any) -> None:
    """Print a document on stdout; numbers that are not finite become null."""
    click.echo(json.dumps(_finite(document), indent=2, allow_nan=False))


def say(document: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print a document on stdout, or what it says in lines."""
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join(lines))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def parse_settings(pairs: Sequence[str], where: str = "--set") -> dict[str, str]:
    """``("width=32", ...)`` as a dictionary; see `options.pairs_in`.

    Raises:
        LandscapeError: Under the option that the user gave.
    """
    try:
        return pairs_in(pairs)
    except LandscapeError as error:
        raise LandscapeError(str(error), where=where) from None


def told_in(given: dict[str, Any]) -> dict[str, Any]:
    """Take the arguments of `objectives.objective_of`, the device excepted, out of the options given."""
    return {
        "problem": given.pop("problem", None),
        "settings": parse_settings(given.pop("problem_options", ())),
        "data": given.pop("data", None),
        "other_data": given.pop("other_data", False),
    }


def spoken_time(seconds: float) -> str:
    """Seconds, or minutes where there are many."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def spoken_estimate(estimates: Sequence[float | None]) -> str:
    """The seconds that steps may take in all, and of how many they are not known."""
    known = [one for one in estimates if one is not None]
    if not known:
        return "time unknown"
    rest = len(estimates) - len(known)
    unknown = f" and {rest} step{'s' * (rest != 1)} of unknown time" if rest else ""
    return f"about {spoken_time(sum(known))} of computing{unknown}"


def what_is_kept(path: str | None, words: str) -> str:
    """The words, where something that was computed is in a file of ours; otherwise that nothing is.

    Args:
        path: The file, if there is one.
        words: What is kept, and how to go on.
    """
    from landscape.files.opening import open_file

    if path is None or not Path(path).exists():
        return "nothing was kept"
    with suppress(LandscapeError):
        held: Any = open_file(path)
        columns = getattr(held, "columns", None)
        if columns is not None:
            return words if any(column.done.any() for column in columns.values()) else "nothing was computed yet"
        if hasattr(held, "done"):
            return words if held.done is None or held.done.any() else "nothing was computed yet"
        return words if len(held) else "nothing was recorded yet"
    return "nothing was kept"


@contextmanager
def kept_until_done(*stems: str) -> Iterator[list[Any]]:
    """Files for finished parts while a command computes, removed when it is done; an interrupt says what is kept.

    Args:
        stems: What the names of the files begin with, in the folder where the command was given.
    """
    from landscape.files.cells import Unfinished

    unfinished = [Unfinished(stem) for stem in stems]
    try:
        with interruptible():
            yield unfinished
    except KeyboardInterrupt:
        kept = " and ".join(str(one.path) for one in unfinished if one.path is not None and one.path.exists())
        words = f"what was finished is kept in {kept}; run the same command to go on"
        raise Interrupted(words if kept else "nothing was finished yet") from None
    for one in unfinished:
        one.remove()


def go_on(count: int) -> str:
    """Words for an interrupt after so many steps; one that was under way goes on where it was, if it can."""
    kept = "what was finished is kept" if count else "no step was finished yet"
    return f"{kept}; run the same command to go on"
