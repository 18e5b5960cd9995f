"""Makes docs/contact-sheet-*.png: every kind of picture at three widths, out of runs of a few seconds.

Run it from the root of the repository: ``python docs/plots/contact_sheet.py [KIND...]``. With names of kinds it
makes the cells of these alone, in the folder named by ``--keep``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.options import read_options

DOCS = Path(__file__).parent.parent
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "one-column": {"width": "one-column"},
    "two-columns": {"width": "two-columns"},
    "talk": {"style": "talk"},
}
"""Name of a sheet -> the look of its pictures."""
# Pixels of a cell, and cells side by side.
_CELL, _ACROSS = 400, 4
_DPI = 150
_RUNS = {
    "r": ("digits-mlp", {"width": 8}, {"epochs": 5}),
    "s": ("digits-mlp", {"width": 8}, {"epochs": 5, "seed": 1}),
    "sgd": ("digits-mlp", {"width": 4, "train_size": 100}, {"epochs": 5}),
    "adam": ("digits-mlp", {"width": 4, "train_size": 100}, {"epochs": 5, "optimizer": "adam", "lr": 0.01}),
    "steps": (
        "digits-mlp",
        {"width": 4, "train_size": 100},
        {
            "epochs": 40,
            "every": "4",
            "optimizer": "adam",
            "lr": 0.01,
            "record": ["update", "preconditioner", "lr"],
        },
    ),
    "mixture": ("gaussian-mixture", {"dim": 20, "rho": 0.3, "test_size": 10}, {"epochs": 3}),
    "index": (
        "multi-index",
        {"dim": 5, "train_size": 8, "width": 20, "test_size": 50},
        {"optimizer": "gd", "lr": 0.05, "epochs": 400, "every": "400epochs"},
    ),
}
_TINY: dict[str, Any] = {"points": 15}
CELLS: Mapping[str, tuple[str, Sequence[str], Mapping[str, Any]]] = {
    "curve": ("curve", ["r"], {"points": 25}),
    "curve of two runs": ("curve", ["r", "s"], {"points": 25}),
    "curve of repeats": ("curve", ["r"], {"points": 15, "repeats": 5}),
    "surface": ("surface", ["r"], _TINY),
    "surface levels": ("surface", ["r"], {**_TINY, "view": "levels"}),
    "surface 3d": ("surface", ["r"], {**_TINY, "view": "3d"}),
    "trajectory": ("trajectory", ["r"], _TINY),
    "trajectory of two runs": ("trajectory", ["r", "s"], {**_TINY, "plane": "common"}),
    "hessian-ratio": ("hessian-ratio", ["sgd"], {"points": 7}),
    "basins": ("basins", ["r"], {**_TINY, "radius": 3}),
    "path": ("path", ["r"], {}),
    "mds": ("mds", ["r", "s"], {}),
    "metrics": ("metrics", ["r", "s"], {}),
    "spectrum": ("spectrum", ["r"], {"probes": 3, "lanczos": 40, "subset": 200}),
    "measure": ("measure", ["r", "s"], {"measures": ["hessian_trace", "fisher_rao_norm"]}),
    "optimizer": ("optimizer", ["steps"], {}),
    "blocks": ("blocks", ["sgd"], {"probes": 5}),
    "audit": (
        "audit",
        ["sgd"],
        {"measures": ["hessian_trace", "gauss_newton_top", "fisher_rao_norm"], "subset": 50},
    ),
    "orbit": ("orbit", ["r"], {"positions": 5, "points": 15, "subset": 100}),
    "branches": ("branches", ["sgd", "sgd:one", "sgd:two"], {"metric": "loss"}),
    "branches apart": ("branches", ["sgd", "sgd:one", "sgd:two"], {"show": "distance"}),
    "perturb": ("perturb", ["sgd"], {"draws": 5, "scales": 7, "directions": ["random", "filter"]}),
    "interpolate": ("interpolate", ["r", "s"], {"points": 15}),
    "interpolate matrix": ("interpolate", ["r", "s", "r:0"], {"matrix": True, "points": 7}),
    "connect": ("connect", ["r", "s"], {"points": 15, "epochs": 3}),
    "alignment": ("alignment", ["r", "s"], {"points": 9}),
    "comparison": ("comparison", ["sgd", "adam"], {"points": 3, "draws": 3}),
    "mixture": ("mixture", ["mixture"], {}),
    "interpolators": ("interpolators", ["index"], {"memorisers": 2}),
    "laboratory": ("laboratory", ["mixture"], {"show": "sampled_energy"}),
    "study": ("study", [], {}),
}
"""Words under a cell -> kind, runs, options."""
_BRANCHES = ("one", "two")
_STUDY = """# Which measures go with the test error.
[study]
problem = "digits-mlp"
options = { train_size = 60, width = 4 }
epochs = 3
every = "3epochs"
batch_size = [10, 20]
seed = [0, 1]

[family.sgd]
lr = [0.02, 0.1]

[measures]
names = ["fisher_rao_norm", "hessian_trace"]

[correlation]
targets = ["test_error", "test_loss"]
resamples = 100
"""
# A map of all symmetries has no room in one column, and is refused.
_TOO_NARROW = (("audit", "one-column"),)


def make(folder: Path, names: Sequence[str] = ()) -> dict[str, list[tuple[str, Path]]]:
    """Draw cells into a folder.

    Args:
        folder: Where runs and pictures are kept; what is there is not made again, but for the pictures.
        names: Cells or kinds; by default all.

    Returns:
        Name of a sheet -> words under a cell and its picture.
    """
    import landscape as ls
    from landscape.plots import KINDS
    from landscape.plots.source import Source
    from landscape.plots.sources import source_of
    from landscape.render import Look

    chosen = {cell: one for cell, one in CELLS.items() if not names or cell in names or one[0] in names}
    made: dict[str, list[tuple[str, Path]]] = {name: [] for name in LOOKS}
    for cell, (kind_name, runs, options) in chosen.items():
        for run in {address.partition(":")[0] for address in runs}:
            _train(ls, folder / f"{run}.h5", *_RUNS[run])
        kind = KINDS[kind_name]
        given = {address: _file(folder, address) for address in runs}
        if kind.file:
            shown = kind.shown(Source({}), kind.options(**{kind.file: str(_study(ls, folder))}))
        else:
            shown = kind.shown(source_of(given), kind.options(**options))
        for name, look in LOOKS.items():
            picture = folder / f"{cell.replace(' ', '-')}-{name}.png"
            if (cell, name) not in _TOO_NARROW:
                kind.drawn([shown], Look(**look, dpi=_DPI)).savefig(picture)
                made[name].append((cell, picture))
    return made


def _file(folder: Path, address: str) -> str:
    run, colon, step = address.partition(":")
    return f"{folder / run}.h5{colon}{step}"


def _train(ls: Any, path: Path, problem: str, options: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if path.exists():
        return
    own, objective = read_options(ls.training.Settings, settings, None), ls.problems.build(problem, options)
    run = ls.training.train(objective, path, own)
    last = run[-1]
    for seed, name in enumerate(_BRANCHES if path.stem == "sgd" else (), 1):
        own = read_options(ls.training.Settings, {**settings, "seed": seed, "batch_size": 20}, None)
        start = ls.training.Start({**last.weights, **last.buffers}, run.run_id, last.step, branch=name)
        ls.training.train(objective, path, own, start=start)


def _study(ls: Any, folder: Path) -> Path:
    from landscape.values.archive import save_value

    recipe, kept = folder / "study.toml", folder / "study.npz"
    if not kept.exists():
        recipe.write_text(_STUDY, encoding="utf-8")
        save_value(ls.study.run(ls.study.load(recipe), cache=folder / "cache").found, kept)
    return kept


def sheet(cells: Sequence[tuple[str, Path]], path: Path) -> None:
    """Put pictures beside and below each other, each with its words, in one PNG of 128 colours."""
    from PIL import Image, ImageDraw, ImageFont

    font, line = ImageFont.load_default(14), 22
    pictures = []
    for words, picture in cells:
        image = Image.open(picture).convert("RGB")
        image.thumbnail((_CELL, 10 * _CELL), Image.Resampling.LANCZOS)
        pictures.append((words, image))
    # Each picture goes below the column that is the shortest.
    heights, places = [0] * _ACROSS, []
    for _, image in pictures:
        column = heights.index(min(heights))
        places.append((column * (_CELL + 12), heights[column]))
        heights[column] += image.height + line + 14
    page = Image.new("RGB", (_ACROSS * (_CELL + 12) - 12, max(heights)), "white")
    for (words, image), (x, y) in zip(pictures, places, strict=True):
        ImageDraw.Draw(page).text((x, y), words, fill="black", font=font)
        page.paste(image, (x, y + line))
    page.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Make the sheets, or some cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", help="cells or kinds; by default all, and the sheets")
    parser.add_argument("--keep", type=Path, help="keep runs and cells in this folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        made = make(folder, asked.cells)
        for name, cells in made.items() if not asked.cells else ():
            sheet(cells, DOCS / f"contact-sheet-{name}.png")


if __name__ == "__main__":
    main()
