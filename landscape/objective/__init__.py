"""Model + data + loss as a deterministic function from weights to the mean loss per example."""

from landscape.objective.data import Split
from landscape.objective.evaluator import Evaluator
from landscape.objective.language import next_token_loss
from landscape.objective.means import Estimate
from landscape.objective.objective import Objective
from landscape.objective.tuning import Tuning

__all__ = ["Estimate", "Evaluator", "Objective", "Split", "Tuning", "next_token_loss"]
