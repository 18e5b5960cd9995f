"""Spectra as `landscape plot` draws them: the density of the eigenvalues at a snapshot."""

from __future__ import annotations

import time
from typing import Any

from landscape import LandscapeError

from .plotting import Asked, option
from .shared import Interrupted, progress_bar, together

_option = option("Spectra (--kind spectrum)")
options = together(
    [
        _option("--matrix", help="hessian, gauss-newton, fisher or empirical-fisher. [default: hessian]"),
        _option("--probes", type=int, help="Random vectors; their range is drawn as a band. [default: 10]"),
        _option("--lanczos", type=int, metavar="STEPS", help="Products of each probe. [default: 80]"),
    ]
)
NAMES = ("matrix", "probes", "lanczos")
"""The options that no other kind of picture has."""
# Fields of `Spectral` that are options by the same name.
_FIELDS = (*NAMES, "at", "split", "parameters", "seed", "dtype", "subset")
_OF_THE_OBJECTIVE = ("problem", "settings", "data", "other_data", "device")


def plot(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """Draw the spectrum at a snapshot.

    Returns:
        What is to be printed: as a JSON document, and as lines.
    """
    from landscape import render
    from landscape.pipeline import Spectral, objective_of, spectrum_of
    from landscape.trajectory import open_trajectory

    began = time.monotonic()
    given = asked.options
    foreign = [
        f"--{name.replace('_', '-')}" for name in given if name not in (*_FIELDS, *_OF_THE_OBJECTIVE, "kind")
    ]
    if foreign:
        raise LandscapeError(f"{', '.join(foreign)} cannot change a spectrum", mend="leave it out")
    wanted = Spectral(**{name: given[name] for name in _FIELDS if name in given})
    run = open_trajectory(asked.file)
    run.index_of(wanted.at)
    objective = objective_of(run, **asked.told, device=given.get("device", "auto"))
    try:
        with progress_bar(f"spectrum of {run.problem}", "product") as update:
            found = spectrum_of(run, objective, wanted, progress=update)
    except KeyboardInterrupt:
        raise Interrupted("nothing was kept") from None
    render.save(render.spectrum(found), asked.picture)
    document = {**describe(found), "picture": str(asked.picture), "seconds": time.monotonic() - began}
    return document, _lines(document)


def describe(found: Any) -> dict[str, Any]:
    """The numbers that a reader of the picture wants, as plain values."""
    trace, error = found.trace
    ends = {name: getattr(found, name) for name in ("largest", "smallest")}
    return {
        "kind": "spectrum",
        **found.meta,
        "size": found.size,
        "mean": found.mean,
        "mean_standard_error": found.mean_standard_error,
        "trace": trace,
        "trace_standard_error": error,
        "second_moment": found.second_moment,
        "second_moment_standard_error": found.second_moment_standard_error,
        **{
            name: {"value": end.value, "residual": end.residual, "converged": end.converged}
            for name, end in ends.items()
        },
    }


def _lines(document: dict[str, Any]) -> list[str]:
    unit = f" {document['unit']}" if document["unit"] else ""
    lines = [
        f"{document['picture']}: spectrum of the {document['matrix']} of {document['problem']} at step "
        f"{document['step']}, {document['size']:,} eigenvalues",
        f"  computed in {document['seconds']:.1f} s, {document['products']} products",
        f"  mean      {document['mean']:.6g} ± {document['mean_standard_error']:.2g}{unit}",
        f"  trace     {document['trace']:.6g} ± {document['trace_standard_error']:.2g}{unit}",
    ]
    if "derivatives" in document:
        lines.append(f"  {document['derivatives']}")
    for name in ("largest", "smallest"):
        end = document[name]
        said = (
            f"{end['value']:.6g}{unit} (residual {end['residual']:.1e})" if end["converged"] else "not converged"
        )
        lines.append(f"  {name:<9} {said}")
    return lines
