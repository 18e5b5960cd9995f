"""A complete page: title, contents, styles, data and scripts in one file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from landscape.html.embedded import json_text, require_embeddable
from landscape.html.markup import Markup, element, joined

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Beside:
    """A script in a file of its own.

    Attributes:
        name: The file, in the folder of the page.
    """

    name: str


@cache
def script_of(name: str, folder: Path = _HERE) -> str:
    """A script by its file name, such as ``"base.js"``; those of other rooms lie in their folders."""
    return (folder / name).read_text(encoding="utf-8")


def page(
    title: str,
    body: Iterable[object],
    *,
    data: Any = None,
    scripts: Iterable[str | Beside] = (),
    about: str = "",
) -> str:
    """A self-contained HTML page, legible on light and dark screens, on phones and on paper.

    A policy in the page forbids it to load anything but its own contents and scripts beside it, and to run
    a script that is not one of those given: markup that slipped into it through a name would do nothing.

    Args:
        title: Above the page, and of its tab.
        body: Parts, in order: `Markup`, or text, which becomes a paragraph.
        data: What the scripts read as ``page.data``: plain values and arrays; see `embedded.json_text`.
        scripts: JavaScript, in order. ``base.js`` comes before them and is left out where there are none.
        about: A line at the foot.

    Returns:
        The page.

    Example:
        >>> "<h1>a &lt;b&gt;</h1>" in page("a <b>", ["some words"])
        True
    """
    scripts = list(scripts)
    own = [script for script in scripts if isinstance(script, Beside)]
    inline = [script for script in scripts if not isinstance(script, Beside)]
    if scripts:
        inline.insert(0, script_of("base.js"))
    content = [part if isinstance(part, Markup) else element("p", part) for part in body]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(inline, beside=bool(own))),
        element("title", title),
        element("style", Markup(script_of("page.css"))),
    ]
    foot = [element("footer", about)] if about else []
    tail = []
    if scripts:
        tail.append(element("script", Markup(json_text(data)), type="application/json", id="data"))
        tail += [element("script", src=script.name) for script in own]
        tail += [element("script", Markup(require_embeddable(script))) for script in inline]
    main = element("main", element("h1", title), *content, *foot)
    document = element("html", element("head", *head), element("body", main, *tail), lang="en")
    return f"<!DOCTYPE html>\n{joined([document])}\n"


def _policy(inline: Iterable[str], *, beside: bool) -> str:
    """The content security policy: nothing from elsewhere, and no script but these."""
    allowed = [f"'sha256-{_digest(script)}'" for script in inline]
    # The drawing library compiles functions for its shaders.
    allowed += (
        ["'unsafe-eval'", "blob:", *(["'self'", "file:"] if beside else [])] if allowed or beside else ["'none'"]
    )
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(allowed)}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
