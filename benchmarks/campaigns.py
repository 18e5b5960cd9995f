"""Commands that are killed and interrupted at random moments: ``python -m benchmarks.campaigns --signal INT``.

Every writing command runs in a child that is forked from a process which has imported everything. A signal
comes at a random moment; then the same command runs again in the same folder, until it ends by itself and its
results are compared with those of a run that nobody disturbed. After every trial each file under a final name
must be whole and hold no less than before; an interrupted command must end with its code and one line, and leave
no temporary file.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_TRAIN = "train digits-mlp --set width=8 --set train_size=320 --batch-size 32"
RECIPE = """# Small.
panel = [
  { kind = "curve", points = 7 },
  { kind = "measure", measure = "fisher_rao_norm" },
]
[runs]
problem = "digits-mlp"
options = { width = 8, train_size = 200 }
epochs = 3
batch_size = 50
[run]
main = { seed = 0 }
"""
STUDY = """# Small.
[study]
problem = "digits-mlp"
options = { train_size = 60, width = 8 }
epochs = 3
every = "3epochs"
batch_size = 20
[family.sgd]
lr = [0.05, 0.1, 0.2]
[measures]
names = ["fisher_rao_norm", "hessian_trace"]
[correlation]
targets = ["test_error", "loss_gap"]
resamples = 40
"""
# Name -> the command; what is there already does not stop a second run of it.
COMMANDS = {
    "train": f"{_TRAIN} --epochs 4 --every 2 -o run.h5 --resume",
    "import": "import run.h5 ../../base/epoch1.pt ../../base/epoch2.pt ../../base/epoch3.pt --overwrite",
    "surface": "plot ../../base/a.h5 --kind surface --points 15 --save-surface s.h5 -o s.png --tune "
    "batch_size=320,streams=1,threads=1,rewrite=no --engine sequential",
    "mds": "plot ../../base/a.h5 ../../base/b.h5 --kind mds --save-distances d.h5 -o mds.png",
    "measure": "measure ../../base/a.h5 --at all --measures hessian_trace,fisher_rao_norm,sam_sharpness "
    "--save m.h5 -o m.png",
    "audit": "audit ../../base/a.h5 --measures hessian_trace,fisher_rao_norm -o audit.png --json",
    "render": "render small.toml --json",
    "study": "study study.toml",
    "export": "export ../../base/a.h5 -o w.safetensors --overwrite",
    "export surface": "export ../../base/s.h5 -o s.csv --overwrite",
    "transform": "transform ../../base/a.h5 -o t.h5 --alpha 10 --overwrite",
    "interpolate": "probe interpolate ../../base/a.h5 ../../base/b.h5 --bn all --points 15 -o i.png --table i.csv",
    "barriers": "probe interpolate --matrix ../../base/a.h5 ../../base/b.h5 ../../base/a.h5:0 --points 9 "
    "--table b.h5",
    "connect": "probe connect ../../base/a.h5 ../../base/b.h5 -o c.h5 --overwrite --picture c.png --plane 3 "
    "--epochs 2 --points 9 --table c.json",
    "perturb": "probe perturb ../../base/a.h5 --draws 3 -o p.png --table p.h5",
    "branches": "probe perturb ../../base/a.h5 --retrain sgd --epochs 1 --branches 1 -o br.h5 --resume "
    "--picture br.png",
}
SIGNALS = {"KILL": signal.SIGKILL, "INT": signal.SIGINT, "TERM": signal.SIGTERM}
# What a killed process may leave until the next run.
_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{8}-\d+(\.d/.*)?$")
_HEARD = {signal.SIGINT, signal.SIGTERM}
# Exit code of a child that was interrupted before its command had begun: that is no trial.
_EARLY = 99
# Trials of each command before those of the next.
_ROUND = 20
# Of locks and the like.
_LIMIT = 120.0
# What differs between two runs of a command.
_VARYING = re.compile(rb'"(seconds|run_id|parent_run_id|created_utc|report|cache)": ("[^"]*"|[-0-9.e]+)')


@dataclass
class Trials:
    """Outcome of the trials of one command.

    Attributes:
        outcomes: What ended how -> how often.
        bad: What must not be: (number of the trial, words).
        compared: How many results of disturbed work were compared with undisturbed ones.
        count: How many trials there were.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[int, str]] = field(default_factory=list)
    compared: int = 0
    count: int = 0

    def add(self, other: Trials) -> None:
        """Count what became of further trials."""
        self.outcomes += other.outcomes
        self.bad += other.bad
        self.compared += other.compared
        self.count += other.count


def prepare(folder: Path, names: Sequence[str]) -> None:
    """Import all, and write what the commands read."""
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch._dynamo

    from landscape.curvature import columns
    from landscape.files import cells
    from landscape.probes import connection
    from landscape.surface import store

    # Small commands are over before anything would be due.
    cells._FLUSH_SECONDS = store._FLUSH_SECONDS = connection._PATIENCE = 0.0
    # By timing products are taken side by side or not, and their last bits depend on it.
    columns._seconds = lambda work, device: 0.0
    base = folder / "base"
    base.mkdir(parents=True)
    for name, seed in (("a", 0), ("b", 1)):
        _must(base, f"{_TRAIN} --epochs 2 --seed {seed} -o {name}.h5")
    for number, step in enumerate(("first", "10", "last"), 1):
        _must(base, f"export a.h5 -o epoch{number}.pt --at {step}")
    _must(base, "plot a.h5 --kind surface --points 21 --save-surface s.h5 -o s.png")
    # What the first of the commands imports, all others have.
    for name in names:
        _main(_made(_made(folder, f"warm-{name}"), "it"), COMMANDS[name])


def _must(folder: Path, line: str) -> None:
    if _main(folder, line):
        raise RuntimeError(f"{line}: {(folder / '.err').read_text()}")


def _main(folder: Path, line: str) -> int:
    """Run a command here."""
    from landscape.cli.main import main

    before, out, err = Path.cwd(), sys.stdout, sys.stderr
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    os.chdir(folder)
    try:
        with (folder / ".out").open("w") as sys.stdout, (folder / ".err").open("w") as sys.stderr:
            main(shlex.split(line))
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        sys.stdout, sys.stderr = out, err
        os.chdir(before)
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)
    return 0


def _made(folder: Path, name: str) -> Path:
    path = folder / name.replace(" ", "-")
    path.mkdir()
    (path / "small.toml").write_text(RECIPE)
    (path / "study.toml").write_text(STUDY)
    return path


def start(folder: Path, line: str) -> int:
    """Begin a command in a child that is forked; its number."""
    # What comes before the command has begun finds it begun.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        return child
    code = 1
    try:
        from landscape.cli.main import main

        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(folder)
        sys.stdout, sys.stderr = (Path(name).open("w") for name in (".out", ".err"))  # noqa: SIM115
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            main(shlex.split(line))
        except SystemExit as error:
            # What comes now finds the command over.
            signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
            code = int(error.code or 0)
    except KeyboardInterrupt:
        code = _EARLY
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """The exit code, negative after a signal; None where it does not end in time."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.001)


def files_of(folder: Path) -> list[Path]:
    """All files of a folder but what was said; temporary ones too."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".out", ".err"))
    return sorted(path for path in found if not path.name.endswith(".lock"))


def temporary(path: Path) -> bool:
    """Return whether a name is that of a file being written."""
    return bool(_TEMPORARY.search(str(path)))


def content(path: Path) -> tuple[int, str]:
    """Amount that a file holds, and its digest without what differs between two runs; raises if it is damaged."""
    if path.suffix == ".h5":
        return _content_of_hdf5(path)
    data = path.read_bytes()
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as picture:
            data = picture.tobytes()
    elif path.suffix == ".json":
        json.loads(data)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        load_file(path)
    return 1, hashlib.sha256(_VARYING.sub(b"", data)).hexdigest()


def _content_of_hdf5(path: Path) -> tuple[int, str]:
    from landscape.errors import LandscapeError
    from landscape.files.cells import CELLS
    from landscape.files.opening import open_file
    from landscape.files.result import load
    from landscape.params import digest
    from landscape.projection.distance_store import DISTANCES
    from landscape.trajectory.overview import verify_trajectory

    try:
        held: Any = open_file(path)
    except LandscapeError as error:
        if "landscape/cells" in str(error):
            return len(load(CELLS, path).value.values), ""
        if "landscape/distances" in str(error):
            kept = load(DISTANCES, path).value
            said = {name: np.asarray(own["squared"]).tobytes() for name, own in kept.finished.items()}
            return len(kept.done) + 1000 * len(said), hashlib.sha256(repr(said).encode()).hexdigest()
        if "landscape/table" in str(error):
            return 1, hashlib.sha256(path.read_bytes()).hexdigest()
        raise
    if hasattr(held, "header"):
        verify_trajectory(path)
        runs = {"": held, **held.branches}
        said = {
            name: [(s.step, digest({**s.weights, **s.buffers}), repr(dict(s.metrics))) for s in run]
            for name, run in runs.items()
        }
        return sum(map(len, said.values())), hashlib.sha256(repr(said).encode()).hexdigest()
    if hasattr(held, "columns"):
        done = sum(int(column.done.sum()) for column in held.columns.values())
    else:
        done = int(held.done.sum())
    return done, hashlib.sha256(path.read_bytes()).hexdigest()


def results_of(folder: Path) -> dict[str, str]:
    """Name of a file -> its digest, of all that a finished command leaves."""
    return {
        str(path.relative_to(folder)): content(path)[1]
        for path in files_of(folder)
        # A cache has times in its notes, and its pictures have them beside.
        if ".landscape-cache" not in path.parts and path.suffix not in (".toml", ".md")
    }


def campaign(name: str, count: int, kind: str, chance: random.Random, folder: Path) -> Trials:
    """Disturb a command so many times."""
    line, found = COMMANDS[name], Trials(count=count)
    whole = _made(folder, "whole")
    seconds = []
    for _ in range(2):
        shutil.rmtree(whole)
        whole = _made(folder, "whole")
        began = time.monotonic()
        code = ended(start(whole, line), _LIMIT)
        seconds.append(time.monotonic() - began)
        if code:
            raise RuntimeError(f"{name}: {(whole / '.err').read_text()}")
    expected, rounds, number = results_of(whole), 0, 0
    work, held = _made(folder, "cut-0"), {}
    while number < count:
        child = start(work, line)
        done = ended(child, chance.uniform(0.0, 1.05 * min(seconds)))
        if done is None:
            number += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, SIGNALS[kind])
            done = ended(child, _LIMIT)
        if done is None:
            os.kill(child, signal.SIGKILL)
            ended(child, _LIMIT)
        if done == _EARLY:
            number -= 1
            continue
        faults = _judged(work, kind, done, held)
        found.outcomes["hang" if done is None else str(done)] += 1
        if done == 0:
            found.compared += 1
            faults += _compared(work, expected)
        for fault in faults:
            found.bad.append((number, fault))
        if done == 0 or faults:
            if not faults:
                shutil.rmtree(work)
            rounds, held = rounds + 1, {}
            work = _made(folder, f"cut-{rounds}")
    # The last one goes on to its end.
    if (code := ended(start(work, line), _LIMIT)) != 0:
        found.bad.append((count, f"the run after the last ended with {code}"))
    else:
        found.compared += 1
        found.bad += [(count, fault) for fault in _compared(work, expected)]
    return found


def _compared(work: Path, expected: dict[str, str]) -> list[str]:
    found = results_of(work)
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return [f"after all, other or missing: {', '.join(names)}"] if names else []


def _judged(work: Path, kind: str, done: int | None, held: dict[str, int]) -> list[str]:
    """Faults after a trial; what files hold now is noted for the next."""
    faults = []
    said = (work / ".err").read_text() if (work / ".err").exists() else ""
    codes = {"KILL": (0, -9), "INT": (0, 130), "TERM": (0, 143, -15)}[kind]
    if done not in codes:
        faults.append(f"ended with {done}: {said.strip()[-300:]}")
    if "Traceback" in said or "Exception ignored" in said:
        faults.append(f"a traceback: {said.strip()[-600:]}")
    if done in (130, 143) and said.count("\n") != 1:
        faults.append(f"not one line: {said!r}")
    for path in files_of(work):
        name = str(path.relative_to(work))
        if temporary(path):
            if kind != "KILL" or done == 0:
                faults.append(f"left {name}")
            continue
        try:
            amount = content(path)[0]
        except Exception as error:  # noqa: BLE001
            faults.append(f"{name} is not whole: {type(error).__name__}: {error}")
            continue
        # What is to be replaced when it is done may go.
        if amount < held.get(name, 0) and path.suffix == ".h5":
            faults.append(f"{name} holds {amount} and held {held[name]}")
        held[name] = amount
    return faults


def main() -> None:
    """Print a table of outcomes; exit 1 if something was that must not be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=SIGNALS, default="INT")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    folder = Path(asked.folder or tempfile.mkdtemp(prefix="campaigns-")).resolve()
    names = asked.commands.split(",")
    prepare(folder, names)
    found = {name: Trials() for name in names}
    for number in range(0, asked.count, _ROUND):
        for name in names:
            # Not hash(), which differs from process to process.
            chance = random.Random(f"{asked.seed}/{number}/{name}/{asked.signal}")
            place = _made(folder, f"{asked.signal}-{name}-{number}")
            more = campaign(name, min(_ROUND, asked.count - number), asked.signal, chance, place)
            for trial, fault in more.bad:
                print(f"{name} {number + trial}: {fault}", file=sys.stderr, flush=True)
            found[name].add(more)
            print(f"{name}: {number + more.count} done, {len(more.bad)} faults", file=sys.stderr, flush=True)
        _tell(found)
    raise SystemExit(any(one.bad for one in found.values()))


def _tell(found: dict[str, Trials]) -> None:
    print("| command | disturbed | ended with | finished and compared | faults |\n|---|---|---|---|---|")
    for name, one in found.items():
        outcomes = ", ".join(f"{code}: {times}" for code, times in sorted(one.outcomes.items()))
        print(f"| {name} | {one.count} | {outcomes} | {one.compared} | {len(one.bad)} |", flush=True)


if __name__ == "__main__":
    main()
