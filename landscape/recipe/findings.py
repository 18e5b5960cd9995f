"""Findings of a picture, in sentences made from its numbers: another picture has other sentences. NumPy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landscape.plots.alignment_words import BARRIER, gains_in_words
from landscape.storage import read_arrays
from landscape.values.edge import SHARPNESSES, THRESHOLD
from landscape.values.embedding import square

Numbers = Mapping[str, NDArray[np.float64]]

# A loss that has risen by so much (in its own unit) from its lowest value has left the valley.
_RISE = 0.1
# A sharpness whose median is so near to its threshold, relative, is at the edge of stability.
_NEAR = 0.25


def findings_of(numbers: Numbers) -> list[str]:
    """Sentences about curves, mixtures, optimizers, alignments and embeddings, from the numbers drawn.

    Args:
        numbers: ``panel/run/entry`` -> array, as beside the picture.

    Returns:
        A sentence for each run of each panel of these kinds, in the order of the panels.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 21)
        >>> findings_of({"0/run/x": x, "0/run/train_loss": 9 * x**2})
        ['(a) `run`: lowest training loss 0 at 0, less than 0.1 above it over a width of 0.2.']
    """
    runs: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
    for name, values in numbers.items():
        panel, _, rest = name.partition("/")
        run, _, entry = rest.rpartition("/")
        if run:
            runs.setdefault((panel, run), {})[entry] = np.asarray(values)
    # Every embedding has axes of its own, and all runs of another panel share one.
    axes = [(int(panel), run if "coordinates" in own else "") for (panel, run), own in runs.items()]
    order = sorted(dict.fromkeys(axes), key=lambda place: place[0])
    letters = {place: chr(ord("a") + number) for number, place in enumerate(order)}
    return [
        f"({letters[place]}) `{run}`: {sentence}"
        for place, ((_, run), own) in zip(axes, runs.items(), strict=True)
        for sentence in _sentences(own)
    ]


def findings_in(file: Path) -> list[str]:
    """The same of a file of numbers; none where there is no file."""
    if not file.is_file():
        return []
    return findings_of(read_arrays(file))


def _sentences(own: Numbers) -> Iterator[str]:
    loss = own.get("train_loss")
    # The steps of a training begin at 0; a line goes to both sides.
    if loss is not None and "x" in own and loss.ndim == 1 and loss.shape == own["x"].shape and own["x"][0] < 0:
        yield _valley(own["x"], loss)
    if {"error", "m", "q"} <= own.keys() and own["error"].ndim == 1:
        error = own["error"]
        best = int(np.nanargmin(error))
        yield (
            f"error {_share(error[0])} at first, {_share(error[best])} at best (point {best} of "
            f"{len(error) - 1}), {_share(error[-1])} at the end."
        )
    seen = next((name for name in SHARPNESSES if name in own), None)
    if seen is not None and THRESHOLD in own:
        with np.errstate(divide="ignore", invalid="ignore"):
            yield _edge(own[seen] / own[THRESHOLD], "at least " if seen == SHARPNESSES[0] else "")
    families = [name.removeprefix(BARRIER) for name in own if name.startswith(BARRIER)]
    if families:
        heights = np.stack([own[BARRIER + name] for name in families], axis=1)
        yield f"{gains_in_words(families, heights)}; means of {len(heights)} pairs, with 95 % intervals."
    if {"distances", "run", "stress"} <= own.keys():
        yield _embedded(square(own["distances"]), own["run"], float(own["stress"]))


def _edge(ratio: NDArray[np.float64], least: str) -> str:
    """Say whether the sharpness is at the edge of stability, over the second half of the steps."""
    half = ratio[len(ratio) // 2 :]
    half = half[np.isfinite(half)]
    if not len(half):
        return "no sharpness to compare with a threshold."
    middle = float(np.median(half))
    where = "at" if abs(middle - 1) <= _NEAR else "above" if middle > 1 else "below"
    return (
        f"{where} the edge of stability over the second half of the steps, {least}{middle:.2f} of its threshold "
        f"(median; {half.min():.2f} to {half.max():.2f})."
    )


def _embedded(distances: NDArray[np.float64], run: NDArray[np.float64], stress: float) -> str:
    """Describe where runs end by their dissimilarities; the picture alone would not do, as its stress says."""
    rows = [np.flatnonzero(run == number) for number in np.unique(run)]
    starts, ends = [own[0] for own in rows], [own[-1] for own in rows]
    travelled = _span(distances[starts, ends])
    if len(rows) == 1:
        return f"stress {stress:.2g}; the run ends {travelled} from its start."
    apart = distances[np.ix_(ends, ends)][np.triu_indices(len(rows), 1)]
    near = int((apart[:, None] < distances[starts, ends]).all(1).sum())
    return (
        f"stress {stress:.2g}; {len(rows)} runs end {travelled} from their starts and {_span(apart)} from each "
        f"other, {near} of {len(apart)} pairs nearer than the least of these ways."
    )


def _span(values: NDArray[np.float64]) -> str:
    low, high = (f"{float(value):.2g}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _valley(x: NDArray[np.float64], loss: NDArray[np.float64]) -> str:
    known = np.flatnonzero(np.isfinite(loss))
    if not len(known):
        return "no finite training loss."
    at = int(known[loss[known].argmin()])
    inside = np.isfinite(loss) & (loss <= loss[at] + _RISE)
    left, right = at, at
    while left > 0 and inside[left - 1]:
        left -= 1
    while right < len(x) - 1 and inside[right + 1]:
        right += 1
    ends = "at least " if left == 0 or right == len(x) - 1 else ""
    width = f"less than {_RISE:g} above it over a width of {ends}{x[right] - x[left]:.3g}"
    return f"lowest training loss {loss[at]:.3g} at {x[at]:.3g}, {width}."


def _share(value: float) -> str:
    return f"{100 * float(value):.3g} %"
