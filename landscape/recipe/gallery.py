"""The gallery of a folder of recipes: pictures, the numbers in them, and a page that shows both."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.plots import Kind, Shown
from landscape.problems import is_file_problem, short_name
from landscape.recipe.cache import digest_of_file
from landscape.recipe.findings import findings_in
from landscape.recipe.values import files_named
from landscape.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from landscape.recipe.panel import Recipe

# What a repository bears per picture; a larger one gets a palette.
MOST_BYTES = 300_000
FOLDER = "gallery"
_PAGE = "README.md"
# Of versions of other sizes, whose numbers decide no claim.
SIZED_FOLDER = "gallery-{}"
# On the page, before the time that a recipe took.
_TOOK = "Run time: "
# Shares of 200 dots per inch that a picture of too many bytes is reduced to, one after the other: 150 is what
# a screen shows, 100 is still legible.
_SMALLER = (1.0, 0.75, 0.5)


def save_png(figure: Figure, path: Path, most: int | None = None) -> None:
    """Write a picture; one of more than 300 kB gets a palette of 256 colours, where that makes it smaller.

    Args:
        figure: The figure.
        path: Ends in ``.png``.
        most: Bytes that it may have, for pages of small pictures: one that is larger with its palette gets fewer
            dots. By default it keeps the dots that it was asked for.
    """
    from PIL import Image

    from landscape.render import save

    save(figure, path)
    size = path.stat().st_size
    if size <= (MOST_BYTES if most is None else most):
        return
    with Image.open(path) as opened:
        seen = "A" in opened.getbands() and opened.getextrema()[-1][0] < 255  # type: ignore[index]
        whole = opened.convert("RGBA" if seen else "RGB")
        dots = opened.info.get("dpi", (200, 200))[0]
    content = b""
    for share in _SMALLER if most is not None else (1.0,):
        content = _reduced(whole, share, dots)
        if most is not None and len(content) <= most:
            break
    if len(content) >= size:
        return
    with atomic_path(path) as draft:
        draft.write_bytes(content)


def _reduced(picture: Image, share: float, dots: float) -> bytes:
    from PIL import Image

    size = (round(picture.width * share), round(picture.height * share))
    smaller = picture if share == 1 else picture.resize(size, Image.Resampling.LANCZOS)
    # Median cut knows no transparency.
    method = Image.Quantize.FASTOCTREE if picture.mode == "RGBA" else Image.Quantize.MEDIANCUT
    paletted = smaller.quantize(256, method=method, dither=Image.Dither.NONE)
    held = io.BytesIO()
    paletted.save(held, "png", optimize=True, dpi=(dots * share, dots * share))
    return held.getvalue()


def save_numbers(kinds: Sequence[Kind], panels: Sequence[Shown], path: Path) -> None:
    """Write the numbers in a picture, so that it can be compared and drawn again without its runs.

    Args:
        kinds: Of the panels.
        panels: What they show.
        path: A ``.npz`` file: ``"<panel>/<name>"`` for each array of `Kind.numbers`, such as ``"0/base/x"``, in
            float32, which is more than a picture shows.
    """
    arrays = {
        f"{place}/{name}": np.asarray(values, dtype=np.float32)
        for place, (kind, shown) in enumerate(zip(kinds, panels, strict=True))
        for name, values in kind.numbers(shown).items()
    }
    with atomic_path(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def deliver(files: Mapping[str, Path], folder: Path, name: str, dry_run: bool) -> tuple[list[Path], bool]:
    """Put results of the cache where their reader finds them.

    Args:
        files: Suffix -> file in the cache.
        folder: Where they go.
        name: Their name without suffix.
        dry_run: Write nothing.

    Returns:
        Their places, and whether one had to be written because it was missing or another.
    """
    placed, changed = [], False
    for suffix, file in files.items():
        target = folder / f"{name}{suffix}"
        if not target.is_file() or digest_of_file(target) != digest_of_file(file):
            changed = True
            if not dry_run:
                with atomic_path(target) as draft:
                    draft.write_bytes(file.read_bytes())
        placed.append(target)
    if ".html" in files and not dry_run:
        from landscape.pages import plotly_beside

        plotly_beside(folder)
    return placed, changed


def write_page(
    folder: Path, entries: Sequence[tuple[Recipe, float]], total: float, known: Mapping[Path, str]
) -> Path:
    """Write the page of a folder: every picture with its caption, recipe, settings and run time.

    Args:
        folder: The folder of the recipes.
        entries: Recipe and the seconds that its steps took.
        total: The seconds of all steps, those that recipes share counted once.
        known: Path of a recipe -> what the page says of it, where that is known to be true.

    Returns:
        The page, ``README.md``.
    """
    parts = [
        "# Figures",
        "",
        "Each picture is made by the recipe below it, from training to picture, by `landscape render` on this",
        f"folder, which wrote this page too. All together took {duration(total)} of computing.",
        "",
        *(
            f"- [{recipe.name}](#{_anchor(recipe.name)}): {_first_sentence(recipe.caption)}"
            for recipe, _ in entries
        ),
        "",
    ]
    for recipe, seconds in entries:
        parts += [f"## {recipe.name}", known.get(recipe.path) or _section(recipe, folder)]
        parts += [f"{_TOOK}{duration(seconds)}. [The numbers]({FOLDER}/{recipe.name}.npz) in the picture.", ""]
    page = folder / _PAGE
    text = "\n".join(parts)
    if not page.is_file() or page.read_text(encoding="utf-8") != text:
        with atomic_path(page) as draft:
            draft.write_text(text, encoding="utf-8")
    return page


def told(recipes: Iterable[Recipe]) -> dict[Path, tuple[str, float]]:
    """Recipes whose pictures are there as they were made, by the page of their folder.

    Where results of the cache are gone, as in a fresh clone, this is how a committed picture is known: the page
    says the same of its caption, recipe, settings, numbers and files read, and its own files are there. Recipes
    that name code of the user's are left out: the page does not know what was in it.

    Returns:
        Path of a recipe -> what the page says of it, and the seconds that it took.
    """
    sections: dict[Path, dict[str, tuple[str, float]]] = {}
    found = {}
    for recipe in recipes:
        folder = recipe.path.parent
        if folder not in sections:
            sections[folder] = _sections(folder)
        outside = any(run.problem is not None and is_file_problem(run.problem) for run in recipe.runs.values())
        section = sections[folder].get(recipe.name)
        there = not outside and all(file.is_file() for file in files_of(recipe))
        if there and section is not None and section[0] == _section(recipe, folder):
            found[recipe.path] = section
    return found


def files_of(recipe: Recipe) -> list[Path]:
    """The picture of a recipe in the gallery beside it, and its numbers."""
    suffixes = (*recipe.figure.formats, "npz")
    return [recipe.path.parent / FOLDER / f"{recipe.name}.{suffix}" for suffix in suffixes]


def _section(recipe: Recipe, folder: Path) -> str:
    """Text of the page on a recipe, between its name and its run time."""
    first = _first_sentence(recipe.caption)
    found = findings_in(folder / FOLDER / f"{recipe.name}.npz")
    table = folder / FOLDER / f"{recipe.name}.md"
    lines = [
        *("", f"![{_alt(first)}]({FOLDER}/{recipe.name}.png)", "", recipe.caption, ""),
        *([*(f"- {sentence}" for sentence in found), ""] if found else []),
        *("```toml", *_body(recipe), "```", ""),
        *([table.read_text(encoding="utf-8")] if table.is_file() else []),
        *(f"{line}  " for line in settings_of(recipe)),
    ]
    return "\n".join(lines)


def _sections(folder: Path) -> dict[str, tuple[str, float]]:
    """Name of a recipe -> what the page of its folder says of it, and its seconds."""
    page = folder / _PAGE
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    found = re.findall(rf"^## (\S+)\n(.*?)\n{_TOOK}(.*?)\.", text, flags=re.MULTILINE | re.DOTALL)
    return {name: (told, _seconds(took)) for name, told, took in found}


def settings_of(recipe: Recipe) -> list[str]:
    """List what was trained and evaluated, in a line each, with the defaults that the recipe leaves out."""
    lines = []
    for run in recipe.runs.values():
        if run.training is not None:
            t = run.training
            rise = f" after a rise over {t.warmup_epochs:g} epochs" if t.warmup_epochs else ""
            words = [
                f"{t.optimizer}",
                f"{t.epochs} epochs",
                f"rate {t.rate:g} ({t.schedule}{rise})",
                "full batches" if t.optimizer == "gd" else f"batches of {t.batch_size}",
            ]
            words += [f"momentum {t.momentum:g}"] if t.optimizer != "adam" else []
            words += [f"weight decay {t.weight_decay:g}", _seeds(recipe, run.name) or f"seed {t.seed}"]
            words += [f"{key} {value}" for key, value in t.optimizer_options.items()]
            options = ", ".join(f"{key} {value}" for key, value in run.options.items())
            problem = short_name(run.problem or "") + (f" ({options})" if options else "")
            if run.base is not None:
                noise = f" with noise {run.arguments['noise']}" if "noise" in run.arguments else ""
                problem = f"from step {run.arguments.get('at', 'last')} of `{run.base.name}`{noise}"
            lines.append(f"`{run.name}`: {problem}, {', '.join(words)}.")
        else:
            lines.append(f"`{run.name}`: {run.kind} {', '.join(map(_told_file, run.files))}.")
    read = dict.fromkeys(file for panel in recipe.panels for file in files_named(panel.options).values())
    return lines + [f"Read from {_told_file(file)}." for file in read]


def _told_file(file: Path) -> str:
    return f"{file.name} (SHA-256 {digest_of_file(file)[:12]})"


def _seeds(recipe: Recipe, name: str) -> str | None:
    """The seeds of a run that panels give it several of."""
    found = sorted({seed for panel in recipe.panels if name in panel.runs for seed in panel.seeds})
    return f"seeds {', '.join(map(str, found))}" if len(found) > 1 else None


def duration(seconds: float) -> str:
    """Seconds in words that a person would use.

    Example:
        >>> duration(75), duration(4.2)
        ('1 min 15 s', '4 s')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def run_times(folder: Path) -> dict[str, float]:
    """Seconds that recipes took, from the page of their folder; none where there is no page.

    Args:
        folder: The folder of the recipes.

    Returns:
        Name of a recipe -> seconds.
    """
    return {name: seconds for name, (_, seconds) in _sections(folder).items()}


def _seconds(words: str) -> float:
    """The seconds of `duration`, back from its words."""
    unit = {"h": 3600.0, "min": 60.0, "s": 1.0}
    parts = words.split()
    return sum(float(count) * unit[name] for count, name in zip(parts[::2], parts[1::2], strict=True))


def _body(recipe: Recipe) -> list[str]:
    """The text without the caption, which stands above it."""
    rows = recipe.text.splitlines()
    while rows and rows[0].startswith("#"):
        rows.pop(0)
    while rows and not rows[0].strip():
        rows.pop(0)
    return rows


def _first_sentence(text: str) -> str:
    # A capital begins the next one: "et al. 2018" does not.
    return re.split(r"\.\s+(?=[A-Z])", text, maxsplit=1)[0].rstrip(".")


def _alt(text: str) -> str:
    return text.replace("[", "(").replace("]", ")")


def _anchor(name: str) -> str:
    return re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")
