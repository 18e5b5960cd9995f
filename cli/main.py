"""The command `landscape`: its subcommands, and how every failure is told in one line."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from landscape import LandscapeError, __version__
from landscape.errors import LandscapeWarning, MachineError, did_you_mean, is_out_of_memory, out_of_memory

from .progress import signs_of_life
from .signals import Interrupted, Signals, interruptible, signals_heard
from .threads import wait_for_others

# Read when torch starts.
wait_for_others()

_COMMANDS = {
    "demo": "train a small network and draw its landscape: the tour in under a minute",
    "train": "train a problem and record its trajectory",
    "import": "make a trajectory of checkpoints that exist already",
    "inspect": "say what is in a file that another command wrote, and whether it is damaged",
    "measure": "say how sharp a minimum is: measures at a snapshot, or along training",
    "audit": "say which measures mean anything: the same function elsewhere on its orbit",
    "plot": "draw a slice of a trajectory's landscape, or a stored surface",
    "report": "write all that is known of a run on one page: curves, surface, path, audit, and what to doubt",
    "transform": "move a trajectory along its orbit: other weights, the same function",
    "probe": "experiments on basins: perturb and retrain, interpolate, connect",
    "merge": "join the parts of a slice that were computed apart",
    "export": "write a snapshot as a state dict, or a surface for other programs",
    "explore": "make a page in which a small network is evaluated in the browser",
    "render": "make the figures of recipes, each thing once",
    "papers": "say which claims of the source papers are seen here, and render their figures",
    "study": "train a family of networks and say which measures go with the test error",
    "init": "write a problem of your own to begin with",
    "problems": "list the built-in problems and their options",
    "completion": "print what a shell needs to complete commands by the tab key",
    "manual": "write the manual pages of all commands",
}
# Where the name of a command cannot be that of a module.
_MODULES = {"import": "import_checkpoints"}


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    # A command that keeps something says what; click would begin a line for what is left.
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        raise Interrupted("") from None


class _Commands(click.Group):
    """Finds subcommands by name and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command: click.Command = importlib.import_module(f"landscape.cli.{module}").command
        return command

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _ended_by_signals():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _ended_by_signals():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            raise LandscapeError(f"unknown command '{args[0]}'", mend=did_you_mean(args[0], _COMMANDS))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with: landscape demo. Each command has its own -h with an example.",
)
@click.version_option(__version__, prog_name="landscape")
def cli() -> None:
    """Draw the loss landscape of a trained network, and say how far to believe the drawing."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: exit 0 done, 2 wrong input, 1 the machine's fault or ours, 130 or 143 interrupted.

    Wrong input, and what the machine lacks (room, memory), is told in one line; a fault of ours shows a traceback.
    """
    with (
        signals_heard(to_the_end=arguments is None) as signals,
        signs_of_life(_called(arguments)),
        _warnings_in_a_line(),
    ):
        code = _outcome(arguments, signals)
    sys.exit(code)


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Say our own warnings as errors are said; others look as Python writes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", LandscapeWarning)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, LandscapeWarning):
                _say(f"landscape: note: {message}")
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _called(arguments: Sequence[str] | None) -> str:
    """The command with its subcommand."""
    words = (sys.argv[1:] if arguments is None else arguments)[:1]
    return " ".join(["landscape", *(word for word in words if word in _COMMANDS)])


def _outcome(arguments: Sequence[str] | None, signals: Signals) -> int:
    """The exit code, when all is said."""
    try:
        outcome: Any = cli.main(args=arguments, prog_name="landscape", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        # Asked for nothing in particular: the help, on lines of its own.
        click.echo(error.message)
        return 0
    except click.ClickException as error:
        _say(f"{_command_of(error)}: {_told(error)}")
        return 2
    except LandscapeError as error:
        _say(f"landscape: {error}")
        return 1 if isinstance(error, MachineError) else 2
    except (Interrupted, KeyboardInterrupt, click.Abort) as error:
        terminated = signals.number == signal.SIGTERM
        kept = f"; {error}" if isinstance(error, Interrupted) and str(error) else ""
        _say(f"landscape: {'terminated' if terminated else 'interrupted'}{kept}")
        return 143 if terminated else 130
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        return _fault_of_the_machine(error)
    return outcome if isinstance(outcome, int) else 0


def _fault_of_the_machine(error: BaseException) -> int:
    """Say what the machine lacks, in a line, and give the exit code; what is another fault is raised."""
    if is_out_of_memory(error):
        _say(f"landscape: {out_of_memory()}")
        return 1
    code = getattr(error, "errno", None)
    if code == errno.EPIPE:
        # The reader of our output left; nobody is there to be told.
        sys.stderr.close()
        return 0
    if code not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        raise error
    _say(f"landscape: {getattr(error, 'filename', None) or 'output'}: {getattr(error, 'strerror', error)}")
    return 1


def _command_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "landscape"


def _told(error: click.ClickException) -> str:
    """Return what is wrong with the words of a command, and what would be right."""
    context = getattr(error, "ctx", None)
    said = error.format_message().rstrip(".")
    if context is None:
        return said
    if isinstance(error, click.NoSuchOption):
        every = [name for one in context.command.get_params(context) for name in (*one.opts, *one.secondary_opts)]
        near = did_you_mean(error.option_name, every)
        mend = near if near.startswith("did you mean") else f"see {context.command_path} --help"
        return f"no such option '{error.option_name}'; {mend}"
    example = (context.command.epilog or "").partition("Example: ")[2].split(" or: ")[0].partition("; ")[0]
    return f"{said}; for example: {example}" if isinstance(error, click.MissingParameter) and example else said


def _say(message: str) -> None:
    click.echo(" ".join(message.split()), err=True)
