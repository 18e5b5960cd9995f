"""Completion by the tab key, and manual pages."""

import shutil
import subprocess

import pytest

from landscape.cli.main import cli, main


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(one) for one in arguments])
    return stopped.value.code or 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_its_script(shell, capsys, tmp_path):
    assert run("completion", shell) == 0
    script = capsys.readouterr().out
    assert "_LANDSCAPE_COMPLETE" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_commands_and_options_are_completed():
    from click.shell_completion import ShellComplete

    seen = ShellComplete(cli, {}, "landscape", "_LANDSCAPE_COMPLETE")
    assert [found.value for found in seen.get_completions([], "me")] == ["measure", "merge"]
    assert "--points" in [found.value for found in seen.get_completions(["plot"], "--poi")]
    assert [found.value for found in seen.get_completions(["completion"], "z")] == ["zsh"]


def test_manual_pages_of_all_commands(tmp_path, capsys):
    assert run("manual", "-o", tmp_path / "man1") == 0
    pages = sorted(path.stem for path in (tmp_path / "man1").iterdir())
    assert {"landscape", "landscape-plot", "landscape-probe-perturb"} <= set(pages)
    assert f"{len(pages)} manual pages" in capsys.readouterr().out
    text = (tmp_path / "man1" / "landscape-plot.1").read_text()
    assert text.startswith('.TH "LANDSCAPE-PLOT" 1')
    assert r"\fB\-\-points" in text
    if shutil.which("mandoc"):
        subprocess.run(["mandoc", "-Tlint", "-Werror", *(tmp_path / "man1").iterdir()], check=True)
