"""Built-in problems: named recipes of model, data and loss that build an objective."""

from landscape.problems.problem import Problem
from landscape.problems.registry import build, describe, get, names, parse_options

__all__ = ["Problem", "build", "describe", "get", "names", "parse_options"]
