"""Measures of curvature matrices against dense ones, and how honest their estimates are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from conftest import Untouched, make_data, make_mlp
from curvature_cases import NAMES, case
from torch.nn import functional as F

import landscape as ls
from landscape import LandscapeError
from landscape.forms import NUMBER, WHOLE
from landscape.measures import Measure, measure, measure_named, measures
from landscape.measures.context import MeasureContext
from landscape.measures.registry import settled_settings
from landscape.objective import Objective
from landscape.options import fields_of
from landscape.params import Held

DENSE = {
    "hessian_top": lambda c: torch.linalg.eigvalsh(c.hessian)[-1],
    "hessian_bottom": lambda c: torch.linalg.eigvalsh(c.hessian)[0],
    "gauss_newton_top": lambda c: torch.linalg.eigvalsh(c.gauss_newton)[-1],
    "hessian_trace": lambda c: c.hessian.trace(),
    "hessian_frobenius": lambda c: c.hessian.norm(),
    "gauss_newton_trace": lambda c: c.gauss_newton.trace(),
}
EXACT = ("hessian_trace", "hessian_frobenius", "gauss_newton_trace", "fisher_trace")


def taken(name: str, **options):
    held = case(name)
    return measure(held.objective, held.model, [*DENSE, "fisher_trace"], **options)


@pytest.mark.parametrize("name", NAMES)
def test_measures_are_those_of_the_dense_matrices(name):
    found = taken(name)
    held = case(name)
    scale = float(torch.linalg.eigvalsh(held.hessian).abs().max())
    for measured, dense in DENSE.items():
        one, wanted = found[measured], float(dense(held))
        if measured in EXACT:
            assert one.value == pytest.approx(wanted, rel=1e-10, abs=1e-10 * scale), measured
        else:
            assert one.value == pytest.approx(wanted, rel=1e-6), measured
            assert one.details["residuals"][0] <= one.details["tolerance"]
        assert one.standard_error is None
        assert one.converged


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_the_fisher_trace_is_that_of_the_labels_asked_for(name):
    held = case(name)
    by_data = {"fisher_trace": {"labels": "data"}}
    found = measure(held.objective, held.model, ["fisher_trace"], settings=by_data)["fisher_trace"]
    assert found.value == pytest.approx(float(held.empirical_fisher.trace()), rel=1e-10)
    # For cross-entropy the Fisher matrix of the model's own labels is the Gauss-Newton matrix.
    assert taken(name)["fisher_trace"].value == pytest.approx(float(held.gauss_newton.trace()), rel=1e-10)


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "regression"])
def test_the_size_of_the_batches_does_not_matter(name):
    held = case(name)
    names = ["hessian_trace", "gauss_newton_top", "fisher_rao_norm"]
    whole = measure(held.objective, held.model, names)
    cut = Objective(held.model, loss=held.loss, train=(held.x, held.y), batch_size=3)
    for one in measure(cut, held.model, names).values():
        assert one.value == pytest.approx(whole[one.name].value, rel=1e-10), one.name


@pytest.mark.parametrize("measured", ["hessian_trace", "filter_normalized_curvature", "relative_flatness"])
def test_standard_errors_are_honest(measured):
    held = case("tanh")
    place = MeasureContext(held.objective, Held.of(held.model))
    one = measure_named(measured)
    layers = {"layers": "first"} if "layers" in one.settings else {}
    exact = one.compute(place, one.settled({"method": "exact", **layers})).value
    settings = one.settled({"method": "hutch++", "samples": 24, **layers})
    near = 0
    for seed in range(100):
        found = one.compute(replace(place, seed=seed), settings)
        assert found.standard_error > 0
        near += abs(found.value - exact) <= 3 * found.standard_error
    assert near >= 95


def test_what_does_not_converge_is_no_number():
    held = case("tanh")
    found = measure(held.objective, held.model, ["hessian_top"], settings={"hessian_top": {"max_products": 4}})
    one = found["hessian_top"]
    assert math.isnan(one.value)
    assert not one.converged
    assert one.details["note"].startswith("not converged after 4 products: the best value is ")
    assert one.details["residuals"][0] > one.details["tolerance"]


def test_parameters_choose_a_block():
    held = case("mlp")
    names = ["hessian_trace", "hessian_top"]
    found = measure(held.objective, held.model, names, parameters="2.*")
    block = held.hessian[30:65, 30:65]
    assert found["hessian_trace"].value == pytest.approx(float(block.trace()), rel=1e-10)
    assert found["hessian_top"].value == pytest.approx(float(torch.linalg.eigvalsh(block)[-1]), rel=1e-6)
    assert found["hessian_trace"].settings["parameters"] == ["2.*"]


def test_several_eigenvalues_on_request():
    held = case("mlp")
    found = measure(held.objective, held.model, ["hessian_top"], settings={"hessian_top": {"k": 3}})["hessian_top"]
    wanted = torch.linalg.eigvalsh(held.hessian).flip(0)[:3]
    assert found.details["eigenvalues"] == pytest.approx(wanted.tolist(), rel=1e-6)
    assert found.value == found.details["eigenvalues"][0]


def test_a_measure_says_what_it_is_and_leaves_the_model_alone():
    model = make_mlp()
    objective = ls.Objective(model, loss=F.cross_entropy, train=make_data())
    untouched = Untouched(model)
    told, kept = [], []
    found = ls.measures.measure(
        objective,
        model,
        ["hessian_top"],
        seed=3,
        dtype=torch.float64,
        progress=lambda name, done, total: told.append((name, done, total)),
        keep=kept.append,
    )["hessian_top"]
    untouched.check()
    assert found.value > 0
    assert found.standard_error is None
    assert (found.unit, found.invariant_claimed) == ("nats", ("permutation", "sign-flip"))
    assert found.settings == {
        **measure_named("hessian_top").settings,
        "split": "train",
        "seed": 3,
        "parameters": [],
        "dtype": "float64",
    }
    assert told[0] == ("hessian_top", 1, 500)
    assert kept == [found]
    assert set(found.to_json()) >= {"value", "standard_error", "unit", "formula", "source", "settings", "seconds"}


def test_equal_seeds_give_equal_numbers():
    held = case("mlp")
    how = {"hessian_trace": {"method": "hutchinson", "samples": 5}}
    first, again, other = (
        measure(held.objective, held.model, ["hessian_trace"], seed=seed, settings=how)["hessian_trace"].value
        for seed in (1, 1, 2)
    )
    assert first == again != other


NO_KK = "there is no option 'hessian_top.kk'"


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["hessian_topp"], None, "there is no measure 'hessian_topp'; did you mean 'hessian_top'?"),
        (["hessian_top"], {"hessian_top": {"kk": 1}}, f"{NO_KK}; did you mean 'hessian_top.k'?"),
        (["hessian_top"], {"hessian_trace": {}}, "settings of 'hessian_trace', which is not taken"),
        (
            ["hessian_top"],
            {"hessian_top": {"k": "many"}},
            "option 'hessian_top.k' has the wrong type; got 'many'; expected a whole number",
        ),
        (
            ["hessian_top"],
            {"hessian_top": {"k": 1.5, "max_products": 0}},
            "option 'hessian_top.k' has the wrong type; got 1.5; expected a whole number | "
            "option 'hessian_top.max_products' is out of range; got 0; expected at least 1",
        ),
        (
            ["fisher_rao_norm"],
            {"fisher_rao_norm": {"squared": "maybe"}},
            "option 'fisher_rao_norm.squared' has the wrong type; got 'maybe'; expected true or false",
        ),
        ({"hessian_top": {"kk": 1}}, None, f"{NO_KK}; did you mean 'hessian_top.k'?"),
        ({"hessian_top": {}}, {"hessian_top": {}}, "settings: settings of measures are given twice"),
    ],
)
def test_wrong_names_and_settings_are_told(names, settings, message):
    held = case("mlp")
    with pytest.raises(LandscapeError) as refused:
        measure(held.objective, held.model, names, settings=settings)
    assert str(refused.value).startswith(message)


def test_names_may_bring_their_settings():
    plain = settled_settings(["hessian_top"], {"hessian_top": {"k": 2}})
    assert settled_settings({"hessian_top": {"k": 2}}) == plain
    assert settled_settings("hessian_top") == settled_settings(["hessian_top"]) != plain


def test_text_becomes_the_kind_of_the_default():
    settled = measure_named("hessian_top").settled({"k": "3", "tol": "1e-3"})
    assert (settled["k"], settled["tol"]) == (3, 1e-3)
    assert measure_named("fisher_rao_norm").settled({"squared": "false"})["squared"] is False


def test_every_measure_is_told_in_full():
    for one in measures().values():
        for words in (one.title, one.formula, one.unit, one.source, one.misleads):
            assert words.strip(), one.name


def test_no_count_and_no_size_of_a_measure_is_without_bounds():
    """A setting that is a number says which make sense, and all others are refused, however they come."""
    for one in measures().values():
        for name, field in fields_of(one.options).items():
            if field.metadata["form"] not in (WHOLE, NUMBER):
                continue
            low, above = field.metadata["low"], field.metadata["above"]
            assert (low is None) != (above is None), f"{one.name}.{name}"
            for wrong in (low - 1 if above is None else above, str(-1e9), "many", True):
                with pytest.raises(LandscapeError, match=rf"option '{one.name}\.{name}'"):
                    one.settled({name: wrong})


def test_settings_of_a_measure_come_from_its_options_or_from_defaults_alone():
    assert all(dict(one.settings) == one.settled() for one in measures().values())
    about = {"title": "", "formula": "", "unit": "1", "source": "", "invariant": ()}
    own = Measure("own", compute=lambda place, settings: None, settings={"size": 2, "shape": None}, **about)
    assert own.settled({"size": "3", "shape": "round"}) == {"size": 3, "shape": "round"}
    assert replace(own, title="other").settled() == {"size": 2, "shape": None}
    with pytest.raises(LandscapeError, match=r"option 'own\.size' has the wrong type"):
        own.settled({"size": "large"})
