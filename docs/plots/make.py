"""Makes docs/plots.md: every kind of picture with its options, from their declarations.

Run it from the root of the repository: ``python docs/plots/make.py``.
"""

from __future__ import annotations

from pathlib import Path

from landscape.options import options_table
from landscape.plots import KINDS, Kind
from landscape.render.look import Look
from landscape.vocabulary import PAGE_OPTIONS

PAGE = Path(__file__).parent.parent / "plots.md"
_HEAD = """# Every kind of picture

One declaration serves all three ways to ask for a picture, and the same options give the same picture:

```console
$ landscape plot run.h5 --kind spectrum --probes 20 -o spectrum.png
```

```toml
[[panel]]
kind = "spectrum"
probes = 20
```

```python
ls.plots.spectrum("run.h5", probes=20)
```

On the command line an option has dashes (`--x-range -1:0.5`, `--points 41x21`); in TOML and Python it has
underscores and values of its own type (`x_range = [-1, 0.5]`, `points = [41, 21]`). All faults of an input are
told at once. FILE may be `FILE:STEP`, `FILE:BRANCH` or `FILE:BRANCH:STEP`. This page is made by
`docs/plots/make.py`.

{sheets}
"""


def page() -> str:
    """The page."""
    index = ["| kind | what it shows |", "|---|---|"]
    index += [f"| [`{kind.name}`](#{kind.name}) | {kind.summary} |" for kind in KINDS.values()]
    parts = [
        _HEAD.replace("{sheets}", _sheets()),
        "\n".join(index),
        *(_section(kind) for kind in KINDS.values()),
        _look(),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _sheets() -> str:
    links = [f"[{name}](contact-sheet-{name}.png)" for name in ("one-column", "two-columns", "talk")]
    said = "Every kind at three widths, out of runs of a few seconds (`docs/plots/contact_sheet.py`):"
    return f"{said} {', '.join(links)}."


def _section(kind: Kind) -> str:
    first = next(one for one in KINDS.values() if one.title == kind.title)
    head = f"## {kind.name}\n\n{kind.summary[:1].upper()}{kind.summary[1:]}."
    if first.name != kind.name:
        return f"{head} The options are those of [`{first.name}`](#{first.name})."
    return f"{head}\n\n{options_table(kind.options)}"


def _look() -> str:
    rows = ["| kind | and of its look |", "|---|---|"]
    for kind in KINDS.values():
        own = [name for name in kind.heeds(kind.options()) if name not in PAGE_OPTIONS]
        rows.append(f"| `{kind.name}` | {', '.join(f'`{name}`' for name in own) or '-'} |")
    page = ", ".join(f"`{name}`" for name in PAGE_OPTIONS)
    said = (
        f"In a recipe they stand in `[figure]`. Every kind heeds {page}; what means nothing for a kind is "
        "refused. Other options of a kind may add to this table or take away: `mds` heeds `cmap` where `color` is "
        "`loss` or `step`, a barrier matrix of `interpolate` heeds it, and `view` `levels` does not."
    )
    return "\n\n".join(["## Look", said, options_table(Look), "\n".join(rows)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
