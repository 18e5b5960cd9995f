"""Distinguished points of an orbit, matching, and transformed trajectories."""

import json
import tomllib

import pytest
import torch
from symmetry_models import build
from torch import nn

import landscape as ls
from landscape import LandscapeError, problems, symmetry
from landscape.params import resolve
from landscape.recipe import render
from landscape.symmetry.canonical import incoming_norms
from landscape.transform import Transform


def chain(bias: bool = False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = [(5, 7), (7, 6), (6, 8), (8, 3)]
        layers = [layer for size in sizes for layer in (nn.Linear(*size, bias=bias), nn.ReLU())]
        model, x = nn.Sequential(*layers[:-1]).double(), torch.randn(4, 5, dtype=torch.float64)
    return model, symmetry.find(model, x)


def largest_gap(a, b) -> float:
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def test_balancing_makes_all_norms_of_a_chain_their_geometric_mean():
    model, symmetries = chain()
    start = symmetries.rescale(model, alphas=[10.0, 0.5, 2.0, 0.1])
    mean = torch.stack([tensor.norm() for tensor in start.values()]).log().mean().exp()
    for name, tensor in symmetries.balance(start).items():
        assert float(tensor.norm() / mean) == pytest.approx(1, abs=1e-12), name


def test_alphas_are_the_deep_form():
    model, symmetries = chain(bias=True)
    alphas = [4.0, 0.25, 8.0, 0.125]
    moved, scale = symmetries.rescale(model, alphas=alphas), 1.0
    state = resolve(model)[1]
    for layer, alpha in enumerate(alphas):
        # Dinh et al. 2017, appendix B: a bias takes the product of all factors so far.
        scale *= alpha
        assert torch.equal(moved[f"{2 * layer}.weight"], alpha * state[f"{2 * layer}.weight"])
        assert torch.equal(moved[f"{2 * layer}.bias"], scale * state[f"{2 * layer}.bias"])


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn", "text-transformer", "mlp-tanh"])
def test_the_canonical_representative_is_the_same_for_all_rescalings(name):
    model, x = build(name)
    model = model.double()
    symmetries = symmetry.find(model, x.double() if x.is_floating_point() else x)
    kinds = [kind for kind in (*symmetry.KINDS[:4], "sign") if symmetries.of_kind(kind)]
    first = symmetries.canonical(model)
    other = symmetries.random(model, seed=3, kinds=kinds)
    assert largest_gap(first, symmetries.canonical(other)) <= 1e-12
    assert largest_gap(symmetries.complete(model), other) > 1e-2
    assert largest_gap(first, symmetries.canonical(first)) <= 1e-12
    for generator in symmetries.scalings:
        norms = incoming_norms(generator, symmetries.unit_norm(other))
        assert torch.allclose(norms, torch.ones_like(norms), rtol=1e-12, atol=0)


def test_a_dead_unit_is_left_as_it_is():
    model, symmetries = chain()
    with torch.no_grad():
        model[0].weight[2] = 0
    assert torch.equal(symmetries.unit_norm(model)["0.weight"][2], torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn", "mlp-tanh", "cifar10-resnet20"])
def test_alignment_recovers_a_permuted_and_rescaled_copy(name):
    model, x = build(name)
    model = model.double()
    symmetries = symmetry.find(model, x.double())
    kinds = [kind for kind in symmetry.KINDS[:-1] if symmetries.of_kind(kind)]
    copy = symmetries.random(model, seed=5, kinds=kinds)
    state = symmetries.complete(model)
    assert largest_gap(state, copy) > 0.1
    assert largest_gap(state, symmetries.align(model, copy)) <= 1e-10


def test_alignment_gives_gains_of_one_sign():
    # Half way between a gain and its opposite a unit would be dead.
    ours, x = build("digits-cnn", seed=0)
    theirs, _ = build("digits-cnn", seed=1)
    symmetries = symmetry.find(ours, x)
    state, aligned = symmetries.complete(ours), symmetries.align(ours, theirs)
    gains = [f"{n}.weight" for n, layer in ours.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(gains) == 3
    assert all((aligned[name] * state[name] > 0).all() for name in gains)
    flipped = symmetries.random(theirs, seed=1, kinds=["sign"])
    assert any((flipped[name] < 0).any() for name in gains)
    assert largest_gap(symmetries.align(ours, flipped), aligned) <= 1e-6


def test_alignment_brings_other_weights_nearer():
    model, symmetries = chain()
    other = chain()[0]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    shuffled = symmetries.permute(other, seed=2)
    state = resolve(model)[1]
    near = sum(float((state[name] - t).square().sum()) for name, t in symmetries.align(model, shuffled).items())
    far = sum(float((state[name] - t).square().sum()) for name, t in shuffled.items())
    assert near < 0.1 * far


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    objective = problems.build("digits-mlp", {"width": 8})
    chosen = ls.training.Settings(epochs=2)
    ls.training.train(objective, folder / "run.h5", chosen)
    return folder / "run.h5"


def test_a_transformed_trajectory_is_an_ordinary_one(run_file, tmp_path, landscape):
    out = tmp_path / "scaled.h5"
    code, said, _ = landscape("transform", run_file, "--alpha", 4, "-o", out, "--json")
    assert code == 0
    document = json.loads(said)
    run, scaled = ls.open(run_file), ls.open(out)
    # A power of 2, a ReLU net, float32: not a bit of the output changes.
    assert document["max_output_change"] == 0
    assert document["transform"] == {"alpha": 4}
    assert document["parent_run_id"] == run.run_id != scaled.run_id == document["run_id"]
    assert scaled.parent["perturbation"] == {"transform": {"alpha": 4}}
    assert (scaled.problem, scaled.problem_args, scaled.training) == (run.problem, run.problem_args, run.training)
    assert scaled.steps.tolist() == run.steps.tolist()
    assert scaled.metrics["train_loss"].tolist() == run.metrics["train_loss"].tolist()
    for a, b in zip(run, scaled, strict=True):
        assert torch.equal(4 * a.weights["0.weight"], b.weights["0.weight"])
        assert torch.equal(a.weights["2.weight"], b.weights["2.weight"])
        assert torch.equal(a.weights["4.weight"] / 4, b.weights["4.weight"])


@pytest.mark.parametrize(
    "option",
    [
        ("--balance",),
        ("--flattest",),
        ("--unit-norm",),
        ("--permute", "3"),
        ("--rescale", "3"),
        ("--alpha", "0.3"),
        ("--canonical",),
    ],
)
def test_every_transformation_keeps_the_loss(option, run_file, tmp_path, landscape):
    out = tmp_path / "moved.h5"
    code, said, error = landscape("transform", run_file, *option, "--at", "last", "-o", out)
    assert (code, error) == (0, "")
    assert "moved.h5: 1 snapshot of digits-mlp, " in said
    objective = problems.build("digits-mlp", {"width": 8})
    before, after = ls.open(run_file)[-1], ls.open(out)[-1]
    assert objective.value(after) == pytest.approx(objective.value(before), rel=1e-6)
    assert before.digest != after.digest


def test_wrong_transformations_are_told_in_one_line(run_file, tmp_path, landscape):
    out = tmp_path / "x.h5"
    cases = {
        (): (
            "landscape: a transformation is one of alpha, balance, flattest, unit-norm, permute, rescale, "
            "random-basis, rotate, canonical; "
            "got none\n"
        ),
        ("--alpha", "2", "--balance"): (
            "landscape: a transformation is one of alpha, balance, flattest, unit-norm, permute, rescale, "
            "random-basis, rotate, canonical; "
            "got alpha and balance\n"
        ),
        ("--alpha", "-2"): "landscape: option '--alpha' is out of range; got -2; expected above 0\n",
        ("--permute", "-2"): "landscape: option '--permute' is out of range; got -2; expected at least 0\n",
    }
    for options, message in cases.items():
        assert landscape("transform", run_file, *options, "-o", out) == (2, "", message)
    assert not out.exists()
    with pytest.raises(LandscapeError, match="a transformation is one of"):
        Transform()


def test_a_recipe_can_transform_a_run(tmp_path):
    recipe = tmp_path / "orbit.toml"
    recipe.write_text(
        "# The same function, sharper.\n[run.base]\nproblem = 'digits-mlp'\nepochs = 1\noptions = { width = 8 }\n"
        "[run.scaled]\ntransform = { of = 'base', alpha = 4 }\n[[panel]]\nkind = 'curve'\npoints = 3\n"
    )
    assert tomllib.loads(recipe.read_text())["run"]["scaled"]["transform"]["of"] == "base"
    render([recipe])
    (moved,) = (tmp_path / ".landscape-cache").glob("transform/*.h5")
    (base,) = (tmp_path / ".landscape-cache").glob("train/*.h5")
    assert torch.equal(ls.open(moved)[-1].weights["0.weight"], 4 * ls.open(base)[-1].weights["0.weight"])


def test_every_kind_of_symmetry_is_of_one_family():
    assert sorted(kind for own in symmetry.FAMILIES.values() for kind in own) == sorted(symmetry.KINDS)
