"""The demonstration: one small network from training to pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from landscape import problems, render, training
from landscape.plots.objectives import objective_of
from landscape.plots.slice_options import Slice
from landscape.plots.slice_values import slice_of
from landscape.storage import require_writable
from landscape.surface import Surface
from landscape.trajectory import Trajectory

_SETTINGS = training.Settings(
    epochs=40, lr=0.1, batch_size=128, weight_decay=5e-4, every=training.Every(1, "epochs")
)


def run_demo(
    directory: str | os.PathLike[str] = ".", progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Train `digits-mlp`, record it in checkpoints/demo.h5, and draw into figures/demo/.

    Args:
        directory: Where the two folders are; what an earlier demonstration left is replaced.
        progress: Called with (work done, work in all) within each stage.

    Returns:
        The paths, the numbers that matter, and lines that say them.

    Raises:
        LandscapeError: If the folders cannot be written.
    """
    home = Path(directory)
    trajectory, pictures = home / "checkpoints" / "demo.h5", home / "figures" / "demo"
    require_writable(trajectory)
    require_writable(pictures / "overview.png")
    objective = problems.build("digits-mlp", seed=_SETTINGS.seed)
    run = training.train(objective, trajectory, _SETTINGS, overwrite=True)
    objective = objective_of(run)
    wanted = {
        "curve": Slice(kind="curve", points=101),
        "surface": Slice(kind="surface", points=51, splits=("train", "test")),
        "trajectory": Slice(kind="trajectory", points=41),
    }
    slices = {}
    for name, what in wanted.items():
        saved = pictures / f"{name}.h5"
        saved.unlink(missing_ok=True)
        slices[name] = slice_of(run, objective, what, save=saved, progress=progress)
    numbers = _numbers(run, slices)
    drawn = _draw(slices, numbers, pictures)
    return {
        "trajectory": str(trajectory),
        "pictures": {name: str(path) for name, path in drawn.items()},
        "numbers": numbers,
        "lines": _lines(numbers),
    }


def _draw(slices: dict[str, Surface], numbers: dict[str, Any], folder: Path) -> dict[str, Path]:
    figures = {
        "overview": render.overview(slices["curve"], slices["surface"], slices["trajectory"], numbers),
        "curve": render.picture(slices["curve"]),
        "surface": render.picture(slices["surface"]),
        "surface-3d": render.picture(slices["surface"], view="3d"),
        "trajectory": render.picture(slices["trajectory"]),
    }
    for name, figure in figures.items():
        render.save(figure, folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in figures}


def _numbers(run: Trajectory, slices: dict[str, Surface]) -> dict[str, Any]:
    plane = slices["trajectory"].meta["plane"]
    path = slices["trajectory"].path
    last = {name: float(values[-1]) for name, values in run.metrics.items()}
    return {
        **last,
        "snapshots": len(run),
        "steps": int(run.steps[-1]),
        "highest_train_loss_within_radius_1": float(np.nanmax(slices["surface"]["train_loss"])),
        "explained_variance_ratio": plane["explained_variance_ratio"],
        "random_walk_ratio": plane["null_ratio"],
        "motion_held": plane["motion_held"],
        "max_off_plane": float(path.off_plane.max()) if path is not None else None,
    }


def _lines(numbers: dict[str, Any]) -> list[str]:
    shares = sum(numbers["explained_variance_ratio"])
    null = sum(numbers["random_walk_ratio"])
    return [
        f"{numbers['snapshots']} snapshots over {numbers['steps']} steps of SGD",
        f"train loss {numbers['train_loss']:.4f} nats, error {numbers['train_error']:.2%}; "
        f"test loss {numbers['test_loss']:.4f} nats, error {numbers['test_error']:.2%}",
        "filter-normalised plane: train loss rises to "
        f"{numbers['highest_train_loss_within_radius_1']:.3g} nats within radius 1",
        f"PCA plane: {shares:.1%} of the variance (a random walk would show {null:.1%}); "
        f"the path runs up to {numbers['max_off_plane']:.2f} off it",
    ]
