"""The report card of the papers: verdicts are functions of committed numbers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, without_torch

from landscape.claims import PAPERS, VERDICTS, Claim, Numbers, Paper, card, counts, pages, stale_pages
from landscape.claims.claim import above, below, equal, mean_of, more
from landscape.errors import LandscapeError
from landscape.recipe import load
from landscape.recipe.gallery import duration, run_times
from landscape.storage import read_arrays

FIGURES = ROOT / "figures"
TESTED = [
    pytest.param(claim, id=f"{paper.name}-{place}")
    for paper in PAPERS.values()
    for place, claim in enumerate(paper.claims)
    if claim.recipe is not None
]
KEYS = ["paper", "claim", "verdict", "number", "error", "recipe", "picture", "seconds"]


def numbers_of(claim: Claim) -> dict[str, np.ndarray]:
    return dict(read_arrays(FIGURES / "gallery" / f"{claim.recipe}.npz"))


def verdict_of(claim: Claim, arrays: dict[str, np.ndarray]) -> str:
    assert claim.read is not None
    with np.errstate(all="ignore"):
        return claim.verdict(claim.read(Numbers(arrays)))


# Each leaves names and shapes alone and changes what the numbers say.
CHANGES = {
    "turned round": lambda values: values[..., ::-1],
    "upside down": lambda values: values[::-1],
    "negative": lambda values: -values,
    "reciprocal": lambda values: 1 / np.where(values == 0, 1e-3, values),
    "level": lambda values: np.full_like(values, np.nanmean(values)),
    "far larger": lambda values: 1e3 * values + 1,
    "first column upside down": lambda values: (
        np.column_stack([values[::-1, :1], values[:, 1:]]) if values.ndim == 2 else values
    ),
    "shaken": lambda values: values * np.random.default_rng(0).uniform(0.1, 10, values.shape),
}


# Where numbers are, which is no finding.
PLACES = ("x", "y", "t", "m", "q", "run", "sigmas")


def may_change(name: str, claim: Claim) -> bool:
    entry = name.rpartition("/")[2]
    # The y of an experiment is what it found.
    return entry not in PLACES or (entry == "y" and name.count("/") == 2 and f"{name[:-1]}x" in numbers_of(claim))


@pytest.mark.parametrize("claim", TESTED)
def test_every_verdict_changes_with_its_numbers(claim):
    arrays = numbers_of(claim)
    before = verdict_of(claim, arrays)
    names = [name for name, values in arrays.items() if values.ndim and may_change(name, claim)]
    for change in CHANGES.values():
        for changed in (names, *([name] for name in names)):
            if verdict_of(claim, arrays | {name: change(arrays[name]) for name in changed}) != before:
                return
    pytest.fail(f"no change of the numbers changes: {claim.says}")


@pytest.mark.parametrize("claim", TESTED)
def test_every_tested_claim_has_its_recipe_its_picture_and_its_numbers(claim):
    assert load(FIGURES / f"{claim.recipe}.toml").panels
    for suffix in (".png", ".npz"):
        assert (FIGURES / "gallery" / f"{claim.recipe}{suffix}").stat().st_size > 0
    assert run_times(FIGURES)[claim.recipe] > 0


def test_the_card_is_as_long_as_it_should_be_and_says_nothing_twice():
    rows = card(list(PAPERS.values()), FIGURES)
    assert {row.verdict for row in rows} <= set(VERDICTS)
    assert len(rows) >= 60
    assert len(rows) - counts(rows)["not tested"] >= 45
    # A card on which all is seen would be one that nobody checked.
    assert counts(rows)["contradicted"] > 0 < counts(rows)["not seen"]
    for paper in PAPERS.values():
        said = [claim.says for claim in paper.claims]
        assert len(set(said)) == len(said)
        assert all(claim.setting.endswith(".") and not claim.says.endswith(".") for claim in paper.claims)
    assert all((row.reading is None) == (row.verdict == "not tested") for row in rows)


def test_the_committed_pages_say_what_the_numbers_say(landscape, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert landscape("papers", "--check").code == 0


def test_a_stale_page_fails_the_check(landscape, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    target = tmp_path / "pages"
    assert landscape("papers", "-o", target).code == 0
    assert landscape("papers", "--check", "-o", target).code == 0
    page = target / "cohen2021.md"
    page.write_text(page.read_text().replace("seen at small scale", "seen", 1))
    done = landscape("papers", "--check", "-o", target)
    assert done.code == 2
    assert f"{target}: cohen2021.md says something else than the numbers; landscape papers -o {target}" in done.err
    page.unlink()
    assert "cohen2021.md" in landscape("papers", "--check", "-o", target).err
    landscape("papers", "-o", target)
    (target / "nobody2020.md").write_text("")
    assert "nobody2020.md" in landscape("papers", "--check", "-o", target).err


def test_other_numbers_make_the_pages_stale(tmp_path):
    figures = tmp_path / "figures"
    (figures / "gallery").mkdir(parents=True)
    shutil.copy(FIGURES / "README.md", figures)
    paper = PAPERS["cohen2021"]
    for claim in (claim for claim in paper.claims if claim.recipe is not None):
        arrays = numbers_of(claim)
        changed = {name: values[::-1] if "train_loss" in name else values for name, values in arrays.items()}
        np.savez(figures / "gallery" / f"{claim.recipe}.npz", **changed)
    made, other = (pages([paper], card([paper], folder), tmp_path) for folder in (FIGURES, figures))
    assert made["cohen2021.md"].count("contradicted") < other["cohen2021.md"].count("contradicted")
    for name, text in made.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert stale_pages(other, tmp_path) == ["README.md", "cohen2021.md"]


def test_json_has_the_keys_of_the_contract(landscape, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = landscape("papers", "--json")
    said = json.loads(done.out)
    assert list(said) == ["claims"]
    assert all(list(row) == KEYS for row in said["claims"])
    assert {row["paper"] for row in said["claims"]} == set(PAPERS)
    for row in said["claims"]:
        tested = row["verdict"] != "not tested"
        assert all((row[key] is not None) == tested for key in ("number", "recipe", "picture", "seconds"))
        assert not tested or all((ROOT / row[key]).is_file() for key in ("recipe", "picture"))


def test_a_paper_is_rendered_by_its_recipes(landscape, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    done = landscape("papers", "cohen2021", "--dry-run", "--json", "--cache", tmp_path)
    assert [recipe["name"] for recipe in done.json["recipes"]] == [
        "cohen2021-edge-of-stability",
        "cohen2021-momentum",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dihn2017"], "unknown paper 'dihn2017'; did you mean 'dinh2017'?"),
        (["dinh2017", "--check"], "the pages are of all papers; leave out PAPER, or --check and -o"),
        (["--small", "--check"], "the pages are of all papers; leave out --small, or --check and -o"),
        (["--figures", "nowhere"], "nowhere: no such folder; name the folder of the recipes with --figures"),
    ],
)
def test_mistakes_are_told_in_a_line(landscape, monkeypatch, arguments, said):
    monkeypatch.chdir(ROOT)
    done = landscape("papers", *arguments)
    assert (done.code, done.err.strip()) == (2, f"landscape: {said}")


def test_missing_numbers_are_told_with_the_command_that_makes_them(tmp_path):
    paper = Paper("p", "P.", (Claim("It is.", "fig. 1", "Ours.", "p-one", lambda numbers: more(1.0)),))
    with pytest.raises(LandscapeError, match=r"p-one\.npz: the numbers of a recipe are missing; landscape render"):
        card([paper], tmp_path)
    with pytest.raises(LandscapeError, match="no numbers '0/b'"):
        Numbers({"0/a": np.ones(1)})["0/b"]


def test_the_card_needs_no_torch():
    without_torch("papers")


def test_a_difference_within_its_error_is_no_finding():
    assert [more(*pair).finding for pair in ((1.0, 0.5), (1.0, 1.5), (-1.0, 0.5), (float("nan"), 0.0))] == [
        1,
        0,
        -1,
        0,
    ]
    assert [more(value, 0.5, than=2.0).finding for value in (3.0, 2.2, 1.0)] == [1, 0, -1]
    assert equal(1.2, 1.0, within=0.1).finding == -1
    assert equal(1.2, 1.0, within=0.1, error=0.3).finding == 1
    assert below(2.0, 1.0, otherwise=0).finding == above(0.0, 1.0, otherwise=0).finding == 0
    assert below(float("nan"), 1.0).finding == above(float("nan"), 1.0).finding == -1


def test_intervals_hold_the_mean_as_often_as_they_say():
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    held = [abs(mean) <= half for mean, half in map(mean_of, draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("seconds", [1, 59, 60, 75, 3599, 3600, 7260])
def test_run_times_are_read_as_they_are_written(seconds, tmp_path):
    (tmp_path / "README.md").write_text(
        f"# Figures\n\n## a-b\n\ntext\nRun time: {duration(seconds)}. [The numbers]\n"
    )
    assert run_times(tmp_path) == {"a-b": seconds}
    assert run_times(tmp_path / "nowhere") == {}
