"""Experiments of the source papers: what is computed, beside the closed form that it should follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from landscape.options import Options, option
from landscape.plots.kind import Document, Kind, Parts, Shown, page_of_parts
from landscape.plots.source import Source
from landscape.vocabulary import PAGE_OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.look import Look
    from landscape.values.experiment import Experiment

# Module of `landscape.papers` -> its experiments.
_HOME = {
    "central_flow": ("central_flow_loss", "central_flow_sharpness", "central_flow_distance"),
    "orbit": (
        "hessian_on_the_orbit",
        "gradient_on_the_orbit",
        "many_large_eigenvalues",
        "sharpness_in_any_ball",
        "sharpness_in_subspaces",
        "hessian_of_residual_blocks",
        "gradient_of_residual_blocks",
    ),
    "degeneracy": ("flat_directions",),
    "linear_networks": ("coefficients_over_width", "coefficients_over_rank"),
    "reparametrisation": (
        "flat_set_area",
        "disjoint_boxes",
        "seen_through_eta",
        "curvature_through_eta",
        "radial_profile",
        "radial_warp",
        "input_gradient",
        "weight_normalisation",
    ),
    "flattest_search": (
        "flattest_over_examples",
        "flattest_traces",
        "flattest_over_dimensions",
        "flattest_over_noise",
        "flattest_over_indices",
    ),
    "parity": (
        "traces_without_biases",
        "traces_with_biases",
        "traces_normalised",
        "parity_found_traces",
        "parity_loss",
    ),
    "committee_solvers": ("committee_entropy", "committee_energy", "committee_ranks", "committee_errors"),
    "simulations": (
        "bayes_error",
        "unbalanced_threshold",
        "sampled_energy",
        "energy_towards_bayes",
        "entropy_towards_bayes",
        "memoriser_growth",
        "least_trace_scan",
        "relu_polynomials",
    ),
}
EXPERIMENTS = tuple(name for names in _HOME.values() for name in names)


@dataclass(frozen=True)
class LaboratoryOptions(Options):
    """Which experiment."""

    show: str = option(
        "hessian_on_the_orbit", "The experiment; those of rescaling take a run without biases", choices=EXPERIMENTS
    )


def experiment_named(name: str) -> Callable[..., Experiment]:
    """The function of an experiment, called with a run and its objective."""
    home = next(room for room, names in _HOME.items() if name in names)
    found: Callable[..., Experiment] = getattr(import_module(f"landscape.papers.{home}"), name)
    return found


def _compute(source: Source, wanted: LaboratoryOptions) -> Parts:
    run = source.only("an experiment")
    return {wanted.show: experiment_named(wanted.show)(run, source.objective())}


def _draw(panels: Sequence[Shown], look: Look) -> Figure:
    from landscape.render.experiments import experiments

    return experiments([replace(shown.first, title=shown.title or shown.first.title) for shown in panels])


def _report(shown: Shown) -> Document:
    found: Experiment = shown.first
    return {
        "kind": "laboratory",
        "experiment": shown.options.show,
        "title": found.title,
        "series": {name: values.tolist() for name, values in found.numbers().items()},
    }


def _lines(document: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys(name.rpartition("/")[0] for name in document["series"])
    return [f"{document['picture']}: {document['title']}", *(f"  {name}" for name in names)]


def _numbers(shown: Shown) -> dict[str, NDArray[Any]]:
    return dict(shown.first.numbers())


LABORATORY = Kind(
    name="laboratory",
    summary="experiments of the source papers, beside their closed forms",
    options=LaboratoryOptions,
    compute=_compute,
    draw=_draw,
    report=_report,
    lines=_lines,
    numbers=_numbers,
    page=page_of_parts,
    heeds=lambda options: PAGE_OPTIONS,
    title="Experiments (--kind laboratory)",
    unit="experiment",
)
