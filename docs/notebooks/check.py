"""Runs the notebooks of this folder in a real kernel, one after the other, and checks what each cell shows.

A cell that is tagged ``picture`` shows exactly one image, any other none; one that is tagged ``twice`` is run two
times. The notebooks are kept without outputs. Run it from the root of the repository:
``python docs/notebooks/check.py [--write FOLDER]``, where FOLDER takes the notebooks with their outputs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent
_SECONDS = 300


def notebooks() -> list[Path]:
    """The notebooks, in alphabetical order."""
    return sorted(FOLDER.glob("*.ipynb"))


@contextmanager
def kernel() -> Iterator[KernelManager]:
    """A running kernel, which is shut down at the end."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def run(path: Path, manager: KernelManager, folder: Path) -> tuple[nbformat.NotebookNode, list[str]]:
    """Run a notebook in an empty folder, without the names of the one before.

    Args:
        path: The notebook.
        manager: Of the kernel.
        folder: Where it makes an empty folder to work in.

    Returns:
        The notebook with its outputs, and what is wrong with it.
    """
    book = nbformat.read(path, as_version=4)
    # A cell that is to run twice stands there twice.
    cells = [cell for one in book.cells for cell in [one, *_again(one)]]
    start = nbformat.v4.new_code_cell(
        f"%reset -f\nimport os, tempfile\nos.chdir(tempfile.mkdtemp(dir={str(folder)!r}))"
    )
    book.cells = [start, *cells]
    client = NotebookClient(book, timeout=_SECONDS, km=manager)
    try:
        client.execute()
    except CellExecutionError as error:
        return book, [f"{path.name}: {str(error).strip().splitlines()[-1]}"]
    finally:
        client.kc.stop_channels()
    del book.cells[0]
    return book, [fault for place, cell in enumerate(book.cells) for fault in _faults(path.name, place, cell)]


def _again(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata)] if "twice" in _tags(cell) else []


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def images(cell: nbformat.NotebookNode) -> int:
    """The number of pictures that a cell shows."""
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def _faults(name: str, place: int, cell: nbformat.NotebookNode) -> list[str]:
    if cell.cell_type != "code":
        return []
    found, wanted = images(cell), int("picture" in _tags(cell))
    faults = [] if found == wanted else [f"{name}: cell {place} shows {found} pictures; expected {wanted}"]
    said = [output.text.strip() for output in cell.outputs if output.get("name") == "stderr"]
    return faults + [f"{name}: cell {place} warns: {text.splitlines()[-1]}" for text in said]


def main() -> int:
    """Check all notebooks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="take the notebooks with their outputs")
    target = parser.parse_args().write
    faults = []
    with tempfile.TemporaryDirectory() as folder, kernel() as manager:
        for path in notebooks():
            book, wrong = run(path, manager, Path(folder))
            faults += wrong
            if target is not None:
                target.mkdir(parents=True, exist_ok=True)
                nbformat.write(book, target / path.name)
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
