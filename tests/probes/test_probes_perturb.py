"""Noise on the weights against closed forms, invariances with failing controls, and radii of quadratics."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data, make_mlp
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError
from landscape.files.cells import CELLS, Unfinished
from landscape.files.result import load_identity
from landscape.objective import Objective
from landscape.params import norm, resolve
from landscape.probes.table import perturbation_columns
from landscape.problems.toys import QuadraticOptions, quadratic
from landscape.projection import directions
from landscape.training import Noise
from landscape.values.probes import Profile

DIM = 6
OPTIONS = {"dtype": "float64", "dim": DIM, "offset": 0.0}
FORM = quadratic(QuadraticOptions(dtype="float64", dim=DIM, offset=0.0))


def at_minimum(shift: float = 0.0) -> tuple[Objective, dict[str, torch.Tensor]]:
    objective = ls.problems.build("toy-quadratic", OPTIONS, seed=0)
    return objective, {"weight": torch.from_numpy((FORM.minimiser + shift)[None])}


@pytest.mark.parametrize("shift", [0.0, 0.7])
@pytest.mark.parametrize("mode", ["relative", "absolute", "mean-abs", "layer-std"])
def test_the_mean_rise_of_a_quadratic_is_its_closed_form(mode, shift):
    objective, weights = at_minimum(shift)
    w = FORM.minimiser + shift
    factors = {
        "relative": w**2,
        "absolute": np.ones(DIM),
        "mean-abs": np.full(DIM, np.abs(w).mean() ** 2),
        "layer-std": np.full(DIM, w.var()),
    }
    found = ls.probes.profile(objective, weights, Noise(mode, 0.4), draws=400, scales=[0.0, 0.2, 0.4], seed=3)
    expected = found.scales**2 / 2 * (factors[mode] * np.diag(FORM.hessian)).sum()
    mean, error = found.rise("train_loss").mean(axis=0), found.rise("train_loss").std(axis=0, ddof=1) / 20
    assert mean[0] == 0
    assert (np.abs(mean - expected)[1:] < 3 * error[1:]).all()
    # The test can tell: three standard errors are well below the rise, and other modes are farther off.
    assert (3 * error < 0.5 * expected)[1:].all()
    assert found.standard_error("train_loss")[1:] == pytest.approx(error[1:], rel=1e-9)


@pytest.mark.parametrize("rise", [1e-6, 0.1, 30.0])
def test_a_scan_ends_at_the_first_doubling_with_the_rise(rise):
    """Of a quadratic: s^2 mean n' H n / 2 over three draws."""
    objective, weights = at_minimum()
    found = ls.probes.scanned(objective, weights, "absolute", rise=rise, seed=4)
    drawn = [Noise("absolute", 1.0).draw(weights, 4, index)["weight"].numpy()[0] for index in range(3)]
    bent = np.mean([step @ FORM.hessian @ step / 2 for step in drawn])
    assert math.log2(found.scale / 0.01) % 1 == 0
    assert found.scale**2 * bent >= rise > (found.scale / 2) ** 2 * bent
    told = ls.probes.perturb(objective, weights, "absolute", rise=rise, seed=4, draws=2, directions=())
    assert told.profile.scales[-1] == found.scale


def test_a_loss_that_never_rises_is_scanned_to_the_end():
    flat = Objective(nn.Linear(6, 3), loss=lambda y, t: 0 * y.sum(1), train=make_data())
    assert ls.probes.scanned(flat, flat.model, "absolute").scale == 0.01 * 2**20


def scaled(model: nn.Module, alpha: float) -> nn.Module:
    """The same function: the first layer times alpha, the second divided by it."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight *= alpha
        other[0].bias *= alpha
        other[2].weight /= alpha
    return other


def rises(model: nn.Module, mode: str) -> np.ndarray:
    objective = Objective(model, loss=F.cross_entropy, train=make_data())
    return ls.probes.profile(objective, model, Noise(mode, 0.3), draws=5, seed=1)["train_loss"]


def test_the_multiplicative_profile_does_not_see_a_rescaling_bit_for_bit():
    model = make_mlp()
    other = scaled(model, 2.0**7)
    assert np.array_equal(rises(model, "relative"), rises(other, "relative"))


@pytest.mark.parametrize("mode", ["absolute", "mean-abs"])
def test_additive_profiles_see_a_rescaling(mode):
    model = make_mlp()
    before, after = rises(model, mode), rises(scaled(model, 2.0**7), mode)
    assert not np.allclose(before[:, 1:], after[:, 1:], rtol=0.1)


def test_noise_has_the_size_it_says():
    model = nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 100))
    state = resolve(model)[1]
    everything = torch.cat([tensor.flatten() for tensor in state.values()])
    one = {
        "absolute": 1.0,
        "mean-abs": float(everything.abs().mean()),
    }
    for mode, size in one.items():
        step = Noise(mode, 0.1).draw(model, seed=0)
        assert norm(step) / math.sqrt(everything.numel()) == pytest.approx(size, rel=0.01)
    for mode, size_of in (
        ("layer-std", lambda t: t.std(correction=0)),
        ("relative", lambda t: (t**2).mean().sqrt()),
    ):
        step = Noise(mode, 0.1).draw(model, seed=0)["0.weight"]
        assert float((step**2).mean().sqrt()) == pytest.approx(float(size_of(state["0.weight"])), rel=0.02)


def test_noise_leaves_buffers_and_frozen_parameters_alone_and_depends_on_its_seed():
    model = make_convnet()
    model[0].weight.requires_grad_(False)
    noise = Noise("absolute", 0.1)
    before, after = resolve(model)[1], noise.perturb(model, seed=0)
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == {"0.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert torch.equal(noise.perturb(model, 0)["5.weight"], after["5.weight"])
    assert not torch.equal(noise.perturb(model, 1)["5.weight"], after["5.weight"])
    assert not torch.equal(noise.perturb(model, 0, index=1)["5.weight"], after["5.weight"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean-abs", "noise: not a noise; got 'mean-abs'; expected MODE:SCALE such as mean-abs:0.01"),
        ("mean:0.1", "noise: there is no noise 'mean'; did you mean 'mean-abs'?"),
        ("absolute:-1", "noise absolute: a scale of noise is not negative; got -1"),
    ],
)
def test_noise_that_is_none(text, message):
    with pytest.raises(LandscapeError) as error:
        Noise.parse(text)
    assert str(error.value) == message


def test_a_radius_of_a_quadratic_is_its_closed_form():
    objective, weights = at_minimum()
    rise = 0.3
    found = ls.probes.radii(objective, weights, rise=rise, draws=4, seed=2, directions=["random", "top"])
    for index, radius in enumerate(found["random"].radii):
        d = Noise("absolute", 1.0).draw(weights, 2, index)["weight"].numpy()[0]
        d /= np.linalg.norm(d)
        assert radius == pytest.approx(math.sqrt(2 * rise / (d @ FORM.hessian @ d)), rel=2e-3)
    assert found["top"].radii == pytest.approx([math.sqrt(2 * rise / FORM.eigenvalues[-1])], rel=2e-3)


def test_the_radius_uphill_from_a_slope_is_its_closed_form():
    objective, weights = at_minimum(shift=0.5)
    shift = np.full(DIM, 0.5)
    g = FORM.hessian @ shift
    d = g / np.linalg.norm(g)
    a, b, c = 0.5 * d @ FORM.hessian @ d, g @ d, -0.2
    uphill, downhill = ((sign * b + math.sqrt(b * b - 4 * a * c)) / (2 * a) for sign in (-1, 1))
    found = ls.probes.radii(objective, weights, rise=0.2, draws=1, directions=["gradient"])["gradient"]
    assert found.radii == pytest.approx([uphill], rel=2e-3)
    assert (*found.forward, *found.backward) == pytest.approx((uphill, downhill), rel=2e-3)
    # At the minimum both ways are alike.
    level = ls.probes.radii(*at_minimum(), rise=0.2, draws=1, directions=["random"])["random"]
    assert level.forward == pytest.approx(level.backward, rel=2e-3)
    assert downhill > 2 * uphill


def test_the_radius_of_a_direction_is_the_smaller_of_both_ways():
    # Off the minimum along a fixed random direction; the table has both beside it, under keys of their own.
    objective, weights = at_minimum(shift=0.5)
    found = ls.probes.perturb(objective, weights, "absolute:0.1", draws=2, scales=2, directions=["random"])
    radius = found.radii["random"]
    assert np.array_equal(radius.radii, np.minimum(radius.forward, radius.backward))
    assert (radius.forward != radius.backward).all()
    columns = perturbation_columns([found])
    for name, values in (("", radius.radii), ("_forward", radius.forward), ("_backward", radius.backward)):
        assert columns[f"radius_random{name}_low"] == [values.min()]
        assert columns[f"radius_random{name}_high"] == [values.max()]


def test_a_flat_direction_has_an_infinite_radius_and_no_gradient_has_none():
    # Constant targets that the constant output matches: nothing rises along the dead input.
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 1.0]]))
    x = torch.zeros(4, 2).double()
    objective = Objective(model, loss=F.mse_loss, train=(x, torch.zeros(4, 1).double()))
    found = ls.probes.radii(objective, model, draws=2, directions=["random", "gradient"])
    assert np.isinf(found["random"].radii).all()
    assert found["random"].median == math.inf
    assert np.isnan(found["gradient"].radii).all()


def test_a_rise_that_is_none_and_scales_that_fall_are_refused():
    objective, weights = at_minimum()
    with pytest.raises(LandscapeError, match="rise: must be above 0; got 0"):
        ls.probes.radii(objective, weights, rise=0.0)
    with pytest.raises(LandscapeError, match="did you mean 'random'"):
        ls.probes.radii(objective, weights, directions=["randon"])
    with pytest.raises(LandscapeError, match=r"noise: scales rise from 0; got 0\.1, 0\.2"):
        ls.probes.profile(objective, weights, Noise("absolute", 1.0), scales=[0.1, 0.2])
    with pytest.raises(LandscapeError, match="draws: at least one draw is needed; got 0"):
        ls.probes.profile(objective, weights, Noise("absolute", 1.0), draws=0)


def test_probing_changes_neither_the_model_nor_the_random_state():
    model = make_convnet()
    objective = Objective(model, loss=F.cross_entropy, train=make_data((1, 4, 4)))
    untouched = Untouched(model)
    found = ls.probes.perturb(objective, model, "relative:0.1", draws=2, scales=3)
    untouched.check()
    assert set(found.radii) == {"random", "filter", "gradient", "top"}
    assert found.profile["train_error"].shape == (2, 3)
    again = ls.probes.perturb(objective, model, "relative:0.1", draws=2, scales=3)
    assert np.array_equal(found.profile["train_loss"], again.profile["train_loss"])
    assert all(np.array_equal(found.radii[name].radii, again.radii[name].radii) for name in found.radii)


def test_one_draw_has_no_standard_error():
    profile = Profile("absolute", "", np.array([0.0, 1.0]), {"train_loss": np.ones((1, 2))}, np.ones(1))
    assert np.isnan(profile.standard_error("train_loss")).all()
    with pytest.raises(LandscapeError, match="there is no field 'loss'; there are train_loss"):
        profile["loss"]


@pytest.mark.parametrize("until_done", [False, True])
def test_radii_go_on_with_the_generator_that_began_them(until_done, tmp_path, monkeypatch):
    """A file that names no generator is not gone on with by another, however many numbers move by now."""
    objective = Objective(make_mlp(), loss=F.cross_entropy, train=make_data())
    how = {"noise": "mean-abs:0.1", "draws": 3, "scales": 2, "directions": ("filter",)}

    def radii_of(save=None, progress=None):
        found = ls.probes.perturb(objective, objective.model, save=save, progress=progress, **how)
        return found.radii["filter"].radii.tolist(), found.meta.get("generator")

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    def file_of(stem):
        return Unfinished(tmp_path / stem) if until_done else tmp_path / f"{stem}.h5"

    def identity(store):
        return load_identity(CELLS, store.path if until_done else store)

    streams = radii_of()
    begun = file_of("begun")
    with pytest.raises(KeyboardInterrupt):
        radii_of(begun, stop)
    assert "generator" not in identity(begun)
    monkeypatch.setattr(directions, "MANY_NUMBERS", 1)
    blocks = radii_of()
    assert blocks[0] != streams[0]
    assert (streams[1], blocks[1]) == (None, "blocks")
    assert radii_of(file_of("begun")) == streams
    new = file_of("new")
    with pytest.raises(KeyboardInterrupt):
        radii_of(new, stop)
    assert identity(new)["generator"] == "blocks"
    assert radii_of(file_of("new")) == blocks
