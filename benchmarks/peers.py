"""Other packages, each through its own public functions on the same model and data.

A package that is not installed is skipped. None of them is imported before it is used.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.workloads import Workload

# The batch size of the packages' own examples and of most training scripts.
_LOADER_BATCH = 128
# What goes wrong inside other packages: a peer that fails says so in the table and ends nothing.
FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    ZeroDivisionError,
    ImportError,
)

ScalarFn = Callable[[nn.Module], float]


@dataclass(frozen=True)
class Peer:
    """One way of one package.

    Attributes:
        name: For the table.
        package: The distribution it needs; None where nothing is needed.
        run: Evaluates a square grid of (workload, points along a side).
    """

    name: str
    package: str | None
    run: Callable[[Workload, int], np.ndarray]

    @property
    def version(self) -> str | None:
        """The version installed; an empty string where none is needed, None where it is missing."""
        return "" if self.package is None else version(self.package)

    def load(self) -> None:
        """Import the package, so that no timing includes it; its module is named like the distribution."""
        if self.package is not None:
            with quiet():
                importlib.import_module(self.package.replace("-", "_"))

    def seconds_per_point(self, workload: Workload) -> float:
        """The time of a grid divided by its points, set-up included."""
        side = workload.spec.peer_side
        start = time.perf_counter()
        self.run(workload, side)
        return (time.perf_counter() - start) / side**2


def version(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def quiet(seed: int = 0) -> Iterator[None]:
    """Without the prints and bars of a package, and with the global random states that it draws from set."""
    before = np.random.get_state()  # noqa: NPY002
    with (
        torch.random.fork_rng(devices=[]),
        open(os.devnull, "w") as nowhere,  # noqa: PTH123
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002


def loader(workload: Workload) -> DataLoader[Any]:
    """The data as most scripts hold them."""
    return DataLoader(TensorDataset(workload.inputs, workload.targets), batch_size=_LOADER_BATCH)


def of_tensors(workload: Workload) -> ScalarFn:
    """The loss of a model on all data at once."""
    return lambda model: workload.loss(model(workload.inputs), workload.targets).item()


def of_loader(workload: Workload) -> ScalarFn:
    """The loss of a model, batch by batch."""
    batches = loader(workload)

    def mean(model: nn.Module) -> float:
        total, count = 0.0, 0
        with torch.no_grad():
            for x, y in batches:
                total += workload.loss(model(x), y).item() * len(x)
                count += len(x)
        return total / count

    return mean


def loss_landscapes(
    workload: Workload, side: int, scalar: ScalarFn | None = None, distance: float = 1.0
) -> np.ndarray:
    """The function `random_plane` of loss-landscapes with its own metric, or one that calls a function.

    The model is put into evaluation mode before, because the package does not do so.

    Args:
        workload: Model and data.
        side: Points along each axis.
        scalar: Takes the model to a loss; None is the package's own loss over one tensor.
        distance: The argument of the package; 1 is its default.

    Returns:
        What it returns, shape (side, side).
    """
    import loss_landscapes as package
    from loss_landscapes.metrics import Loss, Metric

    class Called(Metric):
        def __call__(self, model_wrapper: Any) -> float:
            return scalar(model_wrapper.get_modules()[0])

    metric = Loss(workload.loss, workload.inputs, workload.targets) if scalar is None else Called()
    with quiet():
        return package.random_plane(workload.model, metric, distance=distance, steps=side, deepcopy_model=True)


# The default of the package is 0.01; at 1 the axes reach as far as the norm of the weights.
LANDSCAPER_DISTANCE = 0.5


def landscaper(workload: Workload, side: int, scalar: ScalarFn) -> np.ndarray:
    """The function `LossLandscape.compute` of landscaper along the directions of the workload's plane.

    Args:
        workload: Model and data.
        side: Points along each axis.
        scalar: Takes the model to a loss.

    Returns:
        The losses that it keeps, shape (side, side).
    """
    return landscaper_object(workload, side, scalar).loss


def landscaper_object(workload: Workload, side: int, scalar: ScalarFn) -> Any:
    """The whole object of `landscaper`."""
    from landscaper import LossLandscape

    model = copy.deepcopy(workload.model)
    with quiet():
        return LossLandscape.compute(
            model,
            None,
            landscaper_directions(workload),
            lambda moved, data: scalar(moved),
            steps=side,
            distance=LANDSCAPER_DISTANCE,
            dim=2,
            device="cpu",
        )


def landscaper_directions(workload: Workload) -> list[list[Tensor]]:
    """The directions of the workload's plane in the order of the parameters."""
    return [
        [
            direction.get(name, torch.zeros_like(tensor)).clone()
            for name, tensor in workload.model.named_parameters()
        ]
        for direction in workload.plane.directions
    ]


def loss_landscape_3d(workload: Workload, side: int) -> np.ndarray:
    """The calculator of loss-landscape-3d with its random directions over [-1, 1].

    Args:
        workload: Model and data.
        side: Points along each axis.

    Returns:
        The losses, shape (side, side), first axis x.
    """
    from loss_landscape_3d import generate_random_directions

    with quiet():
        along = generate_random_directions(workload.model)
    return loss_landscape_3d_along(workload, np.linspace(-1, 1, side), *along)


def loss_landscape_3d_along(
    workload: Workload, axis: np.ndarray, first: Mapping[str, Tensor], second: Mapping[str, Tensor]
) -> np.ndarray:
    """The same along given directions; a tensor of two names moves under both."""
    from loss_landscape_3d import LossLandscapeCalculator

    model = copy.deepcopy(workload.model)
    state = model.state_dict()
    center = {name: tensor.clone() for name, tensor in state.items()}
    first, second = (_under_all_names(direction, state) for direction in (first, second))
    with quiet():
        return LossLandscapeCalculator(model, loader(workload), workload.loss).calculate(
            axis, axis, first, second, center
        )


def _under_all_names(direction: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    by_storage = {state[name].data_ptr(): moved for name, moved in direction.items()}
    return {
        name: direction.get(name, by_storage.get(tensor.data_ptr(), torch.zeros_like(tensor)))
        for name, tensor in state.items()
    }


def per_batch(workload: Workload, side: int) -> np.ndarray:
    """Our own few lines in the way of tomgoldstein/loss-landscape, which is not on PyPI.

    Every tensor is assigned anew at every point, and a loader is run through batch by batch.

    Args:
        workload: Model and data; the directions are those of its plane.
        side: Points along each axis, over [-1, 1].

    Returns:
        The losses, shape (side, side), first axis x.
    """
    model = copy.deepcopy(workload.model).eval()
    parameters = dict(model.named_parameters())
    centre = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    first, second = workload.plane.directions
    scalar = of_loader(workload)
    values = np.empty((side, side))
    for (i, j), _ in np.ndenumerate(values):
        a, b = np.linspace(-1, 1, side)[[i, j]].tolist()
        for name, tensor in parameters.items():
            if name in first:
                tensor.data = centre[name] + (a * first[name] + b * second[name])
        values[i, j] = scalar(model)
    return values


PEERS = (
    Peer("loss-landscapes, one tensor", "loss-landscapes", loss_landscapes),
    Peer(
        "loss-landscapes, DataLoader of 128",
        "loss-landscapes",
        lambda workload, side: loss_landscapes(workload, side, of_loader(workload)),
    ),
    Peer(
        "landscaper, one tensor",
        "landscaper",
        lambda workload, side: landscaper(workload, side, of_tensors(workload)),
    ),
    Peer(
        "landscaper, DataLoader of 128",
        "landscaper",
        lambda workload, side: landscaper(workload, side, of_loader(workload)),
    ),
    Peer("loss-landscape-3d, DataLoader of 128", "loss-landscape-3d", loss_landscape_3d),
    Peer("the way of tomgoldstein/loss-landscape (re-implemented), DataLoader of 128", None, per_batch),
)
