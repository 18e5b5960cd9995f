"""Parity of two bits: closed forms of traces beside automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.papers.parity import (
    corner_memoriser,
    corners,
    hessian_trace,
    least_parity_trace,
    normalised_trace,
    parity_network,
)
from landscape.papers.students import Student, flattest, flattest_trace, interpolation_trace


def networks(bits: int, bias: bool):
    x, y = corners(bits - 1, bits, 0, bias)
    return x, y, (parity_network(bits, bias), corner_memoriser(x, y, bias))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bits", [5, 12])
def test_both_kinds_fit_and_are_as_flat_as_any(bits, bias):
    x, y, both = networks(bits, bias)
    for student in both:
        np.testing.assert_allclose(student.outputs(x), y, atol=1e-12)
        flat = flattest(student, x)
        assert interpolation_trace(flat, x) == pytest.approx(hessian_trace(flat, x, y), rel=1e-10)
        assert flattest_trace(student, x) == pytest.approx(least_parity_trace(bits, bias), rel=1e-10)
        # The control: away from the flattest point it is larger.
        assert hessian_trace(flat.rescaled(2.0), x, y) > 1.5 * least_parity_trace(bits, bias)


def test_only_one_of_them_knows_the_parity():
    every, parity = corners(2**8, 8, 0, True)
    x, y = every[:40], parity[:40]
    knows, memorises = parity_network(8, True), corner_memoriser(x, y, True)
    np.testing.assert_allclose(knows.outputs(every), parity, atol=1e-12)
    np.testing.assert_array_equal(memorises.outputs(every)[40:], 0.0)
    np.testing.assert_array_equal(memorises.outputs(x), y)


def test_without_biases_more_examples_than_bits_are_not_memorised():
    x, y = corners(24, 8, 0, False)
    assert np.abs(corner_memoriser(x, y, False).outputs(x) - y).max() > 0.1


def test_the_normalised_trace():
    x, y, both = networks(8, True)
    for student in both:
        assert normalised_trace(student, x) == pytest.approx(2.0, rel=1e-12)
        assert hessian_trace(student, x, y, normalised=True) == pytest.approx(2.0, rel=1e-10)
    # The closed form where units share examples; targets are what the network says.
    random = np.random.default_rng(0)
    student = Student(random.normal(size=6), random.normal(size=(6, 9)))
    h = np.maximum(x @ student.w.T, 0)
    fitted = h @ student.a / np.linalg.norm(h, axis=1)
    found = normalised_trace(student, x)
    assert found == pytest.approx(hessian_trace(student, x, fitted, normalised=True), rel=1e-10)
    assert found > 2.1


def test_corners_are_all_different_and_the_same_for_a_seed():
    x, y = corners(16, 4, 3, True)
    assert len(np.unique(x, axis=0)) == 16
    np.testing.assert_array_equal(y, x[:, 0] * x[:, 1])
    np.testing.assert_array_equal(corners(16, 4, 3, True)[0], x)
