"""Maps side by side (in groups, for each head), gated units, and what moves or samples elements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from landscape import symmetry
from landscape.symmetry import Element
from landscape.symmetry.axes import Joint, joint, leading, place_along, places_of, restored


class Of(nn.Module):
    """A function of an input, and of the layers and weights that it uses."""

    def __init__(self, run: Callable[..., Tensor], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) / shape[-2] ** 0.5)


def flat(*sizes: int) -> nn.Linear:
    return nn.Linear(*sizes, bias=False)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.3)


def experts(act: Callable[[Tensor], Tensor]) -> nn.Module:
    """Two small networks, each with features of its own."""

    def run(m: nn.Module, x: Tensor) -> Tensor:
        own = act(m.first(x)).view(-1, 2, 4).transpose(0, 1)
        own = act(torch.bmm(act(torch.bmm(own, m.up)), m.down))
        return m.last(own.transpose(0, 1).reshape(-1, 4))

    return Of(run, first=flat(9, 8), up=weight(2, 4, 3), down=weight(2, 3, 2), last=flat(4, 5))


def heads() -> nn.Module:
    """Attention whose queries, keys, values and outputs have a matrix for each head."""

    def run(m: nn.Module, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("btd,hdk->bhtk", x, one) for one in (m.q, m.k, m.v))
        shares = torch.softmax(torch.einsum("bhtk,bhsk->bhts", q, k) / 3**0.5, -1)
        return torch.einsum("bhtk,hkd->btd", torch.einsum("bhts,bhsk->bhtk", shares, v), m.o)

    return Of(run, q=weight(2, 5, 3), k=weight(2, 5, 3), v=weight(2, 5, 3), o=weight(2, 3, 4))


def grouped(last: bool) -> nn.Module:
    """Convolutions in groups, of several channels each and (`last`) of one, there and back."""
    layers: list[nn.Module] = [nn.Conv1d(5, 6, 1, bias=False), nn.Conv1d(6, 8, 2, groups=2, bias=False)]
    if last:
        layers += [nn.Conv1d(8, 8, 2, groups=8, bias=False)]
    layers += [nn.ConvTranspose1d(8, 4, 2, groups=2, bias=False), nn.Conv1d(4, 5, 1, bias=False)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.LeakyReLU(0.3))), nn.Flatten())


MODELS = {
    "experts": (lambda: experts(leaky), (24, 9), {"rescale": 18, "permutation": 20}, 18),
    "experts, tanh": (lambda: experts(torch.tanh), (24, 9), {"sign": 18, "permutation": 20}, 0),
    "heads": (heads, (4, 5, 5), {"query-key": 6, "rescale": 6, "sign": 12, "permutation": 2, "basis": 12}, 36),
    "grouped": (lambda: grouped(last=False), (16, 5, 4), {"rescale": 18, "permutation": 20}, 18),
    "depthwise": (lambda: grouped(last=True), (16, 5, 4), {"rescale": 26, "permutation": 20}, 26),
    "glu": (
        lambda: nn.Sequential(flat(7, 6), nn.GLU(), flat(3, 4)),
        (9, 7),
        {"rescale": 3, "sign": 3, "permutation": 3},
        3,
    ),
    "bilinear": (
        lambda: Of(
            lambda m, x: m.out(leaky(m.both(leaky(m.a(x)), leaky(m.b(x))))),
            a=flat(7, 4),
            b=flat(7, 5),
            both=nn.Bilinear(4, 5, 3, bias=False),
            out=flat(3, 4),
        ),
        (30, 7),
        {"rescale": 12, "permutation": 12},
        12,
    ),
}


def found(name: str):
    make, shape, kinds, dimension = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = make().double(), torch.randn(*shape, dtype=torch.float64)
    return model, symmetry.find(model, x), kinds, dimension


@pytest.mark.parametrize("name", MODELS)
def test_all_of_them_are_found_and_a_moved_copy_comes_back(name):
    model, symmetries, kinds, dimension = found(name)
    units: Counter[str] = Counter()
    for one in symmetries.generators:
        units[one.kind] += one.units
    assert (dict(units), symmetries.notes) == (kinds, ())
    count = symmetries.dimension(model)
    assert (count.found, count.nullity, count.unexplained) == (dimension, dimension, 0)
    state = symmetries.complete(model)
    moved = symmetries.random(model, seed=1)
    apart = [
        max(float((state[key] - one[key]).abs().max()) for key in state)
        for one in (moved, symmetries.align(model, moved))
    ]
    assert apart[0] > 0.3
    assert apart[1] < 1e-9
    # The control: without what is undone at the other end.
    for one in symmetries.scalings:
        half = replace(one, slices=tuple(part for part in one.slices if (part.powers > 0).all()))
        if half.slices != one.slices:
            factors = torch.linspace(1.1, 2.0, one.units, dtype=torch.float64)
            assert not symmetries.check(model, Element(((half, factors),)).apply(model)).passed


@pytest.mark.parametrize("name", ["experts", "grouped"])
def test_units_change_places_within_a_group_and_groups_as_a_whole(name):
    model, symmetries, *_ = found(name)
    exchanges = symmetries.of_kind("permutation")
    (whole,) = (
        one for one in exchanges if one.units == 2 and all(part.places.shape[1] > 1 for part in one.columns)
    )
    swap = torch.tensor([1, 0])
    assert symmetries.check(model, Element(((whole, swap),)).apply(model)).passed
    # The control: one of its tensors stays as it is.
    part = replace(whole, columns=whole.columns[1:])
    assert not symmetries.check(model, Element(((part, swap),)).apply(model)).passed
    # The control: a unit of one group in the place of one of the other.
    first, second = (
        one for one in exchanges if one is not whole and one.columns[0].tensor == whole.columns[0].tensor
    )
    crossed = tuple(
        replace(a, places=torch.stack([a.places[0], b.places[0]]))
        for a, b in zip(first.columns, second.columns, strict=True)
    )
    assert not symmetries.check(
        model, Element(((replace(first, units=2, columns=crossed), swap),)).apply(model)
    ).passed


def test_bases_are_found_within_each_group():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv1d(5, 6, 1, bias=False), nn.Conv1d(6, 8, 2, groups=2, bias=False), nn.Tanh(), nn.Flatten()
        ).double()
        x = torch.randn(20, 5, 3, dtype=torch.float64)
    symmetries = symmetry.find(model, x)
    bases = symmetries.of_kind("basis")
    assert [one.units for one in bases] == [3, 3]
    count = symmetries.dimension(model)
    assert (count.found, count.unexplained) == (18, 0)
    moved = symmetries.random(model, seed=1)
    state = symmetries.complete(model)
    back = symmetries.align(model, moved)
    assert max(float((state[key] - back[key]).abs().max()) for key in state) < 1e-9
    # The control: a matrix that mixes what belongs to two groups.
    crossed = tuple(
        replace(a, places=torch.stack([a.places[0], a.places[1], b.places[0]]))
        for a, b in zip(*(one.columns for one in bases), strict=True)
    )
    value = bases[0].draw(torch.Generator().manual_seed(0), 0.5)
    assert symmetries.check(model, Element(((bases[0], value),)).apply(model)).passed
    assert not symmetries.check(model, Element(((replace(bases[0], columns=crossed), value),)).apply(model)).passed


def test_gates_of_glu_take_no_factor():
    model, symmetries, *_ = found("glu")
    (scale,) = symmetries.of_kind("rescale")
    values = [part.places.tolist() for part in scale.slices if part.tensor == "0.weight"]
    assert values == [[0, 1, 2]]
    gates = replace(
        scale,
        slices=tuple(
            replace(part, places=part.places + 3) if part.tensor == "0.weight" else part for part in scale.slices
        ),
    )
    assert not symmetries.check(model, Element(((gates, torch.full((3,), 2.0)),)).apply(model)).passed


def test_directions_of_normalised_weights_take_any_length():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)), nn.Sigmoid(), flat(3, 2)).double()
        x = torch.randn(5, 4, dtype=torch.float64)
    symmetries = symmetry.find(model, x)
    (scale,) = symmetries.of_kind("rescale")
    assert scale.tensors == ("0.parametrizations.weight.original1",)
    assert symmetries.dimension(model).unexplained == 0
    # The control: their lengths are seen, and so is a direction whose numbers take different factors.
    for tensor, dim in (("0.parametrizations.weight.original0", 0), (scale.tensors[0], 1)):
        (part,) = scale.slices
        wrong = replace(scale, slices=(replace(part, tensor=tensor, dim=dim),))
        factors = torch.tensor([1.5, 2.0, 3.0], dtype=torch.float64)
        assert not symmetries.check(model, Element(((wrong, factors),)).apply(model)).passed


IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "reflection": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "replication": lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest, exact": lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"),
    "smooth": lambda x: F.interpolate(x, size=5, mode="bicubic", antialias=True),
    "patches": lambda x: F.fold(F.unfold(x, 2), (4, 4), 2, stride=1),
    "sampled": lambda x: F.grid_sample(
        x, torch.linspace(-1.2, 1.2, 18).reshape(1, 3, 3, 2).expand(len(x), -1, -1, -1).to(x), align_corners=False
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_linear_in_each_channel_commutes_with_factors_bases_and_orders(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Of(
            lambda m, x: m.last(IMAGES[name](m.first(x))).mean((2, 3)),
            first=nn.Conv2d(2, 3, 1),
            last=nn.Conv2d(3, 2, 1),
        ).double()
        x = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    symmetries = symmetry.find(model, x)
    kinds = {one.kind: one.units for one in symmetries.generators}
    assert {kind: kinds.get(kind) for kind in ("rescale", "sign", "permutation", "basis")} == dict.fromkeys(
        ("rescale", "sign", "permutation", "basis"), 3
    )
    assert symmetries.notes == ()
    # The control: a border of another number is no multiple of what it surrounds.
    model.run = lambda m, x: m.last(F.pad(IMAGES[name](m.first(x)), (1, 1, 1, 1), value=0.5)).mean((2, 3))
    assert {one.kind for one in symmetry.find(model, x).generators} <= {"permutation"}


def test_joint_dimensions_are_taken_apart_and_put_together():
    tensor = torch.arange(96.0).reshape(8, 3, 4)
    for one in (joint(tensor.shape, (0, 2), groups=2), joint(tensor.shape, (0, 2)), joint(tensor.shape, (2, 1))):
        assert isinstance(one, Joint)
        along = leading(tensor, one)
        assert len(along) == len(one)
        assert torch.equal(restored(along, one, tensor.shape), tensor)
        # Each element lies where its places say.
        places = place_along(places_of(tensor.shape), one).expand(tensor.shape)
        for place in range(len(one)):
            assert sorted(tensor[places == place].tolist()) == sorted(along[place].reshape(-1).tolist())
        batch = torch.stack([tensor, -tensor])
        first = leading(batch, one, before=1)
        assert torch.equal(restored(first, one, batch.shape, before=1), batch)
