"""`landscape import` as a user meets it, and what its page says, run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, state_of

from landscape import problems
from landscape.cli.main import main
from landscape.params import digest
from landscape.trajectory import open_trajectory
from landscape.trajectory.checkpoints.readers import read_checkpoint

PAGE = (ROOT / "docs" / "importing.md").read_text()


@pytest.fixture
def ckpts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three checkpoints of digits-mlp, as a loop in data parallel saves them."""
    monkeypatch.chdir(tmp_path)
    folder = Path("ckpts")
    folder.mkdir()
    for epoch in (1, 2, 10):
        state = model(epoch).state_dict()
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, folder / f"epoch{epoch}.pt")
    return folder


def model(seed: int) -> torch.nn.Module:
    return problems.build("digits-mlp", {"width": 16}, seed=seed).model


def test_the_page_is_true(ckpts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    landscape (.*)$", PAGE, flags=re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        with pytest.raises(SystemExit) as stopped:
            main(shlex.split(command))
        assert not stopped.value.code, command
    assert all(Path(name).exists() for name in ("path.png", "last.safetensors", "first.pt"))
    capsys.readouterr()
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(snippet.replace('"run.h5"', '"again.h5"'), {"model": model(0)})
    assert capsys.readouterr().out == "12 'module.' stripped \n"


def test_the_report_in_words(ckpts: Path, landscape: Any) -> None:
    extra = torch.load(ckpts / "epoch10.pt", weights_only=True) | {"module.x": torch.ones(1)}
    torch.save({"state_dict": extra, "optimizer": {}}, ckpts / "epoch10.pt")
    code, out, err = landscape(
        "import", "run.h5", "ckpts/epoch*.pt", "--problem", "digits-mlp", "--set", "width=16"
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "run.h5: 3 snapshots of digits-mlp, steps 1 to 10, 1,482 parameters",
        "  step 1        ckpts/epoch1.pt (torch; 6 tensors; step: the epoch, as --steps-per-epoch is not given)",
        "  step 2        ckpts/epoch2.pt (torch; 6 tensors; step: the epoch, as --steps-per-epoch is not given)",
        "    names: 'module.' stripped",
        "  step 10       ckpts/epoch10.pt (torch, state_dict; 6 tensors; step: the epoch, as --steps-per-epoch is "
        "not given)",
        "    names: 'module.' stripped",
        "    1 extra, left out: module.x",
    ]
    run = open_trajectory("run.h5")
    assert [snapshot.digest for snapshot in run] == [digest(state_of(model(seed))) for seed in (1, 2, 10)]
    assert run.problem_args["width"] == 16
    code, out, _ = landscape("import", "own.h5", "ckpts/epoch1.pt", "--steps", "5")
    assert out.splitlines()[0] == "own.h5: 1 snapshot, step 5, 1,482 parameters"
    assert "parameters and buffers were told by name and type: pass --problem" in out.splitlines()[-1]
    code, out, _ = landscape("plot", "run.h5", "--points", 3, "--at", 10, "-o", "s.png", "--json")
    assert code == 0


def test_the_report_for_programs(ckpts: Path, landscape: Any) -> None:
    wide = {name: tensor.double() for name, tensor in model(3).state_dict().items() if name != "4.bias"}
    torch.save(wide, ckpts / "epoch11.pt")
    options = ["--problem", "digits-mlp", "--set", "width=16", "--missing", "initial", "--cast", "--json"]
    code, out, _ = landscape("import", "run.h5", *sorted(ckpts.iterdir()), *options, "--steps-per-epoch", 12)
    assert code == 0
    said = json.loads(out)
    assert said["steps"] == [12, 24, 120, 132]
    assert said["problem"] == "digits-mlp"
    last = said["files"][-1]
    assert last["missing"] == {"count": 1, "first": ["4.bias"]}
    assert last["epoch"] == 11
    assert last["conversions"][0]["source"] == "float64"
    assert last["conversions"][0]["rounding"] == 0
    assert said["files"][0]["names"] == "'module.' stripped"
    assert said["run_id"] == open_trajectory("run.h5").run_id


def test_tied_embeddings_of_a_built_in_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landscape: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["layers=1", "width=8", "heads=2", "context=8", "train_size=4", "test_size=2"]
    built = problems.build("text-transformer", dict(option.split("=") for option in options), seed=4).model
    torch.save({"model": {n: t for n, t in built.state_dict().items() if n != "head.weight"}}, "step7.pt")
    settings = [part for option in options for part in ("--set", option)]
    code, _, err = landscape("import", "run.h5", "step7.pt", "--problem", "text-transformer", *settings)
    assert code == 0, err
    assert open_trajectory("run.h5")[0].digest == digest(state_of(built))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--problem", "digits-mlp"],
            "the tensors are not those of the model; got 5 of another shape: module.0.weight",
        ),
        (["--set", "width=16"], "--set: options are those of a problem; pass --problem too"),
        (["--problem", "digits-mpl"], "there is no problem 'digits-mpl'; did you mean 'digits-mlp'?"),
        (["--steps", "a"], "--steps: not steps; got 'a'; expected 0,100,200"),
        (["--steps", "1,2"], "--steps: the wrong number of steps; got 2; expected one for each of 3 checkpoints"),
        (["--missing", "zero"], "--missing must be refuse or initial, got zero"),
        (["ckpts/none*.pt"], "'ckpts/none*.pt': no file matches this pattern"),
        (["ckpts"], "ckpts/epoch1.pt: two checkpoints are of step 1"),
    ],
)
def test_wrong_input_is_told_in_one_line(ckpts: Path, landscape: Any, arguments: list[str], text: str) -> None:
    code, out, err = landscape("import", "run.h5", "ckpts/epoch*.pt", *arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1
    assert sorted(Path().iterdir()) == [ckpts]


def test_an_interrupt_leaves_nothing(ckpts: Path, landscape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, *more: Any) -> Any:
        if path.name == "epoch2.pt":
            raise KeyboardInterrupt
        return read_checkpoint(path, *more)

    monkeypatch.setattr("landscape.trajectory.checkpoints.imports.read_checkpoint", read)
    code, out, err = landscape("import", "run.h5", "ckpts/*.pt")
    assert (code, out, err) == (130, "", "landscape: interrupted; nothing was written\n")
    assert sorted(Path().iterdir()) == [ckpts]


def test_help_shows_an_example_and_the_name_of_the_file_is_checked(ckpts: Path, landscape: Any) -> None:
    assert "Example: landscape import 'ckpts/epoch*.pt' -o run.h5" in landscape("import", "-h")[1]
    assert "import " in landscape("-h")[1]
    code, _, err = landscape("import", "run.pt", "ckpts/epoch*.pt")
    assert (code, err) == (
        2,
        "landscape: run.pt: no trajectory file to write is named; name it with -o: "
        "landscape import run.pt 'ckpts/epoch*.pt' -o run.h5\n",
    )
