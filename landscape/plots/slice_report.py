"""Reports of slices: as plain values, and in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.plots.kind import Document, Shown
from landscape.plots.slice_findings import finding_lines, findings
from landscape.plots.words import model_lines, number, preview_line


def describe(surface: Any) -> dict[str, Any]:
    """The numbers that a reader of the picture wants, as plain values."""
    import numpy as np

    from landscape import render
    from landscape.render.path_fidelity import called
    from landscape.surface.summary import summarise

    meta = dict(surface.meta)
    done = np.ones(surface.values.shape, bool) if surface.done is None else surface.done
    document: dict[str, Any] = {
        "kind": meta.get("kind"),
        "problem": meta.get("problem"),
        "step": meta.get("step"),
        "shape": list(surface.values.shape),
        "points": int(done.size),
        "computed": int(done.sum() if surface.computed is None else surface.computed.sum()),
        "preview": meta.get("preview"),
        "plane": meta.get("plane", {}),
        "bn": meta.get("bn"),
        "dtype": meta.get("dtype"),
        "dtype_error": meta.get("dtype_error"),
        **{key: meta[key] for key in ("buffers", "notes") if key in meta},
        "engine": meta.get("engine"),
        "center": _center(surface),
        "fields": {name: summarise(values, done) for name, values in surface.fields.items()},
        **findings(surface),
    }
    if surface.path is not None:
        document["path"] = _path(surface.path, meta) | {"verdict": render.verdict(surface.path, meta)}
    if surface.paths:
        document["paths"] = {
            name: _path(path, meta) | {"verdict": render.verdict(path, meta, called(name, meta))}
            for name, path in surface.paths.items()
        }
    if surface.gradient:
        document["gradient"] = _gradient(surface.gradient)
    if meta.get("hessian"):
        from landscape.surface.convergence import unconverged

        document["hessian"] = dict(meta["hessian"]) | unconverged(surface, str(meta["splits"][0]))
    return document


def report(shown: Shown) -> Document:
    """The document of the first slice, with those of all under ``panels`` where there are several."""
    documents = {name: describe(surface) for name, surface in shown.parts.items()}
    first = next(iter(documents.values()))
    return first if len(documents) == 1 else first | {"panels": documents}


def _path(path: Any, meta: dict[str, Any]) -> dict[str, Any]:
    import math

    import numpy as np

    held = path.motion_held if math.isfinite(path.motion_held) else (meta.get("plane") or {}).get("motion_held")
    return {
        "snapshots": len(path.step),
        "max_off_plane": float(path.off_plane.max()),
        "median_loss_difference": float(np.median(apart := np.abs(path.loss - path.plane_loss))),
        "largest_loss_difference": float(np.nanmax(apart, initial=0.0)),
        "largest_at_step": int(path.step[np.argmax(np.nan_to_num(apart, nan=-1.0))]),
        "loss_range": float(np.ptp(path.loss)),
        "motion_held": held,
    }


def _gradient(gradient: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    known = np.isfinite(gradient["norm"])
    return {
        "points": int(known.sum()),
        "median_norm": float(np.median(gradient["norm"][known])),
        "median_share_in_the_plane": float(np.nanmedian(gradient["share"][known])),
    }


def _center(surface: Any) -> dict[str, float] | None:
    """The values where all coordinates are 0, if the grid has that point."""
    one = surface if surface.repeat is None else surface.at(repeat=surface.repeat[0])
    axes = list(one.axes.values())
    places = [abs(axis).argmin() for axis in axes]
    if any(axis[place] != 0 for axis, place in zip(axes, places, strict=True)):
        return None
    return {name: float(values[tuple(places)]) for name, values in one.fields.items()}


def lines(document: Mapping[str, Any]) -> list[str]:
    """The same in a few lines for a person."""
    one_plane = document["shape"][1:] if "repeats" in document else document["shape"]
    shape = " x ".join(map(str, reversed(one_plane)))
    said = [
        f"{document['picture']}: {document['kind']} of {document['problem']}"
        + (f", {shape}" if document["step"] is None else f" at step {document['step']}, {shape}")
    ]
    said.append(f"  computed in {document['seconds']:.1f} s, {document['plane'].get('kind')} plane")
    if document["preview"]:
        said.append(f"  {preview_line(document['preview'])}")
    if document["center"]:
        said.append("  centre  " + "  ".join(f"{name} {value:.6g}" for name, value in document["center"].items()))
    for name, numbers in document["fields"].items():
        if numbers["min"] is not None:
            said.append(f"  {name:<12} from {numbers['min']:.4g} to {numbers['max']:.4g}")
        if numbers["nan"] or numbers["inf"]:
            said.append(
                f"  {name:<12} {numbers['nan']} points are NaN, {numbers['inf']} infinite; drawn as masked"
            )
    if document["dtype_error"]:
        error = document["dtype_error"]
        said.append(
            f"  accuracy not checked: {error['unchecked']}"
            if "unchecked" in error
            else f"  {document['dtype']} is within {error['largest_relative']:.1e} of float64 (relative, at "
            f"{error['points']} points on {error['examples']} examples)"
        )
    said += model_lines(document)
    said += finding_lines(document)
    said += _moved(document["plane"])
    said += [f"  {words}" for words in _verdicts(document)]
    said += _statistics_lines(document)
    if "gradient" in document:
        told = document["gradient"]
        share = f"{100 * told['median_share_in_the_plane']:.2g} %"
        said.append(f"  gradients at {told['points']} points; the plane holds a median {share} of their length")
    return said + _hessian_lines(document)


def _statistics_lines(document: Mapping[str, Any]) -> list[str]:
    """Advise another policy where frozen statistics of normalisation shape the plane more than the weights do."""
    told = document.get("path") or max(
        document.get("paths", {}).values(), key=lambda own: own["largest_loss_difference"], default=None
    )
    # As far apart as all that the path went down.
    if document["bn"] != "frozen" or told is None or not told["largest_loss_difference"] > told["loss_range"]:
        return []
    gap = number(told["largest_loss_difference"], document.get("units", {}).get("loss", ""))
    return [
        f"  real and in-plane losses are up to {gap} apart (step {told['largest_at_step']}): statistics of "
        "normalisation are those of one snapshot all over the plane",
        "  hint     --bn recalibrate re-estimates them at every point",
    ]


def _verdicts(document: Mapping[str, Any]) -> list[str]:
    panels = document.get("panels")
    if panels:
        named = {name: _verdicts(own) for name, own in panels.items()}
        pairs = [(name, words) for name, said in named.items() for words in said]
        return [words if words.startswith(name) else f"{name}: {words}" for name, words in pairs]
    told = [document["path"]] if "path" in document else list(document.get("paths", {}).values())
    return [own["verdict"] for own in told]


def _hessian_lines(document: Mapping[str, Any]) -> list[str]:
    told = document.get("hessian")
    if not told:
        return []
    said = (
        f"  eigenvalues to {told['tol']:.1g} of the larger: {told['unconverged']} of {document['points']} points "
    )
    said += f"did not converge in {told['max_products']} products"
    said += f", {told['undefined']} have no finite Hessian" if told["undefined"] else ""
    bounds = f"  at {told['bounds']} of {document['points']} points the smallest eigenvalue is an upper bound only"
    return [said, bounds] if told["bounds"] else [said]


def _moved(plane: dict[str, Any]) -> list[str]:
    """Describe what the directions move, and what they keep."""
    told, drawn = plane.get("tensors"), plane.get("report")
    if told is None:
        return []
    filters = f", {drawn['filters']} filters, {drawn['zero_filters']} of norm 0" if drawn else ""
    stays = {"frozen": "frozen", "still": "biases and gains" if drawn else "still", "buffers": "buffers"}
    kept = ", ".join(f"{told[group]['count']} {word}" for group, word in stays.items() if told[group]["count"])
    tied = f"; {told['tied']['count']} tied names move along" if told["tied"]["count"] else ""
    chosen = f", chosen by {', '.join(plane['parameters'])}" if "parameters" in plane else ""
    moving = told["moving"]
    return [
        f"  moved {moving['count']} tensors ({moving['numbers']:,} numbers{filters}){chosen}"
        f"{f', kept {kept}' if kept else ''}{tied}"
    ]
