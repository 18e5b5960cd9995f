"""Problems by name: the built-in ones, and functions in files of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.problems.catalogue import PROBLEMS
from landscape.problems.library_names import library_problem
from landscape.problems.problem import Problem, Source, is_file_problem

if TYPE_CHECKING:
    from torch import nn

    from landscape.objective import Objective

_PROBLEMS: dict[str, Problem] = {problem.name: problem for problem in PROBLEMS}


def names() -> list[str]:
    """The names of the built-in problems, in the order they are listed to users."""
    return list(_PROBLEMS)


def get(name: str) -> Problem:
    """A built-in problem, or one with the model of a library, such as ``torchvision:resnet18``.

    Raises:
        LandscapeError: With the nearest name, if there is none of this name.
    """
    of_library = library_problem(name)
    if of_library is not None:
        return of_library
    if name not in _PROBLEMS:
        raise LandscapeError(f"there is no problem '{name}'", mend=_remedy(name))
    return _PROBLEMS[name]


def _remedy(name: str) -> str:
    """Return what to do about the name of a problem that does not exist."""
    if name.endswith(".py"):
        return f"name its function too, as {name}:make"
    if name.endswith((".h5", ".hdf5")):
        return f"that is a file: draw it with landscape plot {name}, or choose from {', '.join(_PROBLEMS)}"
    return f"{did_you_mean(name, _PROBLEMS)}; one of your own is named FILE.py:function"


def is_known(name: str) -> bool:
    """Return whether `get` has a problem of this name."""
    return name in _PROBLEMS or library_problem(name) is not None


def describe() -> list[dict[str, Any]]:
    """Describe the built-in problems, one JSON-able dictionary each."""
    return [problem.describe() for problem in _PROBLEMS.values()]


def parse_options(problem: str | Problem, settings: Mapping[str, Any] | None = None) -> Any:
    """Options of a problem from text (``width=32`` on a command line) or from stored values.

    Args:
        problem: A problem or its name.
        settings: Option -> value; what is left out takes its default.

    Returns:
        An instance of the problem's options.

    Raises:
        LandscapeError: With all faults of the settings in one line.

    Example:
        >>> parse_options("digits-mlp", {"width": "32"}).width
        32
    """
    return (get(problem) if isinstance(problem, str) else problem).parse_options(settings)


def initial_model(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    data: str | PathLike[str] | None = None,
) -> tuple[nn.Module, str, Mapping[str, Any]]:
    """The model of a problem at the weights of seed 0, and how files name the problem.

    Images that would take long to read are not read.

    Args:
        name: One of `names`, or ``path/file.py:function``.
        settings: Option -> value; see `build`.
        data: A file or folder with the data.

    Returns:
        The model, the name of the problem, and all its options.

    Raises:
        LandscapeError: If name or settings are wrong.
    """
    if is_file_problem(name):
        objective = build(name, settings, data=data)
        return objective.model, objective.problem or "", objective.problem_args
    problem = get(name)
    options = problem.parse_options(settings)
    source = Source(None if data is None else Path(data), examples=False)
    return problem.parts(options, 0, source).model, name, asdict(options)


def build(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    data: str | PathLike[str] | None = None,
    download: bool = False,
    **arguments: Any,
) -> Objective:
    """The objective of a problem at its initial weights.

    Args:
        name: One of `names`, or ``path/file.py:function``: that file is run, see `userfile`.
        settings: Option -> value, as text or as stored by an earlier build (``objective.problem_args``).
        seed: Draws the initial weights, and nothing else.
        data: A file or folder with the data, where the problem reads one.
        download: Whether missing data may be fetched from the network.
        **arguments: Further arguments of `Objective`, such as ``device`` or ``weight_decay``.

    Returns:
        The objective; ``build(objective.problem, objective.problem_args, seed=seed)`` gives the same one.

    Raises:
        LandscapeError: If name or settings are wrong, or the data are missing or wrong.

    Example:
        >>> objective = build("toy-hyperbola", {"start1": 2.0, "start2": 1.0})
        >>> objective.value(objective.model)
        1.0
    """
    if is_file_problem(name):
        from landscape.problems.userfile import build_from_file

        return build_from_file(name, settings, seed=seed, data=data, **arguments)
    problem = get(name)
    return problem.build(problem.parse_options(settings), seed, data, download, **arguments)
