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
from landscape.files.cells import Cells, Save
from landscape.objective import Objective, Split
from landscape.objective.batchnorm import has_statistics, require_policy
from landscape.objective.identity import identity_of
from landscape.objective.loaders import own_random_state
from landscape.params import Tensors, Weights, require_same_shapes, resolve
from landscape.probes.gauge import Gauge
from landscape.probes.lines import Measuring, gathered, interpolate, line_axis, mix, moving_names, points_on
from landscape.probes.paths import Path, require_kind
from landscape.storage import atomic_path
from landscape.training import Settings
from landscape.training.plan import Plan
from landscape.trajectory import Recorder, Trajectory, open_trajectory
from landscape.trajectory.resume import decode_state, encode_state
from landscape.values.probes import Interpolation
from landscape.values.result import Result
from landscape.vocabulary import RECALIBRATE

Progress = Callable[[int, int], None]

# Nets that train in tens of epochs need as many for a curve; the paper trains 200 (VGG-16, ResNet-164).
_EPOCHS = 60
_POINTS = 51
# Seconds of training that an interrupt may lose.
_PATIENCE = 5.0
# Among the cells of a connection.
_TRAINING = "training"


@dataclass(frozen=True, eq=False)
class Connection(Result):
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
    save: Save = None,
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
        save: A file of finished parts to write and to resume from: the curve every few seconds of its training,
            then the points measured.
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
    straight = _straight(a, b, kind, bends, policy, gauge.derived)
    axis = line_axis(points)
    settled = {"of": "connect", "kind": kind, "bends": bends, "points": points, "bn": policy}
    settled |= {"metrics": gauge.metrics, "training": chosen.to_json()}
    splits = gauge.splits
    with Cells.open(save, lambda: identity_of(objective, {"a": a, "b": b}, splits, **settled)) as cells:
        path = _trained(objective, straight, chosen, cells, progress)
        found = cells.results(Measuring(gauge, {kind: path}), points_on(kind, policy, axis))
        fields = gathered(found, gauge.fields, len(axis))
        line = interpolate(objective, a, b, points=points, bn=policy, splits=splits, labels=labels, save=cells)
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


def _trained(
    objective: Objective, path: Path, settings: Settings, cells: Cells, progress: Progress | None
) -> Path:
    model = copied(objective.model)[0].to(objective.device).train()
    named = dict(model.named_parameters())
    trained = [info.name for info in objective.layout.moving()]
    bends = [{name: bend[name].clone().to(objective.device) for name in trained} for bend in path.bends]
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
    times = np.random.Generator(np.random.Philox(key=settings.seed)).random(plan.total).tolist()
    with own_random_state():
        torch.set_rng_state(torch.Generator().manual_seed(settings.seed).get_state())
        state = _State(model, bends, optimizer)
        for step in range(state.restored(cells), plan.total):
            shares = curve.shares(times[step])
            _load(named, curve, shares, trained)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate_at(step, plan.total, plan.steps_per_epoch)
            slopes = _slopes(objective, model, plan.batch(step), [named[name] for name in trained])
            _pull(bends, shares[1:-1], trained, slopes, named, objective.weight_decay)
            optimizer.step()
            if cells.due(_PATIENCE if step + 1 < plan.total else -1.0):
                state.keep(cells, step + 1)
            if progress is not None:
                progress(step + 1, plan.total)
    return curve


@dataclass(frozen=True, eq=False)
class _State:
    """All that the training of a curve goes on from."""

    model: nn.Module
    bends: Sequence[Tensors]
    optimizer: torch.optim.Optimizer

    def keep(self, cells: Cells, step: int) -> None:
        """Keep it after so many updates."""
        state = {
            "step": step,
            "bends": [dict(bend) for bend in self.bends],
            "buffers": dict(self.model.named_buffers()),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        cells.keep_state(_TRAINING, encode_state(state, copy=True))

    def restored(self, cells: Cells) -> int:
        """Take it up where it was kept, and return how many updates were done."""
        arrays = cells.state(_TRAINING)
        if arrays is None:
            return 0
        state = decode_state(arrays)
        with torch.no_grad():
            for bend, held in zip(self.bends, state["bends"], strict=True):
                for name, tensor in bend.items():
                    tensor.copy_(held[name])
            for name, buffer in self.model.named_buffers():
                buffer.copy_(state["buffers"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        return int(state["step"])


def _slopes(objective: Objective, model: nn.Module, batch: Split, leaves: list[nn.Parameter]) -> list[Tensor]:
    # Neither reentrant checkpoints nor sparse embeddings have the gradients that are asked for here.
    with without_checkpoints():
        loss = objective.mean_loss(model, batch)
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
    if os.path.lexists(file) and not overwrite:
        raise LandscapeError("the file exists", where=file, mend="pass overwrite=True to replace it")
    # A curve that is cut short would pass for one that is whole.
    with atomic_path(file) as draft:
        recorder = Recorder(
            draft,
            objective.model,
            problem=objective.problem,
            problem_args=objective.problem_args,
            seed=connection.settings.seed,
            training=training,
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
