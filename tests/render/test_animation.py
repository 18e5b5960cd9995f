"""Moving pictures: frames, their files, and what does not move."""

import shutil
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landscape.errors import LandscapeError
from landscape.render import animation
from landscape.render.look import Look
from landscape.surface.store import save_surface
from landscape.values.surface import Path, Surface

X = np.linspace(-1, 1, 9)
META = {"kind": "trajectory", "problem": "bowl", "units": {"loss": "nats"}, "plane": {"kind": "pca"}}


def bowl(scale: float = 1.0, step: int = 0, **more: Any) -> Surface:
    values = scale * (1 + X**2 + 2 * X[:, None] ** 2)
    return Surface(X, X, {"train_loss": values}, meta={**META, "kind": "surface", "step": step}, **more)


def with_path() -> Surface:
    along = np.linspace(-0.8, 0.8, 60)
    path = Path(np.arange(60), along, -along, 0 * along, 1 + along**2, 1 + along**2)
    return Surface(X, X, {"train_loss": bowl().values}, meta=META, path=path)


def test_a_path_runs_over_one_ground_to_its_end(tmp_path: FilePath) -> None:
    told: list[tuple[int, int]] = []
    with Look(dpi=40).applied():
        frames = list(animation.path_frames(with_path()))
    assert len(frames) == animation.count_of(with_path()) == animation.MOST_FRAMES
    changes = [np.abs(frame.astype(int) - frames[0]).max(axis=2) > 40 for frame in (frames[10], frames[-1])]
    # The path grows: to the right, and on the map as much as the cursors beside it.
    spans = [np.flatnonzero(change.any(axis=0)[: change.shape[1] // 2]) for change in changes]
    assert spans[0].max() < spans[1].max()
    assert changes[0].mean() < 0.05
    animation.save_animation(iter(frames), tmp_path / "p.gif", total=48, progress=lambda *at: told.append(at))
    assert told[-1] == (48, 48)
    with Image.open(tmp_path / "p.gif") as held:
        assert held.n_frames == 48
        held.seek(47)
        assert np.abs(np.asarray(held.convert("RGB")).astype(int) - frames[-1]).mean() < 6


def test_a_surface_changes_on_one_scale() -> None:
    with Look(dpi=40).applied():
        frames = list(animation.surface_frames([bowl(), bowl(), bowl(3.0, 5)]))
    np.testing.assert_array_equal(frames[0], frames[1])
    # Control: on scales of their own, shapes that are multiples of each other would look the same.
    middle = tuple(length // 2 for length in frames[0].shape[:2])
    assert np.abs(frames[2][middle].astype(int) - frames[0][middle]).max() > 20


def test_a_large_gif_is_made_smaller(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation, "_MOST_BYTES", 20_000)
    noise = np.random.default_rng(0).integers(0, 255, (3, 120, 160, 3), dtype=np.uint8)
    animation.save_animation(iter(noise), tmp_path / "n.gif", total=3)
    assert (tmp_path / "n.gif").stat().st_size <= 20_000


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_an_mp4_is_written_by_ffmpeg(tmp_path: FilePath) -> None:
    frames = np.zeros((3, 31, 41, 3), np.uint8)
    animation.save_animation(iter(frames), tmp_path / "z.mp4", total=3)
    assert b"ftyp" in (tmp_path / "z.mp4").read_bytes()[:12]


def test_what_cannot_move_says_so(tmp_path: FilePath, landscape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save_surface(bowl(), tmp_path / "s.h5")
    save_surface(with_path(), tmp_path / "t.h5")
    for file, output, more, message in (
        (
            "s.h5",
            "x.gif",
            [],
            "nothing moves in one moment; give a run with several snapshots, not a surface file",
        ),
        (
            "s.h5",
            "x.gif",
            ["--kind", "basins"],
            "a picture of kind basins does not move; animate surface or trajectory",
        ),
        ("t.h5", "x.mp4", [], "x.mp4: ffmpeg is not installed; install it, or write a .gif"),
    ):
        monkeypatch.setattr(shutil, "which", lambda name: None)
        code, _, err = landscape("plot", tmp_path / file, "-o", tmp_path / output, *more)
        assert code == 2
        assert message in err
    code, _, _ = landscape("plot", tmp_path / "t.h5", "-o", tmp_path / "t.gif", "--dpi", 40)
    assert code == 0
    with pytest.raises(LandscapeError, match="the surface has no path to draw"):
        next(animation.path_frames(bowl()))
