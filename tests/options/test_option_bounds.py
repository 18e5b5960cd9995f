"""Options: bounds, what stands in for what is wrong, and one declaration for several classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from landscape.forms import NUMBER, WHOLE
from landscape.options import (
    OptionError,
    Options,
    describe_options,
    fields_of,
    option,
    options_table,
    read_options,
    redeclared,
)


@dataclass(frozen=True)
class Walk(Options):
    """Options with every kind of bound."""

    steps: int = option(10, "How many", low=1, high=100)
    rate: float | None = option(None, "How far", form=NUMBER, above=0, unset="found")
    decay: float = option(0.5, "How fast that falls | or rises", low=0, below=1)
    shape: str = option("round", "Which", choices=("round", "square"))
    corners: tuple[str, ...] = option((), "Of a square", form=WHOLE, needs="shape")

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what does not go together."""
        if self.corners and self.shape == "round":
            yield "corners", "a circle has no corners"
        if self.steps > 50 and self.rate is None:
            yield "", "so many steps need a rate"


@dataclass(frozen=True)
class Run(Options):
    """The same, faster."""

    rate: float = redeclared(Walk, "rate", 2.0)
    decay: float = redeclared(Walk, "decay", help="How fast it tires")


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"steps": 0}, ["option 'steps' is out of range; got 0; expected 1 to 100"]),
        ({"rate": "0"}, ["option 'rate' is out of range; got 0; expected above 0"]),
        ({"decay": 1}, ["option 'decay' is out of range; got 1; expected at least 0 and below 1"]),
        ({"steps": "1e2", "rate": 1e-300, "decay": 0}, []),
        ({"steps": "1.5"}, ["option 'steps' has the wrong type; got '1.5'; expected a whole number"]),
        ({"corners": 4}, ["a circle has no corners"]),
        ({"steps": 60, "decay": 2}, ["option 'decay' is out of range; got 2; expected at least 0 and below 1"]),
        ({"corners": 4, "decay": 2}, ["option 'decay'", "a circle has no corners"]),
        ({"corners": 4, "shape": "sqare"}, ["option 'shape' has no such choice"]),
    ],
)
def test_every_fault_is_told_and_none_that_comes_of_another(given, faults):
    for make in (lambda: read_options(Walk, given, None), lambda: Walk(**given)):
        if not faults:
            assert make().steps == 100
            continue
        with pytest.raises(OptionError) as refused:
            make()
        assert len(refused.value.faults) == len(faults)
        assert all(told.what.startswith(what) for told, what in zip(refused.value.faults, faults, strict=True))


def test_a_list_of_json_is_the_tuple_of_the_default():
    assert read_options(Walk, {"corners": []}, None) == Walk()


def test_an_option_of_another_class_has_its_bounds_and_its_own_default():
    assert (Run().rate, Run().decay, Walk().rate) == (2.0, 0.5, None)
    with pytest.raises(OptionError, match="option 'rate' is out of range; got -1; expected above 0"):
        Run(rate=-1)
    rate, decay = describe_options(Run)
    assert (rate["default"], rate["above"], rate["help"]) == (2.0, 0, "How far")
    assert (decay["help"], decay["below"]) == ("How fast it tires", 1)
    assert fields_of(Run)["rate"].metadata["unset"] is None


def test_tables_of_pages_come_from_the_declaration():
    rows = options_table(Walk).splitlines()
    assert rows[0] == "| option | default | values | what it says |"
    assert rows[3] == "| `rate` | found | a number, above 0 | How far |"
    assert rows[4] == "| `decay` | 0.5 | a number, at least 0 and below 1 | How fast that falls &#124; or rises |"
