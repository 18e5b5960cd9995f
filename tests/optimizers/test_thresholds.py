"""Every optimizer diverges just above its threshold and converges just below, in float64 on parabolas."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adafactor, Adagrad, Adam, AdamW, Muon, NAdam, RAdam, RMSprop

from landscape.optimizers import Observer, kind_of, threshold, threshold_words
from landscape.training import EntropySGD, ReplicatedSGD
from landscape.training.sam import SAM

# Preconditioners that do not move: epsilon is far above every gradient, so that P is what epsilon makes it.
_SMALL = 1e-60
# Every case: the optimizer of a parameter, and the number of steps after which its transients are over.
CASES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "gd": lambda w: SGD(w, lr=0.1),
    "heavy ball": lambda w: SGD(w, lr=0.1, momentum=0.9),
    "damped": lambda w: SGD(w, lr=0.1, momentum=0.5, dampening=0.3),
    "nesterov": lambda w: SGD(w, lr=0.1, momentum=0.9, nesterov=True),
    "coupled decay": lambda w: SGD(w, lr=0.1, momentum=0.5, weight_decay=3.0),
    "adam": lambda w: Adam(w, lr=1e-3, eps=1.0),
    "adam, other betas": lambda w: Adam(w, lr=1e-3, betas=(0.5, 0.9), eps=0.1),
    "amsgrad": lambda w: Adam(w, lr=1e-3, eps=1.0, amsgrad=True),
    "adam, coupled decay": lambda w: Adam(w, lr=1e-3, eps=1.0, weight_decay=500.0),
    "adamw": lambda w: AdamW(w, lr=1e-3, eps=1.0, weight_decay=100.0),
    "nadam": lambda w: NAdam(w, lr=1e-3, eps=1.0, momentum_decay=1e-9),
    "nadam, decay": lambda w: NAdam(
        w, lr=1e-3, eps=1.0, momentum_decay=10.0, weight_decay=100.0, decoupled_weight_decay=True
    ),
    "radam": lambda w: RAdam(w, lr=1e-3, betas=(0.9, 0.9), eps=1.0),
    "rmsprop": lambda w: RMSprop(w, lr=1e-3, eps=1.0),
    "rmsprop, centred, momentum": lambda w: RMSprop(w, lr=1e-3, eps=1.0, momentum=0.8, centered=True),
    "adagrad": lambda w: Adagrad(w, lr=1e-3, eps=1.0),
    "adafactor": lambda w: Adafactor(w, lr=1e-3, eps=(1.0, 1.0), weight_decay=0.0),
    "adafactor, decay": lambda w: Adafactor(w, lr=1e-3, eps=(1.0, 0.1), weight_decay=100.0),
    "entropy-sgd": lambda w: EntropySGD(
        w, lr=0.7, L=5, gamma=0.5, noise=0.0, scale_by_gamma=False, weight_decay=0.01, momentum=0.5
    ),
    "entropy-sgd, walk with momentum": lambda w: EntropySGD(
        w, lr=0.5, L=4, gamma=2.0, noise=0.0, inner_momentum=0.6, inner_nesterov=True, average=0.3
    ),
    "entropy-sgd, coupling outside": lambda w: EntropySGD(
        w, lr=0.5, L=3, gamma=1.0, noise=0.0, inner_momentum=0.4, coupling_in_momentum=False, inner_nesterov=False
    ),
}


def parabola(optimizer: torch.optim.Optimizer, w: torch.Tensor, curvature: float) -> Callable[[], torch.Tensor]:
    """The closure of a step on curvature |w|^2 / 2."""

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (curvature * w**2 / 2).sum()
        loss.backward()
        return loss

    return closure


def descend(make: Callable[[Any], torch.optim.Optimizer], curvature: float, steps: int, start: float) -> float:
    """Log of the growth of |w| over the last half of so many steps on curvature w^2 / 2."""
    w = torch.nn.Parameter(torch.full((1,), start, dtype=torch.float64))
    optimizer = make([w])
    sizes = []

    closure = parabola(optimizer, w, curvature)
    for _ in range(steps):
        optimizer.step(closure)
        sizes.append(abs(w.item()))
    # Peaks, as oscillations pass through 0; two windows as long as each other.
    quarter = steps // 4
    late, later = max(sizes[-2 * quarter : -quarter]), max(sizes[-quarter:])
    return math.log(later / late) if later else -math.inf


def step_of(make: Callable[[Any], torch.optim.Optimizer], steps: int = 1) -> tuple[str, dict[str, float], float]:
    """Kind, settings and preconditioner of a step, as the hooks see it."""
    w = torch.nn.Parameter(torch.full((1,), _SMALL, dtype=torch.float64))
    optimizer = make([w])
    seen: list[Any] = []
    observer = Observer(optimizer, {"w": w}, ("update", "preconditioner"))
    for _ in range(steps):
        observer.await_step(seen.append)
        optimizer.step(parabola(optimizer, w, 1.0))
    settings = {name.split(".")[1]: value for name, value in zip(observer.columns, seen[-1].settings, strict=True)}
    return observer.kind, settings, float(seen[-1].preconditioner.get("w", torch.ones(1)))


@pytest.mark.parametrize("name", list(CASES))
def test_each_optimizer_diverges_just_above_its_threshold_and_converges_just_below(name):
    make = CASES[name]
    # Long after the start averages are no longer corrected.
    kind, settings, scale = step_of(make, 400)
    edge = threshold(kind, settings)
    assert edge is not None
    # The sharpness is that of P^-1 (H + w), so that the parabola has this curvature; decoupled decay is no part.
    decay = 0.0 if settings.get("decoupled") else settings["weight_decay"]
    assert descend(make, scale * 0.99 * edge - decay, 400, _SMALL) < 0
    assert descend(make, scale * 1.01 * edge - decay, 400, _SMALL) > 0


def test_the_threshold_of_adam_is_38_over_the_rate():
    edge = threshold("adam", {"lr": 1e-3, "beta1": 0.9})
    assert edge == pytest.approx(38 / 1e-3, rel=1e-12)
    assert threshold_words("adam", {"lr": 1e-3, "beta1": 0.9}) == "38/lr"


@pytest.mark.parametrize("momentum", [0.0, 0.6])
@pytest.mark.parametrize("radius", [1e-9, 0.05, 2.0])
def test_sam_grows_just_above_its_threshold(radius, momentum):
    """The threshold is one of the gradient's size, so that it is tried where |w| is held."""
    rate, curvature = 0.1, 12.0
    settings = {"lr": rate, "rho": radius, "momentum": momentum}

    def edge(size: float) -> float:
        found = threshold("sam", settings, gradient_norm=curvature * size)
        assert found is not None
        return found

    # Where the threshold at |g| = curvature |w| is the curvature: |w| grows below and falls above.
    low, high = 1e-12, 1e6
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if edge(middle) < curvature else (low, middle)
    still = math.sqrt(low * high)
    assert edge(still) == pytest.approx(curvature, rel=1e-9)
    # Momentum in its own rhythm: w alternates, and the buffer is what alternation leaves.
    grown = []
    for size in (0.99 * still, 1.01 * still):
        w = torch.nn.Parameter(torch.tensor([size], dtype=torch.float64))
        optimizer = SAM([w], lr=rate, rho=radius, momentum=momentum)
        force = curvature * (size + radius)
        optimizer.state[w]["momentum_buffer"] = torch.tensor([-force / (1 + momentum)], dtype=torch.float64)

        optimizer.step(parabola(optimizer, w, curvature))
        grown.append(abs(w.item()) / size)
    assert grown[0] > 1 > grown[1]


def test_sam_without_a_radius_is_sgd():
    plain = threshold("sgd", {"lr": 0.1})
    assert threshold("sam", {"lr": 0.1, "rho": 0.0}) == plain
    assert threshold("sam", {"lr": 0.1, "rho": 1e-9}, gradient_norm=1.0) == pytest.approx(plain, rel=1e-6)
    assert threshold("sam", {"lr": 0.1, "rho": 0.1, "adaptive": 1.0}, gradient_norm=1.0) is None


def test_sams_threshold_is_the_formula_of_long_and_bartlett():
    size, radius, rate = 0.7, 0.05, 0.1
    formula = size / (2 * radius) * (math.sqrt(1 + 8 * radius / (rate * size)) - 1)
    found = threshold("sam", {"lr": rate, "rho": radius}, gradient_norm=size)
    assert found == pytest.approx(formula, rel=1e-12)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("half", [False, True])
def test_replicas_leave_each_other_just_above_their_threshold(every, half):
    def growth(curvature: float) -> float:
        copies = [torch.nn.Parameter(torch.tensor([one], dtype=torch.float64)) for one in (1e-3, -1e-3)]
        optimizer = ReplicatedSGD(
            [[one] for one in copies], lr=0.1, momentum=0.5, gamma=2.0, half=half, coupling_every=every
        )

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = sum((curvature * one**2 / 2).sum() for one in copies)
            loss.backward()
            return loss / 2

        sizes = []
        for _ in range(1200):
            optimizer.step(closure)
            sizes.append(abs(copies[0].item() - copies[1].item()))
        return math.log(max(sizes[-300:]) / max(sizes[-600:-300]))

    own = {"lr": 0.1, "momentum": 0.5, "gamma": 2.0, "half": float(half), "replicas": 2, "coupling_every": every}
    edge = threshold("replicated-sgd", own)
    assert edge is not None
    assert edge < threshold("sgd", own)
    assert growth(0.99 * edge) < 0 < growth(1.01 * edge)


class Lion(torch.optim.Optimizer):
    """Sign descent, as those that people install have it."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.0, 0.0), "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                w.sub_(group["lr"] * w.grad.sign())
        return loss


def test_a_sign_step_raises_the_loss_of_a_parabola_just_above_its_threshold():
    """Curvature l at w: the dual norm is |g| = l |w|, so that the step is safe up to l = 2 l |w| / lr."""
    rate, curvature = 0.1, 3.0
    for size, rises in ((0.99 * rate / 2, True), (1.01 * rate / 2, False)):
        w = torch.nn.Parameter(torch.tensor([size], dtype=torch.float64))
        optimizer = Lion([w], rate)

        before = optimizer.step(parabola(optimizer, w, curvature)).item()
        assert (curvature * w.item() ** 2 / 2 > before) == rises
        assert (curvature > threshold("sign", {"lr": rate}, dual_norm=curvature * size)) == rises


def test_a_step_of_muon_raises_the_loss_of_a_parabola_just_above_its_threshold():
    """L = c |W|^2 / 2 on orthogonal W = s Q: d = Q has norm 1 and d.H d = c n, the dual norm is c s n.

    Newton and Schulz make a step of about 0.7 to 1.2 Q: with coefficients that converge to Q it is tried closely.
    """
    rate, curvature, n = 0.1, 3.0, 4
    turned = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(0)))[0]
    for size, rises in ((0.9 * rate / 2, True), (1.1 * rate / 2, False)):
        w = torch.nn.Parameter(size * turned)
        optimizer = Muon(
            [w], lr=rate, momentum=0.0, weight_decay=0.0, ns_coefficients=(1.5, -0.5, 0.0), ns_steps=30
        )
        before = curvature * w.detach().square().sum() / 2
        (curvature * w.square().sum() / 2).backward()
        optimizer.step()
        assert bool(curvature * w.detach().square().sum() / 2 > before) == rises
        edge = threshold("muon", {"lr": rate}, dual_norm=curvature * size * n)
        assert (curvature * n > edge) == rises


def test_kinds_are_recognised():
    w = [torch.nn.Parameter(torch.zeros(2, 2))]

    class Adapted(SGD):
        pass

    class Other(SGD):
        def step(self, closure: Any = None) -> Any:
            return None

    class Strange(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> Any:
            return None

    found = {
        "sgd": [SGD(w, lr=0.1), Adapted(w, lr=0.1)],
        "adam": [Adam(w), AdamW(w)],
        "muon": [Muon(w)],
        "sign": [Lion(w, 0.1)],
        "sam": [SAM(w, lr=0.1)],
        "unknown": [Other(w, lr=0.1), Strange(w, {"lr": 0.1}), torch.optim.LBFGS(w)],
    }
    for kind, optimizers in found.items():
        assert {kind_of(one) for one in optimizers} == {kind}
    assert threshold("unknown", {"lr": 0.1}) is None
    assert threshold("sgd", {"lr": 0.0}) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda w: Adam(w, lr=0.01, betas=(0.0, 0.99)),
        lambda w: Adam(w, lr=0.01, betas=(0.0, 0.99), amsgrad=True),
        lambda w: AdamW(w, lr=0.01, betas=(0.0, 0.99), weight_decay=0.0),
        lambda w: RAdam(w, lr=0.01, betas=(0.0, 0.9)),
        lambda w: RMSprop(w, lr=0.01, centered=True),
        lambda w: Adagrad(w, lr=0.01, lr_decay=0.1),
        lambda w: Adafactor(w, lr=0.01, weight_decay=0.0, d=1.0),
    ],
)
def test_the_preconditioner_is_what_the_step_divided_by(make):
    """Without momentum the update is -lr P^-1 g."""
    generator = torch.Generator().manual_seed(1)
    ws = [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in ((3, 4), (5,))]
    optimizer = make(ws)
    observer = Observer(optimizer, dict(zip("ab", ws, strict=True)), ("update", "preconditioner"))
    seen: list[Any] = []
    for _ in range(12):
        observer.await_step(seen.append)
        for w in ws:
            w.grad = torch.randn(w.shape, generator=generator, dtype=torch.float64)
        optimizer.step()
        rate = seen[-1].settings[0]
        for name, w in zip("ab", ws, strict=True):
            expected = -rate * w.grad / seen[-1].preconditioner[name]
            torch.testing.assert_close(seen[-1].update[name], expected, rtol=1e-9, atol=1e-14)
