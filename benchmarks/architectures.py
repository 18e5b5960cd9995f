"""Symmetries of the networks that people load: ``python -m benchmarks.architectures``.

Every classifier of torchvision at its own size, and families of transformers shrunk until their Jacobian can be
taken. Each is searched in a process of its own, whose time and memory are told.
"""

from __future__ import annotations

import argparse
import inspect
import multiprocessing
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import machine
from landscape.errors import LandscapeError
from landscape.symmetry import Symmetries, find

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers
    from torchvision import models

_PAGE = Path(__file__).parent / "ARCHITECTURES.md"
# So many tokens that their embeddings span all directions; each occurs, and so may be drawn again.
_VOCABULARY, _LENGTH, _IMAGES = 24, 6, 2
# Bytes of a page of `ru_maxrss`.
_UNIT = 1 if sys.platform == "darwin" else 1024
# What a Jacobian's singular values must be apart for its rank to be told.
_CLEAR = 1e3
_TINY: dict[str, Any] = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 8,
    "intermediate_size": 6,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_PATCHES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
}
_SEQUENCES: dict[str, Any] = {
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 6,
    "decoder_ffn_dim": 6,
}


def _language(name: str, head: str, **config: Any) -> tuple[nn.Module, Any]:
    settings = _TINY | config
    made: Any = getattr(transformers, f"{name}Config")(**settings)
    made.use_cache = False
    tokens = torch.randperm(_VOCABULARY).reshape(-1, _LENGTH)
    x: Any = tokens
    if made.is_encoder_decoder:
        x = {"input_ids": tokens, "decoder_input_ids": tokens.flip(0)}
    return getattr(transformers, name + head)(made), x


def _images(name: str, head: str, **config: Any) -> tuple[nn.Module, Any]:
    made = getattr(transformers, f"{name}Config")(**config)
    return getattr(transformers, name + head)(made), torch.randn(_IMAGES, 1, 8, 8)


# Of torchvision's classifiers the smallest of most designs, and ResNet-152; ConvNeXt takes many minutes.
CLASSIFIERS = (
    *("alexnet", "vgg11", "vgg11_bn", "squeezenet1_1", "googlenet", "inception_v3", "densenet121"),
    *(
        "resnet18",
        "resnet50",
        "resnet152",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "regnet_x_400mf",
        "regnet_y_400mf",
    ),
    *("shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"),
    *("efficientnet_v2_s", "vit_b_16"),
)
# Family -> makes a model and its input. Two layers or widths that are not given are those of `_TINY`.
FAMILIES: Mapping[str, Callable[[], tuple[nn.Module, Any]]] = {
    "GPT-2": partial(_language, "GPT2", "LMHeadModel", n_inner=6),
    "GPT-NeoX": partial(_language, "GPTNeoX", "ForCausalLM"),
    "OPT": partial(_language, "OPT", "ForCausalLM", ffn_dim=6, word_embed_proj_dim=8),
    "BLOOM": partial(_language, "Bloom", "ForCausalLM", n_layer=1, n_head=2),
    "Llama": partial(_language, "Llama", "ForCausalLM", num_key_value_heads=1),
    "Mistral": partial(_language, "Mistral", "ForCausalLM", num_key_value_heads=1),
    "Qwen 2": partial(_language, "Qwen2", "ForCausalLM", num_key_value_heads=1),
    "Qwen 3": partial(_language, "Qwen3", "ForCausalLM", num_key_value_heads=1, head_dim=4),
    "Gemma": partial(_language, "Gemma", "ForCausalLM", num_key_value_heads=1, head_dim=4),
    "Gemma 2": partial(_language, "Gemma2", "ForCausalLM", num_key_value_heads=1, head_dim=4),
    "Phi": partial(_language, "Phi", "ForCausalLM"),
    "BERT": partial(_language, "Bert", "ForMaskedLM"),
    "RoBERTa": partial(_language, "Roberta", "ForMaskedLM", pad_token_id=1, max_position_embeddings=10),
    "DistilBERT": partial(_language, "DistilBert", "ForMaskedLM", dim=8, hidden_dim=6, n_layers=1, n_heads=2),
    "ELECTRA": partial(_language, "Electra", "ForPreTraining", embedding_size=8),
    "T5": partial(
        _language,
        "T5",
        "ForConditionalGeneration",
        d_model=8,
        d_kv=4,
        d_ff=6,
        num_layers=1,
        num_heads=2,
        pad_token_id=0,
    ),
    "BART": partial(_language, "Bart", "ForConditionalGeneration", **_SEQUENCES, pad_token_id=1),
    "ViT": partial(
        _images,
        "ViT",
        "ForImageClassification",
        **_PATCHES,
        intermediate_size=6,
    ),
    "DINOv2": partial(
        _images,
        "Dinov2",
        "ForImageClassification",
        **_PATCHES,
        mlp_ratio=1,
    ),
    "ConvNeXt": partial(
        _images,
        "ConvNext",
        "ForImageClassification",
        num_channels=1,
        patch_size=2,
        num_stages=2,
        hidden_sizes=[4, 6],
        depths=[1, 1],
    ),
}


def _classifier(name: str) -> tuple[nn.Module, Any]:
    side = {"inception_v3": 299, "googlenet": 224}.get(name, 224)
    rest = {"init_weights": False} if "init_weights" in _parameters(name) else {}
    return models.get_model(name, **rest), torch.randn(_IMAGES, 3, side, side)


def _parameters(name: str) -> set[str]:
    """The arguments of a classifier: random weights of a truncated normal take half a minute."""
    builder = models.get_model_builder(name)
    kind = inspect.signature(builder, eval_str=True).return_annotation
    return set(inspect.signature(kind).parameters)


def searched(name: str) -> dict[str, Any]:
    """Search one network, in a process that has done nothing before."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    model, x = _classifier(name) if name not in FAMILIES else FAMILIES[name]()
    model.eval()
    with torch.no_grad():
        # Kernels and buffers of a forward pass are there before.
        model(**x) if isinstance(x, dict) else model(x)
    weights = sum(parameter.numel() for parameter in model.parameters())
    taken = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    before, wall, cpu = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        time.perf_counter(),
        time.process_time(),
    )
    try:
        found = find(model, x)
    except LandscapeError as error:
        return {"name": name, "weights": weights, "refused": str(error)}
    took = time.perf_counter() - wall, time.process_time() - cpu
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * _UNIT
    units: Counter[str] = Counter()
    for one in found.generators:
        units[one.kind] += one.units
    doubts = dict.fromkeys(block.operation for block in found.blocked if not block.settled)
    return {
        "name": name,
        "weights": weights,
        "kinds": ", ".join(f"{kind} {count:,}" for kind, count in units.items()) or "none",
        "parameters": sum(one.dimension for one in found.generators),
        "counted": _counted(found, model) if name in FAMILIES else [],
        "notes": "; ".join([*found.notes, *doubts]),
        "seconds": took,
        "copies": grown / taken,
    }


def _counted(found: Symmetries, model: nn.Module) -> list[str]:
    """The rank of the tangents, the nullity of the Jacobian, and what is unexplained, in general position."""
    source = torch.Generator().manual_seed(1)
    state = found.complete(model)
    count = found.dimension({name: _general(tensor, source) for name, tensor in state.items()})
    if count.nullity is None or count.gap is None or count.gap <= _CLEAR:
        return [str(count.found), "?", "?", "?"]
    return [str(count.found), str(count.nullity), str(count.unused), str(count.unexplained)]


def _general(tensor: Tensor, source: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    noise = torch.randn(tensor.shape, generator=source)
    return tensor + noise * (0.1 if tensor.ndim < 2 else 0.3)


_HEAD = """# Symmetries of the networks that people load

Made by `python -m benchmarks.architectures`; do not edit. `symmetries.find` on the classifiers of torchvision,
one of most designs, as they come (random weights, two images), and on families of transformers shrunk to a layer
or two of width 8. Small ones of every other kind stand in [Symmetries found](../docs/symmetries-found.md).

- *found*: kinds of symmetries, and of how many units. Every family was tried in float64 on random elements.
- *parameters*: continuous ones, the sum over kinds, which overlap; *dimension*: the rank of their tangents.
- *flat*: the nullity of the Jacobian of the outputs in float64, over many random inputs; *unused*: weights that no
  output depends on; *unexplained*: flat directions that neither explains.
- *left out*: families that a trial contradicted, and operations behind which symmetries may have been missed.
- *seconds*: wall time and processor time, with other work on the two cores; *copies*: the growth of the process's
  largest memory during the search, beside the model and one forward pass, in sizes of the weights.
"""
_LARGE = """
## torchvision

| network | weights | found | parameters | left out | seconds | copies |
|---|---|---|---|---|---|---|
"""
_SMALL = """
## transformers

| family | weights | found | dimension | flat | unused | unexplained | left out |
|---|---|---|---|---|---|---|---|
"""


def _large_row(one: Mapping[str, Any]) -> str:
    if "refused" in one:
        return f"| {one['name']} | {one['weights']:,} | refused: {one['refused']} | | | | |"
    wall, cpu = one["seconds"]
    cells = [one["name"], f"{one['weights']:,}", one["kinds"], f"{one['parameters']:,}", one["notes"]]
    return "| " + " | ".join([*cells, f"{wall:.1f}, {cpu:.1f}", f"{one['copies']:.1f}"]) + " |"


def _small_row(one: Mapping[str, Any]) -> str:
    if "refused" in one:
        return f"| {one['name']} | {one['weights']:,} | refused: {one['refused']} | | | | | |"
    return (
        "| " + " | ".join([one["name"], f"{one['weights']:,}", one["kinds"], *one["counted"], one["notes"]]) + " |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Search all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=_PAGE)
    parser.add_argument("--only", nargs="*", help="some of them, to be printed")
    given = parser.parse_args(arguments)
    names = given.only or [*CLASSIFIERS, *FAMILIES]
    spawn = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as pool:
        for one in pool.map(searched, names):
            found[one["name"]] = one
            print(_large_row(one) if one["name"] not in FAMILIES else _small_row(one), file=sys.stderr, flush=True)
    if given.only:
        return
    told = machine.describe()
    versions = f"{told['versions'].partition(', numpy')[0]}, transformers {transformers.__version__}"
    rows = [
        _HEAD + _LARGE + "\n".join(_large_row(found[name]) for name in CLASSIFIERS),
        _SMALL + "\n".join(_small_row(found[name]) for name in FAMILIES),
        f"\n{told['date']}, {told['processor']}, {told['cores']}; {versions}.",
    ]
    given.output.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
