"""More snapshots than are decomposed whole: the same numbers, from products alone."""

import numpy as np
import pytest
from walks import Walk, record

import landscape as ls
from landscape.projection import components, embedding, krylov, nulls, principal_components, random_walks_null
from landscape.projection.distances import separations
from landscape.values.embedding import stress_1

DENSE, LONG = 200, 320


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Fewer snapshots are many."""
    for module in (krylov, components, nulls, embedding):
        monkeypatch.setattr(module, "DENSE", DENSE)


def walk(count=LONG, numbers=60, seed=0):
    generator = np.random.default_rng(seed)
    return np.cumsum(generator.standard_normal((count, numbers)), axis=0) + 100.0


def test_the_largest_eigenvalues_are_those_of_a_dense_decomposition():
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((300, 900))
    thin = generator.standard_normal((300, 7))
    falling = np.linalg.qr(noise[:, :300])[0]
    slopes = falling @ np.diag(1 / np.arange(1, 301) ** 2) @ falling.T
    for matrix in (noise @ noise.T, thin @ thin.T, slopes, -np.eye(9)):
        found = krylov.leading(matrix.__matmul__, len(matrix), 5)
        exact = np.linalg.eigvalsh(matrix)[::-1][:5]
        scale = np.abs(exact).max()
        np.testing.assert_allclose(found.values, exact, atol=1e-12 * scale)
        np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(5), atol=1e-12)
        own = np.linalg.norm(matrix @ found.vectors - found.vectors * found.values, axis=0)
        assert (own <= 1e-9 * scale).all()
        np.testing.assert_allclose(found.residuals, own, atol=1e-12 * scale)


@pytest.mark.parametrize("center", ["mean", "last", "initial"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_components_of_a_long_run_are_its_singular_vectors(center, in_memory, monkeypatch):
    monkeypatch.setattr(components, "is_held", lambda runs: in_memory)
    matrix = walk()
    about = matrix - {"mean": matrix.mean(axis=0), "last": matrix[-1], "initial": matrix[0]}[center]
    left, sizes, _ = np.linalg.svd(about, full_matrices=False)
    found = principal_components(Walk(matrix), center=center)
    assert len(found.shares) == len(found.null) == krylov.MANY
    assert found.variance == pytest.approx((sizes**2).sum(), rel=1e-12)
    np.testing.assert_allclose(found.shares, (sizes**2 / (sizes**2).sum())[: krylov.MANY], rtol=1e-11)
    np.testing.assert_allclose(np.abs(found.scores[0]), np.abs(left * sizes)[:, :5], atol=1e-8 * sizes[0])
    # Components are sums of snapshots: unit vectors.
    directions = found.mixing.T @ matrix
    np.testing.assert_allclose(directions @ directions.T, np.eye(5), atol=1e-9)


@pytest.mark.parametrize("center", ["mean", "last", "initial"])
def test_several_long_runs_have_the_null_of_their_gram_matrix(center):
    parts = [walk(count, seed=seed) * (1 + seed) for seed, count in enumerate((LONG // 2, LONG // 3, LONG // 3))]
    found = principal_components([Walk(part) for part in parts], center=center)
    every = np.concatenate(parts)
    about = every - parts[0][-1]
    dense = random_walks_null(about @ about.T, list(map(len, parts)), center)
    np.testing.assert_allclose(found.null, dense[: len(found.null)], rtol=1e-9)
    middle = {"mean": every.mean(axis=0), "last": parts[0][-1], "initial": parts[0][0]}[center]
    sizes = np.linalg.svd(every - middle, compute_uv=False) ** 2
    np.testing.assert_allclose(found.shares, (sizes / sizes.sum())[: len(found.shares)], rtol=1e-10)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    return record(tmp_path_factory.mktemp("long") / "run.h5", 4, LONG)


@pytest.fixture(scope="module")
def rows(long_run):
    return np.concatenate([np.array(block.values, np.float64) for block in long_run.column_blocks()], axis=1)


def test_distances_of_many_snapshots_are_those_of_direct_subtraction(long_run, rows):
    found = separations([long_run])["all"].squared
    some = np.linspace(0, LONG - 1, 40).astype(int)
    exact = ((rows[some, None] - rows[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(found[some], exact, rtol=1e-9)
    np.testing.assert_array_equal(found, found.T)


def test_near_pairs_keep_their_digits_wherever_they_stand():
    matrix = np.random.default_rng(1).standard_normal((LONG, 40))
    # Each in another block of rows, and both in the last one.
    matrix[LONG - 5] = matrix[3]
    matrix[LONG - 3] = matrix[LONG - 4] + 1e-9
    found = np.sqrt(separations([Walk(matrix)])["all"].squared)
    assert found[3, LONG - 5] == found[LONG - 5, 3] == 0
    exact = np.linalg.norm(matrix[LONG - 4] - matrix[LONG - 3])
    assert found[LONG - 4, LONG - 3] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("dissimilarity", ["euclidean", "cosine-chord", "one-minus-cosine"])
def test_an_embedding_of_many_is_the_exact_one(long_run, dissimilarity):
    found = ls.mds(long_run, dissimilarity=dissimilarity)
    points, eigenvalues = embedding.classical(found.distances, 2)
    np.testing.assert_allclose(found.coordinates, points, atol=1e-8 * np.abs(points).max())
    np.testing.assert_allclose(found.eigenvalues[:5], eigenvalues[:5], rtol=1e-9)
    np.testing.assert_allclose(found.share, eigenvalues[:2] / np.abs(eigenvalues).sum(), rtol=1e-9)
    assert found.stress == pytest.approx(stress_1(found.distances, found.fitted), rel=1e-12)
    if dissimilarity != "one-minus-cosine":
        assert found.meta["stress_error"] < 1e-9
        assert len(found.eigenvalues) == krylov.MANY


def test_the_stress_is_as_near_to_the_exact_one_as_is_said(long_run, monkeypatch):
    exact = ls.mds(long_run).stress
    bounds = []
    for converged in (1e-1, 1e-2, 1e-4):
        monkeypatch.setattr(krylov, "_CONVERGED", converged)
        found = ls.mds(long_run)
        assert 0 < abs(found.stress - exact) <= found.meta["stress_error"]
        bounds.append(found.meta["stress_error"])
    # A bound that holds for any picture would be none.
    assert bounds[2] < bounds[1] / 10 < bounds[0]


def test_the_metric_method_of_many_is_near_the_one_of_all(long_run, monkeypatch):
    monkeypatch.setattr(embedding, "_LANDMARKS", 60)
    start = ls.mds(long_run)
    found = ls.mds(long_run, method="metric")
    monkeypatch.setattr(embedding, "DENSE", LONG)
    exact = ls.mds(long_run, method="metric")
    assert exact.stress - 1e-9 <= found.stress < start.stress
    assert found.stress < 1.02 * exact.stress
    assert "stress_error" not in found.meta


def test_a_shepard_diagram_of_some_pairs_is_a_part_of_the_one_of_all(long_run):
    found = ls.mds(long_run[:50])
    for whole, part in zip(found.shepard(), found.shepard(every=7), strict=True):
        np.testing.assert_array_equal(part, whole[::7])
