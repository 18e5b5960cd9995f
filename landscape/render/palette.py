"""Meanings of colours and line styles in all pictures: one colour for each meaning, of the style in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib import colormaps
from matplotlib.colors import to_hex

# The ink of a lone path and of arrows over a map, whose colours are the same on light and dark pages.
INK = "#1A1A1A"


@dataclass(frozen=True)
class Meaning:
    """Colour, line style and marker of one thing.

    Attributes:
        place: Index of its colour in the cycle of the style.
        dash: The line style.
        marker: The marker, where it has one.
    """

    place: int
    dash: str = "-"
    marker: str = ""

    @property
    def colour(self) -> str:
        """The colour in the style in use; a style of few colours repeats them."""
        cycle = _cycle()
        return cycle[self.place % len(cycle)]


_MEANINGS = {
    # Splits of the data; the dash tells them apart where a colour tells the run.
    "train": Meaning(0, "-"),
    "test": Meaning(1, "--"),
    "val": Meaning(2, "-."),
    # The losses of a path: at the snapshots, and at their projections.
    "real": Meaning(0, "-", "."),
    "in-plane": Meaning(3, "--", "."),
    "off-plane": Meaning(2, "-", "."),
    # What is found, and what it is compared with.
    "found": Meaning(0, "-", "o"),
    "null": Meaning(1, "--", "s"),
    "noisy": Meaning(1, "-"),
    "extreme": Meaning(1, "-"),
}
# More colours for runs, of the muted scheme of Tol (2021), "Colour schemes": unlike those of the styles.
_MORE = ("#999999", "#882255", "#44AA99", "#999933")
# Marks in the order in which things take them that colours tell apart: grey prints tell them apart as well.
MARKS = "os^DvP<X>p"
# Along a curve: the first, the next one's first, and the distance of two, in shares of the diagonal of the axes.
_FIRST, _NEXT, _APART = 0.03, 0.04, 0.2
# Where a path begins and ends.
START, END = "o", "*"
_OTHER = Meaning(3, ":")


def meaning(of: str) -> Meaning:
    """Return the look of a thing; a split that has no name here is dotted.

    Args:
        of: ``"train"``, ``"test"``, ``"val"``, ``"real"``, ``"in-plane"``, ``"off-plane"``, ``"found"``,
            ``"null"``, ``"noisy"`` or ``"extreme"``.
    """
    return _MEANINGS.get(of, _OTHER)


def dash_of(split: str, splits: Sequence[str]) -> str:
    """The line style of a split; a lone split is solid."""
    return "-" if len(splits) == 1 else meaning(split).dash


def split_look(split: str, splits: Sequence[str]) -> tuple[str, str]:
    """The colour and the line style of a split where colours tell no runs.

    Args:
        split: One of them.
        splits: All that are drawn; a lone one is solid, and one of no name has the first colour then.

    Returns:
        Colour and dash.
    """
    known = split in _MEANINGS
    own = meaning(split) if known or len(splits) > 1 else _MEANINGS["found"]
    return own.colour, dash_of(split, splits)


def run_colours(runs: Sequence[str]) -> dict[str, str]:
    """A colour for each run: those of the style and a few more, or of a circle of hues where these are too few.

    Args:
        runs: Names, possibly repeated.

    Returns:
        Name -> colour.
    """
    names = list(dict.fromkeys(runs))
    cycle = [*_cycle(), *_MORE]
    if len(names) > len(cycle):
        # The hues of a circle: runs have no order that a map from dark to bright would suggest. Its ends meet.
        hues = colormaps["hsv"]
        cycle = [_readable(hues(place / len(names))) for place in range(len(names))]
    return dict(zip(names, cycle, strict=False))


def mark_of(place: int) -> str:
    """The mark of the thing of a place in a list; more things than marks repeat them."""
    return MARKS[place % len(MARKS)]


def marks_along(runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A few marks along the curve of each run, so that they are told apart in grey too.

    Args:
        runs: Names, possibly repeated.

    Returns:
        Name -> keywords of `plot`; none for a lone run.
    """
    names = list(dict.fromkeys(runs))
    if len(names) == 1:
        return {names[0]: {}}
    return {
        name: {"marker": mark_of(place), "ms": 3.0, "markevery": (_FIRST + _NEXT * (place % 5), _APART)}
        for place, name in enumerate(names)
    }


def _readable(colour: Sequence[float]) -> str:
    """A hue of middling lightness, which stands out from light and from dark pages."""
    red, green, blue = colour[:3]
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    share = 0.45 / max(light, 0.45)
    return to_hex((share * red, share * green, share * blue))


def _cycle() -> list[Any]:
    return list(mpl.rcParams["axes.prop_cycle"].by_key()["color"])
