"""Profiles of measures as values and as pictures."""

import numpy as np
import pytest
from measure_cases import hidden_net

from landscape import render
from landscape.errors import LandscapeError
from landscape.measures import measure, profile_settings, profiles_of


@pytest.fixture(scope="module")
def measured():
    objective, model = hidden_net()
    settings = {"local_energy": {"sigmas": [0.1, 0.5], "sigma": 0.3, "draws": 4}}
    # The widest Gaussian leaves too few draws that count.
    settings["local_entropy"] = {"gammas": [1e-3, 10.0], "gamma": 100.0, "draws": 30}
    return measure(objective, model, ["local_energy", "fisher_rao_norm", "local_entropy"], settings=settings)


def test_profiles_are_what_the_details_hold(measured):
    loss, error, entropy = profiles_of(measured)
    details = measured["local_energy"].details
    assert (loss.title, loss.unit, error.unit, entropy.setting) == ("rise of the loss", "nats", "1", "gamma")
    assert loss.at.tolist() == [0.1, 0.3, 0.5]
    assert error.values.tolist() == details["error_rise"]
    assert np.isnan(entropy.values).tolist() == np.isnan(entropy.standard_errors).tolist() == [True, False, False]
    assert entropy.values[2] == measured["local_entropy"].value
    # Plain values, as JSON has them, say the same.
    plain = profiles_of({name: one.to_json() for name, one in measured.items()})
    assert all(
        np.array_equal(a.values, b.values, equal_nan=True)
        for a, b in zip(plain, profiles_of(measured), strict=True)
    )
    assert profiles_of({"fisher_rao_norm": measured["fisher_rao_norm"]}) == []


def test_a_profile_is_drawn_from_0_with_its_band_and_its_gap(measured):
    own = profiles_of(measured)
    sheet = render.profiles({"a": own, "b": own[:2]}, about="somewhere")
    loss, error, entropy = sheet.axes
    curve = loss.get_lines()[0]
    assert curve.get_xdata().tolist() == [0.0, 0.1, 0.3, 0.5]
    assert curve.get_ydata().tolist() == [0.0, *own[0].values]
    assert error.get_lines()[0].get_ydata()[1:] == pytest.approx(100 * own[1].values)
    low, high = (np.min, np.max)
    band = loss.collections[0].get_paths()[0].vertices
    last = band[band[:, 0] == 0.5][:, 1]
    middle, error_bar = own[0].values[-1], own[0].standard_errors[-1]
    assert (low(last), high(last)) == pytest.approx((middle - error_bar, middle + error_bar))
    assert entropy.get_xscale() == "log"
    assert [line.get_xdata().tolist() for line in entropy.get_lines() if line.get_marker() == "x"] == [[1e-3]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["a", "b", "± standard error"]
    assert [text.get_text() for text in entropy.get_legend().get_texts()] == ["draws do not suffice"]
    assert "somewhere" in sheet._supxlabel.get_text()
    with pytest.raises(LandscapeError, match="there is nothing to draw; got no profile"):
        render.profiles({"a": []})


def test_settings_of_a_profile_keep_what_was_given():
    asked = {"local_energy": {"points": 3}, "local_entropy": {"gammas": "1,2"}}
    found = profile_settings(["hessian_top", "local_energy", "local_entropy"], asked)
    assert list(found) == ["local_energy", "local_entropy"]
    assert (found["local_energy"]["points"], found["local_entropy"]["gammas"]) == (3, [1.0, 2.0])
    assert profile_settings(["local_entropy"])["local_entropy"]["gammas"][2] == 1000.0
