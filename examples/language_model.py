"""A causal language model of Hugging Face's on a text file, with or without LoRA adapters.

Random weights of GPT-2's shape, or the weights of a folder of your own:

    landscape import path/to/folder -o run.h5 --problem examples/language_model.py:make
    landscape plot run.h5 --problem examples/language_model.py:make --kind curve --points 11 -o curve.png

With adapters only these move; the model below them stays:

    landscape plot run.h5 --problem examples/language_model.py:make_lora --parameters 'lora_*' -o adapters.png
"""

import os
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import landscape as ls


def read_tokens(text: str, sequences: int, length: int) -> torch.Tensor:
    """Bytes as tokens, shape (sequences, length): a real tokenizer's numbers go here."""
    content = Path(text or os.__file__).read_bytes()
    needed = sequences * length
    if len(content) < needed:
        content *= -(-needed // len(content))
    return torch.frombuffer(bytearray(content[:needed]), dtype=torch.uint8).long().view(sequences, length)


def make_model(layers: int, width: int, heads: int, vocabulary: int, length: int, seed: int) -> GPT2LMHeadModel:
    """GPT-2 from its configuration; the embedding of tokens is also the map to their scores."""
    torch.manual_seed(seed)
    config = GPT2Config(
        n_layer=layers, n_embd=width, n_head=heads, vocab_size=vocabulary, n_positions=length, use_cache=False
    )
    return GPT2LMHeadModel(config)


def make(
    text: str = "",
    sequences: int = 16,
    length: int = 1024,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    vocabulary: int = 50257,
    seed: int = 0,
) -> ls.Objective:
    """The defaults are GPT-2's smallest: 124 million parameters."""
    model = make_model(layers, width, heads, vocabulary, length, seed)
    return ls.Objective(model, loss=ls.next_token_loss, train=read_tokens(text, sequences, length))


def make_lora(rank: int = 8, **options: int) -> ls.Objective:
    """The same with adapters on the attention; needs ``pip install peft``."""
    from peft import LoraConfig, get_peft_model

    objective = make(**options)
    adapters = LoraConfig(r=rank, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False)
    model = get_peft_model(objective.model, adapters)
    return ls.Objective(model, loss=ls.next_token_loss, train=objective.data["train"])
