"""Laboratories: problems in which what flatness means can be computed exactly."""

from landscape.laboratory.interpolators import bump_memoriser, memoriser, random_direction, teacher
from landscape.laboratory.mixture import (
    BayesOptimal,
    OrderParameters,
    Sampled,
    bayes_optimal,
    bayes_weights,
    gaussian_tail,
    local_energy,
    order_parameters,
    population_error,
    sampled_local_energy,
)
from landscape.laboratory.students import (
    Comparison,
    Student,
    compare,
    flattest,
    flattest_factors,
    flattest_trace,
    interpolation_trace,
    least_trace,
    neuron_traces,
    student_of,
)

__all__ = [
    "BayesOptimal",
    "Comparison",
    "OrderParameters",
    "Sampled",
    "Student",
    "bayes_optimal",
    "bayes_weights",
    "bump_memoriser",
    "compare",
    "flattest",
    "flattest_factors",
    "flattest_trace",
    "gaussian_tail",
    "interpolation_trace",
    "least_trace",
    "local_energy",
    "memoriser",
    "neuron_traces",
    "order_parameters",
    "population_error",
    "random_direction",
    "sampled_local_energy",
    "student_of",
    "teacher",
]
