"""Small models and objectives that several test files share."""

import copy
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Before torch starts: threads that wait by spinning stall eightfold where other processes share the cores, and
# workers beside each other with as many threads as there are cores wait for one another; children inherit both.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

# Tests leave nothing in the cache of whoever runs them, and read nothing there.
os.environ["LANDSCAPE_CACHE"] = ""

# In the background of a script Ctrl-C is switched off, and it would be in the children that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.cli.main import main
from landscape.objective import Objective
from landscape.params import resolve

ROOT = Path(__file__).parent.parent

# Looking for garbage among all that torch and its like keep is a twentieth of the time of the tests.
gc.set_threshold(20_000, 20, 20)


def make_mlp(seed: int = 0, width: int = 12) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def make_convnet(seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
        model[1].running_var.copy_(torch.rand(4, generator=generator) + 0.5)
    return model


def lived_in(model: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Statistics and gains such as training leaves behind."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.1 + torch.rand(module.num_features, generator=generator))
            if module.affine:
                module.weight.data.copy_(0.5 + torch.rand(module.num_features, generator=generator))
                module.bias.data.copy_(0.1 * torch.randn(module.num_features, generator=generator))
    return model.to(dtype).eval().requires_grad_(False)


def make_data(shape: tuple[int, ...] = (6,), count: int = 50, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator), torch.randint(0, 3, (count,), generator=generator)


@pytest.fixture
def mlp() -> nn.Module:
    return make_mlp()


@pytest.fixture
def objective(mlp: nn.Module) -> Objective:
    return Objective(mlp, loss=F.cross_entropy, train=make_data(), test=make_data(count=20, seed=2))


@pytest.fixture(autouse=True)
def roughly_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures have one pass of layout and few pixels, where neither is what is tested."""
    if request.path.parent.name != "render" and not request.node.get_closest_marker("fully_drawn"):
        from landscape.render import pictures, style

        monkeypatch.setattr(style.Sheet.lay_out, "__defaults__", (1,))
        monkeypatch.setitem(pictures._DPI, ".png", 80)


@pytest.fixture
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of an executor come from a server that has torch: three seconds less for each."""
    import killing

    from landscape.executor.processes import ProcessExecutor

    monkeypatch.setattr(ProcessExecutor, "_hire", killing.hired)


class Outcome(NamedTuple):
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def landscape(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command, called in this process."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return Outcome(int(stopped.value.code or 0), *capsys.readouterr())

    return call


def without_torch(*arguments: object) -> None:
    """Run the command in a process of its own, and check that it imports no torch."""
    code = (
        "import sys; from landscape.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: sys.exit(end.code or 9 * ('torch' in sys.modules))"
    )
    line = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a model's parameters and persistent buffers, each under its first name."""
    return {name: tensor.clone() for name, tensor in resolve(model)[1].items()}


class Untouched:
    """Fails if a model (weights, buffers, modes, requires_grad) or the global random state has changed."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.state = copy.deepcopy(model.state_dict())
        self.modes = [module.training for module in model.modules()]
        self.flags = [parameter.requires_grad for parameter in model.parameters()]
        self.grads = [parameter.grad for parameter in model.parameters()]
        self.random = torch.get_rng_state()

    def check(self) -> None:
        for name, tensor in self.model.state_dict().items():
            assert torch.equal(tensor, self.state[name]), name
        assert [module.training for module in self.model.modules()] == self.modes
        assert [parameter.requires_grad for parameter in self.model.parameters()] == self.flags
        assert [parameter.grad for parameter in self.model.parameters()] == self.grads
        assert torch.equal(torch.get_rng_state(), self.random)


def cifar_folder() -> Path | None:
    """The folder LANDSCAPE_DATA names, if it holds CIFAR-10."""
    folder = os.environ.get("LANDSCAPE_DATA")
    return Path(folder) if folder and (Path(folder) / "cifar10" / "train").is_dir() else None
