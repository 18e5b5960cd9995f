"""Embeddings: what is flat comes out exactly, and stress is what it is said to be."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.manifold import ClassicalMDS
from torch import nn
from walks import net, record, unit_rows

import landscape as ls
from landscape.errors import LandscapeError
from landscape.pipeline import Embed, embeddings_of
from landscape.projection.embedding import classical
from landscape.projection.mds import mds_by_layer
from landscape.trajectory import Recorder, open_trajectory
from landscape.values.embedding import stress_1


def pairwise(points):
    return np.linalg.norm(points[:, None] - points, axis=-1)


@pytest.fixture
def planar(tmp_path):
    """A run of 30 snapshots in a plane of weight space, and their distances."""
    generator = np.random.default_rng(0)
    places = generator.normal(size=(30, 2))
    axes = np.linalg.qr(generator.normal(size=(66, 2)))[0]
    origin = generator.normal(size=66)
    model = net().double()
    with Recorder(tmp_path / "flat.h5", model, problem="flat") as recorder:
        for step, place in enumerate(places):
            vector = torch.from_numpy(origin + axes @ place)
            nn.utils.vector_to_parameters(vector, model.parameters())
            recorder.snapshot(step)
    return open_trajectory(tmp_path / "flat.h5"), pairwise(places)


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    one = record(folder / "one.h5", 1, 8)
    about = {"parent_run_id": one.run_id, "parent_step": 30}
    record(folder / "one.h5", 3, 4, branch="kick", **about)
    return {"one": open_trajectory(folder / "one.h5"), "two": record(folder / "two.h5", 2, 6)}


@pytest.mark.parametrize("method", ["classical", "metric"])
def test_snapshots_of_a_plane_come_out_as_they_lie(planar, method):
    run, distances = planar
    embedding = ls.mds(run, method=method)
    np.testing.assert_allclose(embedding.distances, distances, atol=1e-12)
    np.testing.assert_allclose(pairwise(embedding.coordinates), distances, atol=1e-10)
    assert embedding.stress < 1e-10
    assert abs(embedding.eigenvalues[2]) < 1e-12 * embedding.eigenvalues[0]
    assert embedding.share.sum() == pytest.approx(1.0)
    assert embedding.negative < 1e-12


def test_the_third_eigenvalue_of_planar_points_is_rounding():
    points, eigenvalues = classical(pairwise(np.random.default_rng(1).normal(size=(30, 2))), 2)
    assert abs(eigenvalues[2]) < 2e-14
    assert eigenvalues.shape == (30,)
    assert (np.diff(eigenvalues) <= 0).all()
    assert np.abs(points.mean(axis=0)).max() < 1e-14


def test_classical_scaling_agrees_with_another_implementation(walks):
    embedding = ls.mds(walks, dissimilarity="cosine-chord", dims=3)
    other = ClassicalMDS(3, metric="precomputed").fit(embedding.distances)
    np.testing.assert_allclose(np.abs(embedding.coordinates), np.abs(other.embedding_), atol=1e-10)
    np.testing.assert_allclose(embedding.eigenvalues[:3], other.eigenvalues_[:3], rtol=1e-10)


def test_stress_is_that_of_kruskal(walks):
    embedding = ls.mds(walks)
    wrong = size = 0.0
    for i in range(len(embedding)):
        for j in range(i):
            drawn = float(np.hypot(*(embedding.coordinates[i] - embedding.coordinates[j])))
            wrong += (drawn - embedding.distances[i, j]) ** 2
            size += drawn**2
    assert embedding.stress == pytest.approx((wrong / size) ** 0.5, rel=1e-12)
    true, drawn = embedding.shepard()
    assert len(true) == 14 * 13 // 2
    assert embedding.stress == pytest.approx(np.sqrt(((true - drawn) ** 2).sum() / (drawn**2).sum()), rel=1e-12)


def test_stress_where_nothing_is_drawn():
    assert stress_1(np.zeros((2, 2)), np.zeros((2, 2))) == 0
    assert stress_1(np.ones((2, 2)), np.zeros((2, 2))) == np.inf


@pytest.mark.parametrize("dissimilarity", ["euclidean", "cosine-chord", "one-minus-cosine"])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_metric_method_is_never_worse_than_its_start(walks, dissimilarity, dims):
    start, end = (
        ls.mds(walks, dissimilarity=dissimilarity, dims=dims, method=method) for method in ("classical", "metric")
    )
    assert end.stress < start.stress
    several = ls.mds(walks, dissimilarity=dissimilarity, dims=dims, method="metric", starts=3, seed=5)
    assert several.stress <= end.stress
    np.testing.assert_array_equal(
        several.coordinates,
        ls.mds(walks, dissimilarity=dissimilarity, dims=dims, method="metric", starts=3, seed=5).coordinates,
    )


def test_distances_have_no_negative_eigenvalues_and_one_minus_cosine_has(walks):
    chord, cosine = (ls.mds(walks, dissimilarity=kind) for kind in ("cosine-chord", "one-minus-cosine"))
    assert chord.negative < 1e-12
    assert cosine.negative > 1e-3
    # Squared chords are twice 1 - cos.
    np.testing.assert_allclose(chord.distances**2, 2 * cosine.distances, atol=1e-14)


def test_axes_have_their_largest_coordinate_positive_whatever_the_order(walks):
    embedding = ls.mds(walks, method="metric")
    largest = np.abs(embedding.coordinates).argmax(axis=0)
    assert (embedding.coordinates[largest, [0, 1]] > 0).all()
    spread = embedding.coordinates.T @ embedding.coordinates
    assert abs(spread[0, 1]) < 1e-9 * spread[0, 0]
    assert spread[0, 0] > spread[1, 1]
    turned = ls.mds({name: walks[name] for name in ("two", "one")})
    np.testing.assert_allclose(
        np.concatenate([turned.coordinates[turned.rows(name)] for name in walks]),
        ls.mds(walks).coordinates,
        atol=1e-10,
    )


def test_runs_and_their_branches_know_their_places(walks):
    embedding = ls.mds(walks, branches=True)
    assert embedding.names == ("one", "one/kick", "two")
    assert embedding.run.tolist() == [0] * 8 + [1] * 4 + [2] * 6
    assert embedding.steps[embedding.rows("one/kick")].tolist() == [0, 10, 20, 30]
    # The branch starts from step 30 of its parent.
    assert dict(embedding.parents) == {1: 3}
    assert embedding.metrics["train_loss"].tolist()[8:12] == [1.0, 1 / 2, 1 / 3, 1 / 4]
    assert ls.mds(walks).names == ("one", "two")
    alone = embedding.rows("one")
    np.testing.assert_allclose(
        embedding.distances[np.ix_(alone, alone)], ls.mds(walks["one"]).distances, rtol=1e-12, atol=1e-14
    )


def test_runs_are_called_by_their_files(walks, tmp_path):
    assert ls.mds(list(walks.values())).names == ("one", "two")
    (tmp_path / "deep").mkdir()
    twins = [record(tmp_path / place / "run.h5", 1, 2) for place in (".", "deep")]
    assert ls.mds(twins).names == ("run 1", "run 2")


def test_layers_are_chosen_by_globs_and_one_by_one(walks):
    by = mds_by_layer(walks)
    assert list(by) == ["0", "2", "all layers"]
    for layer, glob in (("0", "0.*"), ("2", "2.*"), ("all layers", "*")):
        one = ls.mds(walks, layers=glob)
        np.testing.assert_allclose(one.distances, by[layer].distances, rtol=1e-12, atol=1e-14)
    assert [len(by[layer]) for layer in by] == [14] * 3
    assert list(mds_by_layer(walks, layers="*.weight,!2.*")) == ["0", "all layers"]


def test_few_snapshots(tmp_path):
    run = record(tmp_path / "run.h5", 1, 2)
    with pytest.raises(LandscapeError, match="an embedding needs at least 2 snapshots; got 1; give more runs"):
        ls.mds(run[:1])
    for method in ("classical", "metric"):
        embedding = ls.mds(run, method=method, dims=3)
        assert pairwise(embedding.coordinates)[0, 1] == pytest.approx(embedding.distances[0, 1], rel=1e-6)
        assert not embedding.coordinates[:, 1:].any() or np.abs(embedding.coordinates[:, 1:]).max() < 1e-9
        assert embedding.stress < 1e-6


@pytest.mark.parametrize("method", ["classical", "metric"])
def test_snapshots_that_are_all_the_same(tmp_path, method):
    with Recorder(tmp_path / "run.h5", net()) as recorder:
        for step in range(4):
            recorder.snapshot(step)
    embedding = ls.mds(open_trajectory(tmp_path / "run.h5"), method=method)
    assert not embedding.coordinates.any()
    assert (embedding.stress, embedding.negative, embedding.share.tolist()) == (0.0, 0.0, [0.0, 0.0])


def test_representatives_stand_for_snapshots(walks):
    embedding = ls.mds(walks, representative=unit_rows, layers="*.weight")
    assert embedding.meta["representative"] == "unit matrices"
    assert np.abs(embedding.distances - ls.mds(walks, layers="*.weight").distances).max() > 1
    # Two matrices at norm 1 are at most 2 apart each.
    assert embedding.distances.max() <= np.sqrt(8)


def test_wrong_options_are_all_told():
    with pytest.raises(LandscapeError) as refused:
        Embed(dissimilarity="euclid", method="clasical", dims=4, color="los", view="3D", seed=-1, starts=0)
    assert str(refused.value) == (
        "option 'dissimilarity' has no such choice; got 'euclid'; did you mean 'euclidean'? | option 'method' has "
        "no such choice; got 'clasical'; did you mean 'classical'? | option 'dims' is out of range; got 4; "
        "expected 2 to 3 | option 'color' has no such choice; got 'los'; did you mean 'loss'? | option 'view' has "
        "no such choice; got '3D'; expected map or 3d | option 'starts' is out of range; got 0; expected at least "
        "1 | option 'seed' is out of range; got -1; expected at least 0"
    )
    with pytest.raises(LandscapeError, match="with view 3d the loss is the third axis: leave dims at 2"):
        Embed(dims=3, view="3d")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dissimilarity": "cosine"}, "dissimilarity: unknown value 'cosine'; did you mean 'cosine-chord'"),
        ({"method": "metrics"}, "method: unknown value 'metrics'; did you mean 'metric'"),
        ({"dims": 0}, "dims: must be at least 1; got 0"),
        ({"starts": 0}, "starts: must be at least 1; got 0"),
        ({"layers": "conv*"}, "nothing is left to move"),
    ],
)
def test_wrong_options_are_refused(walks, options, message):
    with pytest.raises(LandscapeError, match=message):
        ls.mds(walks, **options)


def test_the_pipeline_embeds_what_is_wanted(walks):
    one = embeddings_of(walks, Embed(method="metric", branches=True))
    assert list(one) == ["all layers"]
    assert len(one["all layers"]) == 18
    many = embeddings_of(walks, Embed(per_layer=True, layers="*.weight"))
    assert list(many) == ["0", "2", "all layers"]


def test_an_embedding_is_frozen_and_tells_itself(walks):
    embedding = ls.mds(walks, branches=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        embedding.stress = 0.0
    told = embedding.to_json()
    assert told["stress"] == embedding.stress
    assert [run["name"] for run in told["runs"]] == list(embedding.names)
    assert told["runs"][1]["parent"] == {"run": "one", "step": 30}
    assert told["runs"][0]["parent"] is None
    assert np.shape(told["runs"][2]["coordinates"]) == (6, 2)
    assert told["problem"] == "walk"
