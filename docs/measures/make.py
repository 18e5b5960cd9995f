"""Makes what the pages of this folder say of measures: the tables, the index and the pictures, from the registry.

Run it from the root of the repository: ``python docs/measures/make.py [NAME ...]``. A page is written once, with a
place for its text; later runs replace the part between the two comments and leave the text alone.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

import landscape as ls
from landscape.recipe.gallery import save_png
from landscape.render.style import Sheet
from landscape.sharpness import SYMMETRIES, Measure, measures

HERE = Path(__file__).parent
BEGIN, END = "<!-- from the registry -->", "<!-- text -->"
# What a picture may weigh.
MOST_BYTES = 25_000
_ALPHAS = 2.0 ** np.arange(-3, 4)
# What differs by less is drawn on an axis that begins at 0.
_SAME = 0.2
_WIDTH, _HEIGHT = 5.6, 2.1


def table_of(one: Measure) -> str:
    """What the registry says of a measure, as a table for its page."""
    settings = ", ".join(f"`{name}` = {value}" for name, value in one.settings.items()) or "none"
    rows = {
        "formula": one.formula,
        "unit": one.unit.format(loss="that of the loss"),
        "source": one.source,
        "invariant to": ", ".join(one.invariant) or "nothing",
        "settings": settings,
        "when it misleads": one.misleads,
    }
    # A bar would part a cell in two.
    lines = [f"| {key} | {value.replace('|', '&#124;')} |" for key, value in rows.items()]
    return "\n".join([f"# {one.name}", "", BEGIN, "", f"| {one.title} | |", "|---|---|", *lines])


def head_of(one: Measure) -> str:
    """All that is written anew on a page: the table, the picture and its caption."""
    return (
        f"{table_of(one)}\n\n"
        f"![{one.title} along training and under a rescaling of layers]({one.name}.png)\n\n"
        "Left: along full-batch gradient descent on the digits. Right: at its end, with the first layer times α "
        f"and the last divided by it, which leaves the function as it is.\n\n{END}\n"
    )


def text_of(page: str) -> str:
    """What was written by hand on a page."""
    return page.partition(END)[2].strip()


def index_of(known: Iterable[Measure]) -> str:
    """The page about all measures."""
    lines = [
        "# Measures",
        "",
        "Numbers that claim to say how sharp a minimum is, each with its formula, its source, and what it claims",
        "not to change under. `landscape measure RUN.h5` takes them, `landscape measure --list` lists them.",
        "",
        "| measure | what it is | invariant to |",
        "|---|---|---|",
    ]
    for one in known:
        title = one.title.replace("|", "&#124;")
        lines.append(f"| [{one.name}]({one.name}.md) | {title} | {', '.join(one.invariant) or 'nothing'} |")
    lines += ["", "What a measure can be invariant to:", ""]
    lines += [f"- {name}: {words}" for name, words in SYMMETRIES.items()]
    return "\n".join(lines) + "\n"


def alpha_scaled(weights: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    """T_alpha of the network of the pictures: first layer times alpha, last one divided, biases in step."""
    factors = {"0.weight": alpha, "0.bias": alpha, "2.bias": alpha, "4.weight": 1 / alpha}
    return {name: tensor * factors.get(name, 1.0) for name, tensor in weights.items()}


def draw(one: Measure, run: Any, objective: Any, path: Path) -> None:
    """The picture of a measure: along training, and at the end under rescalings of layers."""

    def at(weights: Any) -> tuple[float, float]:
        found = ls.sharpness.measure(objective, weights, [one.name])[one.name]
        return found.value, found.standard_error or 0.0

    along = np.array([at(snapshot) for snapshot in run])
    scaled = np.array([at(alpha_scaled(run[-1].weights, float(alpha))) for alpha in _ALPHAS])
    sheet = Sheet(_WIDTH, _HEIGHT)
    with sheet.styled():
        left, right = sheet.subplots(1, 2)
        _curve(left, run.steps, along)
        left.set(xlabel="step", ylabel=f"{one.title}\n({one.unit.format(loss='nats')})")
        _curve(right, _ALPHAS, scaled)
        right.set_xscale("log", base=2)
        if (scaled[:, 0] > 0).all() and scaled[:, 0].max() > 3 * scaled[:, 0].min():
            right.set_yscale("log")
        elif np.nanmax(np.abs(scaled[:, 0] / np.nanmedian(scaled[:, 0]) - 1)) < _SAME:
            # A number that stays the same is not to look as if it shook.
            right.set_ylim(*sorted((0.0, 2 * float(np.nanmedian(scaled[:, 0])))))
        right.set_xlabel("α")
    save_png(sheet, path, MOST_BYTES)


def _curve(ax: Axes, x: Any, found: Any) -> None:
    values, errors = found[:, 0], found[:, 1]
    ax.plot(x, values, "o-", ms=2.5)
    ax.fill_between(x, values - errors, values + errors, alpha=0.25, lw=0)
    ax.spines[["top", "right"]].set_visible(False)


def training() -> tuple[Any, Any]:
    """The run of the pictures, and its objective."""
    objective = ls.problems.build("digits-mlp", {"width": 12, "train_size": 500})
    settings = ls.training.Settings(
        optimizer="gd", lr=0.3, momentum=0.0, epochs=60, every=ls.training.Every.parse("6")
    )
    with tempfile.TemporaryDirectory() as folder:
        run = ls.training.train(objective, Path(folder) / "run.h5", settings)
        snapshots = list(run)
        for snapshot in snapshots:
            # Read before the folder goes.
            _ = snapshot.weights, snapshot.buffers
    return Snapshots(snapshots), objective


class Snapshots(list[Any]):
    """Snapshots that know their steps."""

    @property
    def steps(self) -> list[int]:
        """Optimizer updates."""
        return [snapshot.step for snapshot in self]


def main(names: list[str]) -> None:
    """Write the index, and pages and pictures of some measures or of all."""
    known = measures()
    run, objective = training()
    for name in names or known:
        one, page = known[name], HERE / f"{name}.md"
        text = text_of(page.read_text(encoding="utf-8")) if page.exists() else "What it is, in a paragraph."
        page.write_text(f"{head_of(one)}\n{text}\n", encoding="utf-8")
        draw(one, run, objective, HERE / f"{name}.png")
    (HERE / "README.md").write_text(index_of(known.values()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
