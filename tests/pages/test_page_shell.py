"""A page loads nothing, and what comes from files stays text."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from landscape import LandscapeError
from landscape.html.embedded import json_text, packed, require_embeddable
from landscape.html.markup import Markup, element
from landscape.pages import page

EVIL = "</script><!--<img src=x onerror=alert(1)>"


def test_text_is_escaped_and_markup_is_not():
    assert element("p", EVIL, Markup("<b>x</b>"), title='"') == (
        '<p title="&quot;">&lt;/script&gt;&lt;!--&lt;img src=x onerror=alert(1)&gt;<b>x</b></p>'
    )


def test_json_cannot_leave_its_element():
    text = json_text({EVIL: [EVIL, float("nan"), float("-inf"), np.float32(0.5)], "line": "\u2028"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {EVIL: [EVIL, None, "-Infinity", 0.5], "line": "\u2028"}


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i4"])
def test_arrays_are_packed_bit_for_bit(dtype):
    values = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    if values.dtype.kind == "f":
        values[0, 0], values[1, 2] = np.nan, np.inf
    held = packed(values)
    again = np.frombuffer(base64.b64decode(held["bdata"]), dtype=f"<{held['dtype']}")
    shape = tuple(int(one) for one in held["shape"].split(","))
    assert again.reshape(shape).tobytes() == values.tobytes()


def test_only_the_scripts_given_may_run_and_nothing_is_loaded():
    made = page(EVIL, [EVIL], data={EVIL: 1}, scripts=["page.say('x', 'y');"], about=EVIL)
    assert "onerror=alert(1)>" not in made
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', made)[1].replace("&#x27;", "'")
    assert policy.startswith("default-src 'none'; ")
    scripts = re.findall(r"<script>(.*?)</script>", made, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_a_page_without_scripts_allows_none():
    assert "script-src &#x27;none&#x27;" in page("words", ["only"])


def test_a_script_that_would_end_its_element_is_refused():
    with pytest.raises(LandscapeError, match=r"a script cannot be put into a page; got '</SCRIPT' in it"):
        require_embeddable("x = '</SCRIPT>'")
