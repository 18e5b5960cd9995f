"""The state of an interrupted training run as plain HDF5 datasets: nested values in, the same values out.

There are two slots, and an attribute that names the one that counts. The other one is overwritten in place,
so that a run's file does not grow by a state with every snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError
from landscape.storage import Change, digest, integer_attr, read_attr, write_attr
from landscape.trajectory.schema import CARRIERS

if TYPE_CHECKING:
    from torch import Tensor

Arrays = list[NDArray[Any]]

# Room for a step counter to grow by some digits without a new dataset.
_PADDING = 4096


def encode_state(state: Mapping[str, Any], *, copy: bool = False) -> Arrays:
    """A state as arrays: the first is a JSON text that says what the others are.

    Args:
        state: Nested dictionaries, lists and tuples of numbers, strings, booleans, None, tensors and arrays.
        copy: Whether the arrays must not change when the tensors do.

    Raises:
        LandscapeError: If something else is in it.
    """
    arrays: Arrays = []
    text = json.dumps(_encode(dict(state), "state", arrays)).encode()
    text += b" " * (-len(text) % _PADDING)
    arrays = [array.copy() for array in arrays] if copy else arrays
    return [np.frombuffer(text, np.uint8), *arrays]


def decode_state(arrays: Arrays) -> dict[str, Any]:
    """The state that `encode_state` made arrays of."""
    found: dict[str, Any] = _decode(json.loads(arrays[0].tobytes()), arrays)
    return found


def write_state(change: Change | None, group: h5py.Group, state: Mapping[str, Any] | Arrays, count: int) -> None:
    """Store a state as that which goes with the first `count` snapshots.

    Args:
        change: The change under way; None where the file is new.
        group: The group of the run.
        state: A state, or what `encode_state` made of it.
        count: The number of snapshots that count when this state does.

    Raises:
        LandscapeError: If something is in it that cannot be stored.
    """
    arrays = state if isinstance(state, list) else encode_state(state)
    home = group.require_group("resume")
    name = "b" if read_attr(home, "valid") == "a" else "a"
    if change is not None and name in home and _fits(home[name], arrays):
        for index, array in enumerate(arrays):
            change.scratch(home[name][str(index)])
            home[name][str(index)][...] = array
    else:
        home.pop(name, None)
        for index, array in enumerate(arrays):
            home.create_dataset(f"{name}/{index}", data=array)
    home[name].attrs["n_valid"] = np.int64(count)
    home[name].attrs["digest"] = np.uint64(digest(*arrays))
    write_attr(home, "valid", name)


def remove_states(group: h5py.Group, kept: int | None) -> bool:
    """Remove the states of a run, and return whether there were any to remove.

    Args:
        group: The group of the run.
        kept: Leave the state that goes with so many snapshots; None leaves none.
    """
    home = group.get("resume")
    if home is None:
        return False
    valid = read_attr(home, "valid")
    if kept is None or valid not in home or integer_attr(home[valid], "n_valid") != kept:
        del group["resume"]
        return True
    others = [name for name in home if name != valid]
    for name in others:
        del home[name]
    return bool(others)


def _fits(slot: h5py.Group, arrays: Arrays) -> bool:
    return len(slot) == len(arrays) and all(
        slot[str(index)].shape == array.shape and slot[str(index)].dtype == array.dtype
        for index, array in enumerate(arrays)
    )


def read_state(group: h5py.Group) -> tuple[dict[str, Any], int] | None:
    """The state that counts and the number of snapshots it goes with, or None where there is none."""
    found = state_arrays(group)
    if found is None:
        return None
    arrays, count = found
    return decode_state(arrays), count


def state_arrays(group: h5py.Group) -> tuple[Arrays, int] | None:
    """The same as `encode_state` made of it.

    Raises:
        ValueError: If it is not what was written.
    """
    home = group.get("resume")
    if home is None or "valid" not in home.attrs:
        return None
    slot = home[read_attr(home, "valid")]
    arrays = [_numbers(slot[str(index)]) for index in range(len(slot))]
    if "digest" in slot.attrs and integer_attr(slot, "digest") != digest(*arrays):
        raise ValueError("the resume state is not what was written")
    return arrays, integer_attr(slot, "n_valid")


def _numbers(dataset: h5py.Dataset) -> NDArray[Any]:
    if dataset.dtype.kind not in "biufc":
        raise TypeError(f"{dataset.name} holds no numbers")
    return np.asarray(dataset[()])


def _encode(value: Any, where: str, arrays: Arrays) -> Any:
    """A JSON value: containers and arrays as ``{kind: ...}``, all else as it is."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        items = value.items()
        return {"dict": [[_key(k, where), _encode(v, f"{where}[{k!r}]", arrays)] for k, v in items]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(item, f"{where}[{i}]", arrays) for i, item in enumerate(value)]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        arrays.append(value)
        return {"array": len(arrays)}
    if hasattr(value, "detach"):
        array, dtype = tensor_to_numpy(value)
        arrays.append(array)
        return {"tensor": len(arrays), "dtype": dtype}
    raise LandscapeError(
        "cannot be stored",
        where=where,
        got=type(value).__name__,
        expected="dictionaries, lists, tuples, numbers, strings, booleans, None, tensors and NumPy arrays",
    )


def _key(key: Any, where: str) -> Any:
    if isinstance(key, str | int):
        return key
    raise LandscapeError("a key cannot be stored", where=where, got=repr(key), expected="a string or an integer")


def _decode(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: _decode(item, arrays) for key, item in value["dict"]}
    if "list" in value:
        return [_decode(item, arrays) for item in value["list"]]
    if "tuple" in value:
        return tuple(_decode(item, arrays) for item in value["tuple"])
    if "array" in value:
        return arrays[value["array"]]
    return numpy_to_tensor(arrays[value["tensor"]], value["dtype"])


def tensor_to_numpy(tensor: Tensor) -> tuple[NDArray[Any], str]:
    """The elements of a tensor, with NumPy's nearest type, and torch's name of their own type."""
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    plain = tensor.detach().cpu().contiguous()
    if dtype in CARRIERS:
        plain = plain.view(getattr(torch, CARRIERS[dtype]))
    return plain.numpy(), dtype


def numpy_to_tensor(array: NDArray[Any], dtype: str) -> Tensor:
    """Undo `tensor_to_numpy`; memory is shared where it can be."""
    import torch

    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return tensor.view(getattr(torch, dtype)) if dtype in CARRIERS else tensor
