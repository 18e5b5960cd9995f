"""The selected parameters of a model as one vector, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.layout import Layout
from landscape.params import Tensors, joined_parts, real_view


class Vectors:
    """Layout of a vector of P real numbers: the parameters that move, in the order of the layout.

    A complex element is two numbers, its real and its imaginary part: matrices are those of a function of both.

    Args:
        layout: Says what moves; tied parameters are there once, frozen ones not at all.

    Attributes:
        names: Of the parameters.
        size: P.
    """

    def __init__(self, layout: Layout) -> None:
        moving = layout.moving()
        self.names = [info.name for info in moving]
        self._shapes = [info.real_shape for info in moving]
        self._complex = [info.complex for info in moving]
        self._sizes = [info.numbers for info in moving]
        self.size = sum(self._sizes)

    def cut(self, rows: Tensor) -> list[Tensor]:
        """Vectors as tensors of the shapes of the parameters.

        Args:
            rows: Shape (..., P).

        Returns:
            One tensor per parameter, shape (..., *shape); complex where the parameter is.
        """
        pairs = zip(self.cut_real(rows), self._complex, strict=True)
        return [joined_parts(part) if paired else part for part, paired in pairs]

    def cut_real(self, rows: Tensor) -> list[Tensor]:
        """Vectors as tensors of real numbers, shape (..., *shape); complex ones with an axis of two more."""
        lead = rows.shape[:-1]
        return [part.reshape((*lead, *shape)) for part, shape in zip(self._split(rows), self._shapes, strict=True)]

    def _split(self, rows: Tensor) -> Sequence[Tensor]:
        return rows.split(self._sizes, dim=-1)

    def join(self, tensors: Sequence[Tensor | None], like: Tensor) -> Tensor:
        """Tensors of the shapes of the parameters as vectors; those that are missing are zero.

        Args:
            tensors: One per parameter, as `cut` or `cut_real` gives them.
            like: Shape (..., P); its device and element type are those of the result.
        """
        joined = torch.zeros_like(like)
        for part, tensor in zip(self._split(joined), tensors, strict=True):
            if tensor is not None:
                part.copy_(real_view(tensor.detach()).reshape(part.shape))
        return joined

    def add(self, tensors: Sequence[Tensor | None], total: Tensor) -> None:
        """Add tensors of the shapes of the parameters to vectors, shape (..., P), in place."""
        for part, tensor in zip(self._split(total), tensors, strict=True):
            if tensor is not None:
                part += real_view(tensor.detach()).reshape(part.shape).to(part.device)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """A name -> tensor dictionary as a vector, shape (P,).

        Raises:
            LandscapeError: If a parameter is missing or has another shape.
        """
        for name, shape in zip(self.names, self._shapes, strict=True):
            got = tuple(real_view(tensors[name]).shape) if name in tensors else None
            if got != shape:
                raise LandscapeError(f"tensor '{name}' is missing or misshapen", got=got, expected=shape)
        return torch.cat([real_view(tensors[name].detach()).flatten() for name in self.names])

    def unflatten(self, vector: Tensor) -> Tensors:
        """A vector, shape (P,), as a name -> tensor dictionary."""
        return dict(zip(self.names, self.cut(vector), strict=True))

    def require_finite(self, vectors: Tensor, what: str) -> None:
        """Check that there is neither infinity nor NaN.

        Args:
            vectors: Shape (..., P).
            what: What they are, for the message.

        Raises:
            LandscapeError: Naming the first parameter where there is one.
        """
        if bool(vectors.isfinite().all()):
            return
        bad = next(
            name for name, part in zip(self.names, self._split(vectors), strict=True) if not part.isfinite().all()
        )
        raise LandscapeError(
            f"{what} is not finite",
            where=bad,
            mend="the loss has no curvature at these weights: look for overflow, log(0) or the root of 0",
        )
