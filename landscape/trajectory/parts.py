"""A run whose tensors are spread over the files of several processes, read as one. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from landscape.errors import LandscapeError
from landscape.layout import Layout, PartInfo
from landscape.storage import PathLike, common_path, part_path, parts_of, rank_in
from landscape.trajectory.schema import Header, Metrics, Part, allocate, load_header

# Names that a message lists.
_LISTED = 4


def load_run(path: PathLike) -> Header:
    """The header of the run of a file, or of the files whose common name or pattern is given.

    Raises:
        LandscapeError: If a file is missing, damaged or foreign, or holds only the part of one process.
    """
    path = Path(path)
    files = parts_of(path)
    if files:
        return _joined(common_path(path), [load_header(file) for file in files])
    header = load_header(path)
    if header.part:
        raise LandscapeError(
            f"holds the part of process {header.part['rank']} of {header.part['of']}",
            where=path,
            mend=f"open {common_path(path)}, which stands for the files of all",
        )
    return header


def _joined(path: Path, headers: Sequence[Header]) -> Header:
    first = headers[0]
    _require_one_run(path, headers)
    layout = Layout(tuple(info.whole for info in first.layout if isinstance(info, PartInfo)))
    _require_whole(layout, headers)
    shared = set.intersection(*(set(header.steps.tolist()) for header in headers))
    rows = {header.path: _rows(header, shared) for header in headers}
    own = rows[first.path]
    return replace(
        first,
        path=path,
        layout=layout,
        places=allocate(layout, first.recording.get("dtype")),
        finished=all(header.finished for header in headers),
        steps=first.steps[own],
        epochs=first.epochs[own],
        seconds=first.seconds[own],
        metrics=Metrics({name: values[own] for name, values in first.metrics.items()}),
        rounding=np.max([header.rounding[rows[header.path]] for header in headers], axis=0),
        settings=first.settings[own],
        digests=all(header.digests for header in headers),
        branches=(),
        part={},
        parts=tuple(Part(header, rows[header.path]) for header in headers),
    )


def _rows(header: Header, steps: set[int]) -> list[int]:
    return [row for row, step in enumerate(header.steps.tolist()) if step in steps]


def _require_one_run(path: Path, headers: Sequence[Header]) -> None:
    """Check that the files are those of all processes of one run, each under its own name."""
    first = headers[0]
    for header in headers:
        told = header.part.get("rank"), header.part.get("of")
        if told != rank_in(header.path):
            got = f"part {told[0]} of {told[1]}" if header.part else "a whole run"
            raise LandscapeError("holds another part than its name says", where=header.path, got=got)
        if told[1] != first.part["of"]:
            counts = sorted({str(one.part["of"]) for one in headers})
            raise LandscapeError(
                f"stands for the files of runs on {' and on '.join(counts)} processes",
                where=path,
                mend=f"give a pattern, such as '{part_path(path, 0, told[1]).name.replace('rank0', 'rank*')}'",
            )
        if header.run_id != first.run_id:
            raise LandscapeError(
                f"is a part of another run than {first.path.name}",
                where=header.path,
                mend="keep the files of one run together, without those of others",
            )
    ranks, every = {header.part["rank"] for header in headers}, range(first.part["of"])
    absent = [part_path(path, rank, len(every)).name for rank in every if rank not in ranks]
    if absent:
        more = ", ..." if len(absent) > _LISTED else ""
        raise LandscapeError(
            f"{len(absent)} of {len(every)} parts are missing: {', '.join(absent[:_LISTED])}{more}",
            where=path,
            mend="put the files of all processes into one folder",
        )


def _require_whole(layout: Layout, headers: Sequence[Header]) -> None:
    """Check that the parts of every tensor lie side by side from its first column to its last."""
    held: dict[str, list[PartInfo]] = {}
    for part in (part for header in headers for part in header.layout if isinstance(part, PartInfo)):
        held.setdefault(part.name, []).append(part)
    for info in layout:
        shares = sorted(held[info.name], key=lambda share: (share.start, share.stop))
        starts, stops = [share.start for share in shares], [share.stop for share in shares]
        alike = all(share.whole == info and share.rows == shares[0].rows for share in shares)
        if not alike or starts != [0, *stops[:-1]] or stops[-1] != shares[0].row:
            raise LandscapeError(f"the parts do not make up tensor '{info.name}'", where=headers[0].path)
