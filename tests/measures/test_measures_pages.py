"""The pages about measures say what the registry says."""

from __future__ import annotations

import importlib.util

import pytest
from conftest import ROOT

from landscape.measures import measures, step_measures

PAGES = ROOT / "docs" / "measures"
KNOWN = {**measures(), **step_measures()}
_spec = importlib.util.spec_from_file_location("make_pages", PAGES / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.mark.parametrize("name", list(KNOWN))
def test_every_measure_has_its_page_and_its_picture(name):
    one = KNOWN[name]
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(make.head_of(one)), f"run python docs/measures/make.py {name}"
    assert f"| formula | {one.formula.replace('|', '&#124;')} |" in page
    assert f"| invariant to | {', '.join(one.invariant) or 'nothing'} |" in page
    assert len(make.text_of(page)) > 200, "a page has a text of its own"
    assert 0 < (PAGES / f"{name}.png").stat().st_size < 40_000


def test_the_index_lists_all_measures():
    assert (PAGES / "README.md").read_text(encoding="utf-8") == make.index_of(KNOWN.values())


def test_no_page_is_left_over():
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == set(KNOWN)
    assert {picture.stem for picture in PAGES.glob("*.png")} == set(KNOWN)


def test_the_page_of_claims_is_made_of_the_registry():
    page = (PAGES.parent / "measures.md").read_text(encoding="utf-8")
    assert page == make.claims_of(KNOWN.values()), "run python docs/measures/make.py"
    assert all(f"[{name}](measures/{name}.md)" in page for name in KNOWN)
