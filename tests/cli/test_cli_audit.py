"""`landscape audit` as a user meets it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import landscape as ls
from landscape.plots import audit_values

MEASURES = ("--measures", "hessian_top,fisher_rao_norm,orbit_min_trace")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    paths = {}
    for name, options in {"a": {}, "b": {"seed": 1}, "gelu": {"activation": "gelu"}}.items():
        seed = options.pop("seed", 0)
        objective = ls.problems.build(
            "digits-mlp", {"width": 4, "depth": 1, "train_size": 60, **options}, seed=seed
        )
        paths[name] = folder / f"{name}.h5"
        ls.training.train(objective, paths[name], ls.training.Settings(epochs=2, seed=seed))
    return paths


def test_an_audit_is_a_table(runs, landscape):
    code, said, error = landscape("audit", runs["a"], *MEASURES)
    assert (code, error) == (0, "")
    lines = said.splitlines()
    assert "audit of digits-mlp at step" in lines[0]
    assert lines[1].split()[:2] == ["measure", "value"]
    assert "alpha = 10" in lines[1]
    assert "unbounded (Dinh et al. 2017, theorem 4)" in lines[2]
    assert lines[4].split()[0] == "orbit_min_trace"
    assert lines[4].endswith("invariant")
    assert "smallest Gauss-Newton trace on the orbit" in said


def test_values_are_told_as_they_are_taken(runs, landscape, monkeypatch):
    elements = [one["name"] for one in landscape("audit", runs["a"], *MEASURES, "--json").json["elements"]]
    # In a log they come once a minute, together.
    monkeypatch.setattr("landscape.cli.progress._BETWEEN_LINES", 0.0)
    done = landscape("audit", runs["a"], *MEASURES, "--json")
    told = [line for line in done.err.splitlines() if not line.startswith("landscape audit: ")]
    assert [line.partition(": ")[0] for line in told] == ["as it is", *elements]
    for line, cells in zip(
        told[1:], zip(*(one["cells"] for one in done.json["measures"]), strict=True), strict=True
    ):
        ratios = dict(word.split(" x") for word in line.partition(": ")[2].split(", "))
        for row, cell in zip(done.json["measures"], cells, strict=True):
            assert float(ratios[row["name"]]) == pytest.approx(cell["value"] / row["value"], rel=1e-3)


def test_the_table_has_the_standard_errors_of_the_json(runs, landscape):
    measures = ("--measures", "hessian_trace,fisher_rao_norm", "--setting", "hessian_trace.method=hutchinson")
    lines = landscape("audit", runs["a"], *measures).out.splitlines()
    trace, norm = landscape("audit", runs["a"], *measures, "--json").json["measures"]
    assert trace["standard_error"] > 0
    assert norm["standard_error"] is None
    assert f"± {trace['standard_error']:.1g}" in lines[2].split("  ")[-1] or (
        f" ± {trace['standard_error']:.1g}  " in lines[2]
    )
    cell = next(one for one in trace["cells"] if not one["same"])
    assert f"{cell['ratio']:.3g} ± {cell['standard_error'] / abs(trace['value']):.1g}" in lines[2]
    assert "±" not in lines[3]


def test_an_audit_in_json_is_one_document(runs, landscape):
    code, said, error = landscape("audit", runs["a"], *MEASURES, "--at", "first", "--subset", "40", "--json")
    document = json.loads(said)
    assert (code, error, document["step"], document["examples"]) == (0, "", 0, 40)
    assert {"symmetries", "measures", "max_output_change", "orbit_min_trace"} <= document.keys()
    assert [one["name"] for one in document["measures"]] == MEASURES[1].split(",")


class Page(HTMLParser):
    """Tags in order, the texts of cells, and what is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.cells, self.loaded, self.seen = [], [], [], set()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.loaded += [value[:22] for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def test_an_audit_becomes_a_picture_and_a_page_of_its_own(runs, tmp_path, landscape):
    for suffix in (".png", ".html", ".md"):
        out = tmp_path / f"audit{suffix}"
        code, said, error = landscape("audit", runs["a"], *MEASURES, "-o", out)
        assert (code, error) == (0, "")
        assert f"drawn in {out}" in said
    page = Page()
    page.feed((tmp_path / "audit.html").read_text())
    assert page.open == []
    assert page.loaded == ["data:image/png;base64,"]
    assert "script" not in page.seen
    assert {"orbit_min_trace", "invariant", "unbounded"} <= set(page.cells)
    assert (tmp_path / "audit.png").read_bytes()[:4] == b"\x89PNG"
    head, _, *rows = (line for line in (tmp_path / "audit.md").read_text().splitlines() if line.startswith("| "))
    assert head.split(" | ")[:3] == ["| measure", "value", "alpha = 0.1"]
    assert all(row.count(" | ") == head.count(" | ") for row in rows)
    assert any(row.startswith("| orbit_min_trace | ") and row.endswith(" | invariant |") for row in rows)


def test_what_blocks_rescaling_is_said(runs, landscape):
    code, said, error = landscape("audit", runs["gelu"], "--measures", "hessian_top")
    assert (code, error) == (0, "")
    assert "blocked: " in said
    assert "permutation" in said
    assert "alpha = 10" not in said
    code, said, error = landscape("audit", runs["gelu"], "--measures", "orbit_min_trace")
    assert (code, said) == (2, "")
    assert error.startswith("landscape: this model has no rescaling symmetry")


def test_two_minima_are_compared(runs, landscape):
    code, said, error = landscape("audit", runs["a"], runs["b"], *MEASURES, "--json")
    document = json.loads(said)
    assert (code, error) == (0, "")
    found = {one["name"]: one for one in document["comparison"]}
    assert found["hessian_top"]["verdict"] == "reversed"
    assert found["hessian_top"]["on"] in ("a", "b")
    assert found["hessian_top"]["element"]
    assert found["orbit_min_trace"]["verdict"] == "survives"
    assert {"name", "a", "b", "verdict", "element", "on"} <= found["hessian_top"].keys()
    code, said, error = landscape("audit", runs["a"], runs["b"], *MEASURES)
    assert (code, error) == (0, "")
    assert "reversed by" in said
    assert "survives" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--measures", "hessian_topp"), "there is no measure 'hessian_topp'"),
        (("--dtype", "float16"), "option '--dtype' has no such choice; got 'float16'"),
        (("--at", "7777"), "7777"),
        (("-o", "audit.gif"), "audit.gif"),
        (("--seed", "-1"), "option '--seed' is out of range; got -1"),
        (("--setting", "hessian_top.nothing=1"), "settings of 'hessian_top', which is not taken"),
    ],
)
def test_wrong_input_is_told_in_one_line(options, message, runs, landscape):
    given = options if options[0] == "--measures" else ("--measures", "fisher_rao_norm", *options)
    code, said, error = landscape("audit", runs["a"], *given)
    assert (code, said) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_too_many_files_and_pictures_of_comparisons_are_refused(runs, landscape):
    assert landscape("audit", *[runs["a"]] * 3)[0] == 2
    code, _, error = landscape("audit", runs["a"], runs["b"], "-o", "x.png")
    assert code == 2
    assert "a comparison is a table" in error


def test_control_c_ends_it_with_130(runs, landscape, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(audit_values, "audit", interrupted)
    code, said, error = landscape("audit", runs["a"])
    assert (code, said) == (130, "")
    assert error == "landscape: interrupted; nothing was finished yet\n"
