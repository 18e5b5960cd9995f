"""Updates of a recorded training by each optimizer, and the state to resume from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from landscape.objective import Objective
from landscape.params import Tensors, resolve
from landscape.training.choices import EntropyChoices, SamChoices
from landscape.training.entropy_sgd import EntropySGD
from landscape.training.muon import Muon
from landscape.training.plan import Plan
from landscape.training.replicas import Separate, Together, centre, copies, pays_together
from landscape.training.replicated_sgd import ReplicatedSGD
from landscape.training.sam import SAM
from landscape.training.settings import Settings

# What the optimizers count or find on the way.
_FOUND = ("gamma", "steps", "loss_sum")


class Way(Protocol):
    """Interface of the updates of a recorded training.

    Attributes:
        model: The model of the run; `ready` brings it up to date.
        replicas: Name -> model, of runs beside it.
    """

    model: nn.Module

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Makes the updates."""

    replicas: Mapping[str, nn.Module]

    def update(self, step: int, rate: float) -> None:
        """Make update number `step` (from 0) at a learning rate."""

    def ready(self) -> None:
        """Bring `model` up to date, before a snapshot."""

    def metrics(self, step: int) -> dict[str, float]:
        """Return what is known after so many updates, besides losses."""

    def metrics_of(self, name: str) -> dict[str, float]:
        """Likewise of a replica."""

    def state(self) -> dict[str, Any]:
        """Return what a resumed training needs besides the weights of `model`."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; `model` is restored already."""


def way_of(objective: Objective, model: nn.Module, settings: Settings, plan: Plan) -> Way:
    """The updates that the settings ask for.

    Args:
        objective: Loss and data.
        model: The model in training mode, which will be changed.
        settings: Optimizer and its options.
        plan: Which examples make which update.
    """
    if settings.optimizer == "replicated-sgd":
        return _Replicated(objective, model, settings, plan)
    return _Single(objective, model, settings, plan)


class _Single:
    """One model; the optimizer calls for as many gradients as it needs."""

    def __init__(self, objective: Objective, model: nn.Module, settings: Settings, plan: Plan) -> None:
        self._objective = objective
        self._plan = plan
        self._choices = settings.choices
        self.optimizer = _optimizer(model, settings, plan)
        self.model = model
        self.replicas: Mapping[str, nn.Module] = {}

    def update(self, step: int, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sharpness_aware = isinstance(self._choices, SamChoices)
        first = step if sharpness_aware else step * self._evaluations
        calls = 0

        def closure() -> float:
            nonlocal calls
            # The second gradient of SAM is that of the same examples; statistics follow the first.
            batch = self._plan.batch(first if sharpness_aware else first + calls)
            self.optimizer.zero_grad()
            with _keeping_buffers(self.model, sharpness_aware and calls > 0):
                loss = self._objective.mean_loss(self.model, batch)
                loss.backward()
            calls += 1
            return float(loss.detach())

        self.optimizer.step(closure)

    @property
    def _evaluations(self) -> int:
        if isinstance(self._choices, SamChoices):
            return 2 if self._choices.rho else 1
        return self._choices.evaluations if isinstance(self._choices, EntropyChoices) else 1

    def ready(self) -> None:
        pass

    def metrics(self, step: int) -> dict[str, float]:
        own = {"gamma": self.optimizer.gamma} if isinstance(self.optimizer, EntropySGD) else {}
        return {"gradient_evaluations": float(step * self._evaluations), **own}

    def metrics_of(self, name: str) -> dict[str, float]:
        raise KeyError(name)

    def state(self) -> dict[str, Any]:
        return _optimizer_state(self.optimizer)

    def restore(self, state: Mapping[str, Any]) -> None:
        _restore_optimizer(self.optimizer, state)


class _Replicated:
    """Several models; the one of the run is their centre."""

    def __init__(self, objective: Objective, model: nn.Module, settings: Settings, plan: Plan) -> None:
        choices = settings.choices
        self._plan = plan
        self._models = copies(model, choices.replicas, settings.seed, choices.start)
        together = pays_together(objective, model) if choices.together is None else choices.together
        self._gradients = (Together if together else Separate)(objective, self._models)
        self._evaluator = objective.evaluator() if choices.recalibrate else None
        self.optimizer = ReplicatedSGD(
            [_trained(replica) for replica in self._models],
            **_descent(settings),
            gamma=choices.gamma,
            gamma_after=plan.steps_per_epoch,
            gamma_schedule=choices.schedule(settings.epochs, plan.steps_per_epoch, settings.rate),
            half=choices.half,
            coupling_every=choices.coupling_every,
        )
        self.model = model
        self.replicas: Mapping[str, nn.Module] = {
            f"replica-{number}": replica for number, replica in enumerate(self._models)
        }

    def update(self, step: int, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batches = [self._plan.batch(step, stream) for stream in range(len(self._models))]
        self.optimizer.step(lambda: torch.tensor(self._gradients.losses(batches)))

    def ready(self) -> None:
        found = centre(self._models)
        if self._evaluator is not None:
            self._evaluator.load(found)
            self._evaluator.recalibrate("train", self._plan.source.count)
            found |= {name: self._evaluator.storage[name] for name in found if _is_buffer(self.model, name)}
        _put(self.model, found)

    def metrics(self, step: int) -> dict[str, float]:
        squares = self.optimizer.squared_distances()
        return {
            "gradient_evaluations": float(step * len(self._models)),
            "gamma": self.optimizer.gamma,
            "replica_distance": (sum(squares) / len(squares)) ** 0.5,
        }

    def metrics_of(self, name: str) -> dict[str, float]:
        number = list(self.replicas).index(name)
        return {"centre_distance": self.optimizer.squared_distances()[number] ** 0.5}

    def state(self) -> dict[str, Any]:
        replicas = [resolve(replica)[1] for replica in self._models]
        return {**_optimizer_state(self.optimizer), "replicas": replicas}

    def restore(self, state: Mapping[str, Any]) -> None:
        for replica, tensors in zip(self._models, state["replicas"], strict=True):
            _put(replica, tensors)
        _restore_optimizer(self.optimizer, state)


def _trained(model: nn.Module) -> list[Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _descent(settings: Settings) -> dict[str, Any]:
    return {
        "lr": settings.rate,
        "momentum": settings.momentum,
        "nesterov": settings.nesterov,
        "weight_decay": settings.weight_decay,
    }


def _optimizer(model: nn.Module, settings: Settings, plan: Plan) -> torch.optim.Optimizer:
    trained, choices = _trained(model), settings.choices
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adam": lambda: torch.optim.Adam(trained, lr=settings.rate, weight_decay=settings.weight_decay),
        "muon": lambda: Muon(trained, **_descent(settings), adjust_lr_fn=choices.adjustment),
        "sam": lambda: SAM(
            trained, **_descent(settings), rho=choices.rho, adaptive=choices.adaptive, eta=choices.eta
        ),
        "entropy-sgd": lambda: _entropy_sgd(trained, settings, plan),
    }
    return makers.get(settings.optimizer, lambda: torch.optim.SGD(trained, **_descent(settings)))()


def _entropy_sgd(trained: list[Tensor], settings: Settings, plan: Plan) -> EntropySGD:
    choices = settings.choices
    same = ["L", "inner_lr", "inner_momentum", "inner_nesterov", "inner_weight_decay", "noise"]
    same += ["noise_convention", "average", "average_on", "gamma", "scale_by_gamma", "coupling_in_momentum"]
    return EntropySGD(
        trained,
        **_descent(settings),
        **{name: getattr(choices, name) for name in same},
        gamma_schedule=choices.schedule(settings.epochs, plan.steps_per_epoch, settings.rate),
        seed=settings.seed,
    )


@contextmanager
def _keeping_buffers(model: nn.Module, keep: bool) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in model.buffers()] if keep else []
    yield
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)


def _is_buffer(model: nn.Module, name: str) -> bool:
    return name in dict(model.named_buffers())


def _put(model: nn.Module, tensors: Tensors) -> None:
    with torch.no_grad():
        for name, tensor in resolve(model)[1].items():
            tensor.copy_(tensors[name])


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    moments = {str(index): dict(state) for index, state in optimizer.state_dict()["state"].items()}
    found = [{name: group[name] for name in _FOUND if name in group} for group in optimizer.param_groups]
    return {"optimizer": moments, **({"found": found} if any(found) else {})}


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    held = optimizer.state_dict()
    held["state"] = {int(index): moments for index, moments in state["optimizer"].items()}
    optimizer.load_state_dict(held)
    for group, found in zip(optimizer.param_groups, state.get("found", []), strict=False):
        group.update(found)
