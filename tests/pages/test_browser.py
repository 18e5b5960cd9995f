"""Pages in a real browser: what they draw, what moves, and that nothing leaves them."""

import base64
import io
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from browser import Browser, browser_path
from PIL import Image

from landscape.pages import page_of
from landscape.values.orbit import Along, Orbit
from landscape.values.surface import Path, Surface

EVIL = "<img src=x onerror=alert(1)><b>bold</b>"

pytest.importorskip("plotly", reason="interactive pages need plotly")
pytest.importorskip("websocket", reason="a browser is driven with websocket-client")
pytestmark = pytest.mark.skipif(browser_path() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    try:
        opened = Browser(tmp_path_factory.mktemp("profile"))
    except (OSError, TimeoutError, subprocess.SubprocessError) as error:
        pytest.skip(f"Chromium does not start here: {error}")
    with opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose pages share one plotly.js."""
    return tmp_path_factory.mktemp("pages")


def bowl(step=0, field="train_loss"):
    """An asymmetric bowl with a path, its minimum and its point beyond all finite numbers in known places."""
    x, y = np.linspace(-1, 1, 21), np.linspace(-2, 2, 11)
    values = 0.1 + step + (x - 0.5) ** 2 + 0.2 * (y[:, None] + 1) ** 2
    values[0, 0] = np.inf
    path = Path(np.array([0, 5, 9]), np.array([-0.8, 0.1, 0.5]), np.array([1.5, 0, -1.0]), *np.ones((3, 3)))
    meta = {"problem": EVIL, "step": step, "units": {"loss": EVIL}, "axes": [{"label": EVIL}, {"label": "y"}]}
    errors = {field: np.full(values.shape, 0.01)}
    return Surface(x, y, {field: values, "train_error": values / 9}, errors, meta=meta, path=path)


def steepening():
    """Slices that steepen with alpha where they are not normalised, and stay where they are."""
    alphas, x = np.array([0.5, 1.0, 2.0]), np.linspace(-1, 1, 11)
    plain, still = alphas[:, None] ** 2 * x**2 + 0.25, np.broadcast_to(x**2 + 0.25, (3, 11))
    measures = (
        Along("hessian_top", EVIL, "", 2 * alphas**2, np.full(3, np.nan)),
        Along("fisher_rao_norm", "Fisher-Rao norm", "", np.full(3, 0.7), np.full(3, np.nan), claimed=True),
    )
    slices, coordinates = {"none": plain, "filter": still}, {"none": x, "filter": x}
    meta = {"problem": EVIL, "units": {"loss": "nats"}}
    return Orbit(
        "rescaling", "α", alphas, 1, coordinates, slices, np.full(3, 0.25), np.zeros(3), measures, 1e-9, meta
    )


def opened(browser, value, folder, name, **how):
    made = page_of(value).save(folder / f"{name}.html", shared=True)
    browser.open(made, **{"width": 700, "height": 600, **how})
    browser.run("page.settled")
    return made


def turn(browser, name, value):
    """Turn a control as a reader does, and wait until all is drawn."""
    browser.run(
        f"(() => {{ const one = document.querySelector('[name=\"{name}\"]'); one.value = {value!r};"
        "one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    browser.run("page.settled")


def text(browser, name):
    return browser.run(f"document.getElementById('{name}').textContent")


def drawn(browser, name):
    """The heights of the line that moves."""
    return browser.run(f"Array.from(document.getElementById('{name}').data.at(-1).y)")


def colours(browser, name):
    """How many colours a drawing shows."""
    box = browser.run(f"document.getElementById('{name}').getBoundingClientRect().toJSON()")
    clip = {key: box[key] for key in ("x", "y", "width", "height")} | {"scale": 0.5}
    shot = browser.call("Page.captureScreenshot", format="png", clip=clip)
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
        return len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3) // 16, axis=0))


def innocent(browser, made, folder):
    """Nothing complained, nothing was asked of the network, and no markup came to life."""
    assert browser.complaints == []
    allowed = (made.resolve().as_uri(), (folder / "plotly.js").resolve().as_uri(), "data:", "blob:")
    assert [url for url in browser.requests if not url.startswith(allowed)] == []
    assert browser.run("document.querySelectorAll('img[src=x], [onerror], h1 b, p b, text b').length") == 0
    assert "onerror=alert(1)" in browser.run("document.querySelector('h1').textContent")


def test_a_relief_renders_and_its_names_do_nothing(browser, folder):
    made = opened(browser, {"late": bowl(3), "early": bowl(1)}, folder, "surface")
    assert colours(browser, "relief") > 30
    # Planes are in the order of their steps; a point without a finite value says why.
    assert text(browser, "frame-value") == "step 1"
    assert "infinite" in browser.run("document.getElementById('relief').data[0].text[0][0]")
    assert "± 0.01" in browser.run("document.getElementById('relief').data[0].text[5][5]")
    low = browser.run("document.getElementById('relief').data[0].z[5][5]")
    turn(browser, "frame", 1)
    assert text(browser, "frame-value") == "step 3"
    assert browser.run("document.getElementById('relief').data[0].z[5][5]") - low == pytest.approx(2, abs=1e-5)
    turn(browser, "snapshot", 0)
    assert text(browser, "snapshot-value") == "step 0"
    browser.run("document.querySelector('[value=log]').click()")
    browser.run("page.settled")
    height = browser.run("document.getElementById('relief').data[0].z[5][5]")
    assert height == pytest.approx(np.log10(bowl(3).values[5, 5]), abs=1e-5)
    innocent(browser, made, folder)


def test_a_fine_relief_is_coarse_while_it_turns(browser, folder):
    x = np.linspace(-1, 1, 121)
    opened(browser, Surface(x, x, {"train_loss": x**2 + x[:, None] ** 2}), folder, "fine")
    browser.run(
        "(() => { const own = WebGLRenderingContext.prototype, draw = own.drawArrays; window.drawn = [];"
        "own.drawArrays = function (...given) { window.drawn.push(given[2]); draw.apply(this, given); }; })()"
    )
    eye = "document.getElementById('relief')._fullLayout.scene.camera.eye"
    fine, coarse, before = 120 * 120 * 6, 40 * 40 * 6, browser.run(eye)
    browser.turned("relief", seconds=0.5)
    browser.run("new Promise(done => setTimeout(done, 500))")
    reliefs = [count for count in browser.run("window.drawn") if count in (fine, coarse)]
    assert reliefs.count(coarse) > 2
    assert reliefs[-1] == fine
    assert browser.run(eye) != before

    # The arrow keys turn it too, by 5 degrees.
    browser.run("document.getElementById('relief').focus()")
    before = browser.run(eye)
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight")
    browser.run("page.settled")
    turned = browser.run(eye)
    angles = [np.degrees(np.arctan2(one["y"], one["x"])) for one in (before, turned)]
    assert angles[1] - angles[0] == pytest.approx(5)
    assert turned["z"] == pytest.approx(before["z"])
    assert browser.complaints == []


def test_the_slider_moves_the_slice_and_not_the_loss(browser, folder):
    made = opened(browser, steepening(), folder, "orbit")
    before = {name: drawn(browser, f"rescaling-{name}") for name in ("none", "filter")}
    loss = text(browser, "reading-rescaling-loss")
    assert text(browser, "rescaling-value") == "1 (as trained)"
    assert loss == "0.25 nats"
    turn(browser, "rescaling", 2)
    assert text(browser, "rescaling-value") == "2"
    assert text(browser, "reading-rescaling-loss") == loss
    assert text(browser, "reading-rescaling-fisher_rao_norm") == "0.7"
    assert text(browser, "reading-rescaling-hessian_top") == "8"
    np.testing.assert_allclose(drawn(browser, "rescaling-none"), steepening().slices["none"][2])
    assert drawn(browser, "rescaling-none") != before["none"]
    assert drawn(browser, "rescaling-filter") == before["filter"]
    innocent(browser, made, folder)


def test_a_page_in_the_dark_on_a_phone_fits(browser, folder):
    opened(browser, replace(bowl(), path=None), folder, "phone", width=400, height=800, dark=True)
    assert browser.run("document.documentElement.scrollWidth") == 400
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
    assert browser.complaints == []
