"""What the README says is run."""

import re
import sys

import pytest
from conftest import ROOT
from documentation import follow

from landscape.cli.main import main
from landscape.trajectory import open_trajectory

README = (ROOT / "README.md").read_text()
MOST_WORDS = 900


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[str]:
    return re.findall(r"^    ((?:python|landscape) .*)$", section(title), flags=re.MULTILINE)


def test_it_is_short_and_begins_with_a_picture_of_seven():
    assert len(README.split()) < MOST_WORDS
    assert README.startswith("![")
    assert README.count("![") == 7
    titles = re.findall(r"^## (.*)$", README, flags=re.MULTILINE)
    assert titles == ["Install", "My checkpoints", "In my training loop", "The papers", "More"]


def test_my_checkpoints_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_problem", raising=False)
    snippets = re.findall(r"```python\n(.*?)```", section("My checkpoints"), flags=re.DOTALL)
    for name, snippet in zip(("my_problem.py", "train.py"), snippets, strict=True):
        assert f"`{name}`" in section("My checkpoints")
        (tmp_path / name).write_text(snippet)
    typed = commands("My checkpoints")
    assert [one.split()[1] for one in typed] == ["train.py", "import", "plot", "plot", "measure"]
    for command in typed:
        follow(command)
    sys.modules.pop("my_problem", None)
    for name in ("surface.png", "path.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    run = open_trajectory(tmp_path / "run.h5")
    assert list(run.steps) == list(range(0, 201, 25))


def test_in_my_training_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", section("In my training loop"), flags=re.DOTALL)
    # A cell of a notebook may be run twice.
    for _ in range(2):
        exec(compile(snippet, "README.md", "exec"), {})
    assert (tmp_path / "loop.png").stat().st_size > 10_000
    assert len(open_trajectory(tmp_path / "loop.h5")) == 11


def test_the_papers_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = commands("The papers")
    assert len(typed) == 7
    # The same commands on fewer points, examples and measures.
    fewer = {"plot": ["--points", "7"], "audit": ["--measures", "fisher_rao_norm", "--subset", "200"]}
    for command in typed:
        more = [] if "spectrum" in command else fewer.get(command.split()[1], [])
        follow(command, *more)
        picture = re.search(r"-o (\S+)", command)
        assert (tmp_path / picture[1]).stat().st_size > 10_000


def test_the_tour_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "tour.md").read_text()
    typed = re.findall(r"^    (landscape .*?)(?:\s+#.*)?$", page.split("### Real CIFAR-10")[0], flags=re.MULTILINE)
    assert len(typed) == 10
    for command in typed:
        follow(command, *(["--points", "7"] if " plot run.h5" in command else []))
    snippet = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[-1]
    exec(compile(snippet, "tour.md", "exec"), {})


def test_the_demonstration(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--directory", str(tmp_path)])
    assert not stopped.value.code
    said = capsys.readouterr().out
    for name in ("overview", "curve", "surface", "surface-3d", "trajectory"):
        assert (tmp_path / "figures" / "demo" / f"{name}.png").stat().st_size > 10_000
    assert "a random walk would show 76.1%" in said


def test_the_committed_trajectory_opens_and_is_small(capsys):
    file = ROOT / "checkpoints" / "digits-mlp.h5"
    assert file.stat().st_size <= 2 * 2**20
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", str(file)])
    assert not stopped.value.code
    assert "snapshots   41" in capsys.readouterr().out
