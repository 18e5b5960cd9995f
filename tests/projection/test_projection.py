import math

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_mlp
from sklearn.decomposition import PCA
from torch import nn
from walks import Walk

from landscape.errors import LandscapeError
from landscape.layout import TensorInfo
from landscape.params import dot, filter_rows, layout_of, norm, resolve
from landscape.projection import (
    Plane,
    line_through,
    pca_plane,
    plane_through,
    principal_components,
    project_path,
    random_direction,
    random_line,
    random_plane,
    random_walk_null,
    random_walks_null,
)


class Zoo(nn.Module):
    """Every kind of parameter that has a rule of its own."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.up = nn.ConvTranspose2d(4, 6, 2, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.frozen = nn.Linear(3, 3)
        self.frozen.requires_grad_(False)


def test_filter_norms_of_the_direction_are_those_of_the_weights():
    model = Zoo()
    direction, _ = random_direction(model, normalize="filter")
    layout, tensors = resolve(model)
    for info in layout.moving():
        if len(info.shape) > 1:
            wanted = filter_rows(tensors[info.name].double(), info).norm(dim=1)
            got = filter_rows(direction[info.name].double(), info).norm(dim=1)
            assert torch.allclose(got, wanted, rtol=1e-6, atol=0), info.name


def test_layer_and_weight_normalisation():
    model = make_mlp()
    layer, _ = random_direction(model, normalize="layer")
    assert layer["0.weight"].norm().item() == pytest.approx(model[0].weight.norm().item(), rel=1e-6)
    raw, _ = random_direction(model, normalize="none")
    by_weight, _ = random_direction(model, normalize="weight")
    assert torch.allclose(by_weight["0.weight"], raw["0.weight"] * model[0].weight.detach())


def test_one_dimensional_parameters_stay_or_count_as_one_filter():
    model = make_convnet()
    ignored, _ = random_direction(model)
    assert all(not ignored[name].any() for name in ("0.bias", "1.weight", "1.bias", "5.bias"))
    moved, _ = random_direction(model, one_d="norm")
    for name in ("0.bias", "1.weight"):
        assert moved[name].norm().item() == pytest.approx(model.get_parameter(name).norm().item(), rel=1e-6)


def test_the_report_accounts_for_every_tensor():
    model = Zoo()
    _, report = random_direction(model)
    said = report.to_json()
    assert said["normalized"]["names"] == [
        "embedding.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "up.weight",
    ]
    assert said["frozen"]["names"] == ["frozen.weight", "frozen.bias"]
    assert said["tied"]["names"] == ["head.weight"]
    assert said["buffers"]["count"] == 3
    assert said["filters"] == 5 + 12 + 4 + 6
    listed = [
        name for group in ("normalized", "zeroed", "frozen", "tied", "buffers") for name in said[group]["names"]
    ]
    assert sorted(listed) == sorted(info.name for info in layout_of(model))


def test_a_filter_of_norm_zero_gets_direction_zero():
    model = make_mlp()
    with torch.no_grad():
        model[0].weight[3] = 0
    direction, report = random_direction(model)
    assert not direction["0.weight"][3].any()
    assert report.zero_filters == 1


def test_a_direction_depends_on_seed_index_and_name_alone():
    model = make_mlp()
    same, other = random_direction(model, seed=3)[0], random_direction(model, seed=4)[0]
    assert torch.equal(random_direction(model, seed=3)[0]["2.weight"], same["2.weight"])
    assert not torch.equal(other["2.weight"], same["2.weight"])
    assert not torch.equal(random_direction(model, seed=3, index=1)[0]["2.weight"], same["2.weight"])
    part = {"2.weight": model[2].weight.detach()}
    assert torch.equal(random_direction(part, seed=3)[0]["2.weight"], same["2.weight"])


def test_no_tensor_is_compared_with_all_others(monkeypatch):
    """The time of a plane through a model of many tensors rises with their number, not with its square."""
    compared = []
    equal = TensorInfo.__eq__
    monkeypatch.setattr(TensorInfo, "__eq__", lambda self, other: compared.append(1) or equal(self, other))
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(100)))
    for one_d in ("ignore", "norm"):
        plane = random_plane(model, one_d=one_d)
        assert plane.meta["tensors"]["moving"]["count"] == (100 if one_d == "ignore" else 200)
    assert len(compared) <= 2 * 200


def test_drawing_leaves_the_model_and_the_random_state_untouched():
    model, other = make_convnet(), make_convnet(1)
    untouched = Untouched(model)
    random_plane(model, seed=1).point(0.5, -0.5)
    line_through(model, other, buffers="interpolate").point(0.5)
    untouched.check()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: random_plane(m, normalize="filtre"),
            r"^normalize: unknown value 'filtre'; did you mean 'filter'\?$",
        ),
        (lambda m: random_plane(m, one_d="zero"), r"^one_d: unknown value 'zero'; choose from ignore, norm$"),
        (lambda m: random_plane(m, seed=-1), r"^seed: must not be negative; got -1$"),
        (
            lambda m: random_line({"b": torch.ones(3)}),
            r"^no parameter would move: all are frozen or have at most one",
        ),
        (lambda m: Plane(m, []), r"^a plane needs at least one direction$"),
        (lambda m: Plane(m, [{"x": torch.ones(1)}]), r"^direction 1: the origin has no tensor 'x'$"),
        (
            lambda m: Plane(m, [{"0.bias": torch.ones(2)}]),
            r"^direction 1: tensor '0\.bias' has another shape; got \(2,\); expected \(12,\)$",
        ),
        (lambda m: Plane(m, [{"0.bias": torch.zeros(12)}]), r"^direction 1: is zero throughout$"),
        (lambda m: line_through(m, m), r"^the two sets of weights are the same; choose two different snapshots$"),
        (lambda m: line_through(m, make_mlp(width=5)), r"^tensor '0\.weight' differs between the two models"),
        (lambda m: random_plane(m).point(1.0), r"^one coordinate per direction; got 1; expected 2$"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(LandscapeError, match=message):
        call(make_mlp())


def test_the_cosine_of_two_random_directions_is_reported():
    plane = random_plane(make_mlp(width=200))
    a, b = plane.directions
    assert plane.meta["cosine"] == pytest.approx(dot(a, b) / norm(a) / norm(b), rel=1e-12)
    assert abs(plane.meta["cosine"]) < 5 / math.sqrt(41_000)


def test_random_directions_are_as_nearly_orthogonal_as_their_number_of_weights_says():
    weights = {"w": torch.ones(40, 25)}
    each = (random_direction(weights, seed=seed, normalize="none")[0]["w"] for seed in range(60))
    drawn = torch.stack([own.reshape(-1) for own in each])
    cosines = torch.corrcoef(drawn)[*torch.triu_indices(60, 60, 1)].abs()
    assert float(cosines.mean()) == pytest.approx(math.sqrt(2 / (math.pi * 1000)), rel=0.06)


def test_the_mean_curvature_along_a_filter_normalised_direction():
    # E[d^T H d] = sum over filters of |w_f|^2 tr(H_ff) / n_f; for H = identity that is sum |w_f|^2.
    weights = {"w": torch.randn(40, 30, generator=torch.Generator().manual_seed(0))}
    along = [norm(random_direction(weights, seed=seed)[0]) ** 2 for seed in range(5)]
    assert along == pytest.approx([norm(weights) ** 2] * 5, rel=1e-6)
    raw = np.array([norm(random_direction(weights, seed=seed, normalize="none")[0]) ** 2 for seed in range(50)])
    assert raw.mean() == pytest.approx(1200, abs=4 * raw.std() / math.sqrt(50))


def test_points_are_computed_afresh_from_the_origin():
    model = make_convnet()
    plane = random_plane(model)
    assert all(torch.equal(plane.point(0.0, 0.0)[name], tensor) for name, tensor in plane.origin.items())
    plane.point(3.0, 4.0)
    moved = plane.point(0.5, -2.0)["0.weight"]
    dx, dy = (d["0.weight"] for d in plane.directions)
    assert torch.allclose(moved, model[0].weight.detach() + 0.5 * dx - 2.0 * dy)
    assert torch.equal(plane.point(1.0, 1.0)["1.running_var"], model[1].running_var)


def test_a_line_through_two_models_ends_at_both():
    a, b = make_convnet(0), make_convnet(1)
    line = line_through(a, b, buffers="interpolate")
    for name, tensor in b.state_dict().items():
        assert torch.allclose(line.point(1.0)[name].double(), tensor.double(), rtol=1e-6, atol=1e-6), name
    frozen = line_through(a, b)
    assert torch.equal(frozen.point(1.0)["1.running_mean"], a[1].running_mean)
    assert frozen.meta["bn"] == "frozen"


def test_a_plane_through_three_models_has_orthonormal_axes_and_marks_them():
    models = [make_mlp(seed) for seed in range(3)]
    plane = plane_through(*models)
    a, b = plane.directions
    assert [norm(a), norm(b)] == pytest.approx([1, 1], rel=1e-6)
    assert dot(a, b) == pytest.approx(0, abs=1e-6)
    for model, mark in zip(models, plane.meta["marks"], strict=True):
        point = plane.point(mark["x"], mark["y"])
        assert torch.allclose(point["0.weight"], model[0].weight, atol=1e-5)


def test_three_models_on_a_line_are_refused():
    a, c = make_mlp(0), make_mlp(1)
    middle = line_through(a, c).point(0.5)
    with pytest.raises(LandscapeError, match=r"^the three snapshots lie on a line; choose others"):
        plane_through(a, middle, c)


def test_components_and_shares_are_those_of_scikit_learn():
    matrix = np.random.default_rng(0).standard_normal((9, 40)) * np.linspace(1, 5, 40)
    plane = pca_plane(Walk(matrix))
    judge = PCA(2, svd_solver="full").fit(matrix)
    assert plane.explained_variance_ratio == pytest.approx(judge.explained_variance_ratio_, rel=1e-10)
    for ours, theirs in zip(plane.directions, judge.components_, strict=True):
        flat = ours["w"].flatten().numpy()
        assert abs(flat @ theirs) == pytest.approx(1, rel=1e-10)
        assert flat[np.abs(flat).argmax()] > 0


def test_the_plane_goes_through_the_last_snapshot():
    matrix = np.random.default_rng(0).standard_normal((9, 40))
    plane = pca_plane(Walk(matrix))
    assert torch.equal(plane.origin["w"], Walk(matrix)[-1]["w"])
    projected = project_path(plane, Walk(matrix))
    assert projected.coordinates[-1] == pytest.approx([0, 0])
    assert projected.off_plane[-1] == 0


def test_a_random_walk_shows_the_shares_that_the_null_says():
    steps = np.random.default_rng(0).standard_normal((300, 5000))
    plane = pca_plane(Walk(np.cumsum(steps, axis=0)))
    assert plane.explained_variance_ratio == pytest.approx([0.6079, 0.1520], rel=0.02)
    assert plane.meta["null_ratio"] == pytest.approx([0.6079, 0.1520], rel=0.005)


def test_the_null_tends_to_its_limits():
    k = np.arange(1, 5)
    assert random_walk_null(100_000, 4) == pytest.approx(6 / (np.pi * k) ** 2, rel=1e-4)
    assert random_walk_null(100_000, 4, "last") == pytest.approx(2 / ((k - 0.5) * np.pi) ** 2, rel=1e-4)


@pytest.mark.parametrize("center", ["mean", "last", "initial"])
def test_the_null_is_the_spectrum_of_the_expected_gram_matrix(center):
    count = 12
    walk = np.minimum.outer(np.arange(1, count + 1), np.arange(1, count + 1)).astype(float)
    at = 0 if center == "initial" else -1
    shift = np.eye(count) - (1 / count if center == "mean" else np.eye(count)[at])
    shares = np.sort(np.linalg.eigvalsh(shift @ walk @ shift.T))[::-1]
    assert random_walk_null(count, count - 1, center) == pytest.approx(shares[:-1] / shares.sum(), rel=1e-9)


# Of P dimensions every eigenvalue scatters by sqrt(2 / P) of itself; four times that is allowed.
DIMENSIONS = 20_000
SCATTER = 4 * math.sqrt(2 / DIMENSIONS)


@pytest.mark.parametrize("center", ["mean", "last", "initial"])
def test_a_simulated_walk_shows_the_null_of_every_centring(center):
    steps = np.random.default_rng(1).standard_normal((200, DIMENSIONS))
    found = principal_components(Walk(np.cumsum(steps, axis=0)), center=center, dims=2)
    assert found.shares[:3] == pytest.approx(random_walk_null(200, 3, center), rel=SCATTER)
    assert found.null[:3] == pytest.approx(random_walk_null(200, 3, center), rel=1e-12)


def walks(start: str, counts=(60, 40, 50)) -> list[Walk]:
    """Random walks of unlike steps, from one start or from three that lie apart."""
    generator = np.random.default_rng(2)
    starts = generator.standard_normal((3, DIMENSIONS)) * {"common": 0.0, "apart": 4.0}[start] + 1.0
    return [
        Walk(
            first
            + np.cumsum(size * generator.standard_normal((count, DIMENSIONS)) * (np.arange(count) > 0)[:, None], 0)
        )
        for first, size, count in zip(starts, (1.0, 0.4, 0.7), counts, strict=True)
    ]


@pytest.mark.parametrize("center", ["mean", "last", "initial"])
@pytest.mark.parametrize("start", ["common", "apart"])
def test_simulated_walks_from_one_start_or_several_show_the_null_of_several(center, start):
    found = principal_components(walks(start), center=center)
    assert found.null[:4] == pytest.approx(found.shares[:4], rel=SCATTER)
    # The shares of one long walk are those of none of these.
    assert np.abs(found.shares[:3] / random_walk_null(150, 3, center) - 1).max() > 0.1


def test_the_null_of_several_is_that_of_one_where_there_is_one():
    for center in ("mean", "last", "initial"):
        walk = np.minimum.outer(np.arange(30), np.arange(30)) * 2.5
        several = random_walks_null(walk, [30], center)
        assert several[:10] == pytest.approx(random_walk_null(30, 10, center), rel=1e-9)


def test_components_of_stacked_trajectories_are_those_of_scikit_learn():
    generator = np.random.default_rng(3)
    parts = [generator.standard_normal((count, 40)) * np.linspace(1, 4, 40) + count for count in (6, 4, 5)]
    judge = PCA(3, svd_solver="full").fit(np.concatenate(parts))
    found = principal_components([Walk(part) for part in parts], dims=3)
    assert found.shares[:3] == pytest.approx(judge.explained_variance_ratio_, rel=1e-10)
    for part, scores in zip(parts, found.scores, strict=True):
        assert np.abs(scores) == pytest.approx(np.abs(judge.transform(part)), abs=1e-9)
    plane = pca_plane([Walk(part) for part in parts], dims=3)
    for ours, theirs in zip(plane.directions, judge.components_, strict=True):
        assert abs(ours["w"].flatten().numpy() @ theirs) == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize("center", ["mean", "last", "initial"])
def test_scores_are_coordinates_along_the_directions_of_the_plane(center):
    runs = [Walk(matrix) for matrix in np.random.default_rng(4).standard_normal((2, 7, 30))]
    found, plane = principal_components(runs, center=center, dims=2), pca_plane(runs, center=center)
    for run, scores in zip(runs, found.scores, strict=True):
        inside = project_path(plane, run).coordinates
        assert inside - inside[0] == pytest.approx(scores - scores[0], abs=1e-9)


def test_centring_on_a_snapshot_is_an_uncentred_pca_of_the_differences():
    matrix = np.random.default_rng(5).standard_normal((8, 30)) + 3.0
    for center, at in (("last", -1), ("initial", 0)):
        singular = np.linalg.svd(matrix - matrix[at], compute_uv=False) ** 2
        found = principal_components(Walk(matrix), center=center)
        assert found.shares == pytest.approx((singular / singular.sum())[:7], rel=1e-9)


def test_runs_of_other_models_have_no_common_components():
    with pytest.raises(LandscapeError, match=r"^tensor 'w' is not the same in the first run and in run 2; got"):
        pca_plane([Walk(np.ones((3, 30))), Walk(np.ones((3, 20)))])
    with pytest.raises(LandscapeError, match=r"^center: unknown value 'middle'; expected mean, last or initial$"):
        pca_plane(Walk(np.eye(4)), center="middle")


def test_a_path_in_a_plane_is_recovered_and_its_distance_off_it():
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.standard_normal((30, 3)))[0].T
    inside = generator.standard_normal((7, 2))
    off = np.linspace(2, 0, 7)
    matrix = inside @ (basis[:2] * [[2.0], [0.5]]) + off[:, None] * basis[2]
    tilted = [basis[0] * 2.0, basis[1] * 0.5 + basis[0]]
    plane = Plane(
        {"w": torch.zeros(15, 2, dtype=torch.float64)}, [{"w": torch.from_numpy(d).reshape(15, 2)} for d in tilted]
    )
    projected = project_path(plane, Walk(matrix))
    wanted = np.stack([inside[:, 0] - inside[:, 1] / 2, inside[:, 1]], axis=1)
    assert projected.coordinates == pytest.approx(wanted, abs=1e-12)
    assert projected.off_plane == pytest.approx(off, abs=1e-7)
    lengths = ((matrix - matrix[-1]) ** 2).sum(1)
    assert projected.motion_held == pytest.approx(1 - (off**2).sum() / lengths.sum(), abs=1e-12)


def test_parallel_directions_have_no_coordinates():
    one = {"w": torch.ones(15, 2, dtype=torch.float64)}
    plane = Plane({"w": torch.zeros(15, 2, dtype=torch.float64)}, [one, {"w": 2 * one["w"]}])
    with pytest.raises(LandscapeError, match=r"^the directions of the plane are parallel; choose others$"):
        project_path(plane, Walk(np.random.default_rng(0).standard_normal((4, 30))))


def test_directions_have_the_order_of_the_layout():
    """Their sums would differ between processes otherwise."""
    names = [f"layer{number}" for number in range(12)]
    draws = np.random.default_rng(0)
    ends = [{name: torch.from_numpy(draws.standard_normal(3)) for name in names} for _ in range(3)]
    assert [list(direction) for direction in plane_through(*ends).directions] == [names, names]


def test_too_few_snapshots_are_refused():
    line = np.outer(np.arange(4.0), np.ones(6))
    with pytest.raises(
        LandscapeError, match=r"^the trajectory spans 1 direction; got 4 snapshots; expected at least 3"
    ):
        pca_plane(Walk(line))
    with pytest.raises(LandscapeError, match=r"^the trajectory has weights that are not finite"):
        pca_plane(Walk(np.array([[0.0, 1.0], [np.nan, 0.0], [1.0, 2.0]])))


def test_the_motion_held_is_that_along_the_plane_wherever_the_path_lies():
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.standard_normal((30, 3)))[0].T
    plane = Plane(
        {"w": torch.zeros(15, 2, dtype=torch.float64)},
        [{"w": torch.from_numpy(d).reshape(15, 2)} for d in basis[:2]],
    )
    inside = generator.standard_normal((7, 2)) @ basis[:2]
    parallel = project_path(plane, Walk(inside + 5 * basis[2]))
    assert parallel.motion_held == pytest.approx(1, abs=1e-12)
    assert parallel.off_plane == pytest.approx(np.full(7, 5.0), rel=1e-9)
    across = np.outer(np.arange(7.0), basis[2])
    moved = inside - inside[-1]
    share = (moved**2).sum() / ((moved**2).sum() + ((across - across[-1]) ** 2).sum())
    assert project_path(plane, Walk(inside + across)).motion_held == pytest.approx(share, rel=1e-12)
