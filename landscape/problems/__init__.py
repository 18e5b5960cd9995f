"""Problems: named recipes of model, data and loss that build an objective, built in or in a file of the user's."""

from landscape.problems.problem import Problem, is_file_problem, short_name
from landscape.problems.registry import build, describe, get, initial_model, is_known, names, parse_options

__all__ = [
    "Problem",
    "build",
    "describe",
    "get",
    "initial_model",
    "is_file_problem",
    "is_known",
    "names",
    "parse_options",
    "short_name",
]
