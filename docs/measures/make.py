"""Makes what the pages of this folder say of measures: the tables, the index and the pictures, from the registry.

Run it from the root of the repository: ``python docs/measures/make.py [NAME ...]``. A page is written once, with a
place for its text; later runs replace the part between the two comments and leave the text alone.
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

import landscape as ls
from landscape.measures import SYMMETRIES, Measure, OverOptions, measures, step_measures
from landscape.options import options_table
from landscape.problems.toys import QuadraticOptions, quadratic
from landscape.recipe.gallery import save_png
from landscape.render.style import Sheet

HERE = Path(__file__).parent
BEGIN, END = "<!-- from the registry -->", "<!-- text -->"
# What a picture may weigh.
MOST_BYTES = 25_000
_ALPHAS = 2.0 ** np.arange(-3, 4)
_CAPTION = (
    "Left: along full-batch gradient descent on the digits. Right: at its end, with the first layer times α "
    "and the last divided by it, which leaves the function as it is."
)
_COEFFICIENT = "local_learning_coefficient"
# Where the value itself is not to be had on that network: another number of its details, or another picture.
_SHOWN = {"epsilon_volume": ("mean_log_radius", "mean of log r")}
_CAPTIONS = {
    "epsilon_volume": f"{_CAPTION} Shown is the mean of log r: the volume itself is not to be had there.",
    _COEFFICIENT: (
        "Left: at the minimum of quadratic functions of d weights, with their d/2 (`n` = 1e6). Right: on "
        "the curve of minima θ₁θ₂ = 1 of (θ₁θ₂ - 1)², at θ₁ = α, with its 1/2 (`n` = 300, `gamma` = 20). Bars are "
        "95 % intervals."
    ),
}
_OF_STEPS = (
    "Along a training on the digits in full batches: left by gradient descent at a rate of 0.3, right by Adam at "
    "a rate of 0.01. Bands are one standard error over examples."
)
# What differs by less is drawn on an axis that begins at 0.
_SAME = 0.2
_WIDTH, _HEIGHT = 5.6, 2.1
# Letters of a line beside an axis.
_LETTERS = 24


def table_of(one: Measure) -> str:
    """Entry of the registry for a measure, as a table for its page."""
    rows = {
        "formula": one.formula,
        "unit": one.unit.format(loss="that of the loss"),
        "source": one.source,
        "invariant to": ", ".join(one.invariant) or "nothing",
        "when it misleads": one.misleads,
    }
    # A bar would part a cell in two.
    lines = [f"| {key} | {value.replace('|', '&#124;')} |" for key, value in rows.items()]
    settings = ["", options_table(one.options)] if one.settings else []
    return "\n".join([f"# {one.name}", "", BEGIN, "", f"| {one.title} | |", "|---|---|", *lines, *settings])


def head_of(one: Measure) -> str:
    """All that is written anew on a page: the table, the picture and its caption."""
    where = "by two optimizers" if one.of_step else "and under a rescaling of layers"
    caption = _OF_STEPS if one.of_step else _CAPTIONS.get(one.name, _CAPTION)
    return f"{table_of(one)}\n\n![{one.title} along training {where}]({one.name}.png)\n\n{caption}\n\n{END}\n"


def text_of(page: str) -> str:
    """Text that was written by hand on a page."""
    return page.partition(END)[2].strip()


_OVER = (
    "Every measure of weights can be taken over the orbit of the weights instead, as `landscape measure RUN.h5",
    "--setting hessian_top.over=orbit-minimum` or `=orbit-range`: its smallest value, or the greatest less the",
    "smallest, over the representative of the orbit, its flattest point and random elements. These points are",
    "the same from everywhere on the orbit, so the number is invariant to all symmetries found. A minimum is",
    "an upper bound of the infimum; a range says how far the measure can be moved without changing the",
    "function, and is a lower bound: rescalings drive most measures to infinity. `details.values` has the",
    "value at every point.",
    "",
)


def index_of(known: Iterable[Measure]) -> str:
    """The page about all measures."""
    lines = [
        "# Measures",
        "",
        "Numbers that claim to say how sharp a minimum is, each with its formula, its source, and what it claims",
        "not to change under. `landscape measure RUN.h5` takes them, `landscape measure --list` lists them.",
        "",
        "| measure | what it is | invariant to |",
        "|---|---|---|",
    ]
    for one in known:
        title = one.title.replace("|", "&#124;")
        lines.append(f"| [{one.name}]({one.name}.md) | {title} | {', '.join(one.invariant) or 'nothing'} |")
    lines += ["", *_OVER, options_table(OverOptions), "", "What a measure can be invariant to:", ""]
    lines += [f"- {name}: {words}" for name, words in SYMMETRIES.items()]
    return "\n".join(lines) + "\n"


# Family -> what `converged` says of a value, the control that a test feeds it, and what is printed where it fails.
_ENDS = (
    "the residual of the eigenpair is within `tol` of the largest eigenvalue in size; how much farther out the "
    "end may lie than the value, but for one start in 1000, is `details.beyond`",
    "a start that has next to nothing of the last eigenvector",
    "NaN, and a note with the best value and its residual",
)
_EXACT = (
    "exact where `details.method` says so, otherwise with a standard error",
    "dense float64 matrices; of the estimates, intervals of a known matrix 500 times",
    "nothing",
)
# All may end at the same lower maximum, which nothing at run time can tell: the value is never called more.
_BOUND = "`lower bound` beside every value"
_BALL = (
    "the best ascent ended where no small step climbs",
    "a ball with two maxima of unlike height",
    f"{_BOUND}, and `(rough)`",
)
_BATCHES = (
    "on every batch the best ascent ended where no small step climbs, and a second one came within 5 % of it",
    "a ball with two maxima of unlike height",
    f"{_BOUND}, and `(rough)` with a note on how many batches one ascent alone came so high",
)
_ITERATED = (
    "the published number of iterations was made, arrived or not",
    "a ball with two maxima of unlike height",
    _BOUND,
)
_STEP = (
    "the one step of the formula was taken on every batch; of more iterations as `adaptive_sharpness_worst`",
    "batches of unlike size, computed by hand",
    f"of more iterations {_BOUND}",
)
_SAMPLED = (
    "a mean over independent draws with its standard error, not so skewed that its interval is too narrow",
    "losses of known mean, 500 times, and a loss whose tail no draw shows",
    "`(rough)`, the skewness, and how many draws would do",
)
_CHAINS = (
    "R-hat, the effective sample size, the virial and the acceptance of its chains are within their limits; of "
    "other minima that no chain reached it says nothing",
    "losses of known answer, 500 times, and chains too short for it",
    "NaN, and what fell short",
)
_STRENGTHS = (
    "of draws: 20 at least count; of chains: the same limits at every strength, and the rule over strengths "
    "agrees with that of half its points",
    "losses of known answer, 500 times, chains too short for it, and a curvature that the first rule misses",
    "NaN, and what fell short",
)
_RAYS = (
    "the loss rises by epsilon along every ray, and 20 of them at least make up the mean of r^P",
    "ellipsoids of known volume, 500 times, and one in many dimensions",
    "NaN, and how many rays count",
)
_OF_TERMS = (
    "exact to rounding on all examples, with a standard error over them",
    "quadratics, of which the remainder is 0, and recorded losses, whose change the three terms are",
    "undefined, and a note that no update follows, that it is zero or not finite",
)
_CROSSED = (
    "two guesses in a row are within the tolerance, or the bracket is",
    "quadratics, and curves of known crossing at any distance",
    "`(rough)`, or NaN and a note how far the loss did not rise",
)
_CLIMBED = (
    "the best ascent ended; `details.exact` says where all corners were tried",
    "all corners of small quadratics, and the top eigenvalue where norms agree",
    _BOUND,
)
_THEORY = (
    "a threshold is known of the optimizer",
    "every optimizer on parabolas 1 % below and above",
    "undefined, and a note why none is known",
)
_CONVERGES = {
    **dict.fromkeys(("hessian_top", "hessian_bottom", "gauss_newton_top"), _ENDS),
    "epsilon_sharpness": _BALL,
    "keskar_sharpness": _ITERATED,
    "sam_sharpness": _STEP,
    "adaptive_sharpness_worst": _BATCHES,
    **dict.fromkeys(("adaptive_sharpness_average", "local_energy"), _SAMPLED),
    "local_learning_coefficient": _CHAINS,
    "local_entropy": _STRENGTHS,
    "epsilon_volume": _RAYS,
    **dict.fromkeys(("step_gain", "step_penalty", "step_remainder", "directional_sharpness"), _OF_TERMS),
    **dict.fromkeys(("preconditioned_sharpness", "lr_headroom"), _ENDS),
    "critical_sharpness": _CROSSED,
    "norm_sharpness": _CLIMBED,
    "sharpness_threshold": _THEORY,
}
_TRIED = (
    "`measure` takes it at one random element of the orbit on up to 32 examples, and reports both numbers in "
    "`details.invariance`; `audit` takes it at half a dozen"
)
_NOT_TRIED = "`audit` takes it at half a dozen elements, and says `not tested` where none moves the weights"
_CONTROL = "`hessian_trace`, which every rescaling changes"
_OF_STEP = "by its tests, with weights and update moved together; no audit takes it"
_FAILED = (
    "“a symmetry of the model (…) changed it from … to …: it is not invariant here”, and the claim is withdrawn"
)
_ORTHOGONAL = {"permutation", "sign-flip"}


def claims_of(known: Collection[Measure]) -> str:
    """The page about what measures claim, and how each claim is checked."""
    heads = ("measure", "it claims", "how that is checked at run time", "the control", "printed when it fails")
    lines = [
        "# What measures claim",
        "",
        "Made by `docs/measures/make.py`. Each measure has a page of its own in [measures](measures/README.md).",
        "",
        "## Invariance",
        "",
        *_table(heads, (_invariance_of(one) for one in known)),
        "",
        "Where the search for symmetries met an operation that it does not know, rescalings may have been missed:",
        "`audit` and the notes of these measures name the operation and the parameters. An audit that tried no",
        "rescaling then says `not tested` of all that is the same under the others.",
        "",
        "The gain of a batch normalisation and its stored variance, scaled together, are no element: they keep",
        "the function in evaluation mode alone, and recalibration or a training step undoes them. Filters in",
        "front of it, scaled with both stored statistics, are one: they keep it in both modes.",
        "",
        "## Convergence",
        "",
        "Of all measures of curvature: a note, and `converged` false, where data lie exactly on kinks of the",
        "network, so that derivatives are those of one side. All examples are looked at where that is quick;",
        "otherwise `details.kinks_sought_on` says how many of the first were.",
        "",
        *_table(
            ("measure", "`converged` means", "the control", "printed when it fails"), map(_convergence_of, known)
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = tuple(heads)
    return [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)]


def _invariance_of(one: Measure) -> tuple[str, ...]:
    link = f"[{one.name}](measures/{one.name}.md)"
    claims = ", ".join(one.invariant)
    if one.of_step:
        return link, claims or "nothing", _OF_STEP, "a rescaling of layers, which changes it", "nothing"
    if not one.invariant:
        return link, "nothing", _NOT_TRIED, "", ""
    if set(one.invariant) <= _ORTHOGONAL:
        return link, claims, _NOT_TRIED, "`fisher_rao_norm` under a rescaling", "`changes x-fold`"
    return link, claims, _TRIED, _CONTROL, _FAILED


def _convergence_of(one: Measure) -> tuple[str, ...]:
    return (f"[{one.name}](measures/{one.name}.md)", *_CONVERGES.get(one.name, _EXACT))


def alpha_scaled(weights: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    """T_alpha of the network of the pictures: first layer times alpha, last one divided, biases in step."""
    factors = {"0.weight": alpha, "0.bias": alpha, "2.bias": alpha, "4.weight": 1 / alpha}
    return {name: tensor * factors.get(name, 1.0) for name, tensor in weights.items()}


def draw(one: Measure, run: Any, objective: Any, path: Path) -> None:
    """The picture of a measure: along training, and at the end under rescalings of layers."""

    shown, label = _SHOWN.get(one.name, ("", one.title))

    def at(weights: Any) -> tuple[float, float]:
        found = ls.measures.measure(objective, weights, [one.name])[one.name]
        if shown:
            return found.details[shown], found.details[f"{shown}_standard_error"]
        return found.value, found.standard_error or 0.0

    along = np.array([at(snapshot) for snapshot in run])
    scaled = np.array([at(alpha_scaled(run[-1].weights, float(alpha))) for alpha in _ALPHAS])
    sheet = Sheet(_WIDTH, _HEIGHT)
    with sheet.styled():
        left, right = sheet.subplots(1, 2)
        _curve(left, run.steps, along)
        left.set(xlabel="step", ylabel=f"{label}\n({one.unit.format(loss='nats')})")
        _curve(right, _ALPHAS, scaled)
        right.set_xscale("log", base=2)
        if (scaled[:, 0] > 0).all() and scaled[:, 0].max() > 3 * scaled[:, 0].min():
            right.set_yscale("log")
        elif np.nanmax(np.abs(scaled[:, 0] / np.nanmedian(scaled[:, 0]) - 1)) < _SAME:
            # A number that stays the same is not to look as if it shook.
            right.set_ylim(*sorted((0.0, 2 * float(np.nanmedian(scaled[:, 0])))))
        right.set_xlabel("α")
    save_png(sheet, path, MOST_BYTES)


def draw_learning_coefficient(path: Path) -> None:
    """The picture of the local learning coefficient, on functions of which it is known."""
    sizes, alphas = (2, 4, 8), (0.5, 1.0, 2.0)
    regular, valley = [], []
    for size in sizes:
        objective = ls.problems.build("toy-quadratic", {"dim": size, "dtype": "float64"})
        lowest = quadratic(QuadraticOptions(dim=size, dtype="float64")).minimiser
        regular.append(_interval(objective, {"weight": torch.from_numpy(lowest)[None]}, {"n": 1e6}))
    for alpha in alphas:
        objective = ls.problems.build("toy-hyperbola", {"start1": alpha, "start2": 1 / alpha})
        valley.append(_interval(objective, objective.model, {"n": 300, "gamma": 20.0}))
    sheet = Sheet(_WIDTH, _HEIGHT)
    with sheet.styled():
        left, right = sheet.subplots(1, 2)
        left.axline((2, 1), (8, 4), lw=0.6, color="0.6")
        right.axhline(0.5, lw=0.6, color="0.6")
        for ax, x, found in ((left, sizes, regular), (right, alphas, valley)):
            middle, low, high = np.array(found).T
            ax.errorbar(x, middle, [middle - low, high - middle], fmt="o", ms=2.5, capsize=2, lw=0.8)
            ax.spines[["top", "right"]].set_visible(False)
        left.set(xlabel="d", ylabel="local learning\ncoefficient", xticks=sizes)
        right.set(ylim=(0, 1))
        right.set_xscale("log", base=2)
        right.set_xlabel("α")
    save_png(sheet, path, MOST_BYTES)


def _interval(objective: Any, weights: Any, settings: Mapping[str, Any]) -> tuple[float, float, float]:
    found = ls.measures.measure(objective, weights, [_COEFFICIENT], settings={_COEFFICIENT: settings})
    return found[_COEFFICIENT].value, *found[_COEFFICIENT].details["interval_95"]


def _curve(ax: Axes, x: Any, found: Any) -> None:
    values, errors = found[:, 0], found[:, 1]
    ax.plot(x, values, "o-", ms=2.5)
    ax.fill_between(x, values - errors, values + errors, alpha=0.25, lw=0)
    ax.spines[["top", "right"]].set_visible(False)


def draw_step(one: Measure, runs: tuple[Any, Any], objective: Any, path: Path) -> None:
    """The picture of a measure of steps: along two trainings."""
    sheet = Sheet(_WIDTH, _HEIGHT)
    with sheet.styled():
        for ax, run in zip(sheet.subplots(1, 2), runs, strict=True):
            found = [ls.measures.measure(objective, snapshot, [one.name])[one.name] for snapshot in run[:-1]]
            _curve(ax, run.steps[:-1], np.array([(each.value, each.standard_error or 0.0) for each in found]))
            ax.set_xlabel("step")
        title = "\n".join(textwrap.wrap(one.title, _LETTERS))
        sheet.axes[0].set_ylabel(f"{title}\n({one.unit.format(loss='nats')})")
    save_png(sheet, path, MOST_BYTES)


def trainings_with_steps() -> tuple[Any, Any]:
    """The runs of the pictures of steps."""
    objective = ls.problems.build("digits-mlp", {"width": 12, "train_size": 500})
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for name, rate in (("gd", 0.3), ("adam", 0.01)):
            settings = ls.training.Settings(
                optimizer=name,
                lr=rate,
                momentum=0.0,
                epochs=60,
                batch_size=500,
                every=ls.training.Every.parse("6"),
                record=("update", "preconditioner"),
            )
            run = ls.training.train(objective, Path(folder) / f"{name}.h5", settings)
            for snapshot in (kept := list(run)):
                _ = snapshot.weights, snapshot.buffers, snapshot.next_step
            runs.append(Snapshots(kept))
    return runs[0], runs[1]


def training() -> tuple[Any, Any]:
    """The run of the pictures, and its objective."""
    objective = ls.problems.build("digits-mlp", {"width": 12, "train_size": 500})
    settings = ls.training.Settings(
        optimizer="gd", lr=0.3, momentum=0.0, epochs=60, every=ls.training.Every.parse("6")
    )
    with tempfile.TemporaryDirectory() as folder:
        run = ls.training.train(objective, Path(folder) / "run.h5", settings)
        snapshots = list(run)
        for snapshot in snapshots:
            # Read before the folder goes.
            _ = snapshot.weights, snapshot.buffers
    return Snapshots(snapshots), objective


class Snapshots(list[Any]):
    """Snapshots that know their steps."""

    @property
    def steps(self) -> list[int]:
        """Optimizer updates."""
        return [snapshot.step for snapshot in self]


def main(names: list[str]) -> None:
    """Write the index, and pages and pictures of some measures or of all."""
    known = {**measures(), **step_measures()}
    run, objective = training()
    runs = trainings_with_steps()
    for name in names or known:
        one, page = known[name], HERE / f"{name}.md"
        text = text_of(page.read_text(encoding="utf-8")) if page.exists() else "What it is, in a paragraph."
        page.write_text(f"{head_of(one)}\n{text}\n", encoding="utf-8")
        if one.of_step:
            draw_step(one, runs, objective, HERE / f"{name}.png")
        elif name == _COEFFICIENT:
            draw_learning_coefficient(HERE / f"{name}.png")
        else:
            draw(one, run, objective, HERE / f"{name}.png")
    (HERE / "README.md").write_text(index_of(known.values()), encoding="utf-8")
    (HERE.parent / "measures.md").write_text(claims_of(known.values()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
