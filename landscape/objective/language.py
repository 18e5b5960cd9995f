"""The loss of language models: the next token, over whatever tokens count."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of Hugging Face's labels: a token that does not count.
_IGNORED = -100
# Scores of so many tokens are normalised at once: their copy would be as large as all scores.
_TOKENS = 256


def next_token_loss(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """The cross-entropy of every next token, in nats, summed over each sequence, and how many tokens count.

    Their ratio is the mean per token over all sequences, however they are cut into batches; the mean of the means
    of batches, which many training loops report, is another number where lengths differ.

    Args:
        model: Gives scores (sequences, tokens, vocabulary), or an output that has them as ``logits`` as the
            causal language models of Hugging Face do.
        batch: Token numbers, shape (sequences, tokens); or a dictionary with ``input_ids``, and perhaps
            ``attention_mask`` (0 does not count) and ``labels`` (-100 does not count; not shifted).

    Returns:
        Sums and counts, shape (sequences,) each.

    Example:
        >>> class Uniform(nn.Module):
        ...     def forward(self, tokens):
        ...         return torch.zeros(*tokens.shape, 8)
        >>> sums, counts = next_token_loss(Uniform(), torch.zeros(2, 5, dtype=torch.int64))
        >>> counts.tolist(), round(float(sums[0] / counts[0]), 4)  # log 8
        ([4, 4], 2.0794)
    """
    if isinstance(batch, Tensor):
        tokens, labels, mask, output = batch, batch, None, model(batch)
    else:
        given = {name: value for name, value in batch.items() if name != "labels"}
        tokens, mask = given["input_ids"], given.get("attention_mask")
        labels = batch.get("labels", tokens)
        output = model(**given, **_without_cache(model))
    targets = labels[:, 1:]
    counts = targets != _IGNORED
    if mask is not None:
        counts = counts & (mask[:, 1:] != 0)
    losses = _cross_entropy(_scores(output), torch.where(counts, targets, _IGNORED))
    return losses.sum(1), counts.sum(1)


def _without_cache(model: nn.Module) -> dict[str, bool]:
    """Keys and values are kept for generating text only."""
    wanted = "use_cache" in inspect.signature(model.forward).parameters
    return {"use_cache": False} if wanted else {}


def _scores(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    return output["logits"] if isinstance(output, Mapping) else output[0]


def _cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Of each next token; 0 where it does not count. Shape (sequences, tokens - 1)."""
    parts = [
        functional.cross_entropy(
            scores[:, start : min(start + _TOKENS, targets.shape[1])].flatten(0, 1),
            targets[:, start : start + _TOKENS].flatten(),
            reduction="none",
            ignore_index=_IGNORED,
        ).view(len(targets), -1)
        for start in range(0, targets.shape[1], _TOKENS)
    ]
    return torch.cat(parts, 1)
