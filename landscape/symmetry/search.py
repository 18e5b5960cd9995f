"""Finding the symmetries of a model, and trying each before it is believed."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.calls import inputs_of
from landscape.objective.losses import takes_model
from landscape.params import Tensors, cast, resolve, wide
from landscape.symmetry import construction
from landscape.symmetry.elements import Element, Generator
from landscape.symmetry.recording import private_copy, trace_of
from landscape.symmetry.same_function import Reference, Runner
from landscape.symmetry.symmetries import Symmetries

# Factors of e^0.5 or so move every output of a wrong symmetry, and keep a right one far from overflow.
_SPREAD = 0.5
# Examples that the model is traced and the outputs are compared on.
_EXAMPLES = 8
# Rounding changes a loss by less, a penalty on rescaled weights by far more.
_SAME_LOSS = 1e-3


def find(model: nn.Module, x: Any) -> Symmetries:
    """Find what leaves the function of a model unchanged, whatever its weights are.

    One forward pass in evaluation mode is recorded as elementary operations; labels are sent through them that say
    which factors, signs, permutations and changes of basis each operation passes on. What comes out holds for all
    inputs and all weights by construction, and is tried all the same, on the example input at other weights in
    float64: a family that does not pass is left out, with a note.

    Args:
        model: Any module; it is not changed.
        x: An example input: a tensor, a tuple of positional or a dictionary of named arguments. A few examples are
            enough.

    Returns:
        The symmetries.

    Raises:
        LandscapeError: If the model cannot be run on the input, or cannot be followed.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> [generator.name for generator in find(model, torch.ones(3, 2)).generators]
        ['rescale:0.weight', 'permutation:0.weight']
    """
    trace = trace_of(model, x)
    if not trace.calls:
        raise LandscapeError("the output depends on no weight and no input", where=type(model).__name__)
    scalings, blocked = construction.scalings(trace)
    found = [*scalings, *construction.flippings(trace), *construction.exchanges(trace), *construction.bases(trace)]
    runner = Runner(private_copy(model), x)
    state = resolve(model)[1]
    trial = _Trial(runner, state)
    kept, notes = trial.kept(construction.numbered(found))
    # These are guesses that the trial decides about.
    guessed = construction.numbered([*construction.turns(scalings), *construction.motions(trace)])
    kept = (*kept, *trial.kept(guessed)[0])
    return Symmetries(kept, tuple(blocked), tuple(notes), runner)


class _Trial:
    """Trials of generators at other weights, in float64 if the model can be run so.

    Args:
        runner: Runs the model.
        state: The model's weights.
    """

    def __init__(self, runner: Runner, state: Tensors) -> None:
        self._source = torch.Generator().manual_seed(0)
        trial = {name: _elsewhere(name, tensor, self._source) for name, tensor in state.items()}
        runner, self._state = _in_double(runner, trial) or (runner, trial)
        self._reference = Reference(runner, self._state)

    def kept(self, generators: tuple[Generator, ...]) -> tuple[tuple[Generator, ...], list[str]]:
        """The generators whose random elements keep the function, and a note for each of the others."""
        if self._keeps(generators):
            return generators, []
        kept = tuple(one for one in generators if self._keeps((one,)))
        lost = [one for one in generators if one not in kept]
        return kept, [f"{one.name} was left out: a trial changed the output" for one in lost]

    def _keeps(self, generators: tuple[Generator, ...]) -> bool:
        element = Element(tuple((one, one.draw(self._source, _SPREAD)) for one in generators))
        try:
            return not generators or self._reference.same(element.apply(self._state))
        except LandscapeError:
            return False


def _in_double(runner: Runner, trial: Tensors) -> tuple[Runner, Tensors] | None:
    """The trial in float64, if the model can be run so."""
    state = {name: cast(tensor, torch.float64) for name, tensor in trial.items()}
    doubled = Runner(runner.model, runner.x, torch.float64)
    try:
        doubled.outputs(state)
    except RuntimeError:
        return None
    return doubled, state


def _elsewhere(name: str, tensor: Tensor, source: torch.Generator) -> Tensor:
    """Weights near by, none of them 0 or equal to another: fresh biases and statistics would hide faults."""
    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    noise = torch.randn(tensor.shape, generator=source)
    if name.rsplit(".", 1)[-1] == "running_var":
        # Large enough for the factors drawn where no gain makes up for eps.
        return (tensor.float().abs() + 1.0) * torch.exp(0.3 * noise).to(tensor.dtype)
    numbers = wide(tensor)
    spread = 0.1 * float(numbers.abs().max()) + 0.1 * (tensor.ndim < 2)
    return (numbers + spread * noise).to(tensor.dtype)


def symmetries_of(objective: Objective) -> Symmetries:
    """The symmetries of an objective's model, found on its first training examples.

    Raises:
        LandscapeError: If its loss takes (model, batch) and does not call the model, or depends on more of it than
            its outputs, so that maps that keep these do not keep the loss.
    """
    found = find(objective.model, inputs_of(objective, _EXAMPLES))
    if takes_model(objective.loss) and found.generators:
        _require_same_loss(objective, found)
    return found


def _require_same_loss(objective: Objective, found: Symmetries) -> None:
    evaluator = objective.evaluator()
    batch = evaluator.first("train", _EXAMPLES)
    losses = []
    for weights in (resolve(objective.model)[1], found.random(objective.model, seed=0)):
        evaluator.load(weights)
        losses.append(evaluator.mean_of(batch))
    before, after = losses
    if not math.isclose(before, after, rel_tol=_SAME_LOSS, abs_tol=_SAME_LOSS):
        raise LandscapeError(
            "the loss depends on more than the outputs of the model (a penalty on its weights, say), so its "
            "symmetries are none of the loss",
            where="loss",
            got=f"{before:.6g}, and {after:.6g} at other weights of the same function",
            mend="leave the penalty to weight_decay=",
        )
