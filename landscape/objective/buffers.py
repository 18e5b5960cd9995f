"""Buffers by what they are: statistics of data, functions of the weights, and the rest; found by trial.

Spectral normalisation keeps estimates of singular vectors, others cache what they compute of the weights. At other
weights such buffers are recomputed: the module that owns them is run in training mode until they no longer change.
A buffer counts as a function of the weights if that ends in the same output whatever it was before, and whatever
the data.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.layout import TensorInfo
from landscape.objective import batchnorm
from landscape.params import Tensors, gaussian

# Power iteration gains a digit in ten passes where singular values differ by a tenth, in a thousand where by a
# thousandth. What still moves by more than that share after so many is not going to rest.
_PASSES = 2000
_REST = 1e-5
# Two starts end at the same output to this share, or the buffer does not follow from the weights.
_SAME = 1e-3
# The cosine of vectors that are the same; half the square of what an estimate is off is left of it.
_ALONG = 1 - 1e-4
# Modules of more parameters are not run by themselves: what they hold is kept meanwhile.
_NUMBERS = 2**25
# The singular vectors of larger matrices are left to power iteration.
_SMALL = 1024


RAISED = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""Errors that a module may raise when it is run by itself."""


@dataclasses.dataclass(frozen=True)
class _Singular:
    """A buffer that is a singular vector of the largest singular value of a parameter seen as a matrix.

    Attributes:
        name: Of the buffer.
        weight: The parameter.
        axis: What counts its rows; all others its columns.
        side: 0 of a left vector (one number per row), 1 of a right one.
    """

    name: str
    weight: Tensor
    axis: int
    side: int


@dataclasses.dataclass
class _Route:
    """A way to have one module recompute its buffers.

    Attributes:
        module: Owns the buffers.
        prefix: Of their names.
        run: Recomputes (in training mode) and gives what comes out.
        weights: The parameters of the module, or of the one that it works for.
        names: Those of its buffers that it writes, without prefix.
        shows: Whether what comes out in training mode depends on them.
        vectors: Those that are singular vectors of a parameter of the module.
    """

    module: nn.Module
    prefix: str
    run: Callable[[int], list[Tensor]]
    weights: list[Tensor]
    names: list[str] = dataclasses.field(default_factory=list)
    shows: bool = True
    vectors: list[_Singular] = dataclasses.field(default_factory=list)

    def held(self) -> Tensors:
        """The real buffers of the module; sparse ones are constants."""
        return {n: b for n, b in self.module._buffers.items() if b is not None and _is_real(b)}


def _is_real(buffer: Tensor) -> bool:
    return buffer.is_floating_point() and buffer.layout == torch.strided


class DerivedBuffers:
    """The buffers of a model that are functions of its weights.

    Args:
        model: A private copy in evaluation mode.
        passes: Gives what runs some examples through the model; two, of unlike examples, if there are as many.

    Attributes:
        names: Their names, sorted by module.
    """

    def __init__(self, model: nn.Module, passes: Callable[[], Sequence[Callable[[], object]]]) -> None:
        self._tensors = {id(module): dict(module._buffers) for module in model.modules()}
        self._routes: list[_Route] = []
        modules = _candidates(model)
        if modules:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                calls = calls_of(modules, passes())
                for prefix, module in modules.items():
                    self._routes += self._tried(model, prefix, module, calls.get(prefix, []))
        self._start = {id(route): {n: route.held()[n].clone() for n in route.names} for route in self._routes}
        self.names = tuple(f"{r.prefix}{name}" for r in self._routes for name in r.names)

    def _tried(self, model: nn.Module, prefix: str, module: nn.Module, calls: list[Any]) -> list[_Route]:
        for run in _ways(model, prefix, module, calls):
            route = _Route(module, prefix, run, _weights_near(model, prefix))
            # A module may train others as it runs, a momentum encoder say: then it is not run.
            held = [held for held in (*module.parameters(), *module.buffers()) if held.layout == torch.strided]
            kept = [tensor.clone() for tensor in held]
            try:
                follows = self._follows(route)
            except RAISED:
                # A module that cannot be run by itself is left as it is.
                follows = False
            module.training = False
            self._rehome(route)
            own = {id(tensor) for tensor in module.buffers(recurse=False)}
            for tensor, before in zip(held, kept, strict=True):
                if not torch.equal(tensor, before):
                    follows = follows and id(tensor) in own
                    tensor.copy_(before)
            if follows:
                return [route]
        return []

    def _follows(self, route: _Route) -> bool:
        own = {name: tensor.clone() for name, tensor in route.held().items()}
        self._put(route, spoiled(own, 0))
        before = {name: tensor.clone() for name, tensor in route.held().items()}
        self._pass(route, 0)
        route.names = [name for name, tensor in route.held().items() if not torch.equal(tensor, before[name])]
        if not route.names:
            return False
        self._put(route, own)
        found, first = [], []
        for seed in (1, 2):
            self._put(route, spoiled({name: own[name] for name in route.names}, seed))
            first.append(self._pass(route, 0))
            self._converge(route, seed - 1)
            found.append([tensor.clone() for tensor in route.run(0)])
        route.shows = distance(*first) > 0
        follows = distance(*found) <= _SAME
        route.vectors = _singular_vectors(route) if follows else []
        return follows

    def recompute(self) -> None:
        """Recompute all of them from the weights held; the outcome depends on nothing else.

        Raises:
            LandscapeError: If they do not come to rest.
        """
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for route in self._routes:
                # From where it was at first, moved at random: the start must not lack what is looked for.
                self._put(route, spoiled(self._start[id(route)], 0))
                for one in route.vectors:
                    # Power iteration alone takes hundreds of passes, and stops short where values are close.
                    held = route.held()[one.name]
                    held.copy_(_largest(one.weight, one.axis)[one.side].view(held.shape))
                if not self._converge(route, 0):
                    raise LandscapeError(
                        f"'{route.prefix}{route.names[0]}' follows from the weights, and does not come to rest",
                        got=f"{_PASSES} passes",
                        mend="choose a line or plane nearer to the trained weights",
                    )

    def _converge(self, route: _Route, data: int) -> bool:
        """Run until nothing changes beyond rounding; False if that does not come to pass."""
        change, last = math.inf, list[Tensor]()
        for _ in range(_PASSES):
            now = [tensor.clone() for tensor in self._pass(route, data)]
            if not route.shows:
                now += [route.held()[name].clone() for name in route.names]
            change = distance(now, last) if last else math.inf
            last = now
            rounding = max((torch.finfo(t.dtype).eps for t in now if t.is_floating_point()), default=0.0)
            if change <= 2 * rounding or change != change:
                break
        return change <= _REST

    def _pass(self, route: _Route, data: int) -> list[Tensor]:
        route.module.training = True
        try:
            found = route.run(data)
        finally:
            route.module.training = False
        self._rehome(route)
        return found

    def _rehome(self, route: _Route) -> None:
        rehome(route.module, self._tensors[id(route.module)])

    def _put(self, route: _Route, tensors: Tensors) -> None:
        for name, tensor in tensors.items():
            route.held()[name].copy_(tensor)


def _weights_near(model: nn.Module, prefix: str) -> list[Tensor]:
    """The parameters of a module, or of the list of parametrisations that it is in."""
    owner = prefix.rstrip(".").rpartition(".")[0] if "parametrizations." in prefix else prefix.rstrip(".")
    return list(model.get_submodule(owner).parameters(recurse=False))


def _singular_vectors(route: _Route) -> list[_Singular]:
    """Which buffers of a route that has come to rest are singular vectors of one of its weights."""
    found: list[_Singular] = []
    for weight, name in itertools.product(route.weights, route.names):
        held = route.held()[name].flatten().double().cpu()
        matrix = weight.ndim > 1 and weight.is_floating_point() and weight.numel() and held.numel() > 1
        for axis in range(weight.ndim if matrix else 0):
            rows = weight.shape[axis]
            if held.numel() not in (rows, weight.numel() // rows) or min(rows, weight.numel() // rows) > _SMALL:
                continue
            for side, vector in enumerate(_largest(weight, axis)):
                along = (
                    float(vector @ held) / max(float(held.norm()), 1e-300) if vector.shape == held.shape else 0.0
                )
                if abs(along) >= _ALONG and name not in [one.name for one in found]:
                    found.append(_Singular(name, weight, axis, side))
    return found


def _largest(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The left and the right singular vector of the largest singular value, float64 on the CPU."""
    matrix = weight.detach().movedim(axis, 0).flatten(1).cpu().double()
    tall = matrix.shape[0] > matrix.shape[1]
    narrow = matrix.T if tall else matrix
    left = torch.linalg.eigh(narrow @ narrow.T).eigenvectors[:, -1]
    right = nn.functional.normalize(narrow.T @ left, dim=0)
    return (right, left) if tall else (left, right)


def rehome(module: nn.Module, home: Mapping[str, Tensor | None]) -> None:
    """Write what a module bound to the names of its buffers into the tensors that were there."""
    for name, tensor in home.items():
        bound = module._buffers.get(name)
        if tensor is not None and bound is not None and bound is not tensor:
            tensor.copy_(bound)
            module._buffers[name] = tensor


def runnable(module: nn.Module) -> bool:
    """Return whether a module is small enough to be run by itself."""
    return sum(parameter.numel() for parameter in module.parameters()) <= _NUMBERS


def holders(model: nn.Module) -> dict[str, nn.Module]:
    """Prefix of names -> module that has real buffers of its own and is no normalisation layer of torch's."""
    statistics = {id(layer) for layer in batchnorm.layers_of(model).values()}
    return {
        f"{name}." if name else "": module
        for name, module in model.named_modules()
        if id(module) not in statistics
        and not isinstance(module, torch.jit.ScriptModule)
        and any(b is not None and _is_real(b) and b.numel() for b in module._buffers.values())
    }


def _candidates(model: nn.Module) -> dict[str, nn.Module]:
    """Those that have weights, or parametrise some."""
    found = holders(model).items()
    return {p: m for p, m in found if any(True for _ in m.parameters()) or _weights_near(model, p)}


def calls_of(modules: Mapping[str, nn.Module], passes: Sequence[Callable[[], object]]) -> dict[str, list[Any]]:
    """Return the arguments of the first call of each module in each of some passes."""
    calls: dict[str, list[Any]] = {}
    for number, run in enumerate(passes):
        handles = []
        for prefix, module in modules.items():

            def keep(_module: Any, args: Any, kwargs: Any, prefix: str = prefix, number: int = number) -> None:
                if len(calls.setdefault(prefix, [])) == number:
                    calls[prefix].append((args, kwargs))

            handles.append(module.register_forward_pre_hook(keep, with_kwargs=True))
        try:
            run()
        finally:
            for handle in handles:
                handle.remove()
    return calls


def _ways(
    model: nn.Module, prefix: str, module: nn.Module, calls: list[Any]
) -> Iterable[Callable[[int], list[Tensor]]]:
    """Yield methods to recompute the buffers of a module, the cheapest first.

    A parametrisation works when its tensor is read, a hook before the forward pass can be called by itself, and
    any module can be called with what it was called with.
    """
    owner, found, rest = prefix.rpartition("parametrizations.")
    if found:
        parent, attribute = model.get_submodule(owner.rstrip(".")), rest.split(".")[0]
        yield lambda _data: [getattr(parent, attribute)]
        return
    if not calls:
        return

    def hooked(data: int) -> list[Tensor]:
        args, _ = calls[min(data, len(calls) - 1)]
        for hook in module._forward_pre_hooks.values():
            hook(module, args)
        return [value for value in vars(module).values() if isinstance(value, Tensor)]

    def called(data: int) -> list[Tensor]:
        args, kwargs = calls[min(data, len(calls) - 1)]
        return tensors_in(module(*args, **kwargs))

    if module._forward_pre_hooks:
        yield hooked
    if runnable(module):
        yield called


def tensors_in(output: Any) -> list[Tensor]:
    """All tensors of an output, whatever else is in it (caches, None)."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = tuple(output.values())
    elif dataclasses.is_dataclass(output):
        output = tuple(getattr(output, field.name) for field in dataclasses.fields(output))
    return [tensor for part in output for tensor in tensors_in(part)] if isinstance(output, tuple | list) else []


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The largest difference as a share of the largest number, over several tensors; NaN if one is not finite."""
    worst = 0.0
    for one, other in zip(a, b, strict=True):
        if one.numel() and one.is_floating_point():
            gap = float((one - other).abs().max())
            if not math.isfinite(gap):
                return math.nan
            worst = max(worst, gap / max(float(one.abs().max()), 1e-300))
    return worst


def spoiled(tensors: Mapping[str, Tensor], seed: int) -> Tensors:
    """Tensors with noise of their own size on them."""
    moved = {}
    for name, tensor in tensors.items():
        info = TensorInfo(name, "buffer", tuple(tensor.shape), "float32")
        size = float(tensor.double().square().mean().sqrt()) or 1.0
        noise = gaussian(info, seed, "buffers").to(tensor) * size
        moved[name] = tensor + noise
    return moved
