"""Language models, adapters and image models of the libraries that people take them from."""

import numpy as np
import pytest
import torch
from conftest import ROOT, Untouched
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape import problems
from landscape.projection import drawn_plane
from landscape.wrappers import plain_parts

EXAMPLES = ROOT / "examples"
SMALL = {"layers": "2", "width": "32", "heads": "2", "vocabulary": "300", "length": "40", "sequences": "6"}
# peft asks about bitsandbytes, timm about its own names: not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def language_model(function: str = "make", **settings):
    return problems.build(f"{EXAMPLES}/language_model.py:{function}", {**SMALL, **settings})


def mean_of_tokens(model, tokens) -> float:
    """What Hugging Face itself says, in float64; all sequences are of one length."""
    with torch.no_grad():
        return float(model.double().eval()(input_ids=tokens, labels=tokens).loss)


def test_a_causal_language_model_has_the_loss_that_its_library_gives():
    objective = language_model()
    model = objective.model
    untouched = Untouched(model)
    assert [info.tied_to for info in objective.layout if info.name == "lm_head.weight"] == [
        "transformer.wte.weight"
    ]
    tokens = objective.data["train"].inputs
    plane = ls.random_plane(model, seed=0)
    assert plane.meta["tensors"]["tied"]["names"] == ["lm_head.weight"]
    surface = ls.evaluate(objective, plane, ls.grid(3, radius=1.0))
    assert surface.meta["units"]["loss"] == "nats"
    assert np.isfinite(surface.standard_errors["train_loss"]).all()
    untouched.check()
    # A point of the plane put into a model of its own, by its library's way: the tie holds.
    for row, column in ((1, 1), (0, 2)):
        other = language_model().model
        state = plane.point(float(surface.x[column]), float(surface.y[row]))
        missing, unexpected = other.load_state_dict(state, strict=False)
        assert (missing, unexpected) == (["lm_head.weight"], [])
        assert surface.values[row, column] == pytest.approx(mean_of_tokens(other, tokens), rel=1e-5)


class Int8Linear(nn.Linear):
    """A layer whose weights are whole numbers with a scale for each row."""

    def __init__(self, wide: nn.Linear) -> None:
        super().__init__(wide.in_features, wide.out_features)
        scale = wide.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.weight = nn.Parameter((wide.weight.detach() / scale).round().to(torch.int8), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


@pytest.mark.filterwarnings("ignore:TorchaoLoraLinear was instantiated:UserWarning")
@pytest.mark.parametrize("library", ["whole numbers", "torchao"])
def test_of_a_quantised_base_the_adapters_alone_move(library):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3))
    if library == "torchao":
        quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
        quantization.quantize_(base, quantization.Int8WeightOnlyConfig())
    else:
        base = nn.Sequential(Int8Linear(base[0]), nn.Tanh(), base[2])
    adapters = peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)
    model = peft.get_peft_model(base, adapters)
    weight = model.get_parameter("base_model.model.0.base_layer.weight")
    parts = [part.clone() for part in plain_parts(weight.detach())]
    x, y = torch.randn(10, 32), torch.arange(10) % 3
    lent = ls.Objective(model, loss=F.cross_entropy, train=(x, y), device="cpu", in_place=True)
    plane = drawn_plane(model)
    found = ls.evaluate(lent, plane, ls.grid(3, dims=2))
    assert plane.directions[0].moving() == {f"base_model.model.0.lora_{one}.default.weight" for one in "AB"}
    assert len(set(found["train_loss"].ravel())) == 9
    assert all(map(torch.equal, parts, plain_parts(weight.detach())))
    # A point of the plane put into a model of its own.
    for name, direction in plane.directions[0].items():
        if name in plane.directions[0].moving():
            model.get_parameter(name).data.add_(direction)
    with torch.no_grad():
        assert found["train_loss"][1, 2] == pytest.approx(float(F.cross_entropy(model(x), y)), rel=1e-6)


def test_adapters_are_all_that_moves():
    objective = language_model("make_lora", rank="2")
    model = objective.model
    plane = ls.random_plane(model, seed=0, parameters="lora_*")
    names = plane.meta["tensors"]["moving"]["names"]
    assert len(names) == 4
    assert all("lora_" in name for name in names)
    assert plane.meta["tensors"]["tied"]["count"] == 1
    surface = ls.evaluate(objective, plane, ls.grid(3, radius=1.0))
    assert surface.values[1, 1] == objective.value(model)
    assert len(np.unique(surface.values)) == 9
    # The failing control: what is below the adapters is frozen, and so cannot be chosen.
    with pytest.raises(ls.LandscapeError, match="what it matches is frozen"):
        ls.random_plane(model, parameters="wte.weight")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision/resnet18", "32"),
        ("torchvision/mobilenet_v3_small", "32"),
        ("timm/resnet18", "32"),
        ("timm/vit_tiny_patch16_224", "32"),
        ("timm/convnext_atto", "32"),
    ],
)
def test_image_models_of_torchvision_and_timm(name, size):
    objective = problems.build(f"{EXAMPLES}/vision.py:make", {"name": name, "size": size, "examples": "24"})
    model = objective.model
    untouched = Untouched(model)
    plane = ls.random_plane(model, seed=0)
    surface = ls.evaluate(objective, plane, ls.grid(3, radius=0.5), engine="sequential", tune={"rewrite": True})
    data = objective.data["train"]
    for row, column in ((1, 1), (2, 0)):
        with torch.no_grad():
            state = plane.point(float(surface.x[column]), float(surface.y[row]))
            wide = {key: t.double() if t.is_floating_point() else t for key, t in state.items()}
            moved = torch.func.functional_call(model.double().eval(), wide, data.inputs.double())
            wanted = float(F.cross_entropy(moved, data.targets))
        model.float().train()
        assert surface.values[row, column] == pytest.approx(wanted, rel=1e-4)
    untouched.check()
