"""Scales, levels and the numbers written at them: pure functions, tested as such."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.render.scale import Scale, bands, choose, levels, tell, wants_log

numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40)
positives = st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=40)


@given(numbers)
def test_linear_levels_increase_strictly_inside_the_range(values: list[float]) -> None:
    found = levels(values, log=False)
    assert (np.diff(found) > 0).all()
    assert len(found) <= 12
    assert all(min(values) < level < max(values) for level in found)


@given(positives)
def test_log_levels_increase_strictly_inside_the_range(values: list[float]) -> None:
    found = levels(values, log=True)
    assert (np.diff(found) > 0).all()
    assert len(found) <= 14
    assert all(min(values) < level < max(values) for level in found)


@given(positives)
def test_bands_increase_and_contain_every_line(values: list[float]) -> None:
    scale = choose(values)
    edges = bands(scale)
    assert (np.diff(edges) > 0).all()
    assert np.isin(scale.forward(scale.lines()), edges).all() or scale.flat
    assert edges[0] <= scale.forward([scale.low])[0]
    assert edges[-1] >= scale.forward([scale.high])[0]


def test_levels_are_round_numbers() -> None:
    np.testing.assert_allclose(levels([0.001, 30.0], log=True), [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10])
    np.testing.assert_allclose(levels([0.0, 90.0], log=False, count=5), [20, 40, 60, 80])
    many = np.log10(levels([1e-12, 1e12], log=True))
    np.testing.assert_allclose(many, np.arange(-9, 10, 3))


def test_levels_of_a_narrow_range_in_logs_are_linear_ones() -> None:
    np.testing.assert_array_equal(levels([2.01, 2.09], log=True), levels([2.01, 2.09], log=False))


@pytest.mark.parametrize("values", [[], [np.nan], [2.3], [2.3, 2.3], [np.inf, 1.0]])
def test_no_levels_where_nothing_varies(values: list[float]) -> None:
    assert levels(values, log=False).size == 0
    assert levels(values, log=True).size == 0


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([1.0, 31.0], False),
        ([1.0, 32.0], True),
        ([0.0, 1e6], False),
        ([-1.0, 1e6], False),
        ([np.nan, 1, 99], True),
    ],
)
def test_log_colours_from_one_and_a_half_decades_of_positive_values(values: list[float], log: bool) -> None:
    assert choose(values, clip=math.inf).log is log
    assert wants_log(values, 1.5) is log


def test_log_is_refused_where_values_are_not_positive() -> None:
    assert choose([0.0, 1.0], log=True).log is False


def test_a_few_extreme_values_are_clipped_at_a_round_level_above_the_others() -> None:
    body = np.linspace(1.0, 4.0, 200)
    scale = choose(np.append(body, [1e7, 2e7]))
    assert scale == Scale(log=False, low=1.0, high=5.0, clipped=True)
    assert scale.names(scale.lines())[-1] == "> 5"


def test_clipping_on_a_log_scale() -> None:
    body = np.geomspace(1e-3, 30, 400)
    scale = choose(np.append(body, [1e12] * 3))
    assert scale.log
    assert scale.clipped
    assert 20 <= scale.high <= 50


def test_nothing_is_clipped_where_the_values_are_evenly_spread() -> None:
    assert not choose(np.linspace(0, 1, 100)).clipped
    assert not choose(np.geomspace(1e-6, 1e6, 100)).clipped
    assert not choose([1.0, 1.0, 1.0]).clipped


def test_clip_can_be_forced_and_forbidden() -> None:
    values = np.append(np.linspace(1, 4, 200), 1e7)
    assert choose(values, clip=3.0).high == 3.0
    assert choose(values, clip=math.inf).high == 1e7
    assert not choose(values, clip=0.5).clipped


def test_forward_never_invents_a_value() -> None:
    scale = Scale(log=True, low=1.0, high=100.0)
    np.testing.assert_allclose(scale.forward([1.0, 10.0, np.nan, np.inf]), [0.0, 1.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.00002, 0.1, 30.0], ["2e−5", "0.1", "30"]),
        ([2.302584, 2.302585], ["2.302584", "2.302585"]),
        ([-1.5, 0.0, 2500.0], ["−1.5", "0", "2500"]),
        ([1e12], ["1e12"]),
        ([], []),
    ],
)
def test_numbers_are_short_and_told_apart(values: list[float], texts: list[str]) -> None:
    assert tell(values) == texts


@given(
    st.lists(st.floats(-1e8, 1e8, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-8), unique=True)
)
def test_different_levels_never_get_the_same_text(values: list[float]) -> None:
    rounded = sorted({float(f"{value:.8g}") + 0.0 for value in values})
    assert len(set(tell(rounded))) == len(rounded)
