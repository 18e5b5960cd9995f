"""Reports: every part, or why it is missing, and how far the numbers are from the edge."""

import re
from dataclasses import replace

import numpy as np
import pytest

from landscape import LandscapeError, problems
from landscape.reports import ReportOptions, report_of
from landscape.reports.sections import head_room
from landscape.training import Settings, train
from landscape.trajectory import open_trajectory
from landscape.values.spectrum import End, Spectrum

PARTS = ("Training", "Surface", "Path", "Distances between snapshots", "Spectrum of the Hessian")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    file = tmp_path_factory.mktemp("runs") / "a.h5"
    options = {"width": 4, "train_size": 100}
    train(problems.build("digits-mlp", options), file, Settings(epochs=3, batch_size=50, lr=0.1, momentum=0.9))
    return file


def failures(page):
    return re.findall(r'<p class="failure">(.*?)</p>', page)


def test_a_report_has_every_part_and_its_doubts(run, tmp_path, landscape):
    page = tmp_path / "report.html"
    outcome = landscape("report", run, "-o", page, "--fast", "--points", 5, "--subset", 50, "--json")
    assert outcome.code == 0, outcome.err
    text = page.read_text()
    assert failures(text) == []
    assert outcome.json["missing"] == 0
    assert outcome.json["bytes"] == page.stat().st_size < 8e6
    assert [part for part in PARTS if f"<h2>{part}</h2>" not in text] == []
    assert text.count('src="data:image/png;base64,') == 6
    assert "the spectrum is of 50 of 100 training examples" in text
    assert "A rescaling of layers that leaves the function as it is" in text
    assert "(2 + 2·0.9) / learning rate = 38" in text
    assert "<script" not in text


def test_a_part_that_fails_says_why_and_the_others_are_there(run):
    def refuse(_):
        raise LandscapeError("the data <are> gone")

    page = report_of(run, rebuild=refuse, options=ReportOptions(fast=True))
    assert failures(page)[0] == "Surface is missing: the data &lt;are&gt; gone"
    assert len(failures(page)) == 5
    assert "What was trained" in page
    assert page.count('src="data:image/png;base64,') == 2


def spectrum(largest, converged=True):
    ends = End(largest, 0.0, converged), End(-0.1, 0.0, True)
    return Spectrum(np.linspace(-1, 3, 9), np.ones((2, 9)) / 4, 0.1, 0.1, 9, 1.0, 0.1, 2.0, 0.2, *ends)


def test_the_head_room_is_the_threshold_over_the_eigenvalue(run):
    said = head_room(open_trajectory(run), spectrum(9.5))
    assert "= 38. The largest here is 9.5, 25 % of it: a rate 4 times as large would reach the edge" in said
    assert said.endswith("with batches of 50 noise sets a lower one, which this does not tell.")
    with pytest.raises(LandscapeError, match="the largest eigenvalue has not converged"):
        head_room(open_trajectory(run), spectrum(9.5, converged=False))
    header = open_trajectory(run).header
    adam = type(open_trajectory(run))(replace(header, training={**header.training, "optimizer": "adam"}))
    with pytest.raises(LandscapeError, match="what adam can follow depends on its steps, which were not recorded"):
        head_room(adam, spectrum(9.5))


def test_a_step_is_an_option_and_not_an_address(run, tmp_path, landscape):
    outcome = landscape("report", f"{run}:2", "-o", tmp_path / "x.html")
    said = f"landscape: a report is of a run; got {run}:2; leave the step out, and give --at 2\n"
    assert (outcome.code, outcome.err) == (2, said)
    outcome = landscape("report", run, "--compare", run, "-o", tmp_path / "x.html")
    assert outcome.err == f"landscape: --compare: a file is named twice; got {run}; name another one\n"


def test_a_report_compares_two_at_most(run):
    with pytest.raises(LandscapeError, match="a report is of one run, or compares two; got 3 runs"):
        report_of([run, run, run])
