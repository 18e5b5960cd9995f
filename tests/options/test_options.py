"""Options: declared once, read alike from a command line, TOML and Python, all faults at once."""

from dataclasses import dataclass

import pytest

from landscape.errors import LandscapeError
from landscape.forms import COUNTS, NAMES, NESTED, NUMBERS, RANGE, SIZE, STEP, STEPS, TABLE, pairs_in
from landscape.options import OptionError, Options, default_words, fields_of, option, read_options
from landscape.plots import KINDS
from landscape.render.look import Look


@dataclass(frozen=True)
class Sample(Options):
    points: int | tuple[int, int] = option(51, "points", form=COUNTS)
    x_range: tuple[float, float] | None = option(None, "range", form=RANGE)
    norm: str = option("filter", "norm", choices=("filter", "none"))
    count: int = option(2, "count", low=1)
    flag: bool = option(False, "flag")
    memory: str | None = option(None, "memory", form=SIZE, decides=False)

    def conflicts(self):
        if self.flag and self.norm == "none":
            yield "flag", "flag needs a norm"


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (COUNTS, "41", 41),
        (COUNTS, "41x21", (41, 21)),
        (RANGE, "-1:0.5", (-1.0, 0.5)),
        (NUMBERS, "0, 0.5,1", [0.0, 0.5, 1.0]),
        (NAMES, "a, b", ("a", "b")),
        (STEP, "12", 12),
        (STEP, "last", "last"),
        (STEPS, "all", ()),
        (STEPS, "0,12,last", (0, 12, "last")),
        (TABLE, ["a=1", "b = yes"], {"a": "1", "b": "yes"}),
        (NESTED, ["m.k=3", "m.tol=1", "n.k=2"], {"m": {"k": "3", "tol": "1"}, "n": {"k": "2"}}),
    ],
)
def test_text_is_read_and_what_was_read_is_read_again_unchanged(form, text, value):
    assert form.read(text) == value
    assert form.read(form.read(text)) == value


def test_a_command_line_toml_and_python_give_the_same_options():
    typed = read_options(Sample, {"points": "5x3", "x_range": "-1:2", "count": "4", "flag": "true"}, None)
    written = read_options(Sample, {"points": [5, 3], "x_range": [-1, 2], "count": 4, "flag": True}, None)
    assert typed == written == Sample((5, 3), (-1.0, 2.0), count=4, flag=True)
    assert "memory" not in typed.plain(deciding=True)
    assert Sample(**typed.plain()) == typed


def test_all_faults_are_told_at_once_under_the_names_that_were_typed():
    given = {"points": "many", "count": "0", "nrm": "x", "norm": "filtre"}
    with pytest.raises(OptionError) as refused:
        read_options(Sample, given, "here", lambda name: f"--{name}")
    assert str(refused.value) == (
        "here: option '--points' has the wrong type; got 'many'; expected a number of points, as 41 or 41x21 | "
        "option '--count' is out of range; got 0; expected at least 1 | there is no option '--nrm'; did you mean "
        "'--norm'? | option '--norm' has no such choice; got 'filtre'; did you mean 'filter'?"
    )
    assert [fault.name for fault in refused.value.faults] == ["points", "count", "nrm", "norm"]
    # What is right is there, to find out what else is wrong.
    assert refused.value.sound == Sample()


def test_what_does_not_go_together_is_told_however_options_are_made():
    with pytest.raises(OptionError, match=r"^flag needs a norm$"):
        Sample(flag=True, norm="none")
    with pytest.raises(OptionError, match="option 'count' is out of range; got 0"):
        Sample(count=0)
    with pytest.raises(OptionError, match=r"has the wrong type; got 2\.5; expected a whole number"):
        Sample(count=2.5)


@pytest.mark.parametrize("pairs", [["a"], ["=1"], ["a=1", "a=2"]])
def test_one_grammar_of_pairs(pairs):
    with pytest.raises(LandscapeError):
        pairs_in(pairs)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_declares_options_that_their_defaults_obey(name):
    kind = KINDS[name]
    assert kind.options() == kind.options(**kind.options().plain())
    for field in fields_of(kind.options).values():
        assert field.metadata["help"]
        assert isinstance(default_words(field), str)
    # A look is told from an option of a kind by its name alone.
    assert not set(fields_of(kind.options)) & set(fields_of(Look))
