"""The audit of networks of every kind: it never ends early, and claims nothing that was not tried.

It takes about 15 s. The whole table of `architectures.py` passes as well, in half an hour.
"""

from __future__ import annotations

import math

import pytest
import torch
from architectures import ARCHITECTURES
from reference import made
from torch import nn
from torch.nn import functional as F

from landscape import problems
from landscape.audit import audit
from landscape.measures.orbit_elements import columns
from landscape.objective import Objective
from landscape.symmetry import find, symmetries_of
from landscape.values.audit import Audit

NAMES = ("hessian_top", "gauss_newton_trace", "sam_sharpness", "fisher_rao_norm", "orbit_min_trace")
# One row of each kind: what is found, what is missed, and what cannot be computed.
ROWS = (
    *("linear", "bilinear", "parameter_dict", "conv_depthwise", "conv_transpose2d", "max_pools", "batch_norm1d"),
    *("batch_norm3d", "instance_norm_tracked", "weight_norm_old", "embedding_sparse", "rnn_relu_stacked", "lstm"),
    *(
        "attention",
        "rrelu",
        "prelu",
        "complex_parameter",
        "integer_weight",
        "zero_size",
        "mixed_types",
        "expanded",
    ),
    *("margin", "ctc", "padded_tokens", "of_model_and_batch", "sums_and_counts"),
)


def test_all_symmetries_are_tried_at_once_where_there_are_more_than_rescalings():
    torch.manual_seed(0)
    model = problems.build("text-transformer", {"width": 8, "heads": 2, "layers": 1, "context": 4, "tied": False})
    symmetries = symmetries_of(model)
    *single, together = columns(symmetries)
    assert together.name == "all at once"
    assert {one.kind for one, _ in together.element.factors} == {one.kind for one in symmetries.generators}
    assert set(together.symmetries) >= {name for one in single[2:] for name in one.symmetries}
    moved = together.element.apply(model.model)
    assert symmetries.check(model.model, moved).passed
    # The control: a shift that is not undone.
    name = "layers.0.attention.value.bias"
    assert not symmetries.check(model.model, {**moved, name: moved[name] + 0.1}).passed
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert "all at once" not in [one.name for one in columns(find(plain, torch.ones(2, 3)))]


def require_earned(report: Audit) -> None:
    """Every verdict has its trial or its reason, and no claim is contradicted by a cell of its own kind."""
    made_of = {one["name"]: set(one["symmetries"]) for one in report.elements}
    for row in report.rows:
        assert bool(row.tested) == any(math.isfinite(cell.value) for cell in row.cells)
        if row.kind == "invariant":
            assert row.tested
        if row.kind in ("not tested", "not computed", "undefined"):
            assert row.reason
        else:
            assert math.isfinite(row.value)
        for cell in row.cells:
            if row.kind != "not computed" and made_of[cell.element] <= set(row.invariant_claimed):
                assert cell.same, (row.name, cell)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ROWS)
def test_audits_of_all_kinds_end_and_claim_what_was_tried(name):
    row = ARCHITECTURES[name]
    model, inputs, targets = made(row)
    data = inputs if isinstance(targets, tuple) else (inputs, targets)
    report = audit(Objective(model, loss=row.loss, train=data, batch_size=4), model, NAMES)
    assert [one.name for one in report.rows] == list(NAMES)
    require_earned(report)


class Graphs(nn.Module):
    """A layer that adds up neighbours, and sums of graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x, edges, graph, count):
        h = torch.relu(self.first(x))
        h = h + torch.zeros_like(h).index_add(0, edges[1], h[edges[0]])
        return self.last(torch.zeros(count, 4, dtype=h.dtype).index_add(0, graph, h))


def joined(graphs):
    starts = [sum(len(x) for x, _, _ in graphs[:place]) for place in range(len(graphs))]
    return {
        "x": torch.cat([x for x, _, _ in graphs]),
        "edges": torch.cat([edges + start for (_, edges, _), start in zip(graphs, starts, strict=True)], 1),
        "graph": torch.cat([torch.full((len(x),), place) for place, (x, _, _) in enumerate(graphs)]),
        "y": torch.tensor([y for _, _, y in graphs]),
    }


def test_graphs_of_several_sizes_are_audited_one_by_one():
    source = torch.Generator().manual_seed(0)
    graphs = [
        (torch.randn(3 + place % 3, 3, generator=source), torch.randint(0, 3, (2, 6), generator=source), place % 2)
        for place in range(8)
    ]

    def loss(model, batch):
        output = model(batch["x"], batch["edges"], batch["graph"], len(batch["y"]))
        return F.cross_entropy(output, batch["y"], reduction="none")

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Graphs()
    loader = torch.utils.data.DataLoader(graphs, batch_size=4, collate_fn=joined)
    report = audit(Objective(model, loss=loss, train=loader, stream=True), model, NAMES[:-1])
    require_earned(report)
    # Sums over graphs of tr(J' (diag p - p p') J), from whole Jacobians in float64.
    total, state = 0.0, {name: tensor.detach().double() for name, tensor in model.named_parameters()}
    for graph in graphs:
        one = joined([graph])

        def output(weights, one=one):
            inputs = (one["x"].double(), one["edges"], one["graph"], 1)
            return torch.func.functional_call(model, weights, inputs)[0]

        p = output(state).softmax(0)
        jacobian = torch.cat([part.flatten(1) for part in torch.func.jacrev(output)(state).values()], 1)
        total += float(((torch.diag(p) - torch.outer(p, p)) * (jacobian @ jacobian.T)).sum())
    assert report["gauss_newton_trace"].value == pytest.approx(total / len(graphs), rel=1e-9)
