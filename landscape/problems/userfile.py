"""A problem in a file of the user's: ``my_problem.py:make``. Its code runs only when the user names it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from landscape.errors import LandscapeError, did_you_mean, from_user_code
from landscape.forms import convert
from landscape.objective import Objective
from landscape.objective.devices import pick_device
from landscape.objective.loaders import own_random_state
from landscape.problems.problem import short_name
from landscape.vocabulary import DEVICE

# What `Objective` takes besides the model, of what a function may give.
_PARTS = ("loss", "train", "test", "weight_decay", "unit", "batch_size", "stream")
_PLAIN = (bool, int, float, str)


@own_random_state()
def build_from_file(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    data: str | PathLike[str] | None = None,
    device: str = DEVICE,
    prepare: Callable[[nn.Module], None] | None = None,
    **arguments: Any,
) -> Objective:
    """The objective that a function of the user's makes; seeds that it sets are not seen outside.

    Args:
        name: ``path/file.py:function``.
        settings: Option -> value, as text or as stored; types are those of the function's annotations or
            defaults.
        seed: Passed as ``seed`` where the function has such a parameter and no setting says otherwise.
        data: Passed as ``data``, likewise.
        device: Where to compute.
        prepare: Called with the model before the objective is made, of parts that the function gives.
        **arguments: Further arguments of `Objective`, where the function gives its parts.

    Returns:
        The objective, with `problem` and `problem_args` set.

    Raises:
        LandscapeError: If file or function are not there or raise, an option is wrong, or what it gives is no
            objective.
    """
    function = _function(name)
    options = _options(function, dict(settings or {}), short_name(name))
    extra = {"seed": seed, **({} if data is None else {"data": str(data)})}
    parameters = inspect.signature(function).parameters
    given = {key: value for key, value in extra.items() if key in parameters and key not in options}
    with _told(name):
        made = function(**options, **given)
        if prepare is not None:
            made = _parts(made, name)
            prepare(made["model"])
        objective = made if isinstance(made, Objective) else Objective(**_parts(made, name), **arguments)
    if objective.device != pick_device(device):
        objective = objective.on(device)
    objective.problem, objective.problem_args = short_name(name), options
    return objective


def _function(name: str) -> Callable[..., Any]:
    file, _, wanted = name.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise LandscapeError("no such file", where=path, mend="write one with: landscape init problem FILE.py")
    # A name of its own, so that no module of the same name is lost.
    spec = importlib.util.spec_from_file_location(f"_problem_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise LandscapeError("cannot be imported", where=path)
    module = importlib.util.module_from_spec(spec)
    with _beside(path.resolve().parent), _told(name):
        # Dataclasses and pickles look their module up by its name.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    found = getattr(module, wanted, None)
    if not callable(found):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        mend = did_you_mean(wanted, functions) if functions else "it defines no function"
        raise LandscapeError(f"there is no function '{wanted}'", where=path, mend=mend)
    return found


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as it could if it were run."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever the user's code raises becomes one line that says where."""
    file = name.rpartition(":")[0]
    try:
        yield
    except LandscapeError:
        raise
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise LandscapeError(f"{error.msg}", where=f"{error.filename or file}{line}") from error
    except Exception as error:
        raise from_user_code(error, file) from error


def _options(function: Callable[..., Any], settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Settings in the types that the function wants; all faults are reported together."""
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        hints = {}
    values, faults = {}, []
    for name, given in settings.items():
        if name not in parameters and not open_ended:
            known = did_you_mean(name, parameters) if parameters else "it has no options"
            faults.append(f"there is no option '{name}', {known}")
            continue
        kind = hints.get(name) or type(getattr(parameters.get(name), "default", None))
        try:
            values[name] = convert(kind, given) if kind in _PLAIN else _literal(given)
        except (TypeError, ValueError, OverflowError):
            faults.append(f"option '{name}' must be of type {kind.__name__}, got {given!r}")
    if faults:
        raise LandscapeError("; ".join(faults), where=where)
    return values


def _literal(given: Any) -> Any:
    """A value as Python writes it, or the text itself."""
    if not isinstance(given, str):
        return given
    try:
        return ast.literal_eval(given)
    except (SyntaxError, ValueError):
        return given


def _parts(made: Any, name: str) -> dict[str, Any]:
    """The arguments of an objective from (model, loss, train[, test]) or a dictionary of them."""
    if isinstance(made, Objective):
        raise LandscapeError(
            "gives an Objective, which has copied the model",
            where=name,
            mend="let it return (model, loss, train) or a dictionary of them",
        )
    if isinstance(made, Mapping):
        parts = dict(made)
    elif isinstance(made, tuple) and 3 <= len(made) <= 4:
        parts = dict(zip(("model", "loss", "train", "test"), made, strict=False))
    else:
        parts = {}
    unknown = [str(key) for key in parts if key not in ("model", *_PARTS)]
    complete = {"model", "loss", "train"} <= parts.keys() and isinstance(parts["model"], nn.Module)
    if unknown or not complete or not callable(parts["loss"]):
        got = (
            f"a dictionary with {', '.join(map(str, parts))}" if isinstance(made, Mapping) else type(made).__name__
        )
        raise LandscapeError(
            "gives no objective",
            where=name,
            got=got,
            expected="an Objective, (model, loss, train) or (model, loss, train, test), or a dictionary of them",
        )
    return parts
