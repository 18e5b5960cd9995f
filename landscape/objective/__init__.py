"""Model + data + loss as a deterministic function from weights to the mean loss per example."""

from landscape.objective.data import Split
from landscape.objective.evaluator import Estimate, Evaluator
from landscape.objective.objective import Objective

__all__ = ["Estimate", "Evaluator", "Objective", "Split"]
