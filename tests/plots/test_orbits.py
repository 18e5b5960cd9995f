"""Orbits: the function stays, and so does what claims to; the sharpness of the same minimum does not."""

import numpy as np
import pytest
import torch

from landscape import LandscapeError, problems
from landscape.plots import orbit
from landscape.plots.audit_options import AuditOptions
from landscape.plots.audit_values import slices_before_and_after
from landscape.plots.orbit_values import _of_condition, _turn, orbits_of
from landscape.projection import directions
from landscape.training import Settings, train
from landscape.trajectory import open_trajectory


def trained(folder, **options):
    objective = problems.build("digits-mlp", {"width": 4, **options})
    train(objective, folder / "run.h5", Settings(epochs=3, batch_size=512))
    return open_trajectory(folder / "run.h5"), objective


def test_rescaling_moves_the_plain_slice_and_nothing_that_claims_to_stay(tmp_path):
    run, objective = trained(tmp_path)
    measures = ("hessian_top", "fisher_rao_norm")
    wanted = orbit.options(positions=5, points=9, reach=4.0, measures=measures, subset=100)
    found = orbits_of(run, objective, wanted)
    assert list(found) == ["rescaling"]
    (one,) = found.values()
    np.testing.assert_allclose(one.positions, [0.25, 0.5, 1, 2, 4])
    assert one.home == 2
    np.testing.assert_allclose(one.losses, one.losses[2], rtol=1e-12)
    assert one.output_change.max() < 1e-12
    np.testing.assert_allclose(one.slices["filter"], np.broadcast_to(one.slices["filter"][2], (5, 9)), rtol=1e-9)
    moved, stays = one.measures
    assert not moved.claimed
    assert moved.factor > 2
    assert stays.claimed
    assert one.verdict(stays) == "stays"
    # The control: without normalisation the same direction through the same function is another slice.
    assert np.ptp(one.curvatures("none")) > 0.5 * np.abs(one.curvatures("none")).max()


def test_many_numbers_move_along_blocks_which_the_result_names(tmp_path, monkeypatch):
    run, objective = trained(tmp_path)
    wanted = orbit.options(positions=3, points=5, reach=4.0, measures=("fisher_rao_norm",), subset=100)
    (streams,) = orbits_of(run, objective, wanted).values()
    monkeypatch.setattr(directions, "MANY_NUMBERS", 1)
    (blocks,) = orbits_of(run, objective, wanted).values()
    assert ("generator" in streams.meta, blocks.meta["generator"]) == (False, "blocks")
    assert not np.allclose(streams.slices["filter"], blocks.slices["filter"])
    np.testing.assert_allclose(blocks.slices["filter"], np.broadcast_to(blocks.slices["filter"][1], (3, 5)), 1e-9)
    audited = slices_before_and_after(run, objective, AuditOptions(subset=100))
    assert [one.meta["plane"]["generator"] for pair in audited.values() for one in pair.values()] == 4 * ["blocks"]


def test_a_basis_has_the_condition_that_is_asked_for():
    turn = _turn(5, seed=0)
    torch.testing.assert_close(_of_condition(turn, 1.0), torch.eye(5, dtype=torch.float64))
    assert float(torch.linalg.cond(_of_condition(turn, 30.0))) == pytest.approx(30)


def test_a_model_that_cannot_be_rescaled_says_what_refuses(tmp_path):
    run, objective = trained(tmp_path, activation="tanh")
    with pytest.raises(LandscapeError, match=r"^this model has no rescaling symmetry; got .*[Tt]anh"):
        orbits_of(run, objective, orbit.options(positions=3))


def test_counts_without_a_middle_are_refused():
    with pytest.raises(LandscapeError, match="positions are odd, got 4: take 5"):
        orbit("run.h5", positions=4)
