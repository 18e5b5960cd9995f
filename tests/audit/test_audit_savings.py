"""What spares audits of large networks products: samples of micro-batches, shared passes, good starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flattest_models import made
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.audit.orbit_audit import audit, context_of
from landscape.curvature import Curvature, dense, eigenpairs, gauss_newton_draws, scattered_traces
from landscape.errors import LandscapeError
from landscape.measures import minibatch_trace
from landscape.measures.computation import measure_at
from landscape.measures.context import MeasureContext
from landscape.measures.orbit_elements import Column, columns, led_to
from landscape.measures.registry import settled_settings
from landscape.measures.warm_start import WarmStart
from landscape.objective import Evaluator, Objective
from landscape.params import Held

TRACES = ("hessian_trace", "filter_normalized_curvature", "relative_flatness")


@pytest.fixture(scope="module")
def small() -> MeasureContext:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3)).double()
    x, y = torch.randn(40, 1, 4, dtype=torch.float64), torch.randint(0, 3, (40,))
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    return MeasureContext(objective, Held.of(model), dtype=torch.float64)


def taken(place: MeasureContext, names: tuple[str, ...], **settings):
    return measure_at(place, settled_settings(names, dict.fromkeys(names, settings)))


def test_scattered_traces_have_no_bias_and_their_errors_are_not_too_small(small):
    exact = taken(small, TRACES, method="exact")
    seeds, found = 24, {name: [] for name in TRACES}
    for seed in range(seeds):
        at = MeasureContext(small.objective, small.weights, seed=seed, dtype=torch.float64)
        for name, one in taken(at, TRACES, method="scattered", samples=1).items():
            found[name].append((one.value, one.standard_error))
    for name, draws in found.items():
        values, errors = np.array(draws).T
        scatter = values.std(ddof=1)
        assert abs(values.mean() - exact[name].value) <= 4 * scatter / seeds**0.5, name
        assert 0.7 * scatter <= np.sqrt((errors**2).mean()) <= 3 * scatter, name


def test_the_errors_of_several_samples_are_those_within_micro_batches():
    """Data that differ and a diagonal Hessian: nothing is left to chance, and one sample cannot know that."""
    model = nn.Linear(4, 1, bias=False).double()
    x = torch.diag(torch.arange(1.0, 5.0).double())
    objective = Objective(model, loss=F.mse_loss, train=(x, torch.zeros(4, 1).double()))
    one, several = (
        scattered_traces(Curvature(objective, model, batch_size=1), [lambda rows: rows], samples=samples)[0].whole
        for samples in (1, 3)
    )
    assert [one.value, several.value] == pytest.approx([15.0, 15.0], rel=1e-14)
    assert several.standard_error <= 1e-12 < 1.0 < one.standard_error
    with pytest.raises(LandscapeError, match="too few samples"):
        scattered_traces(Curvature(objective, model, batch_size=4), [lambda rows: rows])


def test_measures_at_one_place_share_passes(small, monkeypatch):
    calls: list[int] = []
    plain = minibatch_trace.scattered_traces

    def counted(*args, **kwargs):
        calls.append(len(args[1]))
        return plain(*args, **kwargs)

    monkeypatch.setattr(minibatch_trace, "scattered_traces", counted)
    at = MeasureContext(small.objective, small.weights, dtype=torch.float64)
    together = taken(at, TRACES, method="scattered", samples=1)
    assert calls == [3]
    # Alone each is what it is with the others.
    for name in TRACES:
        alone = MeasureContext(small.objective, small.weights, dtype=torch.float64)
        assert taken(alone, (name,), method="scattered", samples=1)[name].value == together[name].value
    settings = {
        "local_energy": {"draws": 3, "points": 1},
        "adaptive_sharpness_average": {"draws": 3},
    }
    both = measure_at(at, settled_settings(list(settings), settings))
    assert both["local_energy"].value == both["adaptive_sharpness_average"].value


def test_places_of_an_audit_take_turns_with_copies_of_the_model(monkeypatch):
    objective, _ = made("batch normalisation")
    names = ["hessian_top", "sam_sharpness", "local_energy", "fisher_rao_norm", "orbit_min_trace"]
    settings = {"local_energy": {"draws": 2, "points": 1}}
    built: list[int] = []
    make = Evaluator.__init__
    monkeypatch.setattr(Evaluator, "__init__", lambda *given, **how: built.append(1) or make(*given, **how))
    found = audit(objective, objective.model, names, settings=settings)
    # Steps, two operators and a diagonal, where the audit begins and elsewhere, and kinks; the symmetries and the
    # checks of derivatives have their own.
    assert len(found.elements) >= 5
    assert len(built) <= 4 + 4 + 1 + 1 + 4

    # A place that others have left has the numbers of one of its own.
    context = context_of(objective, objective.model)
    few = columns(context.symmetries)[:2]
    left = led_to(context, few[0])
    taken(left, tuple(names))
    moved, own = led_to(context, few[1], left), led_to(context, few[1])
    for name, one in taken(moved, tuple(names)).items():
        assert one.value == taken(own, (name,))[name].value, name


def test_the_flattest_point_from_draws_at_the_weights_is_that_from_draws_after_the_gauge():
    objective, symmetries = made("batch normalisation")
    model = objective.model
    wanted = symmetries.flattening(objective, model, samples=2, seed=3)
    draws = gauss_newton_draws(objective, model, samples=2, seed=3, dtype=torch.float64)
    found = symmetries.flattening(objective, model, draws=draws, seed=3)
    assert wanted.gauge
    assert [found.value, found.standard_error] == pytest.approx([wanted.value, wanted.standard_error], rel=1e-9)


class Diagonal:
    """A diagonal matrix that counts its products."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.size = values, len(values)

    def __matmul__(self, other: Tensor) -> Tensor:
        return (self.values.to(other) * other.mT).mT if other.ndim > 1 else self.values.to(other) * other


def test_a_start_saves_products_and_hides_nothing():
    values = torch.cat([torch.linspace(0, 1, 298), torch.tensor([2.0, 3.0])]).double()
    operator, unit = Diagonal(values), torch.eye(300, dtype=torch.float64)
    cold = eigenpairs(operator, tol=1e-4)
    warm = eigenpairs(operator, tol=1e-4, start=unit[299] + 0.01 * unit[298])
    assert [float(found.values[0]) for found in (cold, warm)] == pytest.approx([3.0, 3.0], rel=1e-6)
    assert warm.products < cold.products
    # A start that is another eigenvector is left.
    assert float(eigenpairs(operator, tol=1e-4, start=unit[298]).values[0]) == pytest.approx(3.0, rel=1e-6)
    # And one that is 0 or infinite is none.
    for useless in (torch.zeros(300), torch.full((300,), float("inf"))):
        assert float(eigenpairs(operator, tol=1e-4, start=useless).values[0]) == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("kind", ["rescale", "batchnorm", "permutation"])
def test_what_is_known_of_the_hessian_is_carried_along_as_the_hessian_itself(kind):
    objective, symmetries = made("batch normalisation")
    place = context_of(objective, objective.model)
    values, vectors = torch.linalg.eigh(dense(place.operator()))
    knowing = MeasureContext(
        objective, place.weights, dtype=torch.float64, guesses={"hessian": WarmStart(values, vectors)}
    )
    element = symmetries.draw(1, kinds=[kind], spread=0.8)
    there = led_to(knowing, Column("", "", (), element))
    hessian = dense(there.operator())
    for which, place_of_end in (("largest", -1), ("smallest", 0)):
        guess, end = there.guesses["hessian"].end(which), torch.linalg.eigvalsh(hessian)[place_of_end]
        assert float((hessian @ guess - end * guess).norm()) <= 1e-8 * float(end.abs())
