"""The page of all kinds of pictures is what their declarations say."""

import importlib.util

from conftest import ROOT

DOCS = ROOT / "docs"


def test_the_page_is_made_from_the_declarations():
    spec = importlib.util.spec_from_file_location("make_plots", DOCS / "plots" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.PAGE.read_text(encoding="utf-8") == make.page(), "run python docs/plots/make.py"
