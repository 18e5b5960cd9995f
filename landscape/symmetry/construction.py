"""From walks over a trace to generators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from landscape.symmetry.axes import Dim, place_along, places_of
from landscape.symmetry.cells import cells_of
from landscape.symmetry.columns import Columns
from landscape.symmetry.continuous import Turn
from landscape.symmetry.elements import Basis, Exchange, Flipping, Generator, Scaling, Slices, is_within
from landscape.symmetry.exponents import Exponents
from landscape.symmetry.labels import Origin
from landscape.symmetry.offsets import Means, Offsets
from landscape.symmetry.recording import Trace
from landscape.symmetry.streams import Streams
from landscape.symmetry.units import Units
from landscape.values.result import Result

_WORDS = {
    "rescale": "positive factors of {units} units made by {tensor}",
    "gain": "positive factors of {units} gains {tensor}, undone by what takes them",
    "query-key": "positive factors of {units} query coordinates of {tensor}, undone in the keys",
    "batchnorm": "positive factors of {units} channels of {tensor} in front of batch normalisation",
    "sign": "signs of {units} units made by {tensor}",
    "permutation": "permutations of {units} units made by {tensor}",
    "basis": "changes of basis of {units} coordinates made by {tensor}",
}


# More tensors than these are counted.
_LISTED = 3


@dataclass(frozen=True)
class Blocked(Result):
    """Units that cannot be rescaled, or are not known to be free to, and why.

    Attributes:
        layer: The module at work, by its dotted name; empty for the model itself.
        module: Its class.
        operation: What does not commute with positive factors.
        units: How many units it holds.
        tensors: What makes them.
        settled: Whether no factor of theirs keeps the function; otherwise nothing is known of it.
    """

    layer: str
    module: str
    operation: str
    units: int
    tensors: tuple[str, ...]
    settled: bool = True

    def __str__(self) -> str:
        where = f"{self.layer} ({self.module})" if self.layer else self.module
        tensors = ", ".join(self.tensors[:_LISTED])
        if len(self.tensors) > _LISTED:
            tensors += f" and {len(self.tensors) - _LISTED} more"
        if not self.settled:
            return f"{where}: {self.operation}; factors of {tensors} that keep the function may have been missed"
        return f"{where}: {self.operation} refuses positive factors of {self.units} units of {tensors}"


def scalings(trace: Trace) -> tuple[list[Generator], list[Blocked]]:
    """The rescalings of a model, and what refuses more."""
    walk = Exponents(trace)
    walk.run()
    walk.hold_statistics()
    return list(_diagonal(walk)), _blocked(walk, trace)


def flippings(trace: Trace) -> list[Generator]:
    """The sign flips of a model."""
    walk = Exponents(trace, modulus=2)
    walk.run()
    return list(_diagonal(walk))


def exchanges(trace: Trace) -> list[Generator]:
    """The permutations of a model."""
    return list(_by_units(Units(trace)))


def bases(trace: Trace) -> list[Generator]:
    """The changes of basis of a model."""
    return list(_by_units(Units(trace, linear=True)))


def motions(trace: Trace) -> list[Generator]:
    """The shifts and rotations that may be free; each is believed once it is tried."""
    found: list[Generator] = []
    for kind in (Offsets, Means, Streams):
        walk = kind(trace)
        walk.run()
        found += walk.generators()
    return found


def turns(scalings: Sequence[Generator]) -> list[Generator]:
    """The turns that may be free: of pairs of coordinates of queries and keys that take one factor."""
    found: list[Generator] = []
    for one in scalings:
        if isinstance(one, Scaling) and one.kind == "query-key":
            columns = _paired(one)
            if columns:
                words = (
                    f"angles of {one.units} pairs of query coordinates of {one.incoming[0]}, turned with the keys"
                )
                found.append(Turn(f"turn:{one.incoming[0]}", "turn", one.units, words, columns=columns))
    return found


def _paired(one: Scaling) -> tuple[Columns, ...]:
    """The slices of each unit, two by two in the order in which they lie; none where they are not pairs."""
    columns = []
    for part in one.slices:
        for power in (1, -1):
            own = part.powers == power
            if bool(own.any()):
                places = [part.places[own & (part.units == unit)].sort().values for unit in range(one.units)]
                if len({len(each) for each in places}) > 1 or len(places[0]) % 2:
                    return ()
                columns.append(Columns(part.tensor, part.dim, torch.stack(places)))
    return tuple(columns)


def _blocked(walk: Exponents, trace: Trace) -> list[Blocked]:
    found = []
    for layer, why in dict.fromkeys([*walk.blocked, *walk.doubts]):
        origins = walk.blocked.get((layer, why), set())
        origins = {(origin, place) for origin, place in origins if origin.tensor not in walk.norms}
        named = {origin.tensor for origin, _ in origins} | walk.doubts.get((layer, why), set())
        # Outputs are what they are, and what meets only inputs and constants hides nothing.
        if why != "it is the output" and named:
            module = trace.modules.get(layer, "") or "model"
            settled = (layer, why) not in walk.doubts
            found.append(Blocked(layer, module, why, len(origins), tuple(sorted(named)), settled))
    return found


class _Row(NamedTuple):
    """A slice of a tensor in which a scale enters."""

    tensor: str
    dim: Dim
    place: int
    power: int


def _diagonal(walk: Exponents) -> Iterator[Generator]:
    """One generator for all free scales that came up at the same place."""
    rows: dict[int, list[_Row]] = {}
    for name, dim, labels in walk.labelled():
        for place, terms in enumerate(walk.scales.listed(labels)):
            for scale, power in terms:
                rows.setdefault(scale, []).append(_Row(name, dim, place, power))
    rows = {scale: own for scale, own in rows.items() if not _is_idle(own, walk)}
    groups: dict[tuple[Origin, str], list[int]] = {}
    attended = walk.attended()
    for scale in sorted(rows):
        origin = walk.scales.origins[scale][0]
        groups.setdefault((origin, _kind(walk, attended, origin, scale, rows[scale])), []).append(scale)
    for (origin, kind), scales in groups.items():
        yield _scaling(walk, origin, kind, [rows[scale] for scale in scales])


def _is_idle(rows: list[_Row], walk: Exponents) -> bool:
    """Return whether the factors of a scale cancel in every element of every tensor."""
    for name in {row.tensor for row in rows}:
        dims = {row.dim for row in rows if row.tensor == name}
        if len(dims) == 1:
            return False
        total = torch.zeros(walk.trace_sizes[name], dtype=torch.int64)
        for row in rows:
            if row.tensor == name:
                along = place_along(places_of(total.shape), row.dim)
                total += torch.where(along == row.place, row.power, 0)
        if bool(total.any()):
            return False
    return True


def _kind(walk: Exponents, attended: set[int], origin: Origin, scale: int, rows: list[_Row]) -> str:
    if walk.scales.modulus:
        return "sign"
    if any(row.tensor in walk.norms for row in rows):
        return "batchnorm"
    if scale in attended:
        return "query-key"
    gains = {norm.gain for norm in walk.norms.values()}
    if len(walk.trace_sizes[origin.tensor]) == 1 and origin.tensor not in gains:
        return "gain"
    return "rescale"


def _scaling(walk: Exponents, origin: Origin, kind: str, units: list[list[_Row]]) -> Generator:
    collected: dict[tuple[str, Dim], list[tuple[int, int, int]]] = {}
    for unit, rows in enumerate(units):
        for row in rows:
            collected.setdefault((row.tensor, row.dim), []).append((row.place, unit, row.power))
    slices = tuple(
        Slices(tensor, dim, *(torch.tensor(column) for column in zip(*entries, strict=True)))
        for (tensor, dim), entries in collected.items()
    )
    words = _WORDS[kind].format(units=len(units), tensor=origin.tensor)
    name = f"{kind}:{origin.tensor}"
    if kind == "sign":
        return Flipping(name, kind, len(units), words, slices, (origin.tensor, origin.dim))
    norms = tuple(norm for name_, norm in walk.norms.items() if any(name_ == tensor for tensor, _ in collected))
    return Scaling(name, kind, len(units), words, slices, norms, (origin.tensor, origin.dim))


def _by_units(walk: Units) -> Iterator[Generator]:
    walk.run()
    kind = "basis" if walk.linear else "permutation"
    # Whole groups change places as well, and do so before what lies within them.
    blocks = list(_by_units(Units(walk.trace, by_blocks=True))) if walk.grouped and not walk.linear else []
    blocks = [one for one in blocks if walk.grouped & set(one.tensors)]
    held = {(name, dim): _places_by_label(walk.resolved(labels).tolist()) for name, dim, labels in walk.labelled()}
    for units in cells_of(walk):
        origin = walk.origins[units[0] - 1][0]
        columns = tuple(column for key, places in held.items() for column in _columns(key, places, units))
        words = _WORDS[kind].format(units=len(units), tensor=origin.tensor)
        name = f"{kind}:{origin.tensor}"
        if columns:
            made = (Basis if walk.linear else Exchange)(name, kind, len(units), words, columns)
            yield from (one for one in blocks if is_within(made, one))
            blocks = [one for one in blocks if not is_within(made, one)]
            yield made
    yield from blocks


def _places_by_label(labels: list[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        found.setdefault(label, []).append(place)
    return found


def _columns(key: tuple[str, Dim], places: dict[int, list[int]], units: list[int]) -> Iterator[Columns]:
    for sign in (1, -1):
        if sign * units[0] in places:
            yield Columns(*key, torch.tensor([places[sign * unit] for unit in units]), dual=sign < 0)


def numbered(generators: list[Generator]) -> tuple[Generator, ...]:
    """Generators whose names are unique: of several for the same tensor, each with its number."""
    total: dict[str, int] = {}
    for generator in generators:
        total[generator.name] = total.get(generator.name, 0) + 1
    seen: dict[str, int] = {}
    named = []
    for generator in generators:
        count = seen[generator.name] = seen.get(generator.name, 0) + 1
        name = generator.name if total[generator.name] == 1 else f"{generator.name}[{count}]"
        named.append(replace(generator, name=name))
    return tuple(named)
