"""A subcommand and its help: first what most need, and with ``--help-all`` everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from landscape import LandscapeError

# Where a context holds that all options are to be listed.
_ALL = "landscape.help_all"
# More names than these nobody reads.
_NAMED = 30
# Options that say how many tasks are done at once.
_COUNTS = ("workers", "jobs")


class Option(click.Option):
    """An option with a section of its own in help, and spellings of before, which help does not show."""

    def __init__(
        self, *arguments: Any, section: str = "Options", former: tuple[str, ...] = (), **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self.section, self.former = section, former

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know all spellings."""
        shown, self.opts = self.opts, [*self.opts, *self.former]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


def _machines(section: str) -> list[click.Parameter]:
    """Options of every command whose work fans out, beside the number of workers."""
    where = "Where workers are: ray starts Ray on this machine; auto, HOST:PORT and ray://HOST:PORT are clusters."
    share = "GPUs that a worker on the cluster has to itself, also a share of one. [default: none]"
    return [
        Option(["--cluster"], metavar="ADDRESS", help=where, section=section),
        Option(["--gpus-per-worker"], type=float, metavar="NUMBER", help=share, section=section),
    ]


class Command(click.Command):
    """A command whose help lists the options that most need, and with ``--help-all`` all of them by section.

    Args:
        common: The names of what most need, in the order of help; None are all.
        topics: Title -> (word, what it means), listed before the options.
    """

    def __init__(
        self,
        *arguments: Any,
        common: Sequence[str] | None = None,
        topics: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.common, self.topics = common, topics or {}
        counts = [place for place, one in enumerate(self.params) if one.name in _COUNTS]
        self._fans_out = bool(counts)
        if counts:
            place = counts[0] + 1
            self.params[place:place] = _machines(getattr(self.params[counts[0]], "section", "Options"))
        says = "Show all options." if common is not None else "The same as --help."
        self.params.append(
            Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=self._help_all,
                help=says,
                hidden=common is None,
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, on a cluster where one is given."""
        if not self._fans_out:
            return super().invoke(ctx)
        address, gpus = ctx.params.pop("cluster"), ctx.params.pop("gpus_per_worker")
        if address is None:
            if gpus is not None:
                raise LandscapeError("is of a cluster", where="--gpus-per-worker", mend="give --cluster too")
            return super().invoke(ctx)
        from landscape.executor import cluster

        with cluster(address, gpus_per_worker=gpus or 0.0):
            return super().invoke(ctx)

    def _help_all(self, ctx: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked and not ctx.resilient_parsing:
            ctx.meta[_ALL] = True
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        offered = [one for one in self.get_params(ctx) if isinstance(one, click.Option) and not one.hidden]
        first = offered
        if self.common is not None and not ctx.meta.get(_ALL):
            named = {one.name or "": one for one in offered}
            ways = [one for one in offered if one.name == "help_all" or one is self.get_help_option(ctx)]
            first = [*(named[name] for name in self.common), *ways]
        listed = {title: list(rows) for title, rows in self.topics.items()}
        for one in first:
            title = "Options" if len(first) < len(offered) else getattr(one, "section", "Options")
            if record := one.get_help_record(ctx):
                listed.setdefault(title, []).append(record)
        for title, rows in listed.items():
            with formatter.section(title):
                formatter.write_dl(rows)
        if rest := [one for one in offered if one not in first]:
            with formatter.section("More options, which --help-all explains"):
                formatter.write_text(_listed(rest))


def _listed(options: Sequence[click.Option]) -> str:
    """The names of options, or the sections that they are in."""
    if len(options) <= _NAMED:
        return " ".join(one.opts[0] for one in options)
    counts: dict[str, int] = {}
    for one in options:
        title = getattr(one, "section", "Options")
        counts[title] = counts.get(title, 0) + 1
    return "; ".join(f"{count} of {title}" for title, count in counts.items())


def subcommand(
    common: Sequence[str] | None = None,
    topics: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    **settings: Any,
) -> Callable[[Callable[..., Any]], click.Command]:
    """``click.command`` with help that can be looked over; see `Command`."""
    made: Callable[[Callable[..., Any]], click.Command] = click.command(
        cls=Command, common=common, topics=topics, **settings
    )
    return made


def option(section: str = "Options", former: tuple[str, ...] = ()) -> Callable[..., Any]:
    """``click.option`` for options of a section, or with spellings of before."""
    return lambda *names, **settings: click.option(*names, cls=Option, section=section, former=former, **settings)
