"""The central flow of gradient descent: its complementarity, and a small network at the edge of stability."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.curvature import Curvature
from landscape.objective import Objective
from landscape.papers.central_flow import Flow, covariance


def test_one_direction_oscillates_by_what_holds_its_eigenvalue():
    assert covariance(np.array([[-3.0]]), np.full((1, 1, 1, 1), 2.0)) == pytest.approx(1.5)
    assert covariance(np.array([[3.0]]), np.full((1, 1, 1, 1), 2.0)) == 0


def test_several_directions_are_complementary():
    random = np.random.default_rng(0)
    third = random.normal(size=(3, 3, 20))
    third = third + third.swapaxes(0, 1)
    rates = np.einsum("ijp,klp->ijkl", third, third)
    slack = random.normal(size=(3, 3))
    slack = slack + slack.T - 2 * np.eye(3)

    swung = covariance(slack, rates)

    after = slack + np.einsum("ijkl,kl->ij", rates, swung)
    assert np.linalg.eigvalsh(swung)[-1] > 0.01
    assert np.linalg.eigvalsh(swung)[0] > -1e-9
    assert np.linalg.eigvalsh(after)[0] > -1e-6
    assert abs(np.sum(swung * after)) < 1e-6


class Small(NamedTuple):
    """A network with a hidden layer of eight, its data and the curvature of its loss."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    curvature: Curvature
    start: np.ndarray


@pytest.fixture(scope="module")
def small() -> Small:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = torch.randn(40, 3, dtype=torch.float64)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2]
    curvature = Curvature(Objective(model, loss=F.mse_loss, train=(x, y)), model, dtype=torch.float64)
    return Small(model, x, y, curvature, curvature.flatten(dict(model.named_parameters())).detach().numpy())


def test_gradients_of_curvatures_are_those_of_autograd(small):
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(len(small.start), 2)))[0]

    found = Flow(small.curvature, 0.1).third(small.start, directions)

    w = torch.from_numpy(small.start).requires_grad_()
    output = torch.func.functional_call(small.model, small.curvature.unflatten(w), (small.x,))
    (slope,) = torch.autograd.grad(F.mse_loss(output, small.y), w, create_graph=True)
    u = torch.from_numpy(directions)
    for i in range(2):
        (product,) = torch.autograd.grad(slope @ u[:, i], w, create_graph=True)
        for j in range(2):
            (expected,) = torch.autograd.grad(product @ u[:, j], w, retain_graph=True)
            assert np.abs(found[i, j] - expected.numpy()).max() < 1e-7 * expected.abs().max()


def test_the_flow_follows_the_mean_of_a_descent_that_gradient_flow_leaves(small):
    rate, steps = 0.35, 180
    flow, place, path = Flow(small.curvature, rate), small.start, []
    for _ in range(steps + 11):
        path.append(place)
        place = place - rate * flow.slope(place)
    mean = np.mean(path[steps - 10 :], axis=0)

    states = list(flow.states(small.start, steps))
    smooth = list(flow.gradient_flow(small.start, steps))

    assert states[-1].sharpness == pytest.approx(2 / rate, rel=1e-4)
    assert states[-1].unstable == 1
    assert np.linalg.norm(states[-1].weights - mean) < 0.15 * np.linalg.norm(smooth[-1] - mean)
