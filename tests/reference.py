"""Values, gradients and curvature in float64 from torch alone: what `test_proof.py` compares with."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from architectures import Architecture
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

# Steps along a vector of norm 1; the error of four points is the fourth power of it.
_STEP, _STEPS = 1e-5, (-2, -1, 1, 2)


@contextmanager
def drawn(seed: int) -> Iterator[None]:
    """Random numbers of one's own, the global state put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def made(architecture: Architecture) -> tuple[nn.Module, Any, Any]:
    """Model, inputs and targets of a row: as after some training, and left in training mode."""
    with drawn(0):
        inputs, targets = architecture.inputs(), architecture.targets()
        model = architecture.model()
        with torch.no_grad():
            called(model, inputs[0] if isinstance(targets, tuple) else inputs)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return model, inputs, targets


def called(model: nn.Module, inputs: Any) -> Any:
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def widened(tree: Any) -> Any:
    """Real numbers as float64 and complex ones as complex128, in modules, tuples and tensors."""
    if isinstance(tree, nn.Module):
        return copy.deepcopy(tree)._apply(widened)
    if isinstance(tree, tuple):
        return tuple(widened(part) for part in tree)
    if isinstance(tree, Tensor) and tree.is_complex():
        return tree.to(torch.complex128)
    return tree.double() if isinstance(tree, Tensor) and tree.is_floating_point() else tree


def real(tensor: Tensor) -> Tensor:
    """The numbers of a tensor in a row: a complex one is its real part, then its imaginary part."""
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).reshape(-1)


def joined(tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    pairs = zip(tensors, like, strict=True)
    return torch.cat([real(torch.zeros_like(b) if a is None else a).detach() for a, b in pairs])


class Reference:
    """The mean loss of a row over all its examples at once.

    Args:
        architecture: The row.
    """

    def __init__(self, architecture: Architecture) -> None:
        model, inputs, targets = made(architecture)
        self.how = architecture.reference
        self.model = widened(model).eval()
        self.loss = widened(architecture.loss)
        self.inputs, self.targets = widened(inputs), widened(targets)
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.leaves = list(self.parameters.values())
        self.origin = [leaf.detach().clone() for leaf in self.leaves]

    def move(self, steps: Mapping[str, Tensor] | Tensor, far: float) -> None:
        """To the origin plus a multiple of a step: by name, or all numbers in a row."""
        if isinstance(steps, Tensor):
            steps = dict(zip(self.parameters, self.cut(steps), strict=True))
        with torch.no_grad():
            for (name, leaf), origin in zip(self.parameters.items(), self.origin, strict=True):
                leaf.copy_(origin + far * widened(steps[name].detach()))

    def cut(self, row: Tensor) -> list[Tensor]:
        """Numbers in a row as tensors like the parameters."""
        parts = row.split([real(leaf.detach()).numel() for leaf in self.leaves])
        return [
            torch.view_as_complex(part.reshape(*leaf.shape, 2).clone())
            if leaf.is_complex()
            else part.view(leaf.shape)
            for part, leaf in zip(parts, self.leaves, strict=True)
        ]

    @property
    def size(self) -> int:
        return sum(real(origin).numel() for origin in self.origin)

    def mean(self) -> Tensor:
        """The mean loss, to be differentiated."""
        if next(iter(inspect.signature(self.loss).parameters)) == "model":
            return self.loss(self.model, self.inputs)
        return self._mean_of(called(self.model, self.inputs))

    def _mean_of(self, output: Tensor) -> Tensor:
        given = self.loss(output, self.targets)
        return given[0].sum() / given[1].sum() if isinstance(given, tuple) else given.mean()

    def value_at(self, steps: Sequence[Mapping[str, Tensor]], point: Sequence[float]) -> float:
        """The mean loss at a point of a plane."""
        pairs = list(zip(point, steps, strict=True))
        total = {name: sum(far * widened(step[name]) for far, step in pairs) for name in self.parameters}
        with math_kernels():
            self.move(total, 1.0)
            found = float(self.mean().detach())
            self.move(total, 0.0)
        return found

    def gradient(self, create_graph: bool = False) -> list[Tensor | None]:
        with math_kernels():
            found = torch.autograd.grad(self.mean(), self.leaves, create_graph=create_graph, allow_unused=True)
        return [None if part is None else part.to_dense() for part in found]

    def hessian_times(self, rows: Tensor) -> Tensor:
        """Products with vectors, shape (K, P), by a second backward pass."""
        slopes = [
            (place, part)
            for place, part in enumerate(self.gradient(True))
            if part is not None and part.requires_grad
        ]
        if not slopes:
            return torch.zeros_like(rows)
        found = []
        for row in rows:
            parts = self.cut(row)
            covectors = [parts[place] for place, _ in slopes]
            pulled = torch.autograd.grad(
                [slope for _, slope in slopes], self.leaves, covectors, retain_graph=True, allow_unused=True
            )
            found.append(joined(pulled, self.leaves))
        return torch.stack(found)

    def differences(self, rows: Tensor) -> Tensor:
        """Products with vectors, shape (K, P), by differences of gradients, with an error of the fourth order."""
        found = []
        for row in rows:
            slopes = []
            length = float(row.norm())
            for steps in _STEPS:
                self.move(row / length, steps * _STEP)
                slopes.append(joined(self.gradient(), self.leaves))
            self.move(row, 0.0)
            found.append(_derivative(slopes) * length)
        return torch.stack(found)

    def gauss_newton(self, row: Tensor) -> float:
        """v . J^T A J v, with A the Hessian of the loss by the outputs."""
        with math_kernels():
            output = called(self.model, self.inputs)
            pushed = self._pushed_back(output, row) if self.how == "backward" else self._pushed(row)
            output, pushed = output.detach(), pushed.detach()
            if self.how == "differences":
                far = float(pushed.norm()) or 1.0
                ends = [self._slope(output + steps * _STEP * pushed / far) for steps in _STEPS]
                return float((_derivative(ends).detach() * far * pushed).sum())
            slope = self._slope(output.requires_grad_())
            return float((torch.autograd.grad((slope * pushed).sum(), output)[0] * pushed).sum())

    def _slope(self, output: Tensor) -> Tensor:
        output = output if output.requires_grad else output.requires_grad_()
        return torch.autograd.grad(self._mean_of(output), output, create_graph=True)[0]

    def _pushed(self, row: Tensor) -> Tensor:
        """J v by differences of outputs."""
        ends, length = [], float(row.norm())
        for steps in _STEPS:
            self.move(row / length, steps * _STEP)
            ends.append(called(self.model, self.inputs).detach())
        self.move(row, 0.0)
        return _derivative(ends) * length

    def _pushed_back(self, output: Tensor, row: Tensor) -> Tensor:
        """J v as the gradient of J^T u . v by u."""
        u = torch.zeros_like(output, requires_grad=True)
        pulled = torch.autograd.grad(output, self.leaves, u, create_graph=True)
        return torch.autograd.grad(pulled, u, self.cut(row))[0]


def _derivative(ends: Sequence[Tensor]) -> Tensor:
    """By a step of 1, from four ends."""
    return (ends[0] - ends[3] + 8 * (ends[2] - ends[1])) / (12 * _STEP)


def _embedding(tokens: Tensor, weight: Tensor, padding: int | None = None, *given: Any) -> Tensor:
    return _own_embedding(tokens, weight, None, *given)


_own_embedding = functional.embedding


@contextmanager
def math_kernels() -> Iterator[None]:
    """Plain kernels of attention, no fast path, and gradients of padding, which moves as all else does."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), patch.object(functional, "embedding", _embedding):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def digests(*things: Any) -> list[bytes]:
    """The bits of all tensors of models, tuples and tensors."""
    found = []
    for thing in things:
        if isinstance(thing, nn.Module):
            found += digests(*thing.state_dict().values(), *thing.buffers())
            found += [str([module.training for module in thing.modules()]).encode()]
            found += [str([(p.requires_grad, p.grad, p.dtype, p.stride()) for p in thing.parameters()]).encode()]
        elif isinstance(thing, tuple):
            found += digests(*thing)
        elif isinstance(thing, Tensor):
            found.append(real(thing.detach().to_dense()).contiguous().view(torch.uint8).numpy().tobytes())
    return found


__all__ = ["Callable", "Reference", "digests", "drawn", "made", "math_kernels", "real", "widened"]
