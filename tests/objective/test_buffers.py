"""Buffers that are no statistics of BatchNorm, on lines and planes, beside float64 computations."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

import landscape as ls
from landscape.copies import copied
from landscape.objective.batchnorm import batch_size
from landscape.params import resolve
from landscape.pipeline import Slice, slice_of
from landscape.surface import read_surface

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (96,), generator=torch.Generator().manual_seed(1))


class OwnSpectral(nn.Linear):
    """Spectral normalisation as many write it themselves: a row vector, and the value beside it."""

    def __init__(self, fan_in, fan_out):
        super().__init__(fan_in, fan_out)
        self.register_buffer("u0", torch.randn(1, fan_out))
        self.register_buffer("sv0", torch.ones(1))

    def forward(self, x):
        v = F.normalize(self.u0 @ self.weight.detach())
        u = F.normalize(v @ self.weight.detach().T)
        value = (u @ self.weight @ v.T).squeeze()
        if self.training:
            self.u0 = u
            self.sv0[:] = value.detach()
        return F.linear(x, self.weight / value, self.bias)


class Cached(nn.Linear):
    """Weights standardised in training mode, and kept for evaluation."""

    def __init__(self, fan_in, fan_out):
        super().__init__(fan_in, fan_out)
        self.register_buffer("cache", torch.zeros(fan_out, fan_in))

    def forward(self, x):
        if self.training:
            self.cache = (self.weight / self.weight.norm()).detach()
        return F.linear(x, self.cache, self.bias)


LAYERS = {
    "parametrised": lambda a, b: parametrizations.spectral_norm(nn.Linear(a, b)),
    "hooked": lambda a, b: nn.utils.spectral_norm(nn.Linear(a, b)),
    "own": OwnSpectral,
    "cached": Cached,
}


def network(kind, seed, train=40):
    torch.manual_seed(seed)
    model = nn.Sequential(LAYERS[kind](6, 8), nn.Tanh(), LAYERS[kind](8, 3)).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        for _ in range(train):
            model(X)
    return model.eval()


def weights_of(model, layer):
    """The matrices under normalisation and the biases, float64."""
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    for name in (f"{layer}.parametrizations.weight.original", f"{layer}.weight_orig", f"{layer}.weight"):
        if name in state:
            return state[name], state[f"{layer}.bias"]
    raise KeyError(layer)


def exact_loss(kind, parts):
    """The loss where every matrix is divided by its exact norm."""
    h = X.double()
    for place, (weight, bias) in enumerate(parts):
        norm = torch.linalg.matrix_norm(weight, "fro" if kind == "cached" else 2)
        h = F.linear(torch.tanh(h) if place else h, weight / norm, bias)
    return F.cross_entropy(h, Y).item()


def along(kind, a, b, t):
    ends = [[weights_of(model, layer) for layer in (0, 2)] for model in (a, b)]
    parts = [
        tuple((1 - t) * one + t * other for one, other in zip(*pair, strict=True))
        for pair in zip(*ends, strict=True)
    ]
    return exact_loss(kind, parts)


def objective_of(model, **given):
    return ls.Objective(model, loss=F.cross_entropy, train=(X, Y), **given)


@pytest.mark.parametrize("bn", ["interpolate", "frozen", "recalibrate"])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_follows_from_the_weights_is_recomputed_between_networks(kind, bn):
    a, b = network(kind, 1), network(kind, 2)
    line = ls.probes.interpolate(objective_of(a), a, b, points=5, bn=bn)
    wanted = [along(kind, a, b, t) for t in line.t]
    assert line["train_loss"] == pytest.approx(wanted, rel=2e-6)
    assert all(name.startswith(("0.", "2.")) for name in line.meta["buffers"]["recomputed"])
    back = ls.probes.interpolate(objective_of(a), b, a, points=5, bn=bn)
    assert np.array_equal(back["train_loss"], line["train_loss"][::-1])
    # The control: vectors that are mixed like weights give another curve.
    mixed = copy.deepcopy(a)
    half = {n: (t + b.state_dict()[n]) / 2 for n, t in a.state_dict().items()}
    mixed.load_state_dict(half)
    assert abs(F.cross_entropy(mixed(X), Y).item() - wanted[2]) > 1e-4 * wanted[2]


def test_the_ends_are_the_networks_own_even_where_their_vectors_lag():
    a, b = network("hooked", 1, train=1), network("hooked", 2, train=1)
    for bn in ("interpolate", "frozen", "recalibrate"):
        line = ls.probes.interpolate(objective_of(a), a, b, points=3, bn=bn)
        own = [F.cross_entropy(model(X), Y).item() for model in (a, b)]
        assert line["train_loss"][[0, -1]] == pytest.approx(own, rel=1e-6)
        # The control: recomputed, they would be elsewhere.
        assert abs(along("hooked", a, b, 1.0) - own[1]) > 1e-4


@pytest.mark.parametrize("bn", [None, "recalibrate"])
@pytest.mark.parametrize("kind", ["parametrised", "hooked"])
def test_planes_between_networks_recompute_and_planes_around_one_keep(kind, bn):
    a, b, c = (network(kind, seed) for seed in (1, 2, 3))
    objective = objective_of(a)
    plane = ls.line_through(a, b, buffers="interpolate")
    surface = ls.evaluate(objective, plane, ls.grid(4, x=(-0.5, 1.0), dims=1), bn=bn)
    assert surface.values == pytest.approx([along(kind, a, b, t) for t in surface.x], rel=2e-6)
    assert set(surface.meta["buffers"]) == {"recomputed"}
    through = ls.plane_through(a, b, c)
    assert set(ls.evaluate(objective, through, ls.grid(3, 1.0)).meta["buffers"]) == {"recomputed"}
    around = ls.evaluate(objective, ls.random_plane(a), ls.grid(3, 1.0))
    assert set(around.meta["buffers"]) == {"kept"}
    with pytest.raises(ls.LandscapeError, match="batched engine cannot recompute"):
        ls.evaluate(objective, through, ls.grid(3, 1.0), engine="batched")
    with pytest.raises(ls.LandscapeError, match=r"recomputed at every point .* its gradients would not know"):
        ls.evaluate(objective, through, ls.grid(3, 1.0), gradient=True)


def test_close_singular_values_and_transposed_convolutions_are_exact():
    def build(seed):
        torch.manual_seed(seed)
        first = parametrizations.spectral_norm(nn.Conv2d(2, 4, 2))
        model = nn.Sequential(
            first, nn.BatchNorm2d(4), parametrizations.spectral_norm(nn.ConvTranspose2d(4, 3, 2))
        )
        with torch.no_grad():
            # A thousandth apart: power iteration in single precision would stop short of the norm.
            original = first.parametrizations.weight.original
            u, _, v = torch.linalg.svd(original.flatten(1), full_matrices=False)
            values = torch.tensor([1.001, 1.0, 0.5, 0.2])
            original.copy_(((u * values) @ v).reshape_as(original))
        return model.train(), torch.randn(8, 2, 4, 4)

    (a, x), (b, _) = build(1), build(2)
    for model in (a, b):
        for _ in range(20):
            model(x)
    target = torch.zeros(8, 3, 4, 4)
    objective = ls.Objective(a, loss=F.mse_loss, train=(x, target))
    t, ends = 0.3, [{n: p.double() for n, p in resolve(model)[1].items()} for model in (a, b)]
    mixed = {
        name: (1 - t) * ends[0][name] + t * ends[1][name] for name in ends[0] if ends[0][name].is_floating_point()
    }
    conv, up = (mixed[f"{layer}.parametrizations.weight.original"] for layer in (0, 2))
    h = F.conv2d(x.double(), conv / torch.linalg.matrix_norm(conv.flatten(1), 2), mixed["0.bias"])
    h = F.batch_norm(h, mixed["1.running_mean"], mixed["1.running_var"], mixed["1.weight"], mixed["1.bias"])
    norm = torch.linalg.matrix_norm(up.movedim(1, 0).flatten(1), 2)
    wanted = F.conv_transpose2d(h, up / norm, mixed["2.bias"]).square().mean().item()
    for rewrite in (True, False):
        line = ls.line_through(a, b, buffers="interpolate")
        at = ls.grid(2, x=[0.0, t], dims=1)
        found = ls.evaluate(objective, line, at, engine="sequential", tune={"rewrite": rewrite})
        assert found.values[1] == pytest.approx(wanted, rel=2e-6)


class Instance(nn.InstanceNorm1d):
    """A subclass, as users write them."""


def test_instance_norm_is_recalibrated_as_batch_norm_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 4, 1), Instance(4, affine=True, track_running_stats=True), nn.Flatten())
    x, target = torch.randn(300, 2, 5) + 1, torch.zeros(300, 20)
    objective = ls.Objective(model, loss=F.mse_loss, train=(x, target))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.add_(1)
    line = ls.probes.interpolate(objective, model, other, points=2, bn="recalibrate")
    for place, one in enumerate((model, other)):
        h = F.conv1d(x.double(), one[0].weight.double(), one[0].bias.double())
        # The mean over micro-batches of the mean over examples of what is normalised in training.
        parts = [part.detach() for part in h.split(batch_size(300))]
        mean = torch.stack([part.mean((0, 2)) for part in parts]).mean(0)
        var = torch.stack([part.var(2).mean(0) for part in parts]).mean(0)
        y = F.batch_norm(h, mean, var, one[1].weight.double(), one[1].bias.double(), eps=1e-5)
        assert line["train_loss"][place] == pytest.approx(y.square().mean().item(), rel=1e-5)
    # The control: its own statistics are those of no data at all.
    assert abs(objective.value(model) - line["train_loss"][0]) > 1e-2


def test_no_micro_batch_of_one_example_meets_batch_norm():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    x, y = torch.cat([X, X])[:129], torch.cat([Y, Y])[:129]
    line = ls.probes.interpolate(
        ls.Objective(model, loss=F.cross_entropy, train=(x, y)),
        model,
        network_like(model),
        points=2,
        bn="recalibrate",
    )
    assert np.isfinite(line["train_loss"]).all()


def network_like(model):
    (other,) = copied(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)))
    return other


class Scaled(nn.Module):
    """A real buffer that nothing computes, whole numbers that matter, and a mask of infinities."""

    def __init__(self, scale, order):
        super().__init__()
        torch.manual_seed(0)
        self.map, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(3)
        self.register_buffer("scale", torch.tensor([scale, 1.0, 2.0]))
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf, 0.0]))
        self.register_buffer("seen", torch.tensor(int(10 * scale)))

    def forward(self, x):
        h = self.norm(self.map(x))[:, self.order] * self.scale
        return h + 1e-3 * self.mask.exp()


def test_other_buffers_are_mixed_or_kept_and_it_is_said():
    a, b = Scaled(1.0, [0, 1, 2]), network_like(Scaled(3.0, [0, 1, 2]))
    objective = objective_of(a)
    own = [F.cross_entropy(model.eval()(X), Y).item() for model in (a, b)]
    line = ls.probes.interpolate(objective, a, b, points=3)
    assert line["train_loss"][[0, -1]] == pytest.approx(own, rel=1e-6)
    assert line.meta["buffers"] == {"mixed": ["scale"], "kept": ["seen"]}
    frozen = ls.probes.interpolate(objective, a, b, points=3, bn="frozen")
    assert frozen.meta["buffers"] == {"kept": ["scale", "seen"]}
    assert frozen["train_loss"][-1] != pytest.approx(own[1], rel=1e-3)
    # Each end is its network, recalibrated by itself with its own other buffers.
    anew = ls.probes.interpolate(objective, a, b, points=3, bn="recalibrate")
    alone = ls.probes.interpolate(objective_of(b), b, a, points=2, bn="recalibrate")
    assert anew["train_loss"][-1] == alone["train_loss"][0]
    for bn, buffers in ((None, "interpolate"), ("recalibrate", "interpolate")):
        surface = ls.evaluate(
            objective, ls.line_through(a, b, buffers=buffers), ls.grid(3, x=(0, 1), dims=1), bn=bn
        )
        assert surface.meta["buffers"] == {"mixed": ["scale"], "kept": ["seen"]}
        assert surface.values[-1] == pytest.approx((own if bn is None else anew["train_loss"])[-1], rel=1e-5)


def test_whole_numbers_that_differ_and_matter_are_refused():
    a, b = Scaled(1.0, [0, 1, 2]), Scaled(1.0, [2, 1, 0])
    with torch.no_grad():
        b.map.weight.add_(0.1)
    message = r"the buffer 'order' holds whole numbers that differ .* there is no line .* use --bn frozen"
    with pytest.raises(ls.LandscapeError, match=message):
        ls.probes.interpolate(objective_of(a), a, b, points=3)
    with pytest.raises(ls.LandscapeError, match=message):
        ls.evaluate(objective_of(a), ls.line_through(a, b, buffers="interpolate"), ls.grid(3))
    assert ls.probes.interpolate(objective_of(a), a, b, points=3, bn="frozen").meta["buffers"] == {
        "kept": ["order"]
    }


def test_pruned_networks_and_batch_norm_alone_need_no_words():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    prune.random_unstructured(model[0], "weight", 0.5)
    line = ls.probes.interpolate(objective_of(model), model, network_like(model), points=3)
    assert "buffers" not in line.meta
    assert objective_of(model).derived == ()


def test_a_loss_of_model_and_batch_is_run_to_recalibrate():
    def loss(model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y, reduction="none")

    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    other = network_like(model)
    given = ls.Objective(model, loss=loss, train=(X, Y))
    lines = [
        ls.probes.interpolate(one, model, other, points=3, bn="recalibrate")
        for one in (given, objective_of(model))
    ]
    assert lines[0]["train_loss"] == pytest.approx(lines[1]["train_loss"], rel=1e-6)


def test_statistics_of_torchscript_are_not_estimated_anew():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()
    with pytest.warns((FutureWarning, DeprecationWarning)):
        traced = torch.jit.trace(model, X)
    with pytest.raises(ls.LandscapeError, match="statistics of TorchScript modules cannot be re-estimated"):
        ls.evaluate(objective_of(traced), ls.random_plane(traced), ls.grid(3, 1.0), bn="recalibrate")


class OwnNorm(nn.Module):
    """Normalisation with running statistics, of nobody's but one's own; it counts its batches."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x):
        if not self.training:
            return (x - self.mean) / (self.var + 1e-5).sqrt()
        mean, var = x.mean(0), x.var(0)
        self.mean = 0.95 * self.mean + 0.05 * mean.detach()
        self.var.lerp_(var.detach(), 0.05)
        self.seen += 1
        return (x - mean) / (x.var(0, unbiased=False) + 1e-5).sqrt()


class Drifting(nn.Module):
    """A buffer that follows the data in a way that is no average, and one that only counts."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("largest", torch.ones(width))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.largest = torch.maximum(self.largest, x.detach().abs().amax(0))
            self.steps += 1
        return x / self.largest


def test_running_statistics_of_own_layers_are_estimated_as_those_of_batch_norm():
    def build(norm):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), norm(5), nn.Tanh(), nn.Linear(5, 5), norm(5), nn.Linear(5, 3))

    own, plain = build(OwnNorm), build(lambda width: nn.BatchNorm1d(width, affine=False))
    lines = [
        ls.probes.interpolate(objective_of(model), model, network_like(model), points=3, bn="recalibrate")
        for model in (own, plain)
    ]
    assert lines[0]["train_loss"] == pytest.approx(lines[1]["train_loss"], rel=1e-5)
    assert lines[0].meta["buffers"] == {"estimated": ["1.mean", "1.var", "4.mean", "4.var"]}
    surface = ls.evaluate(objective_of(own), ls.random_line(own), ls.grid(3), bn="recalibrate")
    assert surface.values[1] == pytest.approx(lines[0]["train_loss"][0], rel=1e-6)
    # The control: kept statistics are those of no data.
    assert abs(objective_of(own).value(own) - lines[0]["train_loss"][0]) > 1e-2


def test_what_is_no_average_of_the_data_is_not_estimated():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), Drifting(5), nn.Linear(5, 3))
    other = network_like(model)
    with torch.no_grad():
        other[1].largest.fill_(3.0)
    line = ls.probes.interpolate(objective_of(model), model, other, points=2, bn="recalibrate")
    assert line.meta["buffers"] == {"mixed": ["1.largest"]}
    own = [F.cross_entropy(one.eval()(X), Y).item() for one in (model, other)]
    assert line["train_loss"] == pytest.approx(own, rel=1e-6)


def test_a_path_is_recalibrated_as_its_map_is(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    x = X + 1
    objective = ls.Objective(model, loss=F.cross_entropy, train=(x, Y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with ls.Recorder(tmp_path / "run.h5", model) as recorder:
        for step in range(3):
            recorder.snapshot(step)
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(model.train()(x), Y).backward()
                optimizer.step()
    run = ls.open(tmp_path / "run.h5")
    frozen, made = (
        slice_of(
            run, objective, Slice(kind="trajectory", points=5, bn=bn), save=tmp_path / f"{bn.partition(':')[0]}.h5"
        )
        for bn in ("frozen", "recalibrate:96")
    )

    def recalibrated(snapshot):
        (own,) = copied(model)
        own.load_state_dict(snapshot.weights | snapshot.buffers)
        own[1].reset_running_stats()
        own[1].momentum = None
        own.train()(x)
        return F.cross_entropy(own.eval()(x), Y).item()

    truth = [recalibrated(snapshot) for snapshot in run]
    # All snapshots lie in the plane, so that both curves are the same, and those of the map at its centre.
    assert made.path.loss == pytest.approx(truth, rel=1e-4)
    assert made.path.plane_loss == pytest.approx(truth, rel=1e-4)
    said = ls.render.verdict(made.path, made.meta)
    assert float(said.partition("in-plane| loss ")[2].split()[0].replace("\u2212", "-")) < 1e-6
    held = read_surface(tmp_path / "recalibrate.h5")
    assert held.meta["bn"] == "recalibrate:96"
    assert np.array_equal(held.path.plane_loss, made.path.plane_loss)
    # The control: stored statistics, which lag behind, give other numbers everywhere.
    assert abs(frozen.path.plane_loss - made.path.plane_loss).min() > 1e-3
    assert abs(frozen.values - made.values).min() > 1e-6
