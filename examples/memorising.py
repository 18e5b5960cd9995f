"""Networks that memorise against the one that knows: both fit all examples, and no rescaling makes them alike.

Sharpness alone tells nothing: rescaling makes either as sharp as one likes. The smallest trace on the orbit tells.
That of the memoriser grows like a power of the number of examples, that of the teacher stays where it is (the
setting of Vardhan, Taheri & Mazumdar 2026; the memoriser is a construct of this package's own).

    python examples/memorising.py memorising.png
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import landscape as ls
from landscape import papers
from landscape.problems.multi_index import MultiIndexOptions, draw_multi_index
from landscape.render.style import ONE_COLUMN, Sheet

SIZES = (25, 50, 100, 200, 400, 800)
# Beyond, the closed form is drawn alone.
MOST_BALANCED = 100
SEEDS = range(5)


def traces(examples: int, seed: int) -> dict[str, tuple[float, float]]:
    """Smallest traces on the orbits: found on the real objective by balancing (or NaN), and in closed form."""
    options = MultiIndexOptions(dim=20, train_size=examples, data_seed=seed, test_size=2)
    drawn = draw_multi_index(options)
    direction = papers.random_direction(20, drawn.directions, seed=seed)
    students = {
        "memoriser": papers.memoriser(*drawn.train, direction),
        "teacher": papers.teacher(options),
    }
    found = {}
    for name, student in students.items():
        closed = papers.flattest_trace(student, drawn.train[0])
        found[name] = np.nan, closed
        if examples > MOST_BALANCED:
            continue
        settings = {"train_size": examples, "data_seed": seed, "test_size": 2, "width": len(student.a)}
        objective = ls.problems.build("multi-index", settings)
        weights = student.weights(torch.float64)
        taken = ls.measures.measure(objective, weights, ["orbit_min_trace"], dtype=torch.float64)
        found[name] = taken["orbit_min_trace"].value, closed
    return found


def main(path: str) -> None:
    """Draw the smallest traces against the number of examples."""
    held = {size: [traces(size, seed) for seed in SEEDS] for size in SIZES}
    sheet = Sheet(ONE_COLUMN, 2.6)
    with sheet.styled():
        axes = sheet.add_subplot()
        for name, marker in (("memoriser", "o"), ("teacher", "s")):
            medians = [np.median([one[name] for one in held[size]], axis=0) for size in SIZES]
            measured, closed = np.transpose(medians)
            # A power of 0 is to have no sign.
            power = round(float(np.polyfit(np.log(SIZES), np.log(closed), 1)[0]), 1) + 0.0
            axes.loglog(SIZES, measured, marker, label=f"{name}, found by balancing")
            label = f"closed form, about $n^{{{power:.1f}}}$"
            axes.loglog(SIZES, closed, color=axes.lines[-1].get_color(), lw=0.8, label=label)
        axes.set_xticks(SIZES, list(map(str, SIZES)))
        axes.minorticks_off()
        axes.set_xlabel("training examples n (log scale)")
        axes.set_ylabel("smallest trace on the orbit (log scale)")
        axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.38))
    ls.render.save(sheet, path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "memorising.png")
