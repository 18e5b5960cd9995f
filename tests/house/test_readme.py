"""What the README says is run."""

import re
import shlex

import pytest
from conftest import ROOT
from killing import run_command

from landscape.cli.main import main
from landscape.trajectory import open_trajectory

README = (ROOT / "README.md").read_text()


SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_your_own_model_in_an_empty_folder(tmp_path):
    """Followed literally; that the command is installed is proven with the template that `init` writes."""
    section = README.split("## Your own model")[1].split("## Figures in batches")[0]
    snippet = SNIPPETS[0]
    assert snippet in section
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 15
    (tmp_path / "my_problem.py").write_text(snippet)
    commands = re.findall(r"^    ((?:python|landscape) .*)$", section, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["python", "landscape", "landscape"]
    for command in commands:
        run_command(tmp_path, command)
    for name in ("surface.png", "path.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert len(open_trajectory(tmp_path / "run.h5")) == 11


def test_the_python_snippet_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(SNIPPETS) == 2
    exec(compile(SNIPPETS[1], "README.md", "exec"), {})
    assert (tmp_path / "surface.png").stat().st_size > 10_000
    assert re.match(r"11 snapshots, \d+% of the variance along the first PC\n", capsys.readouterr().out)


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = README.split("## From training to picture")[1].split("###")[0]
    commands = re.findall(r"^    landscape (.*?)(?:\s+#.*)?$", section, flags=re.MULTILINE)
    assert len(commands) == 10
    for command in commands:
        # The same commands on fewer points.
        arguments = shlex.split(command)
        if "surface.h5" not in arguments[:2] and arguments[0] == "plot":
            arguments += ["--points", "7"]
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert not stopped.value.code, command
    assert all((tmp_path / name).exists() for name in ("curve.png", "surface.png", "path.pdf", "relief.svg"))


def test_pictures_and_links_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


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
