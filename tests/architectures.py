"""A page of proof: small architectures of every kind that torch, torchvision and transformers offer.

`test_proof.py` takes each row through value, line, plane, gradient, Hessian and Gauss-Newton, against float64
references that torch alone makes (`reference.py`). A row says how to make a model and data, nothing else.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint
from torchvision import models

EXAMPLES = 6
# torch before 2.13 cannot map all of these over weights, and has no second derivative of grid_sample.
BEFORE_213 = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)


def reals(*shape: int) -> Callable[[], Tensor]:
    """Standard normal inputs of six examples."""
    return lambda: torch.randn(EXAMPLES, *shape)


def tokens(*shape: int, high: int = 7) -> Callable[[], Tensor]:
    """Whole numbers below a bound, of six examples."""
    return lambda: torch.randint(0, high, (EXAMPLES, *shape))


classes, vectors = tokens(high=3), reals(4)


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        model: Makes the model.
        inputs: Makes the inputs of six examples.
        targets: Makes the targets.
        loss: As `landscape.Objective` takes it.
        engines: Those that must work.
        reference: How its second derivative is known: a second backward pass and differences of gradients agree
            ("both"), torch's is wrong or missing ("differences", or "differences in float64" where those of
            float32 have no digit), or a type forced inside leaves noise only in differences ("backward").
        gauss_newton: Whether there is such a matrix; otherwise it is refused.
    """

    model: Callable[[], nn.Module]
    inputs: Callable[[], Any] = vectors
    targets: Callable[[], Any] = classes
    loss: Callable[..., Any] = F.cross_entropy
    engines: tuple[str, ...] = ("sequential", "batched")
    reference: str = "both"
    gauss_newton: bool = True


class Pick(nn.Module):
    """The first of the outputs of a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Any) -> Tensor:
        return self.layer(*inputs)[0]


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class With(nn.Module):
    """Layers and parameters by name, and a function of them and the inputs."""

    def __init__(self, function: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.function = function

    def forward(self, *inputs: Any) -> Tensor:
        return self.function(self, *inputs)


class Net(nn.Module):
    """Layers with a linear map to class scores behind them, which finds its width in the first pass."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.first, self.rest = layers[0], nn.Sequential(*layers[1:], nn.Flatten(), nn.LazyLinear(3))

    def forward(self, *inputs: Any) -> Tensor:
        return self.rest(self.first(*inputs))


net = Net


def all_of(*layers: nn.Module) -> nn.Module:
    """A linear map, then the sum of what each layer makes of it."""
    return net(
        nn.Linear(4, 4), With(lambda m, x: sum(layer(x) for layer in m.layers), layers=nn.ModuleList(layers))
    )


def row(*layers: Callable[[], nn.Module], **rest: Any) -> Architecture:
    """A row from makers of layers, class scores behind them."""
    return Architecture(lambda: net(*(layer() for layer in layers)), **rest)


def weight(*shape: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, dtype=dtype) * 0.5)


new = functools.partial
conv1d, conv2d, linear = new(nn.Conv1d, 2, 4, 3), new(nn.Conv2d, 2, 4, 3), new(nn.Linear, 4, 4)
signal, image, volume, sequence = reals(2, 6), reals(2, 6, 6), reals(2, 4, 4, 4), reals(3, 4)
only_sequential: dict[str, Any] = {"engines": ("sequential",)}
newer: dict[str, Any] = only_sequential if BEFORE_213 else {}
# Torch's second derivative is wrong or missing, so that differences of gradients are the reference.
differences: dict[str, Any] = {"reference": "differences"}

LINEAR = {
    "linear": row(linear, nn.Tanh),
    "identity_chain": row(nn.Flatten, linear, nn.ReLU, linear, nn.Sigmoid),
    "bilinear": Architecture(
        lambda: With(
            lambda m, x, y: m.out(torch.tanh(m.both(x, y))), both=nn.Bilinear(3, 2, 4), out=nn.Linear(4, 3)
        ),
        lambda: (torch.randn(EXAMPLES, 3), torch.randn(EXAMPLES, 2)),
    ),
    "einsum": Architecture(
        lambda: With(lambda m, x: torch.einsum("bi,ijk,bj->bk", x, m.w, x.tanh()), w=weight(4, 4, 3))
    ),
    "parameter_list": Architecture(
        lambda: With(
            lambda m, x: functools.reduce(lambda h, w: torch.tanh(h @ w), m.ws, x),
            ws=nn.ParameterList([weight(4, 4), weight(4, 3)]),
        )
    ),
    "parameter_dict": Architecture(
        lambda: With(
            lambda m, x: x @ m.d["a/b"] * m.d["x y"], d=nn.ParameterDict({"a/b": weight(4, 3), "x y": weight(3)})
        )
    ),
}

CONVOLUTIONS = {
    "conv1d": row(conv1d, nn.Tanh, inputs=signal),
    "conv2d": row(new(nn.Conv2d, 2, 3, 3, stride=2, dilation=2, padding=2), nn.Tanh, inputs=image),
    "conv3d": row(new(nn.Conv3d, 2, 3, 2), nn.Tanh, inputs=volume),
    "conv_grouped": row(new(nn.Conv2d, 2, 4, 3, groups=2), nn.GELU, inputs=image),
    "conv_depthwise": row(new(nn.Conv2d, 2, 2, 3, groups=2), new(nn.Conv2d, 2, 3, 1), nn.SiLU, inputs=image),
    "conv_padding_modes": row(
        new(nn.Conv2d, 2, 2, 3, padding=1, padding_mode="circular"),
        new(nn.Conv2d, 2, 2, 3, padding="same", padding_mode="reflect"),
        new(nn.Conv2d, 2, 1, 3, padding=1, padding_mode="replicate"),
        inputs=reals(2, 4, 4),
    ),
    "conv_transpose1d": row(new(nn.ConvTranspose1d, 2, 3, 3, stride=2), nn.Tanh, inputs=signal),
    "conv_transpose2d": row(
        new(nn.ConvTranspose2d, 2, 4, 3, groups=2, output_padding=1, stride=2), nn.Tanh, inputs=reals(2, 3, 3)
    ),
    "conv_transpose3d": row(new(nn.ConvTranspose3d, 2, 2, 2), nn.Tanh, inputs=reals(2, 2, 2, 2)),
    "unfold_fold": row(conv2d, new(nn.Unfold, 2), new(nn.Fold, (4, 4), 2), nn.Tanh, inputs=image),
    "pixel_shuffle": row(
        conv2d,
        new(nn.PixelShuffle, 2),
        new(nn.PixelUnshuffle, 2),
        new(nn.ChannelShuffle, 2),
        nn.Tanh,
        inputs=image,
    ),
    "upsample": row(
        new(nn.Conv2d, 2, 1, 3),
        new(nn.Upsample, scale_factor=2),
        new(nn.Upsample, size=5, mode="bilinear"),
        new(nn.Upsample, size=4, mode="bicubic"),
        nn.Tanh,
        inputs=image,
    ),
    "paddings": row(
        new(nn.Conv2d, 2, 1, 3),
        new(nn.ReflectionPad2d, 1),
        new(nn.ReplicationPad2d, 1),
        new(nn.ZeroPad2d, 1),
        new(nn.ConstantPad2d, 1, 0.5),
        new(nn.CircularPad2d, 1),
        new(nn.AvgPool2d, 3),
        nn.Tanh,
        inputs=image,
    ),
    "grid_sample": Architecture(
        lambda: net(
            With(
                lambda m, x: F.grid_sample(
                    x, F.affine_grid(m.theta.expand(len(x), 2, 3), list(x.shape), False), align_corners=False
                ),
                theta=nn.Parameter(torch.tensor([[0.9, 0.1, 0.05], [-0.1, 0.8, 0.1]])),
            )
        ),
        reals(1, 4, 4),
        reference="differences in float64" if BEFORE_213 else "both",
    ),
}

POOLINGS = {
    "max_pools": row(conv2d, new(nn.MaxPool2d, 2, 1), new(nn.AdaptiveMaxPool2d, 2), inputs=image),
    "average_pools": row(conv2d, new(nn.AvgPool2d, 2, 1), nn.Tanh, new(nn.AdaptiveAvgPool2d, 2), inputs=image),
    "lp_pool": row(conv2d, nn.Softplus, new(nn.LPPool2d, 2, 2), inputs=image),
    "pools_1d": row(
        conv1d, new(nn.AvgPool1d, 2, 1), new(nn.MaxPool1d, 2, 1), new(nn.AdaptiveAvgPool1d, 2), inputs=signal
    ),
    "pools_3d": row(
        new(nn.Conv3d, 2, 2, 2), new(nn.MaxPool3d, 2, 1), nn.Tanh, new(nn.AdaptiveAvgPool3d, 1), inputs=volume
    ),
    "max_unpool": row(
        conv2d,
        new(nn.MaxPool2d, 2, return_indices=True),
        lambda: Function(lambda p: F.max_unpool2d(*p, 2)),
        nn.Tanh,
        new(nn.AvgPool2d, 2),
        inputs=image,
    ),
}

NORMS = {
    "batch_norm1d": row(linear, new(nn.BatchNorm1d, 4), nn.Tanh, linear),
    "batch_norm2d": row(conv2d, new(nn.BatchNorm2d, 4), nn.ReLU, new(nn.AvgPool2d, 2), inputs=image),
    "batch_norm3d": row(
        new(nn.Conv3d, 2, 2, 2), new(nn.BatchNorm3d, 2, affine=False), nn.Tanh, new(nn.AvgPool3d, 3), inputs=volume
    ),
    "layer_norm": row(linear, new(nn.LayerNorm, 4), nn.Tanh, linear),
    "layer_norm_wide": row(linear, new(nn.LayerNorm, (3, 4)), nn.Tanh, inputs=sequence),
    "group_norm": row(conv2d, new(nn.GroupNorm, 2, 4), nn.Tanh, new(nn.AvgPool2d, 2), inputs=image, **newer),
    "instance_norm": row(
        conv2d, new(nn.InstanceNorm2d, 4, affine=True), nn.Tanh, new(nn.AvgPool2d, 2), inputs=image
    ),
    "instance_norm_tracked": row(
        conv1d, new(nn.InstanceNorm1d, 4, affine=True, track_running_stats=True), nn.Tanh, inputs=signal
    ),
    "rms_norm": row(linear, new(nn.RMSNorm, 4), nn.Tanh, linear),
    "local_response_norm": row(conv2d, new(nn.LocalResponseNorm, 2), nn.Tanh, new(nn.AvgPool2d, 2), inputs=image),
    "weight_norm_old": row(lambda: weight_norm(nn.Linear(4, 4)), nn.Tanh, **differences),
    "weight_norm_new": row(lambda: parametrizations.weight_norm(nn.Linear(4, 4)), nn.Tanh, **differences),
    "spectral_norm_old": row(lambda: spectral_norm(nn.Linear(4, 4)), nn.Tanh),
    "spectral_norm_new": row(lambda: parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Tanh),
    "orthogonal": row(lambda: parametrizations.orthogonal(nn.Linear(4, 4), use_trivialization=False), nn.Tanh),
}

EMBEDDINGS = {
    "embedding": row(new(nn.Embedding, 7, 4), nn.Tanh, linear, inputs=tokens(3)),
    "embedding_padding": row(
        new(nn.Embedding, 7, 4, padding_idx=2),
        linear,
        nn.Tanh,
        inputs=tokens(3),
        **differences,
    ),
    "embedding_sparse": row(
        new(nn.Embedding, 7, 4, sparse=True),
        nn.Tanh,
        linear,
        inputs=tokens(3),
        **differences,
    ),
    "embedding_bag": row(
        new(nn.EmbeddingBag, 7, 4, mode="mean", padding_idx=0), nn.Tanh, inputs=tokens(3), **differences
    ),
    "embedding_bag_sum": row(
        new(nn.EmbeddingBag, 7, 4, mode="sum"), nn.Tanh, linear, inputs=tokens(3), **differences
    ),
    "embedding_bag_max": row(new(nn.EmbeddingBag, 7, 4, mode="max"), nn.Tanh, inputs=tokens(3), **differences),
    "tied": Architecture(
        lambda: With(
            lambda m, x: m.out(torch.tanh(m.embed(x).mean(1))), embed=(e := nn.Embedding(7, 4)), out=tied_to(e)
        ),
        tokens(3),
        tokens(),
    ),
}


def tied_to(embedding: nn.Embedding) -> nn.Linear:
    """A linear map back to tokens that shares an embedding's weight."""
    out = nn.Linear(embedding.embedding_dim, embedding.num_embeddings)
    out.weight = embedding.weight
    return out


RECURRENT = {
    "rnn": row(lambda: Pick(nn.RNN(4, 3, batch_first=True)), inputs=sequence, **only_sequential),
    "rnn_relu_stacked": row(
        lambda: Pick(nn.RNN(4, 2, 2, "relu", batch_first=True)), inputs=sequence, **only_sequential
    ),
    "gru": row(
        lambda: Pick(nn.GRU(4, 2, batch_first=True, bidirectional=True)), inputs=sequence, **only_sequential
    ),
    "lstm": row(lambda: Pick(nn.LSTM(4, 2, batch_first=True)), inputs=sequence, **only_sequential),
    "lstm_stacked": row(
        lambda: Pick(nn.LSTM(4, 2, 2, bidirectional=True, batch_first=True)), inputs=sequence, **only_sequential
    ),
    "lstm_projected": row(
        lambda: Pick(nn.LSTM(4, 3, proj_size=2, batch_first=True)), inputs=sequence, **only_sequential
    ),
    "rnn_cell": row(new(nn.RNNCell, 4, 3)),
    "gru_cell": row(new(nn.GRUCell, 4, 3)),
    "lstm_cell": row(lambda: Pick(nn.LSTMCell(4, 3)), **only_sequential),
}

causal = torch.ones(3, 3, dtype=torch.bool).triu(1)


def attend(attention: nn.Module, x: Tensor, y: Tensor | None = None, **masks: Any) -> Tensor:
    other = x if y is None else y
    return attention(x, other, other, **masks)[0]


ATTENTION = {
    "attention": Architecture(
        lambda: net(With(lambda m, x: attend(m.a, x), a=nn.MultiheadAttention(4, 2, batch_first=True))), sequence
    ),
    "attention_masked": Architecture(
        lambda: net(
            With(
                lambda m, x: attend(m.a, x, attn_mask=causal, key_padding_mask=x[..., 0] > 9, need_weights=False),
                a=nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True),
            )
        ),
        sequence,
    ),
    "attention_crossed": Architecture(
        lambda: net(
            With(
                lambda m, x, y: attend(m.a, x, y, average_attn_weights=False),
                a=nn.MultiheadAttention(4, 2, kdim=2, vdim=2, batch_first=True),
            )
        ),
        lambda: (torch.randn(EXAMPLES, 3, 4), torch.randn(EXAMPLES, 2, 2)),
    ),
    "scaled_dot_product": Architecture(
        lambda: net(
            With(
                lambda m, x: F.scaled_dot_product_attention(*m.qkv(x).chunk(3, -1), is_causal=True),
                qkv=nn.Linear(4, 12),
            )
        ),
        sequence,
    ),
    "encoder": row(lambda: nn.TransformerEncoderLayer(4, 2, 5, batch_first=True), inputs=sequence),
    "encoder_stack": row(
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 5, activation="gelu", norm_first=True, batch_first=True),
            1,
            norm=nn.LayerNorm(4),
            enable_nested_tensor=False,
        ),
        inputs=sequence,
    ),
    "decoder": Architecture(
        lambda: net(
            With(
                lambda m, x, y: m.d(x, y, tgt_mask=causal),
                d=nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 5, batch_first=True), 1),
            )
        ),
        lambda: (torch.randn(EXAMPLES, 3, 4), torch.randn(EXAMPLES, 2, 4)),
    ),
}

ACTIVATIONS = {
    "smooth": Architecture(
        lambda: all_of(
            nn.Tanh(),
            nn.Sigmoid(),
            nn.GELU(),
            nn.GELU("tanh"),
            nn.SiLU(),
            nn.Softplus(),
            nn.Mish(),
            nn.ELU(),
            nn.SELU(),
            nn.CELU(),
            nn.LogSigmoid(),
            nn.Tanhshrink(),
            nn.Softsign(),
        )
    ),
    "kinked": Architecture(
        lambda: all_of(
            nn.ReLU(),
            nn.ReLU6(),
            nn.Hardtanh(),
            nn.LeakyReLU(0.1),
            nn.Softshrink(),
            nn.Hardshrink(),
            nn.Threshold(0.1, 0.2),
            nn.Dropout(),
            nn.AlphaDropout(),
        )
    ),
    "hard_sigmoids": Architecture(lambda: all_of(nn.Hardsigmoid(), nn.Hardswish()), **differences),
    "rrelu": row(linear, nn.RReLU, **only_sequential),
    "soft_max": Architecture(
        lambda: all_of(nn.Softmax(-1), nn.LogSoftmax(-1), nn.Softmin(-1), nn.Identity()),
    ),
    "prelu": row(linear, nn.PReLU, linear),
    "prelu_channels": row(conv1d, new(nn.PReLU, 4), inputs=signal),
    "glu": row(linear, nn.GLU),
    "in_place": row(linear, new(nn.ReLU, inplace=True), linear, new(nn.SiLU, inplace=True)),
    "maximum": Architecture(lambda: net(With(lambda m, x: torch.maximum(m.a(x), m.b(x)), a=linear(), b=linear()))),
}


def rotated(m: nn.Module, x: Tensor) -> Tensor:
    """Rotary positions as Llama's own code has them: pairs as complex numbers."""
    pairs = torch.view_as_complex(m.lin(x).unflatten(-1, (-1, 2))) * m.turns
    return torch.view_as_real(pairs).flatten(1).tanh()


def filtered(m: nn.Module, x: Tensor) -> Tensor:
    """A Fourier layer: spectra times a complex weight."""
    return torch.fft.irfft(torch.fft.rfft(m.lin(x)) * m.spectrum, n=4).tanh()


TENSORS = {
    "complex_buffer": Architecture(
        lambda: net(With(rotated, lin=linear(), turns=torch.polar(torch.ones(2), torch.tensor([0.3, 0.7]))))
    ),
    "complex_parameter": Architecture(
        lambda: net(With(filtered, lin=linear(), spectrum=weight(3, dtype=torch.complex64)))
    ),
    "complex_matrix": Architecture(
        lambda: With(lambda m, x: (x.to(m.w.dtype) @ m.w).abs().square(), w=weight(4, 3, dtype=torch.complex64))
    ),
    "fft": Architecture(lambda: net(linear(), Function(lambda x: torch.fft.fft(x).abs()))),
    "temperature": Architecture(
        lambda: With(
            lambda m, x: m.lin(x) * m.scale.exp(), lin=nn.Linear(4, 3), scale=nn.Parameter(torch.tensor(0.5))
        )
    ),
    "one_element": Architecture(
        lambda: With(
            lambda m, x: m.lin(x) * m.scale, lin=nn.Linear(4, 3), scale=nn.Parameter(torch.ones(1, 1, 1)[0])
        )
    ),
    "zero_size": Architecture(
        lambda: With(
            lambda m, x: m.lin(torch.cat([x, m.prompt])[: len(x)]), lin=nn.Linear(4, 3), prompt=weight(0, 4)
        )
    ),
    "integer_weight": Architecture(
        lambda: With(
            lambda m, x: x @ ((m.base.to(x) - 3) / 3 + m.a @ m.b),
            base=nn.Parameter(torch.randint(0, 7, (4, 3)), requires_grad=False),
            a=weight(4, 2),
            b=weight(2, 3),
        )
    ),
    "frozen": Architecture(
        lambda: With(
            lambda m, x: m.out(torch.tanh(m.lin(x))), lin=linear().requires_grad_(False), out=nn.Linear(4, 3)
        )
    ),
    "expanded": Architecture(
        lambda: With(
            lambda m, x: m.out(torch.tanh(x * m.gains)),
            gains=nn.Parameter(torch.ones(1).expand(4), requires_grad=False),
            out=nn.Linear(4, 3),
            halves=torch.full((1,), 0.5).expand(3),
        )
    ),
    "checkpointed": Architecture(
        lambda: net(With(lambda m, x: checkpoint(m.lin, x, use_reentrant=False).tanh(), lin=linear())), **newer
    ),
    "mixed_types": Architecture(
        lambda: With(
            lambda m, x: m.out(torch.tanh(m.lin(x.to(m.lin.weight.dtype))).to(x.dtype)),
            lin=linear().double(),
            out=nn.Linear(4, 3),
        )
    ),
}


def blocks(*layers: Callable[[], nn.Module], width: int = 4, **rest: Any) -> Architecture:
    """A row of torchvision's blocks behind a convolution, pooled."""
    made = (new(nn.Conv2d, 2, width, 3, padding=1, bias=False), *layers, new(nn.AdaptiveAvgPool2d, 1))
    return row(*made, inputs=rest.pop("inputs", reals(2, 4, 4)), **rest)


mobilenetv3, efficientnet, convnext = models.mobilenetv3, models.efficientnet, models.convnext

TORCHVISION = {
    "resnet": blocks(lambda: models.resnet.BasicBlock(4, 4)),
    "resnet_bottleneck": blocks(lambda: models.resnet.Bottleneck(4, 1)),
    "densenet": Architecture(lambda: models.DenseNet(2, (1, 1), 4, 1, num_classes=3), reals(3, 32, 32)),
    "mobilenet_v2": blocks(lambda: models.mobilenetv2.InvertedResidual(4, 4, 1, 2)),
    "mobilenet_v3": blocks(
        lambda: mobilenetv3.InvertedResidual(
            mobilenetv3.InvertedResidualConfig(8, 3, 8, 8, True, "HS", 1, 1, 1), nn.BatchNorm2d
        ),
        width=8,
        **differences,
    ),
    "efficientnet": blocks(
        lambda: efficientnet.MBConv(efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1), 0.2, nn.BatchNorm2d), width=8
    ),
    "convnext": Architecture(
        lambda: convnext.ConvNeXt(
            [convnext.CNBlockConfig(4, 8, 1), convnext.CNBlockConfig(8, None, 1)], num_classes=3
        ),
        reals(3, 8, 8),
    ),
    "swin": Architecture(
        lambda: models.SwinTransformer([2, 2], 4, [2, 1], [1, 2], [2, 2], num_classes=3), reals(3, 8, 8)
    ),
    "vit": Architecture(lambda: models.VisionTransformer(8, 4, 1, 2, 4, 8, num_classes=3), reals(3, 8, 8)),
    "squeezenet": blocks(lambda: models.squeezenet.Fire(4, 2, 3, 3)),
    "shufflenet": blocks(lambda: models.shufflenetv2.InvertedResidual(4, 4, 1)),
    "inception": blocks(lambda: sys.modules["torchvision.models.googlenet"].Inception(4, 2, 2, 2, 1, 2, 2)),
}


def language(name: str, reference: str = "both", **config: Any) -> Architecture:
    """A language model of transformers, shrunk; its next token is the class."""

    def made() -> nn.Module:
        import transformers

        small = {
            "vocab_size": 7,
            "hidden_size": 4,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "intermediate_size": 6,
            "max_position_embeddings": 8,
            "pad_token_id": None,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        whole = getattr(transformers, f"{name}Config")(**small | config)
        return With(
            lambda m, ids: m.body(input_ids=ids).logits[:, -1],
            body=getattr(transformers, name + _HEADS[name])(whole),
        )

    return Architecture(made, tokens(3), tokens(), reference=reference)


_HEADS = {
    "GPT2": "LMHeadModel",
    "Llama": "ForCausalLM",
    "Bert": "ForMaskedLM",
    "Qwen2": "ForCausalLM",
    "GPTNeoX": "ForCausalLM",
}


def vit_of_transformers() -> nn.Module:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=6,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=3,
    )
    return With(lambda m, x: m.body(x).logits, body=transformers.ViTForImageClassification(config))


TRANSFORMERS = {
    "gpt2": language("GPT2"),
    "llama": language("Llama", "backward", num_key_value_heads=1),
    "bert": language("Bert"),
    "qwen2": language("Qwen2", "backward", num_key_value_heads=1),
    "gpt_neox": language("GPTNeoX"),
    "transformers_vit": Architecture(vit_of_transformers, reals(1, 8, 8)),
}
if importlib.util.find_spec("transformers") is None:
    TRANSFORMERS = {}


def per_example(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().sum(1)


def sums_and_counts(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    kept = target > 0
    each = F.cross_entropy(output.movedim(-1, 1), target, reduction="none")
    return (each * kept).sum(1), kept.sum(1)


def of_model(model: nn.Module, batch: Any) -> Tensor:
    return F.smooth_l1_loss(model(batch[0]), batch[1])


def connectionist(output: Tensor, target: Tensor) -> Tensor:
    frames = torch.full((len(output),), output.shape[1])
    lengths = torch.full((len(output),), target.shape[1])
    each = F.ctc_loss(output.log_softmax(-1).movedim(1, 0), target, frames, lengths, reduction="none")
    return each / target.shape[1]


def divergence(output: Tensor, target: Tensor) -> Tensor:
    return F.kl_div(output, target, reduction="batchmean")


def positive() -> Tensor:
    return torch.rand(EXAMPLES, 3) + 0.1


weights_of_classes = torch.tensor([0.2, 1.0, 3.0])


def scores() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))


LOSSES = {
    "class_weights": Architecture(scores, loss=nn.CrossEntropyLoss(weight=weights_of_classes)),
    "ignore_index": Architecture(scores, loss=nn.CrossEntropyLoss(ignore_index=1)),
    "label_smoothing": Architecture(
        scores, loss=nn.CrossEntropyLoss(weight=weights_of_classes, label_smoothing=0.1)
    ),
    "soft_targets": Architecture(scores, targets=lambda: torch.rand(EXAMPLES, 3).softmax(1)),
    "mse": Architecture(scores, targets=reals(3), loss=F.mse_loss),
    "l1": Architecture(scores, targets=reals(3), loss=F.l1_loss),
    "huber": Architecture(scores, targets=reals(3), loss=nn.HuberLoss(delta=0.5)),
    "bce": Architecture(
        scores,
        targets=lambda: (torch.randn(EXAMPLES, 3) > 0).float(),
        loss=nn.BCEWithLogitsLoss(pos_weight=weights_of_classes),
    ),
    "bce_of_probabilities": Architecture(
        lambda: nn.Sequential(scores(), nn.Sigmoid()),
        targets=lambda: (torch.randn(EXAMPLES, 3) > 0).float(),
        loss=nn.BCELoss(),
    ),
    "nll": Architecture(
        lambda: nn.Sequential(scores(), nn.LogSoftmax(1)),
        loss=nn.NLLLoss(weight=weights_of_classes),
        gauss_newton=False,
    ),
    "poisson": Architecture(scores, targets=positive, loss=nn.PoissonNLLLoss()),
    "kl_divergence": Architecture(
        lambda: nn.Sequential(scores(), nn.LogSoftmax(1)),
        targets=lambda: positive().softmax(1),
        loss=divergence,
        gauss_newton=False,
    ),
    "margin": Architecture(scores, loss=nn.MultiMarginLoss(p=2), gauss_newton=False, **differences),
    "ctc": Architecture(
        lambda: nn.Sequential(nn.Linear(4, 4)),
        reals(6, 4),
        lambda: torch.randint(1, 4, (EXAMPLES, 2)),
        loss=connectionist,
        gauss_newton=False,
        **differences,
    ),
    "per_example": Architecture(scores, targets=reals(3), loss=per_example),
    "sums_and_counts": Architecture(scores, sequence, tokens(3, high=3), loss=sums_and_counts),
    "padded_tokens": Architecture(
        lambda: nn.Sequential(nn.Linear(4, 3), Function(lambda s: s.movedim(-1, 1))),
        sequence,
        tokens(3, high=3),
        loss=functools.partial(F.cross_entropy, ignore_index=0),
    ),
    "of_model_and_batch": Architecture(
        scores,
        lambda: (torch.randn(EXAMPLES, 4), torch.randn(EXAMPLES, 3)),
        tuple,
        loss=of_model,
        **only_sequential,
    ),
}

ARCHITECTURES: dict[str, Architecture] = {
    **LINEAR,
    **CONVOLUTIONS,
    **POOLINGS,
    **NORMS,
    **EMBEDDINGS,
    **RECURRENT,
    **ATTENTION,
    **ACTIVATIONS,
    **TENSORS,
    **TORCHVISION,
    **TRANSFORMERS,
    **LOSSES,
}
