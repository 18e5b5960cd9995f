"""The structure of HDF5 files, checked before the library reads them: nothing sound is refused."""

from __future__ import annotations

import io
import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from spoiling import age
from torch import nn

from benchmarks.fuzzing import FOREIGN, damaged, write_all
from landscape import LandscapeError
from landscape.storage import examination
from landscape.storage.messages import StructureError
from landscape.storage.structure import check_structure
from landscape.trajectory import Recorder, open_trajectory


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path, model = tmp_path / "run.h5", nn.Linear(30, 20)
    with Recorder(path, model, training={"lr": 0.1}) as recorder:
        for step in range(6):
            recorder.snapshot(step, train_loss=1 / (step + 1))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("made"))


def test_our_own_files_are_of_known_structure(made: dict[str, Path]) -> None:
    for path in made.values():
        if path.suffix == ".h5":
            with path.open("rb") as raw:
                assert check_structure(raw) is (path.name != FOREIGN), path.name


def change(file: h5py.File, chance: random.Random) -> None:
    """One thing that a program may do to a file."""
    groups, datasets = [file["/"]], []
    file.visititems(lambda _, item: (groups if isinstance(item, h5py.Group) else datasets).append(item))
    group, name = chance.choice(groups), f"n{chance.randrange(60):0{chance.randrange(1, 30)}d}"
    kind = chance.randrange(7)
    if kind == 0 and name not in group:
        group.create_group(name)
    elif kind == 1 and name not in group:
        shape = (chance.randrange(4), chance.randrange(5))
        group.create_dataset(name, data=np.zeros(shape, chance.choice(["f4", ">f8", "?", "u1", "S5", "c8"])))
    elif kind == 2 and name not in group:
        how = {"fletcher32": chance.random() < 0.5, "shuffle": chance.random() < 0.3}
        chunks = (1, chance.randrange(1, 8))
        group.create_dataset(name, (0, 7), maxshape=(None, 7), chunks=chunks, dtype="f4", fillvalue=1.0, **how)
    elif kind == 3 and datasets and datasets[-1].chunks:
        dataset = datasets[-1]
        dataset.resize(chance.choice([0, 3, 50, 400]), axis=0)
        dataset[:: chance.randrange(1, 4)] = 1
    elif kind == 4 and len(group):
        del group[chance.choice(list(group))]
    elif kind == 5:
        group.attrs[name] = chance.choice([1, 2.5, True, np.bytes_(b"x" * 300), np.arange(9.0)])
    elif kind == 6 and len(group.attrs):
        del group.attrs[chance.choice(list(group.attrs))]


@pytest.mark.parametrize("seed", range(8))
def test_what_hdf5_writes_is_sound_whatever_was_done(seed: int) -> None:
    chance, raw = random.Random(seed), io.BytesIO()
    for _ in range(chance.randrange(1, 4)):
        with h5py.File(raw, "a") as file:
            for _ in range(chance.randrange(1, 100)):
                change(file, chance)
        assert check_structure(raw)


def test_indexes_of_several_levels_are_sound() -> None:
    raw = io.BytesIO()
    with h5py.File(raw, "w") as file:
        rows = file.create_dataset("w", (4500, 3), maxshape=(None, 3), chunks=(1, 3), fletcher32=True, dtype="f4")
        rows[...] = 1
        for index in range(600):
            file.create_group(f"g/b{index}")
    assert check_structure(raw)
    content = bytearray(raw.getvalue())
    levels = {content[found.start() + 4 : found.start() + 6].hex() for found in re.finditer(b"TREE", content)}
    assert {"0101", "0001"} <= levels
    for found in re.finditer(b"TREE\x01\x01", content):
        copy = bytearray(content)
        # The first number of the second key, between which the first child has its own.
        copy[found.start() + 24 + 40 + 8] ^= 1
        with pytest.raises(StructureError, match="do not fit together"):
            check_structure(io.BytesIO(copy))


CRASH = "import h5py, sys; [column[()] for column in h5py.File(sys.argv[1])['steps'].values()]"


def with_small_chunk(path: Path) -> None:
    """A chunk of which the index says that it has less bytes than its checksum."""
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        size = file["steps/epoch"].chunks[0] * 8 + 4
    place = content.index(struct.pack("<II", size, 0) + bytes(16))
    content[place : place + 4] = struct.pack("<I", 3)
    path.write_bytes(content)


def test_a_chunk_smaller_than_its_checksum_is_refused_where_hdf5_crashes(run_file: Path) -> None:
    with_small_chunk(run_file)
    # The failing control.
    assert subprocess.run([sys.executable, "-c", CRASH, run_file], check=False).returncode < 0
    with pytest.raises(LandscapeError, match=r"the file is damaged.*got a chunk that cannot be"):
        open_trajectory(run_file)


def of_another_type(file: h5py.File) -> None:
    file["steps/epoch"].attrs.clear()
    kind = h5py.h5t.IEEE_F64LE.copy()
    kind.set_fields(63, 52, 3, 0, 52)
    for name in ("epoch", "seconds"):
        del file[f"steps/{name}"]
        space = h5py.h5s.create_simple((6,), (h5py.h5s.UNLIMITED,))
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk((256,))
        h5py.h5d.create(file["steps"].id, name.encode(), kind, space, layout)


def unwritten_rows(file: h5py.File) -> None:
    old = file["weights/float32"]
    del file["weights/float32"]
    new = file.create_dataset("weights/float32", old.shape, maxshape=(None, 620), chunks=(1, 620), dtype="f4")
    for row in (0, 1, 2, 4, 5):
        new[row] = 1.0


def unwritten_lines(file: h5py.File) -> None:
    del file["manifest"]
    file.create_dataset("manifest", (3,), dtype="S100")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (of_another_type, "'/steps/epoch' has numbers of a type that is not ours"),
        (unwritten_rows, r"snapshots that were never written in /weights/float32"),
        (unwritten_lines, "'/manifest' was never written"),
    ],
)
def test_files_without_digests_are_checked_as_far_as_they_can_be(
    run_file: Path, spoil: Callable[[h5py.File], None], words: str
) -> None:
    age(run_file)
    with h5py.File(run_file, "r+") as file:
        spoil(file)
    with pytest.raises(LandscapeError, match=words):
        open_trajectory(run_file)


def test_a_known_structure_costs_no_process(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(examination, "_examine", asked.append)
    open_trajectory(run_file)
    assert asked == []
    age(run_file)
    open_trajectory(run_file)
    assert set(asked) == {run_file}


def test_more_things_than_anyone_waits_for(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landscape.storage.structure.MOST_ITEMS", 5)
    with pytest.raises(
        LandscapeError, match="holds more than 50,000 datasets and groups, and such files are refused"
    ):
        open_trajectory(run_file)


def test_damage_of_the_structure_never_raises_anything_else(made: dict[str, Path]) -> None:
    """A fifth of the damage is noticed here; digests, checksums and HDF5 notice the rest."""
    chance = random.Random(3)
    outcomes = {True: 0, False: 0, None: 0}
    for path in made.values():
        content = path.read_bytes()
        for _ in range(150 if path.suffix == ".h5" else 0):
            try:
                outcomes[check_structure(io.BytesIO(damaged(content, chance)))] += 1
            except StructureError:
                outcomes[None] += 1
    assert outcomes[None] > 200
