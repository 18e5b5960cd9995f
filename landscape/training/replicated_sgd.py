"""Replicated-SGD: several copies of a model, each trained by SGD and drawn towards their mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from landscape.training.descent import Closure, complete, descend, evaluate, refuse
from landscape.training.gamma import GammaSchedule, gamma_of

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class ReplicatedSGD(torch.optim.SGD):
    """SGD on the sum over replicas of loss(w_a) + gamma |w_a - m|^2, m the mean of the replicas.

    Every replica moves by its own gradient + 2 gamma (w_a - m), with momentum and weight decay as in
    `torch.optim.SGD`. With gamma = 0 the updates are those of `torch.optim.SGD`, bit for bit.

    Args:
        replicas: The parameters of each: tensors, or groups of them, the same for all replicas in shape and order.
        lr: Learning rate of each replica.
        momentum: As in `torch.optim.SGD`.
        dampening: As in `torch.optim.SGD`.
        weight_decay: As in `torch.optim.SGD`.
        nesterov: As in `torch.optim.SGD`.
        gamma: gamma_0. None finds it: it is 0 in the first `gamma_after` updates, and then becomes the mean loss
            in them over the mean of |w_a - m|^2.
        gamma_after: Updates before that; the authors take an epoch.
        gamma_schedule: How gamma grows; by default it does not.
        half: Whether the coupling is gamma |w_a - m|^2 / 2, as in papers, instead of gamma |w_a - m|^2, as in the
            authors' code.
        coupling_every: The coupling acts in every so many updates only.

    Raises:
        LandscapeError: If the replicas differ in shape, or naming every argument that is wrong.

    Source:
        Pittorino et al. 2021, section 3, and code (where the loss is the mean over replicas, and `lr` is
        multiplied by their number instead).

    Example:
        >>> a, b = (torch.nn.Parameter(torch.tensor([value])) for value in (0.0, 2.0))
        >>> optimizer = ReplicatedSGD([[a], [b]], lr=0.1, gamma=1.0)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = 0 * (a.sum() + b.sum())
        ...     loss.backward()
        ...     return loss / 2
        >>> _ = optimizer.step(closure)
        >>> round(a.item(), 4), round(b.item(), 4)
        (0.2, 1.8)
    """

    def __init__(
        self,
        replicas: Sequence[Parameters],
        lr: float = 0.1,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        gamma: float | None = None,
        gamma_after: int = 1,
        gamma_schedule: GammaSchedule | None = None,
        half: bool = False,
        coupling_every: int = 1,
    ) -> None:
        own: dict[str, Any] = {
            "gamma": gamma,
            "gamma_after": gamma_after,
            "gamma_schedule": (gamma_schedule or GammaSchedule(shape="constant")).to_json(),
            "half": half,
            "coupling_every": coupling_every,
            "steps": 0,
            "loss_sum": 0.0,
        }
        groups = [_groups(replica, number) for number, replica in enumerate(replicas)]
        refuse("ReplicatedSGD", _faults(groups, own))
        super().__init__([g for one in groups for g in one], lr, momentum, dampening, weight_decay, nesterov)
        complete(self, own)
        self.defaults["replicas"] = len(groups)

    @property
    def replicas(self) -> int:
        """Number of replicas."""
        return int(self.defaults["replicas"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused after the beginning: every replica needs the same groups."""
        refuse("ReplicatedSGD", ["all groups must be given at once"] if "replicas" in self.defaults else [])
        super().add_param_group(param_group)

    @property
    def gamma(self) -> float:
        """gamma of the next update, in the first group; 0 while it waits to be found."""
        return gamma_of(self.param_groups[0])

    def squared_distances(self) -> list[float]:
        """|w_a - m|^2 of every replica, over all its parameters."""
        totals = [0.0] * self.replicas
        for _, tensors in self._together():
            centre = _mean(tensors)
            for number, tensor in enumerate(tensors):
                totals[number] += float((tensor.detach() - centre).double().square().sum())
        return totals

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """One update of all replicas.

        Args:
            closure: Clears the gradients, calls backward on the sum of the replicas' losses, each on its own
                minibatch, and returns their mean, or one loss per replica. May be left out where the gradients
                are there already and gamma is given.

        Returns:
            What the closure returned.

        Raises:
            LandscapeError: If gamma is to be found and there is no closure.
        """
        waiting = any(group["gamma"] is None for group in self.param_groups)
        loss = evaluate(closure, "ReplicatedSGD") if waiting or closure is not None else None
        if waiting:
            self._find_gamma(loss)
        for group, tensors in self._together():
            strength = gamma_of(group) * (1 if group["half"] else 2)
            if strength and group["steps"] % group["coupling_every"] == 0:
                centre = _mean(tensors)
                for tensor in tensors:
                    if tensor.grad is not None:
                        tensor.grad.add_(tensor - centre, alpha=strength)
        descend(self)
        for group in self.param_groups:
            group["steps"] += 1
        return loss

    def _find_gamma(self, loss: Any) -> None:
        head = self.param_groups[0]
        if head["steps"] >= head["gamma_after"]:
            distance = sum(self.squared_distances()) / self.replicas
            if distance > 0 and head["steps"]:
                found = head["loss_sum"] / head["steps"] / distance
                for group in self.param_groups:
                    group["gamma"] = found if group["gamma"] is None else group["gamma"]
        head["loss_sum"] += float(torch.as_tensor(loss).detach().mean())

    def _together(self) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
        """Each parameter in all replicas, with the group it has in the first."""
        each = len(self.param_groups) // self.replicas
        for place in range(each):
            groups = [self.param_groups[number * each + place] for number in range(self.replicas)]
            for tensors in zip(*(group["params"] for group in groups), strict=True):
                yield groups[0], list(tensors)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.detach() for tensor in tensors]).mean(dim=0)


def _groups(replica: Parameters, number: int) -> list[dict[str, Any]]:
    given: list[Any] = list(replica)
    groups = given if given and isinstance(given[0], dict) else [{"params": given}]
    return [{**group, "params": list(group["params"]), "replica": number} for group in groups]


def _faults(groups: list[list[dict[str, Any]]], own: dict[str, Any]) -> list[str]:
    faults = [] if groups else ["there is no replica"]
    shapes = [[[tuple(w.shape) for w in group["params"]] for group in one] for one in groups]
    faults += [f"replica {n} has other shapes than replica 0" for n, s in enumerate(shapes) if s != shapes[0]]
    rules = {
        "gamma": own["gamma"] is None or own["gamma"] >= 0,
        "gamma_after": own["gamma_after"] >= 1,
        "coupling_every": own["coupling_every"] >= 1,
    }
    return faults + [f"{name} cannot be {own[name]!r}" for name, right in rules.items() if not right]
