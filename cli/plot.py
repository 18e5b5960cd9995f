"""`landscape plot`: a picture of trajectories, or of a stored surface."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError

from . import plot_mds, plot_metrics, plot_path, plot_slices, plot_spectrum
from .plotting import Asked, SectionedCommand
from .shared import json_option, objective_options, say

_SUFFIXES = [".png", ".pdf", ".svg"]
# Kind of picture -> the module that makes it.
_KINDS = {
    **dict.fromkeys(("curve", "surface", "trajectory"), "plot_slices"),
    "mds": "plot_mds",
    "metrics": "plot_metrics",
    "path": "plot_path",
    "spectrum": "plot_spectrum",
}


@click.command(
    cls=SectionedCommand,
    epilog="Example: landscape plot run.h5 --kind surface --points 51 --seed 0 -o surface.png --save-surface s.h5",
    help="Draw FILES: a slice of a trajectory's landscape, a surface that was saved before (without torch), or "
    "the snapshots of several trajectories by multidimensional scaling (without torch).",
)
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", metavar="PICTURE", help="png, pdf or svg. [default: FILE with the kind, .png]")
@click.option(
    "--kind",
    help="curve (1-D), surface (2-D), trajectory (path in its PCA plane), path (principal components, no loss), "
    "mds (distances between snapshots), metrics (what was recorded) or spectrum (Hessian eigenvalues). "
    "[default: surface]",
)
@objective_options
@json_option
@plot_slices.options
@plot_slices.evaluation_options
@plot_spectrum.options
@plot_path.options
@plot_mds.options
@plot_metrics.options
def command(files: tuple[str, ...], output: str | None, kind: str | None, as_json: bool, **given: Any) -> None:
    """Draw, and say what is seen."""
    from landscape.errors import did_you_mean
    from landscape.storage import kind_of, require_writable

    if kind is not None and kind not in _KINDS:
        raise LandscapeError(f"unknown kind '{kind}', {did_you_mean(kind, _KINDS)}")
    stored = kind_of(files[0]) == "landscape/surface"
    wanted = kind or "surface"
    picture = Path(output or f"{Path(files[0]).stem}-{kind or ('picture' if stored else 'surface')}.png")
    require_writable(picture, _SUFFIXES)
    options = {
        name: value
        for name, value in {**given, "kind": kind}.items()
        if value not in (None, ()) and value is not False
    }
    for kind_of_options, module in (("spectrum", plot_spectrum), ("mds", plot_mds), ("metrics", plot_metrics)):
        allowed = plot_metrics.SHARED if wanted == "metrics" else ()
        misplaced = [name for name in module.NAMES if name in options and name not in allowed]
        if wanted != kind_of_options and misplaced:
            shown = ", ".join(f"--{name.replace('_', '-')}" for name in misplaced)
            raise LandscapeError(f"{shown} cannot change a {wanted}", mend=f"pass --kind {kind_of_options}")
    maker = importlib.import_module(f".{_KINDS[wanted]}", __package__)
    document, lines = maker.plot(Asked(files, wanted, picture, options))
    say(document, lines, as_json)
