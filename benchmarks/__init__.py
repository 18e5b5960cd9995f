"""Speed of evaluating grids, against the bare forward passes and against other packages.

Run by ``make bench`` or ``python -m benchmarks``; no part of the distribution, and no test.
"""
