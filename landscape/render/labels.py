"""The words on a picture: names of fields and axes with their units, and the caption at its foot."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.text import Text

from landscape.errors import LandscapeError, did_you_mean
from landscape.render.look import current
from landscape.render.scale import SHARES, Array

if TYPE_CHECKING:
    from landscape.values.surface import Surface

Page = Figure | SubFigure

_SPLITS = {"train": "training", "val": "validation"}
DOT = " · "
_PLANES = {
    "random": "random {}",
    "pca": "PCA {}",
    "common": "common PCA {}",
    "snapshots": "{} through snapshots",
    "custom": "custom {}",
    "hessian": "{} along Hessian eigenvectors",
    "gradient-update": "{} along gradient and last update",
}
_NORMS = {
    "filter": "filter-normalised",
    "layer": "layer-normalised",
    "weight": "weight-normalised",
    "none": "not normalised",
}
_METRICS = {
    "hessian_ratio": "Hessian |λmin / λmax|",
    "hessian_min": "Hessian λmin",
    "hessian_max": "Hessian λmax",
}
# Mean advance of a letter of the sans-serif fonts in use, in units of the type size (measured: 0.50-0.56).
_LETTER = 0.55
# Lines of fewer letters are no text any more.
_FEWEST = 16


def parts(field: str) -> tuple[str, str]:
    """The split and the metric in the name of a field.

    Example:
        >>> parts("train_loss")
        ('train', 'loss')
    """
    split, _, metric = field.partition("_")
    return (split, metric) if metric else ("", split)


def pick(surface: Surface, field: str | None) -> str:
    """The field to draw: the one asked for, or the first.

    Raises:
        LandscapeError: If the surface has no such field, or none at all.
    """
    if not surface.fields:
        raise LandscapeError("the surface has no values to draw")
    if field is None:
        return next(iter(surface.fields))
    if field not in surface.fields:
        raise LandscapeError(f"the surface has no field '{field}'", mend=did_you_mean(field, surface.fields))
    return field


def shown(surface: Surface, field: str) -> Array:
    """The values of a field as they are read: shares of 1 in percent, everything else unchanged."""
    return surface.fields[field] * (100.0 if is_share(field) else 1.0)


def is_share(field: str) -> bool:
    """Return whether a field holds shares of 1."""
    return parts(field)[1] in SHARES


def unit(meta: Mapping[str, Any], metric: str) -> str:
    """The unit in which a metric is shown; empty where the file names none."""
    return "%" if metric in SHARES else str((meta.get("units") or {}).get(metric) or "")


def split_name(split: str) -> str:
    """The split as an adjective: ``"training"``, ``"test"``."""
    return _SPLITS.get(split, split)


def field_label(field: str, meta: Mapping[str, Any], *, log: bool = False) -> str:
    """Label the values of a field, with unit and scale.

    Args:
        field: ``"<split>_<metric>"``.
        meta: Of the surface.
        log: Whether they are drawn on a logarithmic scale.

    Returns:
        The label.

    Example:
        >>> field_label("train_loss", {"units": {"loss": "nats"}}, log=True)
        'training loss (nats, log scale)'
        >>> field_label("test_error", {})
        'test error (%)'
    """
    split, metric = parts(field)
    name = f"{meta.get('statistic') or ''} {split_name(split)} {metric_name(metric, meta)}".strip()
    if metric in (meta.get("titles") or {}):
        # A measure has a name of its own; on which data it is taken stands in the caption.
        name = metric_name(metric, meta)
    return with_notes(name, unit(meta, parts(field)[1]), "log scale" if log else "")


def metric_name(metric: str, meta: Mapping[str, Any]) -> str:
    """A metric in words: as the file has it, or by its name."""
    return str((meta.get("titles") or {}).get(metric) or _METRICS.get(metric, metric.replace("_", " ")))


def field_name(field: str) -> str:
    """A field in words: ``"training loss"``."""
    split, metric = parts(field)
    return f"{split_name(split)} {metric_name(metric, {})}".strip()


def with_notes(name: str, *notes: str) -> str:
    """A name followed by those of the notes that are not empty, in one pair of brackets."""
    notes = tuple(note for note in notes if note)
    return f"{name} ({', '.join(notes)})" if notes else name


def axis_label(meta: Mapping[str, Any], index: int, *, short: bool = False) -> str:
    """Label one axis of the slice, with its unit; for a principal component, its share and the null's.

    Args:
        meta: Of the surface; `plane.null_ratio` is what a pure random walk of the same length explains.
        index: 0 for x, 1 for y.
        short: Leave the shares out, where there is no room for them.

    Returns:
        The label.

    Example:
        >>> plane = {"kind": "pca", "explained_variance_ratio": [0.878], "null_ratio": [0.608]}
        >>> axis_label({"plane": plane}, 0)
        'PC 1 (87.8 % of variance; random walk 60.8 %)'
    """
    axes = meta.get("axes") or []
    own = axes[index] if index < len(axes) else {}
    plane = meta.get("plane") or {}
    measure = str(own.get("unit") or "")
    if plane.get("kind") != "pca":
        return with_notes(str(own.get("label") or f"direction {index + 1}"), measure)
    if short:
        return with_notes(f"PC {index + 1}", measure)
    name = f"PC {index + 1}" + (f", {measure}" if measure else "")
    share, null = (_at(plane.get(key), index) for key in ("explained_variance_ratio", "null_ratio"))
    if share is None:
        return name
    walk = "" if null is None else f"; random walk{'s' * bool(plane.get('runs'))} {100 * null:.1f} %"
    return f"{name} ({100 * share:.1f} % of variance{walk})"


def _at(values: Any, index: int) -> float | None:
    return float(values[index]) if values is not None and index < len(values) else None


def centre_label(meta: Mapping[str, Any]) -> str:
    """Label the origin of the slice; a step 0 is before all training."""
    step = meta.get("step")
    return "weights at step 0" if step == 0 else "trained weights" + ("" if step is None else f" (step {step})")


def equal_axes(meta: Mapping[str, Any]) -> bool:
    """Return whether x and y have one scale: as the file says, or where both units agree."""
    if meta.get("equal_aspect") is not None:
        return bool(meta["equal_aspect"])
    units = [axis.get("unit") for axis in meta.get("axes") or []]
    return len(units) >= 2 and bool(units[0]) and units[0] == units[1]


def caption(meta: Mapping[str, Any]) -> str:
    """One line that says what a picture was made from, for its foot.

    Args:
        meta: Of the surface; what is missing is left out.

    Returns:
        The line; empty where nothing is known.

    Example:
        >>> caption({"problem": "digits-mlp", "step": 1800, "seed": 0, "bn": "frozen", "dtype": "float64"})
        'digits-mlp · step 1800 · training seed 0 · BatchNorm frozen · float64'
    """
    return DOT.join(caption_parts(meta))


def caption_parts(meta: Mapping[str, Any]) -> list[str]:
    """The parts of a caption, without those that are not known."""
    said = [
        str(meta.get("problem") or ""),
        _when(meta),
        _plane_words(meta),
        _told(meta, "seed", "training seed {}"),
        _data_words(meta),
        _told(meta, "bn", "BatchNorm {}"),
        str(meta.get("dtype") or ""),
        preview_words(meta),
    ]
    return [part for part in said if part]


def _data_words(meta: Mapping[str, Any]) -> str:
    """Which data, and how many of their examples if not all."""
    splits = [str(split) for split in meta.get("splits") or []]
    counts = meta.get("examples") or {}
    cut = [s for s in splits if isinstance(counts.get(s), Mapping) and counts[s]["used"] < counts[s]["available"]]
    if cut:
        said = [f"{counts[s]['used']:,} of {counts[s]['available']:,} {split_name(s)}" for s in cut]
        return " + ".join([*said, *(f"all {split_name(s)}" for s in splits if s not in cut)]) + " examples"
    return " + ".join(map(split_name, splits)) + " data" if splits else ""


def preview_words(meta: Mapping[str, Any]) -> str:
    """Describe how much of a slice is interpolated and how well, or how coarse it is; empty where it is neither.

    Example:
        >>> report = {"computed": 212, "points": 2601, "kept_aside": 36, "reported_error": 6e-3}
        >>> preview_words({"preview": report | {"judge": "train_loss"}}).partition("; ")[2]
        'error of the training loss on 36 kept-aside points at most 0.6 %'
    """
    if coarse := meta.get("coarse"):
        return f"coarse: {coarse['computed']:,} of {coarse['points']:,} points so far"
    report = meta.get("preview") or {}
    if not report or report["computed"] == report["points"]:
        return ""
    return (
        f"preview: {100 * report['computed'] / report['points']:.2g} % of points computed, the rest interpolated; "
        f"error of the {field_name(report['judge'])} on {report['kept_aside']} kept-aside points "
        f"at most {100 * report['reported_error']:.2g} %"
    )


def _told(meta: Mapping[str, Any], key: str, words: str) -> str:
    return "" if meta.get(key) is None else words.format(meta[key])


def _when(meta: Mapping[str, Any]) -> str:
    known = meta.get("epoch") is not None and math.isfinite(float(meta["epoch"]))
    epoch = f" (epoch {meta['epoch']:.4g})" if known else ""
    return "" if meta.get("step") is None else f"step {meta['step']}{epoch}"


def _plane_words(meta: Mapping[str, Any]) -> str:
    plane = meta.get("plane") or {}
    kind = plane.get("kind")
    if not kind:
        return ""
    shape = "line" if meta.get("kind") == "curve" else "plane"
    known = "common" if plane.get("runs") else kind
    said = [_repeat_words(meta, _PLANES.get(known, f"{known} {{}}").format(shape), plane.get("repeats"))]
    # A PCA or snapshot plane has unit or given vectors; "not normalised" would only raise a question there.
    norm = plane.get("normalize")
    if norm and (norm != "none" or kind == "random"):
        said.append(_NORMS.get(norm, f"{norm}-normalised"))
        if kind == "random" and plane.get("one_d") == "ignore":
            said.append("1-D weights fixed")
    if kind == "random" and plane.get("seed") is not None:
        last = plane["seed"] + (plane.get("repeats") or 1) - 1
        said.append(
            f"direction seeds {plane['seed']}–{last}" if plane.get("repeats") else f"direction seed {last}"
        )
    if kind == "pca" and plane.get("explained_variance_ratio"):
        said.append(_held(plane))
    # Directions this far from orthogonal visibly shear what is drawn on square axes.
    if abs(plane.get("cosine") or 0.0) > 0.1:
        said.append(f"directions at cosine {plane['cosine']:.2f}")
    said += [f"{place['label']} at {place['value']:.4g}" for place in meta.get("at") or []]
    return ", ".join(said)


def _repeat_words(meta: Mapping[str, Any], plane: str, repeats: int | None) -> str:
    """``"median of 20 random planes"``."""
    if not repeats:
        return plane
    many = f"{repeats} {plane}s"
    return f"{meta['statistic']} of {many}" if meta.get("statistic") else many


def _held(plane: Mapping[str, Any]) -> str:
    share, null = (sum((plane.get(key) or [])[:2]) for key in ("explained_variance_ratio", "null_ratio"))
    return f"{100 * share:.1f} % of variance" + (f" (random walk {100 * null:.1f} %)" if null else "")


def drawn(meta: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Narrow the metadata of a slice to the one field that is drawn of it."""
    return {**meta, "splits": [parts(field)[0]]} if meta.get("splits") else dict(meta)


def put_caption(fig: Page, meta: Mapping[str, Any]) -> None:
    """Set the caption at the foot of a figure, where the layout keeps room for it."""
    put_foot(fig, caption(meta))


def put_foot(fig: Page, text: str) -> None:
    """Set the words of the look in use and a text at the foot of a figure, where the layout keeps room for it."""
    words = current().words
    text = "" if words == "" else "\n".join(part for part in (words, text) if part)
    if text and not current().no_caption:
        label = fig.supxlabel("", x=0.01, ha="left", linespacing=1.3)
        label.set_text(fit_lines(text, inches(fig)[0], points(label)))


def fit_lines(text: str, width: float, size: float) -> str:
    """Break each line of a text as `fit` does."""
    return "\n".join(fit(line, width, size) for line in text.split("\n"))


def fit(text: str, width: float, size: float) -> str:
    """Break a text into lines that are no wider than so many inches at a type size in points."""
    # A no-break space keeps textwrap from parting a number from its per cent sign; drawn is an ordinary one.
    glued, letters = text.replace(" %", "\u00a0%"), _letters(width, size)
    while True:
        lines = textwrap.wrap(glued, letters, break_long_words=True, break_on_hyphens=False)
        widest = max((advance(line, size) for line in lines), default=0.0)
        if widest <= width or letters <= _FEWEST:
            return "\n".join(lines).replace("\u00a0", " ")
        letters = max(_FEWEST, min(letters - 1, int(letters * width / widest)))


def advance(text: str, size: float) -> float:
    """Inches that a line of text takes in the font of the style."""
    font = get_font(findfont(FontProperties(family=mpl.rcParams["font.family"])))
    font.set_size(size, 72)
    font.set_text(text, 0.0, LoadFlags.NO_HINTING)
    return float(font.get_width_height()[0]) / 64 / 72


def fit_label(text: str, width: float, size: float) -> str:
    """Break the label of an axis where it is too long: before its brackets, then after a semicolon within."""
    letters = _letters(width, size)
    name, bracket, notes = text.partition(" (")
    if len(text) <= letters or not bracket:
        return fit(text, width, size)
    lines = [name, f"({notes}"]
    if len(lines[1]) > letters:
        first, semicolon, rest = lines[1].partition("; ")
        lines = [name, f"{first};", rest] if semicolon else lines
    return "\n".join(fit(line, width, size) for line in lines)


def _letters(width: float, size: float) -> int:
    return max(_FEWEST, int(width * 72 / (_LETTER * size)))


def points(text: Text) -> float:
    """The type size of a text, in points."""
    return float(text.get_fontproperties().get_size_in_points())


def page(thing: Axes | Page) -> Figure:
    """The figure that axes belong to, also from within a subfigure; of a figure the whole of it."""
    figure = thing.get_figure(root=True)
    if figure is None:
        raise LandscapeError("these axes belong to no figure", mend="make them with add_subplot")
    return figure


def inches(thing: Axes | Page) -> tuple[float, float]:
    """Width and height of axes or a figure, in inches; of axes with equal units, of what these leave of them."""
    box = thing.bbox
    dpi = float(page(thing).dpi)
    width, height = float(box.width) / dpi, float(box.height) / dpi
    if isinstance(thing, Axes) and thing.get_aspect() != "auto":
        ratio = float(thing.get_data_ratio())
        width, height = min(width, height / ratio), min(height, width * ratio)
    return width, height


def name_axes(ax: Axes, meta: Mapping[str, Any]) -> None:
    """Write what x and y of a plane are beside the axes, broken into lines where they are long."""
    width, height = inches(ax)
    size = points(ax.xaxis.label)
    ax.set_xlabel(fit_label(axis_label(meta, 0), max(width, 1.5), size))
    # The layout will take some of the height; in a very flat map a label may stand out above and below.
    ax.set_ylabel(fit_label(axis_label(meta, 1), max(0.85 * height, 1.2), size))
