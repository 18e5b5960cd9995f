"""Caption of many slices, each fact once: of all, of a run, of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landscape.render.labels import DOT


@dataclass(frozen=True)
class Said:
    """The caption of one slice in a figure of several.

    Attributes:
        panel: The letter of its panel.
        run: The name of its run.
        parts: The parts of its caption.
    """

    panel: str
    run: str
    parts: Sequence[str]


def provenance(slices: Sequence[Said]) -> str:
    """Say what all slices have in common, then what those of a run have, then what is left to a panel.

    Args:
        slices: All slices of a figure.

    Returns:
        Lines; empty where nothing is known.

    Example:
        >>> one, two = Said("a", "small", ["digits", "step 9"]), Said("a", "large", ["digits", "step 1"])
        >>> provenance([one, two]).splitlines()
        ['digits', 'small: step 9', 'large: step 1']
    """
    shared = _common(slices)
    lines = [DOT.join(shared)]
    own: dict[str, list[str]] = {}
    for run in dict.fromkeys(said.run for said in slices):
        own[run] = [part for part in _common([said for said in slices if said.run == run]) if part not in shared]
        if own[run]:
            lines.append(f"{run}: {DOT.join(own[run])}")
    left: dict[str, dict[str, list[str]]] = {}
    for said in slices:
        rest = DOT.join(part for part in said.parts if part not in shared and part not in own[said.run])
        if rest:
            left.setdefault(rest, {}).setdefault(said.panel, []).append(said.run)
    lines += [f"{_who(panels, slices)}: {rest}" for rest, panels in left.items()]
    return "\n".join(line for line in lines if line)


def _common(slices: Sequence[Said]) -> list[str]:
    return [part for part in slices[0].parts if all(part in said.parts for said in slices)]


def _who(panels: dict[str, list[str]], slices: Sequence[Said]) -> str:
    """The panels that a line is about; where it is not about all runs of a panel, these too."""
    names = []
    for panel, runs in panels.items():
        everyone = {said.run for said in slices if said.panel == panel}
        names.append(f"({panel})" if set(runs) == everyone else f"({panel}) {', '.join(dict.fromkeys(runs))}")
    return ", ".join(names)
