"""From a trajectory to another one of the same functions: every snapshot moved by one symmetry of the model."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from landscape.errors import LandscapeError
from landscape.forms import NUMBER, WHOLE
from landscape.options import Options, option

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.params import Tensors, Weights
    from landscape.symmetry import Element, Symmetries
    from landscape.symmetry.same_function import Check
    from landscape.trajectory import Snapshot, Trajectory
    from landscape.trajectory.writer import Row

# Name of a transformation -> (symmetries, objective, weights, its value) -> the element.
Maker: TypeAlias = "Callable[[Symmetries, Objective, Weights, Any], Element]"
MAKERS: dict[str, Maker] = {
    "alpha": lambda symmetries, objective, weights, value: symmetries.scaling(value),
    "balance": lambda symmetries, objective, weights, value: symmetries.balancing(weights),
    "flattest": lambda symmetries, objective, weights, value: symmetries.flattening(objective, weights).element,
    "unit_norm": lambda symmetries, objective, weights, value: symmetries.normalising(weights),
    "permute": lambda symmetries, objective, weights, value: symmetries.draw(value, kinds=["permutation"]),
    "rescale": lambda symmetries, objective, weights, value: symmetries.draw(value, kinds=_scalings(symmetries)),
    "random_basis": lambda symmetries, objective, weights, value: symmetries.draw(
        value, kinds=[kind for kind in ("basis", "turn") if symmetries.of_kind(kind)] or ["basis"]
    ),
    "rotate": lambda symmetries, objective, weights, value: symmetries.draw(value, kinds=["rotation"]),
    "canonical": lambda symmetries, objective, weights, value: symmetries.canonising(weights),
}


def _scalings(symmetries: Symmetries) -> list[str]:
    """The kinds of rescalings that the model has; or, for the message, the one that most have."""
    return sorted({generator.kind for generator in symmetries.scalings}) or ["rescale"]


@dataclass(frozen=True)
class Transform(Options):
    """Transformation of the weights; one of these. `Symmetries` has a method for each."""

    alpha: float | None = option(None, "Hidden units times A, undone by what takes them", form=NUMBER, above=0)
    balance: bool = option(False, "Equal norms of layers")
    flattest: bool = option(False, "The smallest curvature that rescalings reach on the training data")
    unit_norm: bool = option(False, "Incoming weights of norm 1, the scale pushed forward")
    permute: int | None = option(
        None, "Hidden units, channels and heads in a random order of this seed", form=WHOLE, low=0
    )
    rescale: int | None = option(None, "A random factor of this seed for each unit", form=WHOLE, low=0)
    random_basis: int | None = option(
        None,
        "Attention heads in random bases of this seed; under rotary positions pairs turned",
        form=WHOLE,
        low=0,
    )
    rotate: int | None = option(
        None, "Residual streams turned at random by this seed, through their normalisations", form=WHOLE, low=0
    )
    canonical: bool = option(False, "The representative of all symmetries")

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what is missing, or too much."""
        given = [name for name, value in self.plain().items() if value is not None and value is not False]
        if len(given) != 1:
            said = f"a transformation is one of {', '.join(MAKERS)}; got {' and '.join(given) or 'none'}"
            yield "", said.replace("_", "-")

    @property
    def name(self) -> str:
        """Which one it is."""
        return next(name for name, value in self.plain().items() if value is not None and value is not False)

    @property
    def value(self) -> Any:
        """Its number or seed; True where it has none."""
        return getattr(self, self.name)


def transform(
    run: Trajectory,
    objective: Objective,
    wanted: Transform,
    path: str | os.PathLike[str],
    *,
    at: int | str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a trajectory whose snapshots are those of a run, moved along their orbits by the same element.

    Args:
        run: The trajectory.
        objective: Its objective.
        wanted: What is done; what depends on the weights (``balance``, ``flattest``, ``unit_norm``,
        ``canonical``) is
            chosen for the last snapshot, or for the one that `at` names.
        path: The file to write: the steps, metrics and settings of the run, and where it came from.
        at: A step, ``"first"`` or ``"last"``: only this snapshot; None is all.
        overwrite: Replace a file that exists.
        progress: Called with the steps of the search for symmetries (done, in all), then with those of snapshots.

    Returns:
        Plain values: ``output``, ``run_id``, ``parent_run_id``, ``transform``, ``snapshots``, ``step``,
        ``max_output_change`` (the largest of all snapshots) and ``explained`` by rounding, ``generators``,
        ``blocked``, ``notes``.

    Raises:
        LandscapeError: If the model has no such symmetry, or outputs change by more than rounding explains.
    """
    from landscape.symmetry import symmetries_of
    from landscape.symmetry.same_function import require_same
    from landscape.trajectory.validation import described
    from landscape.trajectory.writer import write_run

    if not len(run):
        raise LandscapeError("the trajectory holds no snapshot yet", where=run.path, mend="train longer")
    index = run.index_of("last" if at is None else at)
    search = None if progress is None else lambda _name, done, total: progress(done, total)
    symmetries = symmetries_of(objective, search)
    element = MAKERS[wanted.name](symmetries, objective, run[index], wanted.value)
    rows = range(len(run)) if at is None else [index]
    moved = {"transform": {wanted.name: wanted.value}}
    found = _Change()

    def moments() -> Iterator[Row]:
        for done, row in enumerate(rows):
            snapshot = run[row]
            weights = element.apply(symmetries.complete(snapshot))
            check = symmetries.check(snapshot, weights)
            require_same(check, f"transformation of step {snapshot.step}")
            found.take(check)
            yield _row(snapshot, weights)
            if progress is not None:
                progress(done + 1, len(rows))

    settings = {"problem_args": run.problem_args, "training": run.training, "perturbation": moved}
    run_id = uuid.uuid4().hex
    attrs = {"problem": run.problem, "seed": run.seed, "run_id": run_id}
    attrs |= {"parent_run_id": run.run_id, "parent_step": run[index].step}
    if os.path.lexists(path) and not overwrite:
        raise LandscapeError("the file exists", where=os.fspath(path), mend="pass overwrite=True to replace it")
    # A trajectory that is cut short would pass for one that is whole.
    write_run(path, run.layout, *described(attrs, settings), moments())
    return {
        "output": os.fspath(path),
        "problem": run.problem,
        "run_id": run_id,
        "parent_run_id": run.run_id,
        **moved,
        "snapshots": len(rows),
        "step": int(run[index].step),
        "max_output_change": found.worst,
        "explained": found.explained,
        "generators": [generator.name for generator, _ in element.factors],
        "blocked": [str(block) for block in symmetries.blocked],
        "notes": list(symmetries.notes),
    }


@dataclass
class _Change:
    """The largest change of outputs among all snapshots, and what rounding explains of that one."""

    worst: float = 0.0
    explained: float = 0.0

    def take(self, check: Check) -> None:
        if check.max_difference >= self.worst:
            self.worst, self.explained = check.max_difference, check.explained


def _row(snapshot: Snapshot, tensors: Tensors) -> Row:
    """A snapshot with other weights; when it was taken and what was measured there stays."""
    from landscape.trajectory.rounding import rounded, take
    from landscape.trajectory.writer import Row

    values, _ = rounded(take(snapshot.layout, tensors, None), snapshot.layout, None)
    return Row(snapshot.step, snapshot.epoch, snapshot.seconds, snapshot.metrics, values)
