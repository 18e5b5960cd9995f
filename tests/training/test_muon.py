"""Muon against torch's own, and its steps against the norm that they have."""

import pytest
import torch

from landscape import LandscapeError
from landscape.training import Muon


def matrix(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(4, 7), (9, 3)])
@pytest.mark.parametrize("way", ["original", "match_rms_adamw"])
def test_matrices_move_as_by_torchs_own(shape, way):
    ends = []
    for make in (
        lambda w: Muon(w, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, adjust_lr_fn=way),
        lambda w: torch.optim.Muon(w, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, adjust_lr_fn=way),
    ):
        w = torch.nn.Parameter(matrix(*shape))
        optimizer = make([w])
        for step in range(3):
            w.grad = matrix(*shape) * (1 + step)
            optimizer.step()
        ends.append(w.detach())
    # Torch iterates in bfloat16.
    torch.testing.assert_close(*ends, rtol=0, atol=0.02)


def test_a_step_has_singular_values_of_about_one_and_vectors_their_sign():
    w, bias = torch.nn.Parameter(torch.zeros(5, 8)), torch.nn.Parameter(torch.zeros(3))
    filters = torch.nn.Parameter(torch.zeros(4, 2, 3, 3))
    optimizer = Muon([w, bias, filters], lr=0.5, momentum=0.0)
    w.grad, bias.grad, filters.grad = matrix(5, 8), torch.tensor([1.0, -2.0, 0.0]), matrix(4, 2, 3, 3)
    assert optimizer.step() is None
    for moved in (w, filters.reshape(4, -1)):
        values = torch.linalg.svdvals(moved.detach() / 0.5)
        assert ((values > 0.6) & (values < 1.3)).all()
    assert bias.tolist() == [-0.5, 0.5, 0.0]


def test_wrong_arguments_are_named_together():
    with pytest.raises(LandscapeError, match="momentum cannot be 1; unknown adjustment 'orginal'") as error:
        Muon([torch.zeros(1)], momentum=1, adjust_lr_fn="orginal")
    assert "original" in str(error.value)
