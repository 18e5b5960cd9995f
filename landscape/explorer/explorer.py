"""The explorer page of a snapshot: its network, some examples and two directions, with their script."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import LandscapeError
from landscape.explorer.program import Program, program_of
from landscape.html.markup import Markup, element, slider
from landscape.html.shell import page, script_of
from landscape.objective import Objective
from landscape.projection import random_plane
from landscape.trajectory import Snapshot

_HERE = Path(__file__).parent
# Numbers of a network whose picture fills in seconds, and whose page stays small.
MOST_PARAMETERS = 50_000
# Multiplications of a picture of 41 x 41 points: some ten seconds in a browser.
_WORK, _POINTS = 6e9, 41
# Examples: fewer say little of the loss, more take longer than they tell; bytes of their inputs in the page.
_FEWEST, _EXAMPLES, _INPUT_BYTES = 16, 256, 1_500_000
# Where in the plane Python's values go along, so that the page can be checked.
_CHECKS = ((0.5, -0.25), (-1.0, 1.0))


def explorer_of(objective: Objective, snapshot: Snapshot, *, examples: int | None = None, title: str = "") -> str:
    """The explorer page of a snapshot.

    The page evaluates the network itself, in float64, on a part of the training data: the mean loss over a plane
    through the weights, whose directions are drawn in the browser, normalised by filters as `random_plane` does
    (biases and gains stay), and can be turned towards a third and a fourth. The first plane is that of
    ``random_plane(snapshot, seed=0)``. Python's loss at the centre is in the page, beside the browser's.

    Args:
        objective: The objective.
        snapshot: The weights at the centre.
        examples: How many training examples; by default what takes some ten seconds, at most 256.
        title: Above the page.

    Returns:
        The page, one file that needs nothing else.

    Raises:
        LandscapeError: If the network is too large, or has a layer or a loss that the page cannot compute.
    """
    count = sum(info.numel for info in objective.layout.stored("parameter"))
    if count > MOST_PARAMETERS:
        raise LandscapeError(
            "the network is too large for a page",
            got=f"{count:,} parameters",
            expected=f"at most {MOST_PARAMETERS:,}",
        )
    model = objective.model
    few = objective.data["train"].first(2)
    if not isinstance(few.inputs, Tensor) or not few.inputs.is_floating_point():
        got = str(getattr(few.inputs, "dtype", type(few.inputs).__name__))
        raise LandscapeError("a page takes inputs that are one tensor of real numbers", got=got)
    program, loss = _traced(model, few.inputs), _loss_of(objective)
    wanted = examples or _affordable(program, few.inputs[0].numel())
    used = objective if wanted >= objective.data["train"].count else objective.subset(wanted, splits=["train"])
    split = used.data["train"]
    split = split.first(split.count)
    plane = random_plane(snapshot, seed=0)
    evaluator = used.evaluator(dtype=torch.float64)

    def value(*at: float) -> float:
        # As the page does: in float64, from the weights and directions as they are.
        point = {
            name: tensor.double() if tensor.is_floating_point() else tensor
            for name, tensor in plane.origin.items()
        }
        for coordinate, direction in zip(at, plane.directions, strict=True):
            for name, tensor in direction.items():
                point[name] = point[name] + coordinate * tensor.double()
        evaluator.load(point)
        return float(evaluator.measure(["train"], ["loss"])["train_loss"].mean)

    network = _network(model, plane, program) | {
        "inputs": split.inputs.detach().cpu().numpy(),
        "targets": split.targets.detach().cpu().numpy(),
        "loss": loss,
    }
    data = {
        "network": network,
        "worker": script_of("worker.js", _HERE),
        "palette": np.round(255 * colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8).ravel(),
        "centre": (centre := value(0.0, 0.0)),
        "checks": [[*at, value(*at)] for at in _CHECKS],
        "unit": objective.unit,
    }
    words = f"{count:,} parameters, {split.count} of {objective.data['train'].count:,} training examples, {loss}"
    about = f"{objective.problem or type(model).__name__} at step {snapshot.step}: {words}"
    body = _body(about, centre, objective.unit)
    script = script_of("explore.js", _HERE)
    return page(
        title or f"Explorer of {objective.problem or type(model).__name__}", body, data=data, scripts=[script]
    )


def _loss_of(objective: Objective) -> str:
    loss: Callable[..., Any] = objective.loss
    plain = not isinstance(loss, partial)
    if isinstance(loss, nn.CrossEntropyLoss):
        plain = loss.weight is None and loss.label_smoothing == 0 and loss.reduction == "mean"
    targets = objective.data["train"].targets
    classes = isinstance(targets, Tensor) and not targets.is_floating_point() and targets.ndim == 1
    if plain and classes and (loss is functional.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)):
        return "cross-entropy"
    squared = loss is functional.mse_loss or (isinstance(loss, nn.MSELoss) and loss.reduction == "mean")
    if plain and squared and isinstance(targets, Tensor):
        return "squared error"
    name = getattr(loss, "__name__", type(loss).__name__)
    raise LandscapeError(
        "the page cannot compute the loss", got=name, expected="cross-entropy of classes, or mse_loss"
    )


def _traced(model: nn.Module, inputs: Tensor) -> Program:
    was = model.training
    parameter = next(model.parameters())
    model.eval()
    try:
        return program_of(model, inputs.to(parameter.device, parameter.dtype))
    finally:
        model.train(was)


def _affordable(program: Program, numbers: int) -> int:
    by_time = _WORK / (max(program.cost, 1) * _POINTS**2)
    return int(max(_FEWEST, min(_EXAMPLES, by_time, _INPUT_BYTES / (4 * numbers))))


def _network(model: nn.Module, plane: Any, program: Program) -> dict[str, Any]:
    """The tensors one after the other, and where each begins; rows are its filters, none where it stays."""
    names, tensors, start = set(), [], 0
    for one in program.operations:
        names |= {one[key] for key in ("weight", "bias", "mean", "variance") if one.get(key)}
    parts: list[list[Any]] = [[], [], []]
    for name in sorted(names):
        held = plane.origin[name].detach().cpu()
        moves = any(direction[name].any() for direction in plane.directions if name in direction)
        rows = held.shape[0] if moves and held.ndim > 1 else 0
        tensors.append(
            {"name": name, "start": start, "rows": rows, "width": held[0].numel() if rows else held.numel()}
        )
        start += held.numel()
        zeros = torch.zeros_like(held)
        for part, tensor in zip(parts, [held, *(one.get(name, zeros) for one in plane.directions)], strict=True):
            part.append(tensor.detach().cpu().numpy().ravel())
    weights, *directions = (np.concatenate(part) for part in parts)
    return {
        "tensors": tensors,
        "weights": weights,
        "directions": directions,
        "operations": list(program.operations),
        "sizes": list(program.sizes),
    }


def _canvas(name: str, width: int, height: int, described: str) -> Markup:
    style = "width:100%;height:auto;display:block;touch-action:pan-y"
    return element("canvas", id=name, width=width, height=height, role="img", aria_label=described, style=style)


def _reading(name: str, label: str, text: str = "") -> Markup:
    return element("div", element("dt", label), element("dd", text, id=name))


def _body(about: str, centre: float, unit: str) -> list[Markup]:
    described = (
        "Map of the loss over the plane; the readings below say the value at the centre and under the pointer."
    )
    counts = (element("option", f"{n} x {n} points", value=n, selected=n == _POINTS) for n in (21, 41, 81))
    points = element("select", *counts, id="points", aria_label="Points of the picture")
    log = element("label", element("input", type="checkbox", id="log", checked=True), "log colours")
    buttons = [
        element("button", "New directions", id="new", type="button"),
        element("button", "Back to the first plane", id="back", type="button"),
    ]
    ticks = [element("span", "", id=f"tick-{place}") for place in range(5)]
    marks = element("div", *ticks, style="display:flex;justify-content:space-between;font-size:.85rem")
    return [
        element("p", about),
        element("div", slider("turn-x", "Turn x", 181), slider("turn-y", "Turn y", 181), class_="controls"),
        element("div", slider("zoom", "Half width", 31, 20), points, log, *buttons, class_="controls"),
        element(
            "div",
            element(
                "figure",
                _canvas("map", 720, 720, described),
                element("div", style="height:.5rem"),
                _canvas("bar", 256, 12, "Colours from the lowest value to the highest"),
                marks,
                element("figcaption", "", id="range"),
            ),
            element(
                "dl",
                _reading("python", "Loss at the centre, Python", f"{centre:.9g} {unit}".strip()),
                _reading("here", "The same, this browser"),
                _reading("apart", "Difference"),
                _reading("there", "Under the pointer", "move over the map"),
                _reading("seed", "Directions", "0"),
                _reading("progress", "Drawn"),
                class_="readings",
                style="align-content:start",
            ),
            class_="views",
        ),
        element("p", "", id="verdict", class_="note"),
        element(
            "p",
            "The page computes the network itself, at every point of the plane. Directions are Gaussian, each "
            "filter scaled to the norm of the weights' filter; biases and gains stay. Turning mixes each axis "
            "with a further direction: at 90° it is that one. The loss is of the examples named above, not of all "
            "data, and a plane of two random directions shows little of the space of all weights.",
            class_="note",
        ),
    ]
