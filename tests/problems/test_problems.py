"""The registry: options, rebuilding, closed forms, messages."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape import params, problems
from landscape.errors import LandscapeError
from landscape.problems.catalogue import LinearNetworkOptions, QuadraticOptions
from landscape.problems.toys import learning_coefficient, quadratic

OFFLINE = [name for name in problems.names() if not problems.get(name).needs_data]
SMALL = {
    "digits-mlp": {"width": "8"},
    "digits-cnn": {"width": "2"},
    "text-transformer": {"width": "16", "layers": "1", "train_size": "8", "test_size": "4"},
}


def fails_with(message: str):
    return pytest.raises(LandscapeError, match=f"^{re.escape(message)}$")


def fingerprint(objective) -> tuple[str, ...]:
    digests = tuple(objective.data_digest(split) for split in objective.splits)
    return (*digests, params.digest(params.resolve(objective.model)[1]))


def test_names():
    assert problems.names() == [
        "digits-mlp",
        "digits-cnn",
        "cifar10-cnn6",
        "cifar10-vgg9",
        "cifar10-resnet20",
        "cifar10-resnet20-noskip",
        "resnet18",
        "densenet121",
        "efficientnet-b0",
        "pyramidnet",
        "text-transformer",
        "gaussian-mixture",
        "multi-index",
        "toy-hyperbola",
        "toy-quadratic",
        "toy-linear-network",
    ]


@pytest.mark.parametrize("name", OFFLINE)
def test_stored_options_rebuild_the_same_objective(name):
    state = torch.get_rng_state()
    first = problems.build(name, SMALL.get(name), seed=5)
    stored = json.loads(json.dumps(first.problem_args))
    again = problems.build(first.problem, stored, seed=5)
    assert fingerprint(again) == fingerprint(first)
    assert again.problem_args == first.problem_args
    assert set(stored) == {entry["name"] for entry in problems.get(name).describe()["options"]}
    assert first.values(first.model) == again.values(again.model)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["digits-mlp", "text-transformer", "toy-quadratic"])
def test_each_seed_draws_only_its_own_part(name):
    base = fingerprint(problems.build(name, SMALL.get(name), seed=0))
    other_weights = fingerprint(problems.build(name, SMALL.get(name), seed=1))
    other_data = fingerprint(problems.build(name, {**SMALL.get(name, {}), "data_seed": 1}, seed=0))
    assert other_weights[:-1] == base[:-1]
    assert other_weights[-1] != base[-1]
    assert other_data[-1] == base[-1]
    assert other_data[0] != base[0]


@pytest.mark.parametrize("name", OFFLINE)
def test_metrics_and_units(name):
    objective = problems.build(name, SMALL.get(name))
    toy = name.startswith("toy-")
    numbers = toy or name == "multi-index"
    assert objective.units["loss"] == ("" if numbers else "nats")
    assert ("error" in objective.metrics) != numbers
    assert objective.splits == (("train",) if toy else ("train", "test"))


def test_describe_is_json_and_complete():
    described = json.loads(json.dumps(problems.describe()))
    assert [entry["name"] for entry in described] == problems.names()
    options = {entry["name"]: entry for entry in described[0]["options"]}
    assert options["activation"]["choices"] is None
    assert "relu, leaky-relu, tanh, gelu or poly:DEGREE" in options["activation"]["help"]
    assert options["bias"]["type"] == "bool"
    assert options["width"] == {
        "name": "width",
        "type": "int",
        "default": 64,
        "choices": None,
        "low": 1,
        "high": None,
        "help": "units of each hidden layer",
    }
    assert all(option["help"] for entry in described for option in entry["options"])


@pytest.mark.parametrize(
    ("given_value", "read"),
    [("true", True), ("NO", False), ("1", True), ("off", False), (True, True), (False, False)],
)
def test_truth_values(given_value, read):
    assert problems.parse_options("digits-mlp", {"bias": given_value}).bias is read


def test_text_and_values_read_alike():
    as_text = problems.parse_options("toy-quadratic", {"dim": "6", "high": "1e2", "dtype": " float64 "})
    as_values = problems.parse_options("toy-quadratic", {"dim": 6.0, "high": 100, "dtype": "float64"})
    assert as_text == as_values == QuadraticOptions(dim=6, high=100.0, dtype="float64")
    assert problems.parse_options("cifar10-resnet20", {"depth": "56"}).depth == 56


@pytest.mark.parametrize(
    ("name", "given_settings", "message"),
    [
        ("digits-mlp", {"widht": "3"}, "digits-mlp: there is no option 'widht'; did you mean 'width'?"),
        (
            "toy-hyperbola",
            {"x": 1},
            "toy-hyperbola: there is no option 'x'; choose from start1, start2",
        ),
        (
            "digits-mlp",
            {"width": "wide"},
            "digits-mlp: option 'width' has the wrong type; got 'wide'; expected a whole number",
        ),
        (
            "digits-mlp",
            {"width": 2.5},
            "digits-mlp: option 'width' has the wrong type; got 2.5; expected a whole number",
        ),
        (
            "digits-mlp",
            {"width": True},
            "digits-mlp: option 'width' has the wrong type; got True; expected a whole number",
        ),
        (
            "digits-mlp",
            {"width": None},
            "digits-mlp: option 'width' has the wrong type; got None; expected a whole number",
        ),
        (
            "toy-quadratic",
            {"high": 10**400},
            f"toy-quadratic: option 'high' has the wrong type; got {10**400}; expected a number",
        ),
        (
            "digits-mlp",
            {"bias": "maybe"},
            "digits-mlp: option 'bias' has the wrong type; got 'maybe'; expected true or false",
        ),
        (
            "digits-mlp",
            {"activation": "swish"},
            "digits-mlp: there is no activation 'swish'; choose from relu, leaky-relu, tanh, gelu",
        ),
        (
            "cifar10-resnet20",
            {"depth": "21"},
            "cifar10-resnet20: option 'depth' has no such choice; got '21'; expected 20 or 32 or 56 or 110",
        ),
        ("digits-mlp", {"width": 0}, "digits-mlp: option 'width' is out of range; got 0; expected at least 1"),
        (
            "digits-mlp",
            {"train_size": 1797},
            "digits-mlp: option 'train_size' is out of range; got 1797; expected 1 to 1796",
        ),
        (
            "toy-quadratic",
            {"high": "inf"},
            "toy-quadratic: option 'high' has the wrong type; got 'inf'; expected a number",
        ),
        (
            "text-transformer",
            {"heads": 3},
            "text-transformer: option 'heads' must divide option 'width'; got heads 3, width 128",
        ),
        (
            "digits-mlp",
            {"depht": 1, "width": -1},
            "digits-mlp: there is no option 'depht'; did you mean 'depth'? | option 'width' is out of range; "
            "got -1; expected at least 1",
        ),
    ],
)
def test_wrong_settings(name, given_settings, message):
    with fails_with(message):
        problems.parse_options(name, given_settings)


def test_unknown_problem():
    mend = "did you mean 'digits-mlp'?; one of your own is named FILE.py:function"
    with fails_with(f"there is no problem 'digits-mpl'; {mend}"):
        problems.build("digits-mpl")


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True, 2**63])
def test_wrong_seed(seed):
    with fails_with(f"seed: not a seed; got {seed!r}; expected a whole number from 0 to 2^63 - 1"):
        problems.build("toy-hyperbola", seed=seed)


@settings(max_examples=20, deadline=None)
@given(a=st.floats(-3, 3, width=32), b=st.floats(-3, 3, width=32))
def test_hyperbola_is_its_closed_form(a, b):
    objective = problems.build("toy-hyperbola", {"start1": a, "start2": b})
    assert [tuple(p.shape) for p in objective.model.parameters()] == [(1, 1), (1, 1)]
    assert objective.value(objective.model) == pytest.approx((a * b - 1) ** 2, rel=1e-5, abs=1e-6)


def test_hyperbola_default_start_lies_off_the_valley():
    objective = problems.build("toy-hyperbola")
    assert objective.value(objective.model) == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quadratic_is_its_closed_form(dtype):
    options = {"dim": 5, "low": 0.5, "high": 20.0, "offset": 0.7, "dtype": dtype}
    objective = problems.build("toy-quadratic", options, seed=3)
    form = quadratic(problems.parse_options("toy-quadratic", options))
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    theta = objective.model.weight.detach().double().numpy()[0]
    assert objective.value(objective.model) == pytest.approx(form.value(theta), rel=tolerance)
    bottom = {"weight": torch.from_numpy(form.minimiser[None]).to(getattr(torch, dtype))}
    assert objective.value(bottom) == pytest.approx(0.7, rel=tolerance)


def test_quadratic_hessian_is_that_of_the_data():
    options = QuadraticOptions(dim=4, dtype="float64")
    objective = problems.build("toy-quadratic", {"dtype": "float64"})
    x = objective.data["train"].inputs.numpy()
    form = quadratic(options)
    assert np.allclose(x.T @ x / len(x), form.hessian, rtol=0, atol=1e-13)
    assert np.allclose(np.linalg.eigvalsh(form.hessian), np.geomspace(0.1, 2, 4), rtol=1e-12)
    assert np.allclose(form.hessian @ form.eigenvectors, form.eigenvectors * form.eigenvalues)


def test_quadratic_may_be_flat_in_a_direction():
    form = quadratic(QuadraticOptions(dim=3, low=0.0, high=2.0))
    assert np.allclose(form.eigenvalues, [0.0, 1.0, 2.0])


def test_linear_networks_are_their_closed_form():
    options = {"inputs": 3, "hidden": 2, "outputs": 4, "rank": 1}
    objective = problems.build("toy-linear-network", options)
    assert objective.value(objective.model) == 0
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=source, dtype=torch.float64) for shape in ((2, 3), (4, 2)))
    product = b @ a
    product[0, 0] -= 1
    found = objective.value({"0.weight": a, "1.weight": b})
    assert found == pytest.approx(float(product.square().sum()) / 2, rel=1e-13)
    with fails_with("toy-linear-network: the rank is larger than a width; got 3; expected at most 2"):
        problems.build("toy-linear-network", {**options, "rank": 3})


@pytest.mark.parametrize(
    ("widths", "rank", "expected"),
    [
        # (a b)^2: two valleys that cross; (a b - 1)^2: a regular valley.
        ((1, 1, 1), 0, (0.5, 2)),
        ((1, 1, 1), 1, (0.5, 1)),
        # (a . b)^2 is one square on a cone.
        ((1, 2, 1), 0, (0.5, 1)),
        ((1, 5, 1), 0, (0.5, 1)),
        # |a|^2 b^2 of two numbers a: the valley b = 0 decides.
        ((2, 1, 1), 0, (0.5, 1)),
        # Of full rank: as many squares as there are entries.
        ((2, 2, 2), 2, (2.0, 1)),
        ((2, 2, 2), 0, (1.5, 1)),
        ((4, 2, 4), 1, (5.0, 2)),
    ],
)
def test_coefficients_of_linear_networks(widths, rank, expected):
    assert learning_coefficient(LinearNetworkOptions(*widths, rank=rank)) == expected


def test_the_start_does_not_depend_on_the_type():
    single, double = (problems.build("toy-quadratic", {"dtype": d}).model.weight for d in ("float32", "float64"))
    assert torch.equal(single.double(), double)
