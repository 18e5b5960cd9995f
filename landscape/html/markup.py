"""HTML elements whose text is escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

# Elements without content.
_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already: `element` writes it as it is."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An HTML element; children that are not `Markup` are text, and escaped.

    Args:
        tag: Its name.
        *children: Contents, in order; None is left out, numbers are written as `str` writes them.
        **attributes: Values, escaped; ``class_`` stands for ``class``, ``_`` for ``-`` otherwise. True writes the
            name alone, False and None leave it out.

    Example:
        >>> element("p", "a < b ", element("b", "bold"), class_="note")
        '<p class="note">a &lt; b <b>bold</b></p>'
    """
    given = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{joined(children)}</{tag}>")


def joined(children: Iterable[object], between: str = "") -> Markup:
    """Children one after the other, escaped unless they are markup."""
    return Markup(between.join(_content(child) for child in children if child is not None))


def table(
    heads: Sequence[object], rows: Iterable[Sequence[object]], caption: str | None = None, class_: str = ""
) -> Markup:
    """A table that scrolls sideways where the screen is narrow; the first cell of a row is its head.

    Cells that are ``td`` or ``th`` elements already keep their attributes.
    """
    head = element("thead", element("tr", *(element("th", one, scope="col") for one in heads))) if heads else None
    body = element("tbody", *(_row(row) for row in rows))
    titled = element("caption", caption) if caption else None
    # A region that scrolls has to be reachable by the keyboard.
    return element("div", element("table", titled, head, body), class_=f"wide {class_}".strip(), tabindex=0)


def pairs(told: Mapping[str, object]) -> Markup:
    """Names with what belongs to them, as a table without heads."""
    return table((), told.items(), class_="pairs")


def _row(cells: Sequence[object]) -> Markup:
    first, *others = cells
    return element("tr", _cell("th", first, scope="row"), *(_cell("td", one) for one in others))


def _cell(tag: str, cell: object, **attributes: object) -> Markup:
    whole = isinstance(cell, Markup) and cell.startswith(("<td", "<th"))
    return Markup(cell) if whole else element(tag, cell, **attributes)


def _content(child: object) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    spelled = name.rstrip("_").replace("_", "-")
    return f" {spelled}" if value is True else f' {spelled}="{escape(str(value))}"'


def slider(name: str, label: str, count: int, at: int = 0) -> Markup:
    """A slider over so many positions, with its label and an ``output`` named ``NAME-value`` beside it."""
    control = element(
        "input", type="range", id=name, name=name, min=0, max=count - 1, step=1, value=at, autocomplete="off"
    )
    output = element("output", id=f"{name}-value", for_=name)
    return element("div", element("label", label, for_=name), control, output, class_="slider")


def choice(name: str, label: str, options: Mapping[str, object]) -> Markup:
    """Radio buttons under a label; the first is checked.

    Args:
        name: Of the control.
        label: Says what is chosen.
        options: Value -> what it is called.
    """
    buttons = [
        element(
            "label",
            element("input", type="radio", name=name, value=value, checked=place == 0, autocomplete="off"),
            words,
        )
        for place, (value, words) in enumerate(options.items())
    ]
    return element("fieldset", element("legend", label), *buttons)


def plot(name: str, described: str, caption: str = "", keys: bool = False) -> Markup:
    """A place for a drawing of ``page.plot``, with the words that stand for it where it is not seen.

    With ``keys`` the keyboard reaches it.
    """
    tabindex = 0 if keys else None
    place = element("div", id=name, class_="plot", role="img", aria_label=described, tabindex=tabindex)
    said = element("figcaption", caption, id=f"{name}-caption") if caption else None
    return element("figure", place, said)


def warning(title: str, reasons: Sequence[object]) -> Markup:
    """A list of what must not be concluded, in a frame of its own."""
    listed = element("ul", *(element("li", one) for one in reasons))
    return element("div", element("p", element("strong", title)), listed, class_="warning")


def failure(what: str, reason: str) -> Markup:
    """A part that could not be made, with the reason."""
    return element("p", f"{what} is missing: {reason}", class_="failure")
