"""A measure over the size of its noise or its width, with standard errors, as values: NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from landscape.values.result import Tabular


class Taken(Protocol):
    """Interface of a measured value, as `landscape.measures.measure` gives it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def to_json(self) -> dict[str, Any]: ...  # noqa: D102


Array = NDArray[np.float64]

_RISES = {"loss": "rise of the loss", "error": "rise of the error"}


@dataclass(frozen=True)
class Profile(Tabular):
    """A measure at several values of one of its settings.

    Attributes:
        measure: Its name.
        title: What the values are.
        setting: The name of the setting, ``"sigma"`` or ``"gamma"``.
        at: Shape (K,), the values of the setting, increasing.
        values: Shape (K,), NaN where draws do not suffice or chains have not converged.
        standard_errors: Shape (K,), of the values; NaN where there is none.
        unit: Of values and standard errors; ``"1"`` of shares of 1.
        about: How it was taken, in words.
    """

    measure: str
    title: str
    setting: str
    at: Array
    values: Array
    standard_errors: Array
    unit: str
    about: str = ""

    def __len__(self) -> int:
        return len(self.at)

    def _table(self) -> Mapping[str, Any]:
        return {self.setting: self.at, "value": self.values, "standard_error": self.standard_errors}


def profiles_of(found: Mapping[str, Taken | Mapping[str, Any]]) -> list[Profile]:
    """The profiles of measures at a place: of local energy the rises of loss and error over sigma, of local
    entropy that over gamma, of others none.

    Args:
        found: Name of a measure -> measured, as `measure` gives it, or its plain values.

    Returns:
        One for each number that was taken at several values of a setting.

    Example:
        >>> details = {"sigmas": [0.1, 0.2], "loss_rise": [0.5, 2.0], "loss_standard_error": [None, None]}
        >>> profiles_of({"local_energy": {"name": "local_energy", "details": details}})[0].values
        array([0.5, 2. ])
    """
    plain = [one if isinstance(one, Mapping) else one.to_json() for one in found.values()]
    read = {"local_energy": _of_energy, "local_entropy": _of_entropy}
    profiles = [own for one in plain if one["details"] and one["name"] in read for own in read[one["name"]](one)]
    return [profile for profile in profiles if len(profile) > 1]


def _of_energy(one: Mapping[str, Any]) -> list[Profile]:
    details, settings = one["details"], one.get("settings") or {}
    units = {"loss": str(details.get("loss_unit") or "loss"), "error": "1"}
    about = f"{settings['noise']} noise, {settings['draws']} draws" if settings else ""
    return [
        Profile(
            one["name"],
            title,
            "sigma",
            _array(details["sigmas"]),
            _array(details[f"{metric}_rise"]),
            _array(details[f"{metric}_standard_error"]),
            units[metric],
            about,
        )
        for metric, title in _RISES.items()
        if f"{metric}_rise" in details
    ]


def _of_entropy(one: Mapping[str, Any]) -> list[Profile]:
    details, settings = one["details"], one.get("settings") or {}
    enough = np.array(details["local_entropy_converged"], dtype=bool)
    values, errors = (
        np.where(enough, _array(details[f"local_entropy{kind}"]), np.nan) for kind in ("", "_standard_error")
    )
    about = ""
    if settings:
        gaussian = settings["method"] == "gaussian"
        many = f"{settings['draws']} draws" if gaussian else f"{settings['chains']} chains"
        about = f"β = {settings['beta']:g}, {many}"
    return [
        Profile(one["name"], "local entropy", "gamma", _array(details["gammas"]), values, errors, "nats", about)
    ]


def _array(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
