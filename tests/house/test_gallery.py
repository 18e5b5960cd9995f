"""The committed gallery is what its recipes make."""

import numpy as np
import pytest
from conftest import ROOT

from landscape.plots.slices import numbers_of
from landscape.recipe import load
from landscape.recipe.findings import findings_in, findings_of
from landscape.recipe.gallery import MOST_BYTES

FIGURES = ROOT / "figures"
RECIPES = sorted(FIGURES.glob("*.toml"))
# Training in float32 on another machine or number of threads ends elsewhere by rounding that training amplifies.
TOLERANCE = {"rel": 0.05, "abs": 1e-3}
# An error rate is a count of so many examples, some of which lie on the other side of a boundary then.
COUNTED = {"train_error": 1437, "test_error": 360}
# The part of a path that a plane does not hold is the small difference of large numbers.
SMALL = {"path_off_plane": {"rel": 0.1, "abs": 1e-3}}


def same(entry: str, values: np.ndarray, held: np.ndarray) -> bool:
    """Whether numbers are those held, as another processor makes them: rates within two standard errors."""
    if entry not in COUNTED:
        return bool(values == pytest.approx(held, **SMALL.get(entry, TOLERANCE)))
    count = COUNTED[entry]
    error = 2 * np.maximum(2 / count, np.sqrt(held * (1 - held) / count))
    return bool((np.abs(values - held) <= np.maximum(TOLERANCE["rel"] * held, error)).all())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_has_its_picture_and_its_place_on_the_page(path):
    recipe = load(path)
    assert 0 < (FIGURES / "gallery" / f"{recipe.name}.png").stat().st_size <= MOST_BYTES
    with np.load(FIGURES / "gallery" / f"{recipe.name}.npz") as numbers:
        assert {name.split("/")[0] for name in numbers} == set(map(str, range(len(recipe.panels))))
    page = (FIGURES / "README.md").read_text(encoding="utf-8")
    assert f"(gallery/{recipe.name}.png)" in page
    assert recipe.caption in page
    assert recipe.text.split("\n\n", 1)[1].strip() in page


@pytest.mark.parametrize(("name", "panels"), [("toy-valley", [0]), ("digits-overview", [0, 1, 2])])
def test_the_numbers_behind_a_picture_come_out_again(name, panels, tmp_path):
    recipe = load(FIGURES / f"{name}.toml")
    with np.load(FIGURES / "gallery" / f"{name}.npz") as held:
        for place in panels:
            for run, surface in recipe.panels[place].surfaces(tmp_path).items():
                made = numbers_of(surface)
                assert {f"{place}/{run}/{entry}" for entry in made} <= set(held)
                for entry, values in made.items():
                    assert same(entry, values, held[f"{place}/{run}/{entry}"]), entry


def test_another_seed_gives_other_numbers(tmp_path):
    text = (FIGURES / "digits-overview.toml").read_text() + "seed = 1\n"
    (tmp_path / "other.toml").write_text(text)
    panel = load(tmp_path / "other.toml").panels[0]
    with np.load(FIGURES / "gallery" / "digits-overview.npz") as held:
        made = panel.surfaces(tmp_path)["sgd"]
        assert made["train_loss"] != pytest.approx(held["0/sgd/train_loss"], **TOLERANCE)


@pytest.mark.parametrize("rate", [0.045, 0.06, 0.1])
def test_the_largest_eigenvalue_rises_to_the_edge_of_stability(rate):
    with np.load(FIGURES / "gallery" / "cohen2021-edge-of-stability.npz") as held:
        steps, values = (held[f"0/rate {rate:g}/{entry}"] for entry in ("x", "train_hessian_top"))
        loss = held[f"1/rate {rate:g}/train_loss"]
    edge = 2 / rate
    assert values[0] < 0.7 * edge
    assert 1.0 < values.max() / edge < 2.5
    assert np.median(values[(steps >= 100) & (steps <= 300)]) == pytest.approx(edge, rel=0.25)
    assert loss[-1] < 0.1 * loss[0]
    assert (np.diff(loss) > 0).any()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_findings_on_the_page_are_those_of_the_numbers(path):
    name = path.stem
    page = (FIGURES / "README.md").read_text(encoding="utf-8")
    part = page[page.index(f"\n## {name}\n") :].split("```toml", 1)[0]
    said = [line[2:] for line in part.splitlines() if line.startswith("- ")]
    assert said == findings_in(FIGURES / "gallery" / f"{name}.npz")


def test_findings_change_with_the_numbers():
    with np.load(FIGURES / "gallery" / "li2018-small-large-batch.npz") as held:
        numbers = {name: held[name] for name in held.files}
    before = findings_of(numbers)
    assert len(before) == 6
    wider = {name: values / 10 if name.endswith("train_loss") else values for name, values in numbers.items()}
    assert all(one != other for one, other in zip(before, findings_of(wider), strict=True))
    shifted = {name: values + 0.5 if name.endswith("/x") else values for name, values in numbers.items()}
    assert findings_of(shifted) != before


def test_findings_of_embeddings_and_mixtures_change_with_the_numbers():
    with np.load(FIGURES / "gallery" / "liao2017-mds.npz") as held:
        numbers = {name: held[name] for name in held.files}
    before = findings_of(numbers)
    assert [sentence[:3] for sentence in before] == [f"({letter})" for letter in "abcdef"]
    for entry, change in (("stress", 2.0), ("distances", 0.5)):
        other = {
            name: values * change if name.endswith(f"/{entry}") else values for name, values in numbers.items()
        }
        assert all(one != two for one, two in zip(before, findings_of(other), strict=True))
    alone = {name: values * 0 if name.endswith("/run") else values for name, values in numbers.items()}
    assert all("the run ends" in sentence for sentence in findings_of(alone))
    with np.load(FIGURES / "gallery" / "pittorino2021-mixture.npz") as held:
        numbers = {name: held[name] for name in held.files}
    before = findings_of(numbers)
    assert [sentence.split("`")[1] for sentence in before] == ["SGD", "Entropy-SGD", "Replicated-SGD"] * 2
    backwards = {name: values[::-1] if values.ndim == 1 else values for name, values in numbers.items()}
    assert all(one != two for one, two in zip(before, findings_of(backwards), strict=True))


def test_the_orbit_moves_what_is_not_invariant_and_nothing_else():
    with np.load(FIGURES / "gallery" / "dinh2017-orbit.npz") as numbers:
        held = {name.removeprefix("0/rescaling/"): numbers[name] for name in numbers.files}
    home = len(held["positions"]) // 2
    ends = [held["slices/none"][place].max() for place in (0, home, -1)]
    assert min(ends[0], ends[2]) > 10 * ends[1]
    for still in ("slices/filter", "losses", "fisher_rao_norm", "filter_normalized_curvature", "orbit_min_trace"):
        assert held[still] == pytest.approx(np.broadcast_to(held[still][home], held[still].shape), rel=1e-5)
    assert held["hessian_top"].max() > 10 * held["hessian_top"][home]


def test_three_basins_are_deeper_than_their_errors():
    with np.load(FIGURES / "gallery" / "digits-basins.npz") as held:
        assert held["0/certain"].tolist() == [1, 1, 1]
        assert (held["0/rims"] - held["0/bottoms"] > held["0/errors"]).all()
