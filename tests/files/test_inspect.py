"""`landscape inspect` of every kind of file that this toolkit writes, whole, damaged and of older versions."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import without_torch
from spoiling import age

import landscape as ls
from benchmarks.fuzzing import FOREIGN, write_all
from landscape import LandscapeError
from landscape.errors import LandscapeWarning
from landscape.files.cells import CELLS, Contents
from landscape.files.description import describe_file
from landscape.files.result import save
from landscape.recipe.cache import Cache
from landscape.recipe.steps import Step
from landscape.storage import create, seal, write_attrs
from landscape.values.archive import save_value

# File of `write_all` -> its format, and a line that says what is in it.
KINDS = {
    "run.h5": ("landscape/trajectory", "snapshots   40, steps 0 to 39"),
    "surface.h5": ("landscape/surface", "grid        9 x 11, 99 of 99 computed"),
    "table.h5": ("landscape/measures", "11 of 11 values taken"),
    "distances.h5": ("landscape/distances", "snapshots   9"),
    "cells.h5": ("landscape/cells", "2: start, end"),
    "probe.h5": ("landscape/table", "rows        9"),
    "value.npz": ("archive of values", "a           Table"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_any_kind_is_described_and_verified(made: dict[str, Path], landscape: Any, name: str) -> None:
    kind, words = KINDS[name]
    said = landscape("inspect", made[name], "--verify", "--json").json
    assert (said["format"], said["digests"], said["note"]) == (kind, True, None)
    assert said["verified"]["digests"] is True
    done = landscape("inspect", made[name], "--verify")
    assert words in done.out
    assert "are what was written" in done.out
    assert (done.code, done.err) == (0, "")
    without_torch("inspect", made[name], "--verify")


@pytest.mark.parametrize("name", KINDS)
def test_one_wrong_byte_in_the_numbers_is_one_line(
    made: dict[str, Path], landscape: Any, tmp_path: Path, name: str
) -> None:
    content = bytearray(made[name].read_bytes())
    numbers = _place_of_numbers(made[name], bytes(content))
    content[numbers] ^= 4
    (tmp_path / name).write_bytes(content)
    done = landscape("inspect", tmp_path / name, "--verify")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "damaged" in done.err
    assert name in done.err


def _place_of_numbers(path: Path, content: bytes) -> int:
    """Where numbers lie in a file: in its largest dataset or member."""
    if path.suffix == ".npz":
        return content.index(b"PK\x01\x02") // 2
    with h5py.File(path, "r") as file:
        items: list[h5py.Dataset] = []
        file.visititems(lambda _, item: items.append(item) if isinstance(item, h5py.Dataset) else None)
        largest = max(items, key=lambda item: item.nbytes)
        offset = largest.id.get_offset()
        if offset is None:
            offset = largest.id.get_chunk_info(0).byte_offset
    return int(offset) + 8


@pytest.mark.parametrize("name", [name for name in KINDS if name.endswith(".h5") and name != "cells.h5"])
def test_a_file_of_before_says_that_nothing_in_it_can_be_verified(
    made: dict[str, Path], landscape: Any, tmp_path: Path, name: str
) -> None:
    path = shutil.copy(made[name], tmp_path / name)
    age(path)
    said = landscape("inspect", path, "--verify", "--json").json
    assert (said["digests"], said["schema"]) == (False, 1)
    assert said["verified"]["digests"] is False
    done = landscape("inspect", path, "--verify")
    assert "note        no digests, as an older version wrote it: nothing can be verified" in done.out
    assert "can be read; what has no digest is not verified" in done.out
    assert "are what was written" not in done.out


def test_finished_results_of_before_have_a_digest_of_their_numbers(made: dict[str, Path], tmp_path: Path) -> None:
    path = shutil.copy(made["table.h5"], tmp_path / "table.h5")
    age(path)
    with h5py.File(path, "r+") as file:
        file.attrs["digest"] = "0" * 64
    with pytest.raises(LandscapeError, match="its values are not those that were written"):
        describe_file(path)


@pytest.mark.parametrize("name", ["run.h5", "surface.h5"])
def test_opening_a_file_of_before_warns_once(made: dict[str, Path], tmp_path: Path, name: str) -> None:
    path = shutil.copy(made[name], tmp_path / name)
    age(path)
    with pytest.warns(LandscapeWarning, match=rf"{name}: no digests, .* nothing can be verified") as told:
        ls.open(path)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ls.open(path)
        ls.open(made[name])


def test_a_changed_letter_in_a_file_of_before_is_not_seen(made: dict[str, Path], tmp_path: Path) -> None:
    """What the note says: the control is the same letter in a file of now."""
    old, new = (Path(shutil.copy(made["run.h5"], tmp_path / name)) for name in ("old.h5", "new.h5"))
    age(old)
    for path in (old, new):
        content = path.read_bytes()
        assert content.count(b"mine") == 1
        path.write_bytes(content.replace(b"mine", b"nine"))
    said = describe_file(old, verify=True)
    assert (said["problem"], said["verified"]["digests"]) == ("nine", False)
    assert "damage may go unnoticed" in said["note"]
    with pytest.raises(LandscapeError, match="something in it is not what was written"):
        describe_file(new)


def test_commands_say_the_note_in_one_line(made: dict[str, Path], landscape: Any, tmp_path: Path) -> None:
    path = shutil.copy(made["surface.h5"], tmp_path / "old.h5")
    age(path)
    said = landscape("plot", path, "-o", tmp_path / "s.png").err
    assert re.fullmatch(r"landscape: note: \S*old\.h5: no digests, as an older version wrote it: .*\n", said)
    assert landscape("inspect", path).err == ""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    found = Cache(tmp_path / "cache")
    for number in range(2):
        step = Step("value", "a curve", {"number": number})
        with found.holding(step, lambda: None):
            save_value({"a": np.arange(3.0) + number}, found.path(step.kind, step.key, ".npz"))
            found.complete(step, [".npz"], {"seconds": 1.0})
    save_value(1.0, found.path("value", "begun", ".npz"))
    return found


def test_a_folder_of_results_is_described_and_verified(landscape: Any, cache: Cache) -> None:
    said = landscape("inspect", cache.folder, "--verify", "--json").json
    assert (said["steps"], said["begun"], said["verified"]["files"]) == ({"value": 2}, ["value/begun.npz"], 2)
    sizes = [path.stat().st_size for path in cache.folder.glob("value/*.npz") if path.stem != "begun"]
    assert said["bytes"] == sum(sizes)
    assert "all 2 files are what was written" in landscape("inspect", cache.folder, "--verify").out
    without_torch("inspect", cache.folder, "--verify")


def test_a_damaged_result_in_a_folder_is_named(landscape: Any, cache: Cache) -> None:
    path = next(path for path in cache.folder.glob("value/*.npz") if path.stem != "begun")
    content = bytearray(path.read_bytes())
    # A byte of the last member's time, which no checksum is of.
    content[content.rindex(b"PK\x01\x02") + 12] ^= 1
    path.write_bytes(content)
    assert describe_file(path, verify=True)["verified"]["digests"]
    done = landscape("inspect", cache.folder, "--verify")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{path}: a result in the cache is damaged" in done.err


def test_other_folders_and_archives_are_refused(landscape: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "this is a folder" in landscape("inspect", tmp_path / "folder").err
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    assert "not an HDF5 file" in landscape("inspect", tmp_path / "a.npz").err


def test_values_that_name_a_class_of_others_are_described_and_not_made(tmp_path: Path) -> None:
    tree = {"pairs": [["a", {"class": "os:system", "fields": {}}]]}
    np.savez(tmp_path / "v.npz", value=np.array(json.dumps(tree)))
    assert describe_file(tmp_path / "v.npz")["values"] == {"a": "system"}


def test_texts_that_claim_more_than_memory_are_refused(tmp_path: Path) -> None:
    """Empty lists in 3 MB of text would take a hundred."""
    told = '{"a":[' + ",".join(["[]"] * 1_000_001) + "]}"
    with create(tmp_path / "t.h5") as file:
        write_attrs(file, {"format": "landscape/table", "schema": 2, "meta": told})
        seal(file)
    with pytest.raises(LandscapeError, match="it claims more than 1,000,000 values"):
        describe_file(tmp_path / "t.h5")
    save(CELLS, Contents({"a": [[0.0] * 1000] * 600, "b": [[0.0] * 1000] * 600}), tmp_path / "c.h5", {})
    with pytest.raises(LandscapeError, match="it claims more than 1,000,000 values"):
        describe_file(tmp_path / "c.h5")


def test_no_kind_is_left_out(made: dict[str, Path]) -> None:
    parts = {"branched.h5", "unfinished.h5", "part.h5", "epoch1.pt", FOREIGN}
    assert set(made) - parts == set(KINDS)
