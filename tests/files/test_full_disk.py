"""A full disk costs a command one line; ``python -m benchmarks.full_disk`` tries all of them in three ways."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from spoiling import files_up_to
from torch import nn

from landscape.trajectory import Recorder
from landscape.trajectory.overview import verify_trajectory

LINES = (
    (20_000, "train digits-mlp -o OUT/t.h5 --epochs 1 --set width=8"),
    (20_000, "import OUT/i.h5 epoch1.pt"),
    (9_000, "transform run.h5 --permute 1 -o OUT/moved.h5"),
    (4_096, "export run.h5 -o OUT/out.pt"),
    (4_096, "export run.h5 -o OUT/out.safetensors"),
    (4_096, "plot run.h5 --kind curve --points 3 --save-surface OUT/s.h5 -o o.png"),
    (4_096, "plot run.h5 --kind curve --points 3 -o OUT/o.png"),
    (1_000, "measure run.h5 --measures hessian_top --at all --save OUT/m.h5"),
    (1_000, "init problem OUT/mine.py"),
)


@contextmanager
def tmpfs_of(folder: Path, size: int) -> Iterator[None]:
    """A file system of whole pages, with so much room."""
    pages = f"size={max(1, size // 4096) * 4096}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", pages, "tmpfs", folder], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("mounting a file system is not permitted")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def limited(_folder: Path, size: int) -> AbstractContextManager[None]:
    return files_up_to(size)


@pytest.fixture
def inputs(tmp_path: Path, landscape: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert landscape("train", "digits-mlp", "-o", "run.h5", "--epochs", 1, "--set", "width=32").code == 0
    torch.save(nn.Linear(100, 100).state_dict(), "epoch1.pt")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("full", "words"), [(limited, "File too large"), (tmpfs_of, "No space left on device")], ids=["limit", "tmpfs"]
)
def test_a_full_disk_costs_every_command_a_line(
    inputs: Path, landscape: Any, full: Callable[[Path, int], AbstractContextManager[None]], words: str
) -> None:
    out = inputs / "out"
    for size, line in LINES:
        # What is smaller than a page fits into a tmpfs.
        if full is tmpfs_of and size < 4_096:
            continue
        with full(out, size):
            found = landscape(*line.replace("OUT", "out").split())
            assert (found.code, found.err.count("\n")) == (1, 1), (line, found)
            assert words in found.err
            for path in out.iterdir():
                assert path.suffix == ".h5", line
                verify_trajectory(path)
                path.unlink()


def test_recording_goes_on_where_there_is_room_again(tmp_path: Path) -> None:
    model = nn.Linear(60, 60)
    (tmp_path / "out").mkdir()
    with tmpfs_of(tmp_path / "out", 2**18):
        filler, path = tmp_path / "out" / "other", tmp_path / "out" / "run.h5"
        recorder = Recorder(path, model, on_error="warn")
        recorder.snapshot(0)
        filler.write_bytes(bytes(2**16))

        def record() -> None:
            for step in range(1, 12):
                recorder.snapshot(step)

        with pytest.warns(UserWarning, match="No space left on device") as caught:
            record()
        kept = verify_trajectory(path).snapshots
        filler.unlink()
        recorder.snapshot(20)
        recorder.finish()
        assert (len(caught), 0 < kept < 12, verify_trajectory(path).snapshots) == (1, True, kept + 1)
        assert [file.name for file in path.parent.iterdir()] == ["run.h5"]
