"""Slices in the formats of other programs, read back with equal values."""

import base64
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest

from landscape.errors import LandscapeError
from landscape.exports import FORMATS, export_surface, relief_of
from landscape.exports.relief import solid
from landscape.values.surface import Path, Surface

trimesh = pytest.importorskip("trimesh")

X, Y = np.array([-1.0, 0.1, 1 / 3, 2.0]), np.array([0.0, 1e-3, 0.7])


def plane(**changes: Any) -> Surface:
    """Values that differ in x and y, a NaN, an inf; uneven axes; a path whose third snapshot has no loss."""
    loss = np.exp(X)[None] + 3 * Y[:, None] ** 2 + 1 / 3
    error = loss / 100
    loss[0, 0], error[0, 0], loss[2, 3] = np.nan, np.nan, np.inf
    steps = np.arange(5)
    path = Path(
        step=steps,
        x=0.3 * steps - 1,
        y=steps / 7,
        off_plane=steps / 3,
        loss=steps + 0.1,
        plane_loss=np.where(steps == 2, np.nan, steps + 1 / 3),
    )
    made = Surface(
        x=X,
        y=Y,
        fields={"train_loss": loss, "train_error": error},
        standard_errors={"train_loss": loss / 7, "train_error": error / 7},
        done=np.isfinite(loss) | np.isinf(loss),
        computed=np.isfinite(loss),
        meta={"units": {"loss": "nats"}, "plane": {"kind": "random"}},
        path=path,
    )
    return replace(made, **changes)


def arrays_of(path: FilePath) -> dict[str, np.ndarray]:
    types = {"Float64": "<f8", "Int64": "<i8", "UInt8": "u1"}
    found = {}
    for node in ElementTree.parse(path).iter("DataArray"):
        held = base64.b64decode(node.text)
        assert struct.unpack("<Q", held[:8]) == (len(held) - 8,)
        found[node.get("Name")] = np.frombuffer(held[8:], types[node.get("type")])
    return found


def test_vtk_files_hold_the_same_bits_and_hide_what_is_missing(tmp_path: FilePath) -> None:
    surface = plane()
    assert export_surface(surface, tmp_path / "s.vts")["missing"] == 2
    held = arrays_of(tmp_path / "s.vts")
    for name, values in surface.everywhere.items():
        np.testing.assert_array_equal(held[name], values.ravel())
    points = held["Points"].reshape(3, 4, 3)
    np.testing.assert_array_equal(points[..., 0], np.broadcast_to(X, (3, 4)))
    np.testing.assert_array_equal(points[..., 1], np.broadcast_to(Y[:, None], (3, 4)))
    known = np.isfinite(surface.values)
    np.testing.assert_array_equal(points[known][:, 2], surface.values[known])
    assert points[~known][:, 2].tolist() == [surface.values[known].min()] * 2

    export_surface(surface, tmp_path / "p.vtp")
    held = arrays_of(tmp_path / "p.vtp")
    for name, values in surface.path._table().items():
        np.testing.assert_array_equal(held[name], values)
    # The polyline breaks where the loss is unknown.
    assert held["connectivity"].tolist() == [0, 1, 3, 4]
    assert held["offsets"].tolist() == [2, 4]


def test_vtk_reads_the_same(tmp_path: FilePath) -> None:
    vtk = pytest.importorskip("vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    surface = plane()
    for suffix, reader in ((".vts", vtk.vtkXMLStructuredGridReader()), (".vtp", vtk.vtkXMLPolyDataReader())):
        export_surface(surface, tmp_path / f"s{suffix}")
        reader.SetFileName(str(tmp_path / f"s{suffix}"))
        reader.Update()
        held, wanted = reader.GetOutput().GetPointData(), surface.everywhere
        wanted = wanted if suffix == ".vts" else surface.path._table()
        for name, values in wanted.items():
            np.testing.assert_array_equal(vtk_to_numpy(held.GetArray(name)), values.ravel())
        said = reader.GetOutput().GetFieldData().GetAbstractArray("height").GetValue(0)
        assert said == "height = train_loss in nats"
    assert reader.GetOutput().GetNumberOfLines() == 2


def test_volumes_and_lines_are_structured_grids(tmp_path: FilePath) -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    volume = Surface(X, Y, {"train_loss": values}, more=(np.array([5.0, 6.0]),))
    export_surface(volume, tmp_path / "v.vts")
    held = arrays_of(tmp_path / "v.vts")
    np.testing.assert_array_equal(held["train_loss"], values.ravel())
    assert held["Points"].reshape(-1, 3)[-1].tolist() == [2.0, 0.7, 6.0]
    export_surface(Surface(X, None, {"train_loss": X**2}), tmp_path / "l.vts")
    np.testing.assert_array_equal(arrays_of(tmp_path / "l.vts")["Points"].reshape(-1, 3)[:, 2], X**2)


def test_netcdf_is_the_dataset(tmp_path: FilePath) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    surface = plane(path=None, paths={"a/b": plane().path})
    export_surface(surface, tmp_path / "s.nc")
    with xarray.open_dataset(tmp_path / "s.nc", engine="h5netcdf") as held:
        held.load()
        assert held.identical(surface.to_xarray())
        np.testing.assert_array_equal(held["train_loss"], surface.values)
        np.testing.assert_array_equal(held["path_a_b_loss"], surface.paths["a/b"].loss)


def test_meshes_have_the_values_as_heights(tmp_path: FilePath) -> None:
    surface = plane()
    known = np.isfinite(surface.values)
    for suffix in (".obj", ".glb", ".gltf"):
        said = export_surface(surface, tmp_path / f"s{suffix}", **({} if suffix == ".obj" else {"relief": 0.5}))
        scene = trimesh.load_scene(tmp_path / f"s{suffix}", process=False)
        mesh = next(one for one in scene.geometry.values() if isinstance(one, trimesh.Trimesh))
        lines = [one for one in scene.geometry.values() if isinstance(one, trimesh.path.Path3D)]
        heights = relief_of(surface, share=None if suffix == ".obj" else 0.5).heights[known]
        assert len(mesh.faces) == 2 * (6 - 2)
        if suffix == ".obj":
            # As text, float64 keeps its bits.
            np.testing.assert_array_equal(mesh.vertices[: len(heights), 2], heights)
        else:
            assert [len(one.vertices) for one in lines] == [4]
            assert said["height"].endswith("train_loss in nats")
            np.testing.assert_array_equal(mesh.vertices[:, 1], heights.astype("f4"))
            np.testing.assert_array_equal(mesh.vertices[:, 0], np.broadcast_to(X, (3, 4))[known].astype("f4"))
        assert (mesh.face_normals[:, 2 if suffix == ".obj" else 1] > 0).all()


def test_fields_are_attributes_of_gltf(tmp_path: FilePath) -> None:
    surface = plane(fields={"train_loss": plane()["train_error"] + 1, "test_loss": X + Y[:, None]})
    export_surface(surface, tmp_path / "s.glb")
    scene = trimesh.load_scene(tmp_path / "s.glb", process=False)
    mesh = next(one for one in scene.geometry.values() if isinstance(one, trimesh.Trimesh))
    known = np.isfinite(surface.values)
    np.testing.assert_array_equal(
        mesh.vertex_attributes["_TRAIN_LOSS"].ravel(), surface.values[known].astype("f4")
    )
    np.testing.assert_array_equal(
        mesh.vertex_attributes["_TEST_LOSS"].ravel(), surface["test_loss"][known].astype("f4")
    )


def test_a_printed_relief_is_closed(tmp_path: FilePath) -> None:
    flat = Surface(X, Y, {"train_loss": np.full((3, 4), 2.0)})
    said = export_surface(flat, tmp_path / "flat.stl", size=30.0)
    mesh = trimesh.load_mesh(tmp_path / "flat.stl")
    assert mesh.is_watertight
    # A plate of 3 x 0.7 units, 4 % of the width thick; 10 mm are a unit.
    assert mesh.volume == pytest.approx(30.0 * 7.0 * 1.2, rel=1e-6)
    assert said["millimetres"] == pytest.approx([30.0, 7.0, 1.2], rel=1e-6)

    rng = np.random.default_rng(0)
    holes = np.where(rng.random((20, 20)) < 0.15, np.nan, rng.random((20, 20)) + 1)
    line = np.arange(20.0)
    said = export_surface(Surface(line, line, {"train_loss": holes}), tmp_path / "holes.stl")
    mesh = trimesh.load_mesh(tmp_path / "holes.stl")
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    # Control: cells that touch in a corner, all kept, share an edge of four walls.
    assert said["cells_left_out"] > 0
    relief = relief_of(Surface(X[:3], Y, {"train_loss": np.ones((3, 3))}))
    vertices, faces, left_out = solid(relief, 1.0)
    assert (len(vertices), len(faces), left_out) == (18, 16 + 16, 0)
    assert not trimesh.Trimesh(vertices, faces[: len(faces) - 1]).is_watertight


def test_logarithms_and_scales_are_declared(tmp_path: FilePath) -> None:
    surface = Surface(
        X, Y, {"train_loss": np.array([[10.0, 100.0, 0.0, -1.0]] * 3)}, meta={"units": {"loss": "nats"}}
    )
    said = export_surface(surface, tmp_path / "s.vts", log=True)
    assert said["height"] == "height = log10(train_loss in nats)"
    assert said["missing"] == 6
    assert relief_of(surface, log=True).heights[0, :2].tolist() == [1.0, 2.0]
    assert relief_of(surface, log=True, share=0.5).factor == 0.5 * 3.0 / 1.0
    assert relief_of(surface, log=True, share=0.5).words == "height = 1.5 * log10(train_loss in nats)"


def test_formats_say_what_they_cannot_hold(tmp_path: FilePath) -> None:
    line = Surface(X, None, {"train_loss": X**2})
    several = Surface(X, Y, {"train_loss": np.ones((2, 3, 4))}, repeat=np.array([7, 8]))
    nothing = Surface(X, Y, {"train_loss": np.full((3, 4), np.nan)})
    pathless = plane(path=None)
    refused: list[tuple[Surface, str, dict[str, Any], str]] = [
        (line, "s.stl", {}, "a .stl file cannot hold it; got a slice with 1 axis; write .npz or .csv or .nc"),
        (several, "s.vts", {}, "a .vts file holds one plane; got 2 repeats; write .npz or .csv or .nc"),
        (nothing, "s.obj", {}, "no cell of the grid has four finite values of train_loss: there is no surface"),
        (pathless, "s.vtp", {}, "the surface has no path; write it as .vts"),
        (plane(), "s.csv", {"log": True}, "log means nothing in a .csv file; leave it out"),
        (plane(), "s.obj", {"field": "x"}, "the surface has no field 'x'; it has train_error, train_loss"),
        (plane(), "s.obj", {"relief": 0}, "option 'relief' is out of range; got 0; expected above 0"),
    ]
    for surface, name, options, message in refused:
        with pytest.raises(LandscapeError) as caught:
            export_surface(surface, tmp_path / name, **options)
        assert message in str(caught.value)
    assert [*tmp_path.iterdir()] == []
    assert {*FORMATS} == {".npz", ".csv", ".nc", ".vts", ".vtp", ".obj", ".stl", ".glb", ".gltf"}


@pytest.mark.parametrize("kind", ["error", "log"])
def test_a_path_without_heights_is_not_drawn_at_zero(tmp_path: FilePath, kind: str) -> None:
    surface = plane() if kind == "error" else plane(path=replace(plane().path, plane_loss=-np.ones(5)))
    export_surface(surface, tmp_path / "s.obj", **({"field": "train_error"} if kind == "error" else {"log": True}))
    assert "o path" not in (tmp_path / "s.obj").read_text()
