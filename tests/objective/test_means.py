"""The mean loss is the user's own over all data, or is refused: never an approximation."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

import landscape as ls
from landscape.errors import LandscapeError
from landscape.objective import Objective

COUPLED = "the loss of a batch is not the mean of the losses of its examples"


def seeded(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return module


def linear() -> nn.Module:
    return seeded(nn.Linear(4, 3))


def examples(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted by class, as folders of images are."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 4, generator=generator), torch.arange(count) * 3 // count


def exact(model: nn.Module, loss: Callable[..., torch.Tensor], *arguments: torch.Tensor) -> float:
    doubled = [tensor.double() if tensor.is_floating_point() else tensor for tensor in arguments]
    with torch.no_grad():
        return float(loss(seeded(model).double()(doubled[0]), *doubled[1:]))


WEIGHTS = torch.tensor([1.0, 10.0, 100.0])


def weighted(output, target):
    return F.cross_entropy(output, target, weight=WEIGHTS.to(output))


def late_void(output, target):
    return F.cross_entropy(output, torch.where(output[:, 0] > 1e9, -100, target), ignore_index=2)


class Reduced(nn.Module):
    """A loss with a reduction of torch's names, whose mean is another than that of its parts."""

    def __init__(self, honest: bool) -> None:
        super().__init__()
        self.reduction, self.honest = "mean", honest

    def forward(self, output, target):
        each = F.cross_entropy(output, target, reduction="none")
        if self.reduction == "none":
            return each
        weights = torch.ones_like(each) if self.honest else 1.0 + target
        return (each * weights).sum() / weights.sum()


def noisy(output, target):
    torch.manual_seed(0)
    return F.cross_entropy(output + 0.01 * torch.randn_like(output), target)


def root(output, target):
    return (output.sum(1) - target).square().mean().sqrt()


@pytest.mark.parametrize("loss", [weighted, late_void, Reduced(honest=False), noisy, root])
def test_a_mean_that_depends_on_the_batches_is_refused(loss):
    with pytest.raises(LandscapeError, match=f"^loss: {COUPLED}; .*pass the batch_size that it is meant for$"):
        Objective(linear(), loss=loss, train=examples())


@pytest.mark.parametrize("loss", [weighted, Reduced(honest=False), root])
def test_with_a_stated_size_it_is_that_of_the_loop_over_such_batches(loss):
    model, (x, y) = linear(), examples()
    objective = Objective(model, loss=loss, train=(x, y), batch_size=32)
    by_loader = Objective(model, loss=loss, train=DataLoader(TensorDataset(x, y), batch_size=32))
    with torch.no_grad():
        parts = [(len(b), float(loss(model(a), b))) for a, b in zip(x.split(32), y.split(32), strict=True)]
    mean = sum(count * value for count, value in parts) / 400
    assert objective.value(model) == pytest.approx(mean, rel=1e-6)
    assert by_loader.value(model) == pytest.approx(mean, rel=1e-6)
    assert objective.fixed_batch == by_loader.fixed_batch == 32
    assert np.isnan(objective.estimates(model, ["train"], ["loss"])["train_loss"].standard_error)
    # The failing control: over the whole it is another number.
    with torch.no_grad():
        assert abs(mean / float(loss(model(x), y)) - 1) > 1e-4


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(weight=WEIGHTS), nn.CrossEntropyLoss(ignore_index=2), Reduced(honest=True)]
)
def test_what_is_known_of_a_loss_gives_its_mean_over_all_data(loss):
    model, (x, y) = linear(), examples()
    wanted = exact(linear(), lambda o, t: loss.double()(o, t), x, y)
    loss.float()
    assert Objective(model, loss=loss, train=(x, y)).value(model) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(reduction="sum"), lambda o, t: F.cross_entropy(o, t).mul(len(t))]
)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_a_sum_over_the_batch_is_called_so(loss, batch_size):
    with pytest.raises(
        LandscapeError, match=r"^loss: the loss gives the sum over a batch, not the mean; divide it"
    ):
        Objective(linear(), loss=loss, train=examples(), batch_size=batch_size)


def test_a_weight_of_one_rare_class_is_met_wherever_it_is():
    x = torch.randn(5000, 4, generator=torch.Generator().manual_seed(1))
    y = torch.zeros(5000, dtype=torch.int64)
    y[3217] = 2
    with pytest.raises(LandscapeError, match=COUPLED):
        Objective(linear(), loss=weighted, train=(x, y))


class Experts(nn.Module):
    """A mixture with a balancing term over the batch, which is nothing at first."""

    def __init__(self, balance: float) -> None:
        super().__init__()
        self.gate, self.parts = nn.Linear(4, 2), nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])
        self.balance = balance
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x):
        shares = self.gate(x).softmax(1)
        self.extra = self.balance * (shares.mean(0) - 0.5).square().sum()
        return sum(shares[:, k : k + 1] * part(x) for k, part in enumerate(self.parts))


def balanced(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y) + model.extra


def test_a_balancing_term_that_is_zero_at_the_initial_weights_is_noticed():
    with pytest.raises(LandscapeError, match=COUPLED):
        Objective(Experts(0.01), loss=balanced, train=examples())
    # The failing control: without the term nothing couples the examples.
    assert Objective(Experts(0.0), loss=balanced, train=examples()).fixed_batch is None


def contrastive(model, batch):
    a, b = F.normalize(model(batch[:, 0])), F.normalize(model(batch[:, 1]))
    return F.cross_entropy(a @ b.T, torch.arange(len(batch)), reduction="none")


def test_one_number_per_example_that_depends_on_the_others_needs_a_size():
    pairs = torch.randn(40, 2, 4, generator=torch.Generator().manual_seed(2))
    model = linear()
    with pytest.raises(LandscapeError, match=COUPLED):
        Objective(model, loss=contrastive, train=pairs)
    objective = Objective(model, loss=contrastive, train=pairs, batch_size=8)
    with torch.no_grad():
        wanted = float(torch.cat([contrastive(model, part) for part in pairs.split(8)]).mean())
    assert objective.value(model) == pytest.approx(wanted, rel=1e-6)
    surface = ls.evaluate(objective, ls.random_line(model, seed=0), ls.grid(3, radius=0.2))
    assert surface.values[1] == pytest.approx(wanted, rel=1e-6)


class Shaped(nn.Module):
    """A model made for batches of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x.view(10, 5, 4)).flatten(0, 1)


def test_a_model_for_batches_of_one_size_meets_no_others():
    x, y = examples()
    objective = Objective(Shaped(), loss=F.cross_entropy, train=(x, y), batch_size=50)
    model = objective.model
    with torch.no_grad():
        assert objective.value(model) == pytest.approx(F.cross_entropy(model.layer(x), y).item(), rel=1e-6)
    found = ls.measures.measure(objective, model, ["hessian_top"])["hessian_top"].value
    plain = Objective(model.layer, loss=F.cross_entropy, train=(x, y))
    assert found == pytest.approx(
        ls.measures.measure(plain, model.layer, ["hessian_top"])["hessian_top"].value, rel=1e-4
    )
    with pytest.raises(LandscapeError, match=r"raised RuntimeError: shape .* pass batch_size or a DataLoader$"):
        Objective(Shaped(), loss=F.cross_entropy, train=(x, y))


# Batches of any structure


@dataclasses.dataclass(frozen=True)
class Labelled:
    x: torch.Tensor
    y: torch.Tensor


class Graphs:
    """Graphs put together: nodes, edges and graphs have three lengths."""

    def __init__(self, graphs) -> None:
        ends = np.cumsum([0, *(len(x) for x, _, _ in graphs)])
        self.x = torch.cat([x for x, _, _ in graphs])
        self.edges = torch.cat([e + int(start) for (_, e, _), start in zip(graphs, ends, strict=False)], 1)
        self.graph = torch.cat([torch.full((len(x),), k) for k, (x, _, _) in enumerate(graphs)])
        self.y = torch.tensor([y for _, _, y in graphs])


class Passing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, batch):
        h = torch.relu(self.layer(batch.x))
        h = h + torch.zeros_like(h).index_add(0, batch.edges[1], h[batch.edges[0]])
        return torch.zeros(len(batch.y), 3, dtype=h.dtype).index_add(0, batch.graph, h)


def graphs() -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    generator = torch.Generator().manual_seed(4)
    sizes = torch.randint(3, 7, (21,), generator=generator).tolist()
    return [
        (torch.randn(n, 4, generator=generator), torch.randint(0, n, (2, 2 * n), generator=generator), n % 3)
        for n in sizes
    ]


def of_graphs(model, batch):
    return F.cross_entropy(model(batch), batch.y)


def each_graph(model, batch):
    return F.cross_entropy(model(batch), batch.y, reduction="none")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("loss", [of_graphs, each_graph])
def test_graphs_of_three_lengths_are_taken_as_their_loader_makes_them(loss, stream):
    model, data = seeded(Passing()), graphs()
    objective = Objective(model, loss=loss, train=DataLoader(data, batch_size=4, collate_fn=Graphs), stream=stream)
    with torch.no_grad():
        wanted = float(of_graphs(model, Graphs(data)))
    assert objective.value(model) == pytest.approx(wanted, rel=1e-6)
    assert objective.data["train"].count == 21
    if loss is each_graph:
        error = objective.estimates(model, ["train"], ["loss"])["train_loss"].standard_error
        each = each_graph(model, Graphs(data)).detach().double()
        assert error == pytest.approx(float(each.std() / 21**0.5), rel=1e-5)


def test_curvature_of_graphs_is_that_of_all_in_one_batch():
    model, data = seeded(Passing()), graphs()
    objective = Objective(model, loss=each_graph, train=DataLoader(data, batch_size=4, collate_fn=Graphs))
    whole = Objective(model, loss=each_graph, train=DataLoader(data, batch_size=21, collate_fn=Graphs))
    names = ["hessian_top", "hessian_trace", "gauss_newton_trace", "fisher_rao_norm"]
    found, wanted = (ls.measures.measure(o, model, names) for o in (objective, whole))
    for name in names:
        assert found[name].value == pytest.approx(wanted[name].value, rel=1e-4)


class Last(nn.Module):
    """The last output of a recurrent net that takes time first, or a packed sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.out = nn.GRU(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        _, last = self.net(x)
        return {"scores": self.out(last[0]), "state": last}


def scores(output, target):
    return F.cross_entropy(output["scores"], target)


def test_time_comes_first_where_a_loader_puts_it():
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(30, 6, 4, generator=generator), torch.arange(30) % 3
    loader = DataLoader(
        TensorDataset(x, y),
        batch_size=7,
        collate_fn=lambda few: (torch.stack([a for a, _ in few], 1), torch.stack([b for _, b in few])),
    )
    model = seeded(Last())
    objective = Objective(model, loss=scores, train=loader)
    with torch.no_grad():
        assert objective.value(model) == pytest.approx(float(scores(model(x.transpose(0, 1)), y)), rel=1e-6)
    with pytest.raises(LandscapeError, match=r"differ in length; got \[6, 30\]; .*or pass a DataLoader"):
        Objective(model, loss=scores, train=(x.transpose(0, 1), y))
    # Where the lengths agree by chance the tensors cannot be cut, and that is noticed.
    with pytest.raises(LandscapeError, match=r"tried on few examples: .* pass batch_size or a DataLoader$"):
        Objective(model, loss=scores, train=(x[:6].transpose(0, 1), y[:6]))


def packed(few) -> tuple[PackedSequence, torch.Tensor]:
    return pack_sequence([a for a, _ in few], enforce_sorted=False), torch.tensor([b for _, b in few])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_packed_sequences_stay_packed(stream, dtype):
    generator = torch.Generator().manual_seed(6)
    sizes = torch.randint(2, 7, (20,), generator=generator).tolist()
    data = [(torch.randn(n, 4, generator=generator), n % 3) for n in sizes]
    model = seeded(Last())
    loader = DataLoader(data, batch_size=6, collate_fn=packed)
    objective = Objective(model, loss=scores, train=loader, stream=stream)
    line = ls.random_line(model, seed=0)
    surface = ls.evaluate(objective, line, ls.grid(3, radius=0.1), dtype=dtype)
    with torch.no_grad():
        x, y = packed(data)
        assert surface.values[1] == pytest.approx(float(scores(model(x), y)), rel=1e-6)


def test_batches_may_be_data_classes_and_hold_constants():
    x, y = examples(90)
    data = list(zip(x, y, strict=True))

    def gather(few):
        return Labelled(torch.stack([a for a, _ in few]), torch.stack([b for _, b in few]))

    model = linear()
    loss = lambda model, batch: F.cross_entropy(model(batch.x), batch.y)  # noqa: E731
    objective = Objective(model, loss=loss, train=DataLoader(data, batch_size=8, collate_fn=gather))
    assert objective.value(model) == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-6)
    assert objective.fixed_batch is None
    named = {"x": x, "y": y, "kind": "linear", "scale": 2.0}
    loss = lambda model, batch: F.cross_entropy(batch["scale"] * model(batch["x"]), batch["y"])  # noqa: E731
    objective = Objective(model, loss=loss, train=named)
    assert objective.value(model) == pytest.approx(F.cross_entropy(2 * model(x), y).item(), rel=1e-6)


def test_a_sampler_of_the_users_own_is_heeded_in_a_stream():
    class Few(SubsetRandomSampler):
        def __iter__(self):
            return iter(self.indices)

    x, y = examples()
    chosen = [5, 300, 17, 222]
    model = linear()
    loader = DataLoader(TensorDataset(x, y), batch_size=3, sampler=Few(chosen))
    for stream in (False, True):
        objective = Objective(model, loss=F.cross_entropy, train=loader, stream=stream)
        assert objective.value(model) == pytest.approx(
            F.cross_entropy(model(x[chosen]), y[chosen]).item(), rel=1e-6
        )


def test_a_subset_of_batches_that_stay_whole_is_made_of_whole_batches():
    model = seeded(Passing())
    objective = Objective(model, loss=each_graph, train=DataLoader(graphs(), batch_size=4, collate_fn=Graphs))
    few = objective.subset(10)
    assert few.examples(["train"])["train"]["used"] in (10, 12, 9, 13)
    assert [len(part.inputs.y) for part in few.data["train"].parts].count(4) >= 2


def test_a_loader_that_cannot_be_cut_knows_its_own_size():
    loader = DataLoader(graphs(), batch_size=4, collate_fn=Graphs)
    with pytest.raises(
        LandscapeError, match=r"^batch_size: the batches of the loader cannot be cut; got 3; leave"
    ):
        Objective(Passing(), loss=each_graph, train=loader, batch_size=3)


# Passes that differentiate, write, or read what does not move


def residual(model, batch):
    z = batch.clone().requires_grad_(True)
    u = model(z)
    (slope,) = torch.autograd.grad(u.sum(), z, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), z, create_graph=True)
    return (bend + u).square().mean(1)


def test_a_loss_may_differentiate_by_its_inputs():
    model = seeded(nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)))
    x = torch.linspace(0, 1, 30)[:, None]
    objective = Objective(model, loss=residual, train=x)
    wanted = float(residual(model, x).mean().detach())
    assert objective.value(model) == pytest.approx(wanted, rel=1e-5)
    assert not any(parameter.grad is not None for parameter in model.parameters())
    surface = ls.evaluate(objective, ls.random_line(model, seed=0), ls.grid(3, radius=0.1))
    assert surface.values[1] == pytest.approx(wanted, rel=1e-5)


class Energy(nn.Module):
    """A force field: energies and minus their gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, x):
        x = x.detach().requires_grad_(True)
        energy = self.net(x)
        return energy, -torch.autograd.grad(energy.sum(), x, create_graph=True)[0]


def test_a_model_may_differentiate_and_says_what_it_cannot_be_asked():
    model, x = seeded(Energy()), examples(50)[0]
    loss = lambda output, target: F.mse_loss(output[1], target)  # noqa: E731
    objective = Objective(model, loss=loss, train=(x, x))
    assert objective.value(model) == pytest.approx(float(loss(model(x), x).detach()), rel=1e-5)
    with pytest.raises(LandscapeError, match="the batched engine needs a forward pass that takes no gradients"):
        ls.evaluate(objective, ls.random_line(model, seed=0), ls.grid(3, radius=0.1), engine="batched")


def test_a_penalty_on_gradients_by_the_weights_is_taken():
    def penalised(model, batch):
        x, y = batch
        loss = F.cross_entropy(model(x), y)
        slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        return loss + 0.1 * sum(slope.square().sum() for slope in slopes)

    model, data = linear(), examples(60)
    objective = Objective(model, loss=penalised, train=data, batch_size=60)
    assert objective.value(model) == pytest.approx(float(penalised(model, data).detach()), rel=1e-5)


class Halve(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        x.mul_(0.5)
        return self.layer(x)


@pytest.mark.parametrize("engine", ["auto", "sequential"])
def test_data_that_a_model_writes_into_stay(engine):
    x, y = examples(60)
    kept, model = x.clone(), seeded(Halve())
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    wanted = F.cross_entropy(model.layer(kept / 2), y).item()
    assert objective.value(model) == pytest.approx(wanted, rel=1e-6)
    surface = ls.evaluate(objective, ls.random_line(model, seed=0), ls.grid(3, radius=0.1), engine=engine)
    assert surface.values[1] == pytest.approx(wanted, rel=1e-6)
    assert torch.equal(x, kept)
    found = ls.measures.measure(objective, model, ["hessian_trace"])["hessian_trace"].value
    plain = Objective(model.layer, loss=F.cross_entropy, train=(kept / 2, y))
    assert found == pytest.approx(
        ls.measures.measure(plain, model.layer, ["hessian_trace"])["hessian_trace"].value, rel=1e-4
    )
    assert torch.equal(x, kept)


def test_a_penalty_over_the_parameters_of_a_closure_is_refused_with_the_form_that_works():
    model = linear()

    def closed(output, target):
        return F.cross_entropy(output, target) + 0.1 * sum(p.square().sum() for p in model.parameters())

    def hidden(output, target):
        return F.cross_entropy(output, target) + 0.1 * sum(p.data.square().sum() for p in model.parameters())

    for loss in (closed, hidden):
        with pytest.raises(
            LandscapeError, match=r"^loss: the loss reads 'weight' of the model .* loss\(model, batch\)"
        ):
            Objective(model, loss=loss, train=examples())

    def given(model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y) + 0.1 * sum(p.square().sum() for p in model.parameters())

    objective = Objective(model, loss=given, train=examples())
    twice = {name: 2 * tensor for name, tensor in model.state_dict().items()}
    other = nn.Linear(4, 3)
    other.load_state_dict(twice)
    assert objective.value(twice) == pytest.approx(float(given(other, examples()).detach()), rel=1e-6)


def test_a_model_inside_a_loss_that_is_a_module_moves_with_the_weights():
    class Penalised(nn.Module):
        def __init__(self, model) -> None:
            super().__init__()
            self.model = model

        def forward(self, output, target):
            return F.cross_entropy(output, target) + 0.1 * sum(p.square().sum() for p in self.model.parameters())

    model, other = linear(), nn.Linear(4, 3)
    twice = {name: 2 * tensor for name, tensor in model.state_dict().items()}
    other.load_state_dict(twice)
    x, y = examples()
    objective = Objective(model, loss=Penalised(model), train=(x, y))
    assert objective.value(twice) == pytest.approx(float(Penalised(other)(other(x), y).detach()), rel=1e-6)


def test_a_forward_pass_that_closes_over_its_module_moves_with_the_weights():
    class Closed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Linear(4, 3)
            self.head = lambda h: h @ self.table.weight @ self.table.weight.T

        def forward(self, x):
            return self.head(self.table(x))

    x, y = examples()
    model, other = seeded(Closed()), Closed()
    twice = {name: 2 * tensor for name, tensor in model.state_dict().items()}
    other.load_state_dict(twice)
    objective = Objective(model, loss=F.cross_entropy, train=(x, y))
    assert objective.value(twice) == pytest.approx(F.cross_entropy(other(x), y).item(), rel=1e-6)


HEADS: list[nn.Module] = []


class Table(nn.Module):
    """A model whose forward pass finds a part of it in a place of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Linear(4, 3)

    def forward(self, x):
        return HEADS[0](x)


def test_a_forward_pass_that_reads_another_copy_of_itself_is_refused():
    model = Table()
    HEADS[:] = [model.table]
    with pytest.raises(LandscapeError, match=r"^model: the model's forward pass reads 'table\.\w+'"):
        Objective(model, loss=F.cross_entropy, train=examples())


def test_what_the_users_code_raises_is_one_line_that_says_where():
    class Broken(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.zeros(3), 0

    with pytest.raises(LandscapeError, match=r"test_means\.py:\d+|^the model or the loss: raised RuntimeError"):
        Objective(linear(), loss=F.cross_entropy, train=Broken())


# What the model is called with


def named_loss(model, batch):
    return F.cross_entropy(model(batch["x"], scale=2.0), batch["y"])


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x, scale=1.0):
        return scale * self.second(torch.relu(self.first(x)))


def test_symmetries_are_found_where_the_loss_calls_the_model():
    x, y = examples(60)
    model = seeded(Scaled())
    objective = Objective(model, loss=named_loss, train={"x": x, "y": y})
    plain = Objective(model, loss=F.cross_entropy, train=({"x": x, "scale": 2.0}, y))
    found, wanted = (ls.symmetry.symmetries_of(o) for o in (objective, plain))
    assert [g.kind for g in found.generators] == [g.kind for g in wanted.generators] != []
    assert objective.value(found.random(model, seed=0)) == pytest.approx(objective.value(model), rel=1e-5)


def test_symmetries_of_the_model_are_not_taken_for_those_of_a_loss_with_a_penalty():
    def penalised(model, batch):
        return named_loss(model, batch) + 0.1 * sum(p.square().sum() for p in model.parameters())

    def in_parts(model, batch):
        return F.cross_entropy(model.second(torch.relu(model.first(batch["x"]))), batch["y"])

    x, y = examples(60)
    for loss, message in (
        (penalised, "depends on more than the outputs"),
        (in_parts, "calls parts of the model only"),
    ):
        objective = Objective(seeded(Scaled()), loss=loss, train={"x": x, "y": y})
        with pytest.raises(LandscapeError, match=f"^loss: the loss {message}"):
            ls.symmetry.symmetries_of(objective)
