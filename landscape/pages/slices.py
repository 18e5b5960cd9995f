"""Planes as an interactive page: in space and as a map, with their paths, and a slider where there are several."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, rcParams
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.html.markup import Markup, choice, element, plot, slider, warning
from landscape.pages.charts import Chart
from landscape.pages.document import Page
from landscape.render.labels import (
    axis_label,
    caption,
    equal_axes,
    field_label,
    field_name,
    is_share,
    pick,
    shown,
    unit,
)
from landscape.render.look import current
from landscape.render.marks import named_points
from landscape.render.missing_values import gaps, known
from landscape.render.path_fidelity import verdict
from landscape.render.scale import Scale, asked, scale_of
from landscape.render.trajectories import path_colours, the_paths
from landscape.values.surface import Path, Surface

# Stops of a colour scale: more than an eye tells apart.
_STOPS = 32
_SHADES = 8


def slices_page(
    slices: Mapping[str, Surface],
    *,
    field: str | None = None,
    title: str | None = None,
    beside: Sequence[Chart] = (),
) -> Page:
    """A page of one or several slices over a plane.

    Args:
        slices: Name -> slice of two directions; with further axes or repeats every one of their planes is shown.
        field: The field shown first; by default the first.
        title: Above the page.
        beside: Further charts, such as a spectrum.

    Returns:
        The page: turned in space, as a map, on a linear or logarithmic scale, with a slider over the planes.

    Raises:
        LandscapeError: If a slice has one direction only, or lacks the field.
    """
    frames = [frame for name, surface in slices.items() for frame in _frames(name, surface)]
    frames = _by_time(frames)
    first = frames[0][1]
    fields = [name for name in first.fields if all(name in surface for _, surface in frames)]
    chosen = pick(first, field)
    fields.sort(key=lambda name: name != chosen)
    paths = any(surface.path is not None or surface.paths for _, surface in frames)
    data = {
        "frames": [_frame(label, surface, fields) for label, surface in frames],
        "fields": [_field([surface for _, surface in frames], name) for name in fields],
        "axes": [axis_label(first.meta, 0, short=True), axis_label(first.meta, 1, short=True)],
        "equal": equal_axes(first.meta),
        "colours": _colours(),
        "charts": [chart.plain() | {"switch": chart.switch} for chart in beside],
        "turns": [],
    }
    titled = title or current().title or _title(first, fields[0])
    scripts = ("slices.js", *(["charts.js"] if beside else []))
    return Page(
        titled,
        tuple(_body(frames, fields, paths, beside)),
        data,
        scripts,
        caption(first.meta) if len(frames) == 1 else "",
    )


def _frames(name: str, surface: Surface) -> Iterator[tuple[str, Surface]]:
    """Every plane of a slice, with its name."""
    if surface.y is None:
        raise LandscapeError("a plane slice is needed here", got="a line", mend="take curves_page")
    axes = {axis: values for axis, values in surface.axes.items() if axis not in ("x", "y")}
    for place in itertools.product(*axes.values()):
        at = dict(zip(axes, (value.item() for value in place), strict=True))
        words = [f"seed {value}" if axis == "repeat" else f"{axis} = {value:.4g}" for axis, value in at.items()]
        yield ", ".join([name, *words] if name else words), surface.at(**at) if at else surface


def _title(surface: Surface, field: str) -> str:
    problem = surface.meta.get("problem")
    return field_name(field).capitalize() + (f" of {problem}" if problem else "")


def _frame(label: str, surface: Surface, fields: Sequence[str]) -> dict[str, Any]:
    paths = the_paths(surface) if surface.path is not None or surface.paths else {}
    colours = path_colours(paths) if len(paths) > 1 else {}
    done, computed = surface.done, surface.computed
    return {
        "label": label,
        "x": surface.x,
        "y": surface.y,
        "values": {name: _float32(known(surface, shown(surface, name))) for name in fields},
        "errors": {
            name: _float32(surface.standard_errors[name] * (100.0 if is_share(name) else 1.0))
            for name in fields
            if name in surface.standard_errors and np.isfinite(surface.standard_errors[name]).any()
        },
        "done": None if done is None or done.all() else done,
        "computed": None if computed is None or computed.all() else computed,
        "infinite": {name: mask for name in fields if (mask := np.isinf(surface.fields[name])).any()},
        "paths": [_path(name, path, colours.get(name)) for name, path in paths.items()],
        "marks": [list(mark) for mark in named_points(surface)],
        "caption": caption(surface.meta),
    }


def _path(name: str, path: Path, colour: str | None) -> dict[str, Any]:
    numbers = {key: getattr(path, key) for key in ("x", "y", "off_plane", "loss", "plane_loss")}
    return {"name": name, "colour": colour, "step": path.step.astype(np.float64), **numbers}


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32)


def _field(surfaces: Sequence[Surface], name: str) -> dict[str, Any]:
    """The words of a field, and its scales: one for all planes, so that they can be compared."""
    every = [known(surface, shown(surface, name)).ravel() for surface in surfaces]
    values = np.concatenate(every)
    best = asked(values, lambda own, log: scale_of(name, own, log))
    finite = values[np.isfinite(values)]
    scales = {
        "linear": scale_of(name, values, log=False),
        "log": scale_of(name, values, log=True) if finite.size and finite.min() > 0 else None,
        "best": best,
    }
    meta = surfaces[0].meta
    return {
        "name": name,
        "label": field_label(name, meta),
        "unit": "%" if is_share(name) else unit(meta, name.partition("_")[2]),
        "of_path": name.endswith("_loss") and name == next(iter(surfaces[0].fields)),
        **{kind: None if scale is None else _scale(scale) for kind, scale in scales.items()},
    }


def _scale(scale: Scale) -> dict[str, Any]:
    ticks = np.array([scale.low]) if scale.flat else scale.ticks()
    lines = scale.lines()
    return {
        "log": scale.log,
        "low": scale.low,
        "high": scale.high,
        "cut": [scale.under, scale.clipped],
        "ticks": scale.forward(ticks),
        "names": scale.names(ticks),
        "lines": scale.forward(lines),
    }


def _colours() -> list[list[Any]]:
    colours = colormaps[current().cmap or rcParams["image.cmap"]]
    return [[place, to_hex(colours(place))] for place in np.linspace(0, 1, _STOPS).tolist()]


def _body(
    frames: Sequence[tuple[str, Surface]], fields: Sequence[str], paths: bool, beside: Sequence[Chart]
) -> Iterator[Markup]:
    first = frames[0][1]
    said = [verdict(path, first.meta, name) for name, path in _paths(first).items()]
    yield from (element("p", words) for words in said)
    controls: list[Markup] = []
    if len(frames) > 1:
        controls.append(slider("frame", "Training time" if _steps(frames) else "Plane", len(frames)))
    if len(fields) > 1:
        options = (element("option", field_name(name), value=name) for name in fields)
        controls.append(
            element("label", "Field ", element("select", *options, name="field", id="field", autocomplete="off"))
        )
    controls.append(choice("scale", "Scale", {"best": "as suits it", "linear": "linear", "log": "logarithmic"}))
    if paths:
        longest = max(len(path.step) for _, surface in frames for path in _paths(surface).values())
        controls.append(slider("snapshot", "Snapshot", longest, longest - 1))
    yield element("div", *controls, class_="controls")
    words = field_name(fields[0])
    turned = "turned with the pointer or the arrow keys"
    views = [plot("relief", f"Relief of the {words} over the plane, {turned}", keys=True)]
    views.append(plot("map", f"Map of the {words} over the plane with level lines"))
    if paths:
        views.append(plot("losses", "Loss of the snapshots and loss at their projections over the steps"))
        views.append(plot("distance", "Distance of the snapshots from the plane over the steps"))
    yield element("div", *views, class_="views tall")
    yield element("p", "", id="reading", class_="note", aria_live="polite")
    if beside:
        yield element("div", *(chart.markup() for chart in beside), class_="views")
    yield from _doubts(frames, fields)


def _paths(surface: Surface) -> dict[str, Path]:
    return dict(surface.paths) if surface.path is None else {"": surface.path}


def _steps(frames: Sequence[tuple[str, Surface]]) -> list[int]:
    """The steps of planes of several steps of one problem; empty where they differ in something else."""
    steps = [surface.meta.get("step") for _, surface in frames]
    problems = {(surface.meta.get("problem"), surface.meta.get("seed")) for _, surface in frames}
    apart = len(set(steps)) == len(frames) > 1 and None not in steps and len(problems) == 1
    return [int(step) for step in steps if step is not None] if apart else []


def _by_time(frames: list[tuple[str, Surface]]) -> list[tuple[str, Surface]]:
    """Planes of several steps in their order, named by their step; others as they are."""
    steps = _steps(frames)
    if not steps:
        return frames
    ordered = sorted(zip(steps, (surface for _, surface in frames), strict=True), key=lambda pair: pair[0])
    return [(f"step {step}", surface) for step, surface in ordered]


def _doubts(frames: Sequence[tuple[str, Surface]], fields: Sequence[str]) -> Iterator[Markup]:
    """Yield in words what is not drawn."""
    said = [
        f"{label + ': ' if label and len(frames) > 1 else ''}{field_name(name)}, {gap.label} (not drawn)"
        for label, surface in frames
        for name in fields
        for gap in gaps(surface, name)
    ]
    if said:
        yield warning("Points without a value", said[:_SHADES] + (["..."] if len(said) > _SHADES else []))
