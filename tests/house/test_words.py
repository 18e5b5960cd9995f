"""Sentences that commands and pictures print are functions of their numbers: other numbers, other words.

Each row is what is said, from which numbers, and one change of a number after the other that must show.
"""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from probe_words import ROWS

from landscape import render
from landscape.measures.stability import threshold_words
from landscape.plots import mds, measure_words, slice_findings, slice_report, spectrum
from landscape.render import audits, embeddings, labels, spectra
from landscape.render.component_plots import component_verdict
from landscape.values.surface import Path

MEASURE = {
    "name": "adaptive_sharpness_worst",
    "value": 0.5,
    "standard_error": 0.01,
    "converged": True,
    "unit": "nats",
    "invariant_claimed": ["permutation"],
    "details": {},
    "notes": [],
    "bound": "",
    "settings": {"split": "train"},
}
CELL = {"same": "", "ratio": 3.0, "value": 6.0, "predicted": 6.0}
ROW = {
    "name": "hessian_top",
    "value": 2.0,
    "cells": [CELL],
    "verdict": "changes 3-fold",
    "source": "",
    "within": "",
    "reason": "",
    "bound": "",
}
AUDIT = {
    "file": "r.h5",
    "step": 4,
    "problem": "p",
    "split": "train",
    "examples": 8,
    "examples_available": 8,
    "dtype": "float64",
    "elements": [{"name": "alpha = 10"}],
    "measures": [ROW],
    "untried": [],
    "notes": [],
    "blocked": [],
    "symmetries": [{}],
    "orbit_min_trace": 1.5,
    "max_output_change": 1e-9,
    "explained": 1e-8,
}
END = {"value": 3.0, "residual": 1e-5, "converged": True}
ALONG = {
    "unit": "nats",
    "values": [1.0, 2.0],
    "min": 1.0,
    "max": 2.0,
    "last": 2.0,
    "not_converged": 0,
    "bound": "",
}
FIELD = {
    "curvature": {"positive": 9, "undecided": 0, "unknown": 0, "median": 1.0, "low": 0.5, "high": 2.0},
    "asymmetry": {"lines": 10, "median": 0.1},
    "directions": 10,
    "widest_band": 0.4,
}

Change = tuple[tuple[Any, ...], Any]
TABLE: dict[str, tuple[Any, Any, list[Change]]] = {
    "measure": (
        measure_words.measured_lines,
        {"file": "r.h5", "step": 3, "measures": {"a": MEASURE}},
        [
            (("step",), 4),
            (("measures", "a", "value"), 0.6),
            (("measures", "a", "value"), math.nan),
            (("measures", "a", "standard_error"), None),
            (("measures", "a", "converged"), False),
            (("measures", "a", "bound"), "lower"),
            (("measures", "a", "invariant_claimed"), []),
            (("measures", "a", "notes"), ["it is not invariant here"]),
            (("measures", "a", "details"), {"note": "one ascent alone came so high"}),
            (("measures", "a", "settings", "split"), "test"),
        ],
    ),
    "measure along training": (
        measure_words.table_lines,
        {
            "file": "r.h5",
            "problem": "p",
            "steps": [0, 9],
            "taken": 2,
            "size": 2,
            "measures": {"a": ALONG},
            "meta": {"threshold": {"measure": "a", "words": "2 / learning rate", "value": 4.0}},
        },
        [
            (("measures", "a", "last"), 3.0),
            (("measures", "a", "max"), 9.0),
            (("measures", "a", "not_converged"), 1),
            (("measures", "a", "bound"), "lower"),
            (("meta", "threshold", "value"), 5.0),
            (("taken",), 1),
        ],
    ),
    "audit": (
        measure_words.audit_lines,
        AUDIT,
        [
            (("measures", 0, "verdict"), "invariant"),
            (("measures", 0, "within"), "standard error"),
            (("measures", 0, "bound"), "lower"),
            (("measures", 0, "reason"), "no kernel"),
            (("measures", 0, "cells", 0, "ratio"), 4.0),
            (("measures", 0, "cells", 0, "same"), "tolerance"),
            (("measures", 0, "cells", 0, "predicted"), 9.0),
            (("orbit_min_trace",), 1.6),
            (("orbit_min_trace",), None),
            (("explained",), 1e-7),
            (("untried",), ["flattest: no"]),
            (("blocked",), ["tanh refuses"]),
            (("notes",), ["3 of 9 values lie on a kink"]),
            (("examples_available",), 99),
        ],
    ),
    "audit without a trial": (
        measure_words.audit_lines,
        AUDIT | {"elements": [], "measures": [ROW | {"cells": []}]},
        [(("symmetries",), [])],
    ),
    "audit of two": (
        measure_words.comparison_lines,
        {
            "files": ["a.h5", "b.h5"],
            "comparison": [
                {"name": "m", "a": 1.0, "b": 2.0, "verdict": "survives", "element": "e", "on": "a", "value": 3.0}
            ],
            "audits": [{"orbit_min_trace": 1.0}, {"orbit_min_trace": 2.0}],
        },
        [
            (("comparison", 0, "a"), 3.0),
            (("comparison", 0, "verdict"), "reversed"),
            (("comparison", 0, "verdict"), "not tested"),
            (("audits", 0, "orbit_min_trace"), 1.5),
        ],
    ),
    "eigenvalue maps": (
        slice_report._hessian_lines,
        {"points": 9, "hessian": {"tol": 0.01, "unconverged": 0, "max_products": 40, "undefined": 0, "bounds": 0}},
        [(("hessian", "unconverged"), 2), (("hessian", "undefined"), 1), (("hessian", "bounds"), 3)],
    ),
    "repeats": (
        slice_findings.finding_lines,
        {
            "kind": "surface",
            "units": {"loss": "nats"},
            "examples": {"train": {"used": 5, "available": 50}},
            "repeats": {"repeats": 5, "seeds": [0, 4], "fields": {"train_loss": FIELD}},
            "subset_error": {"train_loss": 0.01},
        },
        [
            (("repeats", "fields", "train_loss", "curvature", "positive"), 3),
            (("repeats", "fields", "train_loss", "curvature", "undecided"), 2),
            (("repeats", "fields", "train_loss", "asymmetry", "median"), 0.3),
            (("repeats", "fields", "train_loss", "widest_band"), 0.9),
            (("subset_error", "train_loss"), 0.2),
            (("subset_error", "train_loss"), math.nan),
        ],
    ),
    "spectrum": (
        spectrum.lines,
        {
            "picture": "s.png",
            "matrix": "Hessian",
            "problem": "p",
            "step": 3,
            "size": 99,
            "seconds": 1.0,
            "products": 30,
            "mean": 0.1,
            "mean_standard_error": 0.01,
            "trace": 9.9,
            "trace_standard_error": 1.0,
            "unit": "nats",
            "largest": END,
            "smallest": END | {"value": -1.0},
        },
        [
            (("largest", "converged"), False),
            (("smallest", "value"), -2.0),
            (("trace",), 5.0),
            (("trace_standard_error",), 2.0),
        ],
    ),
    "mds": (
        mds.lines,
        {
            "embeddings": {
                "all": {
                    "runs": ["a"],
                    "snapshots": 9,
                    "method": "classical",
                    "dissimilarity": "euclidean",
                    "share": [0.8, 0.1],
                    "stress": 0.1,
                    "negative": 0.0,
                }
            },
            "without_loss": [],
            "picture": "m.png",
        },
        [
            (("embeddings", "all", "stress"), 0.2),
            (("embeddings", "all", "share"), [0.5, 0.1]),
            (("embeddings", "all", "negative"), 0.1),
            (("embeddings", "all", "runs"), ["a", "b"]),
            (("without_loss",), ["a"]),
        ],
    ),
    "fidelity of a path": (
        lambda numbers: render.verdict(
            Path(**{name: np.array(values) for name, values in numbers["path"].items()}), numbers["meta"]
        ),
        {
            "path": {
                "step": [0, 1],
                "x": [1.0, 0.0],
                "y": [0.0, 0.0],
                "off_plane": [0.5, 0.0],
                "loss": [2.0, 1.0],
                "plane_loss": [1.5, 1.0],
            },
            "meta": {"plane": {"motion_held": 0.8}, "units": {"loss": "nats"}},
        },
        [
            (("meta", "plane", "motion_held"), 0.9),
            (("path", "off_plane"), [0.0, 0.0]),
            (("path", "plane_loss"), [2.0, 1.0]),
            (("path", "plane_loss"), [math.nan, math.nan]),
        ],
    ),
    "components": (
        lambda numbers: component_verdict(SimpleNamespace(**numbers["found"]), numbers["runs"]),
        {"found": {"shares": np.array([0.7, 0.2]), "null": np.array([0.6, 0.1])}, "runs": 1},
        [
            (("found", "shares"), np.array([0.5, 0.2])),
            (("found", "null"), np.array([0.5, 0.1])),
            (("runs",), 3),
        ],
    ),
    "stress": (
        lambda numbers: embeddings.stress_words(SimpleNamespace(**numbers)),
        {"stress": 0.1, "share": [0.8, 0.1], "negative": 0.0, "meta": {"method": "classical"}},
        [(("stress",), 0.3), (("share",), [0.4, 0.1]), (("negative",), 0.2)],
    ),
    "foot of a spectrum": (
        lambda numbers: spectra.spectrum_words(SimpleNamespace(**numbers)),
        {
            "meta": {"unit": "nats", "probes": 4, "lanczos": 9},
            "trace": (9.0, 1.0),
            "size": 99,
            "mean": 0.1,
            "mean_standard_error": 0.01,
            "width": 0.02,
            "largest": SimpleNamespace(converged=True),
            "smallest": SimpleNamespace(converged=True),
        },
        [
            (("largest",), SimpleNamespace(converged=False)),
            (("trace",), (8.0, 1.0)),
            (("mean",), 0.2),
            (("width",), 0.05),
        ],
    ),
    "foot of an audit": (
        lambda numbers: audits.caption_words(SimpleNamespace(**numbers)),
        {
            "meta": {"problem": "p", "step": 3, "split": "train", "examples": 8, "dtype": "float64"},
            "notes": (),
            "rows": [SimpleNamespace(name="m", within="", kind="changes", reason="")],
            "orbit_min_trace": 1.0,
            "max_output_change": 1e-9,
        },
        [
            (("rows", 0), SimpleNamespace(name="m", within="standard error", kind="invariant", reason="")),
            (("rows", 0), SimpleNamespace(name="m", within="", kind="not tested", reason="cumsum")),
            (("orbit_min_trace",), 2.0),
            (("max_output_change",), 1e-3),
            (("notes",), ("data lie on kinks",)),
            (("meta", "step"), 0),
        ],
    ),
    "preview": (
        labels.preview_words,
        {
            "preview": {
                "computed": 20,
                "points": 100,
                "judge": "train_loss",
                "kept_aside": 9,
                "reported_error": 0.01,
            }
        },
        [
            (("preview", "computed"), 30),
            (("preview", "computed"), 100),
            (("preview", "kept_aside"), 8),
            (("preview", "reported_error"), 0.02),
        ],
    ),
    "centre": (labels.centre_label, {"step": 9}, [(("step",), 0), (("step",), 10)]),
    "edge of stability": (
        threshold_words,
        {"momentum": 0.0, "weight_decay": 0.0},
        [(("momentum",), 0.9), (("weight_decay",), 0.1)],
    ),
    **ROWS,
}


def changed(numbers: Any, where: tuple[Any, ...], value: Any) -> Any:
    other = copy.deepcopy(numbers)
    inner = other
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    return other


@pytest.mark.parametrize("name", TABLE)
def test_other_numbers_give_other_words(name):
    say, numbers, changes = TABLE[name]
    before = say(numbers)
    assert before == say(copy.deepcopy(numbers))
    for where, value in changes:
        assert say(changed(numbers, where, value)) != before, (where, value)


def test_weights_before_training_are_not_called_trained():
    assert labels.centre_label({"step": 0}) == "weights at step 0"
    assert labels.centre_label({"step": 40}) == "trained weights (step 40)"
