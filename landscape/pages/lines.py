"""Values that are lines and points as interactive pages: curves, spectra, embeddings and experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.errors import LandscapeError
from landscape.pages.charts import Array, Chart, Line, charts_page
from landscape.pages.document import Page
from landscape.render.embeddings import stress_words
from landscape.render.labels import (
    axis_label,
    caption,
    field_label,
    field_name,
    is_share,
    parts,
    shown,
    split_name,
    with_notes,
)
from landscape.render.missing_values import known
from landscape.render.scale import LINE_DECADES, wants_log
from landscape.render.spectra import MATRICES, spectrum_words, ticks_of
from landscape.values.embedding import Embedding
from landscape.values.experiment import Experiment
from landscape.values.repeats import band
from landscape.values.spectrum import Spectrum
from landscape.values.surface import Surface

_DASHES = {"train": "solid", "test": "dash", "val": "dashdot"}


def log_of(lines: Sequence[Line]) -> str:
    """The axes that are logarithmic at first: y where the values span more than two decades."""
    values = np.concatenate([np.ravel(line.y) for line in lines])
    return "y" if wants_log(values, LINE_DECADES) else ""


def curve_charts(curves: Mapping[str, Surface], field: str | None = None) -> list[Chart]:
    """A chart for each metric of slices along a line; of repeats the median, with the band of 10 to 90 %.

    Raises:
        LandscapeError: If a slice has more than one direction.
    """
    if any(surface.y is not None for surface in curves.values()):
        raise LandscapeError("a curve is needed here", got="a plane", mend="take slices_page")
    fields = list(dict.fromkeys(name for surface in curves.values() for name in surface.fields))
    metrics = list(dict.fromkeys(parts(name)[1] for name in fields if field is None or name == field))
    return [_curve_chart(curves, metric, [n for n in fields if field in (None, n)]) for metric in metrics]


def _curve_chart(curves: Mapping[str, Surface], metric: str, fields: Sequence[str]) -> Chart:
    lines = []
    for place, (run, surface) in enumerate(curves.items()):
        own = [name for name in fields if parts(name)[1] == metric and name in surface]
        for number, name in enumerate(own):
            split = parts(name)[0]
            words = ", ".join([*([run] if len(curves) > 1 else []), split_name(split)])
            lines.append(_curve_line(surface, name, words, split, place if len(curves) > 1 else number))
    first = next(iter(curves.values()))
    name = next(name for name in fields if parts(name)[1] == metric)
    label = field_label(name, first.meta).removeprefix(split_name(parts(name)[0])).strip()
    return Chart(
        f"chart-{metric}",
        label[:1].upper() + label[1:],
        axis_label(first.meta, 0),
        label,
        tuple(lines),
        log=log_of(lines) if not is_share(name) else "",
    )


def _curve_line(surface: Surface, name: str, words: str, split: str, place: int) -> Line:
    dash = _DASHES.get(split, "dot")
    factor = 100.0 if is_share(name) else 1.0
    if surface.repeat is not None:
        spread = band(surface, name)
        edges = factor * np.stack([spread.low, spread.high])
        words = f"{words}, median of {len(surface.repeat)} lines"
        return Line(words, surface.x, factor * spread.median, dash=dash, place=place, band=edges)
    errors = surface.standard_errors.get(name)
    found = None if errors is None or not np.isfinite(errors).any() else factor * errors
    return Line(words, surface.x, known(surface, shown(surface, name)), error=found, dash=dash, place=place)


def curves_page(curves: Mapping[str, Surface], *, field: str | None = None, title: str | None = None) -> Page:
    """A page of slices along a line.

    Args:
        curves: Name -> slice of one direction.
        field: The only field shown; by default all.
        title: Above the page.
    """
    first = next(iter(curves.values()))
    titled = title or f"Along a line through {first.meta.get('problem') or 'the weights'}"
    return charts_page(titled, curve_charts(curves, field), about=caption(first.meta))


def spectrum_chart(found: Spectrum) -> Chart:
    """The density of eigenvalues over asinh(eigenvalue / linear), with its ends."""

    def across(values: Any) -> Array:
        return np.asarray(np.arcsinh(np.asarray(values, dtype=float) / found.linear))

    density = np.where(found.density > found.floor, found.density, np.nan)
    edges = np.maximum(np.stack([found.densities.min(axis=0), found.densities.max(axis=0)]), found.floor)
    told = [f"eigenvalue {value:.4g}" for value in found.grid]
    lines = [Line("mean of the probes", across(found.grid), density, told=told, band=edges)]
    for name, end in (("largest", found.largest), ("smallest", found.smallest)):
        if end.converged:
            words = [f"{end.value:.6g}, residual {end.residual:.1e}"]
            at = np.array([found.floor])
            lines.append(
                Line(
                    f"{name} {end.value:.4g}".replace("-", "−"),
                    across([end.value]),
                    at,
                    dots="markers",
                    told=words,
                )
            )
    ticks = ticks_of(found.grid, found.linear)
    unit = str(found.meta.get("unit") or "")
    matrix = MATRICES.get(str(found.meta.get("matrix")), "matrix")
    return Chart(
        "spectrum",
        f"Spectrum of the {matrix}",
        with_notes("eigenvalue", unit, "symmetric log scale"),
        "density of eigenvalues",
        tuple(lines),
        log="y",
        x_ticks=dict(zip(across(ticks).tolist(), (f"{tick:g}".replace("-", "−") for tick in ticks), strict=True)),
        caption=spectrum_words(found),
    )


def spectrum_page(found: Spectrum, *, title: str | None = None) -> Page:
    """A page of a spectrum."""
    named = f"Spectrum of {found.meta.get('problem') or 'a model'}"
    return charts_page(title or named, [spectrum_chart(found)])


def embedding_chart(points: Embedding, name: str = "embedding", title: str = "Snapshots") -> Chart:
    """The snapshots of runs as points in the plane or in space, coloured by their loss where it is stored."""
    losses_stored = sorted((one for one in points.metrics if one.endswith("loss")), reverse=True)
    metric = losses_stored[0] if losses_stored else None
    lines = []
    for number, run in enumerate(points.names):
        rows = points.rows(number)
        along = points.coordinates[rows].T
        losses = points.metrics[metric][rows] if metric else None
        known_losses = losses is not None and np.isfinite(losses).all()
        told = [
            f"step {step}"
            + (
                f", {field_name(metric)} {losses[place]:.4g}"
                if known_losses and losses is not None and metric
                else ""
            )
            for place, step in enumerate(points.steps[rows])
        ]
        lines.append(
            Line(
                run,
                along[0],
                along[1],
                z=along[2] if points.dims > 2 else None,
                dots="lines+markers",
                told=told,
                shade=np.log10(losses) if _coloured(points, metric, losses) and losses is not None else None,
            )
        )
    return Chart(
        name,
        title,
        "first coordinate",
        "second coordinate",
        tuple(lines),
        switch=False,
        equal=True,
        caption=stress_words(points),
        shade=f"{field_name(metric)} (log10)" if metric else "",
    )


def _coloured(points: Embedding, metric: str | None, losses: Array | None) -> bool:
    """Colours tell the loss of a lone run; of several they tell the run."""
    return losses is not None and len(points.names) == 1 and bool((losses > 0).all()) and metric is not None


def embedding_page(found: Mapping[str, Embedding], *, title: str | None = None) -> Page:
    """A page of embeddings, each of a layer or of all."""
    first = next(iter(found.values()))
    charts = [
        embedding_chart(points, f"embedding-{place}", layer[:1].upper() + layer[1:])
        for place, (layer, points) in enumerate(found.items())
    ]
    named = f"Distances between snapshots of {first.meta.get('problem') or ', '.join(first.names)}"
    about = f"{first.meta.get('method')} multidimensional scaling of {first.meta.get('dissimilarity')} distances"
    return charts_page(title or named, charts, about=about)


def experiment_page(found: Sequence[Experiment], *, title: str | None = None) -> Page:
    """A page of experiments: closed forms as lines, what was computed as dots."""
    charts = [
        Chart(
            f"experiment-{place}",
            one.title,
            one.x_label,
            one.y_label.replace(" (log scale)", ""),
            tuple(
                Line(s.name, s.x, s.y, error=s.error, dots="lines" if s.line else "markers") for s in one.series
            ),
            log=one.log,
            caption=one.about,
        )
        for place, one in enumerate(found)
    ]
    return charts_page(title or found[0].title, charts)


def recorded_charts(runs: Mapping[str, Any], names: Sequence[str] = ()) -> list[Chart]:
    """A chart for each number that runs recorded, over the steps.

    Args:
        runs: Name -> what has steps and metrics.
        names: Which numbers; by default the loss, the error and all others but the count of gradients.
    """
    fields = list(dict.fromkeys(name for run in runs.values() for name in run.metrics))
    metrics = list(dict.fromkeys(_metric(name) for name in fields if name != "gradient_evaluations"))
    charts: list[Chart] = []
    for metric in names or sorted(metrics, key=lambda one: {"loss": 0, "error": 1}.get(one, 2)):
        lines = [
            Line(
                ", ".join(
                    [*([run] if len(runs) > 1 else []), split_name(parts(name)[0]) or metric.replace("_", " ")]
                ),
                own.steps.astype(float),
                own.metrics[name] * (100.0 if is_share(name) else 1.0),
                dots="lines+markers",
                dash=_DASHES.get(parts(name)[0], "solid"),
                place=place if len(runs) > 1 else None,
            )
            for place, (run, own) in enumerate(runs.items())
            for name in fields
            if _metric(name) == metric and name in own.metrics and len(own.steps) > 1
        ]
        if lines:
            words = metric.replace("_", " ") + (" (%)" if is_share(f"train_{metric}") else "")
            titled = words[:1].upper() + words[1:]
            charts.append(
                Chart(
                    f"metric-{len(charts)}", titled, "step", words, tuple(lines), log=_unless_share(metric, lines)
                )
            )
    if not charts:
        raise LandscapeError("there is nothing to draw", got="no run with metrics at two snapshots or more")
    return charts


def _unless_share(metric: str, lines: Sequence[Line]) -> str:
    return "" if is_share(f"train_{metric}") else log_of(lines)


def _metric(name: str) -> str:
    """The metric of a recorded number: that of all splits, or itself."""
    return parts(name)[1] if parts(name)[0] in _DASHES else name


def recorded_page(runs: Mapping[str, Any], names: Sequence[str] = (), *, title: str | None = None) -> Page:
    """A page of what runs recorded while they trained."""
    return charts_page(title or "What was recorded", recorded_charts(runs, names))
