"""The interactive page of any value that has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.errors import LandscapeError
from landscape.pages.document import Page
from landscape.values.embedding import Embedding
from landscape.values.experiment import Experiment
from landscape.values.orbit import Orbit
from landscape.values.spectrum import Spectrum
from landscape.values.surface import Surface


def page_of(value: Any, *, field: str | None = None, title: str | None = None) -> Page:
    """The interactive page of a value.

    Args:
        value: A `Surface`, an `Embedding`, a `Spectrum`, an `Experiment` or an `Orbit`; or several
            of a kind by name: planes of several steps get a slider over training time.
        field: Of slices, the field shown first.
        title: Above the page.

    Returns:
        The page.

    Raises:
        LandscapeError: If such a value has no page.

    Example:
        >>> page_of(ls.open_surface("surface.h5")).save("surface.html")  # doctest: +SKIP
    """
    from landscape.pages import lines, orbits, slices

    several = dict(value) if isinstance(value, Mapping) else {"": value}
    kinds = {type(one) for one in several.values()}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is Surface and all(one.y is None for one in several.values()):
        return lines.curves_page(several, field=field, title=title)
    if kind is Surface:
        return slices.slices_page(several, field=field, title=title)
    if kind is Embedding:
        return lines.embedding_page(several, title=title)
    if kind is Experiment:
        return lines.experiment_page(list(several.values()), title=title)
    if kind is Orbit:
        return orbits.orbit_page({one.name: one for one in several.values()}, title=title)
    if kind is Spectrum and len(several) == 1:
        return lines.spectrum_page(next(iter(several.values())), title=title)
    got = ", ".join(sorted({type(one).__name__ for one in several.values()})) or "nothing"
    expected = "slices, embeddings, experiments or orbits, or one spectrum"
    raise LandscapeError("there is no interactive page of this", got=got, expected=expected)
