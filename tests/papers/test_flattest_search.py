"""The search for the flattest interpolators: exact traces, exact fits, and the teacher is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape import papers
from landscape.papers import flattest_search
from landscape.papers.flattest_search import Batch, begin, constrain, disturb, fit
from landscape.papers.interpolators import teacher
from landscape.problems.multi_index import MultiIndexOptions, draw_multi_index


def batch_of(degree: int = 1, count: int = 24, dim: int = 3, units: int = 16) -> Batch:
    link = "relu" if degree == 1 else "square"
    x, y = draw_multi_index(MultiIndexOptions(dim=dim, train_size=count, link=link, degree=degree)).train
    return begin(np.stack([x] * 2), np.stack([y] * 2), units, degree, seed=1)


@pytest.mark.parametrize("degree", [1, 2])
def test_traces_and_residuals_of_a_batch_are_those_of_its_students(degree):
    batch = batch_of(degree)
    x, y = batch.x[0].numpy(), batch.y[0].numpy()
    for student, trace, residuals in zip(batch.students(), batch.trace(), batch.residuals(), strict=True):
        assert papers.interpolation_trace(student, x) == pytest.approx(float(trace), rel=1e-12)
        np.testing.assert_allclose(student.outputs(x) - y, residuals.numpy(), atol=1e-12)


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flattest_search, "_FIT", 600)
        patch.setattr(flattest_search, "_INNER", 100)
        patch.setattr(flattest_search, "_STEPS", 3000)
        yield


def test_searches_fit_exactly_and_the_constrained_minimum_is_the_teacher(quick):
    options = MultiIndexOptions(dim=3, train_size=24)
    plain, noisy, flat = (batch_of() for _ in range(3))
    for batch in (plain, noisy, flat):
        fit(batch)
    disturb(noisy, seed=2)
    constrain(flat)
    x = flat.x[0].numpy()
    assert all(float(batch.residuals().abs().max()) < 1e-9 for batch in (plain, noisy, flat))
    least = papers.flattest_trace(teacher(options), x)
    ratios = [[papers.flattest_trace(s, x) / least for s in batch.students()] for batch in (plain, noisy, flat)]
    assert ratios[2] == pytest.approx([1.0, 1.0], rel=0.02)
    # The control: training alone stays above.
    assert min(ratios[0]) > 1.5
    assert np.mean(ratios[1]) < np.mean(ratios[0])


def test_the_gradient_of_the_trace_is_that_of_differences():
    batch = batch_of(2)
    batch.w.requires_grad_()
    (slope,) = torch.autograd.grad(batch.trace().sum(), batch.w)
    direction = torch.randn(batch.w.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batch.w = batch.w.detach()
    ends = []
    for step in (1e-5, -1e-5):
        moved = Batch(batch.a, batch.w + step * direction, batch.x, batch.y, 2)
        ends.append(float(moved.trace().sum()))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float((slope * direction).sum()), rel=1e-6)
