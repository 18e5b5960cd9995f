"""Copies of models that share nothing with them, and what models hold outside of their parameters and buffers."""

from __future__ import annotations

import copy
import functools
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.params import cast
from landscape.ties import tied_memo

# Attributes of every module that are torch's own; hooks are not among them, since they are the user's.
_OWN = {name for name in vars(nn.Module()) if "hooks" not in name}
# Where torch.compile keeps the function that it was given.
_COMPILED = "_torchdynamo_orig_callable"
# Of these there are many, vocabularies say, and nothing is in them.
_PLAIN = (str, bytes, int, float, complex, type(None))
# Of these a module has a dozen for its hooks, mostly empty.
_CONTAINERS = (list, dict, set, OrderedDict)
# Objects inside objects are followed that far, and no more of them: some models hold the whole of a training.
_DEEP = 6
_MANY = 50_000
# Containers of more entries, vocabularies say, are compared by identity and length.
_LONG = 1000


@dataclass
class Hidden:
    """Contents of a model outside of its registered tensors: in lists, dictionaries, objects, closures.

    Attributes:
        tensors: Where -> tensor, those of hidden modules included.
        functions: (container, key) of each function with a closure; a container is a dictionary or a list.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    functions: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Those tensors that are parameters."""
        return {name: tensor for name, tensor in self.tensors.items() if isinstance(tensor, nn.Parameter)}


def hidden_in(*roots: Any, closures: bool = True) -> Hidden:
    """Find what models hold outside of registered parameters, buffers and submodules.

    Args:
        roots: Modules.
        closures: Whether to look at what functions close over.

    Returns:
        The tensors and functions, each once.
    """
    modules = [module for root in roots if isinstance(root, nn.Module) for module in root.modules()]
    registered = {id(module) for module in modules}
    registered |= {id(t) for module in modules for t in (*module._parameters.values(), *module._buffers.values())}
    found, seen = Hidden(), set(registered)
    stack: list[tuple[str, Any, int]] = []
    for root in roots:
        if isinstance(root, nn.Module):
            for name, module in root.named_modules():
                if not isinstance(module, torch.jit.ScriptModule):
                    stack += _attributes(name, module, 0, found)
    while stack and len(seen) < _MANY:
        path, value, depth = stack.pop()
        if id(value) in seen or depth > _DEEP or (not closures and isinstance(value, types.FunctionType)):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            found.tensors[path] = value
        else:
            stack += _inside(path, value, depth, found)
    return found


def state_of(model: nn.Module) -> list[Any]:
    """Collect what a module does with its tensors, to be compared with what it was: plain values in attributes,
    and the identity of everything else that a state dict does not hold, hooks and constants among it.

    Modes of training and registered tensors are left out. Objects that are compared by identity are kept, so
    that no other takes their place in memory.
    """

    def said(value: Any, depth: int) -> Any:
        if isinstance(value, _PLAIN):
            return type(value), value
        if isinstance(value, Mapping | list | tuple) and len(value) > _LONG:
            return _Same(value), len(value)
        if isinstance(value, Mapping) and depth:
            return type(value), [(said(key, 0), said(own, depth - 1)) for key, own in value.items()]
        if isinstance(value, list | tuple) and depth:
            return type(value), [said(own, depth - 1) for own in value]
        return _Same(value), value._version if isinstance(value, Tensor) and not value.is_inference() else 0

    found: list[Any] = []
    for name, module in model.named_modules():
        held = vars(module).items() if not isinstance(module, torch.jit.ScriptModule) else ()
        own = [(key, said(value, _DEEP)) for key, value in held if key not in _OWN]
        own += [(key, said(module._buffers.get(key), 0)) for key in sorted(module._non_persistent_buffers_set)]
        found.append((name, _Same(type(module)), own))
    return found


@dataclass(frozen=True, eq=False)
class _Same:
    """An object that equals nothing but itself."""

    it: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


def _attributes(name: str, module: nn.Module, depth: int, found: Hidden) -> Iterator[tuple[str, Any, int]]:
    for key, value in vars(module).items():
        if key not in _OWN and not _is_bare(value):
            _note(found, vars(module), key, value)
            yield f"{name}.{key}" if name else key, value, depth


def _is_bare(value: Any) -> bool:
    """Return whether a value holds nothing that is looked for, as nearly all attributes of a layer do."""
    if type(value) is tuple:
        return all(isinstance(part, _PLAIN) for part in value)
    return isinstance(value, _PLAIN) or (type(value) in _CONTAINERS and not value)


def _note(found: Hidden, container: Any, key: Any, value: Any) -> None:
    holds = isinstance(value, types.FunctionType) and (value.__closure__ or value.__defaults__)
    if holds or hasattr(value, _COMPILED):
        found.functions.append((container, key))


def _inside(path: str, value: Any, depth: int, found: Hidden) -> Iterator[tuple[str, Any, int]]:
    """List the contents of a container, a callable or an object."""
    if isinstance(value, nn.Module):
        yield from _attributes(path, value, depth + 1, found)
        for part in (value._parameters, value._buffers, value._modules):
            yield from ((f"{path}.{name}", held, depth + 1) for name, held in part.items())
    elif isinstance(value, Mapping | list | tuple | set | frozenset | deque):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, held in items:
            if isinstance(value, dict | list):
                _note(found, value, key, held)
            if not isinstance(held, _PLAIN):
                yield f"{path}[{key!r}]", held, depth + 1
    elif isinstance(value, types.FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=False)
        yield from ((f"{path}:{name}", held, depth + 1) for name, cell in cells for held in _content(cell))
        yield from ((f"{path}()", held, depth + 1) for held in value.__defaults__ or ())
    elif isinstance(value, types.MethodType):
        yield path, value.__self__, depth + 1
        yield path, value.__func__, depth + 1
    elif isinstance(value, functools.partial):
        yield from ((path, held, depth + 1) for held in (value.func, *value.args, *value.keywords.values()))
    elif _may_hold(value):
        yield from ((f"{path}.{name}", held, depth + 2) for name, held in vars(value).items())


def _content(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:
        # A name that is not bound yet.
        return []


def _may_hold(value: Any) -> bool:
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, type | types.ModuleType)
        and type(value).__module__.partition(".")[0] not in ("torch", "numpy", "builtins", "logging", "threading")
    )


def copied(*values: Any) -> tuple[Any, ...]:
    """Deep copies of models and what goes with them, that share no tensor with the originals.

    Beyond what `copy.deepcopy` does: tensors that are results of others (the weights that hooks of pruning, weight
    and spectral normalisation leave behind) become constants; functions in attributes that close over parts of
    the model, or over other modules and tensors, close over their copies; functions compiled by torch.compile are
    as they were before.

    Raises:
        LandscapeError: If something cannot be copied.
    """
    held = hidden_in(*values)
    memo: dict[int, Any] = {}
    try:
        # Or the parameters of TorchScript's copies would be results of the originals.
        with torch.no_grad():
            for tensor in held.tensors.values():
                if not tensor.is_leaf:
                    memo[id(tensor)] = tensor.detach().clone()
            for value in values:
                if isinstance(value, nn.Module):
                    tied_memo(value, memo)
            made = tuple(copy.deepcopy(value, memo) for value in values)
            for container, key in hidden_in(*made, closures=False).functions:
                container[key] = _rebound(container[key], memo)
    except (RuntimeError, TypeError) as error:
        raise LandscapeError(
            "the model cannot be copied", got=error, mend="copy.deepcopy(model) must work"
        ) from error
    for value, own in zip(values, made, strict=True):
        for theirs, ours in zip(_parameters(value), _parameters(own), strict=True):
            ours.requires_grad_(theirs.requires_grad)
    return made


def _parameters(value: Any) -> list[nn.Parameter]:
    """The parameters of a module under each of their names: two that are one place become one parameter."""
    named = value.named_parameters(remove_duplicate=False) if isinstance(value, nn.Module) else ()
    return [parameter for _, parameter in named]


def _rebound(value: Any, memo: dict[int, Any]) -> Any:
    """A function that closes over copies."""
    value = getattr(value, _COMPILED, value)
    if not isinstance(value, types.FunctionType):
        return copy.deepcopy(value, memo)
    if id(value) not in memo:
        held = [_content(cell) for cell in value.__closure__ or ()]
        made = _like(value, [types.CellType(*(_bound(content, memo) for content in own)) for own in held])
        made.__defaults__ = tuple(_bound(own, memo) for own in value.__defaults__ or ()) or None
        # The original is kept too, so that no other object takes its number.
        memo[id(value)] = made
        memo.setdefault(id(memo), []).append(value)
    return memo[id(value)]


def _bound(content: Any, memo: dict[int, Any]) -> Any:
    if isinstance(content, types.FunctionType):
        return _rebound(content, memo)
    parts = content.values() if isinstance(content, Mapping) else content
    holds = isinstance(content, Mapping | list | tuple) and any(isinstance(p, Tensor | nn.Module) for p in parts)
    bound = isinstance(content, Tensor | nn.Module | types.MethodType | functools.partial)
    return copy.deepcopy(content, memo) if bound or holds else content


def private_copy(model: nn.Module, loss: Callable[..., Any] | None = None) -> tuple[nn.Module, Any]:
    """A deep copy in evaluation mode that nothing trains, and one of a loss that is a module.

    A model inside the loss is the copy.

    Raises:
        LandscapeError: If the model cannot be copied.
    """
    own, its = copied(model, loss if isinstance(loss, nn.Module) else None)
    # Modules of TorchScript have no requires_grad_ of their own.
    for parameter in own.eval().parameters():
        parameter.requires_grad_(False)
    return own, loss if its is None else its


def cast_hidden(model: nn.Module, original: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
    """Move what a copy holds in plain attributes to a device and type, as ``to`` moves parameters and buffers.

    Args:
        model: A copy; what it shares with the original stays.
        original: What it was copied from.
        device: Where to.
        dtype: The type of real numbers; None leaves them.
    """
    own = hidden_in(model).tensors.values()
    shared = {id(tensor) for tensor in hidden_in(original).tensors.values()} if own else set()
    for tensor in own:
        if id(tensor) not in shared:
            tensor.data = cast(tensor.data, dtype).to(device)


def with_constants(function: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """A function whose constants (class weights, say) are on a device and in a type; parameters stay the user's.

    Args:
        function: A `functools.partial`, a function that closes over tensors, or an object with tensors in its
            attributes; anything else is given back as it is.
        device: Where to.
        dtype: The type of real numbers; None leaves them.
    """

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor) and not value.requires_grad and not isinstance(value, nn.Parameter):
            return cast(value, dtype).to(device)
        nested = isinstance(value, functools.partial | types.FunctionType)
        return with_constants(value, device, dtype) if nested else value

    if isinstance(function, functools.partial):
        named = {name: moved(value) for name, value in function.keywords.items()}
        return functools.partial(moved(function.func), *map(moved, function.args), **named)
    if isinstance(function, types.FunctionType):
        held = [_content(cell) for cell in function.__closure__ or ()]
        if any(moved(content) is not content for own in held for content in own):
            return _like(function, [types.CellType(*map(moved, own)) for own in held])
    elif _may_hold(function) and not isinstance(function, nn.Module | types.MethodType):
        changed = {name: new for name, value in vars(function).items() if (new := moved(value)) is not value}
        if changed:
            function = copy.copy(function)
            vars(function).update(changed)
    return function


def _like(function: types.FunctionType, cells: list[Any]) -> types.FunctionType:
    """A function with other things to close over."""
    code, name = function.__code__, function.__name__
    made = types.FunctionType(code, function.__globals__, name, function.__defaults__, tuple(cells))
    made.__kwdefaults__ = function.__kwdefaults__
    made.__qualname__ = function.__qualname__
    made.__dict__.update(function.__dict__)
    return made
