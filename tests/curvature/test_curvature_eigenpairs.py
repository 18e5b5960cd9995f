"""Eigenvalues and eigenvectors against dense decompositions."""

import pytest
import torch
from curvature_cases import NAMES, Matrix, case
from torch import Tensor

from landscape.curvature import Curvature, both_ends, eigenpairs
from landscape.curvature.krylov import Budget, Krylov
from landscape.errors import LandscapeError


def rotated(values: Tensor, seed: int = 0) -> Matrix:
    """A matrix with known eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64, generator=generator))
    matrix = basis @ torch.diag(values.double()) @ basis.T
    return Matrix((matrix + matrix.T) / 2)


def wanted(values: Tensor, k: int, which: str) -> Tensor:
    keys = {"largest": -values, "smallest": values, "magnitude": -values.abs()}[which]
    return values[keys.argsort()[:k]]


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("name", NAMES)
def test_eigenvalues_of_hessians_are_those_of_the_dense_matrix(name, which):
    operator = Curvature(case(name).objective, case(name).model, batch_size=4)
    found = eigenpairs(operator, k=3, which=which)
    truth = wanted(torch.linalg.eigvalsh(case(name).hessian), 3, which)
    assert torch.allclose(found.values, truth, rtol=1e-6, atol=0)
    assert bool(found.converged.all())
    exact = case(name).hessian @ found.vectors - found.vectors * found.values
    assert torch.allclose(exact.norm(dim=0), found.residuals, atol=1e-12)
    assert torch.allclose(found.vectors.T @ found.vectors, torch.eye(3, dtype=torch.float64), atol=1e-8)
    assert found.products == operator.products


@pytest.mark.parametrize("name", NAMES)
def test_both_ends_from_one_space(name):
    operator = Curvature(case(name).objective, case(name).model)
    found, truth = both_ends(operator, tol=1e-8), torch.linalg.eigvalsh(case(name).hessian)
    assert found.ratio == pytest.approx(abs(float(truth[0] / truth[-1])), rel=1e-6)
    assert bool(found.largest.converged)
    assert bool(found.smallest.converged)
    assert found.products < eigenpairs(operator).products + eigenpairs(operator, which="smallest").products + 20


def test_a_saddle_has_a_ratio_of_one_third():
    assert both_ends(Matrix(torch.diag(torch.tensor([3.0, -1.0]).double()))).ratio == pytest.approx(
        1 / 3, rel=1e-12
    )


def test_no_eigenvalue_comes_twice_and_equal_ones_do():
    separate = rotated(torch.cat([torch.tensor([9.0, 7.0, 6.0]), torch.linspace(-1, 1, 197)]))
    assert torch.allclose(eigenpairs(separate, k=3).values, torch.tensor([9.0, 7.0, 6.0]).double())
    double = rotated(torch.cat([torch.tensor([9.0, 9.0, 9.0, 6.0]), torch.linspace(-1, 1, 196)]))
    assert torch.allclose(eigenpairs(double, k=4).values, torch.tensor([9.0, 9.0, 9.0, 6.0]).double())


@pytest.mark.parametrize("size", [1, 2, 5])
def test_small_and_degenerate_matrices(size):
    for matrix in (torch.eye(size), torch.zeros(size, size), torch.diag(torch.arange(size).float())):
        truth = torch.linalg.eigvalsh(matrix.double())
        for k in range(1, size + 1):
            found = eigenpairs(Matrix(matrix.double()), k=k)
            assert torch.allclose(found.values, truth.flip(0)[:k], atol=1e-12)
            assert bool(found.converged.all())


def test_what_has_not_converged_says_so():
    dense = rotated(torch.linspace(0, 1, 300) ** 0.1)
    found = eigenpairs(dense, k=2, which="smallest", max_products=12, tol=1e-10)
    assert not bool(found.converged.any())
    assert found.products == dense.products <= 12
    assert float(found.residuals.min()) > found.tolerance
    # The residual is a true bound all the same.
    truth = torch.linalg.eigvalsh(dense.matrix)
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert float((truth - value).abs().min()) <= float(residual)


def test_new_starts_in_little_memory(monkeypatch):
    monkeypatch.setattr("landscape.curvature.krylov.WHOLE", 0)
    monkeypatch.setattr("landscape.curvature.krylov._BASIS", 12)
    bulk = torch.randn(397, generator=torch.Generator().manual_seed(0)) / 2
    matrix = rotated(torch.cat([torch.tensor([5.0, 4.5, -3.0]), bulk]))
    space = Krylov(Budget(matrix, 100), 2, torch.Generator())
    assert len(space._basis) == 16
    found = eigenpairs(matrix, k=2, tol=1e-9)
    assert found.products > 16
    assert torch.allclose(found.values, torch.tensor([5.0, 4.5]).double(), rtol=1e-9)
    assert both_ends(matrix, tol=1e-9).ratio == pytest.approx(0.6, rel=1e-7)


def test_single_precision_states_what_it_can_reach():
    tanh = case("tanh")
    operator = Curvature(tanh.objective, tanh.model, dtype=torch.float32)
    found = eigenpairs(operator, tol=1e-12)
    assert bool(found.converged.all())
    assert found.tolerance == pytest.approx(64 * 2**-23 * float(found.values[0]), rel=1e-6)
    assert float(found.values[0]) == pytest.approx(float(torch.linalg.eigvalsh(tanh.hessian)[-1]), rel=1e-5)


def test_the_seed_decides_and_progress_is_told():
    seen: list[int] = []
    matrix = rotated(torch.linspace(0, 1, 50))
    first, again = (eigenpairs(matrix, seed=3, progress=seen.append) for _ in range(2))
    assert torch.equal(first.vectors, again.vectors)
    assert seen[-1] == again.products


def test_faults():
    matrix = Matrix(torch.eye(3, dtype=torch.float64))
    with pytest.raises(LandscapeError, match="unknown end 'larges'; did you mean 'largest'"):
        eigenpairs(matrix, which="larges")
    with pytest.raises(LandscapeError, match="k: must be the number of some eigenvalues; got 4; expected 1 to 3"):
        eigenpairs(matrix, k=4)
