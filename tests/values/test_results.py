"""What all results have in common, swept over every class: a short text, a page for notebooks, a table."""

import dataclasses
import importlib
import inspect
import pkgutil
import sys

import numpy as np
import pytest
import torch

import landscape as ls
from landscape.options import Options
from landscape.values import html
from landscape.values.result import Result, Tabular

ROOMS = ("audit", "curvature", "measures", "papers", "probes", "projection", "symmetry", "trajectory", "values")


def classes():
    """Every dataclass of values, and the public ones of the rooms that compute."""
    import landscape.values

    modules = [importlib.import_module(f"landscape.{room}") for room in ROOMS]
    found = [getattr(module, name) for module in modules for name in module.__all__]
    for info in pkgutil.iter_modules(landscape.values.__path__):
        found += vars(importlib.import_module(f"landscape.values.{info.name}")).values()
    kept = {one for one in found if isinstance(one, type) and dataclasses.is_dataclass(one)}
    # Symmetries have words of their own, which test_notebooks.py looks at.
    others = (Options, ls.symmetry.Symmetries)
    results = [one for one in kept if not issubclass(one, others) and not inspect.isabstract(one)]
    return sorted(results, key=lambda one: (one.__module__, one.__name__))


def crowded(kind):
    """A value whose every field is larger than what fits on a screen."""
    value = object.__new__(kind)
    fillings = [
        np.linspace(0, 1, 90_000).reshape(300, 300),
        {f"a name of {place} that is long": np.ones(500) for place in range(1000)},
        "word " * 2000,
        [object() for _ in range(1000)],
        torch.ones(50, 50),
        1 / 3,
        len,
        "two\nlines",
        None,
    ]
    for place, field in enumerate(dataclasses.fields(kind)):
        object.__setattr__(value, field.name, fillings[place % len(fillings)])
    return value


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_result_prints_in_ten_lines(kind):
    assert issubclass(kind, Result)
    text = repr(crowded(kind))
    assert text.startswith(kind.__name__)
    assert len(text.splitlines()) <= 10
    assert len(text) < 1600
    assert " at 0x" not in text


def test_a_class_without_the_mixin_would_not_pass():
    plain = dataclasses.make_dataclass("Plain", ["values", "names"])
    assert len(repr(crowded(plain))) > 1600


@pytest.fixture(scope="module")
def slice_and_run(tmp_path_factory):
    torch.manual_seed(0)
    model, x = torch.nn.Linear(4, 3), torch.randn(20, 4)
    objective = ls.Objective(model, loss=torch.nn.functional.cross_entropy, train=(x, torch.arange(20) % 3))
    path = tmp_path_factory.mktemp("results") / "run.h5"
    with ls.Recorder(path, model) as recorder:
        for step in range(12):
            recorder.snapshot(10 * step, train_loss=1.0 / (1 + step))
            with torch.no_grad():
                model.weight += 0.1
    return ls.evaluate(objective, ls.random_plane(model, seed=0), ls.grid((5, 3))), ls.open_trajectory(path)


def test_a_surface_is_an_array_and_a_collection_of_fields(slice_and_run):
    surface, _ = slice_and_run
    assert np.asarray(surface) is surface.values
    assert np.array(surface).shape == (3, 5)
    assert not np.shares_memory(np.array(surface), surface.values)
    assert np.asarray(surface, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.array(surface, dtype=np.float32, copy=False)
    assert float(np.min(surface)) == surface.values.min()
    assert "train_loss" in surface
    assert "test_loss" not in surface
    assert list(surface) == list(surface.fields)
    assert len(surface) == len(surface.fields)


def test_a_surface_becomes_a_dataset(slice_and_run, tmp_path):
    surface, _ = slice_and_run
    path = ls.values.Path(*(np.arange(4.0) + i for i in range(6)))
    dataset = dataclasses.replace(surface, path=path).to_xarray()
    assert dataset["train_loss"].dims == ("y", "x")
    np.testing.assert_array_equal(dataset["train_loss"], surface["train_loss"])
    np.testing.assert_array_equal(dataset["x"], surface.x)
    assert dataset["train_loss"].attrs["units"] == surface.meta["units"]["loss"]
    assert float(dataset["train_loss"].sel(x=surface.x[1], y=surface.y[2])) == surface.values[2, 1]
    np.testing.assert_array_equal(dataset["path_off_plane"], path.off_plane)
    assert dataset["path_off_plane"].dims == ("step",)
    # What it holds can be written, and read back.
    import xarray

    dataset.to_netcdf(tmp_path / "slice.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "slice.nc", engine="h5netcdf") as read:
        np.testing.assert_array_equal(read["standard_error_train_loss"], surface.standard_errors["train_loss"])


def test_a_surface_becomes_a_table_with_a_row_for_every_point(slice_and_run):
    surface, _ = slice_and_run
    table = surface.to_dataframe()
    assert len(table) == 15
    row = table[(table["x"] == surface.x[4]) & (table["y"] == surface.y[0])]
    assert row["train_loss"].item() == surface.values[0, 4]


def test_a_run_is_read_by_step_by_place_and_by_name(slice_and_run):
    _, run = slice_and_run
    assert run.at(step=40).index == 4
    assert run.at("last").index == 11
    with pytest.raises(ls.LandscapeError, match=r"no snapshot at step 41; the nearest are 30, 40, 50, 60"):
        run.at(step=41)
    assert torch.equal(run[-1]["weight"], run[-1].weights["weight"])
    with pytest.raises(ls.LandscapeError, match=r"there is no tensor 'weigth'; did you mean 'weight'\?"):
        run[-1]["weigth"]
    part = run[2:10:2]
    assert part.steps.tolist() == [20, 40, 60, 80]
    assert part.metrics["train_loss"].tolist() == [1 / 3, 1 / 5, 1 / 7, 1 / 9]
    assert [snapshot.step for snapshot in part] == part.steps.tolist()
    assert part[-1].step == part.at("last").step == 80
    assert len(part[1:]) == 3


def test_a_snapshot_is_what_a_model_loads(slice_and_run):
    _, run = slice_and_run
    model = torch.nn.Linear(4, 3)
    model.load_state_dict(dict(run[3]))
    assert torch.equal(model.weight, run[3].weights["weight"])
    assert list(run[3]) == ["weight", "bias"]
    assert "bias" in run[3]
    assert len(run[3]) == 2


def expected_tables():
    """Results, and the columns that their tables have."""
    v = ls.values
    two, ones = np.array([1.0, 2.0]), np.ones(2)
    column = v.Column(two, np.array([np.nan, 0.5]), ones > 0, ones > 0, {})
    fields = {"train_loss": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])}
    profile = ls.probes.Profile("mean-abs", "share", two, fields, np.ones(3))
    square = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    retraining = v.Retraining(
        ("a", "b"), np.array([0, 5]), ("", "n"), two, np.array([0.0, 1.0, 2.0]),
        {"m": np.arange(6.0).reshape(2, 3)}, np.zeros((2, 3)), np.zeros((0, 2), int), np.zeros((0, 3)), {},
    )  # fmt: skip
    return [
        (
            v.Table(np.array([0, 5]), two, {"hessian_top": column}, {"train_loss": two}),
            {
                "step": [0, 5],
                "epoch": [1.0, 2.0],
                "train_loss": [1.0, 2.0],
                "hessian_top": [1.0, 2.0],
                "hessian_top_standard_error": [np.nan, 0.5],
            },
        ),
        (profile, {"draw": [0, 0, 1, 1, 2, 2], "scale": [1, 2, 1, 2, 1, 2], "train_loss": [1, 2, 3, 4, 5, 6]}),
        (v.Interpolation(two, {"train_loss": ones}), {"t": [1, 2], "train_loss": [1, 1]}),
        (
            v.Barriers(("a", "b", "c"), {"train_loss": square}, 10 * square, "frozen", 5),
            {"a": ["a", "a", "b"], "b": ["b", "c", "c"], "train_loss": [1, 2, 3], "distance": [10, 20, 30]},
        ),
        (
            retraining,
            {
                "branch": ["a", "a", "a", "b", "b", "b"],
                "start": [0, 0, 0, 5, 5, 5],
                "noise": ["", "", "", "n", "n", "n"],
                "kick": [1, 1, 1, 2, 2, 2],
                "epoch": [0, 1, 2, 0, 1, 2],
                "m": [0, 1, 2, 3, 4, 5],
                "moved": [0] * 6,
            },
        ),
        (
            v.Embedding(
                square, np.array([0, 0, 1]), np.arange(3), ("p", "q"), {}, 0.0, ones, ones, 0.0, square, square
            ),
            {
                "run": ["p", "p", "q"],
                "step": [0, 1, 2],
                "x": [0, 1, 2],
                "y": [1, 0, 3],
                "z": [2, 3, 0],
            },
        ),
        (
            v.Spectrum(two, np.array([[1.0, 3.0], [3.0, 5.0]]), 1, 1, 2, 1, 1, 1, 1, None, None),
            {"eigenvalue": [1, 2], "density": [2, 4], "probe_0": [1, 3], "probe_1": [3, 5]},
        ),
    ]


@pytest.mark.parametrize(("value", "expected"), expected_tables(), ids=lambda one: type(one).__name__)
def test_a_table_has_these_columns(value, expected):
    import pandas as pd

    pd.testing.assert_frame_equal(value.to_dataframe(), pd.DataFrame(expected), check_dtype=False)


def test_measures_taken_together_are_a_table(objective):
    found = ls.measures.measure(objective, objective.model, ["hessian_top", "hessian_trace"])
    assert isinstance(found, dict)
    table = found.to_dataframe()
    assert table["name"].tolist() == ["hessian_top", "hessian_trace"]
    assert table["value"].tolist() == [one.value for one in found.values()]
    first, second, third = repr(found).splitlines()
    assert first == "Measurements"
    assert second.startswith("  hessian_top ")
    assert "±" in third


def test_an_audit_is_a_table(objective):
    found = ls.audit.audit(objective, objective.model, ["hessian_trace", "fisher_rao_norm"], split="train")
    table = found.to_dataframe()
    assert table["name"].tolist() == [row.name for row in found.rows]
    assert table["verdict"].tolist() == [row.verdict for row in found.rows]
    ratios = [name for name in table if name.startswith("ratio, ")]
    assert ratios == [f"ratio, {element['name']}" for element in found.elements]
    assert found.rows[0].to_dataframe()["element"].tolist() == [cell.element for cell in found.rows[0].cells]


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_dataframe"), ("xarray", "to_xarray")])
def test_a_package_that_is_missing_is_named_in_one_line(slice_and_run, monkeypatch, package, method):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ls.LandscapeError) as caught:
        getattr(slice_and_run[0], method)()
    assert str(caught.value) == f"{method}: {package} is not installed; pip install {package}"


def test_results_are_pages_in_notebooks(slice_and_run):
    surface, run = slice_and_run
    assert surface._repr_html_().count("<img ") == 1
    assert "train_loss" in surface._repr_html_()
    curve = dataclasses.replace(
        surface, y=None, fields={"train_loss": surface.values[0]}, standard_errors={}, done=None
    )
    assert curve._repr_html_().count("<svg ") == 1
    assert run._repr_html_().count("<tr>") == 9
    assert "12 rows" in run._repr_html_()
    barriers = next(value for value, _ in expected_tables() if isinstance(value, ls.values.Barriers))
    assert "<td>a</td><td>b</td><td>1.0</td><td>10.0</td>" in barriers._repr_html_()
    for value, _ in expected_tables():
        assert isinstance(value, Tabular)
        assert value._repr_html_().startswith(f"<div><b>{type(value).__name__}</b>")
        assert len(value._repr_html_()) < 20_000


def test_names_are_no_markup():
    page = html.framed("a<b", "", html.pairs({"<i>": "<script>"}) + html.grid_of({"<u>": ["<s>"]}))
    for tag in ("<i>", "<script>", "<u>", "<s>", "a<b"):
        assert tag not in page


def test_small_pictures_show_what_is_undefined_and_say_their_colours():
    import base64
    import io

    from PIL import Image

    values = np.array([[1.0, np.nan, 3.0], [1e4, 5.0, 6.0]])
    page = html.small_map(values, "train_loss")
    assert page.endswith("train_loss, 1 to 1e+04, colours by its logarithm")
    image = Image.open(io.BytesIO(base64.b64decode(page.split("base64,")[1].split('"')[0]))).convert("RGBA")
    assert image.size == (3, 2)
    # The first row of values is at the bottom; the undefined point is transparent, the largest value is yellow.
    assert image.getpixel((1, 1))[3] == 0
    assert image.getpixel((0, 0))[:3] == (253, 231, 36)
    assert html.small_map(np.full((2, 2), np.nan), "train_loss") == ""
    broken = html.small_lines(np.arange(4.0), np.array([0.0, np.nan, 1.0, 2.0]), "loss")
    assert broken.count("M") == 2
