"""The progress bar takes what every computation tells."""

import torch

import landscape as ls


def test_a_bar_counts_what_it_is_told(capsys):
    with ls.progress_bar("surface", "point") as bar:
        bar(1, 4)
        bar(3, 4, {"train_loss": 0.5})
        bar("hessian_top", 4, 4)
    said = capsys.readouterr()
    assert said.out == ""
    assert "surface" in said.err


def test_a_bar_can_be_quiet(capsys):
    for quiet in (True, None):
        with ls.progress_bar("surface", quiet=quiet) as bar:
            bar(1, 1)
    assert capsys.readouterr().err == ""


def test_slices_measures_and_trainings_tell_it(objective, tmp_path, capsys):
    with ls.progress_bar("all") as bar:
        ls.evaluate(objective, ls.random_plane(objective.model), ls.grid(3), progress=bar)
        ls.measures.measure(objective, objective.model, ["hessian_top"], progress=bar)
        settings = ls.training.Settings(epochs=1, every="1epochs")
        ls.training.train(objective, tmp_path / "run.h5", settings, progress=bar)
    assert isinstance(objective.model, torch.nn.Module)
    assert "all" in capsys.readouterr().err
