"""`landscape plot`: a picture of trajectories, or of a stored result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from landscape import LandscapeError
from landscape.options import fields_of
from landscape.plots import KINDS, Kind, Shown, Source, interpolate, kind_named, page_with, perturb, require_page
from landscape.progress import portion
from landscape.render.look import Look
from landscape.values.archive import holds_values

from .command import option, subcommand
from .declared import given_in, options_in, refuse, spelled, taken
from .progress import progress_bar, tell
from .shared import (
    Interrupted,
    device_option,
    json_option,
    kept_until_done,
    objective_options,
    say,
    told_in,
    what_is_kept,
)

_PAGE = ".html"
_ANIMATED = (".gif", ".mp4")
_SUFFIXES = [".png", ".pdf", ".svg", _PAGE, *_ANIMATED]
# What is done before the line that announces it is read.
_SHORT_SECONDS = 2.0
# Of kinds with the same section, the first stands for all.
_SECTIONS = {kind.title: kind.options for kind in reversed(list(KINDS.values()))}
_DEFAULT = "surface"
_SPELLINGS = {"gradient": ("--gradient-field",), "settings": ("--setting",)}
_FORMER = {"gradient": ("--gradient",), "parameters": ("--layers",), "color": ("--colour",)}
# Kind -> an option as it is typed -> the field it is there: one word for one thing, whatever the kind.
_FIELDS = {
    "mds": {"parameters": "layers"},
    "perturb": {"along": "directions"},
    "interpolate": {"barriers": "matrix"},
}

_ALONG = fields_of(perturb.options)["directions"]


@subcommand(
    common=("output", "kind", "at", "plane", "points", "radius", "metric", "seed", "problem", "save"),
    topics={"Kinds": [(kind.name, kind.summary) for kind in KINDS.values()]},
    epilog="Example: landscape plot run.h5 --kind surface --points 51 --seed 0 -o surface.png --save s.h5",
    help="Draw FILES: trajectories (FILE[:BRANCH][:STEP]), or a saved result (without torch).",
)
@click.argument("files", nargs=-1)
@click.option(
    "-o",
    "--output",
    metavar="PICTURE",
    help="png, pdf, svg, html, gif or mp4. [default: FILE-KIND.png]",
)
@click.option(
    "--shared-plotly", is_flag=True, help="Beside an html page, plotly.js in a file for all pages there."
)
@click.option("--kind", metavar="KIND", help=f"One of those above. [default: {_DEFAULT}]")
@option(former=("--save-surface", "--save-distances"))(
    "--save", metavar="S.h5", help="Keep the values; resumes if S.h5 holds a part of them."
)
@click.option(
    "--checkpoint",
    metavar="PATH",
    help="Instead of FILES: a checkpoint of --problem FILE.py:FUNCTION, along random directions, in the memory of "
    "its model.",
)
@device_option
@objective_options
@json_option
@options_in(
    dict(reversed(_SECTIONS.items())) | {"Look": Look}, skip=["layers"], spellings=_SPELLINGS, former=_FORMER
)
@option(interpolate.title)(
    "--barriers", is_flag=True, default=None, help=f"{fields_of(interpolate.options)['matrix'].metadata['help']}."
)
@option(perturb.title)(
    "--along", metavar="KIND,...", help=f"{fields_of(perturb.options)['directions'].metadata['help']}."
)
@click.option("--common-plane", is_flag=True, default=None, hidden=True)
def command(
    files: tuple[str, ...],
    output: str | None,
    kind: str | None,
    shared_plotly: bool,
    checkpoint: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Draw, and say what is seen."""
    from landscape.storage import require_writable

    if (checkpoint is None) == (not files):
        got = "both" if files else "neither"
        raise LandscapeError("either FILES or a --checkpoint is drawn", got=got)
    if checkpoint is not None:
        chosen, held, files = kind_named(kind or "curve"), False, (checkpoint,)
        if chosen.name not in ("curve", "surface"):
            raise LandscapeError("a checkpoint is drawn as a curve or surface", where="--kind", got=chosen.name)
    else:
        chosen, held = _chosen(files, kind)
    picture = Path(output or f"{Path(files[0]).stem}-{'picture' if held and kind is None else chosen.name}.png")
    require_writable(picture, _SUFFIXES)
    interactive = picture.suffix.lower() == _PAGE
    moving = picture.suffix.lower() in _ANIMATED
    _require_page(chosen, interactive, shared_plotly)
    if moving:
        _require_animation(chosen, picture)
    told, device, save = told_in(given), given.pop("device"), given.pop("save")
    options = _renamed(given_in(given), chosen)
    written = [name for name in options if name in fields_of(Look)]
    look = taken(Look, options)
    if chosen.file and len(files) == 1:
        options[chosen.file], files = files[0], ()
    wanted = (_to_show if held else _to_compute)(files, chosen, options, save)
    where = "as a page" if interactive else ""
    chosen.require_heeded(written, wanted, lambda name: _typed(name, getattr(look, name)), where=where)
    save_picture = partial(_save, chosen, look, picture, shared_plotly)
    began = time.monotonic()
    with _kept(chosen, save, picture) as store:
        if held:
            shown = _stored(files, chosen, wanted)
            moments = [shown]
        else:
            told |= {"device": device}
            source = _source(files, told, save) if checkpoint is None else _in_place(checkpoint, told, save)
            with progress_bar(f"{chosen.name} of {source.about()}", chosen.unit) as update:

                def show(name: str, value: Any) -> None:
                    save_picture(Shown({name: value}, wanted))
                    tell(f"{picture}: coarse so far, it is refined in place")

                source = replace(source, progress=update, at_work=update.at_work, early=show, unfinished=store)
                moments = _moments(chosen, source, wanted, moving)
                shown = moments[-1]
        if getattr(wanted, "shard", None) is not None:
            say(*_part(shown, wanted.shard, save), as_json)
            return
        if moving:
            _animate(chosen, moments, look, picture)
        else:
            save_picture(shown)
    document = {**chosen.report(shown), "picture": str(picture)}
    if chosen.saved:
        document[chosen.saved] = save
    document["seconds"] = time.monotonic() - began
    say(document, chosen.say(shown, document), as_json)


def _require_page(kind: Kind, interactive: bool, shared: bool) -> None:
    """Check before anything is computed that a page can be made."""
    if shared and not interactive:
        raise LandscapeError("--shared-plotly is of html pages", mend="leave it out, or give -o NAME.html")
    if interactive:
        from landscape.pages import require_plotly

        require_page(kind)
        require_plotly()


def _require_animation(kind: Kind, picture: Path) -> None:
    """Check before anything is computed that an animation can be made."""
    from landscape.render.animation import require_animation

    if kind.frames is None:
        able = [name for name, one in KINDS.items() if one.frames is not None]
        raise LandscapeError(f"a picture of kind {kind.name} does not move", mend=f"animate {' or '.join(able)}")
    require_animation(picture)


def _moments(kind: Kind, source: Source, wanted: Any, moving: bool) -> list[Shown]:
    """The panel, or one for each moment of an animation, each kept in a file of its own."""
    options = kind.moments(source, wanted) if moving else [wanted]
    found = []
    for place, own in enumerate(options):
        save = source.save if source.save is None or len(options) == 1 else source.place("", f"-step{own.at}")
        told = portion(source.progress, place, len(options))
        found.append(kind.shown(replace(source, save=save, progress=told), own))
    return found


def _animate(kind: Kind, moments: list[Shown], look: Look, picture: Path) -> None:
    from landscape.render.animation import save_animation

    with look.applied(), progress_bar(f"animation of {kind.name}", "frame") as update:
        total, frames = kind.frames(moments)  # type: ignore[misc]
        save_animation(frames, picture, total=total, progress=update)


def _save(kind: Kind, look: Look, picture: Path, shared: bool, shown: Shown) -> None:
    """Write the picture, or the page."""
    if picture.suffix.lower() == _PAGE:
        page_with(kind, shown, look).save(picture, shared=shared)
        return
    from landscape.render import save

    save(kind.drawn([shown], look), picture)


def _chosen(files: tuple[str, ...], kind: str | None) -> tuple[Kind, bool]:
    """The kind of picture, and whether its value is in the file."""
    from landscape.files.opening import open_file
    from landscape.storage import kind_of, parts_of

    if kind is None and holds_values(Path(files[0])):
        kind = next(one.name for one in KINDS.values() if one.file)
    wanted = kind_named(kind or _DEFAULT)
    if wanted.file:
        return wanted, False
    format = kind_of(files[0]) if Path(files[0]).exists() or parts_of(Path(files[0])) else ""
    homes = {name: one for name, one in KINDS.items() if one.stored is not None and one.stored[0] == format}
    if not homes:
        return wanted, False
    if len(files) > 1:
        raise LandscapeError("a stored result is drawn alone", got=f"{len(files)} files")
    stored = str(getattr(open_file(files[0]), "meta", {}).get("kind"))
    able = {stored, *(name for name, one in homes.items() if stored in one.also)} if stored in homes else homes
    if kind is not None and kind not in able:
        what = stored if stored in homes else next(iter(homes))
        raise LandscapeError(f"the file holds a {what}", where=files[0], got=f"--kind {kind}")
    # Several kinds draw a table of measures, or a surface.
    return homes.get(kind or stored, homes.get(stored, next(iter(homes.values())))), True


def _renamed(options: dict[str, Any], kind: Kind) -> dict[str, Any]:
    if options.pop("common_plane", None):
        options.setdefault("plane", "common")
    fields = _FIELDS.get(kind.name, {})
    return {fields.get(name, name): value for name, value in options.items()}


def _spelling(kind: Kind) -> Callable[[str], str]:
    typed = {field: spelled(name) for name, field in _FIELDS.get(kind.name, {}).items()}
    return lambda name: typed.get(name) or spelled(name)


def _to_show(files: tuple[str, ...], kind: Kind, wanted: dict[str, Any], save: str | None) -> Any:
    """The options of a stored result; only those that change how it is shown are allowed."""
    shows = [name for name, one in fields_of(kind.options).items() if one.metadata["shows"]]
    refused = [_spelling(kind)(name) for name in wanted if name not in shows]
    refused += ["--save"] if save is not None else []
    if refused:
        raise LandscapeError(
            f"{', '.join(refused)} cannot change a stored {kind.name}",
            where=files[0],
            mend="give the trajectory instead",
        )
    return taken(kind.options, wanted, spell=_spelling(kind))


def _stored(files: tuple[str, ...], kind: Kind, wanted: Any) -> Shown:
    """Read a stored value of this kind, ready to draw."""
    if kind.stored is None:
        raise LandscapeError(f"no file holds a {kind.name}", where=files[0])
    return Shown({Path(files[0]).stem: kind.stored[1](Path(files[0]))}, wanted)


def _to_compute(files: tuple[str, ...], kind: Kind, wanted: dict[str, Any], save: str | None) -> Any:
    """The options of what is computed."""
    from landscape.storage import require_writable

    own = {name: wanted.pop(name) for name in list(wanted) if name in fields_of(kind.options)}
    refuse(wanted, f"a picture of kind {kind.name}", {name: one.options for name, one in KINDS.items()})
    options = taken(kind.options, own, spell=_spelling(kind))
    if save is not None:
        if not kind.saved:
            raise LandscapeError(f"--save cannot change a picture of kind {kind.name}", mend="leave it out")
        require_writable(save, [".h5", ".hdf5"])
    if len(set(files)) < len(files):
        raise LandscapeError("a file is named twice", got=", ".join(files), mend="name each once")
    return options


def _source(files: tuple[str, ...], told: Mapping[str, Any], save: str | None) -> Source:
    """The runs of a picture."""
    if not files:
        return Source({})
    from landscape.plots.addresses import run_at
    from landscape.plots.sources import named, sourced

    opened = {name: run_at(address) for name, address in named(files).items()}
    steps = {name: (run, None if step == "last" else step) for name, (run, step) in opened.items()}

    def rebuild(run: Any) -> Any:
        from landscape.plots.objectives import objective_of

        return objective_of(run, **told)

    return sourced(steps, rebuild, save=None if save is None else Path(save), announce=_announce)


def _in_place(checkpoint: str, told: Mapping[str, Any], save: str | None) -> Source:
    """The model of a checkpoint."""
    from landscape.plots.objectives import objective_in_place

    objective = objective_in_place(checkpoint, told["problem"], told["settings"], told["data"])
    return Source({}, save=None if save is None else Path(save), announce=_announce, in_place=objective)


@contextmanager
def _kept(kind: Kind, save: str | None, picture: Path) -> Iterator[Any]:
    """Keep what is finished of a picture until it is written; an interrupt says what is kept."""
    if not kind.saved:
        with kept_until_done(f"{picture.stem}-{kind.name}") as (store,):
            yield store
        return
    try:
        yield None
    except KeyboardInterrupt:
        words = f"the {kind.unit}s computed are kept in {save}; run the same command to go on"
        raise Interrupted(what_is_kept(save, words)) from None


def _part(shown: Shown, shard: tuple[int, int], save: str | None) -> tuple[dict[str, Any], list[str]]:
    """Tell of a part of a slice, which is not drawn."""
    done = sum(int(surface.done.sum()) for surface in shown.parts.values())
    points = sum(surface.done.size for surface in shown.parts.values())
    text = f"{save}: part {shard[0]} of {shard[1]}, {done:,} of {points:,} points; landscape merge joins all parts"
    return {"save": save, "shard": list(shard), "done": done, "points": points}, [text]


def _typed(name: str, value: Any) -> str:
    """An option of the look as it is written with its value."""
    return {"log": "--linear", "share": "--no-share"}[name] if value is False else spelled(name)


def _announce(plan: Any) -> None:
    """The choice and the estimate, before the work starts; short work needs no announcement."""
    if plan.seconds >= _SHORT_SECONDS:
        tell(plan.describe())
