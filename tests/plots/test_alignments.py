"""Pairs of networks that symmetries bring together: words and artists are functions of the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.errors import LandscapeError
from landscape.plots import KINDS
from landscape.plots.alignment_words import gains_in_words
from landscape.plots.alignments import AlignmentOptions
from landscape.plots.kind import Shown
from landscape.plots.source import Source
from landscape.recipe.findings import findings_of
from landscape.render.look import Look
from landscape.values.probes import AlignmentGains, barrier

ALIGNMENT = KINDS["alignment"]
FAMILIES = ("none", "permutations", "scales")


def pair(*heights: float) -> AlignmentGains:
    """Lines from a loss of 1 to one of 2 whose middles are so high."""
    t = np.array([0.0, 0.5, 1.0])
    lines = np.array([[1.0, height, 2.0] for height in heights])
    barriers = np.array([barrier(t, line) for line in lines])
    apart = np.array([3.0, 2.0, 1.0])
    meta = {"units": {"loss": "nats"}}
    return AlignmentGains(
        FAMILIES, {"train_loss": barriers}, apart, {"w": apart}, t, {"train_loss": lines}, "interpolate", meta
    )


@pytest.fixture
def shown() -> Shown:
    return Shown({"a to b": pair(5.0, 3.0, 3.0), "c to d": pair(5.2, 3.4, 3.3)}, AlignmentOptions(), "pairs")


def test_words_say_what_each_family_took_off_and_what_is_within_chance(shown):
    said = ALIGNMENT.words(shown)[-1]
    assert "barrier 3.600 ± 1.271 nats as trained" in said
    assert "1.700 ± 2.541 with permutations (lower by 1.900 ± 1.271)" in said
    assert said.endswith("1.650 ± 1.906 with scales (no clear change)")
    heights = np.array([[1.0, 3.0], [1.0, 3.01]])
    assert "higher by 2.005 ± 0.064" in gains_in_words(["none", "permutations"], heights)
    # Of one pair there is no interval, and the difference is said as it is.
    assert gains_in_words(["none", "permutations"], heights[:1]).endswith("(higher by 2.000)")
    report = ALIGNMENT.report(shown)["barriers"]["none"]
    assert report["standard_error"] == pytest.approx(0.1)
    assert report["half_interval"] == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_the_picture_shows_means_pairs_and_intervals(shown):
    figure = ALIGNMENT.drawn([shown], Look())
    lines, barriers = figure.axes
    drawn = [line.get_ydata().tolist() for line in lines.lines]
    # As trained, with permutations, with all: of each both pairs, then their mean.
    assert drawn[:3] == [[1.0, 5.0, 2.0], [1.0, 5.2, 2.0], [1.0, 5.1, 2.0]]
    assert drawn[8] == [1.0, 3.15, 2.0]
    assert [text.get_text() for text in barriers.get_xticklabels()] == ["as trained", "permutations", "+ scales"]
    means = [float(held.lines[0].get_ydata()[0]) for held in barriers.containers]
    assert means == pytest.approx([3.6, 1.7, 1.65])
    (bar,) = barriers.containers[0].lines[2]
    low, high = bar.get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_findings_change_with_the_numbers(shown):
    numbers = {f"0/{name}": values for name, values in ALIGNMENT.numbers(shown).items()}
    (before,) = findings_of(numbers)
    assert before.startswith("(a) `pairs`: barrier 3.600 ± 1.271 as trained, 1.700")
    assert before.endswith("means of 2 pairs, with 95 % intervals.")
    for name in [name for name in numbers if "barrier" in name]:
        assert findings_of(numbers | {name: 2 * numbers[name]}) != [before]


def test_pairs_take_an_even_number(shown):
    assert list(ALIGNMENT.faults(AlignmentOptions(), {"a": 0, "b": 0, "c": 0}))
    with pytest.raises(LandscapeError, match="two snapshots"):
        ALIGNMENT.compute(Source({}), AlignmentOptions())
