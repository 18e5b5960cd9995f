"""Commands on a full disk: ``python -m benchmarks.full_disk``, as root for the file system.

Every command that writes is run with room for a part of what it writes, in three ways: on a tmpfs of a few pages
(ENOSPC), with a limit on the size of a file (EFBIG), and under a quota (EDQUOT, by a library that is loaded before
all others; gcc builds it). Right is: exit 1, one line that says why, no temporary file left, and every file that
has a final name whole.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

WAYS = {"tmpfs": "No space left on device", "file size": "File too large", "quota": "Disk quota exceeded"}
# Imported once and not by every command.
_SLOW = (
    *("torch._dynamo", "landscape.training", "landscape.surface.evaluation", "landscape.study"),
    *("landscape.recipe.render_recipe", "landscape.render.composition", "landscape.measures", "landscape.probes"),
    *("landscape.symmetry", "landscape.trajectory.checkpoints.imports", "landscape.pipeline"),
)
# Room for so much of what a command writes.
_SHARES = (0.1, 0.7)
_PAGE = 4096
_RECIPE = """# A run on a quadratic.
[runs]
problem = "toy-quadratic"
epochs = 3
[run.one]
[[panel]]
kind = "curve"
points = 3
"""
_STUDY = """# Which measures go with the test error.
[study]
problem = "digits-mlp"
options = { train_size = 60, width = 8 }
epochs = 3
every = "3epochs"
target_loss = 2.3
batch_size = 20
[family.sgd]
lr = [0.05, 0.1, 0.2]
[measures]
names = ["fisher_rao_norm"]
[correlation]
targets = ["test_error"]
resamples = 20
"""
# Name -> arguments; they run beside `in`, which holds what they read, in a folder of their own, `out`.
COMMANDS = {
    "train": "train digits-mlp -o out/t.h5 --epochs 2 --set width=8",
    "import": "import out/i.h5 in/epoch1.pt",
    "export .pt": "export in/run.h5 -o out/e.pt",
    "export .safetensors": "export in/run.h5 -o out/e.safetensors",
    "export surface": "export in/surface.h5 -o out/e.csv",
    "plot": "plot in/run.h5 --kind curve --points 3 -o out/p.png",
    "plot, surface": "plot in/run.h5 --kind surface --points 3 --save-surface out/s.h5 -o in/p.png",
    "measure": "measure in/run.h5 --measures hessian_top --at all --save out/m.h5",
    "audit": "audit in/run.h5 --measures fisher_rao_norm --subset 60 -o out/a.png",
    "transform": "transform in/run.h5 --permute 1 -o out/moved.h5",
    "render": "render out/toy.toml",
    "study": "study out/small.toml",
    "probe perturb": "probe perturb in/run.h5 --draws 2 --scales 2 -o out/perturb.png",
    "probe perturb --retrain": "probe perturb in/run.h5 --retrain gd --epochs 2 --branches 2 --noise relative:0.1 "
    "-o out/branches.h5",
    "probe interpolate": "probe interpolate in/run.h5:first in/run.h5 --points 3 --table out/t.h5 -o out/i.png",
    "probe connect": "probe connect in/run.h5:first in/run.h5 --epochs 2 --points 3 -o out/curve.h5",
    "init": "init problem out/mine.py",
    "Recorder": "",
}


def _prepare(folder: Path) -> None:
    """Files that a command finds in its own folder."""
    folder.mkdir(exist_ok=True)
    (folder / "toy.toml").write_text(_RECIPE)
    (folder / "small.toml").write_text(_STUDY)


def _record() -> None:
    """A training of a user's own."""
    import torch

    from landscape.trajectory import Recorder

    model = torch.nn.Linear(60, 60)
    with Recorder("out/r.h5", model) as recorder:
        for step in range(8):
            recorder.snapshot(step, train_loss=1.0)


def _run(arguments: str, limit: Callable[[], None]) -> tuple[int, str]:
    """The exit code of a command in a process of its own, and what it said."""
    from landscape.cli.main import main
    from landscape.errors import MachineError

    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            # A report of several steps goes to stdout, and names there what failed.
            os.dup2(said.fileno(), 2)
            os.dup2(said.fileno(), 1)
            limit()
            code = 70
            try:
                if arguments:
                    main(shlex.split(arguments))
                _record()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            except MachineError as error:
                print(f"landscape: {error}", file=sys.stderr)
                code = 1
            finally:
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(BaseException):
                        stream.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


@contextlib.contextmanager
def _full(way: str, total: int, largest: int, share: float) -> Iterator[Callable[[], None] | None]:
    """A disk with so little room; what the child does to meet it. None where this machine has no such way."""
    out = Path("out")
    if way == "tmpfs":
        out.mkdir()
        size = max(2 * _PAGE, int(share * total)) // _PAGE * _PAGE
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "out"], check=False)
        if mounted.returncode:
            yield None
            return
        try:
            yield lambda: None
        finally:
            subprocess.run(["umount", "out"], check=True)
    elif way == "file size":
        size = max(1, int(share * largest))
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    elif "LD_PRELOAD" in os.environ:
        quota = {"FULL_DISK_FOLDER": str(out.absolute()), "FULL_DISK_BYTES": str(max(1, int(share * total)))}
        yield lambda: os.environ.update(quota)
    else:
        yield None


def _faults(way: str, code: int, said: str) -> list[str]:
    """Faults after a command; none if all is right."""
    from landscape.errors import LandscapeError
    from landscape.files import open_file
    from landscape.trajectory.overview import verify_trajectory

    found = [] if code == 1 else [f"exit {code}"]
    if sum(WAYS[way] in line for line in said.splitlines()) != 1 or "Traceback" in said:
        found.append(f"said {said.strip()[-300:]!r}")
    for path in Path("out").rglob("*"):
        if (path.name.startswith(".landscape-") and path.is_file()) or ".tmp-" in path.name:
            found.append(f"left {path}")
        if path.suffix == ".h5" and not path.name.startswith("distances"):
            try:
                held = open_file(path)
                if hasattr(held, "header"):
                    verify_trajectory(path)
            except LandscapeError as error:
                found.append(str(error))
    return found


def _clear() -> None:
    shutil.rmtree("out", ignore_errors=True)


def measure(names: list[str]) -> dict[str, dict[str, list[str]]]:
    """Command -> way -> what was wrong, each share of room."""
    table: dict[str, dict[str, list[str]]] = {}
    for name in names:
        _clear()
        _prepare(Path("out"))
        before = sum(path.stat().st_size for path in Path("out").rglob("*"))
        code, said = _run(COMMANDS[name], lambda: None)
        sizes = [path.stat().st_size for path in Path("out").rglob("*") if path.is_file()]
        table[name] = {way: [] for way in WAYS} | {"alone": [] if not code else [f"exit {code}: {said[-300:]}"]}
        for way in WAYS if not code else ():
            for share in _SHARES:
                _clear()
                with _full(way, sum(sizes) - before, max(sizes), share) as limit:
                    if limit is None:
                        table[name][way].append("not tried")
                        continue
                    _prepare(Path("out"))
                    code, said = _run(COMMANDS[name], limit)
                    table[name][way] += [f"{share}: {fault}" for fault in _faults(way, code, said)]
        print(name, table[name], file=sys.stderr, flush=True)
    return table


def _make_inputs() -> None:
    import torch

    Path("in").mkdir()
    for line in (
        "train digits-mlp -o in/run.h5 --epochs 2 --set width=8",
        "plot in/run.h5 --kind surface --points 3 --save-surface in/surface.h5 -o in/p.png",
    ):
        code, said = _run(line, lambda: None)
        if code:
            raise SystemExit(said)
    torch.save(torch.nn.Linear(60, 60).state_dict(), "in/epoch1.pt")


def _with_quota(folder: Path) -> None:
    """Start again with the library of `full_disk.c`, where it can be built."""
    source, built = Path(__file__).with_suffix(".c"), folder / "full_disk.so"
    if "LD_PRELOAD" in os.environ or shutil.which("gcc") is None:
        return
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(built), str(source), "-ldl"], check=True)
    more = {"LD_PRELOAD": str(built), "OMP_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "benchmarks.full_disk", *sys.argv[1:]], os.environ | more)


def main() -> None:
    """Print a table of outcomes; exit 1 if one is not right."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--commands", nargs="*", choices=list(COMMANDS), default=list(COMMANDS))
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="full-disk-"))
    _with_quota(folder)
    os.chdir(folder)
    for module in _SLOW:
        importlib.import_module(module)
    _make_inputs()
    table = measure(asked.commands)
    print("| command | " + " | ".join(WAYS) + " |\n|---|" + "---|" * len(WAYS))
    for name, found in table.items():
        shown = ["; ".join(found["alone"] + found[way]) or "right" for way in WAYS]
        print(f"| {name} | " + " | ".join(shown) + " |")
    _clear()
    raise SystemExit(any(any(faults) for found in table.values() for faults in found.values()))


if __name__ == "__main__":
    main()
