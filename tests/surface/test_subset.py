"""A subset of the examples: which, the same everywhere, and what it costs."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from conftest import make_convnet, make_data, make_mlp
from torch.nn import functional as F

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.projection import random_plane
from landscape.surface import evaluate, grid
from landscape.values.repeats import subset_error


def indices(part: Objective, whole: Objective, split: str = "train") -> list[int]:
    """Where the examples of a subset stand in the whole."""
    rows = whole.data[split].inputs
    return [int((rows == row).flatten(1).all(1).nonzero()[0]) for row in part.data[split].inputs]


@pytest.mark.parametrize(("make", "shape"), [(make_mlp, (6,)), (make_convnet, (1, 4, 4))])
def test_a_slice_of_a_subset_is_that_of_an_objective_built_by_hand(make, shape) -> None:
    model, (x, y) = make(), make_data(shape, count=200)
    xt, yt = make_data(shape, count=90, seed=2)
    whole = Objective(model, loss=F.cross_entropy, train=(x, y), test=(xt, yt))
    part = whole.subset(30)
    train, test = indices(part, whole), indices(part, whole, "test")
    by_hand = Objective(model, loss=F.cross_entropy, train=(x[train], y[train]), test=(xt[test], yt[test]))
    splits = ("train", "test")
    a = evaluate(whole, random_plane(model), grid(3), splits=splits, subset=30)
    b = evaluate(by_hand, random_plane(model), grid(3), splits=splits)
    for field in a.fields:
        assert np.array_equal(a[field], b[field])
        assert np.array_equal(a.standard_errors[field], b.standard_errors[field])
    # The control: other examples have another loss.
    assert not np.array_equal(a.values, evaluate(whole, random_plane(model), grid(3)).values)


def test_examples_are_drawn_once_each_in_order_and_smaller_draws_lie_in_larger() -> None:
    whole = Objective(make_mlp(), loss=F.cross_entropy, train=make_data(count=200))
    found = {n: indices(whole.subset(n), whole) for n in (20, 90, 200)}
    for n, own in found.items():
        assert own == sorted(set(own))
        assert len(own) == n
    assert set(found[20]) < set(found[90])
    assert found[20] == indices(whole.subset(20), whole)
    assert found[20] != indices(whole.subset(20, seed=1), whole)
    assert found[20] != list(range(20))


def test_every_example_is_drawn_equally_often() -> None:
    whole = Objective(make_mlp(), loss=F.cross_entropy, train=make_data(count=50))
    draws, n = 400, 10
    counts = np.bincount(
        np.concatenate([indices(whole.subset(n, seed=s), whole) for s in range(draws)]), minlength=50
    )
    # Binomial with p = 1/5: 80 +- 8; five standard deviations for the largest of 50.
    assert np.abs(counts - 80).max() < 5 * math.sqrt(draws * 0.2 * 0.8)


def test_splits_that_are_not_named_stay_whole_and_the_original_stays_itself(objective: Objective) -> None:
    digest = objective.data_digest("train")
    part = objective.subset(30, splits=["train"])
    assert part.examples(part.splits) == {
        "train": {"used": 30, "available": 50},
        "test": {"used": 20, "available": 20},
    }
    assert part.model is objective.model
    assert objective.data["train"].count == 50
    assert objective.data_digest("train") == digest != part.data_digest("train")
    assert objective.data_digest("test") == part.data_digest("test")
    again = part.subset(10, splits=["train"]).penalised(0.1)
    assert again.examples(["train"]) == {"train": {"used": 10, "available": 50}}


def test_the_file_says_how_many_examples_and_is_another_slice_without_them(objective, mlp, tmp_path) -> None:
    surface = evaluate(objective, random_plane(mlp), grid(3), subset=20, save=tmp_path / "s.h5")
    assert surface.meta["examples"] == {"train": {"used": 20, "available": 50}}
    for other in (None, 21):
        with pytest.raises(LandscapeError, match=r"it differs in (loss at the origin.*)?train data"):
            evaluate(objective, random_plane(mlp), grid(3), subset=other, save=tmp_path / "s.h5")


def test_a_whole_split_costs_nothing(objective, mlp) -> None:
    surface = evaluate(objective, random_plane(mlp), grid(3), subset=50)
    assert np.array_equal(surface.values, evaluate(objective, random_plane(mlp), grid(3)).values)
    assert subset_error(surface, "train_loss") == 0.0


def test_the_error_is_the_scatter_of_subsets_about_the_whole() -> None:
    model = make_mlp()
    whole = Objective(model, loss=F.cross_entropy, train=make_data(count=120))
    exact = whole.value(model)
    misses, said = [], []
    for seed in range(150):
        part = whole.subset(60, seed=seed)
        misses.append(part.value(model) - exact)
        said.append(subset_error(evaluate(part, random_plane(model), grid(3)), "train_loss"))
    # 150 draws tell a standard deviation to 1/sqrt(300) = 6 %; without the correction sqrt(1/2) it is 41 % off.
    assert np.std(misses) == pytest.approx(np.mean(said), rel=0.2)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda o: o.subset(1), "subset: a subset needs at least 2 examples, or its error is unknown; got 1"),
        (lambda o: o.subset(2.5), "subset: a subset needs at least 2 examples, or its error is unknown; got 2.5"),
        (
            lambda o: o.subset(1200),
            "subset: the train split has 50 examples only; got 1,200; take fewer, or leave that split out",
        ),
        (
            lambda o: o.subset(21, splits=["test"]),
            "subset: the test split has 20 examples only; got 21; take fewer, or leave that split out",
        ),
        (lambda o: o.subset(5, seed=-1), "seed: must not be negative; got -1"),
        (lambda o: o.subset(5, splits=["tests"]), "this objective has no split 'tests'; did you mean 'test'?"),
    ],
)
def test_subsets_that_cannot_be(objective: Objective, act, message: str) -> None:
    with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
        act(objective)


def test_trees_of_inputs_are_cut_leaf_by_leaf() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 3)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.linear(a) + b

    rows = torch.arange(24.0).reshape(12, 2)
    objective = Objective(
        Two(), loss=F.cross_entropy, train=({"a": rows, "b": rows[:, :1].clone()}, torch.arange(12) % 3)
    )
    part = objective.subset(5).data["train"]
    assert torch.equal(part.inputs["a"][:, :1], part.inputs["b"])
    assert torch.equal(part.targets, (part.inputs["a"][:, 0] / 2).long() % 3)


def test_a_split_with_fewer_examples_is_used_whole(objective: Objective) -> None:
    part = objective.subset(30)
    assert part.examples(part.splits) == {
        "train": {"used": 30, "available": 50},
        "test": {"used": 20, "available": 20},
    }
    assert part.value(objective.model, "test") == objective.value(objective.model, "test")
