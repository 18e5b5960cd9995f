"""Slices in the memory of the model itself: the numbers of the sequential engine, and nothing left behind."""

import pytest
import torch
from conftest import Untouched, make_convnet, make_data
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import landscape as ls
from landscape.errors import LandscapeError
from landscape.problems.transformer import Transformer
from landscape.projection import drawn_plane, random_plane
from landscape.surface import evaluate, grid, read_surface
from landscape.surface.engine import build, plain_choice
from landscape.surface.fill_grid import grid_points
from landscape.surface.task import Task


class Borrower(nn.Module):
    """Parameters that are read by others than their owners, twice, and in a view kept by the parent."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.ones(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(F.linear(self.first(x), self.first.weight.t()))
        return self.second(x) @ self.scale


def own_weights(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """A loss that reads a parameter outside of all modules."""
    x, y = batch
    return F.cross_entropy(model(x), y, reduction="none") + model.scale.square().mean()


def cases() -> dict[str, tuple[nn.Module, object, object]]:
    x, y = make_data((1, 4, 4), count=12)
    torch.manual_seed(1)
    tokens = torch.randint(0, 256, (6, 9))
    few, classes = torch.randn(10, 6), torch.arange(10) % 3
    half = Transformer(2, 16, 2, 8, tied=True).bfloat16()
    return {
        "convnet": (make_convnet(), F.cross_entropy, (x, y)),
        "tied, half precision": (half, F.cross_entropy, (tokens[:, :-1], tokens[:, 1:])),
        "read by others": (Borrower(), F.cross_entropy, (few, classes)),
        "read by the loss": (Borrower().double(), own_weights, (few.double(), classes)),
    }


@pytest.mark.parametrize("name", list(cases()))
def test_numbers_are_those_of_the_sequential_engine_bit_for_bit(name):
    model, loss, train = cases()[name]
    model.train()
    copied = ls.Objective(model, loss=loss, train=train, device="cpu", weight_decay=0.0)
    whole = evaluate(
        copied,
        random_plane(model, generator="blocks", one_d="norm"),
        grid(3, dims=2),
        engine="sequential",
        tune={"batch_size": copied.batch_size, "rewrite": False, "streams": 1, "channels_last": False},
    )
    untouched = Untouched(model)
    lent = ls.Objective(model, loss=loss, train=train, device="cpu", in_place=True)
    found = evaluate(lent, drawn_plane(model, one_d="norm"), grid(3, dims=2), tune={"channels_last": False})
    untouched.check()
    assert found.meta["engine"]["engine"] == "in-place"
    assert found.meta["plane"]["generator"] == "blocks"
    for field, values in whole.fields.items():
        assert (found[field] == values).all(), field


def test_whatever_a_pass_raises_leaves_the_model_as_it_was():
    model, loss, train = cases()["convnet"]
    lent = ls.Objective(model, loss=loss, train=train, device="cpu", in_place=True)
    start = model.get_parameter("0.weight").clone()

    def angry(module, given):
        if not torch.equal(model.get_parameter("0.weight"), start):
            raise RuntimeError("moved")

    model[0].register_forward_pre_hook(angry)
    untouched = Untouched(model)
    with pytest.raises(RuntimeError, match="moved"):
        evaluate(lent, drawn_plane(model), grid(3, dims=2))
    untouched.check()


class Read(TensorDataset):
    """Counts how often an example is read."""

    count = 0

    def __getitem__(self, index):
        self.count += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("in_place", [False, True])
def test_streamed_data_are_read_once_for_many_points(in_place):
    model, loss, train = cases()["convnet"]
    data = Read(*train)
    make = {"loss": loss, "device": "cpu", "batch_size": 5, "in_place": in_place}
    streamed = ls.Objective(model, train=data, stream=True, **make)
    plane = drawn_plane(model, seed=2)
    tune = {"rewrite": False, "streams": 1, "threads": 1, "batch_size": 5, "channels_last": False}
    engine = "auto" if in_place else "sequential"
    wanted = evaluate(ls.Objective(model, train=train, **make), plane, grid(4, dims=2), tune=tune, engine=engine)
    engine = build(plain_choice(streamed, wanted.meta["engine"]["engine"]).forced(tune), task_of(streamed), plane)
    data.count = 0
    found = [one["train_loss"].mean for one in engine.evaluate(grid_points(grid(4, dims=2)))]
    assert data.count == len(data)
    assert found == wanted["train_loss"].ravel().tolist()


def task_of(objective: ls.Objective) -> Task:
    return Task(objective, ("train",), ("loss", "error"))


class Fickle(nn.Module):
    """Reads a parameter of another module for some inputs only."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(self.other(x))
        return y + self.other.weight[0] if (x[:, 0] > 5).any() else y


def test_a_parameter_that_other_data_read_elsewhere_is_noticed():
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    x[4] = 9.0
    model = Fickle()
    lent = ls.Objective(model, loss=F.mse_loss, train=(x, x), device="cpu", in_place=True, batch_size=2)
    untouched = Untouched(model)
    with pytest.raises(LandscapeError, match="is read where it was not read before"):
        evaluate(lent, drawn_plane(model), grid(3, dims=2))
    untouched.check()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"workers": 2}, "each worker would hold a copy"),
        ({"engine": "batched"}, "this engine works on copies"),
        ({"metrics": "penalty"}, "not moved all at once"),
        ({"bn": "recalibrate"}, "the model stays as it is"),
        ({"dtype": torch.float64}, "the model stays as it is"),
        ({"plane": random_plane}, "random directions that are not stored"),
    ],
)
def test_what_takes_a_copy_is_refused(how, said):
    model, loss, train = cases()["convnet"]
    lent = ls.Objective(model, loss=loss, train=train, device="cpu", in_place=True)
    plane = how.pop("plane", drawn_plane)(model)
    with pytest.raises(LandscapeError, match=said):
        evaluate(lent, plane, grid(3, dims=2), **how)


def test_a_checkpoint_is_drawn_from_its_file(tmp_path, landscape):
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef make():\n    with torch.device('meta'):\n"
        "        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))\n"
        "    return model, nn.functional.cross_entropy, (torch.eye(4), torch.arange(4) % 3)\n"
    )
    kept, problem = tmp_path / "s.h5", f"{tmp_path}/mine.py:make"
    given = ["--problem", problem, "--kind", "curve", "--points", "3", "--save", kept, "-o", tmp_path / "s.png"]
    assert landscape("plot", "--checkpoint", tmp_path, *given).code == 0
    train = (torch.eye(4), torch.arange(4) % 3)
    copied = ls.Objective(model, loss=F.cross_entropy, train=train, device="cpu")
    line = random_plane(model, generator="blocks", dims=1)
    whole = evaluate(copied, line, grid(3, dims=1), tune="rewrite=no", engine="sequential")
    assert (read_surface(kept)["train_loss"] == whole["train_loss"]).all()


@pytest.mark.parametrize("in_place", [True, False])
def test_parameters_on_a_disk_are_refused_in_one_line(tmp_path, in_place):
    accelerate = pytest.importorskip("accelerate", reason="Accelerate is not installed")
    model = Borrower()
    accelerate.disk_offload(model, str(tmp_path), execution_device=torch.device("cpu"))
    expected = "'scale' is on the device meta, and has no numbers between passes; load it without offloading"
    with pytest.raises(LandscapeError, match=expected):
        ls.Objective(model, loss=F.cross_entropy, train=make_data(), in_place=in_place)
    with pytest.raises(LandscapeError, match=expected):
        drawn_plane(model) if in_place else random_plane(model)
