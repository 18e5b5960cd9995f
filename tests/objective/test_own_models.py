"""Models, losses and data of the user's own kinds: whatever they are, the values are those of plain torch."""

import functools

import numpy as np
import pytest
import torch
from conftest import Untouched, make_convnet, make_data, make_mlp
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import landscape as ls
from landscape.errors import LandscapeError
from landscape.objective import Objective
from landscape.surface.engine import Choice, build
from landscape.surface.task import Task


def exact(model: nn.Module, loss, *arguments) -> float:
    with torch.no_grad():
        return float(loss(model.double().eval(), *(a.double() if a.is_floating_point() else a for a in arguments)))


# Losses


def batch_loss(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y)


def example_loss(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y, reduction="none")


def counted_loss(model, batch):
    x, y = batch
    each = F.cross_entropy(model(x), y, reduction="none")
    counts = y + 1
    return each * counts, counts


@pytest.mark.parametrize("batch_size", [7, 16, 50])
@pytest.mark.parametrize("loss", [batch_loss, example_loss])
def test_a_loss_of_model_and_batch_gives_the_same_as_one_of_output_and_target(loss, batch_size):
    model, data = make_mlp(), make_data()
    plain = Objective(model, loss=F.cross_entropy, train=data, batch_size=batch_size)
    ours = Objective(model, loss=loss, train=data, batch_size=batch_size)
    wanted, got = (o.estimates(model, ["train"], ["loss"])["train_loss"] for o in (plain, ours))
    assert got.mean == pytest.approx(wanted.mean, rel=1e-6)
    if loss is example_loss:
        assert got.standard_error == pytest.approx(wanted.standard_error, rel=1e-6)
    else:
        assert np.isnan(got.standard_error)


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_sums_and_counts_give_the_mean_of_what_is_counted_and_its_standard_error(batch_size):
    model, (x, y) = make_mlp(), make_data()
    ours = Objective(model, loss=counted_loss, train=(x, y), batch_size=batch_size)
    found = ours.estimates(model, ["train"], ["loss"])["train_loss"]
    with torch.no_grad():
        each, counts = F.cross_entropy(model.double()(x.double()), y, reduction="none").numpy(), (y + 1).numpy()
    mean = (each * counts).sum() / counts.sum()
    rest = (each - mean) * counts
    error = np.sqrt(50 / 49 * (rest**2).sum()) / counts.sum()
    assert found.mean == pytest.approx(mean, rel=1e-6)
    assert found.standard_error == pytest.approx(error, rel=1e-5)
    # The failing control: the mean over examples is another number.
    assert abs(each.mean() / mean - 1) > 1e-3


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_engines_agree_on_sums_and_counts_of_outputs(engine):
    model, data = make_mlp().double(), tuple(t.double() if t.is_floating_point() else t for t in make_data())

    def loss(output, target):
        each = F.cross_entropy(output, target, reduction="none")
        return each * (target + 1), target + 1

    objective = Objective(model, loss=loss, train=data, batch_size=16)
    plane = ls.random_plane(model, seed=0)
    choice = Choice(engine, objective.default_tuning(), streams=2, chunk=3)
    points = [(0.0, 0.0), (0.5, -0.5), (1.0, 1.0), (-1.0, 0.3)]
    found = [
        e["train_loss"] for e in build(choice, Task(objective, ("train",), ("loss",)), plane).evaluate(points)
    ]
    for point, estimate in zip(points, found, strict=True):
        with torch.no_grad():
            moved = torch.func.functional_call(model, plane.point(*point), data[0])
            sums, counts = loss(moved, data[1])
        assert estimate.mean == pytest.approx(float(sums.sum() / counts.sum()), rel=1e-12)


def root_mean_square(output, target):
    return F.mse_loss(output.squeeze(1), target).sqrt()


def test_a_loss_that_is_no_mean_of_its_examples_is_refused_unless_its_batch_is_given():
    model, x = nn.Linear(6, 1), make_data()[0]
    data = (x, x.sum(1) ** 2)
    with pytest.raises(
        LandscapeError, match=r"^loss: the loss of a batch is not the mean of the losses of its ex"
    ):
        Objective(model, loss=root_mean_square, train=data)
    objective = Objective(model, loss=root_mean_square, train=data, batch_size=10)
    with torch.no_grad():
        parts = [
            float(root_mean_square(model(a), b)) for a, b in zip(data[0].split(10), data[1].split(10), strict=True)
        ]
    assert objective.value(model) == pytest.approx(np.mean(parts), rel=1e-6)
    # The size of the batches is kept by whatever engine, and by whatever is asked for.
    line = ls.random_line(model, seed=0)
    surface = ls.evaluate(objective, line, ls.grid(3), engine="sequential", tune={"streams": 2})
    assert surface.meta["engine"]["batch_size"] == 10
    assert surface.values[1] == objective.value(model)
    with pytest.raises(
        LandscapeError, match=r"^tune: the loss depends on the batches.*got batch_size=5; expected 10$"
    ):
        ls.evaluate(objective, line, ls.grid(3), tune={"batch_size": 5})


def test_the_batched_engine_says_what_it_cannot_do():
    model = make_mlp()
    objective = Objective(model, loss=example_loss, train=make_data())
    with pytest.raises(LandscapeError, match=r"^the batched engine needs a loss of the model's output; use"):
        ls.evaluate(objective, ls.random_line(model), ls.grid(3), engine="batched")


# Heads, dictionaries


class TwoHeads(nn.Module):
    """Inputs and outputs are dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.kind, self.size = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, features, scale):
        hidden = torch.relu(self.trunk(features)) * scale
        return {"kind": self.kind(hidden), "size": self.size(hidden).squeeze(1), "cache": None}


def two_losses(output, target):
    kind = F.cross_entropy(output["kind"], target["kind"], reduction="none")
    return kind + F.mse_loss(output["size"], target["size"], reduction="none")


def test_dictionaries_of_inputs_targets_and_outputs():
    x, y = make_data()
    inputs, targets = {"features": x, "scale": x[:, :1].abs()}, {"kind": y, "size": x.sum(1)}
    model = TwoHeads()
    untouched = Untouched(model)
    objective = Objective(model, loss=two_losses, train=(inputs, targets), batch_size=16)
    assert objective.metrics == ("loss", "penalty", "total")
    plane = ls.random_plane(model, seed=0)
    surface = ls.evaluate(objective, plane, ls.grid(3, radius=1.0))
    for row, b in enumerate(surface.y):
        for column, a in enumerate(surface.x):
            with torch.no_grad():
                output = torch.func.functional_call(model, plane.point(a, b), (), inputs)
                wanted = float(two_losses(output, targets).double().mean())
            assert surface.values[row, column] == pytest.approx(wanted, rel=1e-6)
    untouched.check()


def test_regression_on_a_dataset_of_pairs():
    x, _ = make_data()
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    objective = Objective(model, loss=F.mse_loss, train=TensorDataset(x, x[:, :2]))
    assert objective.value(model) == pytest.approx(
        exact(model, lambda m, a: F.mse_loss(m(a), a[:, :2]), x), rel=1e-6
    )


# Language models


class Bigram(nn.Module):
    """Scores of the next token from the one before; the embedding is the output map (tied)."""

    def __init__(self, vocabulary: int = 11, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids, attention_mask=None, use_cache=True):
        assert not use_cache
        return {"logits": self.head(torch.tanh(self.embed(input_ids)))}


def padded_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 11, (9, 300), generator=generator)
    lengths = torch.randint(2, 300, (9,), generator=generator)
    return {"input_ids": tokens, "attention_mask": (torch.arange(300) < lengths[:, None]).long()}


@pytest.mark.parametrize("batch_size", [1, 4, 9])
def test_the_loss_of_a_language_model_is_the_mean_over_all_tokens_that_count(batch_size):
    torch.manual_seed(0)
    model, batch = Bigram(), padded_batch()
    objective = Objective(model, loss=ls.next_token_loss, train=batch, batch_size=batch_size)
    assert objective.units["loss"] == "nats"
    with torch.no_grad():
        scores = model.double()(batch["input_ids"], use_cache=False)["logits"][:, :-1]
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)[:, 1:]
        wanted = F.cross_entropy(scores.flatten(0, 1), labels.flatten()).item()
    assert objective.value(model) == pytest.approx(wanted, rel=1e-6)
    labelled = Objective(
        model.float(),
        loss=ls.next_token_loss,
        train=batch | {"labels": batch["input_ids"].masked_fill(labels_off(), -100)},
    )
    assert labelled.value(model) != pytest.approx(wanted, rel=1e-3)


def labels_off() -> torch.Tensor:
    return torch.arange(300) % 2 == 0


def test_the_mean_of_a_batch_over_tokens_is_refused_where_their_numbers_differ():
    def careless(model, batch):
        sums, counts = ls.next_token_loss(model, batch)
        return sums.sum() / counts.sum()

    with pytest.raises(
        LandscapeError, match="let it give one number per example, or sums and counts per example, that"
    ):
        Objective(Bigram(), loss=careless, train=padded_batch())


# Streams


class Images(Dataset):
    """Counts how often each example is read; nothing is held."""

    def __init__(self, count: int = 23) -> None:
        self.x, self.y = make_data((1, 4, 4), count)
        self.reads = 0

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index):
        self.reads += 1
        return self.x[index], self.y[index]


class Flow(IterableDataset):
    """The same without places."""

    def __iter__(self):
        images = Images()
        return (images[index] for index in range(len(images)))


SOURCES = {
    "dataset": Images,
    "loader": lambda: DataLoader(Images(), batch_size=5),
    "iterable": lambda: DataLoader(Flow(), batch_size=5),
}


@pytest.mark.parametrize("source", SOURCES)
def test_streamed_data_give_the_values_of_resident_data(source):
    model = make_convnet().eval()
    images = Images()
    few = Images(6)
    held = Objective(model, loss=F.cross_entropy, train=(images.x, images.y), test=(few.x, few.y))
    streamed = Objective(model, loss=F.cross_entropy, train=SOURCES[source](), test=few, stream=True)
    assert streamed.examples(["train"]) == held.examples(["train"])
    plane = ls.random_plane(model, seed=0)
    grid = ls.grid(3, radius=1.0)
    splits = ("train", "test")
    wanted = ls.evaluate(held, plane, grid, splits=splits, engine="sequential")
    found = ls.evaluate(
        streamed, plane, grid, splits=splits, engine="sequential", tune={"streams": 2, "threads": 1}
    )
    for name in wanted.fields:
        np.testing.assert_allclose(found[name], wanted[name], rtol=2e-6)
        np.testing.assert_allclose(found.standard_errors[name], wanted.standard_errors[name], rtol=2e-5)
    assert streamed.data_digest("train") == streamed.data_digest("train")
    assert streamed.subset(5).value(model) == pytest.approx(held.subset(5).value(model), rel=1e-6)


def test_a_stream_reads_each_example_once_per_point_and_holds_none():
    model, images = make_convnet().eval(), Images()
    objective = Objective(model, loss=F.cross_entropy, train=images, stream=True, batch_size=8)
    before = images.reads
    objective.value(model)
    assert images.reads - before == 23


def test_streams_leave_the_global_random_state_alone():
    model = make_convnet().eval()
    untouched = Untouched(model)
    Objective(model, loss=F.cross_entropy, train=DataLoader(Images(), batch_size=5), stream=True).value(model)
    untouched.check()


def test_batches_of_several_lengths_can_be_streamed_or_held_as_they_are():
    def pad(rows):
        tokens = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return {"input_ids": tokens, "attention_mask": (torch.arange(tokens.shape[1]) < lengths[:, None]).long()}

    rows = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [1, 1], [2, 3, 4, 5, 6]]
    loader = DataLoader(rows, batch_size=2, collate_fn=pad)
    model = Bigram()
    held = Objective(model, loss=ls.next_token_loss, train=loader)
    assert held.fixed_batch == 2
    streamed = Objective(model, loss=ls.next_token_loss, train=loader, stream=True, batch_size=2)
    whole = Objective(model, loss=ls.next_token_loss, train=pad(rows))
    assert streamed.value(model) == pytest.approx(whole.value(model), rel=1e-6)
    assert held.value(model) == pytest.approx(whole.value(model), rel=1e-6)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: make_data((1, 4, 4)),
            r"^the train data: only a Dataset or a DataLoader can be streamed; got tuple$",
        ),
        (lambda: DataLoader(Images(), shuffle=True), r"^the train loader: shuffles"),
        (lambda: DataLoader([], batch_size=2), r"^the train loader: yields nothing$"),
    ],
)
def test_what_cannot_be_streamed_is_refused(source, message):
    with pytest.raises(LandscapeError, match=message):
        Objective(make_convnet().eval(), loss=F.cross_entropy, train=source(), stream=True)


# Models that are hard for naive tools


class TiedAutoencoder(nn.Module):
    """The decoder is the transposed encoder, and one bias is shared by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.middle = nn.Linear(4, 4)
        self.middle.bias = self.encoder.bias
        self.offset = nn.Parameter(torch.zeros(6))

    def forward(self, x):
        return F.linear(torch.tanh(self.middle(self.encoder(x))), self.encoder.weight.t(), self.offset)


class Whitened(nn.Module):
    """A forward pass that depends on buffers: statistics, a mask, a step counter; one buffer is not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("center", torch.randn(6))
        self.register_buffer("mask", torch.rand(6) > 0.3)
        self.register_buffer("steps", torch.tensor(7))
        self.register_buffer("gain", torch.tensor(1.5), persistent=False)

    def forward(self, x):
        shrink = 1 / (1 + self.steps)
        return self.layer((x - self.center) * self.mask) * self.gain * shrink


@pytest.mark.parametrize(
    ("make", "loss", "target"),
    [(TiedAutoencoder, F.mse_loss, lambda x, y: x), (Whitened, F.cross_entropy, lambda x, y: y)],
)
@pytest.mark.parametrize("engine", ["sequential", "batched", "auto"])
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_models_that_are_hard_for_naive_tools(make, loss, target, engine):
    torch.manual_seed(0)
    model, (x, y) = make(), make_data()
    untouched = Untouched(model)
    objective = Objective(model, loss=loss, train=(x, target(x, y)))
    plane = ls.random_plane(model, seed=1)
    surface = ls.evaluate(objective, plane, ls.grid(5, radius=0.5), engine=engine)
    with torch.no_grad():
        own = float(loss(model(x), target(x, y)))
    assert surface.values[2, 2] == objective.value(model) == pytest.approx(own, rel=1e-6)
    # An independent float64 computation by functional_call, which knows of tied weights.
    with torch.no_grad():
        state = {name: t.double() if t.is_floating_point() else t for name, t in plane.point(0.25, -0.5).items()}
        moved = torch.func.functional_call(model.double(), state, x.double())
        wanted = float(loss(moved, target(x.double(), y)))
    model.float()
    assert surface.values[0, 3] == pytest.approx(wanted, rel=1e-5)
    untouched.check()


def test_memory_of_wide_outputs_bounds_the_micro_batch():
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.scale * x.expand(-1, 2_000_000)

    objective = Objective(Wide(), loss=lambda model, batch: model(batch).mean(1), train=torch.ones(40, 1))
    # 16 MB at least for each example: no more than a gigabyte or so at once.
    assert objective.batch_size <= 64
    assert Objective(make_mlp(), loss=functools.partial(F.cross_entropy), train=make_data()).batch_size > 1000
