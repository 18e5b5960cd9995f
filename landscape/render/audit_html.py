"""An audit as one self-contained page: the table, and the picture within it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from landscape.html.markup import Markup, element, joined, table
from landscape.html.shell import page
from landscape.render.audits import foretold, times
from landscape.render.pictures import as_data

if TYPE_CHECKING:
    from landscape.values.audit import Audit, Cell, Row


def audit_page(found: Audit, picture: Figure | None = None) -> str:
    """An audit as an HTML page that needs nothing else: no script, no file beside it.

    Args:
        found: The audit.
        picture: What `audit` drew of it; it is put into the page.

    Returns:
        The page.

    Example:
        >>> Path("audit.html").write_text(audit_page(found, audit(found)))  # doctest: +SKIP
    """
    title = f"Audit of {found.meta.get('problem') or 'a minimum'}"
    return page(title, _parts(found, title, picture))


def _parts(found: Audit, title: str, picture: Figure | None) -> Iterator[object]:
    meta = found.meta
    words = [f"step {meta['step']}"] if meta.get("step") is not None else []
    data = (
        f"{meta.get('split')} data, {meta.get('examples')} examples, {meta.get('dtype')}, seed {meta.get('seed')}"
    )
    yield ", ".join([*words, data])
    heads = ["measure", "value", *(one["name"] for one in found.elements), "verdict"]
    yield table(heads, map(_row, found.rows))
    yield element(
        "p",
        "Cells: the measure after the symmetry to the measure before; in brackets what theory foresees. "
        "* the same within three standard errors.",
        class_="note",
    )
    if found.orbit_min_trace is not None:
        yield f"Smallest Gauss-Newton trace on the orbit: {found.orbit_min_trace:.6g}"
    change = f"{found.max_output_change:.2g}; rounding explains up to {found.explained:.2g}"
    yield f"Outputs changed by at most {change}."
    reasons = [f"{row.name} {row.kind}: {row.reason}" for row in found.rows if row.reason]
    yield from _listed("Not tested", [*reasons, *(f"left out, {one}" for one in found.untried)])
    yield from _listed("Blocked", found.blocked)
    if picture is not None:
        yield element("h2", "Picture")
        yield element("figure", element("img", alt=title, src=as_data(picture), class_="broad"))
    yield from _listed("Symmetries found", [f"{one['name']}: {one['description']}" for one in found.symmetries])


def _listed(title: str, lines: Sequence[str]) -> Iterator[Markup]:
    if lines:
        yield element("h2", title)
        yield element("ul", *(element("li", one) for one in lines))


def _row(row: Row) -> list[Markup]:
    error = _small(f" ± {row.standard_error:.1g}") if row.standard_error is not None else None
    value = f"{row.value:.4g}" if math.isfinite(row.value) else "undefined"
    star = "*" if row.within == "standard error" else ""
    return [
        element("th", row.name, scope="row", title=row.title),
        joined([value, error]),
        *map(_cell, row.cells),
        element("td", f"{row.verdict}{star}", title=row.source, class_=row.kind),
    ]


def _cell(cell: Cell) -> Markup:
    foreseen = foretold(cell)
    words = "1" if cell.same else times(cell.ratio)
    more = _small(f" ({foreseen})") if foreseen else None
    return element("td", words, more, class_=None if cell.same else "moved", title=f"{cell.value:.6g}")


def _small(words: str) -> Markup:
    return element("small", words, class_="note")
