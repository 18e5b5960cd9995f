"""`landscape probe`: experiments on basins: perturb (and retrain), interpolate, connect."""

from __future__ import annotations

import importlib
from typing import Any

import click

from landscape import LandscapeError
from landscape.errors import did_you_mean

_KINDS = {
    "perturb": "noise on the weights: loss against its scale, radii of the basin; or train perturbed copies on",
    "interpolate": "the line between two snapshots and its barrier; or the barriers of many",
    "connect": "a low-loss curve between two snapshots",
}


class _Kinds(click.Group):
    """Finds a kind of probe by name and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _KINDS:
            return None
        command: click.Command = importlib.import_module(f"landscape.cli.probe_{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _KINDS:
            raise LandscapeError(f"there is no probe '{args[0]}'", mend=did_you_mean(args[0], _KINDS))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Probes"):
            formatter.write_dl(list(_KINDS.items()))


@click.group(cls=_Kinds, epilog="Example: landscape probe interpolate a.h5 b.h5 --json")
def command(**_: Any) -> None:
    """Probe the basins of recorded runs. A snapshot is FILE, FILE:STEP, FILE:BRANCH or FILE:BRANCH:STEP."""
