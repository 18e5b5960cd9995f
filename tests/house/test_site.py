"""The pages of the documentation: each can be reached, links lead somewhere, and what they say to do works."""

import importlib.util
import re
import shutil
import sys

import pytest
from conftest import ROOT
from documentation import follow_page

DOCS = ROOT / "docs"
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.md"))
# Pages of which every step is followed here; others are followed by test_docs.py and test_readme.py.
_MORE = ("exports", "migrating", "pipelines")
FOLLOWED = sorted([*(DOCS / "concepts").glob("[!R]*.md"), *(DOCS / f"{name}.md" for name in _MORE)])
OUTSIDE = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "figures/README.md")]


def pages():
    made = {DOCS / "api", DOCS / "_build"}
    found = [path for path in DOCS.rglob("*") if path.suffix in (".md", ".ipynb") and not made & {*path.parents}]
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def name_of(page):
    """A page as Sphinx names it."""
    return str(page.relative_to(ROOT).with_suffix(""))


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("site_reference", DOCS / "site" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tests_that_hold_closed_forms_exist():
    named = re.findall(r"`(\S+\.py)::(\w+)`", (DOCS / "closed-forms.md").read_text())
    texts = {path: (ROOT / "tests" / path).read_text() for path, _ in named}
    assert len(named) > 40
    assert [f"{path}::{name}" for path, name in named if f"def {name}(" not in texts[path]] == []


def test_every_room_of_the_reference_has_public_names(reference):
    assert all(reference.public(room) for room in reference.rooms())


def test_every_page_is_in_one_table_of_contents(reference):
    listed = []
    left = [DOCS / "index.md"]
    while left:
        page = left.pop()
        name = name_of(page)
        if name in reference._HUBS and page.exists():
            inner = [(page.parent / one).resolve() for one in reference.children(name, page.read_text())]
            listed += inner
            left += inner
    measured = [page for page in BENCHMARKS if not name_of(page).startswith(reference._LEAVES)]
    assert sorted({*pages(), *measured} - {DOCS / "index.md"} - set(listed)) == []
    assert len(listed) == len(set(listed))


def anchors(text):
    """The anchors of the headings of a page, as code hosts and MyST make them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in plain}


def test_links_lead_to_files_and_headings():
    wrong = []
    for page in [*(path for path in pages() if path.suffix == ".md"), *OUTSIDE]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"\w+:", target):
                continue
            file, _, anchor = target.partition("#")
            other = (page.parent / file).resolve() if file else page
            lost = not other.exists() or (
                anchor and other.suffix == ".md" and anchor not in anchors(other.read_text(encoding="utf-8"))
            )
            wrong += [f"{page.relative_to(ROOT)}: {target}"] if lost else []
    assert wrong == []


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if page.stem == "exports":
        shutil.copy(ROOT / "checkpoints" / "digits-mlp.h5", "run.h5")
    # For the modules that a page writes.
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_problem", raising=False)
    assert follow_page(page) >= 1


def test_times_of_other_packages_are_those_measured():
    measured = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    page = (DOCS / "which-tool.md").read_text(encoding="utf-8")
    row = r"^\| ([^|]*, [^|]*?)" + 4 * r" \| ([\d.]+)" + r" \|$"
    table = re.findall(row, page, flags=re.MULTILINE)
    assert len(table) == 6
    for way, *ratios in table:
        for workload, ratio in zip(("W1", "W2", "W3", "W4"), ratios, strict=True):
            held = rf"^\| {workload} \| {re.escape(way)} \|[^|]*\|[^|]*\| {re.escape(ratio)} \["
            assert re.search(held, measured, re.MULTILINE), (way, workload)
