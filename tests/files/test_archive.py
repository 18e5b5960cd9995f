"""Any value of the package in a file and back, and nothing else out of one."""

import json

import numpy as np
import pytest

from landscape.errors import LandscapeError
from landscape.values.archive import read_value, save_value
from landscape.values.spectrum import End, Spectrum
from landscape.values.surface import Surface


def test_a_value_comes_back(tmp_path):
    grid = np.linspace(-1.0, 1.0, 5)
    end = End(2.0, 1e-9, True)
    spectrum = Spectrum(grid, grid[None] ** 2, 0.1, 0.1, 7, 1.0, 0.1, 2.0, float("nan"), end, end, {"step": 3})
    slice_ = Surface(grid, None, {"train_loss": grid**2}, meta={"axes": [{"label": "x"}], "plane": {}})
    parts = {"a": spectrum, "b": slice_, "c": (1, [2, "x"], None, {3: np.float32(0.5)}, True)}
    save_value(parts, tmp_path / "v.npz")
    back = read_value(tmp_path / "v.npz")
    assert isinstance(back["a"], Spectrum)
    assert np.array_equal(back["a"].densities, spectrum.densities)
    assert back["a"].meta == {"step": 3}
    assert np.isnan(back["a"].second_moment_standard_error)
    assert back["b"]["train_loss"].tolist() == slice_["train_loss"].tolist()
    assert back["c"] == parts["c"]


@pytest.mark.parametrize(
    "tree", [{"class": "os:system", "fields": {}}, {"class": "landscape.errors:LandscapeError"}]
)
def test_a_file_makes_only_values_of_this_package(tmp_path, tree):
    np.savez(tmp_path / "v.npz", value=np.array(json.dumps(tree)))
    with pytest.raises(LandscapeError, match="the value cannot be read"):
        read_value(tmp_path / "v.npz")
