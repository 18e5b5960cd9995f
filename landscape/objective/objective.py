"""The objective: a deterministic function from weights to means per example over resident data."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError, did_you_mean
from landscape.objective.data import Source, Split, draw
from landscape.objective.devices import DEVICE, device_of, pick_device, placed
from landscape.objective.evaluator import Evaluator
from landscape.objective.examined import Examined
from landscape.objective.hidden import hidden_note
from landscape.objective.loaders import as_split
from landscape.objective.losses import mean_of, takes_model, unit_of
from landscape.objective.means import Estimate
from landscape.objective.streams import as_stream
from landscape.objective.structure import structure_of
from landscape.objective.tree import forward
from landscape.params import Weights, layout_of, resolve
from landscape.wrappers import require_present, unwrapped


class Objective(Examined):
    """Model + data + loss, functional over weights and buffers, in evaluation mode.

    The model is never changed: all work is done on private copies. Weights are those given with each call; of the
    rest (attributes, hooks, what it computes) each call finds the model as it is then, examined again where it was
    changed. Means are sums over single examples in
    float64 divided by their number, so they do not depend on the micro-batch beyond the rounding of the
    forward pass. A loss that gives the mean of a batch only is averaged over micro-batches weighted by their
    size, and then has no standard error; if that is not its mean over the whole, it is refused.

    Args:
        model: Any module. It takes a tensor of inputs as it is, a tuple by position and a dictionary by name.
        loss: ``loss(output, target)``, in the manner of `torch.nn.functional`, or ``loss(model, batch)`` if its
            first argument is called ``model``. It gives the mean over the examples of a batch, or one number per
            example, or a pair of sums and counts per example (of tokens, say), whose ratio is the mean.
        train: (inputs, targets) tensors, a Dataset of such pairs, or a DataLoader that does not shuffle. For
            ``loss(model, batch)`` batches of any kind: tensors, tuples or dictionaries of them.
        test: Likewise, or None.
        weight_decay: Coefficient lambda of the penalty (lambda / 2) * squared norm of the trainable parameters.
        unit: The unit of the loss; ``"nats"`` for cross-entropies.
        problem: The name of the problem this was built from, if any.
        problem_args: The options that rebuild it.
        device: Where to compute: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
        batch_size: Examples per forward pass; None chooses. A loss whose mean depends on the batches (one with
            negatives from the batch, say) is taken on batches of this size.
        stream: Read the data whenever they are needed instead of holding them in memory; see `streams`.
        in_place: Measure by the model itself, in the memory of its weights: no copy is made, and slices move each
            tensor only while it is read, and put it back bit for bit. For models of which two do not fit. Slices
            are of random directions then, see `projection.drawn_plane`; curvature and measures need copies.

    Raises:
        LandscapeError: If the data are empty or change from pass to pass, or the model is not deterministic.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> x, y = torch.eye(2), torch.tensor([0, 1])
        >>> objective = Objective(model, loss=nn.functional.cross_entropy, train=(x, y))
        >>> 0 < objective.value(model) < 10
        True
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Callable[..., Any],
        train: Any,
        test: Any = None,
        weight_decay: float = 0.0,
        unit: str | None = None,
        problem: str = "",
        problem_args: Mapping[str, Any] | None = None,
        device: str | torch.device = DEVICE,
        batch_size: int | None = None,
        stream: bool = False,
        in_place: bool = False,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise LandscapeError("must be at least 1", where="batch_size", got=batch_size)
        self.model = unwrapped(model, sharded=in_place)
        self.loss, self.in_place = loss, in_place
        require_present(self.model)
        self.layout = layout_of(self.model, sharded=in_place)
        if not self.layout.stored("parameter"):
            raise LandscapeError(
                "the model has no parameters",
                got=type(self.model).__name__,
                mend="pass it before torch.jit.freeze or whatever made constants of them",
            )
        self.weight_decay = weight_decay
        self.unit = unit if unit is not None else unit_of(loss)
        self.problem = problem
        self.problem_args = dict(problem_args or {})
        read: Callable[..., Source] = as_stream if stream else as_split
        given = {"train": train} | ({} if test is None else {"test": test})
        self.data = {name: read(source, name, not takes_model(loss)) for name, source in given.items()}
        self._available = {name: split.count for name, split in self.data.items()}
        self.device = pick_device(device) if not in_place else device_of(self.model)
        self._asked_batch_size = batch_size
        self._residents = weakref.WeakValueDictionary()
        self._digests: dict[str, str] = {}
        self.choices = {}
        self._scoring = None
        self._examine()
        self._start()

    def on(self, device: str | torch.device) -> Objective:
        """The same objective on another device; model and data are shared.

        Raises:
            LandscapeError: If it is in place, and its model elsewhere.
        """
        if self.in_place:
            return self
        other = copy.copy(self)
        other.device = pick_device(device)
        other._residents = weakref.WeakValueDictionary()
        other._start()
        return other

    def mean_loss(self, model: nn.Module, examples: Split) -> Tensor:
        """The mean loss of a model over some examples, without the penalty, to be differentiated."""
        loss, (inputs, targets) = placed(self.loss, examples, model, self.device)
        given = (model, inputs) if takes_model(self.loss) else (forward(model, inputs), targets)
        return mean_of(loss, *given)

    def penalised(self, weight_decay: float) -> Objective:
        """The same objective with another penalty; model and data are shared."""
        other = copy.copy(self)
        other.weight_decay = weight_decay
        other._native = other.evaluator()
        return other

    def subset(self, n: int, seed: int = 0, *, splits: Sequence[str] | None = None) -> Objective:
        """The same objective on n examples of each split, drawn without replacement; the model is shared.

        Every example of a split gets a uniform number from a Philox stream (NumPy) of which
        ``sha256("<seed>/<split>")`` is the key; the n smallest are kept, in the order of the data. So the
        same seed gives the same examples, and those of a smaller n are among those of a larger.

        Args:
            n: How many, at least 2; a split that has fewer is used whole.
            seed: A number that is not negative.
            splits: Which splits are cut; the others stay whole. By default all.

        Returns:
            The objective on the subset.

        Raises:
            LandscapeError: If n is less than 2, or every split has fewer examples.

        Example:
            >>> x, y = torch.eye(4), torch.tensor([0, 1, 2, 3])
            >>> whole = Objective(nn.Linear(4, 4), loss=nn.functional.cross_entropy, train=(x, y))
            >>> whole.subset(3).examples(["train"])
            {'train': {'used': 3, 'available': 4}}
        """
        chosen = self.splits if splits is None else tuple(splits)
        self.require(chosen, ())
        if seed < 0:
            raise LandscapeError("must not be negative", where="seed", got=seed)
        fits = [name for name in chosen if isinstance(n, int) and n <= self.data[name].count]
        other = copy.copy(self)
        # A split that has fewer is used whole; if all have fewer, the first says so.
        other.data = self.data | {name: draw(self.data[name], n, seed, name) for name in fits or chosen[:1]}
        other._residents = weakref.WeakValueDictionary()
        other._digests = {name: found for name, found in self._digests.items() if name not in chosen}
        other.origins += self.origins
        other._start()
        return other

    def examples(self, splits: Iterable[str]) -> dict[str, dict[str, int]]:
        """Count the examples of each split: those used, and all there are."""
        return {name: {"used": self.data[name].count, "available": self._available[name]} for name in splits}

    def __repr__(self) -> str:
        what, numbers = self.problem or type(self.model).__name__, sum(info.numel for info in self.layout.moving())
        splits, metrics = ", ".join(self.splits), ", ".join(self.metrics)
        return f"Objective({what}, {numbers:,} numbers move, splits {splits}, metrics {metrics}, on {self.device})"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits: ``"train"``, and ``"test"`` where there is one."""
        return tuple(self.data)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Available metrics: ``"loss"``, ``"error"`` where targets are classes, ``"penalty"``, ``"total"``."""
        return self._native.metrics

    @property
    def units(self) -> dict[str, str]:
        """The unit of each metric; an error is a share of 1."""
        return {metric: "" if metric == "error" else self.unit for metric in self.metrics}

    @property
    def derived(self) -> tuple[str, ...]:
        """The names of the buffers that follow from the weights, such as the vectors of spectral normalisation."""
        return self._native.derived.names

    @property
    def running(self) -> tuple[str, ...]:
        """The names of running statistics in layers that are none of torch's."""
        return self._native.running.names

    @functools.cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes on the model for any result: parameters that it uses and does not register."""
        note = hidden_note(self._native)
        return () if note is None else (note,)

    @property
    def batch_size(self) -> int:
        """Examples per forward pass."""
        return self._native.batch_size

    def value(self, weights: Weights, split: str = "train", metric: str = "loss") -> float:
        """The mean per example at some weights.

        Args:
            weights: A snapshot, a model, or a name -> tensor dictionary; buffers that it lacks are the model's.
            split: ``"train"`` or ``"test"``.
            metric: ``"loss"`` (without the penalty), ``"error"``, ``"penalty"`` or ``"total"``.

        Returns:
            The mean.

        Raises:
            LandscapeError: If the split or metric does not exist, or the weights do not fit the model.
        """
        return self.values(weights, [split], [metric])[f"{split}_{metric}"]

    def values(
        self, weights: Weights, splits: list[str] | None = None, metrics: list[str] | None = None
    ) -> dict[str, float]:
        """Several means in one pass per split: ``"<split>_<metric>"`` -> mean per example."""
        chosen = metrics or [metric for metric in self.metrics if metric in ("loss", "error")]
        measured = self.estimates(weights, splits or self.splits, chosen)
        return {name: estimate.mean for name, estimate in measured.items()}

    def estimates(self, weights: Weights, splits: Sequence[str], metrics: Sequence[str]) -> dict[str, Estimate]:
        """Means with their standard errors: ``"<split>_<metric>"`` -> estimate."""
        self.require(splits, metrics)
        return self._at(weights).measure(splits, metrics)

    def _at(self, weights: Weights) -> Evaluator:
        """The evaluator of `value`, of the model as it is now, with some weights in it."""
        self._follow()
        self._native.load(resolve(weights, sharded=self.in_place)[1])
        return self._native

    def require(self, splits: Any, metrics: Any) -> None:
        """Check names of splits and metrics.

        Raises:
            LandscapeError: With the nearest name, at the first that does not exist.
        """
        for given, known, word in ((splits, self.splits, "split"), (metrics, self.metrics, "metric")):
            for name in given:
                if name not in known:
                    raise LandscapeError(f"this objective has no {word} '{name}'", mend=did_you_mean(name, known))

    def fingerprint(self, weights: Weights) -> dict[str, str]:
        """Identify this function among others of the same weights and data, in words that survive a restart.

        Args:
            weights: Where its loss is tried, on the first micro-batch.

        Returns:
            Problem, options, structure of the model, name of the loss, and the loss there to five digits (so
            that an activation that is not a module tells as well).
        """
        at = self._at(weights)
        return {
            "problem": self.problem,
            "options": " ".join(f"{name}={value}" for name, value in self.problem_args.items()),
            **structure_of(self.model, self.loss),
            "loss at the origin": f"{at.first_loss():.4e}",
        }

    def data_digest(self, split: str) -> str:
        """The SHA-256 of the examples of a split."""
        if split not in self._digests:
            self._digests[split] = self.data[split].digest()
        return self._digests[split]
