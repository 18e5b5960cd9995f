"""Trajectories: all weights of a model along a training run, in one HDF5 file that survives a killed writer.

Reading a header imports no torch; `Recorder` and a snapshot's weights do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

_HOME = {
    "Block": "columns",
    "FileReport": "checkpoints.report",
    "ImportReport": "checkpoints.report",
    "Recorder": "recorder",
    "Snapshot": "snapshot",
    "Summary": "overview",
    "Trajectory": "trajectory",
    "export_snapshot": "checkpoints.export",
    "import_checkpoints": "checkpoints.imports",
    "open_trajectory": "trajectory",
    "summary": "overview",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from landscape.trajectory.checkpoints.export import export_snapshot as export_snapshot
    from landscape.trajectory.checkpoints.imports import import_checkpoints as import_checkpoints
    from landscape.trajectory.checkpoints.report import FileReport as FileReport
    from landscape.trajectory.checkpoints.report import ImportReport as ImportReport
    from landscape.trajectory.columns import Block as Block
    from landscape.trajectory.overview import Summary as Summary
    from landscape.trajectory.overview import summary as summary
    from landscape.trajectory.recorder import Recorder as Recorder
    from landscape.trajectory.snapshot import Snapshot as Snapshot
    from landscape.trajectory.trajectory import Trajectory as Trajectory
    from landscape.trajectory.trajectory import open_trajectory as open_trajectory

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)
