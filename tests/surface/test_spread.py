"""Statistics over repeats, against closed forms and NumPy."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from landscape.errors import LandscapeError
from landscape.surface import Surface, grid
from landscape.values.repeats import band, lines, subset_error, summarise_repeats

X = grid(21, dims=1).x
META = {"units": {"loss": "nats"}, "dtype": "float64"}


def curves(*rows: np.ndarray, x: np.ndarray = X, **more: object) -> Surface:
    values = np.array(rows)
    meta = more.pop("meta", META)
    return Surface(x, None, {"train_loss": values}, meta=meta, repeat=np.arange(len(rows)), **more)  # type: ignore[arg-type]


@given(arrays.arrays(float, (7, 3), elements=st.floats(-1e3, 1e3)))
def test_quantiles_are_numpy_s(values: np.ndarray) -> None:
    found = band(Surface(np.arange(3.0), None, {"a": values}, repeat=np.arange(7)), "a")
    for own, share in ((found.low, 0.1), (found.lower_quartile, 0.25), (found.median, 0.5), (found.high, 0.9)):
        np.testing.assert_allclose(own, np.quantile(values, share, axis=0), rtol=1e-12, atol=1e-12)


def test_missing_repeats_are_left_out_and_infinity_is_the_largest() -> None:
    values = np.array([[1.0, np.nan, np.inf], [2.0, np.nan, np.inf], [3.0, np.nan, 1.0], [9.0, 4.0, 2.0]])
    done = np.ones((4, 3), bool)
    done[3, 0] = False
    found = band(Surface(np.arange(3.0), None, {"a": values}, done=done, repeat=np.arange(4)), "a")
    assert found.count.tolist() == [3, 1, 4]
    np.testing.assert_array_equal(found.median, [2.0, 4.0, np.inf])
    np.testing.assert_array_equal(found.high, [2.8, 4.0, np.inf])
    np.testing.assert_array_equal(found.lower_quartile[:2], [1.5, 4.0])
    assert np.isnan(
        band(Surface(np.arange(2.0), None, {"a": np.full((2, 2), np.nan)}, repeat=np.arange(2)), "a").median
    ).all()


def test_the_relative_width_is_undefined_where_the_median_is_0() -> None:
    found = band(curves(np.array([0.0, 1.0]), np.array([0.0, 3.0]), x=np.arange(2.0)), "train_loss")
    np.testing.assert_allclose(found.relative_width, [np.nan, 1.6 / 2])


def test_a_parabola_has_its_curvature_and_no_asymmetry() -> None:
    found = lines(curves(1 + 3 * X**2, 1 - 2 * X**2), "train_loss")
    np.testing.assert_allclose(found.curvature, [6.0, -4.0], atol=found.rounding.max())
    np.testing.assert_allclose(found.asymmetry, 0.0, atol=1e-14)
    assert (found.positive, found.negative, found.undecided, found.unknown) == (1, 1, 0, 0)
    assert found.share_positive == 0.5


def test_a_cubic_has_the_asymmetry_of_the_closed_form() -> None:
    b, c, r = 3.0, 2.0, X[X > 0]
    found = lines(curves(0.5 + b * X**2 + c * X**3, 0.5 + b * X**2 - c * X**3), "train_loss")
    expected = c / b * (r**3).mean() / (r**2).mean()
    np.testing.assert_allclose(found.asymmetry, [expected, -expected], rtol=1e-12)
    # A cubic term is odd: it leaves the second difference alone.
    np.testing.assert_allclose(found.curvature, 2 * b, atol=found.rounding.max())


@given(arrays.arrays(float, 21, elements=st.floats(0, 10)))
def test_the_asymmetry_is_at_most_1_where_the_centre_is_lowest(values: np.ndarray) -> None:
    values[10] = 0
    found = lines(curves(values, values), "train_loss").asymmetry
    assert (np.isnan(found) | (np.abs(found) <= 1 + 1e-12)).all()


def test_curvature_is_exact_for_a_quadratic_on_uneven_steps() -> None:
    x = np.array([-1.0, -0.3, 0.0, 0.1, 2.0])
    found = lines(curves(2 + x + 5 * x**2, x=x), "train_loss")
    np.testing.assert_allclose(found.curvature, 10.0, atol=found.rounding.max())
    assert np.isnan(found.asymmetry).all()


def test_the_fourth_derivative_is_the_error_of_the_curvature() -> None:
    found = lines(curves(X**4), "train_loss")
    # h^2 L''''/12 = 0.01 * 24 / 12.
    np.testing.assert_allclose(found.curvature, 0.02, atol=found.rounding.max())


@pytest.mark.parametrize(("dtype", "undecided"), [("float32", 1), ("float64", 0)])
def test_a_curvature_within_rounding_is_undecided(dtype: str, undecided: int) -> None:
    # Float32 numbers of size 1 carry 1.2e-7 of rounding, so steps of 0.1 leave 4.8e-5 to the curvature.
    found = lines(curves(1 + 1e-5 * X**2, meta={**META, "dtype": dtype}), "train_loss")
    assert found.undecided == undecided
    assert found.positive == 1 - undecided
    assert found.rounding[0] == pytest.approx(2.0 ** (-23 if dtype == "float32" else -52) * 400, rel=1e-5)


def test_a_constant_decides_nothing_and_a_hole_is_unknown() -> None:
    hole = 1 + X**2
    hole[11] = np.nan
    found = lines(curves(np.ones(21), hole), "train_loss")
    assert (found.positive, found.undecided, found.unknown) == (0, 1, 1)
    assert np.isnan(found.asymmetry).all()
    assert found.share_positive == 0.0


@pytest.mark.parametrize("x", [X + 3, np.linspace(0.0, 1.0, 21)])
def test_without_a_centre_inside_nothing_is_known(x: np.ndarray) -> None:
    found = lines(curves(x**2, x=x), "train_loss")
    assert found.positive == found.negative == found.undecided == 0
    assert math.isnan(found.share_positive)


def test_of_planes_both_axes_of_every_repeat_count() -> None:
    net = grid((11, 7))
    assert net.y is not None
    planes = [a * net.x**2 + b * net.y[:, None] ** 2 for a, b in ((1, -2), (3, 4), (5, 6))]
    surface = Surface(net.x, net.y, {"train_loss": np.array(planes)}, meta=META, repeat=np.arange(3))
    found = lines(surface, "train_loss")
    assert found.axis == ("x", "x", "x", "y", "y", "y")
    np.testing.assert_allclose(found.curvature, [2, 6, 10, -4, 8, 12], rtol=1e-12)
    assert (found.positive, found.negative) == (5, 1)


def test_the_error_of_a_curvature_adds_up_independent_points() -> None:
    errors = np.full((1, 21), 0.1)
    found = lines(curves(X**2, standard_errors={"train_loss": errors}), "train_loss")
    # Coefficients 1, -2, 1 over h^2 = 0.01.
    assert found.standard_error[0] == pytest.approx(0.1 * math.sqrt(6) / 0.01)
    assert np.isnan(lines(curves(X**2), "train_loss").standard_error).all()


def test_the_summary_says_it_in_numbers() -> None:
    said = summarise_repeats(curves(1 + 3 * X**2, 1 + X**2, 1 - X**2))
    assert (said["repeats"], said["seeds"]) == (3, [0, 1, 2])
    loss = said["fields"]["train_loss"]
    assert loss["directions"] == 3
    assert loss["curvature"]["median"] == pytest.approx(2.0)
    assert loss["curvature"]["share_positive"] == pytest.approx(2 / 3)
    assert loss["asymmetry"]["lines"] == 3
    # At the ends the values are 4, 2 and 0: from 0.4 to 3.6 about 2.
    assert loss["widest_band"] == pytest.approx(1.6)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda s: band(s, "train_loss"),
            "a band needs repeats; got one plane; evaluate random_lines or random_planes",
        ),
        (
            summarise_repeats,
            "these statistics need repeats; got one plane; evaluate random_lines or random_planes",
        ),
    ],
)
def test_one_plane_has_no_band(act, message: str) -> None:
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        act(Surface(X, None, {"train_loss": X}))


@pytest.mark.parametrize(("x", "expected"), [(X, 0.5), (X + 1.05, 2.0)])
def test_the_error_of_a_subset_is_that_of_a_sample_without_replacement(x: np.ndarray, expected: float) -> None:
    errors = np.full(21, 2.0)
    errors[10] = 0.5
    meta = {"examples": {"train": {"used": 75, "available": 100}}}
    surface = Surface(x, None, {"train_loss": x}, {"train_loss": errors}, meta=meta)
    # sqrt(1 - 75/100) = 1/2; at the centre, or the median where there is none.
    assert subset_error(surface, "train_loss") == pytest.approx(expected / 2)


def test_the_error_of_a_subset_that_nobody_knows() -> None:
    assert math.isnan(subset_error(Surface(X, None, {"train_loss": X}), "train_loss"))
    meta = {"examples": {"train": {"used": 2, "available": 4}}}
    assert math.isnan(subset_error(Surface(X, None, {"train_loss": X}, meta=meta), "train_loss"))
