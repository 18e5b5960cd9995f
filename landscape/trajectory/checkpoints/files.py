"""Which files are meant: patterns, formats by content, folders of one checkpoint or of several."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.signatures import START, kind_of_start
from landscape.storage import FAULTS, PathLike, require_file
from landscape.trajectory.checkpoints.report import Names

SAFETENSORS = ".safetensors"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".t7", ".tar")
NUMPY = (".npz", ".npy")
ENDINGS = (*PICKLES, SAFETENSORS, *NUMPY)
# What Git keeps in place of a large file until that is fetched.
_LFS = b"version https://git-lfs.github.com/"


def find_paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    """The files and folders that are named, in the order in which they are given.

    A pattern (``*``, ``?``, ``[abc]``, ``**``) stands for all that match it in natural order: epoch2 before
    epoch10.

    Args:
        given: A path or pattern, or several.

    Returns:
        Paths that exist.

    Raises:
        LandscapeError: If a path does not exist or a pattern matches nothing.
    """
    several = [given] if isinstance(given, str | os.PathLike) else list(given)
    found = [path for one in several for path in _expand(os.fspath(one))]
    if not found:
        raise LandscapeError("no checkpoints are given", mend="name some, such as 'ckpts/epoch*.pt'")
    return found


def _expand(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if os.path.lexists(path):
        return [path]
    if glob.has_magic(given):
        # Path.glob takes no absolute patterns.
        matched = natural_order(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not matched:
            raise LandscapeError("no file matches this pattern", where=repr(given))
        return matched
    raise LandscapeError("no such file or folder", where=given)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sorted with numbers by their size.

    Example:
        >>> [path.name for path in natural_order([Path("epoch10.pt"), Path("epoch2.pt")])]
        ['epoch2.pt', 'epoch10.pt']
    """
    return sorted(paths, key=lambda path: [_natural(part) for part in path.parts])


def _natural(text: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"([0-9]+)", text)
    return [(1, int(piece), piece) if i % 2 else (0, 0, piece) for i, piece in enumerate(pieces)]


def differ_in_numbers_only(paths: Sequence[Path]) -> bool:
    """Return whether several paths are one name with other numbers in it."""
    return len({re.sub(r"[0-9]+", "0", str(path)) for path in paths}) == 1


def holds_safetensors(path: Path, start: bytes) -> bool:
    """Return whether a file is one of safetensors rather than of `torch.save`: by its content, else by its ending.

    Args:
        path: The file.
        start: Its first bytes.

    Raises:
        LandscapeError: If it is a checkpoint by neither.
    """
    kind = kind_of_start(start)
    if kind is not None:
        return kind == "safetensors"
    name = path.name.lower()
    if name.endswith(ENDINGS):
        return name.endswith(SAFETENSORS)
    expected = ", ".join(ENDINGS) + " or a folder of them"
    raise LandscapeError(
        "not a checkpoint by its name", where=path, got=path.suffix or "no ending", expected=expected
    )


def read_start(path: Path) -> bytes:
    """The first bytes of a file, after checking that it can hold weights.

    Raises:
        LandscapeError: If it is missing, empty, unreadable, or a pointer of Git LFS instead of the file.
    """
    require_file(path)
    try:
        with path.open("rb") as raw:
            start = raw.read(START)
    except OSError as error:
        raise LandscapeError("cannot be read", where=path, got=error.strerror) from error
    if not start:
        raise LandscapeError("the file is empty", where=path)
    if start.startswith(_LFS):
        raise LandscapeError("a pointer of Git LFS, not the file itself", where=path, mend="run git lfs pull")
    return start


# In the order in which transformers looks for them.
_WHOLE = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin")
_INDEXED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SEARCHED = (_WHOLE[0], _INDEXED[0], _WHOLE[1], _INDEXED[1], *_WHOLE[2:])
_INDEX = ".index.json"
_TRAINER_STATE = "trainer_state.json"
# The metadata of torch.distributed.checkpoint, and its other files.
METADATA, PART = ".metadata", ".distcp"
# One of several files that make up a checkpoint.
_SHARD = re.compile(r"(.+)-0*(\d+)-of-0*(\d+)\.[a-z]+")
# What DeepSpeed calls the weights of a model-parallel rank, and what ZeRO keeps in parts.
_RANK = re.compile(r"mp_rank_\d+_model_states\.pt")
_ZERO = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_\d+_.*\.pt")
# What Accelerate calls the weights of a model in a distributed checkpoint.
_FSDP = re.compile(r"pytorch_model_fsdp_\d+")
# What trainers keep beside weights.
_BESIDE = re.compile(r"(?:optim|scheduler|scaler|rng_state|random_states|training_args|sampler|dataloader)", re.I)
ZERO_MEND = "merge them with the script zero_to_fp32.py that DeepSpeed puts beside them, and import what it writes"


def is_standard_name(name: str) -> bool:
    """Return whether all checkpoint folders use this file name, so that only the folder tells files apart."""
    return name in _WHOLE or any(pattern.fullmatch(name) for pattern in (_RANK, _FSDP))


def expand(folder: Path) -> list[Path]:
    """The checkpoints that a folder stands for: itself, or those in it in natural order.

    Raises:
        LandscapeError: If there are none.
    """
    names = names_in(folder)
    if _is_checkpoint(names):
        return [folder]
    files = [name for name in names if _is_weights(name)]
    if files:
        return natural_order(folder / name for name in files)
    inner = [folder / name for name in names if not name.startswith(".") and _BESIDE.match(name) is None]
    inner = [one for one in inner if one.is_dir()]
    found = natural_order(one for one in inner if _is_checkpoint(names_in(one)))
    if not found and any(name.endswith(PART) for name in names):
        raise LandscapeError(
            f"a distributed checkpoint without its {METADATA}",
            where=folder,
            mend="copy the whole folder; a training that was stopped may not have come to write it",
        )
    if not found:
        raise LandscapeError(
            "a folder without weights",
            where=folder,
            expected=f"files ({', '.join((*PICKLES[:4], SAFETENSORS))}), or {', '.join(_SEARCHED)}",
        )
    return found


def _is_weights(name: str) -> bool:
    known = name.lower().endswith((*PICKLES, SAFETENSORS))
    return known and not name.startswith(".") and _BESIDE.match(name) is None


def _is_checkpoint(names: Sequence[str]) -> bool:
    """Return whether the files of a folder are one checkpoint."""
    if METADATA in names or any(name in _SEARCHED or name.endswith(_INDEX) for name in names):
        return True
    return any(_SHARD.fullmatch(name) or _RANK.fullmatch(name) or _ZERO.fullmatch(name) for name in names)


def weight_files(folder: Path) -> dict[Path, list[str] | None]:
    """The files that hold the weights of a folder, each with the names to be taken from it; None is all.

    Raises:
        LandscapeError: If there are none, they are parts that only their framework can put together, or the index
            is damaged, lacks a file, or names one elsewhere.
    """
    names = names_in(folder)
    indexes = [name for name in names if name.endswith(_INDEX)]
    for name in (*_SEARCHED, *(indexes if len(indexes) == 1 else ())):
        if name in names:
            return _indexed(folder / name) if name.endswith(_INDEX) else {folder / name: None}
    if len(indexes) > 1:
        mend = "put the files of one of them into a folder of their own"
        raise LandscapeError("several indexes of weights", where=folder, got=", ".join(sorted(indexes)), mend=mend)
    ranks = sorted(name for name in names if _RANK.fullmatch(name))
    if ranks or any(_ZERO.fullmatch(name) for name in names):
        return _of_deepspeed(folder, ranks)
    shards = {found[2]: name for name in sorted(names) if (found := _SHARD.fullmatch(name)) and _is_weights(name)}
    whole = {int(found[3]) for name in shards.values() if (found := _SHARD.fullmatch(name))}
    if len(whole) != 1 or len(shards) != whole.pop():
        got = str(Names.of(shards.values()))
        raise LandscapeError("not all files of a checkpoint", where=folder, got=got, mend="copy the whole folder")
    return {folder / name: None for name in shards.values()}


def _of_deepspeed(folder: Path, ranks: Sequence[str]) -> dict[Path, list[str] | None]:
    if not ranks:
        raise LandscapeError("a checkpoint of DeepSpeed in the parts of ZeRO", where=folder, mend=ZERO_MEND)
    if len(ranks) > 1:
        raise LandscapeError(
            f"weights in {len(ranks)} parts of model parallelism",
            where=folder,
            got=str(Names.of(ranks)),
            mend="merge them with the framework that trained them, and import what it writes",
        )
    return {folder / ranks[0]: None}


def require_whole(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Check that a file of DeepSpeed holds weights, and not empty ones whose numbers ZeRO keeps elsewhere.

    Raises:
        LandscapeError: If it does not.
    """
    if is_part_of_zero(file) or (tensors and not any(tensor.numel() for tensor in tensors.values())):
        mend = f"name its folder, {file.absolute().parent}, or {ZERO_MEND}"
        raise LandscapeError("one of the parts in which ZeRO keeps weights", where=file, mend=mend)


def is_part_of_zero(file: Path) -> bool:
    """Return whether a file is one of those in which ZeRO keeps parts of a checkpoint."""
    return _ZERO.fullmatch(file.name) is not None


def is_of_deepspeed(file: Path) -> bool:
    """Return whether a file is one that DeepSpeed writes."""
    return is_part_of_zero(file) or _RANK.fullmatch(file.name) is not None


def names_in(folder: Path) -> list[str]:
    """The names of all that is in a folder.

    Raises:
        LandscapeError: If it cannot be read.
    """
    try:
        return [file.name for file in folder.iterdir()]
    except OSError as error:
        raise LandscapeError("cannot be read", where=folder, got=error.strerror) from error


def _indexed(index: Path) -> dict[Path, list[str] | None]:
    held = read_json(index).get("weight_map")
    if not isinstance(held, dict) or not held or not all(isinstance(name, str) for name in held.values()):
        raise LandscapeError("the index is damaged", where=index, expected="a weight_map of name -> file")
    wanted: dict[Path, list[str] | None] = {}
    for tensor, name in held.items():
        names = wanted.setdefault(index.parent / plain_name(name, index), [])
        if names is not None:
            names.append(tensor)
    lacking = [file.name for file in wanted if not file.is_file()]
    if lacking:
        raise LandscapeError(
            f"{len(lacking)} of {len(wanted)} files that the index names are missing",
            where=index,
            got=str(Names.of(lacking)),
            mend="copy the whole folder",
        )
    return wanted


def plain_name(name: str, index: Path, endings: tuple[str, ...] = (SAFETENSORS, ".bin", ".pt", ".pth")) -> str:
    """A name within the folder: an index must not make us read any other file.

    Raises:
        LandscapeError: If it is none.
    """
    known = name.endswith(endings)
    if not known or name.startswith(".") or any(mark in name for mark in "/\\\0:"):
        raise LandscapeError(
            "the index names a file that is not one of weights in its own folder",
            where=index,
            got=repr(name[:80]),
        )
    return name


def select(held: Mapping[str, Tensor], names: Sequence[str] | None, file: Path) -> dict[str, Tensor]:
    """The tensors that an index promises of a file.

    Raises:
        LandscapeError: If one is not there.
    """
    if names is None:
        return dict(held)
    lacking = [name for name in names if name not in held]
    if lacking:
        raise LandscapeError(
            "tensors are not in the file that the index names for them",
            where=file,
            got=str(Names.of(lacking)),
            mend="copy the whole folder",
        )
    return {name: held[name] for name in names}


def trainer_state(folder: Path) -> dict[str, Any]:
    """Read the state that the trainer of transformers wrote (``global_step``, ``epoch``); empty without it."""
    file = folder / _TRAINER_STATE
    return read_json(file) if file.is_file() else {}


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        LandscapeError: If it is damaged, or something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FAULTS as error:
        raise LandscapeError("not a JSON file, or a damaged one", where=file, got=type(error).__name__) from error
    if not isinstance(found, dict):
        raise LandscapeError("not a JSON object", where=file, got=type(found).__name__)
    return found
