"""Which step of training a checkpoint is from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from landscape.errors import LandscapeError
from landscape.trajectory.checkpoints import files
from landscape.trajectory.checkpoints.files import ENDINGS, differ_in_numbers_only, natural_order
from landscape.trajectory.checkpoints.readers import Checkpoint

_IN_NAME = {
    "step": re.compile(r"(?:steps?|(?<![a-z])iter(?:ation)?s?(?:_num)?)[=_\- ]*(\d+)", re.IGNORECASE),
    "epoch": re.compile(r"epochs?[=_\- ]*(\d+)", re.IGNORECASE),
    # Not the digits of a decimal fraction, such as a loss.
    "number": re.compile(r"(?<!\d)(?<!\d\.)(\d+)(?!\d)(?!\.\d)"),
}
# What a folder is called for the checkpoint that is in it; other numbers in its name can be those of a run.
_OF_FOLDER = re.compile(r"(?:checkpoint|ckpt|chkpt)[=_\- ]*(\d+)", re.IGNORECASE)
# HDF5 stores steps as int64.
_MOST = 2**63 - 1
_GIVE = "--steps with one number per checkpoint, in the order in which they are named, such as --steps 0,100,200"


@dataclass(frozen=True)
class Moment:
    """When in training a checkpoint was written.

    Attributes:
        step: Optimizer updates.
        epoch: Epochs, or None.
        source: Where the step comes from, in words.
    """

    step: int
    epoch: float | None
    source: str


def moment_of(
    checkpoint: Checkpoint, given: int | None, steps_per_epoch: int | None, *, alike: bool = False
) -> Moment:
    """When a checkpoint was written: as given, else as it says itself, else by its name.

    A step in the checkpoint or named as such in the file's name comes first; then an epoch, if it is known how
    many steps it has; then the last number of the name, or the epoch in place of a step. The folder's name is read
    where the file's says nothing.

    Args:
        checkpoint: The checkpoint.
        given: What the user says.
        steps_per_epoch: Optimizer updates per epoch, to convert epochs.
        alike: Whether all checkpoints have one name, in folders of their own.

    Raises:
        LandscapeError: If nothing says it.
    """
    named = _numbers_in_name(checkpoint.path, alike)
    said = checkpoint.said
    epoch = said.epoch if said.epoch is not None else named["epoch"]
    if given is not None:
        return Moment(given, epoch, "given")
    if said.step is not None:
        other = f", where {said.other}" if said.other else ""
        return Moment(said.step, epoch, f"{said.source} in the checkpoint{other}")
    if named["step"] is not None:
        return Moment(named["step"], epoch, "in the name")
    if epoch is not None and steps_per_epoch is not None and epoch * steps_per_epoch < _MOST:
        return Moment(round(epoch * steps_per_epoch), epoch, f"epoch {epoch:g} of {steps_per_epoch} steps")
    if named["epoch"] is None and named["number"] is not None:
        return Moment(named["number"], epoch, "the last number in the name")
    if epoch is not None and epoch == int(epoch):
        return Moment(int(epoch), epoch, "the epoch, as --steps-per-epoch is not given")
    if named.get("folder") is not None:
        return Moment(named["folder"] or 0, epoch, "the number in the folder's name")
    raise LandscapeError("nothing says which step this is", where=checkpoint.path, mend=f"pass {_GIVE}")


def named_alike(paths: Sequence[Path]) -> bool:
    """Return whether several checkpoints have one name, so that their folders tell them apart."""
    return len(paths) > 1 and len({path.name for path in paths}) == 1


def _numbers_in_name(path: Path, alike: bool) -> dict[str, int | None]:
    """Kind -> number, of the file's name without its ending; of its folder where all files are named alike."""
    folder = path.absolute().parent.name
    if alike or files.is_standard_name(path.name):
        return _numbers(folder)
    found = _numbers(_stem(path))
    if any(number is not None for number in found.values()):
        return found
    return {**_numbers(folder), "number": None, "folder": _last(_OF_FOLDER, folder)}


def _numbers(name: str) -> dict[str, int | None]:
    return {kind: _last(pattern, name) for kind, pattern in _IN_NAME.items()}


def _stem(path: Path) -> str:
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name or path.resolve().name


def _last(pattern: re.Pattern[str], name: str) -> int | None:
    found = [int(digits) for digits in pattern.findall(name) if len(digits) < 19]
    return found[-1] if found else None


def check_given(steps: Sequence[int] | None, steps_per_epoch: int | None, paths: Sequence[Path]) -> None:
    """Check what the user says of steps against the checkpoints.

    Raises:
        LandscapeError: If the numbers are not one per checkpoint, do not grow, or the order is doubtful.
    """
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise LandscapeError("must be positive", where="--steps-per-epoch", got=steps_per_epoch)
    if steps is None:
        return
    if steps_per_epoch is not None:
        raise LandscapeError("--steps and --steps-per-epoch exclude each other", mend="choose one")
    if len(steps) != len(paths):
        expected = f"one for each of {len(paths)} checkpoints"
        raise LandscapeError("the wrong number of steps", where="--steps", got=len(steps), expected=expected)
    if steps[0] < 0 or steps[-1] > _MOST or any(a >= b for a, b in pairwise(steps)):
        shown = ",".join(map(str, steps[:12])) + (",..." if len(steps) > 12 else "")
        raise LandscapeError("steps must be at least 0 and grow", where="--steps", got=shown)
    if differ_in_numbers_only(paths) and list(paths) != natural_order(paths):
        raise LandscapeError(
            "the checkpoints are not in the order of the numbers in their names",
            where="--steps",
            got=f"{paths[0].name} first, {paths[-1].name} last",
            mend="quote the pattern, which then expands in that order",
        )


def require_growth(before: tuple[Path, Moment] | None, path: Path, moment: Moment) -> None:
    """Check that a checkpoint comes behind the one before it.

    Raises:
        LandscapeError: If both have one step, or its step is smaller.
    """
    if before is None or moment.step > before[1].step:
        return
    former, last = before
    if moment.step == last.step:
        raise LandscapeError(
            f"two checkpoints are of step {moment.step}",
            where=path,
            got=f"{path.name} ({moment.source}) after {former.name} ({last.source})",
            mend=f"leave one out, or pass {_GIVE}",
        )
    raise LandscapeError(
        "steps must grow from checkpoint to checkpoint",
        where=path,
        got=f"step {moment.step} ({moment.source}) after step {last.step} of {former.name} ({last.source})",
        mend=f"quote a pattern, which then expands in natural order, or pass {_GIVE}",
    )
