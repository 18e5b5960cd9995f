"""The registry of measures: what each number is, where it comes from, and what cannot change it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, did_you_mean
from landscape.lazy import deferred
from landscape.options import NoOptions, Options, default_of, fields_of, option, options_like, read_options
from landscape.values.result import Result

if TYPE_CHECKING:
    from landscape.measures.context import MeasureContext

# The modules that declare measures, so that they can be listed without importing what computes them.
_DECLARING = ("declared_curvature", "declared_neighbourhoods", "declared_steps")

# The modules that compute measures, in the order in which these are listed. One whose measures are not declared in
# the modules above registers them itself when it is imported.
FAMILIES = (
    *("hessian", "gauss_newton", "filter_curvature", "relative_flatness", "fisher_rao", "orbit", "geodesic"),
    *("epsilon", "keskar", "sam", "adaptive", "local_energy", "local_entropy", "learning_coefficient", "volume"),
)

# Those of the measures of a recorded optimizer step.
STEP_FAMILIES = ("step_terms", "critical", "norm_sharpness", "edge")

# Of all these, the families whose numbers are second derivatives, or made of them.
DERIVATIVES = (
    *("hessian", "gauss_newton", "filter_curvature", "relative_flatness", "orbit", "geodesic"),
    *("norm_sharpness", "edge"),
)

# What a measure can be invariant to. Rescalings keep the function of a positively homogeneous network.
SYMMETRIES = MappingProxyType(
    {
        "layer-rescaling": "whole layers times positive factors whose product is 1 (Dinh et al. 2017, def. 5)",
        "unit-rescaling": "every hidden unit or channel times a positive factor, what reads it divided by it",
        "permutation": "hidden units or channels in another order",
        "batchnorm-scale": "filters in front of evaluation-mode batch normalisation times any factor",
        "sign-flip": "hidden units through odd activations times -1",
        "basis-change": "another basis of an attention head's queries and keys, or of its values",
        "stream-rotation": "a residual stream turned, through normalisations whose gains stay",
        "shift": "what is added to biases, or to all features that a normalisation reads, and is taken away again",
    }
)


# Orthogonal maps of the weights leave eigenvalues and balls as they are; rescalings do not.
ORTHOGONAL = ("permutation", "sign-flip")


@dataclass(frozen=True)
class OverOptions(Options):
    """Options that every measure of weights has beside its own."""

    over: str = option(
        "weights",
        "At the weights, the smallest value over their orbit, or the range of values over it",
        choices=("weights", "orbit-minimum", "orbit-range"),
    )
    elements: int = option(8, "Random elements of the orbit, beside its representative and flattest point", low=1)


@dataclass(frozen=True)
class Found(Result):
    """Result of a measure.

    Attributes:
        value: The number; NaN where it did not converge.
        standard_error: Of an estimate; None where the value is exact to rounding, or a bound.
        converged: Whether the computation reached its tolerance; where not, `details` says how far it came.
        details: More numbers: residuals, restarts, profiles, diagnostics. Plain JSON values.
    """

    value: float
    standard_error: float | None = None
    converged: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure(Result):
    """An entry of the registry.

    Attributes:
        name: The name by which it is asked for.
        title: A few words for tables and axes.
        formula: The formula in plain text, with its normalisation.
        unit: The unit, in which ``{loss}`` stands for that of the loss.
        source: Author, year, section.
        invariant: Names out of `SYMMETRIES` that it claims not to change under.
        compute: From a place and complete settings to what is found.
        settings: Name -> published default of every convention: those of `options`; without such a class, what
            is given here declares them.
        misleads: When it misleads, in a sentence.
        options: The settings: a frozen dataclass of `landscape.options.option` fields.
        profile: From complete settings to those with which `details` hold a profile; None where there is none.
        is_bound: From complete settings to whether a value is a lower bound only, as what ascents find is of a
            maximum: all of them may end at the same lower one.
        of_step: Whether it is of the optimizer step recorded after the weights, and not of the weights alone.
    """

    name: str
    title: str
    formula: str
    unit: str
    source: str
    invariant: tuple[str, ...]
    compute: Callable[[MeasureContext, Mapping[str, Any]], Found]
    settings: Mapping[str, Any] = field(default_factory=dict)
    misleads: str = ""
    options: type[Any] = NoOptions
    profile: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    is_bound: Callable[[Mapping[str, Any]], bool] = lambda settings: False
    of_step: bool = False

    @property
    def family(self) -> str:
        """The module that computes it, by its last name."""
        return str(getattr(self.compute, "__module__", "")).rpartition(".")[2]

    def __post_init__(self) -> None:
        if self.settings and self.options is NoOptions:
            object.__setattr__(self, "options", options_like(self.settings))
        defaults = {name: default_of(one) for name, one in fields_of(self.options).items()}
        object.__setattr__(self, "settings", MappingProxyType(defaults))

    def settled(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The defaults with some settings as they are given; text is read as a command line gives it.

        Those of `OverOptions` are there only where the measure is wanted over the orbit.

        Raises:
            LandscapeError: With every setting that does not exist or cannot be used.
        """
        # As JSON writes it.
        plain = {name: None if value == "null" else value for name, value in (given or {}).items()}
        common = () if self.of_step else fields_of(OverOptions).keys() - self.settings.keys()
        own = {name: value for name, value in plain.items() if name not in common}
        found = read_options(self.options, own, None, self._spelled)
        settled = {name: getattr(found, name) for name in self.settings}
        over = read_options(
            OverOptions, {name: plain[name] for name in plain if name in common}, None, self._spelled
        )
        return settled if over.over == "weights" else {**settled, "over": over.over, "elements": over.elements}

    def _spelled(self, name: str) -> str:
        return f"{self.name}.{name}"


_REGISTRY: dict[str, Measure] = {}


def computed_in(family: str, name: str) -> Callable[..., Any]:
    """Return a function of a module of this room, which is imported when it is called."""
    return deferred(_home(family), name)


def _home(module: str) -> str:
    return f"landscape.measures.{module}"


def register(measure: Measure) -> Measure:
    """Add a measure; modules of the room call this when they are imported.

    Raises:
        LandscapeError: If the name is taken, or a claim names no symmetry.
    """
    if measure.name in _REGISTRY:
        raise LandscapeError(f"there is a measure '{measure.name}' already")
    if unknown := [name for name in measure.invariant if name not in SYMMETRIES]:
        raise LandscapeError(f"'{unknown[0]}' is no symmetry", where=measure.name, expected=", ".join(SYMMETRIES))
    _REGISTRY[measure.name] = measure
    return measure


def measures() -> Mapping[str, Measure]:
    """Name -> measure of weights: family by family, then those that others registered."""
    return MappingProxyType({name: one for name, one in _all().items() if not one.of_step})


def step_measures() -> Mapping[str, Measure]:
    """Name -> measure of the optimizer step that was recorded after a snapshot."""
    return MappingProxyType({name: one for name, one in _all().items() if one.of_step})


def _all() -> dict[str, Measure]:
    for module in _DECLARING:
        importlib.import_module(_home(module))
    families = (*FAMILIES, *STEP_FAMILIES)
    declared = {one.family for one in _REGISTRY.values()}
    for family in families:
        if family not in declared:
            importlib.import_module(_home(family))
    rank = {_home(family): place for place, family in enumerate(families)}
    own = sorted(_REGISTRY.values(), key=lambda one: rank.get(getattr(one.compute, "__module__", ""), len(rank)))
    return {one.name: one for one in own}


def measure_named(name: str) -> Measure:
    """The measure of a name.

    Raises:
        LandscapeError: With the nearest name, if there is none.
    """
    known = _all()
    if name not in known:
        raise LandscapeError(f"there is no measure '{name}'", mend=did_you_mean(name, known))
    return known[name]


def settled_settings(
    names: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Name of a measure -> all its settings, in the order asked for.

    Raises:
        LandscapeError: If a measure or a setting does not exist, or settings are given for one that is not taken,
            or twice.
    """
    if isinstance(names, str):
        names = [names]
    if isinstance(names, Mapping):
        if given is not None:
            raise LandscapeError(
                "settings of measures are given twice", where="settings", mend="leave one of the dictionaries out"
            )
        given = names
    chosen = [measure_named(name) for name in names]
    given = given or {}
    if stray := [name for name in given if name not in names]:
        measure_named(stray[0])
        raise LandscapeError(f"settings of '{stray[0]}', which is not taken", mend="take it too")
    return {one.name: one.settled(given.get(one.name)) for one in chosen}


def profile_settings(
    names: Sequence[str], given: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Settings with which the measures that have a profile have several points of it in their details.

    Args:
        names: Names of measures.
        given: Name of a measure -> its settings that differ from the published defaults.

    Returns:
        Name of a measure that has a profile -> all its settings; what was given stays.

    Raises:
        LandscapeError: If a measure or a setting does not exist.

    Example:
        >>> profile_settings(["hessian_top", "local_entropy"])["local_entropy"]["gammas"][0]
        100.0
    """
    settled = settled_settings(names, given)
    makers = {name: measure_named(name).profile for name in settled}
    return {name: make(settled[name]) for name, make in makers.items() if make is not None}
