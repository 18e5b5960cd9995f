"""Pages that only the site has: names of the library, options of the commands, and the wall of pictures."""

import functools
import importlib
import inspect
import itertools
import json
import re
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import landscape
from landscape.cli.main import cli
from landscape.cli.manual import commands
from landscape.plots import Kind

ROOT = Path(__file__).parents[2]
# Rooms whose names are for the inside of the library.
_PRIVATE = {"cli", "files", "html", "storage"}


def rooms() -> list[str]:
    """The packages whose names are public, in alphabetical order."""
    folders = sorted(path.parent.name for path in (ROOT / "landscape").glob("*/__init__.py"))
    return [f"landscape.{name}" for name in folders if name not in _PRIVATE]


@functools.cache
def public(room: str) -> dict[str, Any]:
    """The public names of a room, and what they stand for."""
    module = importlib.import_module(room)
    return {name: getattr(module, name) for name in module.__all__}


def homes() -> dict[str, str]:
    """Where each public thing is defined -> the name under which the reference has it."""
    found = {}
    for room in rooms():
        for name, thing in public(room).items():
            defined = getattr(thing, "__qualname__", None)
            if defined and getattr(thing, "__module__", None):
                found[f"{thing.__module__}.{defined}"] = f"{room}.{name}"
    return found


_HOMES: dict[str, str] = {}


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Lead a reference to the module that defines a thing to the room that offers it."""
    if node.get("refdomain") != "py":
        return None
    if not _HOMES:
        _HOMES.update(homes())
    target = node["reftarget"]
    short = {name.rpartition(".")[2]: name for name in _HOMES.values()}
    other = _HOMES.get(target) or short.get(target)
    if other is None or other == target:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], other, node, content)


def _home(thing: Any) -> str | None:
    """The name under which a thing is described: of the room that defines it, or else of the first with it."""
    offered = [f"{room}.{name}" for room in rooms() for name, one in public(room).items() if one is thing]
    defined = [name for name in offered if name.startswith(f"{'.'.join(thing.__module__.split('.')[:2])}.")]
    return next(iter(defined or offered), None)


def _directive(room: str, name: str, thing: Any) -> str:
    if isinstance(thing, types.ModuleType):
        return f".. automodule:: {thing.__name__}\n   :members:\n"
    if isinstance(thing, Kind):
        about = f"{thing.summary[0].upper()}{thing.summary[1:]}. Options: :ref:`docs/plots:{thing.name}`."
        arguments = "runs, objective=None, *, save=None, progress=None, **options"
        return f".. py:function:: {room}.{name}({arguments})\n\n   {about}\n"
    if inspect.isclass(thing) or callable(thing):
        home = _home(thing) or f"{room}.{name}"
        if home != f"{room}.{name}":
            return f".. py:data:: {name}\n   :module: {room}\n   :no-index:\n\n   The same as :py:obj:`{home}`.\n"
        of_class = "\n   :members:" if inspect.isclass(thing) else ""
        return f".. auto{'class' if of_class else 'function'}:: {room}.{name}{of_class}\n"
    listed = (
        ", ".join(f"``{entry}``" for entry in thing) if isinstance(thing, (Mapping, Sequence)) else repr(thing)
    )
    return f".. py:data:: {name}\n   :module: {room}\n\n   {listed}\n"


def _first(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")


def room_page(room: str) -> str:
    """The page of a room: each public name with its docstring."""
    parts = [_directive(room, name, thing) for name, thing in public(room).items()]
    module = importlib.import_module(room)
    body = "\n".join(parts)
    return f"# {room}\n\n{inspect.getdoc(module)}\n\n```{{eval-rst}}\n.. currentmodule:: {room}\n\n{body}```\n"


def index_page() -> str:
    """The table of rooms, and of the names at the top of the package."""
    lines = ["# The library", "", "Names are imported when they are first used.", ""]
    lines += ["| room | what is in it |", "|---|---|"]
    lines += [f"| [{room}]({room}.md) | {_first(importlib.import_module(room))} |" for room in rooms()]
    lines += ["", "## Names at the top of the package", "", "| name | what it is |", "|---|---|"]
    alone: list[str] = []
    for name in landscape.__all__:
        thing = getattr(landscape, name)
        if not isinstance(thing, (types.ModuleType, str)):
            lines.append(f"| {{py:obj}}`ls.{name} <{_home(thing) or f'landscape.{name}'}>` | {_first(thing)} |")
            alone += [] if _home(thing) else [_directive("landscape", name, thing)]
    body = "\n".join(alone)
    return "\n".join(lines) + f"\n\n```{{eval-rst}}\n.. currentmodule:: landscape\n\n{body}```\n"


def commands_page() -> str:
    """Every command with all its options, as ``--help-all`` shows them."""
    lines = ["# Commands", "", "Every command with all its options, as `--help-all` shows them.", ""]
    for context in commands(cli, click.Context(cli, info_name="landscape", max_content_width=100)):
        path = context.command_path
        context.meta["landscape.help_all"] = True
        title = "#" * min(1 + len(path.split()), 3)
        lines += [f"{title} {path}", "", "```text", context.get_help(), "```", ""]
    return "\n".join(lines)


# Pages to turn: file -> what it shows, and the options of the plot of the committed run.
_TURNED = {
    "orbit": ("one function at several parametrisations, with a slider", ("--kind", "orbit", "--points", "31")),
    "path": ("the path of SGD on its surface", ("--kind", "trajectory")),
    "curve": ("losses and errors along a direction", ("--kind", "curve")),
    "mds": ("all snapshots in two dimensions", ("--kind", "mds")),
}


_DRAW = """
import json, sys
from landscape.cli.main import cli
for line in json.loads(sys.argv[1]):
    cli(line, standalone_mode=False)
"""
_drawing: list[subprocess.Popen[str]] = []


def start_turned(folder: Path) -> None:
    """Begin to draw the interactive pages of the committed run, beside what follows; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    run = ROOT / "checkpoints" / "digits-mlp.h5"
    lines = [
        ["plot", str(run), *options, "-o", str(folder / f"{name}.html"), "--shared-plotly"]
        for name, (_, options) in _TURNED.items()
        if not (folder / f"{name}.html").exists()
    ]
    if lines:
        command = [sys.executable, "-c", _DRAW, json.dumps(lines)]
        _drawing.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))


def finish_turned(app: Any, env: Any) -> None:
    """Wait for the interactive pages.

    Raises:
        RuntimeError: One could not be drawn.
    """
    while _drawing:
        process = _drawing.pop()
        said, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the pages to turn could not be drawn; got: {said.strip()[-300:]}")


def gallery_page() -> str:
    """All pictures of the recipes as links to what made them."""
    cells = []
    for path in sorted((ROOT / "figures").glob("*.toml")):
        link = f"../../figures/README.md#{path.stem}"
        image = f"../../figures/gallery/{path.stem}.png"
        cells += [
            ":::{container} picture",
            f"[![{path.stem}]({image})]({link})",
            "",
            f"[{path.stem}]({link})",
            ":::",
        ]
    head = (
        "# Pictures\n\nEach leads to its caption, the recipe that made it, its settings, findings and run time.\n"
    )
    links = "\n".join(
        f'<li><a href="../../turned/{name}.html">{what}</a></li>' for name, (what, _) in _TURNED.items()
    )
    turned = f"## To turn\n\nOf the run in `checkpoints/`:\n\n```{{raw}} html\n<ul>\n{links}\n</ul>\n```\n"
    return "\n".join([head, turned, "::::{container} gallery", *cells, "::::", ""])


# Pages whose children are the pages that they link to, in that order; and children that only the site has.
_HUBS: dict[str, tuple[str, ...]] = {
    "docs/index": (),
    "docs/tutorials": (),
    "docs/guides": (),
    "docs/concepts/README": (),
    "docs/reference": ("api/index.md", "api/commands.md"),
    "docs/gallery": ("api/gallery.md",),
    "docs/develop/README": (),
    "docs/measures/README": (),
    "docs/papers/README": (),
    "docs/api/index": (),
}
_SECTIONS = ("tutorials", "guides", "concepts/README", "reference", "gallery", "develop/README")


def children(page: str, text: str) -> list[str]:
    """The pages below a page, as its links: in order, each once."""
    if page == "docs/index":
        return [f"{name}.md" for name in _SECTIONS]
    links = re.findall(r"\]\(([^)#:]+\.(?:md|ipynb))\)", text)
    folder = ROOT / Path(page).parent
    others = [link for link in links if (folder / link).resolve() not in map(_file_of, _HUBS)]
    inner = [link for link in links if (folder / link).resolve() in map(_file_of, _INNER.get(page, ()))]
    return list(dict.fromkeys([*_HUBS[page], *(link for link in links if link in others or link in inner)]))


# Hubs that stand below another.
_INNER = {
    "docs/reference": ("docs/measures/README", "docs/api/index"),
    "docs/gallery": ("docs/papers/README",),
}


def _file_of(page: str) -> Path:
    return (ROOT / f"{page}.md").resolve()


# Pages that others link to, in no table of contents.
_LEAVES = ("benchmarks/NOTES", "benchmarks/COVERAGE_NOTES", "figures/gallery/")


def add_children(app: Any, page: str, content: list[str]) -> None:
    """Give a page that lists others its table of contents, which code hosts would show as code."""
    if page.startswith(_LEAVES):
        content[0] = f"---\norphan: true\n---\n{content[0]}"
    if page in _HUBS:
        listed = "\n".join(children(page, content[0]))
        content[0] += f"\n\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{listed}\n```\n"


def spread_notebooks(app: Any, env: Any, pages: list[str]) -> None:
    """Put the notebooks far apart in the order of reading, so that processes run different ones at once."""
    notebooks = [page for page in pages if page.startswith("docs/notebooks/")]
    others = [page for page in pages if page not in notebooks]
    parts = max(len(notebooks), 1)
    ends = [len(others) * part // parts for part in range(parts + 1)]
    pages[:] = [
        page
        for part, (start, end) in enumerate(itertools.pairwise(ends))
        for page in [*notebooks[part : part + 1], *others[start:end]]
    ]


def escape_bars(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep the signs of absolute values in docstrings from being read as substitutions."""
    for place, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[place] = "".join(part if part.startswith("``") else part.replace("|", "\\|") for part in parts)


def write(docs: Path) -> None:
    """Write all pages into the folder ``api``; one that has not changed keeps its time."""
    folder = docs / "api"
    folder.mkdir(exist_ok=True)
    start_turned(folder / "root" / "turned")
    pages = {"index.md": index_page(), "commands.md": commands_page(), "gallery.md": gallery_page()}
    pages |= {f"{room}.md": room_page(room) for room in rooms()}
    for stale in {path.name for path in folder.glob("*.md")} - pages.keys():
        (folder / stale).unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
