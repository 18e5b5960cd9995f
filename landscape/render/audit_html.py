"""An audit as one self-contained page: the table, and the picture within it."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from landscape.render.audits import foretold, times
from landscape.render.pictures import as_data

if TYPE_CHECKING:
    from landscape.values.audit import Audit, Cell, Row

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.invariant td:last-child { font-weight: 600; }
small { color: #555; }
td.moved { background: #fbe9e1; }
div.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; }
"""


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
    meta = found.meta
    title = f"Audit of {meta.get('problem') or 'a minimum'}"
    words = [f"step {meta['step']}"] if meta.get("step") is not None else []
    words += [
        f"{meta.get('split')} data, {meta.get('examples')} examples, {meta.get('dtype')}, seed {meta.get('seed')}"
    ]
    parts = [f"<h1>{_text(title)}</h1>", f"<p>{_text(', '.join(words))}</p>", _table(found)]
    if found.orbit_min_trace is not None:
        parts.append(f"<p>Smallest Gauss-Newton trace on the orbit: {found.orbit_min_trace:.6g}</p>")
    change = f"{found.max_output_change:.2g}; rounding explains up to {found.explained:.2g}"
    parts.append(f"<p>Outputs changed by at most {change}.</p>")
    reasons = "".join(
        f"<li>{_text(f'{row.name} {row.kind}: {row.reason}')}</li>" for row in found.rows if row.reason
    )
    reasons += "".join(f"<li>{_text(f'left out, {one}')}</li>" for one in found.untried)
    if reasons:
        parts.append(f"<h2>Not tested</h2><ul>{reasons}</ul>")
    if found.blocked:
        parts.append("<h2>Blocked</h2><ul>" + "".join(f"<li>{_text(one)}</li>" for one in found.blocked) + "</ul>")
    if picture is not None:
        parts.append(f'<h2>Picture</h2><p><img alt="{_text(title)}" src="{as_data(picture)}"></p>')
    found_in = "".join(f"<li>{_text(one['name'])}: {_text(one['description'])}</li>" for one in found.symmetries)
    parts.append(f"<h2>Symmetries found</h2><ul>{found_in}</ul>")
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _table(found: Audit) -> str:
    heads = ["measure", "value", *(element["name"] for element in found.elements), "verdict"]
    head = "".join(f'<th scope="col">{_text(one)}</th>' for one in heads)
    rows = "\n".join(_row(row) for row in found.rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n'
        "<p><small>Cells: the measure after the symmetry to the measure before; in brackets what theory foresees. "
        "* the same within three standard errors.</small></p>"
    )


def _row(row: Row) -> str:
    error = f" <small>± {row.standard_error:.1g}</small>" if row.standard_error is not None else ""
    value = f"{row.value:.4g}" if math.isfinite(row.value) else "undefined"
    cells = "".join(_cell(cell) for cell in row.cells)
    star = "*" if row.within == "standard error" else ""
    return (
        f'<tr class="{row.kind}"><td title="{_text(row.title)}">{_text(row.name)}</td>'
        f'<td>{value}{error}</td>{cells}<td title="{_text(row.source)}">{_text(row.verdict)}{star}</td></tr>'
    )


def _cell(cell: Cell) -> str:
    foreseen = foretold(cell)
    words = ("1" if cell.same else times(cell.ratio)) + (f" <small>({foreseen})</small>" if foreseen else "")
    return f'<td{"" if cell.same else " class=moved"} title="{cell.value:.6g}">{words}</td>'


def _text(words: str) -> str:
    return html.escape(str(words))
