"""Matrices of second derivatives of the mean loss, as operators that multiply vectors."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from landscape.curvature.certificate import certify
from landscape.curvature.columns import Columns
from landscape.curvature.derivatives import Derivatives
from landscape.curvature.graphs import HessianGraph
from landscape.curvature.matrix import dense
from landscape.curvature.passes import Passes, live_bytes
from landscape.curvature.shares import Differenced, Share, share_of
from landscape.errors import LandscapeError, did_you_mean
from landscape.objective import Objective
from landscape.objective.memory import SHARE, free_memory
from landscape.params import Tensors, Weights, wide
from landscape.vocabulary import MATRICES, PRODUCTS

# What the graph of one micro-batch may take, which is made smaller if the loss allows it.
_GRAPH_BYTES = 2**30
# How much a graph takes is measured on so many examples.
_TRIAL = 4


class Curvature:
    """A curvature matrix of the mean loss per example, as an operator.

    With the mean L = sum of shares / sum of counts over all examples (`Objective` says what they are):

    - ``"hessian"``: the matrix of second derivatives of L;
    - ``"gauss-newton"``: J^T A J / counts, J the Jacobian of the outputs, A the Hessian of the loss by them;
    - ``"fisher"``: the same with A the Fisher information of the distribution that the model predicts, in closed
      form: for cross-entropy the Gauss-Newton matrix itself, for a squared error that of a normal distribution
      with the variance that makes the loss minus its log-likelihood;
    - ``"empirical-fisher"``: sum of g g^T / counts, g the gradient of one example's share.

    All data go through in micro-batches whose sums are divided once at the end, so that their size does not
    matter. The model is in evaluation mode, its buffers are held. A product is differentiated from a graph that
    holds one backward pass already; as long as the graphs of all data take less than a gigabyte, or than a quarter
    of the memory that is free, they are kept, which saves a third to a half of the next product.

    Args:
        objective: Model, data and loss.
        weights: Where: a snapshot, a model, or a name -> tensor dictionary; copied.
        kind: Which matrix.
        split: Which data.
        parameters: Globs that choose some parameters, see `Layout.select`: a principal block of the matrix.
        dtype: ``torch.float32`` or ``torch.float64``; None is the model's own.
        batch_size: Examples per micro-batch; None chooses.
        penalty: Add lambda times the identity, the Hessian of the objective's weight decay.
        products: ``"auto"`` differentiates twice where that is right; ``"finite-difference"`` takes differences of
            first derivatives, which needs no second ones.

    Attributes:
        kind: Which matrix.
        size: P, the numbers of the selected parameters, in the order of the layout: tied ones count once, those
            that training does not move not at all.
        products: Products with one vector so far.
        error: Of the last product, relative to its size, where products are finite differences; otherwise 0.

    Raises:
        LandscapeError: If a name is unknown, nothing is selected, the weights do not fit, a gradient is not
            finite, or the matrix does not exist for this loss.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 1)
        >>> objective = Objective(model, loss=torch.nn.functional.mse_loss, train=(x, y))
        >>> Curvature(objective, model) @ torch.ones(2)  # 2 x^T x / n
        tensor([1., 4.])
    """

    def __init__(
        self,
        objective: Objective,
        weights: Weights,
        kind: str = "hessian",
        split: str = "train",
        parameters: str | Sequence[str] | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int | None = None,
        *,
        penalty: bool = False,
        products: str = "auto",
    ) -> None:
        if products not in PRODUCTS:
            raise LandscapeError(f"unknown products '{products}'", mend=did_you_mean(products, PRODUCTS))
        if kind not in MATRICES:
            raise LandscapeError(f"unknown kind '{kind}'", where="curvature", mend=did_you_mean(kind, MATRICES))
        self.kind = kind
        self._passes = Passes(objective, weights, split, parameters, dtype, batch_size)
        if kind == "empirical-fisher" and not self._passes.by_examples:
            raise LandscapeError(
                "the loss gives means of batches only, but gradients of single examples are wanted",
                where=kind,
                mend="let it give one number per example, or sums and counts per example",
            )
        self.size = self._passes.vectors.size
        self.products = 0
        self.error = 0.0
        self._decay = objective.weight_decay if penalty else 0.0
        self._products = products
        self._batch_asked = batch_size or objective.fixed_batch
        self._ready = False
        self._block: tuple[Curvature, int] | None = None
        self._plan()

    def __repr__(self) -> str:
        return f"Curvature({self.kind}, {self.size:,} x {self.size:,}, {self.products} products so far)"

    def _plan(self) -> None:
        """Decide by the memory that graphs take what is kept, and how large micro-batches are."""
        self._kept: list[Share] | None = None
        self._example_bytes = self._measure()
        if self._batch_asked is None:
            self._passes.evaluator.cut(min(self.batch_size, max(1, _GRAPH_BYTES // self._example_bytes)))
        examples = self.examples
        self._keeps = examples * self._example_bytes <= self._allowance()
        self._columns = Columns(self._example_bytes * min(examples, self.batch_size), self._passes)

    def _measure(self) -> int:
        passes = self._passes
        few = passes.trial(_TRIAL)

        def held() -> object:
            return passes.loss_of(few) if passes.derivatives.differenced else share_of(passes, few, self.kind)

        with passes.kernels(), warnings.catch_warnings():
            # What is wrong is found, and said, when products are wanted.
            warnings.simplefilter("ignore")
            try:
                taken = live_bytes(held)
            except (RuntimeError, NotImplementedError):
                taken = live_bytes(lambda: passes.loss_of(few))
        return max(1, taken // few.examples)

    def _prepare(self) -> None:
        """Check derivatives before the first product."""
        if self._ready:
            return
        certify(self._passes, self.kind, differenced=self._products == "finite-difference")
        found = self._passes.derivatives
        if found.wide and self._passes.asked is None:
            self._passes = self._passes.widened()
        self._ready = True
        self.error = found.error
        if found != Derivatives():
            self._plan()

    def require(self) -> None:
        """Check derivatives, as the first product does.

        Raises:
            LandscapeError: If they are not those of the loss drawn.
        """
        self._prepare()

    @property
    def derivatives(self) -> Derivatives:
        """Method by which derivatives are taken; checked now if they were not before."""
        self._prepare()
        return self._passes.derivatives

    @property
    def dtype(self) -> torch.dtype:
        """The type of real numbers in which it is computed."""
        self._prepare()
        return self._passes.dtype

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self._passes.evaluator.device

    @property
    def batch_size(self) -> int:
        """Examples per micro-batch."""
        return self._passes.evaluator.batch_size

    @property
    def examples(self) -> int:
        """Number of examples in all."""
        return self._passes.evaluator.data(self._passes.split).count

    @property
    def names(self) -> tuple[str, ...]:
        """The selected parameters, in the order in which a vector holds them."""
        return tuple(self._passes.vectors.names)

    def _allowance(self) -> int:
        """Bytes that the graphs of all data may take to be kept from one product to the next."""
        return max(_GRAPH_BYTES, int(SHARE * free_memory(self.device)))

    @contextmanager
    def shares(self) -> Iterator[Iterator[Share]]:
        """The parts of all micro-batches, which add up to the matrix times what all of them count."""
        self._prepare()
        with self._passes.kernels():
            yield self._graphs(keep=False)

    def _graphs(self, keep: bool = True) -> Iterator[Share]:
        """The graphs of all micro-batches, kept ones if there are."""
        if self._block is not None:
            whole, place = self._block
            for held in whole._graphs(keep):
                graph = held.graph
                yield replace(held, graph=graph.within(place)) if isinstance(graph, HessianGraph) else held
            return
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        for batch in self._passes.batches():
            held = share_of(self._passes, batch, self.kind)
            if keep and self._keeps:
                kept.append(held)
            yield held
        self._kept = kept or None

    def within(self, name: str) -> Curvature:
        """The same matrix for vectors that are zero outside one parameter, of whose products only its rows count.

        The rest of the work is spared where it can be. Graphs are those of the whole matrix.
        """
        self._prepare()
        block = copy.copy(self)
        block._block = self, self.names.index(name)
        return block

    def __matmul__(self, other: Tensor) -> Tensor:
        """The matrix times a vector or several.

        Args:
            other: Shape (P,) or (P, K).

        Returns:
            Of the same shape, element type and device.

        Raises:
            LandscapeError: If the shape is another, or the product is not finite.
        """
        if other.ndim not in (1, 2) or other.shape[0] != self.size:
            raise LandscapeError(
                "cannot be multiplied by this matrix", got=tuple(other.shape), expected=f"({self.size},) or (P, K)"
            )
        rows = other.detach().to(self.device).reshape(self.size, -1).T
        product = self._mean(rows)
        if self._decay:
            product += self._decay * rows
        self.products += len(rows)
        return product.T.reshape(other.shape).to(other)

    def quadratic(self, vector: Tensor) -> float:
        """The vector times its product with the matrix; for J^T A J that is half the work of the product.

        Args:
            vector: Shape (P,).

        Raises:
            LandscapeError: If the shape is another, or the number is not finite.
        """
        if vector.shape != (self.size,):
            raise LandscapeError(
                "cannot be multiplied by this matrix", got=tuple(vector.shape), expected=f"({self.size},)"
            )
        self._prepare()
        directions = self.parts(vector.detach())
        total, count = 0.0, 0.0
        with self.shares() as shares:
            for held in shares:
                total += held.graph.quadratic(directions)
                count += held.count
        if not math.isfinite(total):
            raise LandscapeError("a product with the curvature matrix is not finite", where=self.kind)
        own = float((vector.double() ** 2).sum()) if self._decay else 0.0
        self.products += 1
        return total / count + self._decay * own

    def _mean(self, rows: Tensor) -> Tensor:
        """Products with vectors, shape (K, P), summed over all micro-batches and divided by what they count."""
        self._prepare()
        total, count = torch.zeros_like(rows, dtype=self._wide), 0.0
        differenced = self._passes.derivatives.differenced
        off = torch.zeros_like(total) if differenced else total
        with self._passes.kernels():
            for held in self._graphs():
                if isinstance(held.graph, Differenced):
                    self._add_differences(total, off, held.graph, rows)
                else:
                    self._columns.add(total, held.graph, rows, self._passes)
                count += held.count
        if differenced:
            self.error = float((off.norm(dim=1) / total.norm(dim=1).clamp(min=torch.finfo(off.dtype).tiny)).max())
        self._passes.vectors.require_finite(total, "a product with the curvature matrix")
        return total / count

    def _add_differences(self, total: Tensor, off: Tensor, graph: Differenced, rows: Tensor) -> None:
        """Add products that are differences to one sum, and how far they are off to another."""
        vectors = self._passes.vectors
        for place, row in enumerate(rows):
            found = graph.apply(self.parts(row), False)
            vectors.add(found, total[place])
            vectors.add(graph.errors, off[place])

    @property
    def _wide(self) -> torch.dtype:
        # Apple's devices know no float64.
        return torch.float32 if self.device.type == "mps" else torch.float64

    def load(self, weights: Weights) -> None:
        """Move to other weights of the same model; they are copied.

        Args:
            weights: A snapshot, a model, or a name -> tensor dictionary; buffers that it lacks are the model's.
        """
        self._kept = None
        self._passes.load(weights)

    def parts(self, vector: Tensor) -> list[Tensor]:
        """A vector, shape (P,), cut as the graphs of `shares` take it."""
        pairs = zip(self._passes.vectors.cut(vector.to(self.device)), self._passes.variables, strict=True)
        return [part.to(leaf) for part, leaf in pairs]

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """A name -> tensor dictionary as a vector, shape (P,); names that are not selected are left aside."""
        return self._passes.vectors.flatten(tensors)

    def unflatten(self, vector: Tensor) -> Tensors:
        """A vector, shape (P,), as a name -> tensor dictionary."""
        return self._passes.vectors.unflatten(vector)

    def gradient(self) -> Tensor:
        """The gradient of the mean loss (and of the penalty, if it is asked for), shape (P,), float64.

        Raises:
            LandscapeError: If it is not finite.
        """
        vectors = self._passes.vectors
        total, count = torch.zeros(self.size, dtype=self._wide, device=self.device), 0.0
        if not self._ready:
            certify(self._passes, "gradient")
        with self._passes.kernels():
            for batch in self._passes.batches():
                found, counted = self._passes.slope_of(batch)
                vectors.add(found, total)
                count += counted
        vectors.require_finite(total, "the gradient")
        mean = total / count
        if self._decay:
            mean += self._decay * vectors.join(self._passes.variables, total)
        return mean

    def value(self) -> float:
        """The mean loss (with the penalty of the selected parameters, if it is asked for)."""
        evaluator, split = self._passes.evaluator, self._passes.split
        with self._passes.kernels():
            mean = evaluator.measure([split], ["loss"])[f"{split}_loss"].mean
        squares = sum(float(wide(variable.detach()).square().sum()) for variable in self._passes.variables)
        return mean + self._decay / 2 * squares

    def dense(self) -> Tensor:
        """The matrix itself, made symmetric, shape (P, P), float64.

        Raises:
            LandscapeError: If it is larger than half a gigabyte.
        """
        return dense(self)
