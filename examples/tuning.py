"""Choose how SGD, Entropy-SGD and Replicated-SGD are trained before they are compared: on validation data alone.

Every optimizer gets the same number of trials and, in each, the same number of gradient evaluations. The trial of
the lowest validation error is taken; of equals, that of the lowest loss. The test images are not looked at.

    python examples/tuning.py digits trials.json
    LANDSCAPE_DATA=DIR python examples/tuning.py cifar10 trials.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from landscape.objective import Objective
from landscape.problems.convnets import cnn6
from landscape.problems.data import digits
from landscape.problems.image_data import cifar10
from landscape.problems.initial import construct
from landscape.problems.mlp import mlp
from landscape.training import Settings
from landscape.training import train as trained_by

FOLDS = 5
# Of all three: passes over the data that as many gradients make.
EPOCHS = {"sgd": 60, "entropy-sgd": 12, "replicated-sgd": 20}
COMMON: dict[str, Any] = {"nesterov": True, "weight_decay": 5e-4, "schedule": "cosine"}
RATES = (0.01, 0.03, 0.1, 0.3)
# The walk begins at rest and its average goes back to the start, so that its rates are larger.
WALKS = (0.03, 0.1, 0.3, 1.0)


def trials() -> Iterator[Settings]:
    """Eight ways to train by each optimizer."""
    for rate in (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4):
        yield Settings("sgd", lr=rate, **COMMON)
    walk = {"L": 5, "scale_by_gamma": False, "inner_momentum": 0.9}
    for rate in WALKS:
        # Chaudhari et al. 2017, and a pull that grows until a step of the walk would go all the way back.
        for pull in ({"gamma": 1e-4, "gamma_rate": 1e-3}, {"gamma": 0.01 / rate, "gamma_growth": 100}):
            options = {**walk, "inner_lr": rate, **pull}
            yield Settings(
                "entropy-sgd", lr=1.0, momentum=0.0, optimizer_options=options, **{**COMMON, "nesterov": False}
            )
    for rate in RATES:
        for growth in (1e4, 100):
            options = {"replicas": 3, "gamma": "auto", "gamma_growth": growth}
            yield Settings("replicated-sgd", lr=rate, optimizer_options=options, **COMMON)


def digit_folds() -> Iterator[Objective]:
    """Of the 500 training digits, a fifth after the other for validation."""
    x, y = digits(500, 0)[0]
    for fold in range(FOLDS):
        held = torch.arange(len(y)) % FOLDS == fold
        model = construct(lambda: mlp(64, 64, 2, 10), fold)
        train, test = (x[~held], y[~held]), (x[held], y[held])
        yield Objective(model, loss=functional.cross_entropy, train=train, test=test)


def image_folds() -> Iterator[Objective]:
    """The 2,000 training images that the recipe takes, and 2,000 others of the training set for validation."""
    x, y = cifar10(None, train_size=4000, test_size=10)[0]
    model = construct(lambda: cnn6(8), 100)
    train, test = (x[:2000], y[:2000]), (x[2000:], y[2000:])
    yield Objective(model, loss=functional.cross_entropy, train=train, test=test)


def main(what: str, path: str) -> None:
    """Run all trials; what was found goes to a JSON file after each."""
    folds = list(digit_folds() if what == "digits" else image_folds())
    batch = 32 if what == "digits" else 64
    found: list[dict[str, Any]] = []
    for trial in trials():
        chosen = {**trial.to_json(), "epochs": EPOCHS[trial.optimizer], "batch_size": batch, "seed": 100}
        settings = Settings.from_json({**chosen, "every": {"count": EPOCHS[trial.optimizer], "unit": "epochs"}})
        ends = []
        for objective in folds:
            with tempfile.TemporaryDirectory() as folder:
                run = trained_by(objective, Path(folder) / "run.h5", settings)
                ends.append([run.metrics[name][-1] for name in ("test_error", "test_loss", "train_error")])
        error, loss, fitted = np.mean(ends, axis=0).tolist()
        own = dict(settings.optimizer_options)
        found.append({"optimizer": trial.optimizer, "lr": settings.rate, **own, "error": error, "loss": loss})
        found[-1]["train_error"] = fitted
        Path(path).write_text(json.dumps(found, indent=1))
        sys.stdout.write(f"{found[-1]}\n")
    for optimizer in EPOCHS:
        best = min((f for f in found if f["optimizer"] == optimizer), key=lambda f: (f["error"], f["loss"]))
        sys.stdout.write(f"best: {best}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
