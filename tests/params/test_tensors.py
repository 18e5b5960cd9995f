"""Tensors unlike a matrix of real numbers: each does what a twin of plain ones does.

A complex parameter moves as its real and its imaginary part, one of no dimension as one of a single element; one
without elements, of whole numbers, or expanded has no part in anything.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from architectures import With
from reference import digests, drawn
from torch import Tensor, nn
from torch.nn import functional as F

import landscape as ls
from landscape.errors import LandscapeError
from landscape.measures.computation import measure
from landscape.measures.registry import measures
from landscape.objective import Objective
from landscape.objective.flat import converted
from landscape.params import cast, digest, dot, layout_of, norm, resolve
from landscape.probes import interpolate
from landscape.projection import Plane, pca_plane, project_path, random_plane
from landscape.surface import evaluate, grid
from landscape.surface.directions import read_directions
from landscape.ties import identity, tied_memo
from landscape.trajectory import Recorder, import_checkpoints, open_trajectory

CPU = torch.device("cpu")


def weight(*shape: int, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, dtype=dtype) * 0.5)


def linear() -> nn.Module:
    return nn.Linear(4, 3, dtype=torch.float64)


def of_complex(w: Tensor, x: Tensor) -> Tensor:
    return (x.to(w.dtype) @ w).abs().square()


def turned(m: nn.Module, h: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(h.unflatten(-1, (2, 2)).contiguous()) * turns
    return m.lin(torch.view_as_real(pairs).flatten(1).tanh())


def scalar() -> tuple[nn.Module, nn.Module]:
    shared = {"lin": linear()}
    return (
        With(lambda m, x: m.lin(x) * m.scale.exp(), **shared, scale=nn.Parameter(torch.tensor(0.5).double())),
        With(lambda m, x: m.lin(x) * m.scale[0].exp(), **shared, scale=nn.Parameter(torch.tensor([0.5]).double())),
    )


def empty() -> tuple[nn.Module, nn.Module]:
    shared = {"lin": linear()}
    return (
        With(lambda m, x: m.lin(torch.cat([x, m.prompt])[: len(x)]), **shared, prompt=weight(0, 4)),
        With(lambda m, x: m.lin(x), **shared),
    )


def complex_matrix() -> tuple[nn.Module, nn.Module]:
    w = weight(4, 3, dtype=torch.complex128)
    parts = nn.Parameter(torch.view_as_real(w.detach()).clone())
    return (
        With(lambda m, x: of_complex(m.w, x), w=w),
        With(lambda m, x: of_complex(torch.view_as_complex(m.w), x), w=parts),
    )


def complex_buffer() -> tuple[nn.Module, nn.Module]:
    turns, shared = torch.polar(torch.ones(2), torch.tensor([0.3, 0.7])).to(torch.complex128), {"lin": linear()}
    return (
        With(lambda m, x: turned(m, x, m.turns), **shared, turns=turns),
        With(lambda m, x: turned(m, x, torch.view_as_complex(m.turns)), **shared, turns=torch.view_as_real(turns)),
    )


def whole() -> tuple[nn.Module, nn.Module]:
    base, shared = torch.randint(0, 7, (4, 3)), {"a": weight(4, 2), "b": weight(2, 3)}

    def low_rank(m: nn.Module, x: Tensor) -> Tensor:
        return x @ ((m.base.to(x) - 3) / 3 + m.a @ m.b)

    return (
        With(low_rank, **shared, base=nn.Parameter(base, requires_grad=False)),
        With(low_rank, **shared, base=base),
    )


def expanded() -> tuple[nn.Module, nn.Module]:
    gain, halves = torch.full((1,), 0.7).double().expand(4), torch.full((1,), 0.5).double().expand(3)
    shared = {"lin": linear()}
    made = [
        With(
            lambda m, x: m.lin(x * m.gain) * m.halves,
            **shared,
            gain=nn.Parameter(one(gain), requires_grad=False),
            halves=one(halves),
        )
        for one in (lambda tensor: tensor, Tensor.contiguous)
    ]
    return made[0], made[1]


def one_place() -> tuple[nn.Module, nn.Module]:
    first, other, bias = nn.Linear(4, 4).double(), nn.Linear(4, 4).double(), linear()
    shared = copy.deepcopy(other)
    other.weight, shared.weight = nn.Parameter(first.weight.data), first.weight

    def both(m: nn.Module, x: Tensor) -> Tensor:
        return m.out(torch.tanh(m.other(torch.tanh(m.first(x)))))

    return (
        With(both, first=first, other=other, out=bias),
        With(both, first=first, other=shared, out=bias),
    )


def sparse() -> tuple[nn.Module, nn.Module]:
    edges, shared = (torch.rand(4, 4) > 0.5).double(), {"lin": linear()}

    def passed(m: nn.Module, x: Tensor) -> Tensor:
        return m.lin((m.edges @ x.T.to(m.edges.dtype)).T)

    return With(passed, **shared, edges=edges.to_sparse()), With(passed, **shared, edges=edges)


def eight_bits() -> tuple[nn.Module, nn.Module]:
    base, shared = torch.randn(4, 3).to(torch.float8_e4m3fn), {"a": weight(4, 2), "b": weight(2, 3)}

    def low_rank(m: nn.Module, x: Tensor) -> Tensor:
        return x @ (m.base.to(x) + m.a @ m.b)

    return (
        With(low_rank, **shared, base=nn.Parameter(base, requires_grad=False)),
        With(low_rank, **shared, base=nn.Parameter(base.double(), requires_grad=False)),
    )


TWINS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "scalar": scalar,
    "empty": empty,
    "complex matrix": complex_matrix,
    "complex buffer": complex_buffer,
    "whole numbers": whole,
    "expanded": expanded,
    "one place in memory": one_place,
    "sparse": sparse,
    "eight bits": eight_bits,
}


def twins(name: str) -> tuple[nn.Module, nn.Module]:
    with drawn(1):
        return TWINS[name]()


def objective_of(model: nn.Module) -> Objective:
    with drawn(0):
        x, y = torch.randn(12, 4, dtype=torch.float64), torch.randint(0, 3, (12,))
    return Objective(model, loss=F.cross_entropy, train=(x, y))


def real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


SHORT: dict[str, dict[str, Any]] = {
    "local_learning_coefficient": {"draws": 5, "burn_in": 5, "chains": 2},
    "local_entropy": {"draws": 20},
    "epsilon_volume": {"directions": 10},
}


def found(model: nn.Module, name: str) -> Any:
    """A value and its standard error, or why there is none."""
    try:
        one = measure(objective_of(model), model, [name], settings={name: SHORT.get(name, {})})[name]
    except LandscapeError as error:
        return str(error)
    return pytest.approx([one.value, one.standard_error or 0.0], rel=1e-6, nan_ok=True)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a.split(";")[0] == b.split(";")[0]
    return bool(a.expected == b)


@pytest.mark.parametrize("name", TWINS)
def test_every_measure_is_that_of_the_twin(name):
    odd, plain = twins(name)
    before = digests(odd)
    pairs = {one: (found(odd, one), found(plain, one)) for one in measures()}
    assert {one: pair for one, pair in pairs.items() if not same(*pair)} == {}
    assert digests(odd) == before


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("normalize", ["filter", "layer", "weight", "none"])
def test_random_planes_are_those_of_the_twin(name, normalize):
    planes = [random_plane(model, normalize=normalize, one_d="norm", seed=2) for model in twins(name)]
    for ours, theirs in zip(*(plane.directions for plane in planes), strict=True):
        for tensor, direction in theirs.items():
            torch.testing.assert_close(real(ours[tensor]).reshape(direction.shape), direction)
    surfaces = [
        evaluate(objective_of(model), plane, grid(3, 0.5), dtype=dtype)
        for model, plane in zip(twins(name), planes, strict=True)
        for dtype in (None, torch.float32)
    ]
    for ours, theirs in zip(surfaces[:2], surfaces[2:], strict=True):
        np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-12)


def recorded(model: nn.Module, path: Any) -> Any:
    """A random walk of the parameters that move."""
    # Twins share what they have in common.
    model = copy.deepcopy(model, tied_memo(model))
    with Recorder(path, model, problem="twins") as recorder:
        for step in range(5):
            with drawn(step), torch.no_grad():
                recorder.snapshot(step)
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        numbers = torch.randn(real(parameter).shape, dtype=torch.float64)
                        parameter.add_(torch.view_as_complex(numbers) if parameter.is_complex() else numbers)
    return open_trajectory(path), model


@pytest.mark.parametrize("name", TWINS)
def test_a_trajectory_its_components_and_its_map_are_those_of_the_twin(name, tmp_path):
    runs, ends = zip(*(recorded(m, tmp_path / f"{k}.h5") for k, m in enumerate(twins(name))), strict=True)
    for run in runs:
        model = twins(name)[0 if run is runs[0] else 1]
        assert run[0].digest == digest(resolve(model)[1])
    planes = [pca_plane(run) for run in runs]
    for ours, theirs in zip(*(plane.directions for plane in planes), strict=True):
        for tensor, direction in theirs.items():
            torch.testing.assert_close(
                real(ours[tensor]).reshape(direction.shape), direction, atol=1e-12, rtol=1e-9
            )
    projected = [project_path(plane, run) for plane, run in zip(planes, runs, strict=True)]
    np.testing.assert_allclose(projected[0].coordinates, projected[1].coordinates, atol=1e-10)
    np.testing.assert_allclose(projected[0].off_plane, projected[1].off_plane, atol=1e-6)
    maps = [ls.mds(run) for run in runs]
    np.testing.assert_allclose(maps[0].distances, maps[1].distances, rtol=1e-12)
    lines = [
        interpolate(objective_of(end), run[0], run[-1], points=3) for run, end in zip(runs, ends, strict=True)
    ]
    np.testing.assert_allclose(lines[0]["train_loss"], lines[1]["train_loss"], rtol=1e-12)


def test_the_inner_product_of_complex_numbers_is_that_of_their_parts():
    a, b = (
        {"w": torch.randn(3, dtype=torch.complex64, generator=torch.Generator().manual_seed(k))} for k in (0, 1)
    )
    assert dot(a, b) == pytest.approx(float(torch.vdot(a["w"], b["w"]).real))
    assert norm(a) == pytest.approx(float(a["w"].norm()))
    # The control: the product without a conjugate is another.
    assert dot(a, b) != pytest.approx(float(torch.dot(a["w"], b["w"]).real), rel=1e-2)


def test_a_cast_keeps_complex_numbers_complex_and_names_together():
    model, _ = twins("complex buffer")
    model.register_buffer("again", model.turns)
    model.register_buffer("halves", torch.ones(1).expand(3))
    narrow = converted(copy.deepcopy(model), CPU, torch.float32)
    assert narrow.turns.dtype == torch.complex64
    assert narrow.lin.weight.dtype == torch.float32
    assert narrow.again is narrow.turns
    assert narrow.halves.stride() == (1,)
    assert torch.equal(converted(copy.deepcopy(model), CPU, torch.float64).turns, model.turns)
    # The control: torch's own cast drops the imaginary parts.
    with pytest.warns(UserWarning, match="discards the imaginary part"):
        assert not copy.deepcopy(model).to(torch.float32).turns.is_complex()


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        (None, torch.complex64),
        (torch.float64, torch.complex128),
        (torch.bfloat16, torch.complex64),
    ],
)
def test_complex_numbers_are_cast_to_the_width_of_real_ones(dtype, wanted):
    assert cast(torch.ones(2, dtype=torch.complex64), dtype).dtype == wanted
    assert cast(torch.ones(2, dtype=torch.int32), dtype).dtype == torch.int32


def test_a_direction_of_a_real_tensor_is_real():
    with pytest.raises(LandscapeError, match="tensor 'w' is real, but its direction complex"):
        Plane({"w": torch.zeros(2)}, [{"w": torch.ones(2, dtype=torch.complex64)}])


def test_a_point_of_a_plane_of_complex_numbers_is_complex():
    w = torch.zeros(2, dtype=torch.complex64)
    assert Plane({"w": w}, [{"w": w + 1j}]).point(2.0)["w"].tolist() == [2j, 2j]


@pytest.mark.parametrize("lazy", [nn.LazyLinear(3), nn.Sequential(nn.Flatten(), nn.LazyBatchNorm1d())])
def test_a_lazy_model_is_refused_until_it_has_seen_a_batch(lazy):
    with pytest.raises(LandscapeError, match=r"is not known before the first batch.*call the model on one batch"):
        layout_of(lazy)
    with torch.no_grad():
        lazy(torch.ones(4, 2))
    assert len(layout_of(lazy)) >= 2


def test_parameters_that_overlap_in_memory_are_refused():
    one, other = nn.Linear(4, 4).double(), nn.Linear(4, 4).double()
    other.weight = nn.Parameter(one.weight.data.T)
    with pytest.raises(LandscapeError, match=r"'0.weight' and '1.weight' share memory without being one"):
        objective_of(nn.Sequential(one, other, linear()))
    # The control: views of one vector that lie side by side are parameters like any others.
    flat = torch.randn(24, dtype=torch.float64)
    one.weight, other.weight = nn.Parameter(flat[:16].view(4, 4)), nn.Parameter(flat[16:].view(2, 4))
    assert identity(one.weight) != identity(other.weight)
    tied_memo(nn.ModuleList([one, other]))


def test_a_sparse_parameter_is_refused():
    with pytest.raises(LandscapeError, match=r"the parameter 'w' is sparse.*make its values a dense parameter"):
        layout_of(With(lambda m, x: x, w=nn.Parameter(torch.eye(2).to_sparse())))


@pytest.mark.parametrize("tied", [True, False])
def test_a_chain_with_tied_layers_goes_through_the_batched_engine(tied):
    one, other = nn.Linear(4, 4), nn.Linear(4, 4)
    if tied:
        other.weight = one.weight
    model = nn.Sequential(one, nn.Tanh(), other, nn.Tanh(), nn.Linear(4, 3)).double()
    objective, plane = objective_of(model), random_plane(model, seed=1)
    ours, theirs = (evaluate(objective, plane, grid(3, 0.5), engine=one) for one in ("batched", "sequential"))
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-12)


def test_parallel_directions_have_no_gradient_field():
    model = With(lambda m, x: x[:, :3] * m.scale, scale=nn.Parameter(torch.tensor(0.5).double()))
    plane = random_plane(model, one_d="norm")
    with pytest.raises(LandscapeError, match="the directions of the plane are parallel"):
        evaluate(objective_of(model), plane, grid(3, 0.5), gradient=True)


def test_a_parameter_without_elements_has_no_symmetry():
    model = ls.symmetry.find(twins("empty")[0], torch.ones(3, 4, dtype=torch.float64))
    assert model.generators == ()


@pytest.mark.parametrize(
    ("saved", "held", "cast"),
    [("complex64", "complex128", False), ("complex128", "complex64", True)],
)
def test_complex_checkpoints_are_widened_unasked_and_rounded_when_asked(saved, held, cast, tmp_path):
    wide = torch.complex(*torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    numbers = wide.to(getattr(torch, saved))
    torch.save({"w": numbers}, tmp_path / "epoch0.pt")
    model = With(lambda m, x: x, w=weight(4, 3, dtype=getattr(torch, held)))
    if cast:
        with pytest.raises(LandscapeError, match=r"tensor 'w' would be rounded.*pass --cast"):
            import_checkpoints(tmp_path / "run.h5", tmp_path / "epoch0.pt", model)
    run, _ = import_checkpoints(tmp_path / "run.h5", tmp_path / "epoch0.pt", model, cast=cast)
    assert torch.equal(run[0].weights["w"], numbers.to(model.w.dtype))


def test_a_real_checkpoint_of_a_complex_parameter_is_refused(tmp_path):
    torch.save({"w": torch.ones(4, 3)}, tmp_path / "epoch0.pt")
    model = With(lambda m, x: x, w=weight(4, 3, dtype=torch.complex64))
    with pytest.raises(LandscapeError, match="tensor 'w' has another kind of element"):
        import_checkpoints(tmp_path / "run.h5", tmp_path / "epoch0.pt", model, cast=True)


def test_complex_directions_of_a_surface_are_read_back(tmp_path):
    model, _ = twins("complex matrix")
    plane = random_plane(model, seed=3)
    surface = evaluate(objective_of(model), plane, grid(3, 0.5), save=tmp_path / "s.h5")
    read = read_directions(tmp_path / "s.h5", 2)
    same = Plane(model, [{name: torch.from_numpy(values) for name, values in own.items()} for own in read])
    again = evaluate(objective_of(model), same, grid(3, 0.5))
    np.testing.assert_array_equal(again.values, surface.values)
