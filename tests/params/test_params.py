import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape.errors import LandscapeError
from landscape.params import (
    combine,
    digest,
    dot,
    filter_rows,
    layout_of,
    norm,
    require_same_shapes,
    resolve,
    spread_over_filters,
    subtract,
)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.embedding.weight
        self.register_buffer("mask", torch.ones(3), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def test_tied_parameters_are_counted_once_and_name_what_they_are_tied_to():
    layout = layout_of(Tied())
    assert layout.parameter_count == 28
    assert layout["out.weight"].tied_to == "embedding.weight"
    assert [info.name for info in layout.stored("buffer")] == ["count"]


def test_resolve_gives_each_tensor_once_and_no_copies():
    model = Tied()
    _, tensors = resolve(model)
    assert set(tensors) == {"embedding.weight", "count"}
    assert tensors["embedding.weight"].data_ptr() == model.embedding.weight.data_ptr()


def test_tied_entries_of_a_dictionary_count_once():
    weight = torch.randn(2, 2)
    assert set(resolve({"a": weight, "b": weight})[1]) == {"a"}


def test_statistics_in_a_bare_dictionary_are_buffers():
    layout, _ = resolve({"bn.running_var": torch.ones(3), "bn.weight": torch.ones(3)})
    assert [info.kind for info in layout] == ["parameter", "buffer"]


@pytest.mark.parametrize("weights", [3, {"a": 1}, None])
def test_what_are_not_weights_is_refused(weights):
    with pytest.raises(LandscapeError, match=r"^not weights; got \w+; expected a snapshot, a torch.nn.Module, or"):
        resolve(weights)


@pytest.mark.parametrize(
    ("module", "units"),
    [
        (nn.Linear(5, 3), lambda w: [w[i] for i in range(3)]),
        (nn.Conv2d(4, 6, 3, groups=2), lambda w: [w[i] for i in range(6)]),
        (nn.ConvTranspose2d(4, 3, 2), lambda w: [w[:, i] for i in range(3)]),
        # Output unit 3g + j of a grouped transposed convolution sees only the inputs of group g.
        (
            nn.ConvTranspose2d(4, 6, 2, groups=2),
            lambda w: [w[2 * g : 2 * g + 2, j] for g in range(2) for j in range(3)],
        ),
    ],
)
def test_rows_are_filters(module, units):
    info = layout_of(module)["weight"]
    weight = module.weight.detach()
    wanted = torch.stack([unit.flatten() for unit in units(weight)])
    assert torch.equal(filter_rows(weight, info), wanted)
    spread = spread_over_filters(torch.arange(len(wanted)) + 1.0, info)
    assert torch.equal(filter_rows(weight * spread, info), wanted * (torch.arange(len(wanted)) + 1.0)[:, None])


def test_a_layer_that_stores_in_by_out_has_filters_along_axis_1():
    class Conv1D(nn.Module):
        def __init__(self):
            super().__init__()
            self.nf = 5
            self.weight = nn.Parameter(torch.randn(3, 5))

    layout = layout_of(nn.Sequential(Conv1D()))
    assert filter_rows(torch.zeros(3, 5), layout["0.weight"]).shape == (5, 3)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=2))
def test_combinations_are_linear(factors):
    a, b = {"w": torch.randn(3, 2)}, {"w": torch.randn(3, 2), "v": torch.ones(2)}
    mixed = combine([(factors[0], a), (factors[1], b)])
    assert torch.equal(mixed["w"], factors[0] * a["w"] + factors[1] * b["w"])
    assert torch.equal(mixed["v"], factors[1] * b["v"])
    assert dot(a, b) == pytest.approx(float((a["w"].double() * b["w"].double()).sum()), rel=1e-12, abs=1e-14)


def test_norms_are_euclidean_over_all_tensors():
    assert norm({"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])}) == 5.0
    assert norm(subtract({"a": torch.ones(4)}, {"a": torch.zeros(4)}, ["a"])) == 2.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_a_digest_tells_bits_names_shapes_and_types_apart(dtype):
    one = {"a": torch.ones(2, 3).to(dtype)}
    assert digest(one) == digest({"a": torch.ones(2, 3).to(dtype)})
    others = [{"b": one["a"]}, {"a": one["a"].T.contiguous()}, {"a": torch.zeros(2, 3).to(dtype)}]
    assert len({digest(one), *(digest(other) for other in others)}) == 4


def test_a_misfit_names_the_tensor_and_both_shapes():
    layout = layout_of(nn.Linear(3, 2))
    with pytest.raises(
        LandscapeError, match=r"^here: tensor 'weight' has another shape; got \(2, 4\); expected \(2, 3\)$"
    ):
        require_same_shapes(layout, {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, "here")
    with pytest.raises(LandscapeError, match=r"^here: tensor 'bias' is missing; expected shape \(2,\)$"):
        require_same_shapes(layout, {"weight": torch.zeros(2, 3)}, "here")
