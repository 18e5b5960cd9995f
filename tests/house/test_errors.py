import pytest

from landscape.errors import LandscapeError, did_you_mean


def test_the_message_has_all_parts_in_one_line():
    error = LandscapeError("is\nwrong", where="--radius", got=0, expected="a positive number", mend="try 1")
    assert str(error) == "--radius: is wrong; got 0; expected a positive number; try 1"


@pytest.mark.parametrize(
    ("name", "said"),
    [("digit-mlp", "did you mean 'digits-mlp'?"), ("xyz", "choose from digits-mlp, toy-quadratic")],
)
def test_the_nearest_name_is_suggested(name, said):
    assert did_you_mean(name, ["digits-mlp", "toy-quadratic"]) == said
