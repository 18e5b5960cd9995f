"""One forward pass over a batch, whose results are looked at from several sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from landscape.objective.data import Split
from landscape.objective.evaluator import Evaluator
from landscape.objective.raw import Score
from landscape.objective.scores import how_of, score_of


@dataclass(frozen=True)
class Trial:
    """A forward pass over a batch.

    Attributes:
        output: The model's; None where the loss calls it.
        loss: Whatever the loss gives.
        apart: Whether that may be taken apart into examples.
        score: Loss, error and weights, shape (examples,) each, or (1,) where the loss is not taken apart.
    """

    output: Any
    loss: Any
    apart: bool
    score: Score

    @classmethod
    def of(
        cls, evaluator: Evaluator, batch: Split, whole: Split | None = None, index: Tensor | None = None
    ) -> Trial:
        """Pass once over a batch.

        Args:
            evaluator: Holds the model and the loss.
            batch: The batch.
            whole: A larger one of which it is a part, and whose targets say which weights there are.
            index: Which of its examples the batch has, shape (examples,).
        """
        loss, targets = evaluator.loss, (batch if whole is None else whole).targets
        with evaluator.passing():
            arguments = evaluator.arguments(*evaluator.own(batch))
            given = loss(*arguments)
            how = how_of(loss, given, arguments, batch, targets)
            counted = how[0] is not None and how[0].counted
            if evaluator.takes_model and how[0] is not None:
                shares, weights = given if counted else (given, None)
                error = None
            else:
                shares, error, weights = score_of(loss, how, arguments, True)
        if how[0] is not None and not counted:
            weights = how[0].weights if how[0].weights is None or index is None else how[0].weights[index]
        output = None if evaluator.takes_model else arguments[0]
        return cls(output, given, how[0] is not None, (shares, error, weights))
