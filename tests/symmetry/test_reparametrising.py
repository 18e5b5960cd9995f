"""Coordinates that change geometry and no function: Dinh et al. 2017, section 5 and appendix A, in numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from measure_cases import quadratic_of, spread_matrix, take
from torch import Tensor, nn
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.symmetry.batch_norm import batch_normalised
from landscape.symmetry.reparametrisation import Reparametrisation, power, radial, weight_normalised

SIZE = 4


def minimum(seed: int = 0):
    """A quadratic about a point that is not 0."""
    at = torch.linspace(-1, 2, SIZE, dtype=torch.float64)
    objective, model = quadratic_of(spread_matrix(SIZE, 0.1, 3.0, seed), at=at)
    return objective, model, {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def seeds(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, SIZE, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_the_radial_map_multiplies_the_hessian_at_the_centre_by_36():
    objective, model, centre = minimum()
    top = take(objective, model, "hessian_top").value
    trace = take(objective, model, "hessian_trace").value
    seen, there = radial(centre, delta=1.0, r_hat=0.3, rho=0.05).seen(objective, model)
    assert take(seen, there, "hessian_top").value == pytest.approx(36 * top, rel=1e-6)
    assert take(seen, there, "hessian_trace").value == pytest.approx(36 * trace, rel=1e-10)
    assert seen.value(there) == objective.value(model)


def test_the_radial_map_is_what_the_appendix_says_in_all_three_regions():
    _, _, centre = minimum()
    delta, r_hat, rho = 1.0, 0.3, 0.05
    made = radial(centre, delta=delta, r_hat=r_hat, rho=rho)
    # psi(r) of the appendix, and the centre itself.
    for distance, image in {
        0.0: 0.0,
        0.1: rho * 0.1 / r_hat,
        0.5: (rho - 1) * -0.5 / (r_hat - 1) + 1,
        2.0: 2.0,
    }.items():
        direction = seeds(1)[0] / seeds(1)[0].norm()
        theta = {"weight": centre["weight"] + distance * direction}
        eta = made.inverse(theta)
        assert float((eta["weight"] - centre["weight"]).norm()) == pytest.approx(image, abs=1e-15)
        torch.testing.assert_close(made.forward(eta)["weight"], theta["weight"], rtol=0, atol=1e-14)
        jacobian = torch.autograd.functional.jacobian(
            lambda e: made.forward({"weight": e})["weight"], eta["weight"]
        )
        step = 1e-6
        for column, bump in enumerate(torch.eye(SIZE, dtype=torch.float64)):
            ends = [made.forward({"weight": eta["weight"] + sign * step * bump})["weight"] for sign in (1, -1)]
            wanted = (ends[0] - ends[1]) / (2 * step)
            torch.testing.assert_close(jacobian[..., 0, column], wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("a", "factor"), [(0.5, 10.0), (-0.25, 0.31622776601683794)])
def test_the_family_of_section_5_divides_curvature_by_b_to_the_2a(a, factor):
    objective, model, centre = minimum()
    seen, there = power(centre, a=a, b=0.1).seen(objective, model)
    for name in ("hessian_top", "hessian_trace"):
        before, after = take(objective, model, name).value, take(seen, there, name).value
        assert after == pytest.approx(factor * before, rel=1e-6)


@pytest.mark.parametrize("a", [0.5, -0.25, 1.0])
def test_the_family_of_section_5_and_its_inverse(a):
    _, _, centre = minimum()
    made = power(centre, a=a, b=0.1)
    for theta in seeds(5):
        eta = made.inverse({"weight": theta})
        away = theta - centre["weight"]
        torch.testing.assert_close(eta["weight"], (away**2 + 0.1) ** a * away)
        torch.testing.assert_close(made.forward(eta)["weight"], theta, rtol=0, atol=1e-13)


def normalised():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(20, 3, dtype=torch.float64)
    objective = Objective(model, loss=F.cross_entropy, train=(x, torch.randint(0, 2, (20,))))
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
    made = weight_normalised(parameters, ["0.weight"])
    return objective, model, made, *made.seen(objective, model)


def of_direction(seen: Objective, there: nn.Module) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian with respect to v, by torch's own functions."""
    data = seen.data["train"]
    own = dict(there.named_parameters())

    def loss(v: Tensor) -> Tensor:
        return seen.loss(torch.func.functional_call(there, {**own, "0/weight_v": v}, (data.inputs,)), data.targets)

    v = own["0/weight_v"].detach()
    return torch.autograd.functional.jacobian(loss, v).reshape(-1), torch.autograd.functional.hessian(
        loss, v
    ).reshape(v.numel(), v.numel())


def test_the_length_of_a_normalised_direction_means_nothing_and_sets_the_curvature():
    objective, model, _, seen, there = normalised()
    v = there.get_parameter("0/weight_v")
    gradient, hessian = of_direction(seen, there)
    flat = v.detach().reshape(-1)
    assert float(abs(flat @ gradient)) <= 1e-16 * float(gradient.norm()) * 1e2
    torch.testing.assert_close(hessian @ flat, -gradient, rtol=1e-10, atol=1e-14)
    with torch.no_grad():
        v.mul_(3.0)
    assert seen.value(there) == pytest.approx(objective.value(model), rel=1e-14)
    sharper = of_direction(seen, there)
    torch.testing.assert_close(sharper[0], gradient / 3, rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(sharper[1], hessian / 9, rtol=1e-10, atol=1e-15)


def test_batch_normalisation_is_that_of_torch_in_training_mode():
    """An independent computation: torch's own layers, with the whole data as one batch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 2))
    model = model.double()
    x, y = torch.randn(20, 2, 4, dtype=torch.float64), torch.randint(0, 2, (20,))
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    made = batch_normalised(model, ["0", "3"], x, eps=1e-3)
    seen, there = made.seen(objective, model)
    assert seen.value(there) == pytest.approx(objective.value(model), rel=1e-14)
    names = {"0.v": "0.weight", "0.s": "1.weight", "0.b": "1.bias", "3.v": "4.weight", "3.s": "5.weight"}
    names |= {"3.b": "5.bias", "5.weight": "7.weight", "5.bias": "7.bias"}
    norms = [nn.BatchNorm1d(units, eps=1e-3, track_running_stats=False).double() for units in (3, 4)]
    twin = nn.Sequential(
        *(model[0], norms[0], nn.Tanh(), nn.Flatten(), model[3], norms[1], nn.Tanh(), model[5])
    ).train()
    own = dict(there.named_parameters())
    # A point that is the image of nothing in particular.
    flat = torch.cat([own[name.replace(".", "/")].detach().flatten() for name in names])
    flat = flat + 0.3 * torch.randn(len(flat), dtype=torch.float64)
    sizes = [own[name.replace(".", "/")].numel() for name in names]

    def loss(point: Tensor, of: nn.Module, called: list[str], more: dict[str, Tensor]) -> Tensor:
        shapes = [own[name.replace(".", "/")].shape for name in names]
        parts = [part.view(shape) for part, shape in zip(point.split(sizes), shapes, strict=True)]
        return F.cross_entropy(
            torch.func.functional_call(of, {**dict(zip(called, parts, strict=True)), **more}, (x,)), y
        )

    # What biases of normalised layers are means nothing.
    zero = {"0.bias": torch.zeros(3).double(), "4.bias": torch.zeros(4).double()}
    ours = [name.replace(".", "/") for name in names]
    for derivative in (torch.autograd.functional.jacobian, torch.autograd.functional.hessian):
        torch.testing.assert_close(
            derivative(lambda point: loss(point, there, ours, {}), flat),
            derivative(lambda point: loss(point, twin, list(names.values()), zero), flat),
            rtol=1e-9,
            atol=1e-12,
        )


def test_the_length_of_a_batch_normalised_direction_means_nothing():
    objective, model, *_ = normalised()
    x = objective.data["train"].inputs
    for eps, same in ((0.0, True), (0.1, False)):
        seen, there = batch_normalised(model, ["0"], x, eps=eps).seen(objective, model)
        before, v = seen.value(there), there.get_parameter("0/v")
        (gradient,) = torch.autograd.grad(F.cross_entropy(there(x), objective.data["train"].targets), v)
        along = float((gradient * v.detach()).sum())
        with torch.no_grad():
            v.mul_(3.0)
        # The control: eps gives lengths a meaning.
        assert (abs(seen.value(there) / before - 1) <= 1e-13) is same
        assert (abs(along) <= 1e-15) is same
    with pytest.raises(LandscapeError, match="'1' is no linear or convolutional layer"):
        batch_normalised(model, ["1"], x)
    with pytest.raises(LandscapeError, match="constant over the data"):
        batch_normalised(model, ["0"], torch.ones(3, 3).double()).inverse(
            {name: tensor.detach() for name, tensor in model.named_parameters()}
        )


def test_products_with_the_jacobian_are_those_of_differences():
    made = normalised()[2]
    model = normalised()[1]
    eta = made.inverse({name: tensor.detach() for name, tensor in model.named_parameters()})
    generator = torch.Generator().manual_seed(1)
    v = {name: torch.randn(tensor.shape, generator=generator, dtype=torch.float64) for name, tensor in eta.items()}
    pushed = made.push(eta, v)
    ends = [made.forward({name: eta[name] + s * 1e-6 * v[name] for name in eta}) for s in (1, -1)]
    for name, moved in pushed.items():
        torch.testing.assert_close(moved, (ends[0][name] - ends[1][name]) / 2e-6, rtol=0, atol=1e-8)
    u = {name: torch.randn(one.shape, generator=generator, dtype=torch.float64) for name, one in pushed.items()}
    pulled = made.pull(eta, u)
    both = [sum(float((a[name] * b[name]).sum()) for name in a) for a, b in ((pushed, u), (pulled, v))]
    assert both[0] == pytest.approx(both[1], rel=1e-12)


def test_slices_in_new_coordinates_are_slices_of_the_loss_at_their_images():
    objective, model, centre = minimum()
    made = radial(centre, delta=1.0, r_hat=0.3, rho=0.05)
    seen, there = made.seen(objective, model)
    direction = seeds(1)[0]
    line = ls.Plane(there, [{"weight": direction}])
    curve = ls.evaluate(seen, line, ls.grid(x=np.linspace(-0.6, 0.6, 9), dims=1), dtype=torch.float64)
    images = [made.forward({"weight": centre["weight"] + x * direction}) for x in curve.x]
    assert curve.values == pytest.approx([objective.value(image) for image in images], rel=1e-10)
    # The control: the same line in the old coordinates is another curve.
    old = [objective.value({"weight": centre["weight"] + x * direction}) for x in curve.x]
    assert abs(np.array(old) - curve.values).max() > 1e-2


def test_what_cannot_be_is_refused():
    objective, model, centre = minimum()
    with pytest.raises(LandscapeError, match="0 < rho < delta"):
        radial(centre, delta=1.0, r_hat=0.3, rho=2.0)
    with pytest.raises(LandscapeError, match="a > -1/2 and b > 0"):
        power(centre, a=-0.5, b=1.0)
    with pytest.raises(LandscapeError, match="there is no parameter 'nothing'"):
        weight_normalised(centre, ["nothing"])
    with pytest.raises(LandscapeError, match="a filter is 0"):
        weight_normalised({"weight": torch.zeros(2, 2)}, ["weight"])
    lossy = Reparametrisation("lossy", lambda eta: {"weight": eta["weight"].abs()}, lambda theta: dict(theta))
    with pytest.raises(LandscapeError, match="do not lead back"):
        lossy.seen(objective, model)
    assert math.isfinite(objective.value(model))
