"""Draws docs/rooms.svg: the rooms of the house and which imports which, read from the code.

Run it from the root of the repository: ``python docs/rooms/make.py [CHECKOUT] [PICTURE]``. An arrow that follows
from others is left out, and so is what everyone uses. All flows downwards; an import that ran back would be red.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

# Everyone may use these.
_GROUND = {
    *("errors", "forms", "options", "vocabulary", "lazy", "layout", "params", "ties", "copies", "wrappers"),
    *("journal", "storage", "signatures", "remnants", "values"),
}
# Old names of rooms.
_ALIASES = {"pipeline", "sharpness", "laboratory", "__main__"}
_ABOVE = ("opening", "description")
_SIZE, _LEVEL = 0.33, 0.72


def edges_of(root: Path) -> dict[str, set[str]]:
    """Room -> the rooms that it imports when it is imported or used; types alone do not count."""
    found: dict[str, set[str]] = {}
    for path in [*(root / "landscape").rglob("*.py"), *(root / "cli").glob("*.py")]:
        parts = path.relative_to(root).with_suffix("").parts
        room = "cli" if parts[0] == "cli" else _room(parts[1:])
        names = found.setdefault(room, set())
        for node in _imports(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif node.module == "landscape":
                names |= {f"landscape.{alias.name}" for alias in node.names}
            elif node.module and not node.level:
                names.add(node.module)
    aliases = {name for name in _ALIASES if (root / "landscape" / f"{name}.py").exists()}
    rooms = set(found) - _GROUND - aliases - {"__init__"}
    return {
        room: {_room(name.split(".")[1:]) for name in found[room] if name.startswith("landscape.")}
        & rooms - {room}
        for room in sorted(rooms)
    }


def _room(parts: Sequence[str]) -> str:
    """The room of a module: the rooms that open any file stand above those whose files they open."""
    return "opening" if parts[0] == "files" and parts[1:2] and parts[1] in _ABOVE else parts[0]


def _imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            found += _imports(node)
    return found


def levels_of(edges: Mapping[str, set[str]]) -> dict[str, int]:
    """Room -> its floor: above all that it imports."""

    @functools.cache
    def level(room: str, above: tuple[str, ...] = ()) -> int:
        below = [other for other in edges[room] if other not in above and other != room]
        return 1 + max((level(other, (*above, room)) for other in below), default=-1)

    return {room: level(room) for room in edges}


def draw(edges: Mapping[str, set[str]]) -> Figure:
    """The rooms by floors."""
    levels = levels_of(edges)
    floors: dict[int, list[str]] = {}
    for room, floor in levels.items():
        floors.setdefault(floor, []).append(room)
    reach = {room: set(others) for room, others in edges.items()}
    for room in sorted(levels, key=lambda name: levels[name]):
        for other in list(reach[room]):
            reach[room] |= reach[other]
    places = {
        room: ((number + 0.5) / len(names) * 7, floor * _LEVEL)
        for floor, names in floors.items()
        for number, room in enumerate(sorted(names, key=lambda name: -len(reach[name])))
    }
    figure = Figure(figsize=(7.2, _LEVEL * (max(floors) + 1)))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set(xlim=(0, 7), ylim=(-_SIZE, _LEVEL * max(floors) + _SIZE))
    axes.set_axis_off()
    box = {"boxstyle": "round,pad=0.35", "facecolor": "#eef2f7", "edgecolor": "#3d5a80", "linewidth": 0.8}
    words = {
        room: axes.text(*place, room, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
        for room, place in places.items()
    }
    for room, others in edges.items():
        for other in sorted(others):
            back = levels[other] >= levels[room]
            if back or not any(other in reach[third] for third in others - {other}):
                look = {
                    "arrowstyle": "-|>,head_width=0.15,head_length=0.3",
                    "color": "#c1121f" if back else "#7a8594",
                }
                ends = {"patchA": words[room].get_bbox_patch(), "patchB": words[other].get_bbox_patch()}
                axes.annotate("", places[other], places[room], arrowprops={**look, **ends, "lw": 0.8})
    return figure


if __name__ == "__main__":
    checkout, picture = (*sys.argv[1:], "", "")[:2]
    here = Path(__file__).parents[2]
    found = edges_of(Path(checkout or here))
    target = Path(picture or here / "docs" / "rooms.svg")
    with rc_context({"svg.hashsalt": "rooms"}):
        draw(found).savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
