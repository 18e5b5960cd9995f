"""A small causal language model over bytes, written in operations that can be differentiated twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.problems.activations import activation

VOCABULARY = 256


class Attention(nn.Module):
    """Causal self-attention as two matrix products and a softmax.

    The fused kernels of torch have no second derivative on a CPU; these operations do.

    Args:
        width: Numbers per token.
        heads: Divides `width`.
        context: The greatest number of tokens.
    """

    mask: Tensor

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self._heads = heads
        self._scale = (width // heads) ** -0.5
        future = torch.ones(context, context, dtype=torch.bool).triu(1)
        self.register_buffer("mask", future, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> (n, tokens, width)."""
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        tokens = x.shape[1]
        scores = (query @ key.transpose(-2, -1)) * self._scale
        weights = scores.masked_fill(self.mask[:tokens, :tokens], float("-inf")).softmax(-1)
        return self.output((weights @ value).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> (n, heads, tokens, width / heads)."""
        return x.unflatten(2, (self._heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Attention, then a network of one hidden layer, each normalised before and added after.

    Args:
        width: Numbers per token; the hidden layer has 4 times as many units.
        heads: Divides `width`.
        context: The greatest number of tokens.
        nonlinearity: Name of the activation.
    """

    def __init__(self, width: int, heads: int, context: int, nonlinearity: str) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, context)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.act = activation(nonlinearity)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> (n, tokens, width)."""
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """A causal transformer over bytes with learned positions, normalised before each part.

    Args:
        layers: Attention layers.
        width: Numbers per token.
        heads: Attention heads; divides `width`.
        context: The greatest number of tokens.
        tied: Whether the output layer is the embedding itself: ``head.weight`` is ``token.weight``.
        nonlinearity: What `landscape.problems.activations.activation` knows.

    Source:
        Vaswani et al. 2017; normalisation before each part: Radford et al. 2019, section 2.3; tied
        embeddings: Press & Wolf 2017.
    """

    def __init__(
        self,
        layers: int = 2,
        width: int = 128,
        heads: int = 4,
        context: int = 64,
        *,
        tied: bool = True,
        nonlinearity: str = "gelu",
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(context, width)
        self.layers = nn.Sequential(*(Layer(width, heads, context, nonlinearity) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens) bytes as int64 -> (n, 256, tokens) scores of the byte that follows."""
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        return self.head(self.norm(self.layers(x))).transpose(1, 2)
