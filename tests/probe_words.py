"""Rows of the table of `test_words`: what probes and studies say, and changes of numbers that must show."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from landscape.cli import probe_perturb, study
from landscape.plots import connect, interpolate, perturb
from landscape.plots.lines import Joined, LowCurve
from landscape.plots.perturbations import Basins
from landscape.plots.study_words import study_words
from landscape.render import basins as drawn_basins
from landscape.render import lines as drawn_lines
from landscape.render.correlation_plots import _handles, _scatter_words, caption_words
from landscape.values.correlations import Agreement, Correlated, Correlation, Nets, Row
from landscape.values.probes import Barriers, Interpolation, Perturbation, Profile, Radius, Retraining

META = {"problem": "p", "units": {"loss": "nats"}, "statistics": True}


def basin(numbers: dict[str, Any]) -> Perturbation:
    losses = np.array(numbers["losses"], dtype=float)
    profile = Profile(
        numbers["mode"],
        "mean |w|",
        np.array([0.0, numbers["scale"]]),
        {"train_loss": losses, "train_error": losses / 10},
        np.ones(len(losses)),
        META,
    )
    radii = {
        name: Radius(name, np.array(values), np.array(values), 2 * np.array(values))
        for name, values in numbers["radii"].items()
    }
    return Perturbation(profile, radii, numbers["rise"], 10.0, {**META, **numbers["meta"]})


def basins(numbers: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(first=Basins((basin(numbers),), "r.h5", {}, META["units"]))


BASIN = {
    "mode": "mean-abs",
    "scale": 0.1,
    "losses": [[1.0, 2.0], [1.0, 2.2]],
    "radii": {"random": [1.0, 3.0], "gradient": [0.5]},
    "rise": 0.1,
    "meta": {"step": 3},
}


def curve(numbers: dict[str, Any], bn: str = "interpolate", path: str = "line") -> Interpolation:
    losses = np.array(numbers["losses"], dtype=float)
    fields = {"train_loss": losses, "train_error": losses / 10}
    meta = {**META, **numbers.get("meta", {})}
    labels = tuple(numbers.get("labels", ("a", "b")))
    return Interpolation(np.array([0.0, 0.5, 1.0]), fields, bn, path, numbers["distance"], labels, meta)


LINE = {"losses": [1.0, 3.0, 1.5], "distance": 4.0, "meta": {}, "labels": ["a", "b"]}


def two_lines(numbers: dict[str, Any]) -> list[Interpolation]:
    return [curve(numbers["line"], numbers["bn"]), curve(numbers["aligned"], numbers["bn"], "aligned line")]


TWO = {"line": LINE, "aligned": {**LINE, "losses": [1.0, 2.0, 1.5]}, "bn": "interpolate", "statistics": True}


def lines_said(numbers: dict[str, Any]) -> list[str]:
    joined = Joined(two_lines(numbers), META["units"], numbers["statistics"])
    return interpolate.words(SimpleNamespace(first=joined, options=SimpleNamespace(matrix=False)))


def matrix(numbers: dict[str, Any]) -> Barriers:
    values = np.array(numbers["barriers"], dtype=float)
    meta = {**META, **numbers["meta"]}
    return Barriers(numbers["names"], {"train_loss": values}, values, numbers["bn"], numbers["points"], meta)


MATRIX = {"barriers": [[0.0, 1.0], [1.0, 0.0]], "names": ["a", "b"], "bn": "interpolate", "points": 25, "meta": {}}


def matrix_said(numbers: dict[str, Any]) -> list[str]:
    joined = Joined(matrix(numbers), META["units"], True)
    return interpolate.words(SimpleNamespace(first=joined, options=SimpleNamespace(matrix=True)))


def branches(numbers: dict[str, Any]) -> Retraining:
    losses = np.array(numbers["errors"], dtype=float)
    apart = np.array([numbers["between"]], dtype=float)
    return Retraining(
        ["one", "two"],
        np.array([3, 3]),
        ["mean-abs:0.01", "mean-abs:0.01"],
        np.array(numbers["kicks"]),
        np.array([0.0, numbers["epochs"]]),
        {"train_loss": losses, "train_error": losses / 100},
        np.array(numbers["moved"], dtype=float),
        np.array([[0, 1]]),
        apart,
        {"train_error": np.array([numbers["midpoints"]]), "train_loss": apart},
        {**META, **numbers["meta"]},
    )


BRANCHES = {
    "errors": [[9.0, 1.0], [8.0, 2.0]],
    "between": [0.1, 0.5],
    "kicks": [0.1, 0.2],
    "epochs": 20.0,
    "moved": [[0.0, 1.0], [0.0, 1.2]],
    "midpoints": [0.1, 0.05],
    "meta": {"optimizer": "gd", "bn": "recalibrate"},
}


def low_curve(numbers: dict[str, Any]) -> SimpleNamespace:
    low = LowCurve(numbers["kind"], numbers["bends"], curve(numbers["curve"]), curve(numbers["line"]), 5.0)
    return SimpleNamespace(first=Joined(low, META["units"], True))


def correlated(numbers: dict[str, Any]) -> Correlated:
    count = numbers["networks"]
    names = tuple(f"net {place}" for place in range(count))
    faults = dict.fromkeys(names[: numbers["faults"]], "diverged")
    settings = {"lr": tuple(map(str, range(count)))}
    results = {"test_error": np.array(numbers["errors"], dtype=float)}
    rows = tuple(
        Row(
            one["name"],
            one["name"],
            "",
            one["invariant"],
            one["control"],
            {
                "test_error": Correlation(
                    one["tau"], tuple(one["interval"]), one["rho"], (0.0, 1.0), count - len(faults), one["tied"]
                )
            },
            {"lr": Agreement(one["agreement"], one["pairs"])},
            {names[-1]: "it is not finite"} if one["missing"] else {},
        )
        for one in numbers["rows"]
    )
    rough = {numbers["rows"][0]["name"]: names[:1]} if numbers["rough"] else {}
    nets = Nets(
        names=names,
        levels=settings,
        settings=settings,
        results=results,
        measures={},
        about={},
        faults=faults,
        rough=rough,
    )
    meta = {"problem": "p", "name": "s", "target_loss": numbers["target_loss"]}
    return Correlated(nets, rows, ("test_error",), numbers["resamples"], 0.95, 0, numbers["over"], meta)


ONE = {
    "name": "hessian_top",
    "invariant": False,
    "control": False,
    "tau": 0.5,
    "interval": [0.2, 0.7],
    "rho": 0.6,
    "tied": 0.01,
    "agreement": 0.4,
    "pairs": 6,
    "missing": False,
}
STUDY = {
    "networks": 5,
    "faults": 1,
    "errors": [0.1, 0.2, 0.3, 0.4, 0.5],
    "rows": [ONE],
    "rough": False,
    "target_loss": 0.01,
    "resamples": 100,
    "over": "nets",
}


def study_said(numbers: dict[str, Any]) -> list[str]:
    found = correlated(numbers)
    return study_words(found)


def study_reported(numbers: dict[str, Any]) -> list[str]:
    step = SimpleNamespace(state="planned", estimate=numbers["estimate"])
    of_study = SimpleNamespace(name="s", nets=[0] * numbers["networks"], measures=[0] * numbers["measures"])
    states = {"planned": numbers["planned"], "cached": numbers["cached"]}
    steps = dict.fromkeys(range(numbers["planned"]), step)
    counted = SimpleNamespace(study=of_study, steps=steps, cache="c", count=lambda *names: states[names[0]])
    return study._plan(counted)


Change = tuple[tuple[Any, ...], Any]
ROWS: dict[str, tuple[Any, Any, list[Change]]] = {
    "basin": (
        lambda numbers: perturb.words(basins(numbers)),
        BASIN,
        [
            (("mode",), "relative"),
            (("scale",), 0.2),
            (("losses", 1, 1), 3.0),
            (("losses", 0, 0), 0.5),
            (("radii", "random"), [1.0, 9.0]),
            (("radii", "random"), [math.inf, math.inf]),
            (("radii", "gradient"), [math.nan]),
            (("radii",), {}),
            (("rise",), 0.2),
            (("meta", "step"), 4),
            (("meta", "notes"), ["a weight is not registered"]),
            (("meta", "buffers"), {"kept": ["u"]}),
        ],
    ),
    "foot of a basin": (
        lambda numbers: drawn_basins._foot([basin(numbers)] * numbers.get("snapshots", 1)),
        BASIN,
        [(("losses",), [[1.0, 2.0]]), (("losses",), [[1.0, 2.0]] * 3), (("meta", "step"), 4), (("snapshots",), 2)],
    ),
    "axis of radii": (
        lambda numbers: drawn_basins._radius_label(basin(numbers)),
        BASIN,
        [(("rise",), 0.3), (("meta", "units"), {"loss": "nats²"})],
    ),
    "branches": (
        lambda numbers: probe_perturb._branch_words(branches(numbers), "b.h5", None, None),
        BRANCHES,
        [
            (("errors", 0, 1), 3.0),
            (("errors", 1, 0), 3.0),
            (("between", 1), 0.9),
            (("kicks", 0), 0.3),
            (("epochs",), 40.0),
            (("moved", 1, 1), 2.0),
            (("midpoints", 0), 0.7),
        ],
    ),
    "foot of branches": (
        lambda numbers: drawn_basins._foot_of_branches(branches(numbers)),
        BRANCHES,
        [
            (("meta", "optimizer"), "sgd"),
            (("meta", "optimizer"), None),
            (("meta", "bn"), "frozen"),
            (("meta", "statistics"), False),
            (("meta", "problem"), "q"),
        ],
    ),
    "lines": (
        lines_said,
        TWO,
        [
            (("line", "losses", 1), 9.0),
            (("line", "losses", 1), math.inf),
            (("line", "losses", 0), math.nan),
            (("aligned", "losses", 1), 2.5),
            # Alignment that makes it worse: the hint appears.
            (("aligned", "losses", 1), 3.5),
            (("line", "distance"), 5.0),
            (("line", "labels"), ["c", "b"]),
            (("line", "meta"), {"notes": ["a weight is not registered"]}),
            (("bn",), "frozen"),
        ],
    ),
    "hint beside lines": (
        lines_said,
        {**TWO, "aligned": {**LINE, "losses": [1.0, 3.5, 1.5]}},
        [(("aligned", "losses", 1), 2.0), (("bn",), "recalibrate"), (("statistics",), False)],
    ),
    "foot of lines": (
        lambda numbers: drawn_lines._caption([curve(numbers, numbers["bn"])]),
        {**LINE, "bn": "frozen"},
        [
            (("bn",), "recalibrate"),
            (("meta",), {"statistics": False}),
            (("distance",), 5.0),
            (("meta",), {"problem": "q"}),
        ],
    ),
    "legend of lines": (
        lambda numbers: [
            drawn_lines._name(one, two_lines(numbers)) + drawn_lines._told(one, "train")
            for one in two_lines(numbers)
        ],
        TWO,
        [
            (("line", "losses", 1), 5.0),
            (("aligned", "losses", 1), math.inf),
            (("aligned", "losses", 0), math.nan),
            (("line", "meta"), {"units": {"loss": "1"}}),
        ],
    ),
    "barriers": (
        matrix_said,
        MATRIX,
        [(("barriers", 0, 1), 2.0), (("names", 0), "c"), (("points",), 11)],
    ),
    "foot of barriers": (
        lambda numbers: drawn_lines._matrix_caption(matrix(numbers)),
        MATRIX,
        [(("bn",), "recalibrate"), (("points",), 11), (("meta",), {"statistics": False})],
    ),
    "curve of low loss": (
        lambda numbers: connect.words(low_curve(numbers)),
        {"kind": "bezier", "bends": 1, "curve": {**LINE, "losses": [1.0, 1.2, 1.0]}, "line": LINE},
        [
            (("kind",), "chain"),
            (("bends",), 2),
            (("curve", "losses", 1), 1.6),
            (("line", "losses", 1), 2.0),
            (("line", "distance"), 5.0),
            (("curve", "meta"), {"notes": ["a weight is not registered"]}),
        ],
    ),
    "study": (
        study_said,
        STUDY,
        [
            (("rows", 0, "tau"), 0.1),
            (("rows", 0, "tau"), math.nan),
            (("rows", 0, "interval"), [-0.1, 0.7]),
            (("rows", 0, "rho"), 0.1),
            (("rows", 0, "tied"), 0.2),
            (("rows", 0, "invariant"), True),
            (("rows", 0, "control"), True),
            (("rows", 0, "agreement"), -0.4),
            (("rows", 0, "pairs"), 0),
            (("rows", 0, "missing"), True),
            (("rough",), True),
            (("faults",), 2),
            (("errors", 4), 0.9),
            (("over",), "settings"),
        ],
    ),
    "foot of a study": (
        lambda numbers: caption_words(correlated(numbers)),
        STUDY,
        [
            (("rows", 0, "tied"), 0.2),
            (("rows", 0, "tied"), 0.0),
            (("rows",), []),
            (("faults",), 0),
            (("target_loss",), None),
            (("resamples",), 200),
            (("over",), "settings"),
        ],
    ),
    "foot of scatters": (
        lambda numbers: _scatter_words(correlated(numbers), correlated(numbers).rows, "test_error"),
        {**STUDY, "rows": [{**ONE, "invariant": True}]},
        [
            (("rows", 0, "interval"), [-0.1, 0.7]),
            (("rows", 0, "invariant"), False),
            (("rows", 0, "missing"), True),
            (("faults",), 0),
        ],
    ),
    "legend of a study": (
        lambda numbers: [handle.get_label() for handle in _handles(correlated(numbers).rows)],
        STUDY,
        [(("rows", 0, "invariant"), True), (("rows", 0, "control"), True)],
    ),
    "plan of a study": (
        study_reported,
        {"estimate": 60.0, "networks": 5, "measures": 2, "planned": 3, "cached": 1},
        [
            (("estimate",), None),
            (("estimate",), 7200.0),
            (("networks",), 6),
            (("measures",), 3),
            (("planned",), 0),
            (("cached",), 2),
        ],
    ),
}
