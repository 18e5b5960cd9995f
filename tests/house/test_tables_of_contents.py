"""What completion by the tab key offers of each room: all its names, each of which is there."""

import importlib
import subprocess
import sys

import pytest
from conftest import ROOT

import landscape as ls

ROOMS = ["landscape"] + [
    ".".join(path.parent.relative_to(ROOT).parts) for path in sorted((ROOT / "landscape").glob("*/__init__.py"))
]
ROOMS += ["landscape.laboratory", "landscape.pipeline", "landscape.sharpness"]


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.filterwarnings("ignore")  # Of what the libraries of integrations warn while they are imported.
def test_every_name_of_a_room_is_listed_and_there(room):
    module = importlib.import_module(room)
    names = getattr(module, "__all__", [])
    assert set(names) <= set(dir(module))
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_every_room_is_offered():
    with_names = {room.removeprefix("landscape.") for room in ROOMS[1:] if hasattr(ls, room.split(".")[1])}
    assert with_names - {"executor", "files", "html", "objective", "storage", "laboratory"} <= set(dir(ls))


def test_listing_imports_nothing():
    code = (
        "import sys, landscape; [dir(getattr(landscape, r)) for r in ('measures', 'surface', 'values', 'audit')]"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(("kind", "opened"), [("run", "open_trajectory"), ("slice", "open_surface")])
def test_a_file_of_another_kind_is_refused(tmp_path, objective, kind, opened):
    path = tmp_path / f"{kind}.h5"
    if kind == "slice":
        ls.evaluate(objective, ls.random_line(objective.model), ls.grid(3, dims=1), save=path)
    else:
        with ls.Recorder(path, objective.model) as recorder:
            recorder.snapshot(0)
    assert type(getattr(ls, opened)(path)) is type(ls.open(path))
    other = {"open_trajectory": ls.open_surface, "open_surface": ls.open_trajectory}[opened]
    with pytest.raises(ls.LandscapeError, match=r"expected") as caught:
        other(path)
    assert "\n" not in str(caught.value)
