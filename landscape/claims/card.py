"""The report card: verdicts on all claims, computed from the numbers that recipes left beside their pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.claims.claim import VERDICTS, Claim, Numbers, Paper, Reading
from landscape.errors import LandscapeError
from landscape.recipe.gallery import FOLDER, duration, run_times
from landscape.storage import atomic_path, read_arrays
from landscape.values.result import Result

_INDEX = "README.md"
_HEAD = """# The papers, claim by claim

Made by `landscape papers -o docs/papers` from the numbers beside the pictures of `figures/`; no verdict is typed
by hand, and `landscape papers --check` computes all again. `landscape papers dinh2017` renders a paper's figures.

- *Seen*: theorems, closed forms, and settings as large as the paper's. Smaller ones are *seen at small scale*.
- *Not seen*: the numbers do not tell. *Contradicted*: they say the opposite, in our setting.
- Errors are half-widths of 95 % intervals over seeds or draws; a number without one is of a single run, or exact.
- *Against* is the number that a claim gives, or the bound that decides it. Claims are in our words; where their
  place is *recalled*, it was not looked up again.

"""


@dataclass(frozen=True)
class Row(Result):
    """A claim and its verdict.

    Attributes:
        paper: The name of the paper.
        claim: The claim.
        verdict: One of `VERDICTS`.
        reading: What the numbers say; None if it is not tested.
        recipe: The recipe; None if it is not tested.
        picture: Its picture.
        seconds: That the recipe took when it was run; None if nothing says so.
    """

    paper: str
    claim: Claim
    verdict: str
    reading: Reading | None = None
    recipe: Path | None = None
    picture: Path | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "paper": self.paper,
            "claim": self.claim.says,
            "verdict": self.verdict,
            "number": None if self.reading is None else self.reading.number,
            "error": None if self.reading is None else self.reading.error,
            "recipe": None if self.recipe is None else self.recipe.as_posix(),
            "picture": None if self.picture is None else self.picture.as_posix(),
            "seconds": self.seconds,
        }


def card(papers: Sequence[Paper], figures: str | os.PathLike[str]) -> list[Row]:
    """The verdicts on all claims.

    Args:
        papers: The papers.
        figures: The folder of recipes whose ``gallery/`` has the numbers.

    Returns:
        A row for each claim, in the order of the papers.

    Raises:
        LandscapeError: If numbers of a recipe are missing.

    Example:
        >>> from landscape.claims import PAPERS
        >>> {row.verdict for row in card(PAPERS.values(), "figures")} <= set(VERDICTS)  # doctest: +SKIP
        True
    """
    folder = Path(figures)
    seconds = run_times(folder)
    held: dict[str, Numbers] = {}
    rows = []
    for paper in papers:
        for claim in paper.claims:
            if claim.recipe is None or claim.read is None:
                rows.append(Row(paper.name, claim, claim.verdict(None)))
                continue
            name = claim.recipe
            if name not in held:
                held[name] = _numbers(folder, name)
            reading = claim.read(held[name])
            picture = folder / FOLDER / f"{name}.png"
            recipe = folder / f"{name}.toml"
            rows.append(
                Row(paper.name, claim, claim.verdict(reading), reading, recipe, picture, seconds.get(name))
            )
    return rows


def _numbers(folder: Path, name: str) -> Numbers:
    file = folder / FOLDER / f"{name}.npz"
    if not file.is_file():
        raise LandscapeError(
            "the numbers of a recipe are missing", where=file, mend=f"landscape render {folder / name}.toml"
        )
    return Numbers(read_arrays(file), str(file))


def pages(papers: Sequence[Paper], rows: Sequence[Row], folder: str | os.PathLike[str]) -> dict[str, str]:
    """The pages of the report card.

    Args:
        papers: The papers.
        rows: Their rows.
        folder: Where the pages are to be: links begin there.

    Returns:
        Name of a file -> its text.
    """
    own = {paper.name: [row for row in rows if row.paper == paper.name] for paper in papers}
    made = {f"{paper.name}.md": _page(paper, own[paper.name], Path(folder)) for paper in papers}
    return {_INDEX: _index(papers, own), **made}


def write_pages(made: dict[str, str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write the pages, and return where they are."""
    written = []
    for name, text in made.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as draft:
            draft.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def stale_pages(made: dict[str, str], folder: str | os.PathLike[str]) -> list[str]:
    """The pages of a folder that are missing, say something else, or belong to no paper."""
    there = {path.name: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.md")}
    return sorted(name for name in {*made, *there} if made.get(name) != there.get(name))


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """The number of claims with each verdict."""
    return {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS}


def _index(papers: Sequence[Paper], own: dict[str, list[Row]]) -> str:
    every = [row for rows in own.values() for row in rows]
    lines = [
        *_HEAD.splitlines(),
        f"| paper | claims | {' | '.join(VERDICTS)} |",
        f"| --- | --- | {' | '.join('---' for _ in VERDICTS)} |",
    ]
    named = [(f"[{paper.name}]({paper.name}.md)", own[paper.name]) for paper in papers]
    for name, rows in [*named, ("all", every)]:
        lines.append(f"| {name} | {len(rows)} | {' | '.join(map(str, counts(rows).values()))} |")
    return "\n".join(lines) + "\n"


def _page(paper: Paper, rows: Sequence[Row], folder: Path) -> str:
    lines = [f"# {paper.name}", "", paper.reference, ""]
    lines += ["| claim | where | verdict | number | against | recipe |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        beside = "" if row.reading is None or row.reading.beside is None else f"{row.reading.beside:.4g}"
        recipe = "" if row.recipe is None else f"[{row.recipe.stem}](#{row.recipe.stem})"
        cells = (row.claim.says, row.claim.where, row.verdict, spoken_number(row), beside, recipe)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    lines += ["", "## Settings", ""]
    lines += [f"{place}. {row.claim.setting}" for place, row in enumerate(rows, 1)]
    made = {row.recipe: row for row in rows if row.recipe is not None}
    for file, row in made.items():
        lines += ["", f"## {file.stem}", "", f"![{file.stem}]({_link(row.picture, folder)})", ""]
        took = "" if row.seconds is None else f" It took {duration(row.seconds)}."
        sized = " With `--paper-size` it has the paper's settings, not run here." * _has_paper_size(file)
        made_by = f"`landscape render {file.as_posix()}` makes it, from [its recipe]({_link(file, folder)})."
        lines.append(f"{made_by}{took}{sized}")
    return "\n".join(lines) + "\n"


def _has_paper_size(file: Path) -> bool:
    return file.is_file() and "\n[paper]\n" in file.read_text(encoding="utf-8")


def _link(path: Path | None, folder: Path) -> str:
    return Path(os.path.relpath(path or folder, folder)).as_posix()


def spoken_number(row: Row) -> str:
    """The number of a row with its error, or nothing."""
    if row.reading is None:
        return ""
    error = "" if row.reading.error is None else f" ± {row.reading.error:.2g}"
    return f"{row.reading.number:.4g}{error}"
