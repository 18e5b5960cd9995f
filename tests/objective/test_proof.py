"""A page of proof: every row of `architectures.py` against float64 references made by torch alone."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES
from reference import Reference, digests, joined, made, widened
from torch import Tensor, nn

from landscape.curvature import Curvature
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.projection import Plane, random_line, random_plane
from landscape.surface.engine import build, plain_choice
from landscape.surface.task import Task

DTYPES = [torch.float32, torch.float64]
# A dozen units of the last digit, and what some thousand operations in a row make of one.
VALUE = {torch.float32: 1e-5, torch.float64: 1e-12}
DERIVATIVE = {torch.float32: 1e-3, torch.float64: 1e-7}
POINTS = [(0.0, 0.0), (0.4, -0.3), (-0.5, 0.2)]
# Matrices up to this size are compared whole.
DENSE = 150
# Mapping over weights says which of torch's operations it has to do one by one.
pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
]


class Case:
    """A row with its objective and its reference.

    Args:
        name: Of the row.
    """

    def __init__(self, name: str) -> None:
        self.row = ARCHITECTURES[name]
        self.model, self.inputs, self.targets = made(self.row)
        self.before = self.state()
        data = self.inputs if isinstance(self.targets, tuple) else (self.inputs, self.targets)
        self.objective = Objective(self.model, loss=self.row.loss, train=data, batch_size=4)
        self.reference = Reference(self.row)
        generator = torch.Generator().manual_seed(3)
        self.rows = torch.randn(3, self.reference.size, dtype=torch.float64, generator=generator)

    def within(self, dtype: torch.dtype) -> float:
        """How near derivatives must be; a model that forces float32 inside has no more digits in float64."""
        return DERIVATIVE[torch.float32 if self.row.reference == "backward" else dtype]

    def state(self) -> list[Any]:
        return [digests(self.model, self.inputs, self.targets), torch.get_rng_state().tolist()]

    @functools.cached_property
    def products(self) -> Tensor:
        """H times three vectors, shape (3, P), by differences; a second backward pass has to agree."""
        if self.row.reference.startswith("differences"):
            return self.reference.differences(self.rows)
        twice = self.reference.hessian_times(self.rows)
        if self.row.reference == "both":
            assert far(twice, self.reference.differences(self.rows)) < 1e-6, (
                "torch's own second derivative is wrong"
            )
        return twice

    @property
    def dense(self) -> Tensor:
        """H, by whichever of the two is right."""
        by_differences = self.row.reference.startswith("differences")
        make = self.reference.differences if by_differences else self.reference.hessian_times
        return make(torch.eye(self.reference.size, dtype=torch.float64))


@functools.lru_cache(2)
def case(name: str) -> Case:
    return Case(name)


def far(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, by the largest number wanted."""
    scale = max(float(wanted.abs().max()), 1e-300) if wanted.any() else 1.0
    return float((got.double() - wanted).abs().max()) / scale


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_value_and_slices(name: str) -> None:
    one = case(name)
    for plane in (random_plane(one.model, one_d="norm", seed=1), random_line(one.model, one_d="norm", seed=2)):
        require_filter_norms(one.model, plane)
        points = [point[: plane.dims] for point in POINTS]
        wanted = [one.reference.value_at(plane.directions, point) for point in points]
        for dtype in DTYPES:
            for engine in ("sequential", "batched"):
                if engine not in one.row.engines:
                    with pytest.raises(LandscapeError, match="use --engine sequential"):
                        slice_of(one, plane, points, engine, dtype)
                    continue
                got = slice_of(one, plane, points, engine, dtype)
                assert got == pytest.approx(wanted, rel=VALUE[dtype], abs=VALUE[dtype]), (engine, dtype)
    assert one.objective.value(one.model) == pytest.approx(
        float(one.reference.mean().detach()), rel=VALUE[torch.float32]
    )
    assert one.state() == one.before


def slice_of(one: Case, plane: Plane, points: list[Any], engine: str, dtype: torch.dtype) -> list[float]:
    task = Task(one.objective, ("train",), ("loss",), dtype)
    worker = build(plain_choice(one.objective, engine), task, plane)
    return [found["train_loss"].mean for found in worker.evaluate(points)]


def require_filter_norms(model: nn.Module, plane: Plane) -> None:
    """Check that a filter of a direction is as long as that of the weights (Li et al. 2018)."""
    turned = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if "ConvTranspose" in type(module).__name__ or type(module).__name__ == "Conv1D"
    }
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or not parameter.numel():
            continue
        for direction in plane.directions:
            pair = [widened(tensor.detach()) for tensor in (parameter, direction[name])]
            if name in turned:
                pair = [tensor.transpose(0, 1) for tensor in pair]
            if name in turned and any(getattr(m, "groups", 1) > 1 for m in model.modules()):
                continue
            lengths = [(t.reshape(len(t), -1) if t.ndim > 1 else t.reshape(1, -1)).norm(dim=1) for t in pair]
            assert far(lengths[1], lengths[0]) < 1e-5, name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradient_and_curvature(name: str) -> None:
    one = case(name)
    gradient = joined(one.reference.gradient(), one.reference.leaves)
    for dtype in DTYPES:
        within = one.within(dtype)
        operator = Curvature(one.objective, one.model, dtype=dtype)
        assert operator.size == one.reference.size
        assert far(operator.gradient(), gradient) < within, dtype
        if one.row.reference == "differences in float64" and dtype == torch.float32:
            with pytest.raises(LandscapeError, match=r"aten::\w+ has no derivative; use float64"):
                operator.quadratic(one.rows[0])
            continue
        assert far(operator @ one.rows.T, one.products.T) < within, dtype
        for row, product in zip(one.rows, one.products, strict=True):
            scale = float(row.norm() * product.norm())
            assert operator.quadratic(row) == pytest.approx(float(row @ product), abs=within * scale), dtype
    if one.reference.size <= DENSE:
        assert far(operator.dense(), one.dense) < within, dtype
    assert one.state() == one.before


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gauss_newton(name: str) -> None:
    one = case(name)
    if isinstance(one.targets, tuple) and not isinstance(one.targets, Tensor):
        pytest.skip("the reference knows no outputs of a loss of model and batch")
    if not one.row.gauss_newton:
        with pytest.raises(LandscapeError, match=r"Gauss-Newton|aten::\w+ has no derivative"):
            Curvature(one.objective, one.model, "gauss-newton").quadratic(one.rows[0])
        return
    wanted = [one.reference.gauss_newton(row) for row in one.rows]
    for dtype in DTYPES:
        operator = Curvature(one.objective, one.model, "gauss-newton", dtype=dtype)
        got = [operator.quadratic(row) for row in one.rows]
        assert got == pytest.approx(
            wanted, rel=DERIVATIVE[dtype], abs=DERIVATIVE[dtype] * max(map(abs, wanted))
        ), dtype
