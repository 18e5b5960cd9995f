"""Basins of maps: against GUDHI, closed forms, and noise that has none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.errors import LandscapeError
from landscape.values.merge_tree import merge_tree
from landscape.values.surface import Surface


def surface(values: np.ndarray, error: float | None = None) -> Surface:
    rows, columns = np.arange(values.shape[0], dtype=float), np.arange(values.shape[1], dtype=float)
    errors = {} if error is None else {"train_loss": np.full(values.shape, error)}
    return Surface(columns, rows, {"train_loss": values}, errors, meta={"dtype": "float64"})


def test_a_double_well_has_its_two_basins_and_its_barrier() -> None:
    x, y = np.linspace(-2, 2, 81), np.linspace(-1, 1, 31)
    values = (x**2 - 1) ** 2 + 0.25 * x + 3 * y[:, None] ** 2
    tree = merge_tree(Surface(x, y, {"train_loss": values}))
    line = (x**2 - 1) ** 2 + 0.25 * x
    left, right, top = line[:40].min(), line[41:].min(), line[20:60].max()
    assert tree.bottoms.tolist() == [left, right]
    assert tree.rims.tolist() == [values.max(), top]
    assert (y[tree.minima[:, 0]] == 0).all()
    assert y[tree.saddles[1, 0]] == 0
    assert tree.parents.tolist() == [-1, 0]
    assert tree.certain.all()
    # Below its saddle a basin is its own; above, the points are those of both, which the deeper one takes in.
    right_of = np.broadcast_to(np.arange(81) > tree.saddles[1, 1], values.shape)
    np.testing.assert_array_equal(tree.basins == 1, right_of & (values < top))


@pytest.mark.parametrize(("error", "basins"), [(None, 2), (0.02, 2), (0.2, 1), (50.0, 0)])
def test_a_basin_shallower_than_its_error_counts_as_none(error: float | None, basins: int) -> None:
    x, y = np.linspace(-2, 2, 41), np.linspace(-2, 2, 21)
    values = (x**2 - 1) ** 2 + 0.25 * x + 3 * y[:, None] ** 2
    tree = merge_tree(
        Surface(x, y, {"train_loss": values}, {"train_loss": np.full(values.shape, error or np.nan)})
    )
    assert int(tree.certain.sum()) == basins
    assert tree.known is (error is not None)
    assert set(np.unique(tree.basins)) == ({*range(basins)} or {-1})


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_has_no_basin(seed: int) -> None:
    noise = 1 + 0.01 * np.random.default_rng(seed).standard_normal((41, 41))
    tree = merge_tree(surface(noise, 0.01))
    assert len(tree.minima) > 50
    assert not tree.certain.any()
    # Control: without its errors every one of them counts.
    assert merge_tree(surface(noise)).certain.all()


def test_what_is_not_known_separates_nothing_and_what_diverges_does() -> None:
    values = np.add.outer(np.zeros(5), np.array([0.0, 1.0, 2.0, 1.0, 0.5]))
    wall = values.copy()
    wall[:, 2] = np.nan
    assert merge_tree(surface(wall)).rims.tolist() == [1.0, 1.0]
    wall[:, 2] = np.inf
    tree = merge_tree(surface(wall))
    assert tree.rims.tolist() == [1.0, np.inf]
    assert tree.certain.all()
    with pytest.raises(LandscapeError, match="no point has a finite value of train_loss: there is no basin"):
        merge_tree(surface(np.full((3, 3), np.nan)))
    with pytest.raises(LandscapeError, match=r"a merge tree is of one plane; got axes x; choose one with .at"):
        merge_tree(Surface(np.arange(3.0), None, {"train_loss": np.ones(3)}))


def test_a_plateau_is_one_basin_or_none() -> None:
    flat = merge_tree(surface(np.ones((4, 5))))
    assert len(flat.minima) == 1
    assert not flat.certain.any()


grids = st.integers(2, 9).flatmap(
    lambda rows: st.integers(2, 9).flatmap(
        lambda columns: st.lists(
            st.lists(st.integers(0, 12), min_size=columns, max_size=columns), min_size=rows, max_size=rows
        )
    )
)


def pairs(values: np.ndarray) -> list[tuple[float, float]]:
    tree = merge_tree(surface(values))
    return sorted(zip(tree.bottoms[1:].tolist(), tree.rims[1:].tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(grids)
def test_pairs_are_those_of_gudhi(grid: list[list[int]]) -> None:
    gudhi = pytest.importorskip("gudhi")
    values = np.array(grid, dtype=float)
    # Pixels that share a corner are joined, as are our points and their eight neighbours.
    held = gudhi.CubicalComplex(top_dimensional_cells=values)
    held.compute_persistence()
    found = held.persistence_intervals_in_dimension(0)
    assert pairs(values) == sorted((low, high) for low, high in found.tolist() if np.isfinite(high))


@settings(max_examples=20, deadline=None)
@given(grids)
def test_each_pair_is_what_the_flooded_map_says(grid: list[list[int]]) -> None:
    """Basins deeper than h are the components of the minima that a flood of height h leaves."""
    from scipy import ndimage

    values = np.array(grid, dtype=float)
    every = np.ones((3, 3))
    for level in range(13):
        count = ndimage.label(values <= level, every)[1]
        alive = [low for low, high in pairs(values) if low <= level < high]
        assert count == len(alive) + (values.min() <= level)
