"""Distances between snapshots: the same numbers as direct subtraction, from blocks of any width."""

import itertools
import shutil

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from walks import net, record, unit_rows

from landscape.errors import LandscapeError
from landscape.projection import distances
from landscape.projection.distances import Separations, layers_of, separations
from landscape.projection.side_by_side import stretches
from landscape.trajectory import Recorder, open_trajectory
from landscape.vocabulary import DISSIMILARITIES


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    return [record(folder / "a.h5", 1, 6), record(folder / "b.h5", 2, 4, dtype="bfloat16")]


def dense(runs, names=None):
    """All snapshots in float64, one a row."""
    return np.stack(
        [
            np.concatenate([s.weights[n].double().flatten().numpy() for n in names or s.weights])
            for run in runs
            for s in run
        ]
    )


def direct(rows, kind):
    """Dissimilarities as they are written, in float64, pair by pair."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    ways = {
        "euclidean": lambda i, j: np.linalg.norm(rows[i] - rows[j]),
        "cosine-chord": lambda i, j: np.linalg.norm(unit[i] - unit[j]),
        "one-minus-cosine": lambda i, j: np.linalg.norm(unit[i] - unit[j]) ** 2 / 2,
    }
    return np.array([[ways[kind](i, j) for j in range(len(rows))] for i in range(len(rows))])


@pytest.mark.parametrize("kind", DISSIMILARITIES)
@pytest.mark.parametrize("max_bytes", [1, 2000, 2**28])
def test_blocks_of_any_width_give_what_direct_subtraction_gives(runs, kind, max_bytes, monkeypatch):
    if max_bytes == 2000:
        # Panels narrower than blocks.
        monkeypatch.setattr(distances, "_PANEL", 8 * 10 * 3)
    found = separations(runs, max_bytes=max_bytes)["all"].dissimilarities(kind)
    np.testing.assert_allclose(found, direct(dense(runs), kind), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(found, found.T)
    assert not np.diag(found).any()


def test_layers_of_one_pass_are_those_of_single_passes(runs):
    groups = layers_of([info.name for info in runs[0].layout.moving()])
    assert groups == {"0": ("0.weight", "0.bias"), "2": ("2.weight", "2.bias")}
    together = separations(runs, {**groups, "all": [n for group in groups.values() for n in group]})
    for layer, names in groups.items():
        found = together[layer].dissimilarities()
        np.testing.assert_allclose(found, direct(dense(runs, names), "euclidean"), rtol=1e-12, atol=1e-14)
        alone = separations([run.select(f"{layer}.*") for run in runs])["all"].dissimilarities()
        np.testing.assert_allclose(found, alone, rtol=1e-13, atol=1e-15)
    total = sum(together[layer].squared for layer in groups)
    np.testing.assert_allclose(together["all"].squared, total, rtol=1e-12)


def test_a_file_is_read_once_for_all_layers(runs, monkeypatch):
    read = []
    monkeypatch.setattr(distances, "stretches", lambda *given: spied(read, *given))
    separations(runs, layers_of([info.name for info in runs[0].layout.moving()]))
    assert read == [info.name for info in runs[0].layout.moving()]


def test_the_cosine_of_a_layer_forgets_its_scale_and_the_distance_does_not(tmp_path):
    """Per layer 1 - cos ignores any factor of any snapshot; of all weights only one that all layers share."""
    run = record(tmp_path / "run.h5", 3, 3)
    scaled = {"layer": (4.0, 1.0), "all": (4.0, 4.0)}
    made = {}
    for name, factors in scaled.items():
        model = net()
        with Recorder(tmp_path / f"{name}.h5", model) as recorder:
            for snapshot in run:
                weights = {
                    tensor: value * factors[0 if tensor.startswith("0") else 1]
                    for tensor, value in snapshot.weights.items()
                }
                recorder.snapshot(snapshot.step, weights=weights)
        made[name] = open_trajectory(tmp_path / f"{name}.h5")
    layers = layers_of([info.name for info in run.layout.moving()])
    groups = {**layers, "all": [n for group in layers.values() for n in group]}
    # The last snapshot alone is scaled: a common factor of all snapshots would leave every cosine as it is.
    before = separations([run, run[-1:]], groups)

    def changed(name, group, kind):
        after = separations([run, made[name][-1:]], groups)[group].dissimilarities(kind)
        return np.abs(after - before[group].dissimilarities(kind)).max()

    for kind in ("cosine-chord", "one-minus-cosine"):
        assert changed("layer", "0", kind) < 1e-12
        assert changed("layer", "2", kind) == 0
        assert changed("all", "all", kind) < 1e-12
        # Control: over all weights the layers trade places.
        assert changed("layer", "all", kind) > 0.01
    for name, group in (("layer", "0"), ("all", "all"), ("layer", "all")):
        assert changed(name, group, "euclidean") > 1


def test_the_chord_is_a_distance_and_one_minus_cosine_is_none():
    """Three directions of the plane at 0, 45 and 90 degrees."""
    rows = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    squared = ((rows[:, None] - rows) ** 2).sum(-1)
    norms = (rows**2).sum(1)
    found = Separations(squared, norms - norms[-1], norms[-1])
    chord, cosine = (found.dissimilarities(kind) for kind in ("cosine-chord", "one-minus-cosine"))
    assert cosine[0, 2] == pytest.approx(1.0)
    assert cosine[0, 1] == pytest.approx(1 - np.sqrt(0.5))
    assert cosine[0, 2] > cosine[0, 1] + cosine[1, 2] + 0.4
    assert chord[0, 2] == pytest.approx(np.sqrt(2))
    assert chord[0, 2] < chord[0, 1] + chord[1, 2]


def test_chords_of_trained_weights_obey_the_triangle_inequality(runs):
    found = separations(runs)["all"].dissimilarities("cosine-chord")
    for i, j, k in itertools.permutations(range(len(found)), 3):
        assert found[i, k] <= found[i, j] + found[j, k] + 1e-14


def close_pair(tmp_path, far=1.0, near=1e-7):
    """Two snapshots that differ by `near` in float64, and one that is far from both."""
    model = nn.Linear(40, 10).double()
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(10, 40, generator=generator, dtype=torch.float64)
    move = torch.randn(10, 40, generator=generator, dtype=torch.float64)
    with Recorder(tmp_path / "close.h5", model) as recorder:
        for step, weight in enumerate((start, start + near * move, start + far * move.flip(0))):
            recorder.snapshot(step, weights={"weight": weight, "bias": torch.ones(10, dtype=torch.float64)})
    return open_trajectory(tmp_path / "close.h5")


@pytest.mark.parametrize("kind", DISSIMILARITIES)
def test_near_pairs_keep_their_digits(tmp_path, kind):
    """Relative to a far reference their distance is the difference of numbers 1e14 times as large."""
    run = close_pair(tmp_path)
    found = separations([run])["all"].dissimilarities(kind)
    want = direct(dense([run]), kind)
    np.testing.assert_allclose(found, want, rtol=1e-7)
    # Control: 1 - cos as it is written has nothing left of this pair.
    rows = dense([run])
    naive = 1 - rows[0] @ rows[1] / (np.linalg.norm(rows[0]) * np.linalg.norm(rows[1]))
    assert abs(naive / direct(rows, "one-minus-cosine")[0, 1] - 1) > 1e-3


def test_without_the_second_pass_they_would_not(tmp_path, monkeypatch):
    run = close_pair(tmp_path)
    monkeypatch.setattr(distances, "_LOST", 0.0)
    found = separations([run])["all"].dissimilarities()
    assert abs(found[0, 1] / direct(dense([run]), "euclidean")[0, 1] - 1) > 1e-6


def test_identical_snapshots_are_at_distance_zero(tmp_path):
    model = net()
    other = record(tmp_path / "far.h5", 9, 3)
    with Recorder(tmp_path / "same.h5", model) as recorder:
        for step in range(3):
            recorder.snapshot(step)
    found = separations([other, open_trajectory(tmp_path / "same.h5")])["all"].dissimilarities()
    assert not found[3:, 3:].any()
    assert found[0, 3] > 1


def test_runs_stored_differently_are_read_tensor_by_tensor(tmp_path):
    """Two element types: storage in bfloat16 puts all tensors into one dataset, in another order."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.zeros(30))
            self.b = nn.Parameter(torch.zeros(20).to(torch.bfloat16))
            self.c = nn.Parameter(torch.zeros(11))

    both = [
        record(tmp_path / "x.h5", 1, 3, model=Mixed()),
        record(tmp_path / "y.h5", 2, 2, dtype="bfloat16", model=Mixed()),
    ]
    assert [b.name for b in both[0].column_blocks()] != [b.name for b in both[1].column_blocks()]
    for max_bytes in (40, 2**20):
        found = separations(both, max_bytes=max_bytes)["all"].dissimilarities()
        np.testing.assert_allclose(found, direct(dense(both), "euclidean"), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("max_bytes", [10 * 4 * 5, 10 * 4 * 50])
def test_no_more_columns_are_asked_for_than_memory_allows(tmp_path, max_bytes):
    both = [record(tmp_path / "x.h5", 1, 7), record(tmp_path / "y.h5", 2, 3)]
    read = []
    for stretch in stretches(both, max_bytes):
        assert sum(part.nbytes for part in stretch.parts) <= max_bytes
        assert [len(part) for part in stretch.parts] == [7, 3]
        read.append((stretch.name, stretch.start, stretch.stop))
    assert sum(stop - start for _, start, stop in read) == 5 * 7 + 7 + 7 * 3 + 3
    assert len(read) >= (66 * 40) // max_bytes


def test_runs_of_other_models_are_refused(tmp_path):
    one = record(tmp_path / "x.h5", 1, 2)
    with Recorder(tmp_path / "y.h5", nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))) as recorder:
        recorder.snapshot(0)
    other = open_trajectory(tmp_path / "y.h5")
    message = (
        r"tensor '0.weight' is not the same in 'b' and in 'a'; got \(8, 5\); expected \(7, 5\); "
        "embed runs of one model together, or choose layers that they share"
    )
    with pytest.raises(LandscapeError, match=message):
        separations([one, other], names=["a", "b"])
    assert separations([run.select("2.bias") for run in (one, other)])["all"].squared.shape == (3, 3)


@pytest.mark.parametrize("bad", [0, 1])
def test_weights_that_are_not_finite_are_named(tmp_path, bad):
    """Also where the snapshot is the reference, with which all differences are not finite."""
    model = net()
    with Recorder(tmp_path / "run.h5", model) as recorder:
        for step in range(2):
            weights = {name: value.detach().clone() for name, value in model.named_parameters()}
            if step == bad:
                weights["2.bias"][0] = torch.nan
            recorder.snapshot(7 * step, weights=weights)
    message = rf"snapshot {bad} \(step {7 * bad}\) of 'a' has weights that are not finite in layer '2'"
    with pytest.raises(LandscapeError, match=message):
        separations([open_trajectory(tmp_path / "run.h5")], {"2": ["2.bias"]}, names=["a"])


def test_weights_of_zero_have_no_direction(tmp_path):
    with Recorder(tmp_path / "run.h5", net()) as recorder:
        for step in range(2):
            recorder.snapshot(step, weights={n: step * torch.ones_like(p) for n, p in net().named_parameters()})
    found = separations([open_trajectory(tmp_path / "run.h5")])["all"]
    assert found.dissimilarities()[0, 1] == pytest.approx(np.sqrt(66))
    with pytest.raises(LandscapeError, match="the weights of snapshot 0 are all zero, so they have no direction"):
        found.dissimilarities("cosine-chord")


def test_a_representative_stands_for_each_snapshot(tmp_path, runs):
    want = dense([[type("", (), {"weights": unit_rows(s)})() for run in runs for s in run]])
    for max_bytes in (50, 2**20):
        found = separations(runs, representative=unit_rows, max_bytes=max_bytes)["all"].dissimilarities()
        np.testing.assert_allclose(found, direct(want, "euclidean"), rtol=1e-6)
    # Control: they are other weights.
    assert np.abs(found - separations(runs)["all"].dissimilarities()).max() > 1
    with pytest.raises(LandscapeError, match=r"representative: tensor '0\.bias' is missing"):
        separations(runs, representative=lambda s: {"0.weight": s.weights["0.weight"]})
    with pytest.raises(LandscapeError, match=r"representative: tensor '0\.weight' has another shape"):
        separations(runs, representative=lambda s: {n: v[None] for n, v in s.weights.items()})


def refuse(*_):
    raise AssertionError("the trajectories were read")


def test_kept_distances_are_taken_from_their_file(tmp_path, runs, monkeypatch):
    path = tmp_path / "kept" / "d.h5"
    first = separations(runs, save=path)["all"]
    monkeypatch.setattr(distances, "stretches", refuse)
    again = separations(runs, save=path)["all"]
    for name in ("squared", "excess", "square"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))


@pytest.mark.parametrize("other", ["fewer snapshots", "another run", "a layer", "a representative"])
def test_distances_of_other_snapshots_are_refused(tmp_path, runs, other):
    path = tmp_path / "d.h5"
    separations(runs, save=path)
    content = path.read_bytes()
    changed, options = runs, {}
    if other == "fewer snapshots":
        changed = [runs[0][:-1], runs[1]]
    elif other == "another run":
        changed = [record(tmp_path / "a.h5", 1, 6), runs[1]]
    elif other == "a layer":
        changed = [run.select("2.*") for run in runs]
    else:
        options = {"representative": unit_rows}
    with pytest.raises(LandscapeError, match="the file holds distances of other snapshots or layers"):
        separations(changed, save=path, **options)
    assert path.read_bytes() == content


def test_a_killed_reading_goes_on_with_what_is_left(tmp_path, runs, monkeypatch):
    whole = separations(runs)["all"]
    path = tmp_path / "d.h5"
    monkeypatch.setattr(distances, "_PATIENCE", 0.0)

    def stop(read, total):
        if read > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        separations(runs, save=path, max_bytes=500, progress=stop)
    with h5py.File(path) as file:
        assert "sums" in file
        assert file.attrs["done"] == b'["0.weight"]'
    read = []
    monkeypatch.setattr(distances, "stretches", lambda *given: spied(read, *given))
    found = separations(runs, save=path)["all"]
    assert set(read) == {"0.bias", "2.weight", "2.bias"}
    np.testing.assert_allclose(found.squared, whole.squared, rtol=1e-12)


def spied(read, *given):
    for stretch in stretches(*given):
        read.append(stretch.name)
        yield stretch


def test_what_cannot_be_known_again_is_not_kept(tmp_path, runs):
    with pytest.raises(LandscapeError, match="what stands for snapshots has no name to know it by"):
        separations(runs, save=tmp_path / "d.h5", representative=lambda s: s.weights)
    with pytest.raises(LandscapeError, match="unknown file type"):
        separations(runs, save=tmp_path / "d.npy")
    shutil.copy(runs[0].path, tmp_path / "d.h5")
    with pytest.raises(LandscapeError, match="a file of another kind; got landscape/trajectory"):
        separations(runs, save=tmp_path / "d.h5")
