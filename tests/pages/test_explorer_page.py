"""Explorer pages in a real browser: they compute what Python does, and only what is turned changes."""

from pathlib import Path

import numpy as np
import pytest
from browser import Browser, browser_path
from explorer_networks import perceptron, residual, shortcut

from landscape.explorer import explorer_of
from landscape.trajectory import Recorder, open_trajectory

pytest.importorskip("websocket", reason="a browser is driven with websocket-client")
pytestmark = pytest.mark.skipif(browser_path() is None, reason="no Chromium is installed")


def text(browser: Browser, name: str) -> str:
    return str(browser.run(f"document.getElementById('{name}').textContent"))


def picture(browser: Browser) -> str:
    browser.run("explorer.whole()")
    return str(browser.run("document.getElementById('map').toDataURL()"))


def choose(browser: Browser, name: str, value: int) -> None:
    browser.run(
        f"(() => {{ const one = document.getElementById('{name}'); one.value = {value}; "
        "one.dispatchEvent(new Event('input')); })()"
    )


def test_an_explorer_computes_what_python_does_and_turns(tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        for make in (residual, shortcut, perceptron):
            objective = make()
            with Recorder(tmp_path / f"{make.__name__}.h5", objective.model) as recorder:
                recorder.snapshot(0)
            snapshot = open_trajectory(tmp_path / f"{make.__name__}.h5")[-1]
            file = tmp_path / f"{make.__name__}.html"
            file.write_text(explorer_of(objective, snapshot, examples=20), encoding="utf-8")
            browser.open(file, width=700, height=600)
            choose(browser, "points", 21)
            first = picture(browser)

            assert float(browser.run("document.getElementById('apart').dataset.value")) < 1e-12
            assert browser.run("page.data.centre") == pytest.approx(objective.value(snapshot), rel=1e-6)
            assert text(browser, "verdict") == "The browser and Python agree to 1e−6 at the centre."
            checks = np.array(browser.run("page.data.checks"))
            found = browser.run("explorer.valuesAt(page.data.checks.map(one => [one[0], one[1]]))")
            np.testing.assert_allclose(found, checks[:, 2], rtol=1e-12)
            # A turned plane differs from the first one, and so does one of another seed.
            for more in ("0, [1, 0]", "0, [0, 1]", "5"):
                other = browser.run(f"explorer.valuesAt([[0.5, -0.25], [0, 0]], {more})")
                assert abs(other[0] - found[0]) > 1e-9
                assert other[1] == pytest.approx(browser.run("page.data.centre"), rel=1e-12)

            choose(browser, "turn-x", 90)
            assert picture(browser) != first
            assert text(browser, "here") == text(browser, "python")
            browser.run("document.getElementById('back').click()")
            assert picture(browser) == first
            assert browser.complaints == []
            # Control: a value at the centre that is not Python's is told.
            other = file.read_text(encoding="utf-8").replace('"centre":', '"centre":1', 1)
            file.write_text(other, encoding="utf-8")
            browser.open(file, width=400, height=600, dark=True)
            choose(browser, "points", 21)
            picture(browser)
            assert "do not trust this picture" in text(browser, "verdict")
            assert {url.partition(":")[0] for url in browser.requests} <= {"file", "blob"}
