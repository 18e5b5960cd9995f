"""Commands on damaged files: ``python -m benchmarks.fuzzing --count 2000``.

One file of every kind is written, and a foreign one, then damaged in one of six ways and read to the end, many
times over by a worker with a limit on time and memory. Half of the damage is drawn from the structure of the
files, which is a small part of them. A reading ends in the same values, in a refusal (one line), or in something
that must not be: other values, another exception, a hang, a crash, much memory. Files of safetensors are left out:
they have no checksums, so that nobody can tell. So have files of older versions: texts in them can change unseen.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import random
import re
import resource
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape import LandscapeError
from landscape.errors import LandscapeWarning
from landscape.files.cells import CELLS, Cells
from landscape.files.description import describe_file
from landscape.files.opening import open_file
from landscape.files.result import load, save
from landscape.measures.table_store import save_table
from landscape.probes.table import save_table as save_columns
from landscape.projection.distance_store import DISTANCES, Kept
from landscape.storage import damage, open_read, verify_archive
from landscape.surface.store import save_surface
from landscape.trajectory.columns import read_rows
from landscape.trajectory.resume import state_arrays
from landscape.trajectory.schema import FORMAT, SCHEMA, read_header
from landscape.values.archive import read_value, save_value
from landscape.values.measure_table import Column, Table
from landscape.values.surface import Path as Walk
from landscape.values.surface import Surface

OUTCOMES = ("same", "refused", "SILENT", "EXCEPTION", "HANG", "DIED", "MEMORY")
# A reading takes milliseconds; an old file is examined by a process that has to start.
_SECONDS = 30.0
# What begins a part of the structure of an HDF5 file, and how far it reaches; a node of an index is longer.
_PARTS = re.compile(rb"TREE|SNOD|HEAP|GCOL|\x01\x00.\x00\x01\x00\x00\x00", re.DOTALL)
_REACH = 700
# What a worker may take beyond what it has when it begins.
_MEMORY = 300 * 2**20
# How often our own files are damaged for once that another is, which another process examines: that takes longer.
_OFTEN = 20
FOREIGN = "foreign.h5"


def write_all(folder: Path) -> dict[str, Path]:
    """Files of every kind: name of the kind -> path."""
    import torch
    from torch import nn

    from landscape.trajectory import Recorder

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 3))

    def record(path: Path, count: int, **how: Any) -> None:
        recorder = Recorder(path, model, problem="mine", training={"lr": 0.1}, **how)
        for step in range(count):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.01)
            state = {"step": step, "moments": [p.detach().clone() for p in model.parameters()]}
            recorder.snapshot(step, epoch=step / 7, resume_state=state, train_loss=1 / (step + 1))
        if "branch" in how or not how.get("unfinished"):
            recorder.finish()

    record(folder / "run.h5", 40)
    record(folder / "branched.h5", 12, dtype="float16")
    record(folder / "branched.h5", 6, branch="kick")
    unfinished = Recorder(folder / "unfinished.h5", model, every=2)
    for step in range(20):
        unfinished.snapshot(step, resume_state={"a": np.arange(500.0) + step}, train_loss=step)
    chance = np.random.default_rng(0)
    values = chance.normal(size=(9, 11))
    walk = Walk(np.arange(4), *chance.normal(size=(5, 4)))
    x, y = np.arange(11.0), np.arange(9.0)
    surface = Surface(x, y, {"train_loss": values}, {"train_loss": values / 9}, path=walk)
    save_surface(surface, folder / "surface.h5", identity={"a": 1})
    done = chance.random((9, 11)) < 0.5
    held = np.where(done, values, np.nan)
    part = Surface(x, y, {"train_loss": held}, {"train_loss": held}, done)
    save_surface(part, folder / "part.h5", identity={"a": 1})
    column = Column(values[0], values[1], values[2] > 0, np.ones(11, bool), {"unit": "nats"})
    table = Table(np.arange(11), np.arange(11.0), {"one": column}, {"train_loss": values[3]}, {})
    save_table(table, folder / "table.h5", {"b": 2})
    kept = Kept(finished={"all": {"squared": values @ values.T, "count": 3.0}})
    save(DISTANCES, kept, folder / "distances.h5", {"snapshots": "0" * 64})
    with Cells.open(folder / "cells.h5", lambda: {"of": "audit", "seed": 0}) as cells:
        for name in ("start", "end"):
            cells[name] = {"loss": values[0].tolist()}
            cells.flush()
        cells.keep_state("chain", [values, done])
    columns = {"path": ["line"] * 9, "loss": values[:, 0].tolist()}
    save_columns(columns, folder / "probe.h5", {"problem": "mine"})
    save_value({"a": table, "b": (1, [2.5, "x"], values)}, folder / "value.npz")
    torch.save(model.state_dict(), folder / "epoch1.pt")
    with h5py.File(folder / FOREIGN, "w", libver="latest", track_order=True) as file:
        file.attrs["title"] = "a text of variable length"
        file.create_dataset("a/b", data=values, compression="gzip", chunks=(3, 3))
        file["a/c"] = ["some", "texts"]
    return {path.name: path for path in sorted(folder.iterdir())}


def contents(path: Path) -> str:
    """The digest of all that can be read from a file, whatever kind it is.

    Raises:
        LandscapeError: If it is damaged or foreign.
    """
    found = hashlib.sha256()
    _feed(found.update, _read(path))
    return found.hexdigest()


def _read(path: Path) -> Any:
    if path.suffix == ".npz":
        return vars(read_value(path)["a"]), read_value(path)["b"], verify_archive(path)
    if path.name.endswith("probe.h5"):
        return describe_file(path, verify=True)
    if path.name.endswith("cells.h5"):
        return vars(load(CELLS, path).value)
    if path.suffix != ".h5":
        from landscape.trajectory.checkpoints.readers import read_checkpoint

        read = read_checkpoint(path)
        return read.key, {name: tensor.numpy() for name, tensor in read.tensors.items()}
    if path.name.endswith("distances.h5"):
        return vars(load(DISTANCES, path).value)
    held = open_file(path)
    if not hasattr(held, "header"):
        return vars(held)
    with open_read(path, format=FORMAT, schema=SCHEMA) as file:
        return [_run(file, path, "/")]


def _run(file: Any, path: Path, prefix: str) -> Any:
    header = read_header(file, path, prefix)
    said = {name: value for name, value in vars(header).items() if name not in ("path", "schema", "digests")}
    rows = {
        group: read_rows(file[prefix], header, group, range(len(header.steps)))
        for group in sorted({place.group for place in header.places.values()})
    }
    branches = [_run(file, path, f"{prefix.rstrip('/')}/branches/{branch.name}") for branch in header.branches]
    with damage(path):
        state = state_arrays(file[prefix])
    return said, rows, state, branches


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    if isinstance(value, np.ndarray):
        # One NaN is as good as another.
        plain = np.where(np.isnan(value), np.nan, value) if value.dtype.kind == "f" else value
        update(f"{plain.dtype}{plain.shape}".encode() + np.ascontiguousarray(plain).tobytes())
    elif isinstance(value, dict):
        for name in value:
            update(str(name).encode())
            _feed(update, value[name])
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(update, item)
    elif hasattr(value, "__dict__"):
        _feed(update, vars(value))
    else:
        update(repr(value).encode())


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A copy with one thing wrong."""
    copy = bytearray(content)
    place = chance.randrange(len(copy))
    parts = [found.start() for found in _PARTS.finditer(content)]
    if parts and chance.random() < 0.5:
        place = min(chance.choice(parts) + chance.randrange(_REACH), len(copy) - 1)
    length = min(chance.choice((4, 16, 512)), len(copy) - place)
    kind = chance.choice(("bit", "bit", "bit", "byte", "zeros", "copied", "cut", "noise"))
    if kind == "bit":
        copy[place] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        copy[place] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    elif kind == "zeros":
        copy[place : place + length] = bytes(length)
    elif kind == "noise":
        copy[place : place + length] = chance.randbytes(length)
    elif kind == "copied":
        other = chance.randrange(len(copy) - length + 1)
        copy[place : place + length] = copy[other : other + length]
    else:
        del copy[place:]
    return bytes(copy)


def _work(line: Connection) -> None:
    import torch  # noqa: F401, or the first reading would be charged with it

    warnings.simplefilter("ignore", LandscapeWarning)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    while True:
        path, expected = line.recv()
        try:
            outcome, words = ("same" if contents(path) == expected else "SILENT"), ""
        except LandscapeError as error:
            outcome, words = "refused" if "\n" not in str(error) else "EXCEPTION", str(error)
        except Exception as error:  # noqa: BLE001, this is what is looked for
            outcome, words = "EXCEPTION", f"{type(error).__name__}: {error}"
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        if grown > _MEMORY:
            outcome, words = "MEMORY", f"{grown >> 20} MB"
        line.send((outcome, words))


class _Worker:
    """A process that reads files, replaced when it hangs or dies."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def read(self, path: Path, expected: str, patience: float = _SECONDS) -> tuple[str, str]:
        """The outcome of reading a file, and what was said."""
        self._line.send((path, expected))
        try:
            if self._line.poll(patience):
                found: tuple[str, str] = self._line.recv()
                if found[0] == "MEMORY":
                    self.close()
                    self._start()
                return found
            outcome = "HANG", ""
        except EOFError:
            outcome = "DIED", ""
        self.close()
        self._start()
        return outcome

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def fuzz(count: int, seed: int, folder: Path, more: list[Path]) -> dict[str, Any]:
    """Damage files and read them.

    Args:
        count: How many readings.
        seed: Draws what is damaged.
        folder: Where the files go; those that end badly stay there.
        more: Further files to damage, such as those of older versions.

    Returns:
        Plain values: ``table`` (file -> outcome -> how many) and ``bad`` (what must not be).
    """
    made = write_all(folder) | {path.name: path for path in more}
    rare = [FOREIGN, *(path.name for path in more)]
    names = [name for name in made if name not in rare] * _OFTEN + rare
    chance = random.Random(seed)
    whole = {name: path.read_bytes() for name, path in made.items()}
    expected = {name: contents(path) if name != FOREIGN else "" for name, path in made.items()}
    table: dict[str, Counter[str]] = {name: Counter() for name in made}
    bad = []
    worker = _Worker()
    # Torch takes seconds to start.
    worker.read(next(iter(made.values())), "", 300.0)
    done = 0
    # What was tried until an interrupt counts.
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(count):
            name = names[number % len(names)]
            path = folder / f"damaged-{name}"
            path.write_bytes(damaged(whole[name], chance))
            outcome, words = worker.read(path, expected[name])
            table[name][outcome] += 1
            done += 1
            if number % 500 == 0:
                print(f"{number} of {count}: {len(bad)} bad", file=sys.stderr, flush=True)
            if outcome not in ("same", "refused"):
                bad.append({"file": name, "number": number, "outcome": outcome, "words": words})
                path.rename(folder / f"bad-{number}-{name}")
    worker.close()
    return {
        "count": done,
        "seed": seed,
        "table": {name: dict(found) for name, found in table.items()},
        "bad": bad,
    }


def main() -> None:
    """Print a table of outcomes; exit 1 if something was that must not be."""
    warnings.simplefilter("ignore", LandscapeWarning)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="fuzzing-"))
    folder.mkdir(exist_ok=True)
    found = fuzz(asked.count, asked.seed, folder, asked.more)
    print(f"{found['count']} readings, seed {found['seed']}\n")
    print("| file | " + " | ".join(OUTCOMES) + " |\n|---" * 1 + "|---" * len(OUTCOMES) + "|")
    for name, counts in found["table"].items():
        print(f"| {name} | " + " | ".join(str(counts.get(outcome, 0)) for outcome in OUTCOMES) + " |")
    print(json.dumps(found["bad"], indent=1))
    raise SystemExit(bool(found["bad"]))


if __name__ == "__main__":
    main()
