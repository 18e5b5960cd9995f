"""Names of a room that are imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def deferred(module: str, name: str, *more: Any) -> Callable[..., Any]:
    """Return a function of a module that is imported when it is called.

    Args:
        module: The whole name of the module.
        name: Of the function.
        more: Arguments after those that it is called with.

    Example:
        >>> deferred("math", "hypot", 4.0)(3.0)
        5.0
    """

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, *more)

    call.__module__ = module
    return call


def lazy(
    room: str, names: Sequence[str], home: Mapping[str, str | tuple[str, str]], package: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a room: all its names complete, and few are imported with it.

    Args:
        room: The ``__name__`` of the room.
        names: Its ``__all__``, which is what ``dir`` and completion by the tab key list.
        home: Name -> the module of the room that has it, or that module and the name there. A name that is its
            own module's stands for the module.
        package: Where these modules are; by default the room itself.

    Returns:
        The two functions.

    Example:
        >>> find, listed = lazy("landscape", ["forms"], {"forms": "forms"})
        >>> find("forms").__name__, listed()
        ('landscape.forms', ['forms'])
    """

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module '{room}' has no attribute '{name}'", name=name)
        at = home[name]
        module, own = (at, name) if isinstance(at, str) else at
        found = importlib.import_module(f"{package or room}.{module}")
        return found if own == module else getattr(found, own)

    return find, lambda: list(names)
