"""Copies of a model that are trained together, and their centre."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from landscape.copies import copied
from landscape.errors import LandscapeError
from landscape.objective import Objective, Split
from landscape.objective.losses import takes_model
from landscape.objective.tree import tree_map
from landscape.params import Tensors, Weights, resolve


def centre(weights: Sequence[Weights]) -> Tensors:
    """The mean of several weights of one model.

    Statistics of normalisation are averaged like parameters; buffers of whole numbers (how many batches were
    seen) become the mean, rounded up.

    Args:
        weights: Models, snapshots, or name -> tensor dictionaries.

    Returns:
        Name -> tensor, buffers included.

    Raises:
        LandscapeError: If they have other tensors, or there are none.

    Source:
        Pittorino et al. 2021, code.

    Example:
        >>> a, b = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, 2.0])}
        >>> centre([a, b])["w"].tolist()
        [2.0, 2.0]
    """
    states = [resolve(one)[1] for one in weights]
    if not states or any({n: t.shape for n, t in s.items()} != _shapes(states[0]) for s in states):
        raise LandscapeError("weights of one model are needed", where="centre", got=f"{len(states)} of them")
    return {name: _mean([state[name] for state in states]) for name in states[0]}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    together = torch.stack(list(tensors))
    if together.is_floating_point() or together.is_complex():
        return together.mean(dim=0)
    return together.double().mean(dim=0).ceil().to(together.dtype)


def copies(model: nn.Module, count: int, seed: int, start: str = "shuffled") -> list[nn.Module]:
    """Copies of a model to be trained as replicas; the first has the weights of the model.

    Args:
        model: The model at its initial weights.
        count: How many.
        seed: Draws the orders.
        start: ``"shuffled"``: the others have the numbers of every trained tensor in another order, which is
            another draw where the numbers of a tensor were drawn independently from one distribution;
            ``"same"``: all start at the same weights.

    Returns:
        The copies.
    """
    models = [copied(model)[0] for _ in range(count)]
    for number, replica in enumerate(models):
        if number and start == "shuffled":
            digest = hashlib.sha256(f"replica/{seed}/{number}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
            for parameter in replica.parameters():
                if parameter.requires_grad:
                    order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                    parameter.data = parameter.detach().flatten()[order].view_as(parameter)
    return models


class Separate:
    """Gradients of the replicas, one after the other."""

    def __init__(self, objective: Objective, models: Sequence[nn.Module]) -> None:
        self._objective = objective
        self._models = models

    def losses(self, batches: Sequence[Split]) -> list[float]:
        """The loss of every replica on its minibatch; the gradients are in its parameters."""
        found = []
        for model, batch in zip(self._models, batches, strict=True):
            model.zero_grad()
            loss = self._objective.mean_loss(model, batch)
            loss.backward()
            found.append(float(loss.detach()))
        return found


class Together:
    """Gradients of all replicas at once: their weights lie side by side, and the model is mapped over them.

    The parameters, buffers and gradients of the models become views of what lies together. Processor time of an
    update on one core, one after the other over together, for 2, 3, 4, 5 and 8 replicas: digits-mlp 0.6, 0.8, 1.1,
    1.5 and 2.1 with batches of 32, 0.7, 0.8, 1.1, 1.3 and 1.5 with batches of 128; digits-cnn 0.9, 1.0, 1.3, 1.3
    and 1.8 with batches of 32, 1.1, 1.0, 1.0, 1.0 and 0.6 with batches of 128.

    Raises:
        LandscapeError: If the loss takes the model, which cannot be mapped.
    """

    def __init__(self, objective: Objective, models: Sequence[nn.Module]) -> None:
        if takes_model(objective.loss):
            raise LandscapeError("a loss of (model, batch) cannot be mapped over replicas", mend="together=false")
        self._objective = objective
        self._model = copied(models[0])[0]
        self._parameters, self._buffers = stack_module_state(list(models))
        for number, model in enumerate(models):
            for name, parameter in model.named_parameters():
                stack = self._parameters[name]
                parameter.data = stack.detach()[number]
                if parameter.requires_grad:
                    stack.grad = torch.zeros_like(stack) if stack.grad is None else stack.grad
                    parameter.grad = stack.grad[number]
                else:
                    stack.requires_grad_(False)
            for name, buffer in model.named_buffers():
                buffer.data = self._buffers[name][number]

    def losses(self, batches: Sequence[Split]) -> list[float]:
        """The loss of every replica on its minibatch; the gradients are in its parameters."""
        for stack in self._parameters.values():
            if stack.grad is not None:
                stack.grad.zero_()
        inputs, targets = (
            _side_by_side([getattr(batch, kind) for batch in batches]) for kind in ("inputs", "targets")
        )

        def one(parameters: Tensors, buffers: Tensors, given: object, wanted: object) -> Tensor:
            bound = _Bound(self._model, {**parameters, **buffers})
            return self._objective.mean_loss(bound, Split(given, wanted))

        found = torch.vmap(one, randomness="different")(self._parameters, self._buffers, inputs, targets)
        found.sum().backward()
        return [float(loss) for loss in found.detach()]


def pays_together(objective: Objective, model: nn.Module) -> bool:
    """Return whether four or more replicas train faster together."""
    plain = (nn.Linear, nn.Flatten)
    stack = isinstance(model, nn.Sequential) and all(
        isinstance(layer, plain) or type(layer).__module__ == nn.ReLU.__module__ for layer in model
    )
    return stack and not takes_model(objective.loss)


class _Bound(nn.Module):
    """A model at given weights."""

    def __init__(self, model: nn.Module, state: Tensors) -> None:
        super().__init__()
        # Not as a submodule or parameters: nothing is to be registered while it is mapped.
        self.__dict__["_call"] = lambda args, kwargs: functional_call(model, state, args, kwargs)

    def forward(self, *args: object, **kwargs: object) -> object:
        return self.__dict__["_call"](args, kwargs)


def _side_by_side(trees: Sequence[object]) -> object:
    columns: list[list[Tensor]] = []
    for tree in trees:
        column: list[Tensor] = []
        tree_map(lambda tensor, column=column: column.append(tensor) or tensor, tree)  # type: ignore[misc]
        columns.append(column)
    rows = iter([torch.stack(row) for row in zip(*columns, strict=True)])
    return tree_map(lambda _: next(rows), trees[0])
