"""Finding the symmetries of a model, and trying each before it is believed."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.objective.calls import inputs_of
from landscape.objective.losses import takes_model
from landscape.params import Tensors, Weights, cast, resolve
from landscape.symmetry import construction
from landscape.symmetry.elements import Element, Generator
from landscape.symmetry.recording import Trace, private_copy, trace_of
from landscape.symmetry.same_function import PIECE, Reference, Runner
from landscape.symmetry.symmetries import Symmetries

# Factors of e^0.5 or so move every output of a wrong symmetry, and keep a right one far from overflow.
_SPREAD = 0.5
# Examples that the model is traced and the outputs are compared on.
_EXAMPLES = 8
_WALKS: dict[str, Callable[[Trace], list[Generator]]] = {
    "signs": construction.flippings,
    "permutations": construction.exchanges,
    "bases": construction.bases,
}
# What units are matched by, and on how many examples activations are compared.
MATCHES, _MATCHED = ("weights", "activations"), 256
# Recording, rescalings, these, shifts with rotations, and the trial.
_STEPS = len(_WALKS) + 4
# Rounding changes a loss by less, a penalty on rescaled weights by far more.
_SAME_LOSS = 1e-3


def find(model: nn.Module, x: Any, progress: Callable[[str, int, int], None] | None = None) -> Symmetries:
    """Find what leaves the function of a model unchanged, whatever its weights are.

    One forward pass in evaluation mode is recorded as elementary operations; labels are sent through them that say
    which factors, signs, permutations and changes of basis each operation passes on. What comes out holds for all
    inputs and all weights by construction, and is tried all the same, on the example input at other weights in
    float64: a family that does not pass is left out, with a note.

    Args:
        model: Any module; it is not changed.
        x: An example input: a tensor, a tuple of positional or a dictionary of named arguments. A few examples are
            enough.
        progress: Called with what is done next, the number of steps done and that of all.

    Returns:
        The symmetries.

    Raises:
        LandscapeError: If the model cannot be run on the input, or cannot be followed.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> [generator.name for generator in find(model, torch.ones(3, 2)).generators]
        ['rescale:0.weight', 'permutation:0.weight']
    """
    tell = progress or (lambda name, done, total: None)
    tell("recording", 0, _STEPS)
    trace = trace_of(model, x)
    if not trace.calls:
        raise LandscapeError("the output depends on no weight and no input", where=type(model).__name__)
    with _garbage_kept():
        tell("rescalings", 1, _STEPS)
        scalings, blocked = construction.scalings(trace)
        found = list(scalings)
        for done, (name, walk) in enumerate(_WALKS.items(), 2):
            tell(name, done, _STEPS)
            found += walk(trace)
        tell("shifts and rotations", len(_WALKS) + 2, _STEPS)
        # These are guesses that the trial decides about.
        guessed = construction.numbered([*construction.turns(scalings), *construction.motions(trace)])
    del trace
    runner = Runner(private_copy(model, share=True), x)
    trial = _Trial(runner, resolve(model)[1], lambda: tell("trial", _STEPS - 1, _STEPS))
    sure = construction.numbered(found)
    kept = trial.kept(sure, guessed)
    notes = [f"{one.name} was left out: a trial changed the output" for one in sure if one not in kept]
    tell("trial", _STEPS, _STEPS)
    return Symmetries(kept, tuple(blocked), tuple(notes), runner)


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Put off the search for cyclic garbage: with millions of labels and rows it takes a third of a walk."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Trial:
    """Trials of generators at other weights, in float64 if the model can be run so.

    Weights are made when they are needed and moved where they are: there is never more than one set of them.

    Args:
        runner: Runs the model.
        state: The model's weights.
        tell: Called at each trial.
    """

    def __init__(self, runner: Runner, state: Tensors, tell: Callable[[], None]) -> None:
        self._own, self._tell = state, tell
        # The weights given out last, to be given out once more, and their element.
        self._last: tuple[Element | None, Tensors] | None = None
        # Other numbers than those of the weights.
        self._source = torch.Generator().manual_seed(1)
        tell()
        try:
            self._dtype: torch.dtype | None = torch.float64
            self._reference = Reference(Runner(runner.model, runner.x, torch.float64), self._weights)
        except RuntimeError:
            self._dtype, self._last = None, None
            self._reference = Reference(runner, self._weights)

    def kept(self, *groups: tuple[Generator, ...]) -> tuple[Generator, ...]:
        """The generators whose random elements keep the function: those of all groups at once, if they do."""
        together = tuple(one for group in groups for one in group)
        if not together or self._keeps(together):
            return together
        if len(together) == 1:
            return ()
        filled = [group for group in groups if group]
        if len(filled) == 1:
            filled = [together[: len(together) // 2], together[len(together) // 2 :]]
        return tuple(one for group in filled for one in self.kept(group))

    def _keeps(self, generators: tuple[Generator, ...]) -> bool:
        self._tell()
        element = Element(tuple((one, one.draw(self._source, _SPREAD)) for one in generators))
        try:
            return self._reference.same(lambda dtype: self._weights(dtype, element))
        except LandscapeError:
            return False

    def _weights(self, dtype: torch.dtype | None, element: Element | None = None) -> Tensors:
        """Weights near by, the same each time, and after an element; the second to ask may change them."""
        last, self._last = self._last, None
        if last is not None and last[0] is element:
            state = last[1]
        else:
            # Before others are made.
            last = None
            source = torch.Generator().manual_seed(0)
            state = {name: _elsewhere(name, one, source, self._dtype) for name, one in self._own.items()}
            if element is not None and self._dtype is not None:
                element.act(state)
            elif element is not None:
                state = element.apply(state)
            if dtype is None:
                self._last = element, state
        for name in state if dtype is not None else ():
            state[name] = cast(state[name], dtype)
        return state


def _elsewhere(name: str, tensor: Tensor, source: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
    """Weights near by, none of them 0 or equal to another: fresh biases and statistics would hide faults.

    Args:
        name: Of the tensor.
        tensor: Weights; they are not changed.
        source: Draws.
        dtype: The type of real numbers; None is that of the tensor.
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return cast(tensor, dtype)
    found = torch.empty(tensor.shape, dtype=dtype or tensor.dtype)
    # In pieces: there is no room for a second copy of a large tensor.
    pieces = tensor.detach().reshape(-1).split(PIECE)
    largest = max(abs(float(end)) for piece in pieces for end in piece.float().aminmax())
    spread = 0.1 * largest + 0.1 * (tensor.ndim < 2)
    for made, numbers in zip(found.view(-1).split(PIECE), pieces, strict=True):
        noise = torch.randn(len(made), generator=source)
        if name.rsplit(".", 1)[-1] == "running_var":
            # Large enough for the factors drawn where no gain makes up for eps.
            made.copy_((numbers.float().abs() + 1.0) * torch.exp(0.3 * noise))
        else:
            made.copy_(noise.mul_(spread).add_(numbers.float()))
    return found


def symmetries_of(objective: Objective, progress: Callable[[str, int, int], None] | None = None) -> Symmetries:
    """The symmetries of an objective's model, found on its first training examples.

    Args:
        objective: Model, data and loss.
        progress: As of `find`.

    Raises:
        LandscapeError: If its loss takes (model, batch) and does not call the model, or depends on more of it than
            its outputs, so that maps that keep these do not keep the loss.
    """
    found = find(objective.model, inputs_of(objective, _EXAMPLES), progress)
    if takes_model(objective.loss) and found.generators:
        _require_same_loss(objective, found)
    return found


def align(objective: Objective, *weights: Weights, seed: int = 0, by: str = "weights") -> list[Tensors]:
    """Weights, of the same functions as before, brought near to the first by all symmetries of the model.

    Args:
        objective: Its model and data tell which symmetries there are.
        *weights: At least two. Of more than two each is brought near to the mean of the others in turn.
        seed: Draws the order in which layers are matched.
        by: ``"weights"``, or ``"activations"``: units are matched by their activations on training data. Rotations
            of bases and streams go by weights in any case.

    Returns:
        Name -> tensor dictionaries, buffers included; see `Symmetries.align`.

    Example:
        >>> a, b = ls.symmetry.align(objective, run_a[-1], run_b[-1])  # doctest: +SKIP
    """
    found, data = symmetries_of(objective), matching_data(objective, by)
    if len(weights) == 2:
        return [found.complete(weights[0]), found.align(*weights, seed, data=data)]
    return found.align_all(list(weights), seed, data=data)


def matching_data(objective: Objective, by: str) -> Any:
    """Inputs on which activations are compared; None where weights are.

    Raises:
        LandscapeError: If it is neither.
    """
    if by not in MATCHES:
        raise LandscapeError("matches units by something else", where="by", got=by, expected=" or ".join(MATCHES))
    return inputs_of(objective, _MATCHED) if by == "activations" else None


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
