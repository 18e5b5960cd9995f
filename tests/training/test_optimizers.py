"""Entropy-SGD, Replicated-SGD and SAM on their own: closed forms, conventions, and what makes each of them SGD."""

import copy
import io
import math

import pytest
import torch
from conftest import make_data, make_mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from landscape.errors import LandscapeError
from landscape.training import SAM, EntropySGD, GammaSchedule, ReplicatedSGD, centre, growth_rate

# Chaudhari et al. 2017, algorithm 1 in one dimension: mu for curvature h, from the geometric sums of the walk.
INNER_LOOP = {0.1: 0.975253275725, 1.0: 0.78393734375, 5.0: 0.38124921875}


def scalar(value: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor([value], dtype=torch.float64))


def quadratic(optimizer: torch.optim.Optimizer, parameters, h: float = 1.0):
    def closure():
        optimizer.zero_grad()
        loss = sum((h * w**2).sum() / 2 for w in parameters)
        loss.backward()
        return loss

    return closure


def stream(model: nn.Module, optimizer: torch.optim.Optimizer):
    """A closure that takes the next ten of fifty examples every time."""
    x, y = make_data()
    calls = iter(range(10**6))

    def closure():
        part = slice(10 * (next(calls) % 5), None)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[part][:10]), y[part][:10])
        loss.backward()
        return loss

    return closure


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


SGD = [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
]


def walked(h: float, **options) -> float:
    """mu after one walk from 1: an outer step of rate 1 without gamma goes there."""
    w = scalar()
    optimizer = EntropySGD([w], lr=1.0, **{"gamma": 0.5, "noise": 0.0, "scale_by_gamma": False, **options})
    optimizer.step(quadratic(optimizer, [w], h))
    return w.item()


@pytest.mark.parametrize("h", INNER_LOOP)
def test_the_inner_loop_is_the_closed_form(h):
    assert walked(h) == pytest.approx(INNER_LOOP[h], abs=1e-10)
    # The closed form itself, and a failing control: the other reading of the average.
    gamma, rate, L, alpha = 0.5, 0.1, 5, 0.75
    r, q = gamma / (h + gamma), 1 - rate * (h + gamma)
    mu = alpha**L + (1 - alpha**L) * r
    mu += (1 - r) * sum((1 - alpha) * alpha ** (L - i) * q**i for i in range(1, L + 1))
    assert mu == pytest.approx(INNER_LOOP[h], abs=1e-10)
    assert abs(walked(h, average_on="new") - INNER_LOOP[h]) > 0.005
    assert walked(h, average_on="new") == pytest.approx(walked(h, average=0.25), abs=1e-15)


@pytest.mark.parametrize("settings", SGD)
def test_entropy_sgd_without_a_walk_is_sgd(settings):
    model, other = make_mlp(), make_mlp()
    optimizer, plain = (
        EntropySGD(model.parameters(), L=0, **settings),
        torch.optim.SGD(other.parameters(), **settings),
    )
    ours, theirs = stream(model, optimizer), stream(other, plain)
    for _ in range(12):
        assert optimizer.step(ours) == plain.step(theirs)
    assert same(model, other)
    # Control: a walk of one step is something else.
    walking = EntropySGD(other.parameters(), L=1, gamma=0.5, **settings)
    walking.step(stream(other, walking))
    optimizer.step(ours)
    assert not same(model, other)


@pytest.mark.parametrize("settings", SGD)
def test_sam_without_a_ball_is_sgd(settings):
    model, other = make_mlp(), make_mlp()
    optimizer, plain = (
        SAM(model.parameters(), rho=0.0, **settings),
        torch.optim.SGD(other.parameters(), **settings),
    )
    ours, theirs = stream(model, optimizer), stream(other, plain)
    for _ in range(12):
        assert optimizer.step(ours) == plain.step(theirs)
    assert same(model, other)


@pytest.mark.parametrize("settings", SGD)
def test_replicated_sgd_without_coupling_is_sgd_of_each(settings):
    models, others = [make_mlp(seed) for seed in range(3)], [make_mlp(seed) for seed in range(3)]
    optimizer = ReplicatedSGD([model.parameters() for model in models], gamma=0.0, **settings)
    x, y = make_data()

    def closure():
        optimizer.zero_grad()
        losses = [F.cross_entropy(model(x), y) for model in models]
        sum(losses).backward()
        return torch.stack(losses).detach()

    for _ in range(12):
        optimizer.step(closure)
    for model, other in zip(models, others, strict=True):
        plain = torch.optim.SGD(other.parameters(), **settings)
        for _ in range(12):
            plain.zero_grad()
            F.cross_entropy(other(x), y).backward()
            plain.step()
        assert same(model, other)


def test_replicas_on_a_noisy_quadratic_have_the_variances_of_theory():
    # E (w_a - m)^2 = lr^2 s^2 (1 - 1/y) / (1 - (1 - lr (h + g))^2) with g the slope of the coupling, and
    # var m = lr^2 s^2 / y / (1 - (1 - lr h)^2), whatever g. Many independent systems at once.
    y, lr, h, g, s, systems, steps = 3, 0.1, 1.0, 2.0, 0.5, 40_000, 120
    generator = torch.Generator().manual_seed(0)
    replicas = [nn.Parameter(torch.zeros(systems, dtype=torch.float64)) for _ in range(y)]
    optimizer = ReplicatedSGD([[w] for w in replicas], lr=lr, gamma=g, half=True)
    for _ in range(steps):
        for w in replicas:
            w.grad = h * w.detach() + s * torch.randn(systems, generator=generator, dtype=torch.float64)
        optimizer.step()
    together = torch.stack([w.detach() for w in replicas])
    m = together.mean(dim=0)
    # Gaussian: the squared deviations of y replicas have y - 1 degrees of freedom per system.
    within = (together - m).square().mean().item()
    wanted = lr**2 * s**2 * (1 - 1 / y) / (1 - (1 - lr * (h + g)) ** 2)
    assert wanted == pytest.approx(0.0032680, abs=5e-8)
    assert abs(within - wanted) < 3 * wanted * math.sqrt(2 / (systems * (y - 1)))
    of_centre = lr**2 * s**2 / y / (1 - (1 - lr * h) ** 2)
    assert of_centre == pytest.approx(0.0043860, abs=5e-8)
    assert abs(m.square().mean().item() - of_centre) < 3 * of_centre * math.sqrt(2 / systems)
    # Control: without the half the coupling is twice as strong.
    doubled = lr**2 * s**2 * (1 - 1 / y) / (1 - (1 - lr * (h + 2 * g)) ** 2)
    assert abs(within - doubled) > 3 * wanted * math.sqrt(2 / (systems * (y - 1)))


def test_the_coupling_without_the_half_is_twice_that_with_it():
    moved = {}
    for half in (False, True):
        a, b = scalar(0.0), scalar(2.0)
        optimizer = ReplicatedSGD([[a], [b]], lr=0.1, gamma=1.0, half=half)
        a.grad, b.grad = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        optimizer.step()
        moved[half] = a.item()
    assert moved == pytest.approx({False: 0.2, True: 0.1})


@pytest.mark.parametrize(
    ("ticks", "rate"), [(100, 0.0964782), (200, 0.0471285), (300, 0.0311773), (500, 0.0185914)]
)
def test_rates_that_grow_ten_thousandfold(ticks, rate):
    assert growth_rate(1e4, ticks) == pytest.approx(rate, abs=5e-8)
    assert GammaSchedule(ticks=ticks).at(0.01, ticks) == pytest.approx(100.0)


def test_shapes_of_the_schedule():
    def values(**options):
        return [GammaSchedule(**options).at(2.0, step) for step in (0, 5, 10, 20)]

    assert values(shape="linear", growth=11.0, ticks=10) == pytest.approx([2, 12, 22, 22])
    assert values(shape="cosine", growth=11.0, ticks=10) == pytest.approx([2, 12, 22, 22])
    assert values(shape="cosine", growth=11.0, ticks=20)[1] == pytest.approx(
        2 + 20 * (1 - math.cos(math.pi / 4)) / 2
    )
    assert values(growth=16.0, ticks=10) == pytest.approx([2, 8, 32, 512])
    assert values(growth=16.0, ticks=2, period=5) == pytest.approx([2, 8, 32, 512])
    assert values(rate=1.0, period=10) == pytest.approx([2, 2, 4, 8])
    assert values(rate=1.0, limit=50.0) == [2, 50, 50, 50]
    assert values(shape="constant", ticks=10) == values() == [2, 2, 2, 2]
    assert GammaSchedule(rate=1.0).at(1.0, 10**6) == math.inf


def test_the_noise_of_the_code_is_larger_by_the_root_of_two():
    spread = {}
    for convention in ("code", "paper"):
        w = nn.Parameter(torch.zeros(100_000, dtype=torch.float64))
        options = {"L": 1, "gamma": 1.0, "noise": 0.3, "noise_convention": convention, "average": 0.0}
        optimizer = EntropySGD([w], lr=1.0, scale_by_gamma=False, **options)
        optimizer.step(quadratic(optimizer, [w]))
        spread[convention] = w.std().item()
    # The standard error of a spread is spread / sqrt(2 n).
    for convention, factor in (("code", math.sqrt(2 * 0.1)), ("paper", math.sqrt(0.1))):
        assert spread[convention] == pytest.approx(0.3 * factor, rel=3 / math.sqrt(2e5))


def test_noise_is_a_function_of_seed_and_update_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()

    def path(seed):
        w = scalar()
        optimizer = EntropySGD([w], gamma=1.0, noise=0.5, seed=seed)
        closure = quadratic(optimizer, [w])
        return [optimizer.step(closure) and w.item() for _ in range(3)]

    assert path(1) == path(1)
    assert path(1) != path(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_outer_step_with_and_without_gamma():
    for gamma in (0.5, 2.0):
        mu = walked(1.0, gamma=gamma)
        w = scalar()
        optimizer = EntropySGD([w], lr=0.1, gamma=gamma, noise=0.0)
        optimizer.step(quadratic(optimizer, [w]))
        assert w.item() == pytest.approx(1 - 0.1 * gamma * (1 - mu), abs=1e-12)
        assert optimizer.param_groups[0]["lr"] == 0.1


def test_where_the_coupling_meets_the_momentum_of_the_walk():
    walks = {inside: walked(1.0, coupling_in_momentum=inside) for inside in (True, False)}
    assert walks[True] == walks[False]
    walks = {inside: walked(1.0, coupling_in_momentum=inside, inner_momentum=0.5, L=3) for inside in (True, False)}
    assert walks[True] != walks[False]
    # By hand, heavy ball and Nesterov: d = g + m v with v the sum of gradients.
    w, v, mu = 1.0, 0.0, 1.0
    for _ in range(3):
        pull, slope = 0.5 * (w - 1), w
        v = 0.5 * v + slope
        w -= 0.1 * (slope + 0.5 * v + pull)
        mu = 0.75 * mu + 0.25 * w
    assert walks[False] == pytest.approx(mu, abs=1e-14)


def test_weight_decay_of_walk_and_update():
    # On a flat loss only the penalty moves: mu after the walk, and the outer step adds its own.
    assert walked(0.0, gamma=0.0, inner_weight_decay=1.0) == pytest.approx(walked(1.0, gamma=0.0))
    assert walked(0.0, gamma=0.0, inner_weight_decay=0.0) == 1.0
    both = walked(0.0, gamma=0.0, weight_decay=1.0)
    assert both == pytest.approx(walked(1.0, gamma=0.0) - 1.0)


def test_gamma_of_entropy_sgd_is_found_after_the_first_walks():
    w = scalar()
    optimizer = EntropySGD([w], lr=0.1, noise=0.0, gamma=None, gamma_after=1)
    closure = quadratic(optimizer, [w])
    for _ in range(2):
        assert optimizer.gamma == 0
        optimizer.step(closure)
        assert w.item() == 1.0
    # The walk without coupling: w' = 0.9^5, the loss is that of the gradient before.
    assert optimizer.gamma == pytest.approx((0.5 * 0.9**8) / (0.5 * (1 - 0.9**5) ** 2))
    optimizer.step(closure)
    assert w.item() < 1.0


def test_gamma_of_replicated_sgd_is_found_after_an_epoch():
    a, b = scalar(1.0), scalar(3.0)
    optimizer = ReplicatedSGD([[a], [b]], lr=0.1, gamma=None, gamma_after=2)

    def closure():
        optimizer.zero_grad()
        losses = torch.stack([w.square().sum() / 2 for w in (a, b)])
        losses.sum().backward()
        return losses.detach()

    optimizer.step(closure)
    optimizer.step(closure)
    assert optimizer.gamma == 0
    mean_loss = (2.5 + 2.5 * 0.81) / 2
    optimizer.step(closure)
    # Distances from the mean are 0.81 after two free updates.
    assert optimizer.gamma == pytest.approx(mean_loss / 0.81**2)


def test_sam_is_the_gradient_at_the_worst_point():
    w, v = scalar(3.0), scalar(4.0)
    optimizer = SAM([{"params": [w]}, {"params": [v], "lr": 0.2}], lr=0.1, rho=0.5)
    optimizer.step(quadratic(optimizer, [w, v]))
    assert [w.item(), v.item()] == pytest.approx([3 - 0.1 * 3 * 1.1, 4 - 0.2 * 4 * 1.1], abs=1e-10)


def test_adaptive_sam_does_not_see_rescaling():
    # L(u, v) = (u v - 1)^2 / 2 is the same at (c u, v / c); the worst loss in the adaptive ball is too.
    worst = {}
    for adaptive in (True, False):
        for c in (1.0, 5.0):
            u, v = scalar(2.0 * c), scalar(1.5 / c)
            optimizer = SAM([u, v], lr=1e-9, rho=0.1, adaptive=adaptive, eta=0.0)
            seen = []

            def closure(optimizer=optimizer, u=u, v=v, seen=seen):
                optimizer.zero_grad()
                loss = ((u * v - 1) ** 2).sum() / 2
                loss.backward()
                seen.append(loss.item())
                return loss

            optimizer.step(closure)
            worst[adaptive, c] = seen[1]
    assert worst[True, 1.0] == pytest.approx(worst[True, 5.0], rel=1e-9)
    assert worst[False, 1.0] != pytest.approx(worst[False, 5.0], rel=0.01)


def make_optimizer(name: str, model: nn.Module) -> torch.optim.Optimizer:
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
    if name == "sam":
        return SAM(model.parameters(), **settings)
    if name == "entropy-sgd":
        schedule = GammaSchedule(rate=0.1)
        return EntropySGD(
            model.parameters(), L=3, inner_momentum=0.5, gamma_schedule=schedule, noise=0.1, **settings
        )
    halves = list(model.parameters())
    return ReplicatedSGD([halves[:2], list(make_mlp(1).parameters())[:2]], gamma_after=2, **settings)


@pytest.mark.parametrize("name", ["sam", "entropy-sgd", "replicated-sgd"])
def test_a_state_that_is_saved_and_loaded_goes_on_with_the_same_bits(name):
    model = make_mlp()
    optimizer = make_optimizer(name, model)
    tensors = [w for group in optimizer.param_groups for w in group["params"]]
    for _ in range(4):
        optimizer.step(quadratic(optimizer, tensors))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = make_optimizer(name, make_mlp())
    with torch.no_grad():
        copied = [w for group in other.param_groups for w in group["params"]]
        for w, v in zip(copied, tensors, strict=True):
            w.copy_(v)
    other.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(4):
        optimizer.step(quadratic(optimizer, tensors))
        other.step(quadratic(other, copied))
    assert all(torch.equal(w, v) for w, v in zip(copied, tensors, strict=True))
    assert copy.deepcopy(optimizer).defaults == optimizer.defaults


@pytest.mark.parametrize("name", ["sam", "entropy-sgd", "replicated-sgd"])
def test_hooks_run_once_an_update(name):
    # torch wraps the step of SGD as soon as one was made; inside ours it must not count.
    torch.optim.SGD([scalar()], lr=0.1)
    optimizer = make_optimizer(name, make_mlp())
    counted = []
    optimizer.register_step_post_hook(lambda *_: counted.append(1))
    tensors = [w for group in optimizer.param_groups for w in group["params"]]
    optimizer.step(quadratic(optimizer, tensors))
    assert counted == [1]


choices = {
    "momentum": st.sampled_from([0.0, 0.5]),
    "weight_decay": st.sampled_from([0.0, 0.01]),
}
entropy = {
    "L": st.integers(0, 6),
    "gamma": st.floats(0.5, 4.0),
    "average": st.floats(0.1, 0.9),
    "average_on": st.sampled_from(["old", "new"]),
    "inner_momentum": st.sampled_from([0.0, 0.5]),
    "inner_nesterov": st.booleans(),
    "noise": st.sampled_from([0.0, 1e-4]),
    "noise_convention": st.sampled_from(["code", "paper"]),
    "scale_by_gamma": st.booleans(),
    "coupling_in_momentum": st.booleans(),
}
replicated = {
    "gamma": st.one_of(st.none(), st.floats(0.0, 1.0)),
    "half": st.booleans(),
    "coupling_every": st.integers(1, 3),
}
sam = {"rho": st.floats(0.0, 0.1), "adaptive": st.booleans()}


@settings(max_examples=30, deadline=None)
@given(
    which=st.one_of(
        st.tuples(st.just("entropy"), st.fixed_dictionaries({**choices, **entropy})),
        st.tuples(st.just("replicated"), st.fixed_dictionaries({**choices, **replicated})),
        st.tuples(st.just("sam"), st.fixed_dictionaries({**choices, **sam})),
    )
)
def test_every_choice_of_options_goes_down_a_quadratic(which):
    name, options = which
    w = [nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([-1.0, 0.5]))]
    if name == "entropy":
        optimizer = EntropySGD(w, lr=0.3, **options)
    elif name == "replicated":
        optimizer = ReplicatedSGD(
            [[w[0]], [w[1]]], lr=0.05, gamma_schedule=GammaSchedule("constant", limit=2.0), **options
        )
    else:
        optimizer = SAM(w, lr=0.1, **options)
    closure = quadratic(optimizer, w)
    first = closure().item()
    for _ in range(50):
        optimizer.step(closure)
    assert closure().item() < 0.8 * first


def test_faults_are_told_together():
    with pytest.raises(LandscapeError) as caught:
        EntropySGD([scalar()], L=-1, average=2.0, average_on="both")
    assert str(caught.value) == "EntropySGD: L cannot be -1; average cannot be 2.0; average_on cannot be 'both'"
    with pytest.raises(LandscapeError, match=r"^ReplicatedSGD: replica 1 has other shapes than replica 0$"):
        ReplicatedSGD([[scalar()], [nn.Parameter(torch.zeros(2))]])
    with pytest.raises(LandscapeError, match=r"^SAM: rho must not be negative, got -1.0$"):
        SAM([scalar()], rho=-1.0)
    with pytest.raises(LandscapeError, match=r"^gamma schedule: unknown shape 'linea', did you mean 'linear'\?$"):
        GammaSchedule("linea")
    message = "needs a closure that clears the gradients, calls backward and returns the loss"
    for optimizer in (SAM([scalar()]), EntropySGD([scalar()]), ReplicatedSGD([[scalar()]])):
        with pytest.raises(LandscapeError, match=message):
            optimizer.step()
    with pytest.raises(LandscapeError, match="all groups must be given at once"):
        ReplicatedSGD([[scalar()]]).add_param_group({"params": [scalar()]})


def test_the_centre_averages_statistics_and_rounds_counts_up():
    models = [nn.BatchNorm1d(2) for _ in range(3)]
    for number, model in enumerate(models):
        model.running_mean.fill_(number)
        model.num_batches_tracked.fill_(number + (number == 2))
        with torch.no_grad():
            model.weight.fill_(10.0 * number)
    found = centre(models)
    assert found["running_mean"].tolist() == [1.0, 1.0]
    assert found["weight"].tolist() == [10.0, 10.0]
    # (0 + 1 + 3) / 3 rounded up.
    assert found["num_batches_tracked"].item() == 2
    assert found["num_batches_tracked"].dtype == torch.int64
    with pytest.raises(LandscapeError, match="weights of one model are needed"):
        centre([models[0], nn.BatchNorm1d(3)])
