"""Other coordinates for the same functions: they change geometry, and no function.

A reparametrisation theta = g(eta) makes of a loss L the loss L o g, with the gradient g'ᵀ grad L and the Hessian
g'ᵀ H g' + grad L . g''. At a minimum the second term vanishes, and the curvature is whatever g' makes of it: Dinh
et al. 2017, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.data import Split
from landscape.params import Tensors, Weights, resolve

Map = Callable[[Tensors], Tensors]


@dataclass(frozen=True)
class Reparametrisation:
    """A map from new coordinates to weights, and back.

    Attributes:
        name: In words.
        forward: g: name -> tensor in the new coordinates to name -> tensor of the model; differentiable.
        inverse: Coordinates whose image some weights are.

    Example:
        >>> sharper = radial({"w": torch.zeros(2)}, delta=1.0, r_hat=0.3, rho=0.05)
        >>> float(sharper.forward({"w": torch.tensor([0.05, 0.0])})["w"][0])
        0.30000001192092896
    """

    name: str
    forward: Map
    inverse: Map

    def push(self, coordinates: Tensors, direction: Tensors) -> Tensors:
        """g'(eta) v: where the weights go when the coordinates go along v."""
        back = torch.func.vjp(self.forward, dict(coordinates))[1]

        def along(covector: Tensors) -> Tensor:
            (pulled,) = back(covector)
            return torch.stack([(pulled[name] * direction[name]).sum() for name in direction]).sum()

        # u -> u . g'v is linear, so that its gradient is g'v, anywhere.
        zeros = {name: torch.zeros_like(tensor) for name, tensor in self.forward(dict(coordinates)).items()}
        return dict(torch.func.grad(along)(zeros))

    def pull(self, coordinates: Tensors, covector: Tensors) -> Tensors:
        """g'(eta)ᵀ u: what a gradient with respect to the weights is with respect to the coordinates."""
        back = torch.func.vjp(self.forward, dict(coordinates))[1]
        (found,) = back(dict(covector))
        return dict(found)

    def seen(self, objective: Objective, weights: Weights) -> tuple[Objective, nn.Module]:
        """L o g as an objective of its own, whose parameters are the coordinates, and its model at some weights.

        Slices, measures and everything else that takes an objective then work in the new coordinates.

        Args:
            objective: L: a model, data, and a loss that takes (output, target).
            weights: A point of the old coordinates; buffers stay as they are there.

        Returns:
            The objective, and its model: its parameters are g⁻¹(weights), its outputs those of `weights`.

        Raises:
            LandscapeError: If the inverse does not lead back, or data are streamed.
        """
        state = resolve(weights)[1]
        names = [name for name, _ in objective.model.named_parameters()]
        coordinates = self.inverse({name: state[name].detach().clone() for name in names})
        back = self.forward(coordinates)
        worst = max(float((back[name] - state[name]).abs().max()) for name in names)
        scale = max(float(state[name].abs().max()) for name in names)
        # What the rounding of a few operations leaves.
        if not worst <= 1e3 * torch.finfo(state[names[0]].dtype).eps * scale:
            raise LandscapeError("the coordinates do not lead back to the weights", where=self.name, got=worst)
        buffers = {name: state[name] for name, _ in objective.model.named_buffers() if name in state}
        model = Reparametrised(objective.model, self, coordinates, buffers)
        data: dict[str, Any] = {}
        for split, part in objective.data.items():
            if not isinstance(part, Split):
                raise LandscapeError("other coordinates need data that are resident", where=f"{split} data")
            data[split] = (part.inputs, part.targets)
        return Objective(model, loss=objective.loss, **data), model


class Reparametrised(nn.Module):
    """A model in other coordinates: its parameters are the coordinates, its outputs those at their image.

    Args:
        model: The model; it is run, never changed.
        reparametrisation: g.
        coordinates: Name -> tensor.
        buffers: Name -> tensor of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        reparametrisation: Reparametrisation,
        coordinates: Tensors,
        buffers: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self._reparametrisation, self._buffers_of = reparametrisation, dict(buffers)
        # In a tuple, so that its parameters are not parameters here.
        self._held = (model,)
        # Names of parameters have no dots.
        self._names = {name: name.replace(".", "/") for name in coordinates}
        for name, tensor in coordinates.items():
            self.register_parameter(self._names[name], nn.Parameter(tensor.detach().clone()))

    def forward(self, *inputs: Any) -> Any:
        """The model's outputs at g of the parameters."""
        coordinates = {name: getattr(self, own) for name, own in self._names.items()}
        weights = self._reparametrisation.forward(coordinates)
        return torch.func.functional_call(self._held[0], {**self._buffers_of, **weights}, inputs)


def radial(centre: Tensors, *, delta: float, r_hat: float, rho: float) -> Reparametrisation:
    """The radial transformation about a point: the identity beyond delta, a ball of r_hat seen as one of rho.

    At the centre the Hessian is multiplied by (r_hat / rho)². With r = |theta - centre|, g⁻¹ moves theta to the
    distance psi(r): rho r / r_hat up to r_hat, r from delta on, linear between.

    Args:
        centre: Name -> tensor, all parameters of a model.
        delta: The radius beyond which nothing moves.
        r_hat: A radius of the weights, less than delta.
        rho: The one it becomes, less than delta.

    Raises:
        LandscapeError: If the radii are not in this order.

    Source:
        Dinh et al. 2017, appendix A.
    """
    if not (0 < rho < delta and 0 < r_hat < delta):
        raise LandscapeError("0 < rho < delta and 0 < r_hat < delta is needed", got=f"{rho}, {r_hat}, {delta}")
    fixed = {name: tensor.detach().clone() for name, tensor in centre.items()}

    def moved(point: Tensors, inner: float, image: float) -> Tensors:
        """The distance `inner` becomes `image`; swapped, this is the inverse."""
        away = {name: point[name] - fixed[name].to(point[name]) for name in fixed}
        squared = torch.stack([part.square().sum() for part in away.values()]).sum()
        # The distance itself has no derivative at the centre, where the branch below does not need it.
        inside = squared <= inner**2
        distance = torch.where(squared > 0, squared, torch.ones_like(squared)).sqrt()
        between = (image - delta) * (distance - delta) / (inner - delta) + delta
        factor = torch.where(
            inside,
            torch.full_like(squared, image / inner),
            torch.where(distance > delta, distance, between) / distance,
        )
        return {name: fixed[name].to(part) + factor * part for name, part in away.items()}

    return Reparametrisation("radial", lambda eta: moved(eta, rho, r_hat), lambda theta: moved(theta, r_hat, rho))


def power(centre: Tensors, *, a: float, b: float) -> Reparametrisation:
    """Every coordinate by itself: eta = ((theta - centre)² + b)^a (theta - centre).

    At the centre the curvature along each coordinate is divided by b^(2a): as sharp or as flat as one likes.

    Args:
        centre: Name -> tensor, all parameters of a model.
        a: More than -1/2, so that eta increases with theta.
        b: Positive.

    Raises:
        LandscapeError: If a or b is not in its range.

    Source:
        Dinh et al. 2017, section 5 and figure 5.
    """
    if not (a > -0.5 and b > 0):
        raise LandscapeError("a > -1/2 and b > 0 is needed", got=f"{a}, {b}")
    fixed = {name: tensor.detach().clone() for name, tensor in centre.items()}

    def eta_of(theta: Tensors) -> Tensors:
        return {name: _eta(theta[name] - here.to(theta[name]), a, b) for name, here in fixed.items()}

    def theta_of(eta: Tensors) -> Tensors:
        return {name: here.to(eta[name]) + _theta(eta[name], a, b) for name, here in fixed.items()}

    return Reparametrisation("power", theta_of, eta_of)


def _eta(away: Tensor, a: float, b: float) -> Tensor:
    return (away.square() + b) ** a * away


def _slope(away: Tensor, a: float, b: float) -> Tensor:
    squared = away.square()
    return (squared + b) ** (a - 1) * ((2 * a + 1) * squared + b)


# Halvings of an interval to the last digit of float64, from any width.
_HALVINGS = 200


def _theta(eta: Tensor, a: float, b: float) -> Tensor:
    """The inverse, by bisection; two steps of Newton's method then carry value, slope and curvature."""
    with torch.no_grad():
        target = eta.detach().double().abs()
        high = torch.ones_like(target)
        while bool((_eta(high, a, b) < target).any()):
            high = torch.where(_eta(high, a, b) < target, 2 * high, high)
        low = torch.zeros_like(target)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = _eta(middle, a, b) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        root = (eta.detach().sign() * (low + high) / 2).to(eta.dtype)
    # Each step from an exact root is right to one more order in what eta differs by.
    for _ in range(2):
        root = root - (_eta(root, a, b) - eta) / _slope(root, a, b)
    return root


def weight_normalised(parameters: Tensors, names: Sequence[str]) -> Reparametrisation:
    """Weight normalisation: each filter w is s v / |v|, of which the length of v means nothing.

    With respect to v every minimum has infinite volume: grad L . v = 0, H(c v) = H(v) / c². Coordinates are named
    ``<name>_v`` and ``<name>_s``; other parameters stay as they are.

    Args:
        parameters: Name -> tensor, all parameters of a model.
        names: Those that are normalised, filter by filter along their first dimension.

    Raises:
        LandscapeError: If a name is none of the parameters, or a filter is 0.

    Source:
        Salimans & Kingma 2016; Dinh et al. 2017, section 5.1.
    """
    for name in names:
        if name not in parameters:
            raise LandscapeError(f"there is no parameter '{name}'", expected=", ".join(parameters))
        if bool((_norms(parameters[name]) == 0).any()):
            raise LandscapeError("a filter is 0 and has no direction", where=name)
    kept = [name for name in parameters if name not in names]

    def forward(eta: Tensors) -> Tensors:
        made = {name: eta[f"{name}_s"] * eta[f"{name}_v"] / _norms(eta[f"{name}_v"]) for name in names}
        return {**{name: eta[name] for name in kept}, **made}

    def inverse(theta: Tensors) -> Tensors:
        eta = {name: theta[name] for name in kept}
        for name in names:
            eta[f"{name}_v"], eta[f"{name}_s"] = theta[name], _norms(theta[name])
        return eta

    return Reparametrisation("weight normalisation", forward, inverse)


def _norms(tensor: Tensor) -> Tensor:
    """The norm of each slice along the first dimension, shaped to multiply it."""
    norms: Tensor = tensor.reshape(len(tensor), -1).norm(dim=1)
    return norms.reshape(-1, *(1,) * (tensor.ndim - 1))
