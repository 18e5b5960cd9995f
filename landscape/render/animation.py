"""Moving pictures: a path as it runs over its surface, a surface as it changes, and their files."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray
from PIL import Image

from landscape.errors import LandscapeError
from landscape.render.contours import colour_scale, map_height, paint, plane_field
from landscape.render.labels import drawn, put_caption, shown
from landscape.render.legend import legend_above
from landscape.render.look import current
from landscape.render.marks import dot
from landscape.render.missing_values import known
from landscape.render.palette import END
from landscape.render.pictures import picture
from landscape.render.scale import asked, scale_of
from landscape.render.style import TWO_COLUMNS, Sheet, pale
from landscape.render.trajectories import path_colours, put_panels, the_paths
from landscape.storage import atomic_path

if TYPE_CHECKING:
    from landscape.values.surface import Surface

ANIMATED = (".gif", ".mp4")
Frame = NDArray[np.uint8]
# Dots across, unless the look says how many there are in an inch.
_ACROSS = 700
# More frames make larger files, not a better idea of the motion.
MOST_FRAMES = 48
# Milliseconds of a frame, and of the last one, on which the eye rests.
_EACH, _LAST = 120, 1600
# Of a GIF, which mail and pages take; a larger one is made smaller.
_MOST_BYTES, _SMALLER, _TRIES = 5_000_000, 0.8, 8


def evenly(count: int, most: int = MOST_FRAMES) -> list[int]:
    """Indices of at most so many things out of `count`, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def count_of(surface: Surface) -> int:
    """The number of frames of the paths of a surface."""
    steps = np.unique(np.concatenate([path.step for path in the_paths(surface).values()]))
    return len(evenly(len(steps)))


def path_frames(surface: Surface, field: str | None = None, *, lines: bool = False) -> Iterator[Frame]:
    """Draw a path, or several, as they run over their surface; beside it a line marks the step.

    Args:
        surface: A 2-D slice with a path or several.
        field: ``"<split>_<metric>"``; by default the first.
        lines: Draw level lines only, without colours.

    Yields:
        Pictures of shape (height, width, 3), one for each of at most `MOST_FRAMES` steps.

    Raises:
        LandscapeError: If the slice is not over a plane, or has no path.
    """
    name, paths = plane_field(surface, field), the_paths(surface)
    sheet = Sheet.grown(TWO_COLUMNS, max(3.3, 0.35 + map_height(surface, 0.56 * TWO_COLUMNS)))
    with sheet.styled():
        axes = put_panels(surface, sheet)
        cmap = pale(mpl.rcParams["image.cmap"])
        scale = colour_scale(surface, name)
        legend_above(axes["map"], paint(axes["map"], surface, name, scale=scale, cmap=cmap, lines=lines))
        put_caption(sheet, drawn(surface.meta, name))
        ink = mpl.rcParams["axes.labelcolor"]
        marks = [axes[one].axvline(0, color=ink, lw=0.8, animated=True) for one in ("off", "loss")]
        casing = [Stroke(linewidth=2.8, foreground="white", alpha=0.8), Normal()]
        colours = path_colours(paths)
        look: dict[str, Any] = {"lw": 1.3, "zorder": 5, "path_effects": casing, "animated": True}
        tails = [axes["map"].plot([], [], color=colours[run], **look)[0] for run in paths]
        heads = [dot(axes["map"], np.nan, np.nan, END) for _ in paths]
        words = axes["map"].text(
            0.02, 0.98, "", transform=axes["map"].transAxes, va="top", color="black", animated=True, zorder=7
        )
        words.set_path_effects([Stroke(linewidth=2.5, foreground="white"), Normal()])
    canvas = _canvas(sheet)
    for head in heads:
        head.set_animated(True)
    canvas.draw()
    ground = canvas.copy_from_bbox(sheet.bbox)
    steps = np.unique(np.concatenate([path.step for path in paths.values()]))
    for place in evenly(len(steps)):
        step = steps[place]
        for path, tail, head in zip(paths.values(), tails, heads, strict=True):
            upto = path.step <= step
            tail.set_data(path.x[upto], path.y[upto])
            head.set_data(path.x[upto][-1:], path.y[upto][-1:])
        for mark in marks:
            mark.set_xdata([step, step])
        words.set_text(f"step {step}")
        canvas.restore_region(ground)
        with sheet.styled():
            for artist in (*tails, *heads, *marks, words):
                sheet.draw_artist(artist)
        yield _pixels(canvas)


def surface_frames(
    surfaces: Sequence[Surface], field: str | None = None, *, view: str = "contour"
) -> Iterator[Frame]:
    """Draw a surface as it changes, all on one scale.

    Args:
        surfaces: The slices, in order.
        field: ``"<split>_<metric>"``; by default the first.
        view: As for `picture`.

    Yields:
        Pictures of shape (height, width, 3), one for each slice.
    """
    name = plane_field(surfaces[0], field)
    values = np.concatenate([known(one, shown(one, name)).ravel() for one in surfaces])
    scale = asked(values, lambda held, log: scale_of(name, held, log))
    look = current().given(log=scale.log)
    if not scale.flat:
        look = look.given(vmin=scale.low, vmax=scale.high)
    for surface in surfaces:
        step = surface.meta.get("step")
        titled = look if look.title is not None or step is None else look.given(title=f"Step {step}")
        with titled.applied():
            yield _drawn(picture(surface, field=name, view=view))


def _drawn(figure: Figure) -> Frame:
    canvas = _canvas(figure)
    canvas.draw()
    return _pixels(canvas)


def _canvas(figure: Figure) -> FigureCanvasAgg:
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(current().dpi or _ACROSS / figure.get_figwidth())
    return canvas


def _pixels(canvas: FigureCanvasAgg) -> Frame:
    return np.array(canvas.buffer_rgba())[..., :3].copy()


def require_animation(path: Path) -> None:
    """Check that an animation can be written.

    Raises:
        LandscapeError: If it is an MP4 and ffmpeg is missing.
    """
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise LandscapeError("ffmpeg is not installed", where=path, mend="install it, or write a .gif")


def save_animation(
    frames: Iterator[Frame], path: Path, *, total: int, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write frames to a file: whole or not at all.

    Args:
        frames: Pictures of one size; smaller ones are put in the middle of the largest.
        path: Ends in .gif (at most 5 MB, made smaller until it is) or .mp4, which takes ffmpeg.
        total: How many there are.
        progress: Called with (frames drawn, frames in all).

    Returns:
        The path.

    Raises:
        LandscapeError: If ffmpeg is missing or fails, or the file cannot be written.
    """
    require_animation(path)
    held = []
    for frame in frames:
        held.append(frame)
        if progress is not None:
            progress(len(held), total)
    shape = np.max([frame.shape for frame in held], axis=0)
    pictures = [Image.fromarray(_padded(frame, shape)) for frame in held]
    with atomic_path(path) as draft:
        (_write_mp4 if path.suffix.lower() == ".mp4" else _write_gif)(pictures, draft)
    return path


def _padded(frame: Frame, shape: NDArray[np.int64]) -> Frame:
    """A frame on ground of its own corner's colour."""
    ground = np.broadcast_to(frame[0, 0], tuple(shape)).copy()
    top, left = (shape[:2] - frame.shape[:2]) // 2
    ground[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return ground


def _write_gif(pictures: list[Image.Image], path: Path) -> None:
    for _ in range(_TRIES):
        # One palette for all: colours of a map do not flicker then.
        few = [pictures[place] for place in evenly(len(pictures), 4)]
        sample = Image.fromarray(np.concatenate([np.asarray(one) for one in few]))
        palette = sample.quantize(256)
        flat = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
        times = [_EACH] * (len(flat) - 1) + [_LAST]
        flat[0].save(path, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0)
        if path.stat().st_size <= _MOST_BYTES:
            return
        size = tuple(max(1, math.floor(_SMALLER * length)) for length in pictures[0].size)
        pictures = [one.resize((size[0], size[1]), Image.Resampling.LANCZOS) for one in pictures]


def _write_mp4(pictures: list[Image.Image], path: Path) -> None:
    width, height = (length - length % 2 for length in pictures[0].size)
    rest = [pictures[-1]] * round((_LAST - _EACH) / _EACH)
    numbers = b"".join(one.crop((0, 0, width, height)).tobytes() for one in [*pictures, *rest])
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{1000 / _EACH:g}"]
    # Players of browsers want 4:2:0; without dates the file is the same every day.
    target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart", "-bitexact"]
    command = ["ffmpeg", "-loglevel", "error", "-y", *source, "-i", "-", *target, "-f", "mp4", str(path)]
    done = subprocess.run(command, input=numbers, capture_output=True, check=False)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise LandscapeError("ffmpeg could not write the animation", got=last, mend="write a .gif")
