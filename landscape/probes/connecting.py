"""Low-loss curves between two models, trained as Garipov et al. 2018 do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.copies import copied
from landscape.curvature.decompositions import without_checkpoints
from landscape.errors import LandscapeError
from landscape.objective import Objective, Split
from landscape.objective.batchnorm import has_statistics, require_policy
from landscape.objective.loaders import own_random_state
from landscape.params import Tensors, Weights, require_same_shapes, resolve
from landscape.probes.gauge import Gauge
from landscape.probes.lines import interpolate, line_axis, mix, moving_names
from landscape.probes.paths import Path, require_kind
from landscape.probes.values import Array, Interpolation
from landscape.training import Settings
from landscape.training.plan import Plan
from landscape.trajectory import Recorder, Trajectory, open_trajectory
from landscape.vocabulary import RECALIBRATE

Progress = Callable[[int, int], None]

# Nets that train in tens of epochs need as many for a curve; the paper trains 200 (VGG-16, ResNet-164).
_EPOCHS = 60
_POINTS = 51


@dataclass(frozen=True, eq=False)
class Connection:
    """A curve between two models, with what was measured along it and along the straight line.

    Attributes:
        path: The curve.
        curve: Means along it.
        line: Means along the straight line, under the same policy for normalisation statistics.
        length: The Euclidean length of the curve.
        settings: What trained it.
    """

    path: Path
    curve: Interpolation
    line: Interpolation
    length: float
    settings: Settings

    @property
    def barrier(self) -> float:
        """The barrier along the curve: max L - (L(0) + L(1)) / 2."""
        return self.curve.barrier

    @property
    def straight_barrier(self) -> float:
        """The barrier along the straight line."""
        return self.line.barrier


def connect(
    objective: Objective,
    a: Weights,
    b: Weights,
    *,
    kind: str = "bezier",
    bends: int = 1,
    settings: Settings | None = None,
    points: int = _POINTS,
    bn: str | None = None,
    splits: Sequence[str] | None = None,
    labels: tuple[str, str] = ("a", "b"),
    progress: Progress | None = None,
) -> Connection:
    """Find a curve between two models along which the loss stays low.

    The ends stay; the bends, which begin evenly spaced on the straight line, go down the gradient of the mean
    over t, uniform on [0, 1], of the loss of a batch at phi(t): at each update one t is drawn, and a bend of
    share s gets s times the gradient at phi(t). The penalty is that of the objective, at phi(t). The model
    is in training mode meanwhile, so that batch normalisation uses the statistics of the batch.

    Args:
        objective: What is to stay low.
        a: The weights at 0.
        b: The weights at 1, of the same model.
        kind: ``"bezier"`` or ``"chain"``.
        bends: How many control points between the ends.
        settings: Rate and its schedule, momentum, epochs, batches and seed, of ``sgd`` or ``gd``; by default 60
            epochs, rate 0.1 falling to zero. What else it says is left aside.
        points: How many are measured from 0 to 1.
        bn: The policy for normalisation statistics at the points measured; by default ``"recalibrate"`` where
            the model has batch normalisation, as the paper does, and otherwise ``"interpolate"``.
        splits: On which data to measure; None is all.
        labels: What a and b are called.
        progress: Called with (updates done, updates in all).

    Returns:
        The curve and its barrier, beside that of the straight line.

    Raises:
        LandscapeError: If the models differ, or an argument is wrong.

    Source:
        Garipov, Izmailov, Podoprikhin, Vetrov & Wilson 2018, section 3 and appendix A.
    """
    require_kind(kind)
    if bends < 1:
        raise LandscapeError("a curve needs at least one bend", where="bends", got=bends)
    if settings is not None and settings.optimizer not in ("sgd", "gd"):
        raise LandscapeError("a curve is trained by sgd or gd", where="optimizer", got=settings.optimizer)
    policy = require_policy(bn or (RECALIBRATE if has_statistics(objective.model) else "interpolate"))
    chosen = settings or Settings(epochs=_EPOCHS, lr=0.1, schedule="linear")
    gauge = Gauge(objective, splits, recalibrate=policy == RECALIBRATE, between=True)
    path = _trained(objective, _straight(a, b, kind, bends, policy, gauge.derived), chosen, progress)
    axis, fields = _measured(gauge, path, points)
    line = interpolate(objective, a, b, points=points, bn=policy, splits=splits, labels=labels)
    curve = Interpolation(axis, fields, policy, kind, line.distance, labels, line.meta)
    return Connection(path, curve, line, path.length(), chosen)


def _straight(a: Weights, b: Weights, kind: str, bends: int, bn: str, derived: Sequence[str]) -> Path:
    """The straight line as a curve with bends."""
    layout, start = resolve(a)
    end = resolve(b)[1]
    require_same_shapes(layout, end, "the second model")
    moving = moving_names(layout, bn, (start, end), derived)
    controls = [start]
    for k in range(1, bends + 1):
        t = k / (bends + 1)
        controls.append({name: mix((start[name], end[name]), (1 - t, t)) for name in moving})
    return Path(kind, [*controls, end], moving)


def _measured(gauge: Gauge, path: Path, points: int) -> tuple[Array, dict[str, Array]]:
    axis = line_axis(points)
    fields = {name: np.empty(len(axis)) for name in gauge.fields}
    for place, t in enumerate(axis):
        for name, value in gauge.at(path.point(float(t)), own=t in (0.0, 1.0)).items():
            fields[name][place] = value
    return axis, fields


def _trained(objective: Objective, path: Path, settings: Settings, progress: Progress | None) -> Path:
    model = copied(objective.model)[0].to(objective.device).train()
    named = dict(model.named_parameters())
    trained = [info.name for info in objective.layout.moving()]
    bends = [{name: bend[name].clone() for name in trained} for bend in path.bends]
    optimizer = torch.optim.SGD(
        [tensor for bend in bends for tensor in bend.values()],
        lr=settings.rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
    )
    plan = Plan.of(objective.data["train"], settings)
    # The statistics of bends stay where they were on the straight line: nothing trains them.
    controls = [path.controls[0], *({**old, **new} for old, new in zip(path.bends, bends, strict=True))]
    curve = Path(path.kind, [*controls, path.controls[-1]], path.moving)
    drawn = np.random.Generator(np.random.Philox(key=settings.seed))
    with own_random_state():
        torch.set_rng_state(torch.Generator().manual_seed(settings.seed).get_state())
        for step in range(plan.total):
            shares = curve.shares(float(drawn.random()))
            _load(named, curve, shares, trained)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate_at(step, plan.total, plan.steps_per_epoch)
            slopes = _slopes(objective, model, plan.batch(step), [named[name] for name in trained])
            _pull(bends, shares[1:-1], trained, slopes, named, objective.weight_decay)
            optimizer.step()
            if progress is not None:
                progress(step + 1, plan.total)
    return curve


def _slopes(objective: Objective, model: nn.Module, batch: Split, leaves: list[nn.Parameter]) -> list[Tensor]:
    # Neither reentrant checkpoints nor sparse embeddings have the gradients that are asked for here.
    with without_checkpoints():
        loss = objective.mean_loss(model, batch.to(objective.device, None))
    found = torch.autograd.grad(loss, leaves, materialize_grads=True)
    return [slope.to_dense() if slope.is_sparse else slope for slope in found]


def _load(named: dict[str, nn.Parameter], curve: Path, shares: Sequence[float], trained: Sequence[str]) -> None:
    with torch.no_grad():
        for name in trained:
            named[name].copy_(mix([control[name] for control in curve.controls], shares))


def _pull(
    bends: Sequence[Tensors],
    shares: Sequence[float],
    trained: Sequence[str],
    slopes: Sequence[Tensor],
    named: dict[str, nn.Parameter],
    weight_decay: float,
) -> None:
    """Give each bend its share of the gradient at the point."""
    for bend, share in zip(bends, shares, strict=True):
        for name, slope in zip(trained, slopes, strict=True):
            whole = slope + weight_decay * named[name].detach() if weight_decay else slope
            bend[name].grad = (share * whole).to(bend[name])


def save_path(
    connection: Connection,
    objective: Objective,
    file: str | os.PathLike[str],
    *,
    about: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Trajectory:
    """Write the points of a curve as a trajectory: step k is at t = k / (points - 1).

    Statistics of normalisation are those that the points were measured with.

    Args:
        connection: The curve.
        objective: That of the connection.
        file: The trajectory file.
        about: More to say of the curve, as plain JSON values, such as which runs its ends are of.
        overwrite: Replace the file if there is one.

    Returns:
        The trajectory; its metric ``t`` says where each snapshot is.

    Raises:
        LandscapeError: If the file exists, or cannot be written.
    """
    gauge = Gauge(objective, ["train"], ["loss"], recalibrate=connection.curve.bn == RECALIBRATE, between=True)
    training = {
        "connection": {"kind": connection.path.kind, "bends": len(connection.path.bends), **(about or {})},
        **connection.settings.to_json(),
        "weight_decay": objective.weight_decay,
        "data": objective.data_digest("train"),
    }
    recorder = Recorder(
        file,
        objective.model,
        problem=objective.problem,
        problem_args=objective.problem_args,
        seed=connection.settings.seed,
        training=training,
        overwrite=overwrite,
    )
    with recorder:
        for step, t in enumerate(connection.curve.t):
            point = connection.path.point(float(t))
            gauge.at(point, own=t in (0.0, 1.0))
            metrics: dict[str, Any] = {
                name: float(values[step]) for name, values in connection.curve.fields.items()
            }
            recorder.snapshot(step, weights={**point, **gauge.buffers}, t=float(t), **metrics)
    return open_trajectory(file)
