"""`landscape manual`: the manual pages of all commands, from their declarations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from landscape import LandscapeError, __version__

from .command import subcommand

# Lines that roff would read as requests, and signs that it reads in its own way.
_SIGNS = {"\\": r"\e", "-": r"\-"}


@subcommand(
    epilog="Example: landscape manual -o ~/.local/share/man/man1; man landscape-plot",
    help="Write the manual pages of all commands into FOLDER: landscape.1, landscape-plot.1, ...",
)
@click.option("-o", "--output", required=True, metavar="FOLDER", help="Where to write them.")
def command(output: str) -> None:
    """Write the pages."""
    from .main import cli

    folder = Path(output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise LandscapeError("is no folder", where=folder)
    folder.mkdir(parents=True, exist_ok=True)
    pages = list(commands(cli, click.Context(cli, info_name="landscape")))
    for context in pages:
        name = context.command_path.replace(" ", "-")
        (folder / f"{name}.1").write_text(page(context), encoding="utf-8")
    click.echo(f"{folder}: {len(pages)} manual pages")


def commands(one: click.Command, context: click.Context) -> Iterator[click.Context]:
    """A command and those in it, each as the context that it is called in."""
    yield context
    if isinstance(one, click.Group):
        for name in one.list_commands(context):
            inner = one.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from commands(inner, click.Context(inner, info_name=name, parent=context))


def page(context: click.Context) -> str:
    """The manual page of a command, in roff."""
    path, one = context.command_path, context.command
    about = _clean(one.help or inspect.getdoc(one.callback) or "")
    lines = [f'.TH "{path.replace(" ", "-").upper()}" 1 "" "landscape {__version__}"', ".SH NAME"]
    first = re.split(r"[.:;] |\.$", about)[0]
    lines += [f"{_roff(path.replace(' ', '-'))} \\- {_roff(first[:1].lower() + first[1:])}", ".SH SYNOPSIS"]
    lines += [f".B {_roff(path)}", _roff(" ".join(one.collect_usage_pieces(context))), ".SH DESCRIPTION"]
    lines += [_roff(about)]
    records = [record for option in one.get_params(context) if (record := option.get_help_record(context))]
    lines += [".SH OPTIONS", *(line for record in records for line in _entry(*record))] if records else []
    if isinstance(one, click.Group):
        inner = [(name, one.get_command(context, name)) for name in one.list_commands(context)]
        lines.append(".SH COMMANDS")
        for name, command in inner:
            lines += _entry(f"{path.replace(' ', '-')}-{name}(1)", _clean(command.help or "") if command else "")
    example = (one.epilog or "").removeprefix("Example: ")
    lines += [".SH EXAMPLES", _roff(example)] if example else []
    codes = "0: done; 2: wrong input; 1: the machine's fault or ours; 130 or 143: interrupted, with what is kept."
    return "\n".join([*lines, ".SH EXIT STATUS", _roff(codes), ""])


def _entry(term: str, about: str) -> list[str]:
    return [".TP", f"\\fB{_roff(term)}\\fR", _roff(about)]


def _clean(text: str) -> str:
    return " ".join(text.split())


def _roff(text: str) -> str:
    signs = "".join(_SIGNS.get(sign, sign) for sign in text)
    return f"\\&{signs}" if signs.startswith((".", "'")) else signs
