"""`landscape papers`: what the source papers claim, and what is seen of it here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.errors import did_you_mean

from .command import subcommand
from .render import rendered, rendering_options
from .shared import json_option, say

_PAGES = "docs/papers"


@subcommand(
    epilog="Example: landscape papers; landscape papers dinh2017 --dry-run; landscape papers --small --jobs 2",
    help="Print the report card: a verdict on each claim of the source papers, computed from the numbers beside "
    "the pictures of recipes. Of the PAPERs named (with --small or --paper-size of all recipes) render the "
    "figures instead, as `landscape render` does.",
)
@click.argument("papers", nargs=-1, metavar="[PAPER...]")
@click.option(
    "--check", is_flag=True, help=f"Compare the pages (of -o, or {_PAGES}) with the verdicts; exit 2 if stale."
)
@click.option("-o", "--output", metavar="DIR", help="Write the card as pages into DIR, a page for each paper.")
@click.option(
    "--figures", default="figures", metavar="DIR", help="The recipes, with their gallery. [default: figures]"
)
@rendering_options
@json_option
def command(
    papers: tuple[str, ...], check: bool, output: str | None, figures: str, as_json: bool, **rendering: Any
) -> int:
    """Print the card, write or check its pages, or render figures of papers."""
    from landscape.claims import PAPERS

    for name in papers:
        if name not in PAPERS:
            raise LandscapeError(f"unknown paper '{name}'", mend=did_you_mean(name, PAPERS))
    if not Path(figures).is_dir():
        raise LandscapeError("no such folder", where=figures, mend="name the folder of the recipes with --figures")
    if papers or rendering["size"]:
        if check or output:
            left = "PAPER" if papers else {"small": "--small", "paper": "--paper-size"}[rendering["size"]]
            raise LandscapeError("the pages are of all papers", mend=f"leave out {left}, or --check and -o")
        recipes = [claim.recipe for name in papers for claim in PAPERS[name].claims if claim.recipe is not None]
        targets = [str(Path(figures) / f"{name}.toml") for name in dict.fromkeys(recipes)] or [figures]
        return rendered(targets, as_json=as_json, **rendering)
    return _card(check, output, figures, as_json)


def _card(check: bool, output: str | None, figures: str, as_json: bool) -> int:
    from landscape.claims import PAPERS, card, pages, stale_pages, write_pages

    rows = card(list(PAPERS.values()), figures)
    folder = output or _PAGES
    made = pages(list(PAPERS.values()), rows, folder)
    stale = stale_pages(made, folder) if check else []
    if output and not check:
        write_pages(made, folder)
    say({"claims": [row.to_json() for row in rows]}, _lines(rows), as_json)
    if stale:
        raise LandscapeError(
            f"{', '.join(stale)} say{'s' * (len(stale) == 1)} something else than the numbers",
            where=folder,
            mend=f"landscape papers -o {folder}",
        )
    return 0


def _lines(rows: Sequence[Any]) -> list[str]:
    from landscape.claims import counts, spoken_number

    lines = []
    for paper in dict.fromkeys(row.paper for row in rows):
        lines.append(paper)
        lines += [
            f"  {row.verdict:<19}  {spoken_number(row):>18}  {row.claim.says}"
            for row in rows
            if row.paper == paper
        ]
    total = ", ".join(f"{count} {verdict}" for verdict, count in counts(rows).items())
    return [*lines, f"{len(rows)} claims: {total}"]
