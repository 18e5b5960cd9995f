"""Profiles of measures over the size of the noise: one panel for each number, one colour for each network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from landscape.errors import LandscapeError
from landscape.render import style as looks
from landscape.render.labels import DOT, fit_label, inches, points, put_foot, with_notes
from landscape.render.legend import legend_above
from landscape.render.log_axes import make_logarithmic
from landscape.render.palette import mark_of, run_colours
from landscape.render.scale import LINE_DECADES, Array, wants_log
from landscape.render.style import ONE_COLUMN, TWO_COLUMNS, Sheet

if TYPE_CHECKING:
    from landscape.values.profile import Profile

_BAND = 0.25
# Panels beside each other; more make another row.
_COLUMNS = 3
_HEIGHT = 2.2
_NAMES = {"sigma": "size of the noise σ", "gamma": "γ"}
# What is drawn over decades.
_WIDTHS = ("gamma",)


def profiles(found: Mapping[str, Sequence[Profile]], *, about: str = "", style: str | None = None) -> Sheet:
    """Draw the profiles of local energy over sigma and of local entropy over gamma.

    Bands are plus and minus one standard error. Where draws do not suffice there is a gap, with a cross at the
    foot. A local energy is 0 without noise, and its curves begin there.

    Args:
        found: Name of a network -> its profiles, as `landscape.measures.profiles_of` gives them. Measured
            with one seed, all networks get the same noise.
        about: Words for the foot, before how the profiles were taken.
        style: ``"paper"``, ``"talk"`` or ``"dark"``; by default that of the look in use.

    Returns:
        A new figure.

    Raises:
        LandscapeError: If there is no profile.

    Source:
        Pittorino et al. 2021, of local energy.

    Example:
        >>> measured = measure(objective, run[-1], ["local_energy"])  # doctest: +SKIP
        >>> profiles({"sgd": profiles_of(measured)}).savefig("profile.pdf")  # doctest: +SKIP
    """
    panels: dict[tuple[str, str], dict[str, Profile]] = {}
    for name, own in found.items():
        for profile in own:
            panels.setdefault((profile.measure, profile.title), {})[name] = profile
    if not panels:
        raise LandscapeError("there is nothing to draw", got="no profile")
    across = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // across)
    sheet = Sheet.grown(
        ONE_COLUMN if across == 1 else TWO_COLUMNS, _HEIGHT * rows, None if style is None else looks.get(style)
    )
    with sheet.styled():
        colours = run_colours(list(found)).items()
        drawn = {name: (colour, mark_of(place)) for place, (name, colour) in enumerate(colours)}
        axes = sheet.subplots(rows, across, squeeze=False).ravel()
        said: set[str] = set()
        heads = [_draw(ax, panel, drawn, said) for ax, panel in zip(axes, panels.values(), strict=False)]
        for ax in axes[len(panels) :]:
            ax.remove()
        put_foot(sheet, _foot(about, panels.values()))
        # Legends take no height from the curves.
        legends = sum(max(heads[row * across : (row + 1) * across]) for row in range(rows))
        sheet.set_figheight(sheet.get_figheight() + legends / 72)
    return sheet


def _foot(about: str, panels: Iterable[Mapping[str, Profile]]) -> str:
    said = [
        f"{one.measure.replace('_', ' ')}: {one.about}" for panel in panels for one in panel.values() if one.about
    ]
    return DOT.join(part for part in (about, *dict.fromkeys(said)) if part)


def _draw(ax: Axes, panel: Mapping[str, Profile], looks: Mapping[str, tuple[str, str]], said: set[str]) -> float:
    """One panel; its legend says what none before has said. Returns about how high that is, in points."""
    first = next(iter(panel.values()))
    log = first.setting in _WIDTHS
    handles: list[Artist] = []
    lost = 0
    for rank, (name, profile) in enumerate(panel.items()):
        handles.append(_curve(ax, profile, *looks[name], name))
        missing = profile.at[np.isnan(profile.values)]
        lost += len(missing)
        look: dict[str, Any] = {"color": looks[name][0], "ls": "none", "ms": 3.5, "mew": 0.8}
        foot = np.full(len(missing), 0.03 + 0.05 * rank)
        ax.plot(missing, foot, "x", transform=ax.get_xaxis_transform(), **look)
    grey = mpl.rcParams["axes.labelcolor"]
    own: list[Artist] = handles if len(panel) > 1 else []
    own.append(Patch(color=grey, alpha=_BAND, lw=0, label="± standard error"))
    if lost:
        own.append(Line2D([], [], marker="x", ls="none", ms=3.5, color=grey, label="draws do not suffice"))
    decades = False
    if log:
        make_logarithmic(ax.xaxis)
        decades = _spread(ax, np.concatenate([one.values for one in panel.values()]))
    ax.axhline(0.0, color=grey, lw=0.5, ls=":", zorder=1)
    ax.spines[["top", "right"]].set_visible(False)
    width, height = inches(ax)
    ax.set_xlabel(with_notes(_NAMES[first.setting], "log scale" if log else ""))
    unit = "%" if first.unit == "1" else first.unit
    scaled = with_notes(first.title, unit, "log scale" if decades else "")
    ax.set_ylabel(fit_label(scaled, height, points(ax.yaxis.label)))
    fresh = [handle for handle in own if handle.get_label() not in said]
    said.update(str(handle.get_label()) for handle in own)
    return legend_above(ax, fresh, width)


def _spread(ax: Axes, values: Array) -> bool:
    """Draw values below 0 that span decades by the logarithm of their size; whether they do."""
    sizes = -values[np.isfinite(values)]
    if not wants_log(sizes, LINE_DECADES):
        return False
    # Linear beyond the end of the axis only: in sight it is a plain logarithm.
    ax.set_yscale("symlog", linthresh=float(sizes.min()) / 10)
    ax.set_ylim(-2 * float(sizes.max()), -float(sizes.min()) / 2)
    return True


def _curve(ax: Axes, profile: Profile, colour: str, marker: str, label: str) -> Artist:
    percent = 100.0 if profile.unit == "1" else 1.0
    at, values, errors = profile.at, percent * profile.values, percent * profile.standard_errors
    if profile.setting not in _WIDTHS:
        # Without noise nothing rises: no draw is needed for that.
        at, values, errors = (np.concatenate(([0.0], numbers)) for numbers in (at, values, errors))
    look: dict[str, Any] = {"ms": 2.5, "lw": 1.0, "color": colour, "label": label}
    curve = ax.plot(at, values, f"{marker}-", **look)[0]
    ax.fill_between(at, values - errors, values + errors, color=colour, alpha=_BAND, lw=0, zorder=1.5)
    return curve
