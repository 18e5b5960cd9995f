"""Directions by block: any part is drawn by itself, and the same whoever draws it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_convnet
from scipy import stats
from torch import nn

from landscape.params import filter_rows, layout_of, resolve
from landscape.projection import directions, drawn_plane, random_direction, random_lines, random_plane
from landscape.projection.blocks import BLOCK, NormalStream
from landscape.vocabulary import NORMALIZATIONS

STREAM = NormalStream("layer.weight", 5 * BLOCK + 7, seed=3, index=1)


class Filters(nn.Module):
    """Filters along both axes, longer and shorter than a block."""

    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Linear(BLOCK + 11, 3)
        self.short = nn.Linear(7, 40)
        self.up = nn.ConvTranspose2d(4, 6, 2, groups=2)


@pytest.mark.parametrize(
    "span", [(0, 5), (BLOCK - 3, BLOCK + 2), (2 * BLOCK, 5 * BLOCK + 7), (5 * BLOCK, 5 * BLOCK + 7)]
)
def test_any_part_is_drawn_by_itself(span):
    whole = STREAM.read(0, STREAM.size)
    start, stop = span
    assert np.array_equal(STREAM.read(start, stop), whole[start:stop])


def test_threads_draw_the_same():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = STREAM.read(0, STREAM.size)
        torch.set_num_threads(1)
        assert np.array_equal(several, STREAM.read(0, STREAM.size))
    finally:
        torch.set_num_threads(threads)


def test_numbers_are_standard_normal_and_blocks_independent():
    numbers = STREAM.read(0, 4 * BLOCK).astype(float)
    assert stats.kstest(numbers, "norm").pvalue > 1e-3
    blocks = np.corrcoef(numbers.reshape(4, BLOCK)) - np.eye(4)
    assert abs(blocks).max() < 5 / BLOCK**0.5
    others = [replace(STREAM, seed=4), replace(STREAM, index=0), replace(STREAM, name="layer.bias")]
    assert all(abs(np.corrcoef(numbers[:BLOCK], other.read(0, BLOCK))[0, 1]) < 5 / BLOCK**0.5 for other in others)


def test_the_stream_is_that_of_files_written_before():
    said = hashlib.sha256(STREAM.read(BLOCK - 4, BLOCK + 4).tobytes()).hexdigest()
    assert said[:16] == "ab3bb258ea3a5851"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_a_plane_that_stores_nothing_has_the_directions_of_one_that_does(normalize, dtype):
    model = Filters().to(dtype)
    how = {"normalize": normalize, "one_d": "norm", "seed": 5}
    drawn, stored = drawn_plane(model, **how), random_plane(model, generator="blocks", **how)
    for one, other in zip(drawn.directions, stored.directions, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert drawn.meta == {**stored.meta, "cosine": pytest.approx(stored.meta["cosine"], rel=1e-6)}
    assert all(drawn.origin[name].data_ptr() == own.data_ptr() for name, own in model.named_parameters())


@pytest.mark.parametrize("normalize", ["filter", "layer"])
def test_norms_are_those_of_the_weights(normalize):
    model = Filters().double()
    direction, _ = random_direction(model, normalize=normalize, one_d="norm", generator="blocks")
    _, tensors = resolve(model)
    for info in layout_of(model).moving():
        whole = normalize == "layer" or len(info.shape) == 1
        wanted, got = (
            own[info.name].norm() if whole else filter_rows(own[info.name], info).norm(dim=1)
            for own in (tensors, direction)
        )
        assert torch.allclose(got, wanted, rtol=1e-12, atol=0), info.name


def test_many_numbers_are_drawn_by_blocks_unless_another_generator_is_asked_for(monkeypatch):
    model = make_convnet()
    before = random_plane(model)
    numbers = sum(info.numbers for info in layout_of(model).moving())
    for many, name in ((numbers, "blocks"), (numbers + 1, "streams")):
        monkeypatch.setattr(directions, "MANY_NUMBERS", many)
        plane, line = random_plane(model), random_lines(model, 2)[0]
        assert (plane.meta.get("generator", "streams"), line.meta.get("generator", "streams")) == (name, name)
        asked = random_plane(model, generator=name)
        assert all(torch.equal(own, asked.directions[1][key]) for key, own in plane.directions[1].items())
        kept = random_plane(model, generator="streams")
        assert all(torch.equal(own, before.directions[1][key]) for key, own in kept.directions[1].items())


def test_the_generator_is_named_where_it_is_not_the_first():
    model = make_convnet()
    assert "generator" not in random_plane(model).meta
    lines = random_lines(model, 2, generator="blocks")
    assert lines[0].meta["generator"] == "blocks"
    assert not torch.equal(lines[0].directions[0]["0.weight"], random_plane(model).directions[0]["0.weight"])
