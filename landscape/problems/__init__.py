"""Problems: named recipes of model, data and loss that build an objective, built in or in a file of the user's."""

from landscape.problems.problem import Problem
from landscape.problems.registry import build, describe, get, names, parse_options
from landscape.problems.userfile import is_file_problem, short_name

__all__ = ["Problem", "build", "describe", "get", "is_file_problem", "names", "parse_options", "short_name"]
