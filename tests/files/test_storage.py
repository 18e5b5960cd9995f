"""Opening files with care, and changing them wholly or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape import journal, storage
from landscape.errors import LandscapeError
from landscape.remnants import temporary_name

FORMAT = "landscape/surface"
NO_ROOM = "cannot be written; got File too large; free some space, or write elsewhere"


def make(path: Path, **attrs: object) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": FORMAT, "schema": 1, **attrs})
        file["values"] = np.arange(100.0)
    return path


def read(path: Path) -> float:
    with storage.open_read(path, format=FORMAT, schema=1) as file:
        return float(file["values"][7])


def refused(path: Path) -> str:
    with pytest.raises(LandscapeError) as caught:
        read(path)
    return str(caught.value)


def test_a_good_file_is_read_and_its_kind_known(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    assert read(path) == 7.0
    assert storage.kind_of(path) == FORMAT


def test_a_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "s.h5") == f"{tmp_path / 's.h5'}: no such file"


def test_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path}: this is a folder; expected a file"


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04" + bytes(5000)])
def test_not_hdf5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(content)
    assert (
        refused(path)
        == f"{path}: not an HDF5 file; expected landscape/trajectory or landscape/surface or landscape/measures; "
        "give a file that landscape train, landscape import or landscape plot --save wrote"
    )


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    path = make(tmp_path / "s.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    expected = f"{path}: the file is damaged or truncated; got truncated file; restore it from a copy"
    assert refused(path) == expected


def test_a_foreign_hdf5_file(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5", format="nexus")
    expected = "expected landscape/trajectory or landscape/surface or landscape/measures"
    assert refused(path) == f"{path}: not a landscape file; got format 'nexus'; {expected}"
    with h5py.File(path, "a") as file:
        del file.attrs["format"]
    got = "got an HDF5 file without a format attribute"
    assert refused(path) == f"{path}: not a landscape file; {got}; {expected}"
    with pytest.raises(LandscapeError, match="not a landscape file"):
        storage.kind_of(path)


def test_another_kind_of_ours(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5", format="landscape/trajectory")
    assert refused(path) == f"{path}: a file of another kind; got landscape/trajectory; expected {FORMAT}"


def test_a_newer_schema(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5", schema=2)
    expected = "written by a newer version (schema 2; this version reads 1); upgrade loss-landscape-toolkit"
    assert refused(path) == f"{path}: {expected}"


def external_link(file: h5py.File, other: Path) -> None:
    file["deep/er"] = h5py.ExternalLink(str(other), "/values")


def soft_link(file: h5py.File, other: Path) -> None:
    file["deep/er"] = h5py.SoftLink("/values")


def external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("deep/er", (4,), "u1", external=[(str(other), 0, 4)])


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((100,), "f8")
    layout[:] = h5py.VirtualSource(str(other), "values", (100,))
    file.create_virtual_dataset("deep/er", layout)


@pytest.mark.parametrize(
    ("add", "what"),
    [
        (external_link, "'/deep/er' is a link, and such files are refused"),
        (soft_link, "'/deep/er' is a link, and such files are refused"),
        (external_storage, "'/deep/er' has its data elsewhere, and such files are refused"),
        (virtual, "'/deep/er' has its data elsewhere, and such files are refused"),
    ],
)
def test_nothing_outside_the_file_is_reached(tmp_path: Path, add: Callable[..., None], what: str) -> None:
    other = make(tmp_path / "other.h5")
    path = make(tmp_path / "s.h5")
    with h5py.File(path, "a") as file:
        add(file, other)
    assert refused(path) == f"{path}: {what}"


def test_hard_links_in_a_circle_are_no_trap(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    with h5py.File(path, "a") as file:
        file.create_group("a")["back"] = file["/"]
    assert read(path) == 7.0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    path.chmod(0)
    assert refused(path) == f"{path}: cannot be read; got Permission denied"


def test_a_file_being_written_is_waited_for(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); input(); f.close()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        threading.Timer(0.2, lambda: (writer.stdin.write(b"\n"), writer.stdin.close())).start()
        assert read(path) == 7.0


@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_file_held_for_long_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    path = make(tmp_path / "s.h5")
    monkeypatch.setattr(journal, "_PATIENCE", 0.0)
    code = "import h5py, sys; f = h5py.File(*sys.argv[1:]); print('open', flush=True); input()"
    arguments = [sys.executable, "-c", code, str(path), mode]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert read(path) == 7.0
        holder.kill()


def test_a_file_open_in_this_process_is_read_too(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    with h5py.File(path, "r"):
        assert read(path) == 7.0
    with h5py.File(path, "r", locking=False):
        assert read(path) == 7.0


def test_a_file_that_another_writes_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "s.h5")
    monkeypatch.setattr("landscape.storage.writer.lock", lambda *_, **__: False)
    message = f"^{re.escape(str(path))}: another process is writing this file$"
    with pytest.raises(LandscapeError, match=message), storage.change(path):
        pass


def test_a_reader_does_not_stop_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "s.h5")
    monkeypatch.setattr(journal, "_PATIENCE", 0.0)
    with path.open("rb", buffering=0) as reader:
        journal.lock(reader, shared=True)
        with storage.change(path) as change:
            change.file["values"][7] = 8.0
    assert read(path) == 8.0


def test_a_change_is_made_and_leaves_no_journal(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    with storage.change(path) as change:
        change.file["values"][7] = -1.0
        change.file["more"] = np.arange(3)
    with h5py.File(path, "r") as file:
        assert file["values"][7] == -1.0
        assert file["more"][:].tolist() == [0, 1, 2]
        assert file.id.get_filesize() == path.stat().st_size


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    before = path.read_bytes()

    def fail() -> None:
        with storage.change(path) as change:
            change.file["values"][7] = -1.0
            change.file["more"] = np.arange(30000)
            change.file.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == before


class FullDisk(io.BytesIO):
    limit = 0

    def write(self, data: object) -> int:
        if self.tell() + len(memoryview(data)) > self.limit:  # type: ignore[arg-type]
            raise OSError(28, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("room", [0, 500, 3000])
def test_a_full_disk_changes_nothing(tmp_path: Path, room: int) -> None:
    before = make(tmp_path / "s.h5").read_bytes()
    disk = FullDisk(before)
    disk.limit = len(before) + room

    def grow() -> None:
        with journal.change(disk) as change:
            change.file["values"][7] = -1.0
            change.file["more"] = np.arange(400)

    with pytest.raises((OSError, RuntimeError)):
        grow()
    assert disk.getvalue() == before


def test_scratch_data_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file["values"] = np.zeros(10000)
    written = {}
    for scratch in (False, True):
        raw = Counting(path.read_bytes())
        with journal.change(raw) as change:
            if scratch:
                change.scratch(change.file["values"])
            change.file["values"][:] = np.arange(10000)
        written[scratch] = raw.written
        with h5py.File(io.BytesIO(raw.getvalue()), "r") as file:
            assert file["values"][9999] == 9999
    assert written[False] > 2 * 80000
    assert written[True] < 80000 + 2000


class Counting(io.BytesIO):
    written = 0

    def write(self, data: object) -> int:
        self.written += len(memoryview(data))  # type: ignore[arg-type]
        return super().write(data)  # type: ignore[arg-type]


@given(
    base=st.binary(min_size=1, max_size=40),
    writes=st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=30)), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_an_overlay_reads_as_if_it_were_written(base: bytes, writes: list[tuple[int, bytes]]) -> None:
    plain, raw = io.BytesIO(base), io.BytesIO(base)
    overlay = journal.Overlay(raw)
    for offset, data in writes:
        for file in (plain, overlay):
            file.seek(offset)
            file.write(data)
    overlay.seek(0)
    assert overlay.read() == plain.getvalue()
    assert raw.getvalue()[: len(base)] == base
    journal._write_journal(raw, journal.Journal(overlay.size, overlay.held))
    assert journal.recover(raw)
    assert raw.getvalue() == plain.getvalue()
    assert not journal.recover(raw)


@given(cut=st.integers(1, 60), flip=st.integers(0, 71))
@settings(max_examples=100, deadline=None)
def test_a_journal_that_is_not_whole_does_not_count(cut: int, flip: int) -> None:
    raw = io.BytesIO(b"0123456789")
    journal._write_journal(raw, journal.Journal(10, [(3, b"abc"), (0, b"x")]))
    whole = raw.getvalue()
    assert journal.read_journal(raw) == journal.Journal(10, [(3, b"abc"), (0, b"x")])
    assert journal.read_journal(io.BytesIO(whole[:-cut])) is None
    spoilt = bytearray(whole)
    spoilt[10 + flip] ^= 1
    assert journal.read_journal(io.BytesIO(bytes(spoilt))) is None


def test_an_interrupt_waits_for_the_end_of_a_change(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    before = signal.getsignal(signal.SIGINT)

    def interrupted() -> None:
        with storage.change(path) as change:
            signal.raise_signal(signal.SIGINT)
            change.file["values"][7] = 5.0

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read(path) == 5.0
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")

    def work() -> None:
        with storage.change(path) as change:
            change.file["values"][7] = 5.0

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert read(path) == 5.0


def test_require_writable_leaves_nothing_and_the_writer_creates_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "s.h5"
    storage.require_writable(path)
    assert list(tmp_path.iterdir()) == []
    with storage.create(path) as file:
        file["x"] = 1
    assert [item.name for item in path.parent.iterdir()] == ["s.h5"]


def test_pipes_are_refused_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    os.mkfifo(path)
    assert refused(path) == f"{path}: this is a pipe or a device; expected a file"
    expected = f"{path}: this is a pipe or a device; expected the name of a file to write"
    with pytest.raises(LandscapeError, match=f"^{re.escape(expected)}$"):
        storage.require_writable(path)


@pytest.mark.parametrize("name", ["x" * 300, "y" * 300 + "/s.h5"])
def test_a_name_that_is_too_long(tmp_path: Path, name: str) -> None:
    for act in (refused_by_writer, refused):
        assert re.fullmatch(r"'.*': this path cannot be used; got File name too long", act(tmp_path / name))


def refused_by_writer(path: Path) -> str:
    with pytest.raises(LandscapeError) as caught:
        storage.require_writable(path)
    return str(caught.value)


def test_a_name_too_long_in_a_folder_that_is_missing(tmp_path: Path) -> None:
    assert "File name too long" in refused_by_writer(tmp_path / "new" / ("x" * 300))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", fail)
    expected = f"{str(tmp_path / 's.h5')!r}: this path cannot be used; got Permission denied"
    assert refused(tmp_path / "s.h5") == expected
    assert refused_by_writer(tmp_path / "s.h5") == expected


@pytest.mark.parametrize("name", ["x" * 251 + ".h5", "ä" * 126 + ".h5", "x" * 252 + ".h5"])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    with storage.create(tmp_path / name) as file:
        file["x"] = 1
    assert [item.name for item in tmp_path.iterdir()] == [name]


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1000, 5000])
def test_no_room_for_a_new_file(tmp_path: Path, room: int) -> None:
    path = tmp_path / "s.h5"
    with (
        room_for(room),
        pytest.raises(
            LandscapeError,
            match=f"^{re.escape(str(path))}: {NO_ROOM}$",
        ),
        storage.create(path) as file,
    ):
        file["x"] = np.arange(10000)
    assert list(tmp_path.iterdir()) == []
    with storage.create(path) as file:
        file["x"] = np.arange(10000)


def test_no_room_for_a_change(tmp_path: Path) -> None:
    path = make(tmp_path / "s.h5")
    before = path.read_bytes()
    with (
        room_for(len(before) + 500),
        pytest.raises(
            LandscapeError,
            match=f"^{re.escape(str(path))}: {NO_ROOM}$",
        ),
        storage.change(path) as change,
    ):
        change.file["more"] = np.arange(10000)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"format": [1, 2]}, "not a landscape file; got a format attribute that is not text; expected landscape/"),
        ({"format": b"\xff"}, "the file is damaged; got attribute 'format' is not text; restore it from a copy"),
        ({"schema": "x"}, "the file is damaged; got attribute 'schema' is not a whole number; restore it"),
        ({"schema": [1, 1]}, "the file is damaged; got attribute 'schema' is not a whole number; restore it"),
    ],
)
def test_attributes_of_the_wrong_type(tmp_path: Path, attrs: dict[str, object], expected: str) -> None:
    path = make(tmp_path / "s.h5", **attrs)
    assert refused(path).startswith(f"{path}: {expected}")


def test_require_writable_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cases = [
        (tmp_path, None, f"{tmp_path}: this is a folder; expected the name of a file to write"),
        (
            tmp_path / "file" / "s.h5",
            None,
            f"{tmp_path / 'file'}: cannot write here; got Not a directory; choose another folder",
        ),
        (
            tmp_path / "s.gif",
            (".png", ".pdf"),
            f"{tmp_path / 's.gif'}: unknown file type; got .gif; expected .png or .pdf",
        ),
        (tmp_path / "s", (".png",), f"{tmp_path / 's'}: unknown file type; got no suffix; expected .png"),
    ]
    for path, suffixes, message in cases:
        with pytest.raises(LandscapeError, match=f"^{re.escape(message)}$"):
            storage.require_writable(path, suffixes)
    storage.require_writable(tmp_path / "S.PNG", (".png",))


def test_atomic_path_replaces_or_leaves(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("old")

    def fail() -> None:
        with storage.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [item.name for item in tmp_path.iterdir()] == ["s.txt"]
    assert path.read_text() == "old"
    with storage.atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["s.txt"]


def test_versions_name_what_counts() -> None:
    versions = storage.versions()
    assert list(versions) == ["python", "landscape", "torch", "numpy", "h5py"]
    assert versions["numpy"] == np.__version__


def test_json_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        storage.write_json_attr(file, "args", {"b": [1, None], "a": "ä"})
        assert storage.read_json_attr(file, "args") == {"b": [1, None], "a": "ä"}
        assert storage.read_json_attr(file, "none", 3) == 3
        assert json.loads(file.attrs["args"]) == {"b": [1, None], "a": "ä"}
        expected = "^args: cannot be stored as JSON: Object of type set is not JSON serializable$"
        with pytest.raises(LandscapeError, match=expected):
            storage.write_json_attr(file, "args", {1, 2})


def test_what_killed_processes_left_is_removed_and_what_others_write_stays(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    mine = tmp_path / temporary_name("a.h5")
    gone = mine.with_name(mine.name.removesuffix(str(os.getpid())) + ended.stdout.decode().strip())
    others = [tmp_path / temporary_name("b.h5"), tmp_path / ".a.h5.tmp-elsewhere-1", tmp_path / f"{gone.name}x"]
    for act in (lambda: storage.require_writable(tmp_path / "a.h5"), lambda: write(tmp_path / "a.h5")):
        for file in (gone, *others):
            file.touch()
        act()
        assert not gone.exists()
        assert all(file.exists() for file in others)


def write(path: Path) -> None:
    with storage.create(path) as file:
        file["x"] = 1
